"""The frames of the OpenView format: layouts, fields, values.  Used by `openview`, whose header has the byte table."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from edge.acquisition.devices.reports import Value, judged
from edge.acquisition.devices.scanner import NOTHING_HERE, Rejected

_START = b"\x0a\xfa"
HEADER_BYTES = 5
STOP = b"\x00\x0b"
_DATA = 0x02
_LEADS_MASK = 0x1F
_SPO2_ERROR = 25.0
"""The low byte of -999, which the firmware's SpO2 algorithm returns when it has no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One kind of payload."""

    n_bytes: int
    model: str
    ecg_mv_per_count: float | None
    """None: no ECG."""


HEALTHYPI_5 = Layout(n_bytes=22, model="HealthyPi 5", ecg_mv_per_count=1000 / (2**17 * 20))
"""MAX30001: 18 bits signed, full scale 1 V over a gain of 20 (data sheet, and the conversion in the firmware)."""
HEALTHYPI_4 = Layout(n_bytes=20, model="HealthyPi v4", ecg_mv_per_count=2 * 2420 / 12 / 2**16)
"""ADS1292R: 2.42 V reference, gain 12 (the firmware's CH2SET is 0x60), upper 16 of 24 bits."""
AFE4490 = Layout(n_bytes=10, model="AFE4490", ecg_mv_per_count=None)
LAYOUTS: tuple[Layout, ...] = (HEALTHYPI_5, HEALTHYPI_4, AFE4490)
LAYOUT_OF = {layout.n_bytes: layout for layout in LAYOUTS}


class OpenViewFrame(NamedTuple):
    """What one frame says, in counts; None where the layout has no such field."""

    ecg: int | None
    respiration: int | None
    is_respiration_old: bool
    red: int
    infrared: int
    temperature_c: float | None
    spo2: int
    rate: int
    breaths: int | None
    leads_off: int


def decode_payload(payload: bytes, *, is_red_first: bool = False) -> OpenViewFrame:
    """Return the fields of a payload of 22, 20 or 10 bytes.

    Raises
    ------
    ValueError
        If it has another length.
    """
    if len(payload) == HEALTHYPI_5.n_bytes:
        ecg, bioz, skip, red, infrared, temperature, spo2, rate, breaths = struct.unpack("<iiBiihBBB", payload)
        return OpenViewFrame(ecg, bioz, skip != 0, red, infrared, temperature / 100, spo2, rate, breaths, 0)
    if len(payload) == HEALTHYPI_4.n_bytes:
        ecg, bioz, infrared, red, temperature, breaths, spo2, rate, leads = struct.unpack("<hhiiHBBB2xB", payload)
        if is_red_first:
            red, infrared = infrared, red
        leads_off = leads & _LEADS_MASK
        return OpenViewFrame(ecg, bioz, False, red, infrared, temperature / 100, spo2, rate, breaths, leads_off)
    if len(payload) == AFE4490.n_bytes:
        infrared, red, spo2, rate = struct.unpack("<iiBB", payload)
        return OpenViewFrame(None, None, False, red, infrared, None, spo2, rate, None, 0)
    raise ValueError(f"expected a payload of {', '.join(map(str, LAYOUT_OF))} bytes, got {len(payload)}")


def judge(data: bytearray, at: int, is_end: bool) -> int | Rejected:  # noqa: ARG001  one shape for all devices
    """Return the length of the frame at `at`, 0 for "more bytes needed", or why there is none."""
    head = data[at : at + HEADER_BYTES]
    if not _START.startswith(head[:2]) and head[:2] != _START:
        return NOTHING_HERE
    if len(head) < HEADER_BYTES:
        return 0
    n_payload = head[2] | head[3] << 8
    if n_payload not in LAYOUT_OF:
        return Rejected("length", 2)
    if head[4] != _DATA:
        return Rejected("type", 2)
    end = at + HEADER_BYTES + n_payload + len(STOP)
    if len(data) < end:
        return 0
    return end - at if data[end - 2 : end] == STOP else Rejected("stop", end - at)


def values_of(fields: OpenViewFrame, layout: Layout) -> list[Value]:
    """Return what the board computed, judged."""
    spo2 = judged("spo2_pct", fields.spo2, low=35, high=100, missing=(0.0, _SPO2_ERROR))
    if layout is AFE4490:
        # The sketch sends no saturation and leaves the rate of the last good one in place.
        absent = None if fields.spo2 else "not-measured"
        return [spo2, judged("pulse_rate_bpm", fields.rate, low=20, high=254, absent=absent)]
    values = [spo2, judged("heart_rate_bpm", fields.rate, low=15, high=254)]
    if fields.breaths is not None:
        values.append(judged("respiratory_rate_bpm", fields.breaths, low=2, high=100))
    if fields.temperature_c is not None:
        values.append(judged("body_temperature_c", fields.temperature_c, low=20, high=45))
    return values
