"""A second, independent writer of the wire, as plain as firmware would be: what the golden vectors are made with.

It shares no line with ``edge.acquisition``: layouts are spelled out, COBS is the textbook loop over single bytes and
the CRC is computed bit by bit, so that a mistake in one of the two writers shows as a difference.
"""

from __future__ import annotations

import struct

HELLO, SAMPLES, READING, EVENT, TIME_RESPONSE, COMMAND_ACK = 1, 2, 3, 4, 5, 6
TIME_REQUEST, COMMAND = 0x81, 0x82


def crc32_iso_hdlc(data: bytes) -> int:
    """Return the CRC-32/ISO-HDLC of `data`: reflected polynomial 0xEDB88320, start and final XOR 0xFFFFFFFF."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def cobs(data: bytes) -> bytes:
    """Return `data` stuffed, byte by byte."""
    out = bytearray([0])
    code_at, code = 0, 1
    for position, byte in enumerate(data):
        if byte:
            out.append(byte)
            code += 1
        is_full = code == 255 and position < len(data) - 1
        if not byte or is_full:
            out[code_at] = code
            code_at, code = len(out), 1
            out.append(0)
    out[code_at] = code
    return bytes(out)


def line(packet_type: int, payload: bytes, sequence: int, version: int = 1) -> bytes:
    """Return a frame for the line, with a delimiter before and after."""
    body = bytes([version, packet_type, sequence & 255, sequence >> 8]) + payload
    return b"\x00" + cobs(body + crc32_iso_hdlc(body).to_bytes(4, "little")) + b"\x00"


def text(value: str, length: int) -> bytes:
    """Return `value` filled up with zeros."""
    return value.encode().ljust(length, b"\x00")


def hello(*, boot_id: int = 7, ticks: int = 0, streams: tuple[bytes, ...] = (), extra: int = 0) -> bytes:
    """Return a hello of a device with a 32,768 Hz clock; `extra` bytes are appended to every record."""
    head = struct.pack("<III", boot_id, 32768, ticks) + text("VE-0001", 16) + text("bedside", 16) + text("1.0.0", 16)
    return head + bytes([len(streams), 20 + extra, 36 + extra, 0]) + b"".join(streams)


def stream(stream_id: int, name: str, rate_mhz: int, channels: tuple[bytes, ...], extra: int = 0) -> bytes:
    """Return a stream record with its channel records."""
    head = bytes([stream_id, len(channels), 1, 0]) + rate_mhz.to_bytes(4, "little") + text(name, 12)
    return head + b"\xee" * extra + b"".join(channel + b"\xee" * extra for channel in channels)


def channel(
    name: str, kind: int, unit: int, numerator: int, denominator: int, offset: int = 0, bits: int = 16
) -> bytes:
    """Return a channel record of a converter that is symmetric about zero."""
    limit = 1 << (bits - 1)
    head = bytes([kind, unit, bits, 0]) + numerator.to_bytes(4, "little", signed=True)
    head += denominator.to_bytes(4, "little")
    for number in (offset, -limit, limit - 1):
        head += number.to_bytes(4, "little", signed=True)
    return head + text(name, 12)


def samples(
    sequence: int,
    ticks: int,
    rows: tuple[tuple[int, ...], ...],
    *,
    stream_id: int = 0,
    bytes_per_value: int = 2,
    is_backfill: bool = False,
) -> bytes:
    """Return samples; `sequence` and `ticks` wrap by themselves."""
    head = bytes([stream_id, int(is_backfill)]) + len(rows).to_bytes(2, "little")
    head += (sequence % 2**32).to_bytes(4, "little") + (ticks % 2**32).to_bytes(4, "little")
    head += bytes([len(rows[0]), bytes_per_value])
    return head + b"".join(value.to_bytes(bytes_per_value, "little", signed=True) for row in rows for value in row)


def reading(
    ticks: int, measure: int, mantissa: int, exponent: int, status: int = 0, absent: int = 0, valid_for_s: int = 15
) -> bytes:
    """Return a reading of mantissa × 10 ^ exponent."""
    return struct.pack("<IIibBBBHH", ticks, measure, mantissa, exponent, status, absent, 0, valid_for_s, 0)


def event(ticks: int, condition: int, stream_id: int, is_active: int, value: int = 0, words: str = "") -> bytes:
    """Return an event."""
    raw = words.encode()
    return struct.pack("<IHBBiB", ticks, condition, stream_id, is_active, value, len(raw)) + raw
