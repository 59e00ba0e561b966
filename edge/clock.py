"""Time, the only module that asks the operating system for it.

Everything inside VitalEdge counts *monotonic integer nanoseconds*: they never jump when somebody sets
the wall clock.  Wall time is joined once, when a record enters the outbox, together with how good it is.
Tests and recordings use `ManualClock`; the demo uses `SystemClock` with ``speed_ratio=10``.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import itertools
import time
from typing import Protocol, runtime_checkable

from edge.messages import ClockState, ClockSync

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

# Linux adjtimex(2): clock state 5 is TIME_ERROR, status bit 0x40 is STA_UNSYNC.
_TIME_ERROR = 5
_STA_UNSYNC = 0x0040


@runtime_checkable
class Clock(Protocol):
    """What every module that needs time is given."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go backwards; the zero point is arbitrary."""
        ...

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970-01-01T00:00:00Z; may jump."""
        ...

    def state(self) -> ClockState:
        """Return how far `wall_ns` can be trusted."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Return after `duration_s` seconds of this clock."""
        ...


class SystemClock:
    """The machine's clock, optionally run faster than real time.

    Parameters
    ----------
    speed_ratio : float
        Seconds of this clock per real second; 1 in service, 10 in the demo.
    """

    def __init__(self, speed_ratio: float = 1.0) -> None:
        if not speed_ratio > 0:
            raise ValueError(f"expected speed_ratio > 0, got {speed_ratio}")
        self._speed_ratio = speed_ratio
        self._start_monotonic_ns = time.monotonic_ns()
        self._start_wall_ns = time.time_ns()

    @property
    def speed_ratio(self) -> float:
        """Seconds of this clock per real second."""
        return self._speed_ratio

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go backwards."""
        return self._scaled(time.monotonic_ns(), self._start_monotonic_ns)

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970-01-01T00:00:00Z."""
        return self._scaled(time.time_ns(), self._start_wall_ns)

    def state(self) -> ClockState:
        """Return the kernel's own statement of how well it is synchronised."""
        return kernel_clock_state()

    async def sleep(self, duration_s: float) -> None:
        """Return after `duration_s` seconds of this clock."""
        await asyncio.sleep(max(0.0, duration_s) / self._speed_ratio)

    def _scaled(self, now_ns: int, start_ns: int) -> int:
        if self._speed_ratio == 1.0:  # keeps full integer precision in service
            return now_ns
        return start_ns + int((now_ns - start_ns) * self._speed_ratio)


class ManualClock:
    """A clock that moves only when told to; sleepers wake in order.

    Used by every behaviour test and, fed from sample times, by ``vitaledge replay --speed max``.
    """

    def __init__(self, start_wall_ns: int = 0, state: ClockState | None = None) -> None:
        self._now_ns = 0
        self._wall_offset_ns = start_wall_ns
        self._state = state or ClockState(sync=ClockSync.UNKNOWN, error_ms=None, epoch=0)
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic_ns(self) -> int:
        """Return the nanoseconds advanced so far."""
        return self._now_ns

    def wall_ns(self) -> int:
        """Return the start wall time plus the nanoseconds advanced so far."""
        return self._wall_offset_ns + self._now_ns

    def state(self) -> ClockState:
        """Return the state given at construction or last set."""
        return self._state

    def set_state(self, state: ClockState) -> None:
        """Pretend that the quality of the wall clock changed."""
        self._state = state

    def step_wall(self, by_s: float) -> None:
        """Move the wall clock alone, as NTP or a person would."""
        self._wall_offset_ns += int(by_s * NS_PER_S)

    async def sleep(self, duration_s: float) -> None:
        """Return once `advance` has moved the clock by `duration_s` seconds."""
        if duration_s <= 0:
            await asyncio.sleep(0)
            return
        wake_ns = self._now_ns + int(duration_s * NS_PER_S)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (wake_ns, next(self._order), future))
        await future

    def advance(self, duration_s: float) -> None:
        """Move forward by `duration_s` seconds and wake whoever slept until then."""
        self.advance_to(self._now_ns + int(duration_s * NS_PER_S))

    def advance_to(self, now_ns: int) -> None:
        """Move forward to `now_ns`; a clock never moves back, so an earlier time is ignored."""
        self._now_ns = max(self._now_ns, now_ns)
        while self._sleepers and self._sleepers[0][0] <= self._now_ns:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():  # a cancelled sleeper left its future behind
                future.set_result(None)


class _Timex(ctypes.Structure):
    """The head of the kernel's ``struct timex``; the rest is padding we never read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("padding", ctypes.c_byte * 256),
    )


def kernel_clock_state() -> ClockState:
    """Return the kernel's synchronisation state, read with ``adjtimex``.

    Returns
    -------
    ClockState
        ``UNKNOWN`` where the call does not exist or is refused (not Linux, a strict sandbox).

    References
    ----------
    .. [1] adjtimex(2), ``modes = 0`` reads without changing anything and needs no privilege.
    """
    timex = _Timex()
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
        result = int(adjtimex(ctypes.byref(timex)))
    except (OSError, AttributeError):
        return ClockState(sync=ClockSync.UNKNOWN, error_ms=None, epoch=0)
    if result < 0:
        return ClockState(sync=ClockSync.UNKNOWN, error_ms=None, epoch=0)
    if result == _TIME_ERROR or timex.status & _STA_UNSYNC:
        return ClockState(sync=ClockSync.UNSYNCHRONISED, error_ms=None, epoch=0)
    return ClockState(sync=ClockSync.NTP, error_ms=timex.maxerror / 1000, epoch=0)
