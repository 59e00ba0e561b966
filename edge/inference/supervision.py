"""A worker thread that hangs: noticed, left behind, and followed by another.

A thread cannot be ended from outside.  One that hangs is left behind with its interpreter, and after a while another
is tried once; when that hangs too, rules go on alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from edge.inference.window_stage import HUNG, InferenceCounts, unanswered
from edge.messages import Prediction, Window

_NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """What is needed of a clock."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go backwards."""
        ...


class Worker(Protocol):
    """What is needed of a thread with a model: `InferenceWorker`."""

    def start(self) -> None:
        """Begin to work."""
        ...

    def submit(self, window: Window, /) -> None:
        """Queue a window and return at once."""
        ...

    def reset(self, reason: str, /) -> None:
        """Let the model forget what came before."""
        ...

    def results(self) -> list[Prediction]:
        """Return what has been answered since the last call."""
        ...

    def overdue_ns(self) -> int:
        """Return how long the window in work has been past its deadline; 0 while none is."""
        ...

    def counts(self) -> InferenceCounts:
        """Return what became of the windows so far."""
        ...

    def status(self) -> str:
        """Return what ``health`` says of the model."""
        ...

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Stop and return whether the thread ended within `timeout_s` seconds."""
        ...


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
    worker : Worker
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
        worker: Worker,
        *,
        clock: Clock | None = None,
        make_another: Callable[[], Worker] | None = None,
        supervision: Supervision = Supervision(),
    ) -> None:
        self._worker: Worker | None = worker
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
            self._left_over.append(unanswered(window, HUNG))
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
        if self._clock is None or overdue_ns <= self._supervision.hung_s * _NS_PER_S:
            return WorkerState.LATE if overdue_ns else WorkerState.WORKING
        self._left_over += worker.results()
        worker.stop(timeout_s=0.0)
        self._past += worker.counts() + InferenceCounts(n_hung=1)
        self._worker = None
        is_last = self._make_another is None or self._n_made >= self._supervision.n_more
        if not is_last:
            self._again_at_ns = self._clock.monotonic_ns() + round(self._supervision.again_s * _NS_PER_S)
        return WorkerState.GIVEN_UP if is_last else WorkerState.LEFT

    def reset(self, reason: str) -> None:
        """Let the model forget, in its turn; an answer to a window from before is still true and still comes."""
        if self._worker is not None:
            self._worker.reset(reason)

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
        return WorkerState.WORKING
