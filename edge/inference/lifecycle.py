"""A model from its bundle to its thread: opened and verified, then run beside the event loop.

Inference must never hold up an alarm rule, so it has a thread of its own with a short queue.  A replay that has to be
deterministic calls `Classifier.push` directly instead.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from edge.clock import NS_PER_S, Clock
from edge.inference.bundle import load_bundle
from edge.inference.classifier import Classifier, ClassifierSettings
from edge.inference.interpreter import Interpreter
from edge.messages import Prediction, Window

_LOG = logging.getLogger(__name__)


def open_classifier(
    path: Path,
    *,
    backend: str = "auto",
    settings: ClassifierSettings | None = None,
) -> Classifier:
    """Return the classifier of a bundle whose golden windows give the golden answers here.

    Raises
    ------
    ModelContractError
        If the bundle, its model or its answers are not as released, or no runtime works.
    """
    bundle = load_bundle(path)
    interpreter = Interpreter(bundle.model, backend=backend)
    classifier = Classifier(bundle.card, bundle.sha256, interpreter, settings or ClassifierSettings())
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


class WindowStage(Protocol):
    """What the worker runs: `Classifier`, or anything of its shape."""

    def push(self, window: Window) -> list[Prediction]:
        """Return what is said of a window."""
        ...

    def reset(self, reason: str) -> None:
        """Forget what came before."""
        ...

    def status(self) -> str:
        """Return what ``health`` says of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceCounts:
    """What became of the windows since the start; ``n_submitted`` is the sum of the others and of those waiting."""

    n_submitted: int = 0
    n_done: int = 0
    n_dropped: int = 0
    """Pushed out of the full queue by a newer window."""
    n_late: int = 0
    """Not answered by their deadline: the answer, if it ever comes, is thrown away."""
    n_failed: int = 0
    """The model raised."""
    n_abandoned: int = 0
    """Not begun when the worker was stopped."""
    peak_queued: int = 0


@dataclass(frozen=True, slots=True)
class _Job:
    window: Window
    due_ns: int


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
            if len(self._waiting) == self._queue_size:
                self._waiting.popleft()
                n_dropped = 1
            self._waiting.append(_Job(window, self._clock.monotonic_ns() + self._deadline_ns))
            self._count(n_submitted=1, n_dropped=n_dropped)
            self._counts = replace(self._counts, peak_queued=max(self._counts.peak_queued, len(self._waiting)))
            self._changed.notify_all()
        if n_dropped:
            _LOG.warning("inference.dropped reason=%s n_queued=%d", "queue-full", self._queue_size)

    def results(self) -> list[Prediction]:
        """Return what has been answered in time since the last call, oldest first."""
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
                    self._changed.notify_all()
                    continue
                self._running, self._is_running_late = job, False
            fault, predictions = "", list[Prediction]()
            try:
                predictions = self._classifier.push(job.window)
            except Exception as error:  # noqa: BLE001 -- task boundary: a model that raises must not end the monitoring
                fault = f"{type(error).__name__}: {error}"
            self._finish(predictions, fault)

    def _finish(self, predictions: list[Prediction], fault: str) -> None:
        with self._changed:
            self._mark_late()
            if fault:
                self._count(n_failed=0 if self._is_running_late else 1)
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
        """Notice, whoever looks first, that the window in work has passed its deadline."""
        job = self._running
        if job is not None and not self._is_running_late and self._clock.monotonic_ns() > job.due_ns:
            self._is_running_late = True
            self._count(n_late=1)
            _LOG.warning("inference.late deadline_s=%.3f", self._deadline_ns / NS_PER_S)

    def _count(self, **more: int) -> None:
        self._counts = replace(
            self._counts, **{name: getattr(self._counts, name) + number for name, number in more.items()}
        )


class InThread:
    """A classifier that never holds up its caller: its answers come out with a later window.

    Parameters
    ----------
    worker : InferenceWorker
        Started here; whoever made it stops it.
    """

    def __init__(self, worker: InferenceWorker) -> None:
        self._worker = worker
        worker.start()

    def push(self, window: Window) -> list[Prediction]:
        """Hand `window` over and return the answers to earlier ones."""
        self._worker.submit(window)
        return self._worker.results()

    def reset(self, reason: str) -> None:
        """Do nothing: an answer names the instant of its window, so one from before a gap is still true."""

    def status(self) -> str:
        """Return what ``health`` says of the model."""
        return self._worker.status()
