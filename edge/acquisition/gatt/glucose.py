"""Glucose Service 0x1808: Glucose Measurement 0x2A18.

========  =====================================================================================================
bytes     field
========  =====================================================================================================
0         flags: 0 time offset · 1 concentration, type and location · 2 the unit is mol/L, else kg/L · 3 sensor
          status · 4 a context (0x2A34) follows
1–2       sequence number, uint16
3–9       base time
then      time offset (int16, minutes) · concentration (SFLOAT), type (low nibble) and location (high nibble) in
          one byte · sensor status (uint16)
========  =====================================================================================================

The number on the wire is kg/L or mol/L, never mg/dL: 120 mg/dL is 0.0012 kg/L.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntFlag
from fractions import Fraction

from edge.acquisition.gatt.date_time import DATE_TIME_BYTES, DateTime, date_time_bytes, parse_date_time
from edge.acquisition.gatt.ieee11073 import Number, sfloat, sfloat_bytes
from edge.acquisition.gatt.rejected import Rejected, length_is_wrong

_OFFSET, _VALUE, _MOLAR, _STATUS, _CONTEXT = 1, 2, 4, 8, 16
_KNOWN_FLAGS = 0x1F
_AT_TIME = 3
_N_HEAD = _AT_TIME + DATE_TIME_BYTES
MG_DL_PER_MMOL_L = Fraction("18.016")
"""Glucose has 180.16 g/mol."""
_MMOL_L_PER_KG_L = 100_000 / MG_DL_PER_MMOL_L
_MMOL_L_PER_MOL_L = Fraction(1000)
CONTROL_SOLUTION = 10
"""Sample type of a test of the meter itself."""
CONTROL_LOCATION = 4


class GlucoseStatus(IntFlag):
    """What the meter says of the measurement."""

    BATTERY_LOW = 1
    SENSOR_MALFUNCTION = 1 << 1
    SAMPLE_INSUFFICIENT = 1 << 2
    STRIP_INSERTION_ERROR = 1 << 3
    STRIP_TYPE_INCORRECT = 1 << 4
    RESULT_TOO_HIGH = 1 << 5
    RESULT_TOO_LOW = 1 << 6
    TEMPERATURE_TOO_HIGH = 1 << 7
    TEMPERATURE_TOO_LOW = 1 << 8
    READ_INTERRUPTED = 1 << 9
    DEVICE_FAULT = 1 << 10
    TIME_FAULT = 1 << 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Glucose:
    """One record of a glucose meter."""

    sequence: int
    base_time: DateTime
    offset_min: int | None = None
    """What the user changed the meter's clock by; the time shown is `base_time` + this."""
    concentration: Number | None = None
    is_molar: bool = False
    """Whether `concentration` is in mol/L, else kg/L."""
    sample_type: int | None = None
    """1 capillary whole blood, 2 capillary plasma … 9 interstitial fluid, 10 control solution."""
    sample_location: int | None = None
    """1 finger, 2 alternate site, 3 ear lobe, 4 control solution, 15 not available."""
    status: GlucoseStatus | None = None
    has_context: bool = False

    @property
    def glucose_mmol_l(self) -> float | None:
        """The concentration; None where there is none."""
        if self.concentration is None:
            return None
        return self.concentration.converted(_MMOL_L_PER_MOL_L if self.is_molar else _MMOL_L_PER_KG_L)

    @property
    def shown_at(self) -> datetime | None:
        """What the meter's clock showed; None where part of the date is unknown, or no such date is."""
        moment = self.base_time.moment
        if moment is None:
            return None
        try:
            return moment + timedelta(minutes=self.offset_min or 0)
        except OverflowError:  # near the year 9999
            return None

    @property
    def is_control(self) -> bool:
        """Whether it is of control solution: a test of the meter, not of a person."""
        return self.sample_type == CONTROL_SOLUTION or self.sample_location == CONTROL_LOCATION


def parse_glucose(data: bytes) -> Glucose | Rejected:
    """Return the record in `data`.

    Examples
    --------
    >>> parse_glucose(bytes.fromhex("06 2A 00 E8 07 03 0F 0E 1E 2D 37 C0 11")).glucose_mmol_l
    5.5
    """
    if not data:
        return Rejected("length")
    flags = data[0]
    at_value = _N_HEAD + (2 if flags & _OFFSET else 0)
    at_status = at_value + (3 if flags & _VALUE else 0)
    n_expected = at_status + (2 if flags & _STATUS else 0)
    if length_is_wrong(len(data), n_expected, has_unknown_flags=bool(flags & ~_KNOWN_FLAGS)):
        return Rejected("length")
    base_time = parse_date_time(data[_AT_TIME:_N_HEAD])
    if isinstance(base_time, Rejected):
        return base_time
    return Glucose(
        sequence=int.from_bytes(data[1:3], "little"),
        base_time=base_time,
        offset_min=int.from_bytes(data[_N_HEAD:at_value], "little", signed=True) if flags & _OFFSET else None,
        concentration=sfloat(data, at_value) if flags & _VALUE else None,
        is_molar=bool(flags & _MOLAR),
        sample_type=data[at_value + 2] & 0x0F if flags & _VALUE else None,
        sample_location=data[at_value + 2] >> 4 if flags & _VALUE else None,
        status=GlucoseStatus(int.from_bytes(data[at_status : at_status + 2], "little")) if flags & _STATUS else None,
        has_context=bool(flags & _CONTEXT),
    )


def glucose_bytes(record: Glucose) -> bytes:
    """Return `record` as a meter sends it."""
    flags = (_MOLAR if record.is_molar else 0) | (_CONTEXT if record.has_context else 0)
    tail = b""
    if record.offset_min is not None:
        flags |= _OFFSET
        tail += record.offset_min.to_bytes(2, "little", signed=True)
    if record.concentration is not None:
        flags |= _VALUE
        origin = (record.sample_location or 0) << 4 | (record.sample_type or 0)
        tail += sfloat_bytes(record.concentration) + bytes([origin])
    if record.status is not None:
        flags |= _STATUS
        tail += record.status.to_bytes(2, "little")
    return bytes([flags]) + record.sequence.to_bytes(2, "little") + date_time_bytes(record.base_time) + tail
