"""How long the disk takes."""

from __future__ import annotations

import collections

_N_KEPT = 512
_NS_PER_MS = 1_000_000


class Latencies:
    """The last few hundred durations and their percentiles."""

    def __init__(self) -> None:
        self._kept_ns: collections.deque[int] = collections.deque(maxlen=_N_KEPT)

    def add(self, duration_ns: int) -> None:
        """Take one more; the oldest beyond a few hundred is forgotten."""
        self._kept_ns.append(duration_ns)

    def percentile_ms(self, share: float) -> float | None:
        """Return the duration that `share` of those kept do not exceed (nearest rank), None without any."""
        ordered = sorted(self._kept_ns.copy())
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / _NS_PER_MS if ordered else None
