"""A model from its bundle to its thread: opened and verified, then run beside the event loop.

Inference must never hold up an alarm rule, so it has a thread of its own with a short queue.  A replay that has to be
deterministic calls `Classifier.push` directly instead.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import JsonValue

from edge.clock import NS_PER_S, Clock
from edge.errors import ModelContractError, ModelFault
from edge.inference.bundle import Bundle, load_bundle
from edge.inference.card import preprocessing_differences
from edge.inference.classifier import Classifier, ClassifierSettings
from edge.inference.interpreter import Interpreter
from edge.inference.supervision import InThread, Supervision, WorkerState
from edge.inference.trust import TrustedKeys
from edge.inference.window_stage import DROPPED, FAILED, LATE, InferenceCounts, WindowStage, unanswered
from edge.messages import Prediction, Window

__all__ = [
    "InThread",
    "InferenceCounts",
    "InferenceWorker",
    "Supervision",
    "WindowStage",
    "WorkerState",
    "open_classifier",
]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDemands:
    """What a bundle must be before its model sees a patient."""

    task: str | None = None
    """``beat`` or ``rhythm``: the only task that is taken."""
    preprocessing: Mapping[str, JsonValue] | None = None
    """What the runtime's own stage says of its windows; a model that was trained on others is refused."""
    trust: TrustedKeys | None = None
    """Who may vouch for it.  Default: the keys that came with this software."""
    allow_unsigned: bool = False
    """Whether a bundle without signature is taken."""
    least_release: int = 0
    """Smallest release that is taken."""
    backend: str = "auto"
    """Which TFLite runtime."""
    settings: ClassifierSettings = field(default_factory=ClassifierSettings)
    """When the model is not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedModel:
    """A bundle that was proven on this machine."""

    bundle: Bundle
    demands: ModelDemands

    @property
    def title(self) -> str:
        """Name and version, who vouches for it and its hash, for people: what `Classifier.status` says."""
        signed_by = self.bundle.signed_by
        signed = f"signed by {signed_by.owner}" if signed_by else "unsigned"
        return f"{self.bundle.card.title} ({signed}, sha256 {self.bundle.sha256[:12]})"

    def classifier(self) -> Classifier:
        """Return a classifier with an interpreter of its own, for the thread that calls; golden windows tried.

        Raises
        ------
        ModelContractError
            If this machine now computes something else.
        """
        bundle = self.bundle
        interpreter = Interpreter(bundle.model, backend=self.demands.backend)
        classifier = Classifier(
            bundle.card, bundle.sha256, interpreter, self.demands.settings, signed_by=bundle.signed_by
        )
        worst_lsb = classifier.verify(bundle.golden)
        _LOG.info(
            "model.loaded model=%s backend=%s sha256=%s n_golden=%d golden_difference_lsb=%d",
            bundle.card.title,
            interpreter.backend,
            bundle.sha256,
            len(bundle.golden),
            worst_lsb,
        )
        return classifier


def open_model(path: Path, demands: ModelDemands | None = None) -> OpenedModel:
    """Return the model of a bundle that is signed, whole, made for this software, and right on its golden windows.

    Raises
    ------
    ModelContractError
        If the bundle, its model or its answers are not as released, or no runtime works; ``reason`` says which.
    """
    return _proven(path, demands or ModelDemands())[0]


def _proven(path: Path, demands: ModelDemands) -> tuple[OpenedModel, Classifier]:
    bundle = load_bundle(
        path,
        demands.trust,
        allow_unsigned=demands.allow_unsigned,
        task=demands.task,
        least_release=demands.least_release,
    )
    if demands.preprocessing is not None:
        differences = preprocessing_differences(bundle.card.preprocessing, demands.preprocessing)
        if differences:
            raise ModelContractError(
                f"{path}: {bundle.card.title} was trained on other windows: {'; '.join(differences[:5])}",
                reason=ModelFault.MISMATCH,
                hint="use the bundle that was made for this version of the software, or train it again",
            )
    opened = OpenedModel(bundle=bundle, demands=demands)
    return opened, opened.classifier()


def open_classifier(
    path: Path,
    *,
    trust: TrustedKeys | None = None,
    allow_unsigned: bool = False,
    task: str | None = None,
    preprocessing: Mapping[str, JsonValue] | None = None,
    backend: str = "auto",
    settings: ClassifierSettings | None = None,
) -> Classifier:
    """Return the classifier of a bundle: `open_model` for one thread; the parameters are those of `ModelDemands`.

    Raises
    ------
    ModelContractError
        As `open_model`.
    """
    demands = ModelDemands(
        task=task,
        preprocessing=preprocessing,
        trust=trust,
        allow_unsigned=allow_unsigned,
        backend=backend,
        settings=settings or ClassifierSettings(),
    )
    return _proven(path, demands)[1]


@dataclass(frozen=True, slots=True)
class _Job:
    window: Window
    due_ns: int
    reset: str | None
    """Why the classifier is to forget what came before this window; None where it is not."""


class InferenceWorker:
    """Runs a classifier in a thread; nothing that the model does can hold up the caller.

    Parameters
    ----------
    classifier : WindowStage
        Used in the worker's thread only, from `start` on.
    clock : Clock
        For deadlines.
    queue_size : int
        Windows that may wait; a newer one pushes out the oldest, since the newest matters most.
    deadline_s : float
        Seconds from `submit` after which an answer is of no use.
    """

    def __init__(self, classifier: WindowStage, clock: Clock, *, queue_size: int = 4, deadline_s: float = 2.0) -> None:
        if queue_size < 1 or not deadline_s > 0:
            raise ValueError(f"expected queue_size >= 1 and deadline_s > 0, got {queue_size} and {deadline_s}")
        self._classifier = classifier
        self._clock = clock
        self._queue_size = queue_size
        self._deadline_ns = int(deadline_s * NS_PER_S)
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._reset: str | None = None
        self._running: _Job | None = None
        self._is_running_late = False
        self._results: deque[Prediction] = deque(maxlen=64 * queue_size)
        self._counts = InferenceCounts()
        self._fault = ""
        self._is_stopping = False
        # A daemon: a model that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)

    def start(self) -> None:
        """Begin to work; once."""
        self._thread.start()

    def submit(self, window: Window) -> None:
        """Queue a window and return at once, whatever the model is doing."""
        with self._changed:
            self._mark_late()
            n_dropped = 0
            if self._is_stopping:
                self._count(n_submitted=1, n_abandoned=1)
                return
            if self._is_running_late:  # nobody knows when that one comes back: the rule decides on this one now
                self._count(n_submitted=1, n_late=1)
                self._results.append(unanswered(window, LATE))
                return
            job = _Job(window, self._clock.monotonic_ns() + self._deadline_ns, self._reset)
            self._reset = None
            self._waiting.append(job)
            if len(self._waiting) > self._queue_size:
                self._pass_over(self._waiting.popleft(), DROPPED)
                n_dropped = 1
            self._count(n_submitted=1, n_dropped=n_dropped)
            self._counts = replace(self._counts, peak_queued=max(self._counts.peak_queued, len(self._waiting)))
            self._changed.notify_all()
        if n_dropped:
            _LOG.warning("inference.dropped reason=%s n_queued=%d", "queue-full", self._queue_size)

    def reset(self, reason: str) -> None:
        """Let the classifier forget, between the windows submitted so far and those to come."""
        with self._changed:
            self._reset = reason

    def results(self) -> list[Prediction]:
        """Return what has been answered in time since the last call, and, without a label, what will not be."""
        with self._changed:
            self._mark_late()
            found = list(self._results)
            self._results.clear()
            return found

    def counts(self) -> InferenceCounts:
        """Return what became of the windows so far."""
        with self._changed:
            self._mark_late()
            return self._counts

    def status(self) -> str:
        """Return what ``health`` says of the model: its name, and ``late``, ``failing`` or ``stopped`` where so."""
        with self._changed:
            self._mark_late()
            if self._is_stopping:
                return f"{self._classifier.status()}: stopped"
            if self._is_running_late:
                return f"{self._classifier.status()}: late"
            return f"{self._classifier.status()}: failing: {self._fault}" if self._fault else self._classifier.status()

    def overdue_ns(self) -> int:
        """Return how long the window in work has been past its deadline, ns; 0 while none is."""
        with self._changed:
            self._mark_late()
            job = self._running
            return 0 if job is None else max(0, self._clock.monotonic_ns() - job.due_ns)

    def wait_idle(self, timeout_s: float) -> bool:
        """Return whether everything submitted was dealt with within `timeout_s` seconds of real time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and self._running is None, timeout_s)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Stop after the window in work and return whether the thread ended within `timeout_s` seconds."""
        with self._changed:
            self._is_stopping = True
            self._count(n_abandoned=len(self._waiting))
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_stopping or bool(self._waiting))
                if self._is_stopping:
                    return
                job = self._waiting.popleft()
                if self._clock.monotonic_ns() > job.due_ns:  # waited behind a slow one; newer windows matter more
                    self._count(n_late=1)
                    self._pass_over(job, LATE)
                    self._changed.notify_all()
                    continue
                self._running, self._is_running_late = job, False
            fault, predictions = "", list[Prediction]()
            try:
                if job.reset is not None:
                    self._classifier.reset(job.reset)
                predictions = self._classifier.push(job.window)
            except Exception as error:  # noqa: BLE001 -- task boundary: a model that raises must not end the monitoring
                fault = f"{type(error).__name__}: {error}"
            self._finish(predictions, fault)

    def _pass_over(self, job: _Job, reason: str) -> None:
        """Say that a window is not shown, and let it hand its reset to the one after it."""
        self._results.append(unanswered(job.window, reason))
        if job.reset is None:
            return
        if self._waiting:
            self._waiting[0] = replace(self._waiting[0], reset=self._waiting[0].reset or job.reset)
        else:
            self._reset = self._reset or job.reset

    def _finish(self, predictions: list[Prediction], fault: str) -> None:
        with self._changed:
            self._mark_late()
            if fault and not self._is_running_late and self._running is not None:
                self._count(n_failed=1)
                self._results.append(unanswered(self._running.window, FAILED))
            elif not self._is_running_late:
                self._count(n_done=1)
                self._results.extend(predictions)
            was_failing, self._fault = bool(self._fault), fault
            self._running, self._is_running_late = None, False
            self._changed.notify_all()
        if fault:
            _LOG.error("inference.failed error=%s", fault)
        elif was_failing:
            _LOG.info("inference.recovered")

    def _mark_late(self) -> None:
        """Notice, whoever looks first, that windows have passed their deadline: the one in work, and those behind it."""
        job, now_ns, n_late = self._running, self._clock.monotonic_ns(), 0
        if job is not None and not self._is_running_late and now_ns > job.due_ns:
            self._is_running_late = True
            self._results.append(unanswered(job.window, LATE))
            n_late = 1
        while job is not None and self._waiting and now_ns > self._waiting[0].due_ns:
            self._pass_over(self._waiting.popleft(), LATE)
            n_late += 1
        if n_late:
            self._count(n_late=n_late)
            self._changed.notify_all()
            _LOG.warning("inference.late n_windows=%d deadline_s=%.3f", n_late, self._deadline_ns / NS_PER_S)

    def _count(self, **more: int) -> None:
        self._counts = replace(
            self._counts, **{name: getattr(self._counts, name) + number for name, number in more.items()}
        )
