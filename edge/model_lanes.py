"""What runs for one model: its streams' lanes, its comparisons and its drift."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edge.inference.drift import Drift, DriftReference
from edge.inference.explained_classifier import ExplainedClassifier
from edge.inference.lifecycle import InThread, ModelDemands, OpenedModel, WorkerState
from edge.inference.shadow import Agreement
from edge.inference.window_stage import InferenceCounts, WindowStage, poll
from edge.messages import Json, Prediction, Window
from edge.model_alarms import ModelFigures
from edge.model_choice import Choice
from edge.model_state import ModelSlots

_WORST = (WorkerState.WORKING, WorkerState.LATE, WorkerState.LEFT, WorkerState.GIVEN_UP)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model that the service is to run."""

    choice: Choice
    demands: ModelDemands
    deadline_s: float
    builtin: Path | None = None
    """The bundle that came with the software."""
    is_from_store: bool = False
    """Whether promotions concern it: not where the configuration names a bundle."""


def answering(opened: OpenedModel) -> WindowStage:
    """Return a classifier of a model for the thread that calls; one that the rules ask says what its answers rest on."""
    classifier = opened.classifier()
    if opened.bundle.card.task == "other":
        return classifier
    return ExplainedClassifier(classifier, classifier)


@dataclass(slots=True)
class Comparison:
    """Another model beside the one in use."""

    pair: str
    """Which two (`model_state.pair_name`)."""
    opened: OpenedModel
    agreement: Agreement
    """Of all streams together."""


class Running:
    """One model, with everything that runs for it."""

    def __init__(self, name: str, served: ServedModel) -> None:
        self.name = name
        self.served = served
        self.slots = ModelSlots()
        self.reference = DriftReference.of_card(served.choice.opened.bundle.card)
        self.drifts: dict[str, Drift] = {}
        self.lanes: list[Lane] = []
        self.comparisons: dict[str, Comparison] = {}

    def take(self, served: ServedModel) -> None:
        """Run another model from now on; what was counted of the one before says nothing of it."""
        self.served = served
        self.comparisons = {}
        self.reference = DriftReference.of_card(served.choice.opened.bundle.card)
        self.drifts = {bed: Drift(self.reference) for bed in self.drifts}
        for lane in self.lanes:
            lane.drift = self.drifts[lane.bed]

    def figures(self, bed: str, told: ModelFigures) -> ModelFigures:
        """Return what the model does for a bed now, and look after its threads."""
        lanes = [lane for lane in self.lanes if lane.bed == bed]
        states = [lane.threads[0].watch() for lane in lanes]
        report = self.drifts[bed].report if bed in self.drifts else None
        for lane in lanes:
            for beside in lane.threads[1:]:
                beside.watch()  # left behind like any other, but nobody's alarm
        return replace(
            told,
            state=max(states, key=_WORST.index, default=WorkerState.WORKING),
            counts=sum((lane.counts() for lane in lanes), InferenceCounts()),
            unusual="" if report is None else report.unusual,
        )

    def as_json(self) -> dict[str, Json]:
        """Return the figures for ``health``."""
        bundle = self.served.choice.opened.bundle
        counts = sum((lane.counts() for lane in self.lanes), InferenceCounts())
        reports = {bed: drift.report for bed, drift in self.drifts.items()}
        return {
            "status": self.lanes[0].status() if self.lanes else self.served.choice.opened.title,
            "bundle_sha256": bundle.sha256,
            "release": bundle.card.release,
            "source": "promoted"
            if self.served.choice.chosen.slot is not None
            else str(self.served.choice.chosen.path.name),
            "windows": counts.as_json(),
            "comparisons": {kind: each.agreement.as_json() for kind, each in self.comparisons.items()},
            "drift": {bed: report.as_json() for bed, report in reports.items() if report is not None},
        }


class Lane:
    """What one stream shows its windows to; the model behind it can be exchanged while the stream goes on."""

    def __init__(self, bed: str, drift: Drift) -> None:
        self.bed = bed
        self.drift = drift
        self.threads: list[InThread] = []
        self._stage: WindowStage | None = None
        self._past = InferenceCounts()

    def exchange(self, stage: WindowStage, threads: list[InThread]) -> list[InThread]:
        """Show the windows to another stage from now on, and return the threads of the one before."""
        old, self.threads, self._stage = self.threads, threads, stage
        if old:
            self._past += old[0].counts()
        return old

    def counts(self) -> InferenceCounts:
        """Return what became of the windows, whichever model they were shown to."""
        return self._past + (self.threads[0].counts() if self.threads else InferenceCounts())

    def push(self, window: Window) -> list[Prediction]:
        """Return what the model in use has answered."""
        self.drift.push(window)
        return self._seen([] if self._stage is None else self._stage.push(window))

    def poll(self) -> list[Prediction]:
        """Return what the model in use has answered since."""
        return self._seen([] if self._stage is None else poll(self._stage))

    def reset(self, reason: str) -> None:
        """Let the model forget what came before; what was counted stays counted."""
        if self._stage is not None:
            self._stage.reset(reason)

    def status(self) -> str:
        """Return what ``health`` says of the model in use."""
        return "not started" if self._stage is None else self._stage.status()

    def _seen(self, predictions: list[Prediction]) -> list[Prediction]:
        for prediction in predictions:
            self.drift.push(prediction)
        return predictions
