"""What looks at windows: the shape that every classifier has, whether it answers at once or later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

from edge.messages import Json, Prediction, Window

_NS_PER_S = 1_000_000_000
_RATES_HZ = (0.1, 100_000.0)


class WindowStage(Protocol):
    """What looks at windows: `Classifier`, or anything of its shape."""

    def push(self, window: Window) -> list[Prediction]:
        """Return what is said of a window."""
        ...

    def reset(self, reason: str) -> None:
        """Forget what came before."""
        ...

    def status(self) -> str:
        """Return what ``health`` says of it."""
        ...


@runtime_checkable
class PolledStage(Protocol):
    """A stage whose answers may come after `push` has returned."""

    def poll(self) -> list[Prediction]:
        """Return what has been answered since the last call."""
        ...


def poll(stage: WindowStage) -> list[Prediction]:
    """Return what a stage has answered since its last `push` or `poll`; nothing of one that answers at once."""
    return stage.poll() if isinstance(stage, PolledStage) else []


LATE, DROPPED, FAILED, HUNG = "late", "dropped", "failed", "hung"
UNANSWERED = frozenset({LATE, DROPPED, FAILED, HUNG})
"""`Prediction.absent` where the model did not answer at all: it says something of the machine, and nothing of the model."""


def unanswered(window: Window, reason: str) -> Prediction:
    """Return what stands in place of an answer that will not come, so that nobody waits for it.

    Its instant is the one that `Classifier` gives: of a beat, its R peak; else the end of the window.
    """
    is_beat = window.model == "beat" and len(window.beats) == 1
    is_plausible = _RATES_HZ[0] <= window.rate_hz <= _RATES_HZ[1]  # whoever stands in for a model must not raise itself
    duration_s = window.values.shape[0] / window.rate_hz if is_plausible else 0.0
    end_ns = window.start_ns + round(duration_s * _NS_PER_S)
    return Prediction(
        at_ns=window.beats[0].at_ns if is_beat else end_ns,
        label=None,
        probabilities={},
        bundle_sha256="",
        absent=reason,
        model=window.model,
        sensor=window.sensor,
        stream=window.stream,
        sequence=window.sequence,
    )


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
    """Not begun when the worker was stopped, or shown to no model because it hangs."""
    n_hung: int = 0
    """Of the late ones, those whose thread was given up."""
    peak_queued: int = 0

    def as_json(self) -> dict[str, Json]:
        """Return the figures for ``health``."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __add__(self, other: InferenceCounts) -> InferenceCounts:
        sums = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        return InferenceCounts(**sums | {"peak_queued": max(self.peak_queued, other.peak_queued)})


class Deferred:
    """A stage that is made when the first window comes, by the thread that shows it.

    Opening a model runs its golden windows.  A runtime that hangs would hang there too, and must do so in the thread
    that is watched, never in the one that monitors.

    Parameters
    ----------
    make : callable
        Gives the stage; may raise, then the next window tries again.
    status : str
        What ``health`` says until it is made.
    """

    def __init__(self, make: Callable[[], WindowStage], status: str) -> None:
        self._make = make
        self._status = status
        self._stage: WindowStage | None = None

    def push(self, window: Window) -> list[Prediction]:
        """Return what the stage says of a window."""
        if self._stage is None:
            self._stage = self._make()
        return self._stage.push(window)

    def reset(self, reason: str) -> None:
        """Let the stage forget what came before."""
        if self._stage is not None:
            self._stage.reset(reason)

    def status(self) -> str:
        """Return what ``health`` says of the stage."""
        return self._status if self._stage is None else self._stage.status()
