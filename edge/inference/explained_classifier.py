"""A classifier whose remarkable answers say at once what they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge.inference.occlusion import Questioned, beat_parts, effects, rhythm_parts
from edge.inference.window_stage import WindowStage
from edge.messages import Json, Prediction, Window


def quick_contributions(model: Questioned, window: Window, label: str) -> dict[str, float]:
    """Return what each question did for `label` in one window: what an alert states at once.

    Costs one inference a question: 8 for a beat, 7 for a rhythm.
    """
    parts = beat_parts(model.card, window) if model.card.task == "beat" else rhythm_parts(model.card, [window])
    return {each.part.name: round(each.drop, 3) for each in effects(model, [window], label, parts)}


class ExplainedClassifier:
    """A classifier whose remarkable answers say what they rest on: ``contributions`` in their evidence.

    Runs wherever the classifier runs, so in the thread of the inference; a label that is in `quiet` costs nothing.

    Parameters
    ----------
    classifier : WindowStage
        Decides.
    model : Questioned
        The same model, to be asked again: `Classifier` itself.
    quiet : sequence of str
        Labels that raise no alert.
    """

    def __init__(self, classifier: WindowStage, model: Questioned, quiet: Sequence[str] = ("N", "O", "~", "Q")) -> None:
        self._classifier = classifier
        self._model = model
        self._quiet = frozenset(quiet)

    def push(self, window: Window) -> list[Prediction]:
        """Return what the classifier says of `window`, with its reasons where it is remarkable."""
        return [self._explained(prediction, window) for prediction in self._classifier.push(window)]

    def reset(self, reason: str) -> None:
        """Let the classifier forget what came before."""
        self._classifier.reset(reason)

    def status(self) -> str:
        """Return what ``health`` says of the classifier."""
        return self._classifier.status()

    def _explained(self, prediction: Prediction, window: Window) -> Prediction:
        label = prediction.label
        if label is None or label in self._quiet or prediction.sequence != window.sequence:
            return prediction
        contributions: dict[str, Json] = {**quick_contributions(self._model, window, label)}
        return replace(prediction, evidence={**prediction.evidence, "contributions": contributions})
