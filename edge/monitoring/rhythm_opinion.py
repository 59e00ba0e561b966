"""What the rhythm model says now, for the rules that ask it."""

from __future__ import annotations

from edge.messages import Prediction

MODEL = "rhythm"
"""Name of the model that names rhythms."""
FIBRILLATION, NOISE, OTHER, NORMAL = "A", "~", "O", "N"
"""Its labels, those of the PhysioNet/CinC 2017 challenge."""
_NS_PER_S = 1_000_000_000


class RhythmOpinion:
    """The latest word of the rhythm model, while it is fresh.

    Parameters
    ----------
    valid_s : float
        Seconds for which a prediction holds.
    """

    def __init__(self, valid_s: float) -> None:
        self._valid_ns = round(valid_s * _NS_PER_S)
        self._latest: Prediction | None = None
        self._contrary_since_ns: int | None = None
        self._first_from_ns: int | None = None
        self._name: str | None = None

    @property
    def since_ns(self) -> int | None:
        """Instant from which the latest word holds; None before the first.

        While everything heard so far counts in it, that is where it all began; later the label of a mean has changed
        when half of its span has, so it holds from the middle.
        """
        if self._latest is None or self._first_from_ns is None:
            return None
        from_ns = _from_ns(self._latest)
        if from_ns > self._first_from_ns:
            return (from_ns + self._latest.at_ns) // 2
        return from_ns - _NS_PER_S  # the first beat, and the name that it was given, may lie just before

    def note(self, prediction: Prediction) -> None:
        """Take the newest prediction in; one older than that before is ignored."""
        if self._latest is not None:
            if prediction.at_ns < self._latest.at_ns:
                return
            if prediction.at_ns - self._latest.at_ns > self._valid_ns:  # silent since: what it knew no longer holds
                self._contrary_since_ns = self._first_from_ns = self._name = None
        self._latest = prediction
        if self._first_from_ns is None:
            self._first_from_ns = _from_ns(prediction)
        if prediction.label is not None:
            self._name = prediction.label
        elif self._name is None and prediction.probabilities:
            self._name = max(prediction.probabilities, key=lambda label: prediction.probabilities[label])
        if prediction.label == FIBRILLATION:
            self._contrary_since_ns = None
        elif prediction.label in {NORMAL, OTHER} and self._contrary_since_ns is None:
            self._contrary_since_ns = prediction.at_ns

    def label(self, at_ns: int) -> str | None:
        """Return the rhythm that holds at `at_ns`; None where the model is absent, abstains, is silent or sees noise.

        A signal that is too noisy proves nothing: it is no opinion on the rhythm.
        """
        latest = self._latest
        if latest is None or at_ns - latest.at_ns > self._valid_ns or latest.label == NOISE:
            return None
        return latest.label

    def name(self, at_ns: int) -> str | None:
        """Return the label by which the rhythm is to be named at `at_ns`; None where the model says nothing at all.

        A name needs no certainty, an alarm does: while the model is uncertain its last label stays, and before the
        first certain one the likeliest stands.
        """
        latest = self._latest
        if latest is None or at_ns - latest.at_ns > self._valid_ns or not latest.probabilities:
            return None
        return self._name

    def decision(self, at_ns: int) -> Prediction | None:
        """Return the prediction that holds at `at_ns`; None where the model is absent, abstains or is silent."""
        return self._latest if self.label(at_ns) is not None else None

    def denies_fibrillation(self, at_ns: int, for_s: float) -> bool:
        """Return whether the model has called the rhythm something else than fibrillation for `for_s` seconds.

        Windows about which it is uncertain in between count neither way; a silence begins anew.
        """
        since_ns = self._contrary_since_ns
        if self.label(at_ns) in {None, FIBRILLATION} or since_ns is None:
            return False
        return at_ns - since_ns >= for_s * _NS_PER_S


def _from_ns(prediction: Prediction) -> int:
    """Return the beginning of the signal that a prediction rests on."""
    from_ns = prediction.evidence.get("from_ns")
    return from_ns if isinstance(from_ns, int) else prediction.at_ns
