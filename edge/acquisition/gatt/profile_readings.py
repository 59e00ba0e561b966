"""How the values of Bluetooth profiles become `Reading`s: unit, time of validity, and what is not passed on as good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edge.messages import Reading, ReadingStatus

_CONTINUOUS_S = 15.0
_SPOT_S = 3600.0
"""A patient whose score asks for attention is measured at least once an hour (NEWS2, Royal College of Physicians 2017);
what is older is no current value."""
_PATCH_S = 180.0
"""A thermometer that sends by itself does so at least once a minute; after three it has come off or died."""
_CGM_S = 900.0
"""Three of the usual intervals of five minutes."""
_DAY_S = 86400.0

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "heart_rate_bpm": "/min",
        "pulse_rate_bpm": "/min",
        "spo2_pct": "%",
        "perfusion_index_pct": "%",
        "body_temperature_c": "Cel",
        "systolic_mmhg": "mm[Hg]",
        "diastolic_mmhg": "mm[Hg]",
        "mean_pressure_mmhg": "mm[Hg]",
        "body_mass_kg": "kg",
        "height_m": "m",
        "bmi_kg_m2": "kg/m2",
        "glucose_mmol_l": "mmol/L",
        "battery_pct": "%",
        "energy_kj": "kJ",
    }
)
"""UCUM code of every measure that a profile gives."""
VALID_FOR_S: Mapping[str, float] = MappingProxyType(
    {
        "heart_rate": _CONTINUOUS_S,
        "continuous_oximetry": _CONTINUOUS_S,
        "spot": _SPOT_S,
        "patch": _PATCH_S,
        "weight": _DAY_S,
        "cgm": _CGM_S,
        "battery": 3600.0,
    }
)
"""How long a value of each kind may be shown."""
_LONGEST_S: Mapping[str, float] = MappingProxyType({"pulse_rate_bpm": 60.0})
"""The pulse of a cuff is of a minute, not of an hour: it must not stand beside, or for, one that is measured now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """When values were measured and for how long they may be shown."""

    sensor: str
    at_ns: int
    valid_for_s: float
    is_stored: bool = False
    device_time: str | None = None
    """What the device's own clock showed."""

    def reading(
        self, measure: str, value: float | None, absent: str | None = None, *, is_questionable: bool = False
    ) -> Reading:
        """Return one value of the measurement, or its absence; `absent` overrules a value."""
        if value is None or absent is not None:
            value, absent = None, absent or "not-measured"
        status = ReadingStatus.QUESTIONABLE if is_questionable else ReadingStatus.VALID
        return Reading(
            sensor=self.sensor,
            measure=measure,
            value=value,
            unit=UNITS[measure],
            measured_at_ns=self.at_ns,
            status=status if absent is None else ReadingStatus.INVALID,
            absent=absent,
            valid_for_s=min(self.valid_for_s, _LONGEST_S.get(measure, self.valid_for_s)),
            is_stored=self.is_stored,
            device_time=self.device_time,
        )
