"""One sampled stream of a Polar sensor: frames in, blocks of physical values out.

Pure.  Used by `polar_pmd`, which starts the stream and tells with what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from edge.acquisition.gatt.polar_control import Setting
from edge.acquisition.gatt.polar_dialogue import StreamSetup
from edge.acquisition.gatt.polar_frames import MeasurementType, Samples
from edge.acquisition.gatt.polar_timing import Dropped, FrameClock
from edge.messages import Channel, ChannelKind, DeviceBlock, Gap, StreamInfo

_NS_PER_S = 1_000_000_000
STANDARD_GRAVITY = 9.80665
"""m/s2 in one g, exact by definition."""

_DEFAULT_RATE_HZ: Mapping[MeasurementType, float] = {MeasurementType.ECG: 130.0}
"""Where the sensor names no rate: an H10 has one for the ECG."""

_CHANNELS: Mapping[MeasurementType, tuple[Channel, ...]] = {
    MeasurementType.ECG: (Channel(name="ECG", kind=ChannelKind.ECG, unit="mV", resolution=1e-3),),
    MeasurementType.ACC: (
        Channel(name="X", kind=ChannelKind.ACCELERATION_X, unit="m/s2"),
        Channel(name="Y", kind=ChannelKind.ACCELERATION_Y, unit="m/s2"),
        Channel(name="Z", kind=ChannelKind.ACCELERATION_Z, unit="m/s2"),
    ),
    MeasurementType.PPG: (
        Channel(name="PPG1", kind=ChannelKind.PPG, unit="1"),
        Channel(name="PPG2", kind=ChannelKind.PPG, unit="1"),
        Channel(name="PPG3", kind=ChannelKind.PPG, unit="1"),
        Channel(name="AMBIENT", kind=ChannelKind.OTHER, unit="1"),
    ),
    MeasurementType.GYRO: tuple(Channel(name=axis, kind=ChannelKind.OTHER, unit="deg/s") for axis in "XYZ"),
    MeasurementType.MAGNETOMETER: tuple(Channel(name=axis, kind=ChannelKind.OTHER, unit="G") for axis in "XYZ"),
}

_PPG_RATES_HZ = (22.0, 28.0, 44.0, 55.0, 135.0, 176.0)
"""Rates that optical sensors of the maker have (its product pages and known issues)."""
_HELD_FRAMES = 3
_MOST_HELD_FRAMES = 6
_RATE_TOLERANCE = 0.025
"""A true rate may be off by 1 %, and the first steps of a session by as much again."""

SAMPLED = frozenset(_CHANNELS)
"""Measurements that are sampled at a rate; pulse intervals are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOutcome:
    """What a frame led to."""

    items: tuple[DeviceBlock | Gap, ...] = ()
    dropped: str | None = None
    """Why the frame was not used; None where it was."""
    n_lost_samples: int = 0
    n_lost_frames: int = 0
    n_jumps: int = 0


class PolarStream:
    """What is known of one stream.

    Parameters
    ----------
    sensor : str
        Id of the sensor.
    name : str
        Of the stream, such as ``ecg``.
    measurement : MeasurementType
        One of `SAMPLED`.
    """

    def __init__(self, sensor: str, name: str, measurement: MeasurementType) -> None:
        self._sensor = sensor
        self._name = name
        self._measurement = measurement
        self._channels = _CHANNELS[measurement]
        self._asked_rate_hz: float | None = None
        self._rate_hz: float | None = None
        self._held: list[tuple[Samples, int]] | None = None  # frames that wait until the rate is known; None: it is
        self._factor: float | None = None
        self._n_starts: int | None = None
        self._is_restart = False
        self._clock: FrameClock | None = None
        self._received_at_ns: int | None = None

    @property
    def info(self) -> StreamInfo | None:
        """What the sensor says it sends; None before it was started."""
        if self._rate_hz is None:
            return None
        return StreamInfo(name=self._name, channels=self._channels, nominal_rate_hz=self._rate_hz)

    def start(self, setup: StreamSetup) -> None:
        """Take note of how the stream was started; the same start twice changes nothing."""
        if setup.n_starts == self._n_starts:
            return
        self._is_restart = self._n_starts is not None
        self._n_starts = setup.n_starts
        self._factor = setup.factor
        self._channels = _channels(self._measurement, setup.chosen.get(Setting.RANGE))
        rate_hz = float(setup.chosen.get(Setting.SAMPLE_RATE) or _DEFAULT_RATE_HZ.get(self._measurement, 0.0))
        if rate_hz and rate_hz != self._asked_rate_hz:
            self._asked_rate_hz = rate_hz
            self._held = [] if self._measurement is MeasurementType.PPG else None
            self._set_rate(rate_hz)

    def resume(self) -> None:
        """Go on counting on a new link to the same sensor; what the next start does not say again, still holds."""
        self._held = None if self._held is None else []

    def take(self, frame: Samples, received_at_ns: int) -> StreamOutcome:
        """Return the samples of `frame` in physical units, after the gap that a jump of the device's clock leaves.

        The first frames of a pulse wave come together with a later one: Verity Sense before firmware 2.1 says 135 Hz
        and sends 55, an OH1 says 130 Hz and sends 135 (the maker's known issues), so the rate is seen first.
        """
        if self._clock is None or self._rate_hz is None:
            return StreamOutcome(dropped="not-started")
        if self._held is None:
            return self._place(frame, received_at_ns)
        if any(frame.time_ns == held.time_ns for held, _ in self._held):
            return StreamOutcome(dropped="duplicate")
        is_backward = bool(self._held) and frame.time_ns < self._held[-1][0].time_ns
        self._held.append((frame, received_at_ns))
        if is_backward:
            return self.release()  # nothing to be learnt; `FrameClock` knows what it is
        rate_hz = true_rate_hz(self._rate_hz, [held for held, _ in self._held])
        if rate_hz is None and len(self._held) < _MOST_HELD_FRAMES:
            return StreamOutcome()
        if rate_hz is not None and rate_hz != self._rate_hz:
            self._set_rate(rate_hz)
        return self.release()

    def release(self) -> StreamOutcome:
        """Return the frames that wait for the rate to be known, with the rate as it is: the link ends, or it is."""
        held, self._held = self._held or [], None
        outcomes = [self._place(frame, received_at_ns) for frame, received_at_ns in held]
        return StreamOutcome(
            items=tuple(item for outcome in outcomes for item in outcome.items),
            dropped=outcomes[-1].dropped if outcomes else None,
            n_lost_samples=sum(outcome.n_lost_samples for outcome in outcomes),
            n_lost_frames=sum(outcome.n_lost_frames for outcome in outcomes),
            n_jumps=sum(outcome.n_jumps for outcome in outcomes),
        )

    def _set_rate(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._clock = FrameClock(rate_hz, self._clock.next_sequence if self._clock else 0)

    def _place(self, frame: Samples, received_at_ns: int) -> StreamOutcome:
        clock = self._clock
        if clock is None or self._rate_hz is None:
            return StreamOutcome(dropped="not-started")
        scale = self._scale(frame)
        if scale is None:
            return StreamOutcome(dropped="no-factor")
        placed = clock.place(frame.time_ns, len(frame.counts), received_at_ns, is_restart=self._is_restart)
        if isinstance(placed, Dropped):
            return StreamOutcome(dropped=placed.reason)
        self._is_restart = False
        block = DeviceBlock(
            sensor=self._sensor,
            stream=self._name,
            channels=self._channels,
            values=frame.counts.astype(np.float64) * scale,
            nominal_rate_hz=self._rate_hz,
            sequence=placed.sequence,
            device_time_ns=placed.first_ns,
            received_at_ns=received_at_ns,
        )
        items: list[DeviceBlock | Gap] = [self._gap(received_at_ns)] if placed.is_jump else []
        self._received_at_ns = received_at_ns
        return StreamOutcome(
            items=(*items, block),
            n_lost_samples=placed.n_lost_samples,
            n_lost_frames=placed.n_lost_frames,
            n_jumps=int(placed.is_jump),
        )

    def _gap(self, received_at_ns: int) -> Gap:
        last_ns = received_at_ns if self._received_at_ns is None else self._received_at_ns
        return Gap(
            sensor=self._sensor,
            stream=self._name,
            start_ns=min(last_ns, received_at_ns),
            end_ns=received_at_ns,
            n_missing=None,
            reason="device-clock-jump",
        )

    def _scale(self, frame: Samples) -> float | None:
        """Return what a count is worth in the unit of the channels; None where that cannot be known."""
        match frame.measurement:
            case MeasurementType.ECG:
                return 1e-3  # counts are microvolts
            case MeasurementType.ACC if frame.is_compressed and frame.frame_type == 0:
                return None if self._factor is None else self._factor * STANDARD_GRAVITY  # counts are of g
            case MeasurementType.ACC:
                return self._counts_per_unit(frame) * 1e-3 * STANDARD_GRAVITY
            case _:
                return self._counts_per_unit(frame)

    def _counts_per_unit(self, frame: Samples) -> float:
        return (self._factor or 1.0) if frame.is_compressed else 1.0


def _channels(measurement: MeasurementType, range_: int | None) -> tuple[Channel, ...]:
    """Return the channels, with the limits that the chosen range sets."""
    channels = _CHANNELS[measurement]
    if not range_ or measurement is not MeasurementType.ACC:
        return channels
    limit = range_ * STANDARD_GRAVITY
    return tuple(replace(channel, minimum=-limit, maximum=limit) for channel in channels)


def true_rate_hz(said_hz: float, frames: list[Samples]) -> float | None:
    """Return the rate of a pulse wave whose sensor says `said_hz`, from its first frames; None while they do not tell.

    A loss makes a step longer, never shorter: the shortest two that agree are the rate.
    """
    if len(frames) < _HELD_FRAMES:
        return None
    periods_ns = sorted((b.time_ns - a.time_ns) / len(b.counts) for a, b in pairwise(frames))
    shortest_ns, second_ns = periods_ns[:2]
    if shortest_ns <= 0 or second_ns > shortest_ns * (1 + 2 * _RATE_TOLERANCE):
        return None
    seen_hz = 2 * _NS_PER_S / (shortest_ns + second_ns)
    if abs(said_hz / seen_hz - 1) <= _RATE_TOLERANCE:
        return said_hz
    known_hz = min(_PPG_RATES_HZ, key=lambda rate_hz: abs(rate_hz - seen_hz))
    return known_hz if abs(known_hz / seen_hz - 1) <= _RATE_TOLERANCE else None
