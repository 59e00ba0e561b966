"""The file format of raw captures: what came over a wire and when, byte by byte.

Sans-IO; `recording` reads and writes the files.

========  =========  ==============================================================
field     bytes      meaning
========  =========  ==============================================================
magic     20         ``VITALEDGE-CAPTURE 2`` and a line feed; the digit is the version
header    one line   JSON object: ``sensor``, ``link``, ``start_wall_ns``, ``driver``
record    17 + c + n repeated until the end of the file:
 offset   8          u64, nanoseconds since the capture began, never going back
 length   4          u32, n, 1 … 1 MiB
 named    1          u8, c, 0 … 64; not in version 1, whose records come from byte streams only
 channel  c          ASCII: the GATT characteristic that the bytes came from; nothing for a byte stream
 data     n          the bytes as one read or one notification delivered them; 0 bytes only where a channel is named
 crc      4          CRC-32/ISO-HDLC over everything of the record before it
========  =========  ==============================================================

Integers are little-endian.  Records are only ever appended: the first one that is cut off or whose checksum is wrong
is the end of the log (the recorder lost power there), and what follows it is counted.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass

from edge.errors import RecordingError
from edge.messages import Corrupt

MAGIC = b"VITALEDGE-CAPTURE 2\n"
_MAGIC_1 = b"VITALEDGE-CAPTURE 1\n"
MAX_HEADER_BYTES = 4096
"""Longest header line: a reader need not search a foreign file for a line feed."""
MAX_RECORD_BYTES = 1 << 20
"""Longest record: a damaged length is seen at once, not after gigabytes."""

MAX_CHANNEL_BYTES = 64
"""Longest name of a channel; a UUID has 36 letters."""

_HEAD = struct.Struct("<QI")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureHeader:
    """What the first lines of a capture say."""

    sensor: str
    """Id of the sensor in the configuration."""
    link: str
    """What the bytes came over, as `Transport.describe` said."""
    start_wall_ns: int
    """Unix nanoseconds at offset 0."""
    driver: str = "bridge_serial"
    """Driver of the configuration, which names the decoder; captures of version 1 are all of this one."""
    version: int = 2
    """Of the file format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRecord:
    """Bytes that one read delivered."""

    offset_ns: int
    data: bytes
    channel: str = ""


def is_magic(start: bytes) -> bool:
    """Tell whether these first bytes of a file are those of a capture of a version that is read here."""
    return start.startswith((MAGIC, _MAGIC_1))


def header_bytes(header: CaptureHeader) -> bytes:
    """Return the beginning of a capture file.

    Raises
    ------
    ValueError
        If the names are so long that the header line exceeds `MAX_HEADER_BYTES`.
    """
    fields = {
        "sensor": header.sensor,
        "link": header.link,
        "start_wall_ns": header.start_wall_ns,
        "driver": header.driver,
    }
    line = json.dumps(fields).encode() + b"\n"
    if len(line) > MAX_HEADER_BYTES:
        raise ValueError(f"expected a header of at most {MAX_HEADER_BYTES} bytes, got {len(line)}")
    return MAGIC + line


def parse_header(start: bytes) -> tuple[CaptureHeader, int]:
    """Return the header and where the records begin.

    Parameters
    ----------
    start : bytes
        The file's first ``len(MAGIC) + MAX_HEADER_BYTES`` bytes, or all of a shorter file.

    Raises
    ------
    RecordingError
        If this is no capture, or one of a version that is not known.
    """
    if not is_magic(start):
        family = MAGIC[: MAGIC.rindex(b" ")]
        if start.startswith(family):
            version = start[len(family) :].split(b"\n")[0].decode("ascii", "replace").strip()
            raise RecordingError(f"a raw capture of version {version}; this program reads versions 1 and 2")
        raise RecordingError(f"not a raw capture: it begins with {start[:8]!r}")
    end = start.find(b"\n", len(MAGIC))
    try:
        fields = json.loads(start[len(MAGIC) : end]) if end >= 0 else None
    except ValueError:
        fields = None
    match fields:
        case {"sensor": str(sensor), "link": str(link), "start_wall_ns": int(start_wall_ns), **others}:
            driver = others.get("driver", "bridge_serial")
            return CaptureHeader(
                sensor=sensor,
                link=link,
                start_wall_ns=start_wall_ns,
                driver=str(driver),
                version=2 if start.startswith(MAGIC) else 1,
            ), end + 1
        case _:
            raise RecordingError("a raw capture whose header line is damaged")


def record_bytes(record: CaptureRecord) -> bytes:
    """Return one record of the file.

    Raises
    ------
    ValueError
        If it has no bytes and no channel or more than `MAX_RECORD_BYTES`, its offset is negative, or its channel is
        longer than `MAX_CHANNEL_BYTES` or not ASCII.
    """
    channel = record.channel.encode("ascii", "replace")
    least = 0 if channel else 1
    if not least <= len(record.data) <= MAX_RECORD_BYTES or record.offset_ns < 0:
        raise ValueError(
            f"expected 1 to {MAX_RECORD_BYTES} bytes at an offset >= 0, got {len(record.data)} at {record.offset_ns}"
        )
    if len(channel) > MAX_CHANNEL_BYTES or not record.channel.isascii():
        raise ValueError(f"expected a channel of at most {MAX_CHANNEL_BYTES} ASCII letters, got {record.channel!r}")
    body = _HEAD.pack(record.offset_ns, len(record.data)) + bytes([len(channel)]) + channel + record.data
    return body + _CRC.pack(zlib.crc32(body))


class CaptureDecoder:
    """Takes the bytes after the header in any pieces; gives the records, and at the end what was torn off.

    Parameters
    ----------
    version : int
        Of the file, from its header.
    """

    def __init__(self, version: int = 2) -> None:
        self._version = version
        self._pending = b""
        self._at = 0  # offset of `_pending` from the first record
        self._last_ns = 0
        self._damage: str | None = None

    def push(self, item: bytes) -> list[CaptureRecord]:
        """Return the records that `item` completed; nothing more once one was damaged."""
        self._pending += item
        records: list[CaptureRecord] = []
        begin = 0
        n_head = _HEAD.size + (self._version > 1)
        while self._damage is None and len(self._pending) - begin >= n_head:
            offset_ns, n_bytes = _HEAD.unpack_from(self._pending, begin)
            n_channel = self._pending[begin + _HEAD.size] if self._version > 1 else 0
            data_at = begin + n_head + n_channel
            if not (n_channel == 0) <= n_bytes <= MAX_RECORD_BYTES or n_channel > MAX_CHANNEL_BYTES:
                self._damage = "length"
                break
            end = data_at + n_bytes
            if len(self._pending) < end + _CRC.size:
                break
            if zlib.crc32(self._pending[begin:end]) != _CRC.unpack_from(self._pending, end)[0]:
                self._damage = "crc"
            elif offset_ns < self._last_ns:
                self._damage = "time"
            else:
                self._last_ns = offset_ns
                channel = self._pending[data_at - n_channel : data_at].decode("ascii", "replace")
                records.append(CaptureRecord(offset_ns=offset_ns, data=self._pending[data_at:end], channel=channel))
                begin = end + _CRC.size
        self._pending = self._pending[begin:]
        self._at += begin
        return records

    def flush(self) -> list[Corrupt]:
        """Return what follows the last whole record, at the end of the file: nothing if the file is whole."""
        n_bytes, offset, reason = len(self._pending), self._at, self._damage or "cut-off"
        self.reset("end of file")
        return [Corrupt(reason=reason, offset=offset, n_bytes=n_bytes)] if n_bytes else []

    def reset(self, reason: str) -> None:  # noqa: ARG002 - every stage has this shape
        """Begin with another file."""
        self._pending = b""
        self._at = 0
        self._last_ns = 0
        self._damage = None
