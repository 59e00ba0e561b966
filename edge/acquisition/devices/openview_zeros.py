"""Zeros that stand for "no sample" in an OpenView stream, kept out of the signal.  Used by `openview`.

The firmware of the HealthyPi 5 fills a frame with zeros when its converter's buffer is empty.  A short run of exact
zeros between two samples that are both well away from zero, on the same side, is such a hole: those samples are
missing (NaN).  A longer run is a loss: the samples are left out, counted, and after a second the stream is ``flat``.
A zero that the signal may really have is passed on.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge.acquisition.devices.sampling import SampleStream
from edge.messages import DeviceBlock, SensorStatus

MAX_ZEROS = 8
"""Longest run that may be signal or single holes: 62 ms at 128 Hz; a converter's noise never stands still so long."""
FAR_COUNTS = 64
"""A sample further than this from zero does not reach it exactly by chance and return."""
MAX_HELD = 4
"""How often an old respiration value may stand for a new one: the converter gives every second or fourth."""
_NAN = float("nan")


class ZeroFilter:
    """One stream of a device that sends zeros for want of samples.

    Parameters
    ----------
    stream : SampleStream
        Takes the samples.
    sensor : str
        Id of the sensor.
    rate_hz : float
        Samples a second.
    may_hold_single_zeros : bool
        Whether a zero can be signal, as in an ECG; in light it never is.
    """

    def __init__(self, stream: SampleStream, *, sensor: str, rate_hz: float, may_hold_single_zeros: bool) -> None:
        self._stream = stream
        self._sensor = sensor
        self._flat_frames = max(1, round(rate_hz))
        self._may_be_signal = may_hold_single_zeros
        self._before: Sequence[float] | None = None
        self._scale = 1.0
        self._waiting: list[int] = []  # arrivals of zeros of which it is not decided what they are
        self._n_zeros = 0
        self._n_held = 0
        self._is_flat: bool | None = None

    def take(self, counts: Sequence[int], at_ns: int, *, scale: float = 1.0) -> list[DeviceBlock | SensorStatus]:
        """Return what one sample of every channel completed."""
        self._scale = scale
        self._n_held = 0
        if any(counts):
            return self._signal(counts, at_ns)
        self._n_zeros += 1
        if self._n_zeros > MAX_ZEROS or not self._may_be_signal:
            n_waiting = len(self._waiting)
            self._waiting = []
            out: list[DeviceBlock | SensorStatus] = [*self._stream.skip(n_waiting + 1)]
            if self._n_zeros == self._flat_frames:
                out += self._tell_flat(at_ns, is_flat=True)
            return out
        self._waiting.append(at_ns)
        return []

    def hold(self, at_ns: int) -> list[DeviceBlock | SensorStatus]:
        """Let the last sample stand for one that the device says is old, unless it has been old for too long."""
        self._n_held += 1
        if self._before is None or self._n_held > MAX_HELD or self._n_zeros:
            return [*self._decide(None), *self._stream.skip(1)]
        return [*self._stream.add(self._row(self._before), at_ns)]

    def skip(self, n_samples: int) -> list[DeviceBlock | SensorStatus]:
        """Leave out samples whose frames were damaged."""
        return [*self._decide(None), *self._stream.skip(n_samples)]

    def finish(self) -> list[DeviceBlock | SensorStatus]:
        """Return the zeros that waited for the sample behind them, as missing."""
        return self._decide(None)

    def _signal(self, counts: Sequence[int], at_ns: int) -> list[DeviceBlock | SensorStatus]:
        out = self._decide(counts)
        self._n_zeros = 0
        out += self._tell_flat(at_ns, is_flat=False)
        self._before = counts
        return [*out, *self._stream.add(self._row(counts), at_ns)]

    def _decide(self, after: Sequence[float] | None) -> list[DeviceBlock | SensorStatus]:
        """Return the waiting zeros: signal where the samples around allow it, else missing."""
        waiting, self._waiting = self._waiting, []
        is_signal = after is not None and self._before is not None and not _is_far(self._before, after)
        out: list[DeviceBlock | SensorStatus] = []
        for at_ns in waiting:
            out += self._stream.add((0.0,) if is_signal else (_NAN,), at_ns)
        return out

    def _row(self, counts: Sequence[float]) -> tuple[float, ...]:
        return tuple(count * self._scale for count in counts)

    def _tell_flat(self, at_ns: int, *, is_flat: bool) -> list[SensorStatus]:
        if self._is_flat is is_flat:
            return []
        self._is_flat = is_flat
        status = SensorStatus(
            sensor=self._sensor,
            stream=self._stream.info.name,
            condition="flat",
            is_active=is_flat,
            at_ns=at_ns,
            detail="the device sends zeros instead of samples" if is_flat else "",
        )
        return [status]


def _is_far(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether the signal is well away from zero on both sides of a hole, and on the same side."""
    first, second = before[0], after[0]
    return first * second > 0 and min(abs(first), abs(second)) > FAR_COUNTS
