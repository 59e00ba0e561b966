"""Values that devices computed themselves -> what may be shown of them: plausible, fresh, with age and trend.

A device's own word stands where the device stands behind it (`ReadingStatus`); here it is only held against what a
living person can have, against the other values of the same measurement, and against its own past.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from edge.messages import Measurement, Reading, ReadingStatus

_NS_PER_S = 1_000_000_000
_S_PER_H = 3600.0
_CUFF = ("systolic_mmhg", "mean_pressure_mmhg", "diastolic_mmhg")
_MOST_KEPT = 64
_NO_VITAL_SIGNS = {"battery_pct", "energy_kj"}
_OUTLIVE_THE_LINK_S = 60.0


def _default_plausible() -> Mapping[str, tuple[float, float]]:
    return MappingProxyType(
        {
            "heart_rate_bpm": (15.0, 350.0),
            "pulse_rate_bpm": (15.0, 350.0),
            "spo2_pct": (1.0, 100.0),
            "perfusion_index_pct": (0.0, 30.0),
            "respiratory_rate_bpm": (0.0, 150.0),
            "body_temperature_c": (25.0, 45.0),
            "systolic_mmhg": (30.0, 300.0),
            "mean_pressure_mmhg": (15.0, 270.0),
            "diastolic_mmhg": (10.0, 250.0),
        }
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingsSettings:
    """What a device may say."""

    plausible: Mapping[str, tuple[float, float]] = field(default_factory=_default_plausible)
    """Lowest and highest value by measure, a little outside of what bedside monitors can measure (pulse 20-300/min,
    cuff 10-270 mmHg, temperature 0-50 Cel in Mindray's and Contec's manuals) and of what people survive; a
    saturation of 0 % is an oximeter without a finger."""
    fastest_warming_c_per_min: float = 0.3
    """A thermometer that changes faster is finding its temperature, not a patient: in malignant hyperthermia the body
    warms by 1 Cel in 5 min."""
    warming_span_s: float = 60.0
    """The change is taken over at least this time, so that the thermometer's steps of 0.1 Cel do not count."""
    warming_window_s: float = 300.0
    """Older readings say nothing about how fast it changes now."""
    trend_window_s: float = 3 * 3600.0
    """A trend is taken over this time (own choice: three hourly cuff readings)."""
    trend_span_s: float = 15 * 60.0
    """A trend needs readings this far apart, and three of them (own choice)."""
    trended: tuple[str, ...] = ("body_temperature_c", *_CUFF)
    """Measures that change so slowly that a trend says more than the last value."""


class DeviceReadings:
    """The latest reading of every measure and sensor, and what came before it.

    Parameters
    ----------
    settings : ReadingsSettings
        What a device may say.
    """

    def __init__(self, settings: ReadingsSettings = ReadingsSettings()) -> None:
        self._settings = settings
        self._latest: dict[tuple[str, str], Reading] = {}
        self._past: dict[tuple[str, str], deque[tuple[int, float]]] = {}
        self._in_use: dict[str, str] = {}

    def add(self, reading: Reading) -> None:
        """Keep `reading` unless it is history, no vital sign, or a newer one of the same sensor is known."""
        if reading.is_stored or reading.measure in _NO_VITAL_SIGNS:
            return
        key = (reading.measure, reading.sensor)
        before = self._latest.get(key)
        if before is not None and reading.measured_at_ns < before.measured_at_ns:
            return
        self._latest[key] = reading
        if reading.measure in self._settings.trended and self._own_fault(reading) is None:
            self._remember(key, reading)

    def lose(self, sensor: str, reason: str) -> None:
        """Let no continuous value of a silent or lost sensor stand; a spot measurement stays for as long as it is valid.

        Parameters
        ----------
        sensor : str
            Whose link it is.
        reason : str
            Why there is no value.
        """
        for key, reading in self._latest.items():
            if reading.sensor == sensor and reading.valid_for_s <= _OUTLIVE_THE_LINK_S:
                self._latest[key] = replace(reading, value=None, absent=reason, status=ReadingStatus.INVALID)

    def measurements(self, at_ns: int) -> dict[str, Measurement]:
        """Return what may be shown at `at_ns`, by measure.

        Of several sensors with the same measure the one in use stays while it has a value; else the newest takes over.
        """
        out: dict[str, Measurement] = {}
        for measure in dict.fromkeys(measure for measure, _ in self._latest):
            rivals = {sensor: reading for (name, sensor), reading in self._latest.items() if name == measure}
            shown = {sensor: self._measurement(reading, at_ns) for sensor, reading in rivals.items()}
            sensor = self._in_use.get(measure)
            if sensor is None or shown[sensor].value is None:
                newest = sorted(rivals, key=lambda name: (rivals[name].measured_at_ns, name), reverse=True)
                sensor = next((name for name in newest if shown[name].value is not None), newest[0])
            self._in_use[measure] = sensor
            out[measure] = shown[sensor]
        return out

    def _measurement(self, reading: Reading, at_ns: int) -> Measurement:
        absent = self._own_fault(reading)
        if absent is None and at_ns - reading.measured_at_ns > reading.valid_for_s * _NS_PER_S:
            absent = "stale"
        if absent is None and self._is_warming(reading):
            absent = "settling"
        if absent is None and self._is_odd_pressure(reading):
            absent = "implausible"
        return Measurement(
            value=None if absent is not None else reading.value,
            unit=reading.unit,
            absent=absent,
            quality=0.5 if reading.status is ReadingStatus.QUESTIONABLE else None,
            source=reading.sensor,
            method="device",
            measured_at_ns=reading.measured_at_ns,
            trend_per_h=None if absent is not None else self._trend_per_h(reading),
        )

    def _own_fault(self, reading: Reading) -> str | None:
        """Return what is wrong with the reading by itself."""
        if reading.status is ReadingStatus.INVALID:
            return reading.absent or "invalid"
        if reading.value is None or not math.isfinite(reading.value):
            return reading.absent or "not-a-number"
        low, high = self._settings.plausible.get(reading.measure, (-math.inf, math.inf))
        return None if low <= reading.value <= high else "implausible"

    def _is_odd_pressure(self, reading: Reading) -> bool:
        """Return whether systolic, mean and diastolic of one measurement contradict each other."""
        if reading.measure not in _CUFF:
            return False
        same = [self._latest.get((measure, reading.sensor)) for measure in _CUFF]
        values = [
            other.value
            for other in same
            if other is not None and other.value is not None and other.measured_at_ns == reading.measured_at_ns
        ]
        return any(not upper > lower for upper, lower in itertools.pairwise(values))

    # --- the past -------------------------------------------------------------------------------------------

    def _remember(self, key: tuple[str, str], reading: Reading) -> None:
        assert reading.value is not None
        past = self._past.setdefault(key, deque())
        if past and reading.measured_at_ns == past[-1][0]:
            return  # the same measurement, sent again
        past.append((reading.measured_at_ns, reading.value))
        while past[0][0] < reading.measured_at_ns - round(self._settings.trend_window_s * _NS_PER_S):
            past.popleft()
        if len(past) > _MOST_KEPT:  # thin the old ones out: a trend needs few, the last minutes need all
            kept = [item for k, item in enumerate(past) if k % 2 == 0 or k >= _MOST_KEPT // 2]
            past.clear()
            past.extend(kept)

    def _is_warming(self, reading: Reading) -> bool:
        """Return whether a thermometer is still on its way to the temperature of the body."""
        if reading.measure != "body_temperature_c" or reading.value is None:
            return False
        settings = self._settings
        newest_ns = reading.measured_at_ns
        for at_ns, value in reversed(self._past.get((reading.measure, reading.sensor), ())):
            elapsed_s = (newest_ns - at_ns) / _NS_PER_S
            if elapsed_s > settings.warming_window_s:
                return False
            if elapsed_s >= settings.warming_span_s:
                return abs(reading.value - value) > settings.fastest_warming_c_per_min * elapsed_s / 60.0
        return False

    def _trend_per_h(self, reading: Reading) -> float | None:
        """Return the slope of the straight line through the recent past; None where it is too short."""
        past = list(self._past.get((reading.measure, reading.sensor), ()))
        if len(past) < 3 or past[-1][0] - past[0][0] < self._settings.trend_span_s * _NS_PER_S:
            return None
        hours = [(at_ns - past[-1][0]) / _NS_PER_S / _S_PER_H for at_ns, _ in past]
        mean_h, mean = sum(hours) / len(past), sum(value for _, value in past) / len(past)
        spread = sum((hour - mean_h) ** 2 for hour in hours)
        return sum((hour - mean_h) * (value - mean) for hour, (_, value) in zip(hours, past, strict=True)) / spread
