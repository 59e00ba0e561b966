"""Continuous Glucose Monitoring Service 0x181F: Measurement 0x2AA7, Feature 0x2AA8, Status 0x2AA9, Start Time 0x2AAA.

===========  ==================================================================================================
value        layout
===========  ==================================================================================================
2AA7         one or more records: size (1, the CRC included), flags (0 trend · 1 quality · 5 warning octet · 6
             calibration octet · 7 status octet), glucose (SFLOAT, mg/dL), minutes since the session began (uint16),
             the flagged octets in the order status, calibration, warning, trend (SFLOAT, mg/dL a minute),
             quality (SFLOAT, %), CRC (2, where the sensor sends one)
2AA8         features (3), type (low nibble) and sample location (high nibble), CRC (2; FFFF where none is used)
2AA9         minutes since the session began (uint16), status, calibration and warning octets, CRC
2AAA         date and time (7), time zone (int8, quarters of an hour; −128 unknown), daylight saving (255 unknown),
             CRC
===========  ==================================================================================================

The CRC is CRC-16/MCRF4XX over everything before it.  Whether there is one shows in the length.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag

from edge.acquisition.gatt.date_time import DATE_TIME_BYTES, DateTime, date_time_bytes, parse_date_time
from edge.acquisition.gatt.glucose import MG_DL_PER_MMOL_L
from edge.acquisition.gatt.ieee11073 import Number, sfloat, sfloat_bytes
from edge.acquisition.gatt.rejected import Rejected

_TREND, _QUALITY, _WARNING, _CALIBRATION, _STATUS = 1, 2, 1 << 5, 1 << 6, 1 << 7
_KNOWN_FLAGS = 0xE3
_N_HEAD = 6
_N_CRC = 2
_N_FEATURE, _N_STATUS, _N_START = 4, 5, 9
_POLYNOMIAL = 0x8408
_NO_CRC = b"\xff\xff"
UNKNOWN_ZONE = -128
UNKNOWN_DST = 255


class CgmStatus(IntFlag):
    """The status octet (bits 0–7), the calibration and temperature octet (8–15) and the warning octet (16–23)."""

    SESSION_STOPPED = 1
    BATTERY_LOW = 1 << 1
    SENSOR_TYPE_INCORRECT = 1 << 2
    SENSOR_MALFUNCTION = 1 << 3
    DEVICE_ALERT = 1 << 4
    DEVICE_FAULT = 1 << 5
    TIME_SYNC_REQUIRED = 1 << 8
    CALIBRATION_NOT_ALLOWED = 1 << 9
    CALIBRATION_RECOMMENDED = 1 << 10
    CALIBRATION_REQUIRED = 1 << 11
    TEMPERATURE_TOO_HIGH = 1 << 12
    TEMPERATURE_TOO_LOW = 1 << 13
    BELOW_PATIENT_LOW = 1 << 16
    ABOVE_PATIENT_HIGH = 1 << 17
    HYPO = 1 << 18
    HYPER = 1 << 19
    FALLING_FAST = 1 << 20
    RISING_FAST = 1 << 21
    BELOW_RANGE = 1 << 22
    ABOVE_RANGE = 1 << 23


class CgmFeatures(IntFlag):
    """Those features of the sensor that matter here."""

    MULTIPLE_SESSIONS = 1 << 11
    CRC = 1 << 12


@dataclass(frozen=True, slots=True, kw_only=True)
class CgmRecord:
    """One value of a continuous glucose sensor."""

    glucose_mg_dl: Number
    offset_min: int
    """Minutes since the session began."""
    status_octet: int | None = None
    calibration_octet: int | None = None
    warning_octet: int | None = None
    trend_mg_dl_min: Number | None = None
    quality_pct: Number | None = None
    has_crc: bool = False

    @property
    def glucose_mmol_l(self) -> float | None:
        """The concentration; None where there is none."""
        return self.glucose_mg_dl.converted(1 / MG_DL_PER_MMOL_L)

    @property
    def status(self) -> CgmStatus:
        """All octets together; one that is not sent has no bit set."""
        return _status(self.status_octet or 0, self.calibration_octet or 0, self.warning_octet or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CgmState:
    """What the status characteristic says: how far the session is now."""

    offset_min: int
    """Minutes since the session began, now: the sensor's own current time."""
    status: CgmStatus
    has_crc: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CgmSessionStart:
    """When the session began, by the sensor's clock."""

    started_at: DateTime
    zone_quarters: int = UNKNOWN_ZONE
    """Time zone in quarters of an hour east of UTC; -128 is unknown."""
    dst_quarters: int = UNKNOWN_DST
    """Daylight saving in quarters of an hour; 255 is unknown."""
    has_crc: bool = False


def crc16_mcrf4xx(data: bytes) -> int:
    """Return the CRC-16/MCRF4XX of `data`: reflected, polynomial 0x8408, initial value 0xFFFF, no final XOR.

    Examples
    --------
    >>> hex(crc16_mcrf4xx(b"123456789"))
    '0x6f91'
    """
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc


def parse_cgm(data: bytes) -> tuple[CgmRecord, ...] | Rejected:
    """Return every record in `data`, or why it is refused as a whole.

    Examples
    --------
    >>> [record.glucose_mg_dl.value for record in parse_cgm(bytes.fromhex("06 00 0C 10 06 00"))]
    [120.0]
    """
    if not data:
        return Rejected("length")
    records: list[CgmRecord] = []
    at = 0
    while at < len(data):
        size = data[at]
        if size < _N_HEAD or at + size > len(data):
            return Rejected("length")
        record = _parse_record(data[at : at + size])
        if isinstance(record, Rejected):
            return record
        records.append(record)
        at += size
    return tuple(records)


def cgm_bytes(records: tuple[CgmRecord, ...]) -> bytes:
    """Return `records` as a sensor sends them in one notification."""
    return b"".join(map(_record_bytes, records))


def parse_cgm_features(data: bytes) -> CgmFeatures | Rejected:
    """Return what the sensor can do."""
    body = _checked(data, _N_FEATURE, needs_crc=True)
    return body if isinstance(body, Rejected) else CgmFeatures(int.from_bytes(body[:3], "little"))


def cgm_features_bytes(features: CgmFeatures) -> bytes:
    """Return `features` of a sensor in the subcutaneous tissue (type 9, location 5)."""
    body = features.to_bytes(3, "little") + b"\x59"
    return body + (_crc_bytes(body) if features & CgmFeatures.CRC else _NO_CRC)


def parse_cgm_state(data: bytes) -> CgmState | Rejected:
    """Return what the status characteristic says."""
    body = _checked(data, _N_STATUS)
    if isinstance(body, Rejected):
        return body
    status = _status(body[2], body[3], body[4])
    return CgmState(offset_min=int.from_bytes(body[:2], "little"), status=status, has_crc=len(data) > _N_STATUS)


def cgm_state_bytes(state: CgmState) -> bytes:
    """Return `state` as a sensor sends it."""
    body = state.offset_min.to_bytes(2, "little") + state.status.to_bytes(3, "little")
    return body + (_crc_bytes(body) if state.has_crc else b"")


def parse_cgm_session_start(data: bytes) -> CgmSessionStart | Rejected:
    """Return when the session began."""
    body = _checked(data, _N_START)
    if isinstance(body, Rejected):
        return body
    started_at = parse_date_time(body[:DATE_TIME_BYTES])
    if isinstance(started_at, Rejected):
        return started_at
    zone, dst = struct.unpack_from("<bB", body, DATE_TIME_BYTES)
    return CgmSessionStart(started_at=started_at, zone_quarters=zone, dst_quarters=dst, has_crc=len(data) > _N_START)


def cgm_session_start_bytes(start: CgmSessionStart) -> bytes:
    """Return `start` as a sensor sends it."""
    body = date_time_bytes(start.started_at) + struct.pack("<bB", start.zone_quarters, start.dst_quarters)
    return body + (_crc_bytes(body) if start.has_crc else b"")


def _status(status: int, calibration: int, warning: int) -> CgmStatus:
    return CgmStatus(status | calibration << 8 | warning << 16)


def _checked(data: bytes, n_bytes: int, *, needs_crc: bool = False) -> bytes | Rejected:
    """Return `data` without its CRC, where it has one; FFFF stands for none where the field is always there."""
    if len(data) != n_bytes + _N_CRC and (needs_crc or len(data) != n_bytes):
        return Rejected("length")
    body, crc = data[:n_bytes], data[n_bytes:]
    if crc and crc != _crc_bytes(body) and not (needs_crc and crc == _NO_CRC):
        return Rejected("crc")
    return body


def _crc_bytes(body: bytes) -> bytes:
    return crc16_mcrf4xx(body).to_bytes(_N_CRC, "little")


def _parse_record(data: bytes) -> CgmRecord | Rejected:
    """Return the record that `data` is exactly; one with flags of a later revision cannot be told from a CRC."""
    flags = data[1]
    if flags & ~_KNOWN_FLAGS:
        return Rejected("value")
    lengths = [1 if flags & bit else 0 for bit in (_STATUS, _CALIBRATION, _WARNING)]
    lengths += [2 if flags & bit else 0 for bit in (_TREND, _QUALITY)]
    body = _checked(data, _N_HEAD + sum(lengths))
    if isinstance(body, Rejected):
        return body
    pieces, at = [], _N_HEAD
    for n_bytes in lengths:
        pieces.append(body[at : at + n_bytes])
        at += n_bytes
    status, calibration, warning, trend, quality = pieces
    return CgmRecord(
        glucose_mg_dl=sfloat(data, 2),
        offset_min=int.from_bytes(data[4:6], "little"),
        status_octet=status[0] if status else None,
        calibration_octet=calibration[0] if calibration else None,
        warning_octet=warning[0] if warning else None,
        trend_mg_dl_min=sfloat(trend) if trend else None,
        quality_pct=sfloat(quality) if quality else None,
        has_crc=len(body) < len(data),
    )


def _record_bytes(record: CgmRecord) -> bytes:
    flags, tail = 0, b""
    octets = (
        (_STATUS, record.status_octet),
        (_CALIBRATION, record.calibration_octet),
        (_WARNING, record.warning_octet),
    )
    for bit, octet in octets:
        if octet is not None:
            flags |= bit
            tail += bytes([octet])
    for bit, number in ((_TREND, record.trend_mg_dl_min), (_QUALITY, record.quality_pct)):
        if number is not None:
            flags |= bit
            tail += sfloat_bytes(number)
    size = _N_HEAD + len(tail) + (_N_CRC if record.has_crc else 0)
    body = bytes([size, flags]) + sfloat_bytes(record.glucose_mg_dl) + record.offset_min.to_bytes(2, "little") + tail
    return body + (_crc_bytes(body) if record.has_crc else b"")
