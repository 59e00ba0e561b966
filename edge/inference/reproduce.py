"""Asks a model again what it was asked then, and says whether it gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.inference.classifier import Classifier
from edge.messages import Prediction, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """How a model's answers compare with those that were kept."""

    n_compared: int
    """Windows whose int8 answer was kept."""
    n_same: int
    """Of these, answered with the very same bytes."""
    largest_lsb: int
    """Largest difference of an output, in int8 steps."""
    n_decisions: int
    """Decisions that were kept."""
    n_decisions_same: int
    """Of these, made again with the same label and the same probabilities to the last bit."""

    @property
    def is_exact(self) -> bool:
        """Whether everything came out the same, bit for bit."""
        return self.n_same == self.n_compared > 0 and self.n_decisions_same == self.n_decisions > 0


def deciding_windows(
    windows: Sequence[Window], predictions: Sequence[Prediction], sequences: Sequence[int]
) -> list[Window]:
    """Return the windows that the decisions on `sequences` rest on, oldest first.

    A rhythm's prediction names the windows over which it took the mean; a beat's is made from its own.
    """
    wanted: set[int] = set()
    for prediction in predictions:
        if prediction.sequence in sequences:
            named = prediction.evidence.get("windows")
            wanted |= {int(each) for each in named if isinstance(each, int)} if isinstance(named, list) else set()
    wanted |= set(sequences)
    return sorted((window for window in windows if window.sequence in wanted), key=lambda each: each.start_ns)


def decisions(model: str, sequences: Sequence[int]) -> list[int]:
    """Return the windows on which a decision was made, of those that an alert names.

    Of beats each is one; a rhythm names all windows of a mean, and the newest is the one on which it was taken.
    """
    return list(sequences) if model != "rhythm" else [max(sequences)] if sequences else []


def reproduce(
    classifier: Classifier, windows: Sequence[Window], predictions: Sequence[Prediction], sequences: Sequence[int]
) -> Reproduction:
    """Return how the answers to `windows` compare with `predictions`.

    Parameters
    ----------
    classifier : Classifier
        A fresh one, of the bundle that decided.
    windows : sequence of Window
        What `deciding_windows` gave.
    predictions : sequence of Prediction
        What was said then.
    sequences : sequence of int
        Windows on which a decision was made.
    """
    kept = {prediction.sequence: prediction for prediction in predictions}
    n_compared = n_same = largest_lsb = n_decisions = n_decisions_same = 0
    for window in windows:
        before = kept.get(window.sequence)
        # First by itself, which leaves nothing behind; then as part of the decision.
        answer = classifier.answer(window)
        again = classifier.push(window)
        if before is None:
            continue
        logits = before.evidence.get("logits")
        if isinstance(logits, list) and answer is not None and len(logits) == len(answer.output):
            difference = np.abs(answer.output.astype(np.int64) - np.asarray(logits, dtype=np.int64))
            n_compared += 1
            n_same += not difference.any()
            largest_lsb = max(largest_lsb, int(difference.max()))
        if window.sequence in sequences:
            n_decisions += 1
            n_decisions_same += any(
                each.label == before.label and dict(each.probabilities) == dict(before.probabilities) for each in again
            )
    return Reproduction(
        n_compared=n_compared,
        n_same=n_same,
        largest_lsb=largest_lsb,
        n_decisions=n_decisions,
        n_decisions_same=n_decisions_same,
    )
