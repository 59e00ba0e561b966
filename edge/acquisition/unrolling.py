"""Counters that wrap, made endless; and which samples of an endless counter are still missing.  Used by `bridge`."""

from __future__ import annotations

NS_PER_S = 1_000_000_000
COUNTER_RANGE = 1 << 32
"""Ticks and sample counters on the wire are 32-bit (PROTOCOL.md R11, R12)."""

_EVERYTHING = (-(1 << 80), 1 << 80)


def unroll(raw: int, near: int, counter_range: int = COUNTER_RANGE) -> int:
    """Return the number nearest to `near` that is `raw` modulo `counter_range`; on a tie, the earlier one.

    Examples
    --------
    >>> unroll(3, near=254, counter_range=256)
    259
    """
    ahead = (raw - near) % counter_range
    return near + ahead if 2 * ahead < counter_range else near + ahead - counter_range


class DeviceClock:
    """Device ticks without their wraps, for one boot of a device.

    The host's own elapsed time says how many whole wraps went by unseen, so a silence of any length is survived as
    long as the two clocks agree to half a wrap (36 minutes at the fastest tick rate allowed).
    """

    def __init__(self, tick_rate_hz: int, ticks: int, at_ns: int) -> None:
        self.tick_rate_hz = tick_rate_hz
        self._ticks = ticks
        self._at_ns = at_ns

    def unroll(self, raw: int, at_ns: int) -> int:
        """Return `raw`, received at `at_ns`, without its wraps."""
        elapsed_ns = max(0, at_ns - self._at_ns)
        return unroll(raw, self._ticks + elapsed_ns * self.tick_rate_hz // NS_PER_S)

    def observe(self, ticks: int, at_ns: int) -> None:
        """Remember the latest known pair of device time (unrolled) and host time."""
        if ticks >= self._ticks:
            self._ticks = ticks
            self._at_ns = max(self._at_ns, at_ns)

    def device_ns(self, ticks: int) -> int:
        """Return unrolled `ticks` in nanoseconds."""
        return ticks * NS_PER_S // self.tick_rate_hz

    def host_ns(self, ticks: int, at_ns: int) -> int:
        """Return when unrolled `ticks` was, seen from a packet received at `at_ns`; never later than that."""
        return min(at_ns, self._at_ns + self.device_ns(ticks - self._ticks))


class MissingSamples:
    """The ranges of a stream's sample counter that have not come yet, so that each sample is delivered once.

    Parameters
    ----------
    max_ranges : int
        Ranges remembered; beyond it the oldest is forgotten, and samples sent late for it count as duplicates.
    """

    def __init__(self, max_ranges: int) -> None:
        self._max_ranges = max_ranges
        self._ranges = [_EVERYTHING]

    def take(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the parts of ``[start, end)`` that were missing, and note that they have come."""
        taken: list[tuple[int, int]] = []
        kept: list[tuple[int, int]] = []
        for low, high in self._ranges:
            if high <= start or end <= low:
                kept.append((low, high))
                continue
            taken.append((max(low, start), min(high, end)))
            kept += [(low, start)] if low < start else []
            kept += [(end, high)] if end < high else []
        self._ranges = kept[-self._max_ranges :]
        return taken
