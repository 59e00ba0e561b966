"""What the beats of one lead have been like."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class LeadLevel:
    """What one lead's beats have been like."""

    def __init__(self) -> None:
        self.beats: deque[float] = deque(maxlen=8)
        self.between: deque[float] = deque(maxlen=16)
        """Largest energy between two beats, P and T waves included."""
        self.level = 0.0

    def ratio(self) -> float:
        """How far beats stand out; 0 while unknown."""
        if len(self.beats) < 8 or len(self.between) < 8:
            return 0.0
        return sorted(self.beats)[2] / max(sorted(self.between)[-3], 1e-3)


def median_of(values: Iterable[float]) -> float:
    """Return the median of a few values: several times quicker than `statistics.median`."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return float(ordered[half]) if len(ordered) % 2 else 0.5 * (ordered[half - 1] + ordered[half])
