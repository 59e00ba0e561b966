"""How long an ECG has been usable, so that silence of the heart and silence of the electrode are never confused.

Fed with the per-second `Quality` of the stream; time that no usable second covers does not exist for the rules.
"""

from __future__ import annotations

from collections import deque

_SECOND_NS = 1_000_000_000
_TOLERANCE_NS = 50_000_000
"""Two seconds this close follow each other: the instants of samples are drawn to a drifting clock's line by up to 1 ms
a second, and a block is 200 ms long."""


class UsableTime:
    """The usable stretches of the recent past.

    Parameters
    ----------
    restart_ns : int
        An unusable stretch this long ends what came before: nobody knows what the heart did in it.  A shorter one
        only interrupts, so that a signal which flickers cannot hide an asystole for ever.
    """

    def __init__(self, restart_ns: int) -> None:
        self._restart_ns = restart_ns
        self._stretches: deque[tuple[int, int]] = deque(maxlen=64)
        self._unusable: deque[tuple[int, int]] = deque(maxlen=64)
        self._seen_until_ns: int | None = None

    @property
    def begins_at_ns(self) -> int | None:
        """Start of the oldest stretch that still counts; None without one."""
        return self._stretches[0][0] if self._stretches else None

    def add(self, at_ns: int, *, is_usable: bool) -> None:
        """Note the second that ends at `at_ns`; an older one than the last is ignored."""
        start_ns = at_ns - _SECOND_NS
        if self._seen_until_ns is not None:
            if at_ns <= self._seen_until_ns:
                return
            if start_ns > self._seen_until_ns + _TOLERANCE_NS:  # a hole without any verdict is unusable too
                self._unusable.append((self._seen_until_ns, start_ns))
            else:
                start_ns = self._seen_until_ns
        self._seen_until_ns = at_ns
        if not is_usable:
            self._unusable.append((start_ns, at_ns))
            return
        if self._stretches and start_ns - self._stretches[-1][1] >= self._restart_ns:
            self._stretches.clear()
        if self._stretches and self._stretches[-1][1] == start_ns:
            self._stretches[-1] = (self._stretches[-1][0], at_ns)
        else:
            self._stretches.append((start_ns, at_ns))

    def between(self, from_ns: int, to_ns: int) -> int:
        """Return the usable nanoseconds from `from_ns` to `to_ns`."""
        return sum(max(0, min(end, to_ns) - max(start, from_ns)) for start, end in self._stretches)

    def covers(self, at_ns: int) -> bool:
        """Return whether `at_ns` lies in a usable stretch."""
        return any(start < at_ns <= end for start, end in self._stretches)

    def is_whole(self, from_ns: int, to_ns: int) -> bool:
        """Return whether nothing unusable is known between `from_ns` and `to_ns`."""
        return not any(start < to_ns and end > from_ns for start, end in self._unusable)
