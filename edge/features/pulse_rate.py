"""Pulses -> pulse rate and perfusion index, once a second, as an oximeter shows them.

The rate is the median interval of 12 s, which end 2.2 s before the tick (`PulseSignalSettings`): a pulse missed or invented
does not move it, and a step of the rate shows in full once half of the time has the new one, 8 to 9 s after it.  On the
20 BIDMC development records the mean absolute difference to the monitor's own pulse rate is 0.67 /min at the same instant
(the mean of the intervals: 0.77) and 0.59 /min when the monitor is read 4 s later, which is how much later it follows, with
98.8 % of the seconds covered (`benchmarks/bench_ppg.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from edge.features.pulse_signal import LIGHT_KINDS, PulseSignal, PulseSignalSettings
from edge.messages import ChannelKind, Estimate, Gap, Pulse, Quality, Tick

RAW_LIGHT_KINDS = (ChannelKind.PPG_INFRARED, ChannelKind.PPG_RED)
"""Channels whose level is light; a plain ``ppg`` channel may have been normalised by the device."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PulseRateSettings:
    """How pulses become numbers."""

    signal: PulseSignalSettings = field(default_factory=PulseSignalSettings)
    """When pulses may be used."""
    fewest_intervals: int = 3
    """With fewer there is no rate: three let the median outvote one error."""
    agreeing_ratio: float = 0.4
    """At least half of the intervals must be within this share of the median, else there is no rate to speak of; an
    irregular heart keeps most of its intervals within (own choice)."""
    least_dc_ratio: float = 4.0
    """The level must be this many times the pulse, else it is no light: a perfusion index of 25 % does not exist (ISO
    80601-2-61 devices show up to 20 %)."""


class PulseRate:
    """Say once a second how fast the pulse is in each light stream, and how strong.

    Push pulses, verdicts and gaps as they come; a `Tick` gives ``pulse_rate_bpm`` and ``perfusion_index_pct`` of every
    stream that has been heard of.

    Parameters
    ----------
    settings : PulseRateSettings
        How pulses become numbers.
    """

    def __init__(self, settings: PulseRateSettings = PulseRateSettings()) -> None:
        self._settings = settings
        self._streams: dict[tuple[str, str], PulseSignal] = {}

    def push(self, item: Pulse | Quality | Gap | Tick) -> list[Estimate]:
        """Return the numbers at a `Tick`, nothing for anything else."""
        if isinstance(item, Tick):
            return [
                estimate
                for (sensor, stream), pulse_signal in self._streams.items()
                for estimate in self._estimates(sensor, stream, pulse_signal, item.at_ns)
            ]
        key = (item.sensor, item.stream)
        if isinstance(item, Quality) and item.kind not in LIGHT_KINDS:
            return []
        if key not in self._streams and not isinstance(item, Gap):
            self._streams[key] = PulseSignal(self._settings.signal)
        if key in self._streams:
            self._streams[key].add(item)
        return []

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget everything, as for another person."""
        self._streams = {}

    def _estimates(self, sensor: str, stream: str, pulse_signal: PulseSignal, at_ns: int) -> list[Estimate]:
        pulses = pulse_signal.pulses(at_ns)
        absent = pulse_signal.absent(at_ns) or pulse_signal.lacking(at_ns, pulses)
        rate_bpm = None if absent is not None else rate_of(pulses, self._settings)
        perfusion_pct, no_perfusion = (None, absent) if absent is not None else self._perfusion(pulse_signal, pulses)
        if rate_bpm is None:
            absent = absent or "too-few-pulses"
        quality = 0.0 if absent is not None else pulse_signal.index(at_ns)
        return [
            _estimate(sensor, stream, at_ns, "pulse_rate_bpm", rate_bpm, "/min", quality, absent),
            _estimate(sensor, stream, at_ns, "perfusion_index_pct", perfusion_pct, "%", quality, no_perfusion),
        ]

    def _perfusion(self, pulse_signal: PulseSignal, pulses: Sequence[Pulse]) -> tuple[float | None, str | None]:
        """Return AC/DC in percent, or why there is none."""
        if pulse_signal.kind_of(pulses[-1].channel) not in RAW_LIGHT_KINDS:
            return None, "not-raw-light"
        channel = pulses[-1].channel
        ratio = median(perfusion_ratio(pulse) for pulse in pulses if pulse.channel == channel)
        if not 0 < ratio * self._settings.least_dc_ratio <= 1:
            return None, "not-raw-light"
        return 100.0 * ratio, None


def perfusion_ratio(pulse: Pulse) -> float:
    """Return AC/DC of one pulse; 0 where the level is no light."""
    level = pulse.baseline + 0.5 * pulse.amplitude
    return pulse.amplitude / level if level > 0 and math.isfinite(level) else 0.0


def rate_of(pulses: Sequence[Pulse], settings: PulseRateSettings = PulseRateSettings()) -> float | None:
    """Return the rate in beats a minute of the intervals that these pulses end; None with too few."""
    intervals_ms = [
        pulse.interval_ms for pulse in pulses if pulse.interval_ms is not None and 0 < pulse.interval_ms < math.inf
    ]
    if len(intervals_ms) < settings.fewest_intervals:
        return None
    usual_ms = median(intervals_ms)
    n_agreeing = sum(abs(interval_ms - usual_ms) <= settings.agreeing_ratio * usual_ms for interval_ms in intervals_ms)
    if n_agreeing < len(intervals_ms) / 2:
        return None
    return 60_000.0 / usual_ms


def _estimate(
    sensor: str,
    stream: str,
    at_ns: int,
    measure: str,
    value: float | None,
    unit: str,
    quality: float,
    absent: str | None,
) -> Estimate:
    return Estimate(
        sensor=sensor,
        stream=stream,
        measure=measure,
        value=None if absent is not None else value,
        unit=unit,
        at_ns=at_ns,
        quality=0.0 if absent is not None else quality,
        method="ppg",
        absent=absent,
    )
