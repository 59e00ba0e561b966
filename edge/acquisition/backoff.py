"""How long to wait before the next attempt to connect: exponential back-off with full jitter.

Pure: the random numbers are handed in, the waiting is done by `sensor` (and may be by any other retrying task).

References
----------
.. [1] M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter (a uniform draw
   between zero and the exponential bound) spreads clients best and costs the fewest calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_MAX_DOUBLINGS = 30
"""Keeps the power of two small after days of failed attempts; the cap has long been reached by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffSettings:
    """Bounds of the wait.

    Raises
    ------
    ValueError
        Unless 0 < `base_s` <= `cap_s`.
    """

    base_s: float = 0.5
    """Bound of the first wait: a replugged USB adapter enumerates within about that time."""
    cap_s: float = 30.0
    """Bound of every wait: a repaired link is back within half a minute without help."""

    def __post_init__(self) -> None:
        if not 0 < self.base_s <= self.cap_s < float("inf"):
            raise ValueError(f"expected 0 < base_s <= cap_s, got base_s={self.base_s}, cap_s={self.cap_s}")


class Backoff:
    """Counts failures in a row.

    Examples
    --------
    >>> backoff = Backoff(BackoffSettings(base_s=1.0, cap_s=4.0), Random(1))
    >>> [backoff.bound_s() for _ in range(4) if backoff.next_s() >= 0]
    [2.0, 4.0, 4.0, 4.0]
    """

    def __init__(self, settings: BackoffSettings, random: Random) -> None:
        self._settings = settings
        self._random = random
        self._n_failures = 0

    @property
    def n_failures(self) -> int:
        """Failures since the last `reset`."""
        return self._n_failures

    def bound_s(self) -> float:
        """Return the longest that the next wait can be."""
        doublings = min(self._n_failures, _MAX_DOUBLINGS)
        return min(self._settings.cap_s, self._settings.base_s * 2.0**doublings)

    def next_s(self) -> float:
        """Return how long to wait after one more failure: uniform between 0 and `bound_s`."""
        wait_s = self._random.uniform(0.0, self.bound_s())
        self._n_failures += 1
        return wait_s

    def slow_s(self) -> float:
        """Return the cap, for what only a person can mend; counts as a failure too."""
        self._n_failures += 1
        return self._settings.cap_s

    def reset(self) -> None:
        """Begin anew after a success."""
        self._n_failures = 0
