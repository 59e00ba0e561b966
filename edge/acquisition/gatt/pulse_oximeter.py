"""Pulse Oximeter Service 0x1822: PLX Continuous 0x2A5F, PLX Spot-check 0x2A5E, PLX Features 0x2A60.

=========  ==================================================================================================
value      flags (1 byte), SpO2 and pulse rate (SFLOAT each), then in order what is flagged
=========  ==================================================================================================
2A5F       0 SpO2 + rate, fast · 1 SpO2 + rate, slow · 2 measurement status (2) · 3 device status (3) · 4 pulse
           amplitude index (SFLOAT, %)
2A5E       0 timestamp (7) · 1 measurement status · 2 device status · 3 pulse amplitude index; flag 4: the device's
           clock is not set
=========  ==================================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from edge.acquisition.gatt.date_time import DATE_TIME_BYTES, DateTime, date_time_bytes, parse_date_time
from edge.acquisition.gatt.ieee11073 import Number, sfloat, sfloat_bytes
from edge.acquisition.gatt.rejected import Rejected, length_is_wrong

_N_HEAD = 5
_N_MEASUREMENT, _N_DEVICE = 2, 3
_KNOWN_FLAGS = 0x1F


class MeasurementStatus(IntFlag):
    """What the oximeter says of this value; bits 0–4 are reserved."""

    ONGOING = 1 << 5
    EARLY_ESTIMATE = 1 << 6
    VALIDATED = 1 << 7
    FULLY_QUALIFIED = 1 << 8
    FROM_STORAGE = 1 << 9
    DEMONSTRATION = 1 << 10
    TESTING = 1 << 11
    CALIBRATION_ONGOING = 1 << 12
    UNAVAILABLE = 1 << 13
    QUESTIONABLE = 1 << 14
    INVALID = 1 << 15


class DeviceStatus(IntFlag):
    """What the oximeter says of itself and its probe."""

    EXTENDED_DISPLAY_UPDATE = 1
    EQUIPMENT_MALFUNCTION = 1 << 1
    PROCESSING_IRREGULARITY = 1 << 2
    INADEQUATE_SIGNAL = 1 << 3
    POOR_SIGNAL = 1 << 4
    LOW_PERFUSION = 1 << 5
    ERRATIC_SIGNAL = 1 << 6
    NON_PULSATILE = 1 << 7
    QUESTIONABLE_PULSE = 1 << 8
    ANALYSIS_ONGOING = 1 << 9
    INTERFERENCE = 1 << 10
    UNCONNECTED_TO_USER = 1 << 11
    UNKNOWN_SENSOR = 1 << 12
    DISPLACED = 1 << 13
    SENSOR_MALFUNCTION = 1 << 14
    DISCONNECTED = 1 << 15


class OximeterFeatures(IntFlag):
    """What the oximeter can send."""

    MEASUREMENT_STATUS = 1
    DEVICE_STATUS = 1 << 1
    STORAGE = 1 << 2
    TIMESTAMP = 1 << 3
    FAST = 1 << 4
    SLOW = 1 << 5
    PULSE_AMPLITUDE = 1 << 6
    MULTIPLE_BONDS = 1 << 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousOximetry:
    """One notification of PLX Continuous."""

    spo2_pct: Number
    pulse_rate_bpm: Number
    fast: tuple[Number, Number] | None = None
    """SpO2 and pulse rate over a short time."""
    slow: tuple[Number, Number] | None = None
    """SpO2 and pulse rate over a long time."""
    measurement_status: MeasurementStatus | None = None
    device_status: DeviceStatus | None = None
    amplitude_pct: Number | None = None
    """Pulse amplitude index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotOximetry:
    """One indication of PLX Spot-check."""

    spo2_pct: Number
    pulse_rate_bpm: Number
    taken_at: DateTime | None = None
    measurement_status: MeasurementStatus | None = None
    device_status: DeviceStatus | None = None
    amplitude_pct: Number | None = None
    is_clock_set: bool = True
    """False where the device says that its clock is not: then its timestamp counts from any beginning."""


def parse_continuous_oximetry(data: bytes) -> ContinuousOximetry | Rejected:
    """Return the measurement in `data`.

    Examples
    --------
    >>> parse_continuous_oximetry(bytes.fromhex("00 62 00 48 00")).spo2_pct.value
    98.0
    """
    if not data:
        return Rejected("length")
    flags = data[0]
    lengths = [4 * _bit(flags, 0), 4 * _bit(flags, 1), *_status_lengths(flags >> 2)]
    if length_is_wrong(len(data), _N_HEAD + sum(lengths), has_unknown_flags=bool(flags & ~_KNOWN_FLAGS)):
        return Rejected("length")
    fast, slow, measurement, device, amplitude = _cut(data, lengths)
    return ContinuousOximetry(
        spo2_pct=sfloat(data, 1),
        pulse_rate_bpm=sfloat(data, 3),
        fast=(sfloat(fast), sfloat(fast, 2)) if fast else None,
        slow=(sfloat(slow), sfloat(slow, 2)) if slow else None,
        measurement_status=_measurement_status(measurement),
        device_status=_device_status(device),
        amplitude_pct=sfloat(amplitude) if amplitude else None,
    )


def continuous_oximetry_bytes(measurement: ContinuousOximetry) -> bytes:
    """Return `measurement` as an oximeter sends it."""
    fields = (
        _pair_bytes(measurement.fast),
        _pair_bytes(measurement.slow),
        *_status_bytes(measurement.measurement_status, measurement.device_status, measurement.amplitude_pct),
    )
    return _joined(0, measurement.spo2_pct, measurement.pulse_rate_bpm, fields)


def parse_spot_oximetry(data: bytes) -> SpotOximetry | Rejected:
    """Return the measurement in `data`."""
    if not data:
        return Rejected("length")
    flags = data[0]
    lengths = [DATE_TIME_BYTES * _bit(flags, 0), *_status_lengths(flags >> 1)]
    if length_is_wrong(len(data), _N_HEAD + sum(lengths), has_unknown_flags=bool(flags & ~_KNOWN_FLAGS)):
        return Rejected("length")
    time, measurement, device, amplitude = _cut(data, lengths)
    taken_at = parse_date_time(time) if time else None
    if isinstance(taken_at, Rejected):
        return taken_at
    return SpotOximetry(
        spo2_pct=sfloat(data, 1),
        pulse_rate_bpm=sfloat(data, 3),
        taken_at=taken_at,
        measurement_status=_measurement_status(measurement),
        device_status=_device_status(device),
        amplitude_pct=sfloat(amplitude) if amplitude else None,
        is_clock_set=not _bit(flags, 4),
    )


def spot_oximetry_bytes(measurement: SpotOximetry) -> bytes:
    """Return `measurement` as an oximeter sends it."""
    fields = (
        b"" if measurement.taken_at is None else date_time_bytes(measurement.taken_at),
        *_status_bytes(measurement.measurement_status, measurement.device_status, measurement.amplitude_pct),
    )
    unset = 0 if measurement.is_clock_set else 1 << 4
    return _joined(unset, measurement.spo2_pct, measurement.pulse_rate_bpm, fields)


def parse_oximeter_features(data: bytes) -> OximeterFeatures | Rejected:
    """Return what the oximeter can send; which status bits it supports, bytes 2 on, is not needed to read them."""
    return Rejected("length") if len(data) < 2 else OximeterFeatures(int.from_bytes(data[:2], "little"))


def oximeter_features_bytes(features: OximeterFeatures) -> bytes:
    """Return `features` as an oximeter sends them."""
    return features.to_bytes(2, "little")


def _bit(flags: int, k: int) -> int:
    return flags >> k & 1


def _status_lengths(flags: int) -> tuple[int, int, int]:
    return _N_MEASUREMENT * _bit(flags, 0), _N_DEVICE * _bit(flags, 1), 2 * _bit(flags, 2)


def _cut(data: bytes, lengths: list[int]) -> list[bytes]:
    pieces, at = [], _N_HEAD
    for n_bytes in lengths:
        pieces.append(data[at : at + n_bytes])
        at += n_bytes
    return pieces


def _measurement_status(field: bytes) -> MeasurementStatus | None:
    return MeasurementStatus(int.from_bytes(field, "little")) if field else None


def _device_status(field: bytes) -> DeviceStatus | None:
    return DeviceStatus(int.from_bytes(field, "little")) if field else None


def _pair_bytes(pair: tuple[Number, Number] | None) -> bytes:
    return b"" if pair is None else sfloat_bytes(pair[0]) + sfloat_bytes(pair[1])


def _status_bytes(
    measurement: MeasurementStatus | None, device: DeviceStatus | None, amplitude: Number | None
) -> tuple[bytes, bytes, bytes]:
    return (
        b"" if measurement is None else measurement.to_bytes(_N_MEASUREMENT, "little"),
        b"" if device is None else device.to_bytes(_N_DEVICE, "little"),
        b"" if amplitude is None else sfloat_bytes(amplitude),
    )


def _joined(flags: int, spo2_pct: Number, pulse_rate_bpm: Number, fields: tuple[bytes, ...]) -> bytes:
    for k, piece in enumerate(fields):
        flags |= (1 << k) if piece else 0
    return bytes([flags]) + sfloat_bytes(spo2_pct) + sfloat_bytes(pulse_rate_bpm) + b"".join(fields)
