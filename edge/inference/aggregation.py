"""The answers to several windows -> one: over the last seconds while monitoring, over a whole record at its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.inference.card import OutputCard
from edge.inference.decision import Calibration, logits_of
from edge.inference.quantization import Quantization
from edge.messages import Prediction

_MOST_KEPT = 4000
"""Windows of an hour, one every second, and some; bounds memory whatever comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLogits:
    """What the model said of one window."""

    start_ns: int
    end_ns: int
    sequence: int
    """Of the window, at the model's rate."""
    logits: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanLogits:
    """The mean over windows, and which they were."""

    logits: tuple[float, ...]
    sequences: tuple[int, ...]
    """Oldest first; the last is the window itself."""
    from_ns: int
    """Beginning of the oldest of them: where the evidence begins."""


class TrailingMean:
    """Mean of the logits over the windows that lie wholly in the last seconds.

    A hole between two windows, or a window that is older than the one before, begins anew: evidence from before it may
    be of another rhythm, or of another person.

    Parameters
    ----------
    span_ns : int
        Nanoseconds up to the end of the newest window; the newest itself always counts.
    """

    def __init__(self, span_ns: int) -> None:
        self._span_ns = span_ns
        self._kept: deque[WindowLogits] = deque(maxlen=_MOST_KEPT)

    def push(self, window: WindowLogits) -> list[MeanLogits]:
        """Return the one mean that `window` led to."""
        if self._kept and not self._kept[-1].start_ns <= window.start_ns <= self._kept[-1].end_ns:
            self._kept.clear()
        while self._kept and self._kept[0].start_ns < window.end_ns - self._span_ns:
            self._kept.popleft()
        self._kept.append(window)
        n = len(self._kept)
        columns = zip(*(each.logits for each in self._kept), strict=True)
        return [
            MeanLogits(
                logits=tuple(sum(column) / n for column in columns),
                sequences=tuple(each.sequence for each in self._kept),
                from_ns=self._kept[0].start_ns,
            )
        ]

    def reset(self, reason: str) -> None:  # noqa: ARG002 -- the shape of a stage
        """Forget every window so far."""
        self._kept.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLabel:
    """What the model says of a whole record."""

    label: str | None
    """None when it abstains; ``absent`` then says why."""
    probabilities: Mapping[str, float]
    """Calibrated, by label; empty where no window was judged."""
    n_windows: int
    """How many windows it judged."""
    absent: str | None = None
    """``no-window`` (too short, or never whole), ``no-answer`` (every window was refused) or ``uncertain``."""


def label_of_record(predictions: Sequence[Prediction], output: OutputCard, quantization: Quantization) -> RecordLabel:
    """Return the label of a whole record: that of the mean of the logits of all of its windows.

    Parameters
    ----------
    predictions : sequence of Prediction
        Of one model on one stream; those that carry no logits (the model was not asked) do not count.
    output : OutputCard
        Of the model that made them.
    quantization : Quantization
        Of its output tensor (`Classifier.output`).
    """
    rows = [row for row in (prediction.evidence.get("logits") for prediction in predictions) if isinstance(row, list)]
    if not rows:
        return RecordLabel(
            label=None, probabilities={}, n_windows=0, absent="no-answer" if predictions else "no-window"
        )
    logits = logits_of(np.asarray(rows, dtype=np.int8), quantization, output.activation).mean(axis=0)
    calibration = Calibration(output)
    shares = calibration.probabilities(logits.tolist())
    label, is_certain = calibration.verdict(shares)
    return RecordLabel(
        label=label if is_certain else None,
        probabilities=shares,
        n_windows=len(rows),
        absent=None if is_certain else "uncertain",
    )
