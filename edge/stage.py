"""The one shape that every streaming stage has.

A stage is built from its frozen ``Settings``; it takes messages one by one and returns what they led to.
Three laws hold for all of them and are tested in ``tests/conformance/``:

chunk law
    any split of the input into pushes gives the same output;
gap law
    after `reset` nothing from before leaks into what follows;
no-crash law
    any bytes or any floats give values or a counted rejection, never an exception.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

In_contra = TypeVar("In_contra", contravariant=True)
Out = TypeVar("Out")


class Stage(Protocol[In_contra, Out]):
    """A pure, stateful transformation of a stream: no clock, no I/O, no logging."""

    def push(self, item: In_contra, /) -> list[Out]:
        """Return what `item` led to, oldest first; often nothing."""
        ...

    def reset(self, reason: str, /) -> None:
        """Forget the signal so far, as after a gap; `reason` is for counters and never parsed."""
        ...


class FlushableStage(Stage[In_contra, Out], Protocol[In_contra, Out]):
    """A stage that holds something back until it knows more."""

    def flush(self) -> list[Out]:
        """Return what is still held back, at the end of the stream."""
        ...
