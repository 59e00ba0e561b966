"""Heart Rate Service 0x180D: Heart Rate Measurement 0x2A37 and Control Point 0x2A39.

====  ======================================================
flag  meaning when set
====  ======================================================
0     the rate is uint16, else uint8; /min
1     skin contact, if flag 2 is set too
2     contact is sensed
3     energy expended follows: uint16, kJ since the last reset
4     RR intervals follow to the end: uint16 of 1/1024 s, oldest first
====  ======================================================

An interval is **not** in milliseconds.  Several in one notification are normal; half of one is not.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge.acquisition.gatt.rejected import Rejected

RESET_ENERGY = b"\x01"
"""Written to the control point: count the energy from 0 again."""
RR_PER_S = 1024
_WIDE, _CONTACT, _SENSES_CONTACT, _ENERGY, _RR = 1, 2, 4, 8, 16
_KNOWN_FLAGS = 0x1F
_MAX_BYTE = 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartRate:
    """One notification of a heart-rate sensor."""

    heart_rate_bpm: int
    """0 is "no reading"."""
    is_contact: bool | None = None
    """Whether the sensor feels the skin; None where it cannot tell."""
    energy_kj: int | None = None
    rr_1024: tuple[int, ...] = ()
    """Intervals between beats in 1/1024 s, oldest first."""

    @property
    def rr_ms(self) -> tuple[float, ...]:
        """The intervals in milliseconds."""
        return tuple(1000 * interval / RR_PER_S for interval in self.rr_1024)


def parse_heart_rate(data: bytes) -> HeartRate | Rejected:
    """Return the measurement in `data`.

    Examples
    --------
    >>> parse_heart_rate(bytes.fromhex("16 3C 00 04 F8 03")).rr_ms
    (1000.0, 992.1875)
    """
    if not data:
        return Rejected("length")
    flags = data[0]
    n_rate = 2 if flags & _WIDE else 1
    at_rr = 1 + n_rate + (2 if flags & _ENERGY else 0)
    n_rr_bytes = len(data) - at_rr
    has_rr = bool(flags & _RR)
    if n_rr_bytes < 0 or (has_rr and (n_rr_bytes == 0 or n_rr_bytes % 2)):
        return Rejected("length")
    if not has_rr and n_rr_bytes > 0 and not flags & ~_KNOWN_FLAGS:
        return Rejected("length")
    return HeartRate(
        heart_rate_bpm=int.from_bytes(data[1 : 1 + n_rate], "little"),
        is_contact=bool(flags & _CONTACT) if flags & _SENSES_CONTACT else None,
        energy_kj=int.from_bytes(data[1 + n_rate : at_rr], "little") if flags & _ENERGY else None,
        rr_1024=struct.unpack_from(f"<{n_rr_bytes // 2}H", data, at_rr) if has_rr else (),
    )


def heart_rate_bytes(measurement: HeartRate) -> bytes:
    """Return `measurement` as a sensor sends it; the rate has one byte where that is enough."""
    is_wide = measurement.heart_rate_bpm > _MAX_BYTE
    flags = _WIDE if is_wide else 0
    if measurement.is_contact is not None:
        flags |= _SENSES_CONTACT | (_CONTACT if measurement.is_contact else 0)
    body = measurement.heart_rate_bpm.to_bytes(2 if is_wide else 1, "little")
    if measurement.energy_kj is not None:
        flags |= _ENERGY
        body += measurement.energy_kj.to_bytes(2, "little")
    if measurement.rr_1024:
        flags |= _RR
        body += struct.pack(f"<{len(measurement.rr_1024)}H", *measurement.rr_1024)
    return bytes([flags]) + body
