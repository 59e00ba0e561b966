"""Sample numbers of eight bits, made endless with the help of the arrivals.  Used by `cyton`."""

from __future__ import annotations

from typing import NamedTuple

from edge.acquisition.devices.sampling import NS_PER_S
from edge.acquisition.unrolling import unroll

NUMBERS = 256
REPEATED = 32
"""A frame whose number is less than so far back came twice; a board that restarted there is late by an eighth of a
second, no more."""


class Step(NamedTuple):
    """From one frame to the next."""

    n_lost: int = 0
    is_restart: bool = False
    """The number went back: the board began to count anew, and nobody knows what is missing."""


class SampleNumbers:
    """How many samples are missing between two frames that came.

    Parameters
    ----------
    rate_hz : float
        Samples a second, one number each.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._newest: tuple[int, int] | None = None  # unrolled number and arrival

    def is_doubtful(self, at_ns: int) -> bool:
        """Whether a frame at `at_ns` comes after so long a pause that the number alone may be a turn too few."""
        return self._newest is not None and 2 * (self._n_elapsed(at_ns) + 1) >= NUMBERS

    def step(self, number: int, at_ns: int, *, is_backlog: bool = False) -> Step | None:
        """Return what `number` says; None for a frame that came twice.

        Parameters
        ----------
        number : int
            0 to 255.
        at_ns : int
            Arrival.
        is_backlog : bool
            Whether the frame waited in a buffer, so that its arrival says nothing.
        """
        newest = self._newest
        if newest is None:
            self._newest = (number, at_ns)
            return Step()
        last = newest[0]
        n_elapsed = 0 if is_backlog else self._n_elapsed(at_ns)
        unrolled = unroll(number, near=last + max(1, n_elapsed), counter_range=NUMBERS)
        if last - REPEATED < unrolled <= last:
            return None
        if unrolled < last:
            self._newest = (number, at_ns)
            return Step(is_restart=True)
        self._newest = (unrolled, at_ns)
        return Step(n_lost=unrolled - last - 1)

    def reset(self) -> None:
        """Forget the numbers; the next one is the first."""
        self._newest = None

    def _n_elapsed(self, at_ns: int) -> int:
        if self._newest is None:
            return 0
        return round(max(0, at_ns - self._newest[1]) * self._rate_hz / NS_PER_S)
