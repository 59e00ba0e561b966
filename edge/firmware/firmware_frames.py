"""The frames of a device under test: R1 to R8, judged from the bytes themselves.  Used by `firmware_watch`; pure."""

from __future__ import annotations

import zlib
from collections import Counter, deque
from collections.abc import Iterator

from edge.acquisition.framing import (
    CRC_BYTES,
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    SEQUENCE_RANGE,
    VERSION,
    Frame,
    FrameDecoder,
    cobs_decode,
)
from edge.firmware.firmware_rules import Ledger, evidence
from edge.messages import Chunk, Corrupt

_RAW_BYTES = 1 << 16
"""Of the stream's tail, kept to show what a broken frame looked like: 5.7 s at 115200 baud."""
_RECENT_FRAMES = 32
_REPEAT_WINDOW_NS = 5_000_000_000  # R8

_WORDS = {
    "cobs": (1, "not COBS: a code points past the end of its frame"),
    "crc": (3, "wrong CRC"),
    "short": (4, "a frame of fewer than 8 bytes"),
    "overlong": (4, f"a frame of more than {MAX_FRAME_BYTES} bytes"),
}


class FrameWatch:
    """Cuts the stream into frames and judges how they are made.

    Parameters
    ----------
    ledger : Ledger
        Told what was seen.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._decoder = FrameDecoder()
        self._raw = bytearray()
        self._raw_offset = 0
        self._recent: deque[Frame] = deque(maxlen=_RECENT_FRAMES)
        self._last_sequence: int | None = None
        self._n_dropped_since = 0
        self._last_end: int | None = None
        self._is_delimited: dict[bool, int] = {True: 0, False: 0}
        self.n_frames = 0
        self.n_bytes = 0
        self.n_lost_frames = 0
        self.longest_frame_bytes = 0
        self.n_bytes_before_first_frame = 0
        self.n_dropped: Counter[str] = Counter()
        self._trouble_at_ns: list[int] = []

    def push(self, chunk: Chunk) -> Iterator[Frame]:
        """Yield the frames of our version that are whole and new, in order."""
        self.n_bytes += len(chunk.data)
        self._raw += chunk.data
        excess = len(self._raw) - _RAW_BYTES
        for found in self._decoder.push(chunk):
            if isinstance(found, Corrupt):
                self._drop(found, chunk.received_at_ns)
            elif self._is_readable(found):
                yield found
        if excess > 0:
            del self._raw[:excess]
            self._raw_offset += excess

    def had_trouble(self, start_ns: int, end_ns: int) -> bool:
        """Whether a frame was broken or lost between two instants: an answer that is missing may have been in it."""
        return any(start_ns <= at_ns <= end_ns for at_ns in self._trouble_at_ns)

    def lose(self, at_ns: int) -> None:
        """Note that bytes were lost on the host's side, so that a missing frame is not held against the device."""
        self._trouble_at_ns.append(at_ns)
        self._n_dropped_since += SEQUENCE_RANGE
        self._last_end = None

    def goes_on_with(self, frame: Frame) -> bool:
        """Whether `frame`, the hello of another boot, has the number that was due in the boot before."""
        last = self._last_sequence
        return last is not None and frame.sequence != 0 and (frame.sequence - last) % SEQUENCE_RANGE == 1

    def forget(self) -> None:
        """Begin anew with the counter: the device restarted."""
        self._last_sequence = None
        self._recent.clear()

    def evidence(self, frame: Frame) -> str:
        """Return the frame's bytes as they were on the line, delimiters not included."""
        return self._piece(frame.offset, frame.n_bytes)

    def judge_sequence(self, frame: Frame) -> None:
        """Judge the frame's counter against the one before (R7)."""
        last, self._last_sequence = self._last_sequence, frame.sequence
        n_dropped, self._n_dropped_since = self._n_dropped_since, 0
        if last is None:
            return
        step = (frame.sequence - last) % SEQUENCE_RANGE
        n_missing = max(0, step - 1 - n_dropped)
        if step == 0:
            self._ledger.fail(7, f"two frames have the number {frame.sequence}", self.evidence(frame))
        elif step >= SEQUENCE_RANGE // 2:
            self._ledger.fail(7, "the counter went back without a restart", f"{last} to {frame.sequence}")
        elif n_missing:
            self.n_lost_frames += n_missing
            self._trouble_at_ns.append(frame.received_at_ns)
            self._ledger.fail(
                7,
                "numbers are missing: frames were lost on the line, or numbered and never sent",
                f"{last} to {frame.sequence}, {self.evidence(frame)}",
            )

    def judge(self) -> None:
        """Give the verdicts that need the whole run."""
        if not self.n_frames:
            return
        frames = f"{self.n_frames} frames"
        for rule, what in (
            (1, f"{frames} were unstuffed"),
            (2, f"{frames} are of version {VERSION}"),
            (3, f"{frames} had the right checksum"),
            (4, f"the longest of {frames} has {self.longest_frame_bytes} bytes"),
            (7, f"{frames} are numbered without a hole"),
            (8, f"none of {frames} came twice"),
        ):
            self._ledger.show(rule, what)
        if self._is_delimited[False]:
            self._ledger.fail(
                5,
                f"{self._is_delimited[False]} frames share a delimiter with the frame before, or have none of their own",
            )
        elif self._is_delimited[True]:
            self._ledger.show(5, f"{self._is_delimited[True]} frames begin with a delimiter of their own")

    def _drop(self, found: Corrupt, at_ns: int) -> None:
        self._last_end = None  # what lies beside a broken piece is no evidence for delimiters
        if not self.n_frames:  # half a frame as the port was opened, or what a boot loader says
            self.n_bytes_before_first_frame += found.n_bytes
            return
        self.n_dropped[found.reason] += 1
        self._n_dropped_since += 1
        self._trouble_at_ns.append(at_ns)
        rule, what = _WORDS[found.reason]
        if found.reason == "crc":
            what += self._diagnosis(found)
        self._ledger.fail(rule, what, self._piece(found.offset, found.n_bytes))

    def _is_readable(self, frame: Frame) -> bool:
        if frame.version != VERSION:
            self._n_dropped_since += 1
            self._last_end = None
            self._trouble_at_ns.append(frame.received_at_ns)
            self._ledger.fail(2, f"a frame of version {frame.version}", self.evidence(frame))
            return False
        if self._last_end is not None:
            self._is_delimited[frame.offset - self._last_end >= 2] += 1
        self._last_end = frame.offset + frame.n_bytes
        for other in self._recent:
            same = (other.sequence, other.packet_type, other.payload) == (
                frame.sequence,
                frame.packet_type,
                frame.payload,
            )
            if same and frame.received_at_ns - other.received_at_ns <= _REPEAT_WINDOW_NS:
                self._ledger.fail(8, "a frame came twice", self.evidence(frame))
                return False
        self._recent.append(frame)
        self.n_frames += 1
        self.longest_frame_bytes = max(self.longest_frame_bytes, HEADER_BYTES + len(frame.payload) + CRC_BYTES)
        return True

    def _diagnosis(self, found: Corrupt) -> str:
        """Say what is wrong with a checksum if it is one of the usual mistakes."""
        start = found.offset - self._raw_offset
        body = cobs_decode(bytes(self._raw[start : start + found.n_bytes])) if start >= 0 else None
        if body is None:
            return ""
        data, stored = body[:-CRC_BYTES], body[-CRC_BYTES:]
        crc = zlib.crc32(data)
        usual = {
            crc.to_bytes(4, "big"): "stored big-endian",
            (crc ^ 0xFFFFFFFF).to_bytes(4, "little"): "the final inversion is missing",
            zlib.crc32(data, 0xFFFFFFFF).to_bytes(4, "little"): "it begins with 0 instead of 0xFFFFFFFF",
            zlib.crc32(data[HEADER_BYTES:]).to_bytes(4, "little"): "it leaves out the header",
            _crc32c(data).to_bytes(4, "little"): "it is CRC-32C (Castagnoli)",
        }
        why = usual.get(stored)
        return f": {why}" if why else ""

    def _piece(self, offset: int, n_bytes: int) -> str:
        start = offset - self._raw_offset
        return evidence(bytes(self._raw[max(0, start) : max(0, start + n_bytes)]), offset)


def _crc32c(data: bytes) -> int:
    """Return CRC-32/ISCSI, which some microcontrollers compute in hardware.

    Examples
    --------
    >>> hex(_crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
