"""What one payload of a device under test says against the byte tables (R10) and for readings against R17.  Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from edge.acquisition.packet_layouts import CHANNEL_RECORD, HELLO, STREAM_RECORD
from edge.acquisition.packets import MEASURES, PacketType, ReadingPacket

_SPECIAL_NUMBERS = {0x7FFFFFFF, -0x80000000, 0x7FFF, -0x8000, 0xFFFF, 0x7FFFFF, -0x800000, 0x7FF, 0x7FE, 0x800, 255}
"""Ends of integers and the not-a-number codes of IEEE 11073-20601 that firmware uses for "no value"."""
_PLAUSIBLE = {"/min": (0.0, 500.0), "%": (0.0, 100.0), "Cel": (-10.0, 70.0), "mm[Hg]": (-50.0, 400.0)}
"""Beyond these no number of the unit is a measured one, of any patient or phantom."""


def field_faults(packet_type: int, payload: bytes) -> Iterator[str]:
    r"""Yield what contradicts the tables in a payload that was decoded.

    Examples
    --------
    >>> list(field_faults(PacketType.READING, bytes(15) + b"\x01" + bytes(4)))
    ['reading: reserved is not 0']
    """
    match packet_type:
        case PacketType.HELLO:
            yield from _hello_faults(payload)
        case PacketType.SAMPLES:
            if payload[1] & ~0x01:
                yield f"samples: flags 0x{payload[1]:02x} have bits without a meaning"
        case PacketType.READING:
            if payload[15] or payload[18] or payload[19]:
                yield "reading: reserved is not 0"
        case PacketType.EVENT:
            text = payload[13 : 13 + payload[12]]
            if not _is_utf8(text):
                yield "event: text is not UTF-8"


def _hello_faults(payload: bytes) -> Iterator[str]:
    yield from _text_faults("hello: device_id", payload[12:28])
    yield from _text_faults("hello: model", payload[28:44])
    yield from _text_faults("hello: firmware", payload[44:60])
    if payload[63]:
        yield "hello: reserved is not 0"
    n_streams, stream_bytes, channel_bytes = payload[60:63]
    at = HELLO.n_bytes
    for _ in range(n_streams):
        record = payload[at : at + STREAM_RECORD.n_bytes]
        yield from _text_faults("stream record: name", record[8:20])
        if record[3]:
            yield "stream record: reserved is not 0"
        if record[2] & ~0x01:
            yield f"stream record: flags 0x{record[2]:02x} have bits without a meaning"
        at += stream_bytes
        for _ in range(record[1]):
            channel = payload[at : at + CHANNEL_RECORD.n_bytes]
            yield from _text_faults("channel record: name", channel[24:36])
            if channel[3]:
                yield "channel record: reserved is not 0"
            at += channel_bytes


def _text_faults(what: str, field: bytes) -> Iterator[str]:
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        yield f"{what} is not filled up with zeros"
    if not _is_utf8(text):
        yield f"{what} is not UTF-8"


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def special_number(reading: ReadingPacket) -> str:
    """Return why a reading that claims to be a value is none; empty if it may be one.

    Examples
    --------
    >>> special_number(ReadingPacket(ticks=0, measure_code=150456, mantissa=127))
    '127 % cannot be spo2_pct'
    """
    name, unit = MEASURES.get(reading.measure_code, ("", ""))
    if reading.absent_code or reading.status_code == 2 or not name:
        return ""
    if not -20 <= reading.exponent <= 20:
        return f"exponent {reading.exponent} in {name}"
    value = reading.mantissa * 10.0**reading.exponent
    low, high = _PLAUSIBLE[unit]
    if low <= value <= high:
        return ""
    kind = "is a special number, not" if reading.mantissa in _SPECIAL_NUMBERS else "cannot be"
    return f"{value:g} {unit} {kind} {name}"
