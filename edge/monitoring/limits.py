"""Alarm limits on vital signs, with hysteresis and with delays, so that a value at its limit does not flap.

Fed once a second by `features.vitals` (`Vitals`) and by the pipeline's `Tick`.  A value that is missing is neither
inside nor outside: it stops the clock of a limit that is about to alarm, and an alarm whose value stays away ends
with a sentence that says so (the technical alarm on the missing signal takes its place).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge.messages import AlertKind, Condition, Json, Measurement, Priority, Tick, Vitals

_NS_PER_S = 1_000_000_000

_WORDS = {
    "heart_rate_bpm": "Heart rate",
    "pulse_rate_bpm": "Pulse rate",
    "spo2_pct": "Oxygen saturation",
    "respiratory_rate_bpm": "Breathing rate",
    "respiration_rate_bpm": "Breathing rate",
    "body_temperature_c": "Temperature",
    "systolic_mmhg": "Systolic blood pressure",
    "diastolic_mmhg": "Diastolic blood pressure",
    "mean_pressure_mmhg": "Mean blood pressure",
}
_UNITS = {"/min": "/min", "%": " %", "Cel": " °C", "mm[Hg]": " mmHg", "ms": " ms"}
_SUFFIXES = ("_bpm", "_pct", "_c", "_mmhg", "_ms", "_kpa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How far one measure may go, and how long it must stay outside before somebody is called.

    Raises
    ------
    ValueError
        If there is no limit at all, the low one is not below the high one, or a delay is negative.
    """

    measure: str
    """Key in `Vitals.measurements`."""
    low: float | None = None
    """Alarm below this value; None for no lower limit."""
    high: float | None = None
    """Alarm above this value; None for no upper limit."""
    hysteresis: float = 0.0
    """How far inside the limit the value must come back to count as inside."""
    on_delay_s: float = 10.0
    """How long the value must be outside before the alarm."""
    off_delay_s: float = 10.0
    """How long the value must be inside, or missing, before the alarm ends."""
    priority: Priority = Priority.MEDIUM
    is_latching: bool = False
    """Stays until acknowledged."""
    grade: str = ""
    """Tells several limits of one measure apart: ``extreme`` makes the code ``spo2_pct-extreme-low``."""

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise ValueError(f"expected a low or a high limit for {self.measure}, got neither")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"expected low < high for {self.measure}, got {self.low} and {self.high}")
        if not (self.hysteresis >= 0 and self.on_delay_s >= 0 and self.off_delay_s >= 0):
            raise ValueError(f"expected hysteresis and delays >= 0 for {self.measure}, got {self}")

    def bound(self, side: str) -> float | None:
        """Return the limit of one side, ``low`` or ``high``; None where there is none."""
        return self.low if side == "low" else self.high

    def code(self, side: str) -> str:
        """Return the condition code of one side, ``low`` or ``high``."""
        return "-".join(part for part in (self.measure, self.grade, side) if part)


DEFAULT_LIMITS = (
    # Heart rate 50-120: default adult limits of bedside monitors (Contec CMS8000); delay 10 s, 2/min hysteresis: own.
    # Below 40 and above 140 the beat-by-beat rules of `rhythm` alarm sooner and with high priority.
    Limit(measure="heart_rate_bpm", low=50, high=120, hysteresis=2),
    # SpO2 < 90 and desaturation < 80 with high priority: Mindray TM80; 20 s condition delay: meducore Standard.
    Limit(measure="spo2_pct", low=90, hysteresis=1, on_delay_s=20),
    Limit(measure="spo2_pct", low=80, hysteresis=1, priority=Priority.HIGH, is_latching=True, grade="extreme"),
    # Breathing 8-30/min: usual adult ward limits; 30 s because a rate over few breaths scatters.
    Limit(measure="respiratory_rate_bpm", low=8, high=30, hysteresis=2, on_delay_s=30),
    # Temperature 35-39 °C: the range that LIFEPAK 15 offers; a minute, because it changes slowly.
    Limit(measure="body_temperature_c", low=35, high=39, hysteresis=0.2, on_delay_s=60, off_delay_s=60),
)
"""Adult limits of devices in use; see each line for its source.  They suit nobody in particular: set them per person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """The limits in force for one subject.

    Raises
    ------
    ValueError
        If two limits would make the same condition.
    """

    limits: tuple[Limit, ...] = DEFAULT_LIMITS
    stale_s: float = 3.0
    """Without `Vitals` for this long every value counts as missing.  Own choice: they come once a second."""

    def __post_init__(self) -> None:
        codes = [limit.code(side) for limit in self.limits for side in ("low", "high") if limit.bound(side) is not None]
        twice = sorted({code for code in codes if codes.count(code) > 1})
        if twice:
            raise ValueError(f"expected one limit per condition, got several for {', '.join(twice)}: give each a grade")


class LimitMonitor:
    """Conditions for every measure that stays outside its limits.

    Notes
    -----
    *Before* an alarm: time outside adds up; a value inside by more than the hysteresis starts it anew; one between
    limit and hysteresis, or a missing one, stops the clock without turning it back, so that a value swinging across
    its limit is not lost.  *During* an alarm: only values inside by the hysteresis, without interruption, end it.
    """

    def __init__(self, settings: LimitSettings = LimitSettings()) -> None:
        self._settings = settings
        self._stale_ns = round(settings.stale_s * _NS_PER_S)
        self._sides = [
            _Side(limit, side, bound)
            for limit in settings.limits
            for side in ("low", "high")
            if (bound := limit.bound(side)) is not None
        ]
        self._vitals_at_ns: int | None = None

    def push(self, item: Vitals | Tick) -> list[Condition]:
        """Return the conditions that began or ended at `item`."""
        if isinstance(item, Tick):
            return self._time_passed(item.at_ns)
        if self._vitals_at_ns is not None and item.at_ns <= self._vitals_at_ns:
            return []  # an older second than the last one: it has been judged
        self._vitals_at_ns = item.at_ns
        outputs = []
        for side in self._sides:
            measurement = item.measurements.get(side.limit.measure)
            if measurement is not None and not measurement.is_alarmed:
                measurement = Measurement(value=None, unit=measurement.unit, absent="only inferred")
            outputs += side.judge(measurement, item.at_ns, self._stale_ns)
        return outputs

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape
        """Forget everything, as for a new session; a gap in a signal arrives as missing values instead."""
        self._vitals_at_ns = None
        for side in self._sides:
            side.forget()

    def _time_passed(self, at_ns: int) -> list[Condition]:
        if self._vitals_at_ns is None:
            self._vitals_at_ns = at_ns
            return []
        if at_ns - self._vitals_at_ns < self._stale_ns:
            return []
        missing = Measurement(value=None, unit="", absent="stale")
        return [out for side in self._sides for out in side.judge(missing, at_ns, self._stale_ns)]


class _Side:
    """One side of one limit: how long its value has been outside, inside or missing."""

    def __init__(self, limit: Limit, side: str, bound: float) -> None:
        self.limit = limit
        self._is_low = side == "low"
        self._code = limit.code(side)
        self._bound = bound
        self._on_delay_ns = round(limit.on_delay_s * _NS_PER_S)
        self._off_delay_ns = round(limit.off_delay_s * _NS_PER_S)
        self._is_active = False
        self._at_ns: int | None = None
        self._outside_ns: int | None = None
        self._onset_at_ns = 0
        self._inside_since_ns: int | None = None
        self._missing_since_ns: int | None = None
        self._unit = ""

    def forget(self) -> None:
        """Start anew."""
        self._is_active = False
        self._at_ns = None
        self._outside_ns = None
        self._onset_at_ns = 0
        self._inside_since_ns = None
        self._missing_since_ns = None
        self._unit = ""

    def judge(self, measurement: Measurement | None, at_ns: int, stale_ns: int) -> list[Condition]:
        """Return the condition that this second begins or ends."""
        step_ns = 0 if self._at_ns is None else at_ns - self._at_ns
        since_ns = at_ns if self._at_ns is None or step_ns > stale_ns else self._at_ns
        self._at_ns = at_ns
        value = None if measurement is None else measurement.value
        if measurement is None or value is None or not math.isfinite(value):
            reason = "not measured" if measurement is None else measurement.absent or "not a number"
            return self._missing(reason, at_ns, since_ns)
        self._missing_since_ns = None
        self._unit = measurement.unit
        if step_ns > stale_ns:
            step_ns = 0  # nobody saw what the value did in between
        if self._is_active:
            return self._end(measurement, value, at_ns)
        return self._begin(measurement, value, at_ns, step_ns)

    def _begin(self, measurement: Measurement, value: float, at_ns: int, step_ns: int) -> list[Condition]:
        if self._is_outside(value):
            if self._outside_ns is None:
                self._outside_ns, self._onset_at_ns = 0, at_ns
            else:
                self._outside_ns += step_ns
        elif self._is_inside(value):
            self._outside_ns = None
        if self._outside_ns is None or self._outside_ns < self._on_delay_ns or not self._is_outside(value):
            return []
        self._is_active = True
        self._inside_since_ns = None
        direction = "below" if self._is_low else "above"
        sentence = (
            f"{_name(self.limit.measure)} {self._shown(value)} is {direction} the limit of {self._shown(self._bound)}"
            f"{_for(self._outside_ns)}."
        )
        return [self._condition(at_ns, sentence, self._evidence(measurement, value, self._outside_ns))]

    def _end(self, measurement: Measurement, value: float, at_ns: int) -> list[Condition]:
        if not self._is_inside(value):
            self._inside_since_ns = None
            return []
        if self._inside_since_ns is None:
            self._inside_since_ns = at_ns
        inside_ns = at_ns - self._inside_since_ns
        if inside_ns < self._off_delay_ns:
            return []
        self._is_active, self._outside_ns = False, None
        sentence = (
            f"{_name(self.limit.measure)} {self._shown(value)} is back inside the limit of {self._shown(self._bound)}"
            f"{_for(inside_ns)}."
        )
        return [self._condition(at_ns, sentence, self._evidence(measurement, value, inside_ns))]

    def _missing(self, reason: str, at_ns: int, since_ns: int) -> list[Condition]:
        self._inside_since_ns = None
        if self._missing_since_ns is None:
            self._missing_since_ns = since_ns
        missing_ns = at_ns - self._missing_since_ns
        if missing_ns < self._off_delay_ns:
            return []
        self._outside_ns = None  # too long ago to be one episode with what comes next
        if not self._is_active:
            return []
        self._is_active = False
        name = _name(self.limit.measure)
        sentence = f"{name} has had no value{_for(missing_ns)} ({reason}); it can no longer be compared with its limit."
        evidence: dict[str, Json] = {"measure": self.limit.measure, "value": None, "absent": f"no value: {reason}"}
        return [self._condition(at_ns, sentence, evidence)]

    def _condition(self, at_ns: int, sentence: str, evidence: dict[str, Json]) -> Condition:
        return Condition(
            code=self._code,
            kind=AlertKind.PHYSIOLOGICAL,
            priority=self.limit.priority,
            is_active=self._is_active,
            at_ns=at_ns,
            onset_at_ns=self._onset_at_ns,
            sentence=sentence,
            is_latching=self.limit.is_latching,
            evidence=evidence,
        )

    def _evidence(self, measurement: Measurement, value: float, duration_ns: int) -> dict[str, Json]:
        return {
            "measure": self.limit.measure,
            "value": value,
            "unit": measurement.unit,
            "limit": self._bound,
            "duration_s": duration_ns / _NS_PER_S,
            "on_delay_s": self.limit.on_delay_s,
            "quality": measurement.quality,
            "source": measurement.source,
        }

    def _is_outside(self, value: float) -> bool:
        return value < self._bound if self._is_low else value > self._bound

    def _is_inside(self, value: float) -> bool:
        margin = self.limit.hysteresis
        return value >= self._bound + margin if self._is_low else value <= self._bound - margin

    def _shown(self, value: float) -> str:
        number = f"{value:.1f}".removesuffix(".0")
        return number + _UNITS.get(self._unit, f" {self._unit}" if self._unit else "")


def _name(measure: str) -> str:
    word = _WORDS.get(measure)
    if word is not None:
        return word
    for suffix in _SUFFIXES:
        measure = measure.removesuffix(suffix)
    return measure.replace("_", " ").capitalize()


def _for(duration_ns: int) -> str:
    seconds = round(duration_ns / _NS_PER_S)
    return f" for {seconds} s" if seconds else ""
