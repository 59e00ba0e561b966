"""Frames in a byte stream: COBS with a 0x00 delimiter and CRC-32/ISO-HDLC (``firmware_bridge/PROTOCOL.md``, R1–R9).

::

    on the line   0x00 | COBS(frame) | 0x00 | COBS(frame) | 0x00 ...
    frame         0  u8   version    1; another version keeps this header and the CRC's place
                  1  u8   type       what the payload is (`packets.PacketType`)
                  2  u16  sequence   counts the sender's frames of every type, wraps
                  4  ...  payload    0 to 1008 bytes
                 -4  u32  crc        CRC-32/ISO-HDLC over everything before it

All integers are little-endian.  Fed by `bridge.BridgeDecoder` with what a transport read::

    line = encode_frame(packet_type, payload, sequence=n)      # bytes for the line, delimiters included
    decoder = FrameDecoder()
    for item in decoder.push(Chunk(...)):                      # list[Frame | Corrupt]
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from dataclasses import dataclass

from edge.messages import Chunk, Corrupt

VERSION = 1
"""Protocol version written into every frame (R2)."""
MAX_FRAME_BYTES = 1016
"""Longest frame before COBS, header and CRC included (R4): encoded and between delimiters it fits 1 KiB."""
DELIMITER = b"\x00"

_HEADER = struct.Struct("<BBH")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
CRC_BYTES = _CRC.size
MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES - HEADER_BYTES - CRC_BYTES
SEQUENCE_RANGE = 1 << 16
"""The frame sequence wraps to 0 after this many frames."""

_BLOCK = 254  # data bytes that one COBS code can cover (Cheshire & Baker 1999)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame whose checksum was right."""

    version: int
    packet_type: int
    sequence: int
    """The sender's frame counter, 0–65535, wrapping."""
    payload: bytes
    received_at_ns: int
    """When the chunk arrived that completed the frame."""
    offset: int
    """Offset in the byte stream of the frame's first encoded byte."""
    n_bytes: int
    """Encoded length, delimiter not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FramingSettings:
    """How much a decoder holds before it calls it garbage."""

    max_frame_bytes: int = MAX_FRAME_BYTES
    """Longest frame before COBS; source: PROTOCOL.md R4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FramingCounters:
    """What a decoder has seen since it was made; a reset does not clear it."""

    n_frames: int
    n_corrupt: dict[str, int]
    """Dropped pieces by reason."""
    n_dropped_bytes: int


def cobs_encode(data: bytes) -> bytes:
    r"""Return `data` without any zero byte, longer by one byte per 254 begun.

    References
    ----------
    .. [1] Cheshire & Baker (1999), Consistent overhead byte stuffing, doi:10.1109/90.769765

    Examples
    --------
    >>> cobs_encode(b"\x11\x00\x22").hex()
    '02110222'
    """
    out = []
    at = 0
    for run in data.split(DELIMITER):
        at = 0
        while len(run) - at >= _BLOCK:
            out += [b"\xff", run[at : at + _BLOCK]]
            at += _BLOCK
        out += [bytes((len(run) - at + 1,)), run[at:]]
    if at and out[-1] == b"":  # the last code covered 254 bytes: nothing follows, so neither does a code
        del out[-2:]
    return b"".join(out)


def cobs_decode(encoded: bytes) -> bytes | None:
    """Return what `cobs_encode` was given, or None where a code points past the end or is zero.

    Examples
    --------
    >>> cobs_decode(bytes.fromhex("02110222")).hex()
    '110022'
    """
    out = []
    at, end = 0, len(encoded)
    while at < end:
        code = encoded[at]
        following = at + code
        if code == 0 or following > end:
            return None
        out.append(encoded[at + 1 : following])
        at = following
        if code <= _BLOCK and at < end:
            out.append(DELIMITER)
    return b"".join(out)


def encode_frame(packet_type: int, payload: bytes, *, sequence: int = 0, version: int = VERSION) -> bytes:
    """Return the bytes for the line: delimiter, encoded frame, delimiter.

    The leading delimiter ends whatever garbage came before (R5); two delimiters in a row are no frame.

    Raises
    ------
    ValueError
        If `payload` is longer than `MAX_PAYLOAD_BYTES` or a header field does not fit.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"expected at most {MAX_PAYLOAD_BYTES} payload bytes, got {len(payload)}")
    if not (0 <= packet_type <= 0xFF and 0 <= version <= 0xFF and 0 <= sequence < SEQUENCE_RANGE):
        raise ValueError(f"expected u8, u16, u8, got type {packet_type}, sequence {sequence}, version {version}")
    body = _HEADER.pack(version, packet_type, sequence) + payload
    return DELIMITER + cobs_encode(body + _CRC.pack(zlib.crc32(body))) + DELIMITER


class FrameDecoder:
    """Bytes to frames; finds its way back at the next delimiter after anything.

    Every byte of the stream is a delimiter, part of a `Frame`, or covered by a `Corrupt` with reason

    ``cobs``
        a code points past the end of its piece;
    ``short``
        fewer bytes than header and checksum;
    ``crc``
        the checksum is wrong;
    ``overlong``
        more bytes without a delimiter than a frame can have, reported in pieces of that size;
    ``truncated``
        half a frame at the end of the stream (`flush`) or at a `reset` (counted only).
    """

    def __init__(self, settings: FramingSettings = FramingSettings()) -> None:
        if settings.max_frame_bytes < HEADER_BYTES + CRC_BYTES:
            raise ValueError(f"expected max_frame_bytes >= {HEADER_BYTES + CRC_BYTES}, got {settings.max_frame_bytes}")
        self._max_frame_bytes = settings.max_frame_bytes
        self._max_encoded_bytes = settings.max_frame_bytes + settings.max_frame_bytes // _BLOCK + 1
        self._pending = bytearray()
        self._pending_offset = 0
        self._is_overlong = False
        self._n_frames = 0
        self._n_corrupt: Counter[str] = Counter()
        self._n_dropped_bytes = 0

    def push(self, item: Chunk) -> list[Frame | Corrupt]:
        """Return the frames that `item` completed and what had to be dropped, in stream order."""
        out: list[Frame | Corrupt] = []
        head, *tail = item.data.split(DELIMITER)
        self._pending += head
        self._bound(out)
        for piece in tail:
            self._finish(item.received_at_ns, out)
            self._pending += piece
            self._bound(out)
        return out

    def flush(self) -> list[Frame | Corrupt]:
        """Return the half frame at the end of the stream as dropped, if there is one."""
        out: list[Frame | Corrupt] = []
        if self._pending:
            self._drop("truncated", len(self._pending), out)
        self._is_overlong = False
        return out

    def reset(self, reason: str) -> None:  # noqa: ARG002  one shape for all stages
        """Start over as on a new link: offset 0, no half frame; what was pending is counted as ``truncated``."""
        self.flush()
        self._pending_offset = 0

    @property
    def counters(self) -> FramingCounters:
        """What was seen so far."""
        return FramingCounters(
            n_frames=self._n_frames, n_corrupt=dict(self._n_corrupt), n_dropped_bytes=self._n_dropped_bytes
        )

    def _bound(self, out: list[Frame | Corrupt]) -> None:
        """Never hold more than one frame; the pieces do not depend on how the bytes were chunked."""
        while len(self._pending) > self._max_encoded_bytes:
            self._is_overlong = True
            self._drop("overlong", self._max_encoded_bytes, out)

    def _finish(self, received_at_ns: int, out: list[Frame | Corrupt]) -> None:
        n_bytes = len(self._pending)
        if n_bytes:
            found = "overlong" if self._is_overlong else self._decode(received_at_ns)
            if isinstance(found, Frame):
                self._n_frames += 1
                out.append(found)
                self._skip(n_bytes)
            else:
                self._drop(found, n_bytes, out)
        self._is_overlong = False
        self._pending_offset += 1  # the delimiter

    def _decode(self, received_at_ns: int) -> Frame | str:
        body = cobs_decode(bytes(self._pending))
        if body is None:
            return "cobs"
        if len(body) < HEADER_BYTES + CRC_BYTES:
            return "short"
        if len(body) > self._max_frame_bytes:
            return "overlong"
        if zlib.crc32(body[:-CRC_BYTES]) != _CRC.unpack_from(body, len(body) - CRC_BYTES)[0]:
            return "crc"
        version, packet_type, sequence = _HEADER.unpack_from(body)
        return Frame(
            version=version,
            packet_type=packet_type,
            sequence=sequence,
            payload=body[HEADER_BYTES:-CRC_BYTES],
            received_at_ns=received_at_ns,
            offset=self._pending_offset,
            n_bytes=len(self._pending),
        )

    def _drop(self, reason: str, n_bytes: int, out: list[Frame | Corrupt]) -> None:
        out.append(Corrupt(reason=reason, offset=self._pending_offset, n_bytes=n_bytes))
        self._n_corrupt[reason] += 1
        self._n_dropped_bytes += n_bytes
        self._skip(n_bytes)

    def _skip(self, n_bytes: int) -> None:
        del self._pending[:n_bytes]
        self._pending_offset += n_bytes
