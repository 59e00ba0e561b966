"""A model from its bundle to its thread: opened and verified, then run beside the event loop.

Inference must never hold up an alarm rule, so it has a thread of its own with a short queue.  A replay that has to be
deterministic calls `Classifier.push` directly instead.

A thread cannot be ended from outside.  One that hangs is left behind with its interpreter, and after a while another
is tried once; when that hangs too, rules go on alone.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from edge.clock import NS_PER_S, Clock
from edge.inference.bundle import load_bundle
from edge.inference.classifier import Classifier, ClassifierSettings
from edge.inference.interpreter import Interpreter
from edge.inference.window_stage import InferenceCounts, WindowStage
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


class WorkerState(StrEnum):
    """What the thread of one model is doing."""

    WORKING = "working"
    """It answers, or has nothing to answer."""
    LATE = "late"
    """The window in work is past its deadline."""
    LEFT = "left"
    """It hung and was left behind; another is tried after a while."""
    GIVEN_UP = "given-up"
    """The second one hung too: rules alone until the model is changed or the service starts again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """When a thread is left behind and another is tried."""

    hung_s: float = 10.0
    """How long past its deadline an inference counts as hung.  Default: several thousand times what the reference
    models take, and longer than a gateway that swaps or waits for its disk stands still (own choice)."""
    again_s: float = 300.0
    """When another thread with another interpreter is tried (own choice: what held it up may have passed)."""
    n_more: int = 1
    """How many more threads are tried.  Each that hangs keeps its memory and may keep a processor busy."""

    def __post_init__(self) -> None:
        if not (self.hung_s > 0 and self.again_s > 0) or self.n_more < 0:
            raise ValueError(f"expected hung_s > 0, again_s > 0, n_more >= 0, got {self}")


class InThread:
    """A classifier that never holds up its caller: its answers come out later, with `push` or `poll`.

    Parameters
    ----------
    worker : InferenceWorker
        Started here; `stop` stops whichever is at work then.
    clock : Clock, optional
        For `Supervision`; without it nothing is left behind or tried again.
    make_another : callable, optional
        Gives the worker that is tried when one hangs, with an interpreter of its own.
    supervision : Supervision
        When.
    """

    def __init__(
        self,
        worker: InferenceWorker,
        *,
        clock: Clock | None = None,
        make_another: Callable[[], InferenceWorker] | None = None,
        supervision: Supervision = Supervision(),
    ) -> None:
        self._worker: InferenceWorker | None = worker
        self._clock = clock
        self._make_another = make_another
        self._supervision = supervision
        self._past = InferenceCounts()
        self._left_over: list[Prediction] = []
        self._n_made = 0
        self._again_at_ns: int | None = None
        self._status = worker.status()
        worker.start()

    def push(self, window: Window) -> list[Prediction]:
        """Hand `window` over and return the answers to earlier ones."""
        self.watch()
        if self._worker is None:
            self._past += InferenceCounts(n_submitted=1, n_abandoned=1)
        else:
            self._worker.submit(window)
        return self.poll()

    def poll(self) -> list[Prediction]:
        """Return the answers that have come since the last call."""
        found, self._left_over = self._left_over, []
        return found if self._worker is None else found + self._worker.results()

    def watch(self) -> WorkerState:
        """Return what the thread is doing; one that hangs is left behind here, and later replaced.

        Call it at every tick: a hung inference is noticed although no window comes.
        """
        worker = self._worker
        if worker is None:
            return self._try_again()
        overdue_ns = worker.overdue_ns()
        if self._clock is None or overdue_ns <= self._supervision.hung_s * NS_PER_S:
            return WorkerState.LATE if overdue_ns else WorkerState.WORKING
        self._left_over += worker.results()
        worker.stop(timeout_s=0.0)
        self._past += worker.counts() + InferenceCounts(n_hung=1)
        self._worker = None
        is_last = self._make_another is None or self._n_made >= self._supervision.n_more
        if not is_last:
            self._again_at_ns = self._clock.monotonic_ns() + round(self._supervision.again_s * NS_PER_S)
        _LOG.error("inference.hung overdue_s=%.1f again=%s", overdue_ns / NS_PER_S, not is_last)
        return WorkerState.GIVEN_UP if is_last else WorkerState.LEFT

    def reset(self, reason: str) -> None:
        """Do nothing: an answer names the instant of its window, so one from before a gap is still true."""

    def counts(self) -> InferenceCounts:
        """Return what became of the windows so far, in all threads."""
        return self._past if self._worker is None else self._past + self._worker.counts()

    def status(self) -> str:
        """Return what ``health`` says of the model."""
        if self._worker is not None:
            return self._worker.status()
        return f"{self._status}: hung, " + ("tried again soon" if self._again_at_ns is not None else "rules alone")

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Stop after the window in work and return whether the thread ended within `timeout_s` seconds."""
        self._again_at_ns = None
        return True if self._worker is None else self._worker.stop(timeout_s)

    def _try_again(self) -> WorkerState:
        if self._again_at_ns is None or self._clock is None or self._make_another is None:
            return WorkerState.GIVEN_UP
        if self._clock.monotonic_ns() < self._again_at_ns:
            return WorkerState.LEFT
        self._again_at_ns = None
        self._n_made += 1
        self._worker = self._make_another()
        self._worker.start()
        _LOG.info("inference.again n_threads=%d", 1 + self._n_made)
        return WorkerState.WORKING
