"""Values as Bluetooth profiles put them on the air: the bytes of every measurement a virtual sensor sends.

Pure; the inverse of what `edge.acquisition.gatt` reads, written from the specifications and not from that code, so
that the two can be held against each other.  All numbers are little-endian.

References
----------
.. [1] IEEE 11073-20601:2014, 5.2.4: SFLOAT-Type and FLOAT-Type.
.. [2] Bluetooth SIG, *GATT Specification Supplement* 9: the layout of each characteristic.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import datetime

SFLOAT_NAN = struct.pack("<H", 0x07FF)
FLOAT_NAN = struct.pack("<I", 0x007FFFFF)
_LARGEST_SFLOAT = 2045
_LARGEST_FLOAT = 0x7FFFFD
_RR_PER_S = 1024
_LARGEST_RR = 0xFFFF

# Device and Sensor Status of an oximeter.
SENSOR_UNCONNECTED_TO_USER = 1 << 11
LOW_PERFUSION = 1 << 5
POOR_SIGNAL = 1 << 4
# Measurement Status of an oximeter.
MEASUREMENT_ONGOING = 1 << 5
FULLY_QUALIFIED = 1 << 8
QUESTIONABLE = 1 << 14


def sfloat(value: float | None, exponent: int = 0) -> bytes:
    """Return a 16-bit medical float; None is "not a number".

    Raises
    ------
    ValueError
        If the value does not fit 12 bits with this exponent.

    Examples
    --------
    >>> sfloat(98).hex(), sfloat(18.9, -1).hex(), sfloat(None).hex()
    ('6200', 'bdf0', 'ff07')
    """
    if value is None:
        return SFLOAT_NAN
    mantissa = round(value / 10.0**exponent)
    if not -_LARGEST_SFLOAT <= mantissa <= _LARGEST_SFLOAT:
        raise ValueError(f"expected at most {_LARGEST_SFLOAT} steps of 10^{exponent}, got {value}")
    return struct.pack("<H", (exponent & 0xF) << 12 | mantissa & 0xFFF)


def medical_float(value: float | None, exponent: int = -2) -> bytes:
    """Return a 32-bit medical float; None is "not a number".

    Examples
    --------
    >>> medical_float(37.6).hex(), medical_float(37, -1).hex()
    ('b00e00fe', '720100ff')
    """
    if value is None:
        return FLOAT_NAN
    mantissa = round(value / 10.0**exponent)
    if not -_LARGEST_FLOAT <= mantissa <= _LARGEST_FLOAT:
        raise ValueError(f"expected at most {_LARGEST_FLOAT} steps of 10^{exponent}, got {value}")
    return struct.pack("<I", (exponent & 0xFF) << 24 | mantissa & 0xFFFFFF)


def date_time(moment: datetime) -> bytes:
    """Return seven bytes: year, month, day, hours, minutes, seconds."""
    return struct.pack("<H5B", moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)


def heart_rate(
    rate_bpm: float | None,
    rr_s: Sequence[float] = (),
    *,
    is_in_contact: bool | None = None,
    energy_kj: int | None = None,
) -> bytes:
    """Return Heart Rate Measurement (0x2A37).

    Parameters
    ----------
    rate_bpm : float, optional
        None is sent as 0, as straps do that count no beat.
    rr_s : sequence of float
        Intervals in seconds, oldest first; sent in steps of 1/1024 s.
    is_in_contact : bool, optional
        None where the sensor cannot tell.
    energy_kj : int, optional
        None leaves the field out.

    Examples
    --------
    >>> heart_rate(60, [1.0, 0.9922], is_in_contact=True).hex(), heart_rate(300).hex()
    ('163c0004f803', '012c01')
    """
    rate = 0 if rate_bpm is None else round(rate_bpm)
    is_wide = rate > 0xFF
    flags = is_wide | (is_in_contact is True) << 1 | (is_in_contact is not None) << 2
    flags |= (energy_kj is not None) << 3 | bool(rr_s) << 4
    parts = [bytes([flags]), struct.pack("<H" if is_wide else "<B", rate)]
    if energy_kj is not None:
        parts.append(struct.pack("<H", energy_kj))
    parts += [struct.pack("<H", min(_LARGEST_RR, round(each * _RR_PER_S))) for each in rr_s]
    return b"".join(parts)


def oximeter_continuous(
    spo2_pct: float | None,
    pulse_rate_bpm: float | None,
    *,
    measurement_status: int | None = None,
    sensor_status: int | None = None,
    pulse_amplitude_pct: float | None = None,
) -> bytes:
    """Return PLX Continuous Measurement (0x2A5F) without the fast and slow values.

    Examples
    --------
    >>> oximeter_continuous(98, 72).hex(), oximeter_continuous(None, None, sensor_status=0x1000).hex()
    ('0062004800', '08ff07ff07001000')
    """
    flags = (measurement_status is not None) << 2 | (sensor_status is not None) << 3
    flags |= (pulse_amplitude_pct is not None) << 4
    value = bytes([flags]) + sfloat(spo2_pct) + sfloat(pulse_rate_bpm)
    if measurement_status is not None:
        value += struct.pack("<H", measurement_status)
    if sensor_status is not None:
        value += sensor_status.to_bytes(3, "little")
    return value + (sfloat(pulse_amplitude_pct, -2) if pulse_amplitude_pct is not None else b"")


def oximeter_spot(
    spo2_pct: float | None,
    pulse_rate_bpm: float | None,
    *,
    moment: datetime | None = None,
    measurement_status: int | None = None,
    sensor_status: int | None = None,
) -> bytes:
    """Return PLX Spot-Check Measurement (0x2A5E)."""
    flags = (moment is not None) | (measurement_status is not None) << 1 | (sensor_status is not None) << 2
    value = bytes([flags]) + sfloat(spo2_pct) + sfloat(pulse_rate_bpm)
    if moment is not None:
        value += date_time(moment)
    if measurement_status is not None:
        value += struct.pack("<H", measurement_status)
    return value + (sensor_status.to_bytes(3, "little") if sensor_status is not None else b"")


def temperature(value_c: float | None, *, moment: datetime | None = None, site: int | None = None) -> bytes:
    """Return Temperature Measurement (0x2A1C) in degrees Celsius; `site` is a Temperature Type, 1 the armpit.

    Examples
    --------
    >>> temperature(37.0).hex(), temperature(None, site=2).hex()
    ('00740e00fe', '04ffff7f0002')
    """
    flags = (moment is not None) << 1 | (site is not None) << 2
    value = bytes([flags]) + medical_float(value_c)
    return value + (date_time(moment) if moment else b"") + (bytes([site]) if site is not None else b"")


def blood_pressure(
    systolic_mmhg: float | None,
    diastolic_mmhg: float | None,
    mean_mmhg: float | None,
    *,
    moment: datetime | None = None,
    pulse_rate_bpm: float | None = None,
    status: int | None = None,
) -> bytes:
    """Return Blood Pressure Measurement (0x2A35) in mmHg.

    Examples
    --------
    >>> blood_pressure(120, 80, 93, pulse_rate_bpm=72).hex()
    '04780050005d004800'
    """
    flags = (moment is not None) << 1 | (pulse_rate_bpm is not None) << 2 | (status is not None) << 4
    value = bytes([flags]) + sfloat(systolic_mmhg) + sfloat(diastolic_mmhg) + sfloat(mean_mmhg)
    if moment is not None:
        value += date_time(moment)
    if pulse_rate_bpm is not None:
        value += sfloat(pulse_rate_bpm)
    return value + (struct.pack("<H", status) if status is not None else b"")


def weight(mass_kg: float, *, moment: datetime | None = None, user: int | None = None) -> bytes:
    """Return Weight Measurement (0x2A9D) in steps of 5 g.

    Examples
    --------
    >>> weight(70.0).hex()
    '00b036'
    """
    flags = (moment is not None) << 1 | (user is not None) << 2
    value = struct.pack("<BH", flags, round(mass_kg / 0.005))
    return value + (date_time(moment) if moment else b"") + (bytes([user]) if user is not None else b"")


def glucose(number: int, moment: datetime, concentration_mmol_l: float) -> bytes:
    """Return Glucose Measurement (0x2A18): capillary whole blood from a finger, in mol/L.

    Examples
    --------
    >>> glucose(42, datetime(2024, 3, 15, 14, 30, 45), 5.5).hex()
    '062a00e807030f0e1e2d37c011'
    """
    return struct.pack("<BH", 0x06, number) + date_time(moment) + sfloat(concentration_mmol_l / 1000, -4) + b"\x11"
