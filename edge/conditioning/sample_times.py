"""Sample index -> instant, for stages that answer about samples of earlier blocks."""

from __future__ import annotations

from bisect import bisect_right

NS_PER_S = 1_000_000_000

# Cutting a block elsewhere rounds its start to the nearest nanosecond; the corrections of `timeline` are larger.
# Anything below is rounding, and following it would make instants depend on the chunking.
_ROUNDING_NS = 1000
_LONGEST_MEMORY = 256


class SampleTimes:
    """The time line of one stream: where each block began, as far back as anyone asks.

    Parameters
    ----------
    rate_hz : float
        Nominal rate, used between the starts of blocks.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._sequences: list[int] = []
        self._starts_ns: list[int] = []

    def add(self, sequence: int, start_ns: int) -> None:
        """Learn that sample `sequence`, later than all before, was taken at `start_ns`."""
        if self._sequences and abs(self.at_ns(sequence) - start_ns) <= _ROUNDING_NS:
            return
        self._sequences.append(sequence)
        self._starts_ns.append(start_ns)
        if len(self._sequences) > _LONGEST_MEMORY:
            del self._sequences[0], self._starts_ns[0]

    def at_ns(self, sequence: int) -> int:
        """Return when sample `sequence` was taken, from the latest block that began before it.

        Raises
        ------
        ValueError
            If no block was added yet.
        """
        if not self._sequences:
            raise ValueError("expected at least one block before asking for a time")
        k = max(0, bisect_right(self._sequences, sequence) - 1)
        return self._starts_ns[k] + round((sequence - self._sequences[k]) * NS_PER_S / self._rate_hz)
