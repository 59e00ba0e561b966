"""Two models on the same windows: one is acted on, the other only counted against it.

Serves twice: a *staged* model runs beside the one in use before anybody trusts it (shadow), and the *previous* one
runs beside a freshly promoted one for a while, so that a promotion that went wrong shows on the very same patient
(probation).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.inference.window_stage import UNANSWERED, WindowStage, poll
from edge.messages import Json, Prediction, Window

_NS_PER_S = 1_000_000_000
_LONGEST_STEP_S = 10.0
_N_WAITING = 64
_N_RECENT = 50
_N_LABELS = 100
ABSTAINED = ""
"""Stands for "no label" in the counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A window that the two models name differently."""

    at_ns: int
    sensor: str
    stream: str
    active: str
    beside: str


@dataclass(slots=True)
class Agreement:
    """How often two models say the same; bounded, whatever they say and for however long."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """Windows by the label of the model in use and of the one beside it; `ABSTAINED` where one abstains."""
    n_unpaired: int = 0
    """Windows that only one of them answered: the other was late."""
    duration_s: float = 0.0
    """Time over which they were compared; longer pauses than 10 s do not count."""
    recent: deque[Disagreement] = field(default_factory=lambda: deque(maxlen=_N_RECENT))
    _last_ns: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, active: Prediction, beside: Prediction) -> None:
        """Count one window that both have answered."""
        labels = (active.label or ABSTAINED, beside.label or ABSTAINED)
        if labels not in self.counts and len(self.counts) >= _N_LABELS:
            return
        self.counts[labels] = self.counts.get(labels, 0) + 1
        stream = (active.sensor, active.stream)
        step_s = (active.at_ns - self._last_ns.get(stream, active.at_ns)) / _NS_PER_S
        if stream in self._last_ns or len(self._last_ns) < _N_LABELS:
            self._last_ns[stream] = active.at_ns
        if 0 < step_s <= _LONGEST_STEP_S:
            self.duration_s += step_s
        if ABSTAINED not in labels and labels[0] != labels[1]:
            self.recent.append(
                Disagreement(
                    at_ns=active.at_ns,
                    sensor=active.sensor,
                    stream=active.stream,
                    active=labels[0],
                    beside=labels[1],
                )
            )

    @property
    def n_compared(self) -> int:
        """Windows that both have answered, abstentions included."""
        return sum(self.counts.values())

    @property
    def n_decided(self) -> int:
        """Windows that both gave a label."""
        return sum(number for labels, number in self.counts.items() if ABSTAINED not in labels)

    @property
    def disagreement_ratio(self) -> float | None:
        """Share of the windows with two labels where these differ; None without any."""
        n_decided = self.n_decided
        n_same = sum(number for (first, second), number in self.counts.items() if first == second != ABSTAINED)
        return (n_decided - n_same) / n_decided if n_decided else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa over the windows with two labels; None where chance alone explains everything.

        References
        ----------
        .. [1] J. Cohen, "A coefficient of agreement for nominal scales", 1960, doi:10.1177/001316446002000104
        """
        disagreement_ratio = self.disagreement_ratio
        if disagreement_ratio is None:
            return None
        rows: dict[str, int] = {}
        columns: dict[str, int] = {}
        for (first, second), number in self.counts.items():
            if ABSTAINED not in {first, second}:
                rows[first] = rows.get(first, 0) + number
                columns[second] = columns.get(second, 0) + number
        by_chance = sum(number * columns.get(label, 0) for label, number in rows.items()) / self.n_decided**2
        return None if by_chance >= 1.0 else 1.0 - disagreement_ratio / (1.0 - by_chance)

    def abstention_ratio(self, which: int) -> float | None:
        """Return the share of abstentions of the model in use (0) or of the one beside it (1); None without windows."""
        n_compared = self.n_compared
        n_absent = sum(number for labels, number in self.counts.items() if labels[which] == ABSTAINED)
        return n_absent / n_compared if n_compared else None

    def as_json(self) -> dict[str, Json]:
        """Return the figures for ``health`` and for people."""
        return {
            "n_compared": self.n_compared,
            "n_decided": self.n_decided,
            "n_unpaired": self.n_unpaired,
            "duration_h": round(self.duration_s / 3600, 2),
            "disagreement_pct": _pct(self.disagreement_ratio),
            "kappa": None if self.kappa is None else round(self.kappa, 3),
            "abstention_active_pct": _pct(self.abstention_ratio(0)),
            "abstention_beside_pct": _pct(self.abstention_ratio(1)),
            "counts": {f"{first or '-'}>{second or '-'}": n for (first, second), n in sorted(self.counts.items())},
        }

    def __add__(self, other: Agreement) -> Agreement:
        counts = dict(self.counts)
        for labels, number in other.counts.items():
            if labels in counts or len(counts) < _N_LABELS:
                counts[labels] = counts.get(labels, 0) + number
        return Agreement(
            counts=counts,
            n_unpaired=self.n_unpaired + other.n_unpaired,
            duration_s=self.duration_s + other.duration_s,
        )


def agreement_from_json(values: Mapping[str, object]) -> Agreement:
    """Return the counts that `Agreement.as_json` wrote; what is not there or makes no sense counts as nothing."""
    counts: dict[tuple[str, str], int] = {}
    stored = values.get("counts")
    for key, number in stored.items() if isinstance(stored, dict) else ():
        labels = key.split(">") if isinstance(key, str) else []
        if len(labels) == 2 and isinstance(number, int) and 0 < number < 2**53 and len(counts) < _N_LABELS:
            first, second = ("" if label == "-" else label for label in labels)
            counts[first, second] = number
    n_unpaired, duration_h = values.get("n_unpaired"), values.get("duration_h")
    return Agreement(
        counts=counts,
        n_unpaired=n_unpaired if isinstance(n_unpaired, int) and n_unpaired >= 0 else 0,
        duration_s=duration_h * 3600.0 if isinstance(duration_h, int | float) and 0 <= duration_h < 1e6 else 0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbationSettings:
    """When a freshly promoted model is taken back, and when it has proven itself."""

    min_duration_s: float = 6 * 3600.0
    """Nothing is concluded earlier: in a short episode a better model may rightly differ from the one before."""
    duration_s: float = 24 * 3600.0
    """After this time of comparison the probation is over.  Default: a day has a night in it."""
    min_decided: int = 1000
    """Windows with two labels that a verdict needs."""
    max_disagreement_ratio: float = 0.25
    """Beyond it the promotion is taken back.  Default: two versions of one model that differ on every fourth window
    of a patient are not versions of one model (own choice)."""
    max_more_disagreement_ratio: float = 0.10
    """How much beyond what the shadow run had shown it may go: who promoted after it had accepted that much."""
    max_more_abstention_ratio: float = 0.30
    """How much oftener than the previous model it may abstain (own choice)."""


def probation_fault(agreement: Agreement, expected_ratio: float | None, settings: ProbationSettings) -> str:
    """Return why a freshly promoted model is to be taken back; empty while there is no reason.

    Parameters
    ----------
    agreement : Agreement
        Of the promoted model (in use) with the previous one (beside it).
    expected_ratio : float or None
        The disagreement that the shadow run before the promotion had shown.
    settings : ProbationSettings
        The limits.
    """
    disagreement_ratio = agreement.disagreement_ratio
    if agreement.duration_s < settings.min_duration_s:
        return ""
    new_ratio, old_ratio = agreement.abstention_ratio(0), agreement.abstention_ratio(1)
    if (
        new_ratio is not None
        and old_ratio is not None
        and agreement.n_compared >= settings.min_decided
        and new_ratio > old_ratio + settings.max_more_abstention_ratio
    ):
        return f"it abstains on {100 * new_ratio:.0f} % of the windows, the one before on {100 * old_ratio:.0f} %"
    limit_ratio = max(
        settings.max_disagreement_ratio,
        0.0 if expected_ratio is None else expected_ratio + settings.max_more_disagreement_ratio,
    )
    if (
        disagreement_ratio is not None
        and agreement.n_decided >= settings.min_decided
        and disagreement_ratio > limit_ratio
    ):
        return (
            f"it differs from the one before on {100 * disagreement_ratio:.0f} % of {agreement.n_decided} windows, "
            f"more than {100 * limit_ratio:.0f} %"
        )
    return ""


class Beside:
    """The model in use, and another on the same windows whose answers are counted and never given out.

    Parameters
    ----------
    active : WindowStage
        Its answers are the stage's.
    beside : WindowStage
        In a thread of its own where `active` has one, so that neither waits for the other.
    agreement : Agreement
        Where the windows are counted.
    """

    def __init__(self, active: WindowStage, beside: WindowStage, agreement: Agreement) -> None:
        self._active = active
        self._beside = beside
        self._agreement = agreement
        # What one of them has said and the other not yet, oldest first.
        self._waiting: tuple[dict[_Key, Prediction], dict[_Key, Prediction]] = ({}, {})

    def push(self, window: Window) -> list[Prediction]:
        """Return what the model in use says of a window."""
        out = self._active.push(window)
        self._pair(out, self._beside.push(window))
        return out

    def poll(self) -> list[Prediction]:
        """Return what the model in use has answered since the last call."""
        out = poll(self._active)
        self._pair(out, poll(self._beside))
        return out

    def reset(self, reason: str) -> None:
        """Let both forget what came before."""
        self._active.reset(reason)
        self._beside.reset(reason)
        for waiting in self._waiting:
            waiting.clear()

    def status(self) -> str:
        """Return what ``health`` says of the model in use."""
        return self._active.status()

    def _pair(self, active: list[Prediction], beside: list[Prediction]) -> None:
        for side, predictions in enumerate((active, beside)):
            own, other = self._waiting[side], self._waiting[1 - side]
            for prediction in predictions:
                key = (prediction.sensor, prediction.stream, prediction.at_ns)
                match = other.pop(key, None)
                if match is not None and UNANSWERED & {prediction.absent, match.absent}:
                    self._agreement.n_unpaired += 1
                    continue
                if match is not None:
                    self._agreement.add(*((prediction, match) if side == 0 else (match, prediction)))
                    continue
                own[key] = prediction
                if len(own) > _N_WAITING:
                    own.pop(next(iter(own)))
                    self._agreement.n_unpaired += 1


_Key = tuple[str, str, int]


def _pct(ratio: float | None) -> float | None:
    return None if ratio is None else round(100.0 * ratio, 2)
