"""Blood Pressure Service 0x1810: Measurement 0x2A35, Intermediate Cuff Pressure 0x2A36, Feature 0x2A49.

Flags (1 byte): 0 kPa, else mmHg · 1 timestamp (7) · 2 pulse rate (SFLOAT) · 3 user (1) · 4 status (2).  Then systolic,
diastolic and mean pressure (SFLOAT each) and in this order what is flagged.  An intermediate pressure has the same
layout with the pressure of the cuff in the first place and NaN in the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from fractions import Fraction

from edge.acquisition.gatt.date_time import DATE_TIME_BYTES, DateTime, date_time_bytes, parse_date_time
from edge.acquisition.gatt.ieee11073 import Number, sfloat, sfloat_bytes
from edge.acquisition.gatt.rejected import Rejected, length_is_wrong

_KPA, _TIME, _PULSE, _USER, _STATUS = 1, 2, 4, 8, 16
_KNOWN_FLAGS = 0x1F
_N_HEAD = 7
_MMHG_PER_KPA = Fraction("7.50062")
UNKNOWN_USER = 0xFF


class PressureStatus(IntFlag):
    """What the device says of the measurement."""

    BODY_MOVED = 1
    CUFF_LOOSE = 1 << 1
    IRREGULAR_PULSE = 1 << 2
    PULSE_TOO_HIGH = 1 << 3
    PULSE_TOO_LOW = 1 << 4
    BAD_POSITION = 1 << 5


class PressureFeatures(IntFlag):
    """What the device can notice."""

    BODY_MOVEMENT = 1
    CUFF_FIT = 1 << 1
    IRREGULAR_PULSE = 1 << 2
    PULSE_RANGE = 1 << 3
    POSITION = 1 << 4
    MULTIPLE_BONDS = 1 << 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BloodPressure:
    """One measurement as the device sent it; pressures in the unit that `is_kpa` says."""

    systolic: Number
    diastolic: Number
    mean: Number
    is_kpa: bool = False
    taken_at: DateTime | None = None
    pulse_rate_bpm: Number | None = None
    user: int | None = None
    """Number of the user of a device that several use; 255 is unknown."""
    status: PressureStatus | None = None

    def mmhg(self, pressure: Number) -> float | None:
        """Return one of its pressures in mmHg (1 kPa = 7.50062 mmHg); None where there is none."""
        return pressure.converted(_MMHG_PER_KPA) if self.is_kpa else pressure.value


def parse_blood_pressure(data: bytes) -> BloodPressure | Rejected:
    """Return the measurement in `data`.

    Examples
    --------
    >>> measured = parse_blood_pressure(bytes.fromhex("04 78 00 50 00 5D 00 48 00"))
    >>> measured.mmhg(measured.systolic), measured.pulse_rate_bpm.value
    (120.0, 72.0)
    """
    if not data:
        return Rejected("length")
    flags = data[0]
    at_pulse = _N_HEAD + (DATE_TIME_BYTES if flags & _TIME else 0)
    at_user = at_pulse + (2 if flags & _PULSE else 0)
    at_status = at_user + (1 if flags & _USER else 0)
    n_expected = at_status + (2 if flags & _STATUS else 0)
    if length_is_wrong(len(data), n_expected, has_unknown_flags=bool(flags & ~_KNOWN_FLAGS)):
        return Rejected("length")
    taken_at = parse_date_time(data[_N_HEAD:at_pulse]) if flags & _TIME else None
    if isinstance(taken_at, Rejected):
        return taken_at
    return BloodPressure(
        systolic=sfloat(data, 1),
        diastolic=sfloat(data, 3),
        mean=sfloat(data, 5),
        is_kpa=bool(flags & _KPA),
        taken_at=taken_at,
        pulse_rate_bpm=sfloat(data, at_pulse) if flags & _PULSE else None,
        user=data[at_user] if flags & _USER else None,
        status=PressureStatus(int.from_bytes(data[at_status : at_status + 2], "little")) if flags & _STATUS else None,
    )


def blood_pressure_bytes(measurement: BloodPressure) -> bytes:
    """Return `measurement` as a device sends it."""
    flags = _KPA if measurement.is_kpa else 0
    tail = b""
    if measurement.taken_at is not None:
        flags |= _TIME
        tail += date_time_bytes(measurement.taken_at)
    if measurement.pulse_rate_bpm is not None:
        flags |= _PULSE
        tail += sfloat_bytes(measurement.pulse_rate_bpm)
    if measurement.user is not None:
        flags |= _USER
        tail += bytes([measurement.user])
    if measurement.status is not None:
        flags |= _STATUS
        tail += measurement.status.to_bytes(2, "little")
    pressures = (measurement.systolic, measurement.diastolic, measurement.mean)
    return bytes([flags]) + b"".join(map(sfloat_bytes, pressures)) + tail


def parse_pressure_features(data: bytes) -> PressureFeatures | Rejected:
    """Return what the device can notice."""
    return Rejected("length") if len(data) != 2 else PressureFeatures(int.from_bytes(data, "little"))


def pressure_features_bytes(features: PressureFeatures) -> bytes:
    """Return `features` as a device sends them."""
    return features.to_bytes(2, "little")
