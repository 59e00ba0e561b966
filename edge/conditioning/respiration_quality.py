"""Raw respiration samples -> whether breaths could be counted in them, once a second of the sample grid.

The question is about the *signal*, not the person: someone who does not breathe gives a quiet but live trace, and
that must stay usable, or apnoea would look like a loose electrode.  So nothing here asks for breathing:

* *flat* is a trace that does not move by more than one step of the converter for several seconds: no living chest
  does that under an impedance measurement, the heart alone moves it more;
* noise is judged against the swing that was usual while the person breathed, never against that of the running second;
* a detached electrode is known from the device, also when it reports it of the ECG: the electrodes are the same.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.sample_times import SampleTimes
from edge.messages import Activity, ActivityLevel, ChannelKind, Quality, SampleBlock, SensorStatus

_DEVICE_CONDITIONS = ("lead-off", "sensor-off", "saturated")
_LOST = ("lead-off", "sensor-off", "saturated", "flat")
"""After these breaths are learned anew."""
_LARGEST_VALUE = 1e12
_NOISE_HZ = 25.0
_N_SPAN = 5
"""Seconds over which a swing is measured: one breath at 12/min."""
_FORGET_RATIO = 0.9
"""The usual swing shrinks by this at most every half minute (own choice: to a third in five minutes)."""
_ACTIVITY_AGE_NS = 2_500_000_000
"""An older word of the accelerometer says nothing about this second."""
_MOTION = {ActivityLevel.STILL: 1.0, ActivityLevel.MOVING: 0.4, ActivityLevel.WALKING: 0.0}
"""Index while the body moves: the chest's impedance follows arms and steps as much as the lungs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RespirationQualitySettings:
    """Where the signal stops being usable."""

    min_quality: float = 0.5
    """Smallest index at which breaths are believed (own choice)."""
    settling_s: float = 6.0
    """After a start or a hole no breath can be found for so long: the detector learns for 5 s and smooths over 1.2 s.
    Without it, a link that loses a packet every few seconds would look like an apnoea."""
    flat_s: float = 8.0
    """A trace without any movement is dead after this long: shorter stillness is an expiratory pause on a coarse
    converter, and 8 s leave the 20 s of an apnoea out of reach (own choice)."""
    useless_clipped_ratio: float = 0.8
    """Share of clipped samples over the last seconds that gives index 0: breaths with clipped tops still count."""
    clipped_s: float = 5.0
    """Those seconds: one breath at 12/min."""
    useless_noise_ratio: float = 0.5
    """Standard deviation of the noise, relative to the usual swing, that gives index 0.  Smoothed by the breath detector
    a third of it is left: a swing of six standard deviations of that is as large as a breath."""
    breathing_ratio: float = 6.0
    """A swing counts as usual when it is this many standard deviations of the noise: noise alone is not breathing."""
    least_usual_ohm: float = 0.3
    """Where the unit is Ohm, a breath is never taken for less: three times the least that monitors promise to see, so
    that someone who does not breathe is not judged by the electrode's own noise."""
    useless_step_ratio: float = 8.0
    """Movement within one second, relative to the usual swing of a breath, that gives index 0 (own choice)."""
    n_usual: int = 60
    """The usual swing is the median over so many seconds with breathing (own choice: a minute)."""
    named_below: float = 0.8
    """A cause is named once it alone pulls the index below this."""

    def __post_init__(self) -> None:
        if not 0.5 <= self.min_quality <= 1:  # a settling signal has half an index
            raise ValueError(f"expected 0.5 <= min_quality <= 1, got {self.min_quality}")


class RespirationQuality:
    """Judge every second of the first respiration channel of a stream.

    Push the raw blocks, what the sensor says of itself and what the accelerometer says of the body.  A report of the
    device stays in force over a `reset`: only the device withdraws it.

    Parameters
    ----------
    settings : RespirationQualitySettings
        Where the signal stops being usable.
    """

    def __init__(self, settings: RespirationQualitySettings = RespirationQualitySettings()) -> None:
        self._settings = settings
        self._reported: set[tuple[str, str | None, str]] = set()
        self._activity: Activity | None = None
        self._run: _Run | None = None

    def push(self, item: SampleBlock | SensorStatus | Activity) -> list[Quality]:
        """Return the verdicts on the seconds that `item` completed."""
        match item:
            case SensorStatus():
                self._report(item)
            case Activity():
                self._activity = item
            case SampleBlock():
                return self._samples(item)
        return []

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the signal so far; what the device reported of itself stays."""
        self._activity = None
        self._run = None

    def _samples(self, item: SampleBlock) -> list[Quality]:
        if item.n_samples == 0 or not math.isfinite(item.rate_hz):
            return []
        if self._run is None or not self._run.fits(item):
            column = next((k for k, ch in enumerate(item.channels) if ch.kind is ChannelKind.RESPIRATION), None)
            if column is None:
                return []
            self._run = _Run(self._settings, item, column)
        reported = None
        if self._reported:
            reported = min(
                (condition for sensor, _, condition in self._reported if sensor == item.sensor), default=None
            )
        return self._run.add(item, reported, self._activity)

    def _report(self, status: SensorStatus) -> None:
        """Note a report about any stream of the sensor: its electrodes are those of the respiration."""
        if status.condition not in _DEVICE_CONDITIONS:
            return
        key = (status.sensor, status.stream, status.condition)
        if status.is_active:
            self._reported.add(key)
        else:
            self._reported.discard(key)


class _Run:
    """One stretch without holes."""

    def __init__(self, settings: RespirationQualitySettings, first: SampleBlock, column: int) -> None:
        self._settings = settings
        self._first = first
        self._column = column
        self._channel = channel = first.channels[column]
        self._end = first.sequence
        self._settled = first.sequence + round(settings.settling_s * first.rate_hz)
        self._n_second = max(1, round(first.rate_hz))
        self._times = SampleTimes(first.rate_hz)
        self._parts: list[NDArray[np.float64]] = []
        self._step = channel.resolution or 0.0
        self._least_usual = settings.least_usual_ohm if channel.unit == "Ohm" else None
        self._ranges: deque[tuple[float, float]] = deque(maxlen=max(1, round(settings.flat_s)))
        self._slow: deque[tuple[float, float]] = deque(maxlen=_N_SPAN)
        self._swings: deque[float] = deque(maxlen=settings.n_usual)
        self._clipped: deque[float] = deque(maxlen=max(1, round(settings.clipped_s)))
        self._last: float | None = None
        self._n_skip = max(1, int(first.rate_hz // _NOISE_HZ))

    def fits(self, item: SampleBlock) -> bool:
        """Return whether `item` follows what was pushed before."""
        first = self._first
        is_same = item.channels is first.channels or item.channels == first.channels
        return item.sequence == self._end and item.rate_hz == first.rate_hz and is_same

    def add(self, item: SampleBlock, reported: str | None, activity: Activity | None) -> list[Quality]:
        """Return the verdicts on the seconds that `item` completed."""
        self._times.add(item.sequence, item.start_ns)
        out = []
        at = 0
        while at < item.n_samples:
            n_part = min(item.n_samples - at, self._n_second - (item.sequence + at) % self._n_second)
            self._parts.append(item.values[at : at + n_part, self._column])
            at += n_part
            self._end = item.sequence + at
            if self._end % self._n_second == 0:
                out += self._second(reported, activity)
        return out

    def _second(self, reported: str | None, activity: Activity | None) -> list[Quality]:
        raw = np.concatenate(self._parts)
        self._parts = []
        if len(raw) < self._n_second:  # the stream began inside this second
            return []
        at_ns = self._times.at_ns(self._end)
        if reported is not None:
            self._forget()
        verdict = (0.0, (reported,)) if reported is not None else self._judge(raw, self._motion(activity, at_ns))
        index, reasons = verdict
        if index == 0 and any(reason in _LOST for reason in reasons):
            self._settled = self._end + round(self._settings.settling_s * self._first.rate_hz)
        elif self._end - self._n_second < self._settled:
            # Below every limit, and the other reasons stay readable.
            index, reasons = 0.49 * index, (*reasons, "settling")
        return [
            Quality(
                sensor=self._first.sensor,
                stream=self._first.stream,
                at_ns=at_ns,
                index=index,
                is_usable=index >= self._settings.min_quality,
                reasons=reasons,
                channel=self._channel.name,
                sequence=self._end,
                kind=ChannelKind.RESPIRATION,
            )
        ]

    def _motion(self, activity: Activity | None, at_ns: int) -> float:
        if activity is None or abs(at_ns - activity.at_ns) > _ACTIVITY_AGE_NS:
            return 1.0
        return _MOTION[activity.level]

    def _judge(self, raw: NDArray[np.float64], motion: float) -> tuple[float, tuple[str, ...]]:
        """Return index and reasons of a second that the device does not object to."""
        settings = self._settings
        if not bool((np.abs(raw) < _LARGEST_VALUE).all()):  # NaN too
            self._forget()
            return 0.0, ("lead-off",)
        low, high = float(raw.min()), float(raw.max())
        noise = self._noise(raw)
        self._ranges.append((low, high))
        n_part = len(raw) // 4
        means = raw[: 4 * n_part].reshape(4, n_part).mean(axis=1) if n_part else raw
        self._slow.append((float(means.min()), float(means.max())))
        self._clipped.append(self._clipped_ratio(raw, low, high))
        parts = {"saturated": 1.0 - sum(self._clipped) / len(self._clipped) / settings.useless_clipped_ratio}
        if self._is_flat():
            return 0.0, ("saturated",) if parts["saturated"] <= 0 else ("flat",)
        parts["motion"] = motion
        usual = self._usual_swing(noise)
        if usual is not None:
            parts["noise"] = 1.0 - noise / usual / settings.useless_noise_ratio
        if self._swings:
            last = low if self._last is None else self._last
            step = max(high, last) - min(low, last)
            parts["motion"] = min(motion, 1.0 - step / median(self._swings) / settings.useless_step_ratio)
        self._last = float(raw[-1])
        ordered = sorted(parts.items(), key=lambda part: part[1])
        reasons = tuple(name for name, part in ordered if part < settings.named_below)
        return float(min(1.0, max(0.0, ordered[0][1]))), reasons

    def _usual_swing(self, noise: float) -> float | None:
        """Return what swings while the person breathes; None while nobody knows.  An apnoea does not change it."""
        swing = max(high for _, high in self._slow) - min(low for low, _ in self._slow)
        if len(self._slow) == _N_SPAN and swing >= self._settings.breathing_ratio * noise and swing > 4.0 * self._step:
            # Slowly forgotten: in an apnoea only the heart moves the chest, and the first breath after it is no jump.
            usual = median(self._swings) if self._swings else 0.0
            self._swings.append(max(swing, _FORGET_RATIO * usual))
        if not self._swings:
            return self._least_usual
        return max(self._least_usual or 0.0, median(self._swings))

    def _forget(self) -> None:
        """Forget what was usual: when the signal comes back, the electrode sits elsewhere."""
        self._last = None
        self._ranges.clear()
        self._slow.clear()
        self._swings.clear()

    def _is_flat(self) -> bool:
        if len(self._ranges) < (self._ranges.maxlen or 0):
            return False
        low, high = min(low for low, _ in self._ranges), max(high for _, high in self._ranges)
        return high - low <= 1.001 * self._step

    def _clipped_ratio(self, raw: NDArray[np.float64], low: float, high: float) -> float:
        """Return the share of samples at a rail of the converter, where its range is known."""
        margin = 0.5 * self._step
        minimum, maximum = self._channel.minimum, self._channel.maximum
        n_clipped = 0
        if minimum is not None and low <= minimum + margin:
            n_clipped += int(np.count_nonzero(raw <= minimum + margin))
        if maximum is not None and high >= maximum - margin:
            n_clipped += int(np.count_nonzero(raw >= maximum - margin))
        return n_clipped / len(raw)

    def _noise(self, raw: NDArray[np.float64]) -> float:
        """Return the standard deviation of the noise: second differences see little of breath and heart.

        Taken from samples 0.04 s apart, so that slow noise counts as well; 0 where the rate is too low to tell.
        """
        values = raw[:: self._n_skip]
        if len(values) < _NOISE_HZ / 2:
            return 0.0
        bends = values[2:] - 2.0 * values[1:-1] + values[:-2]
        return math.sqrt(float(bends @ bends) / (6.0 * len(bends)))
