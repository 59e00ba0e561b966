"""Frames in a byte stream that has no delimiters: look for a start, check the rest, else go on one byte later.

Used by the devices of this folder, each of which says with a function what a frame of it looks like.  Every byte of
the stream is part of a `RawFrame` or covered by a `Corrupt`, and a good frame behind a bad one is never lost: after
a rejection the search goes on at the very next byte.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from edge.messages import Chunk, Corrupt

NO_START = "no-start"
"""Reason of bytes that begin no frame: noise, text, the middle of a frame on connecting."""
TRUNCATED = "truncated"
"""Reason of half a frame at the end of the link."""
MAX_GARBAGE_BYTES = 256
"""A run of dropped bytes is told in pieces of this size at most, so that endless noise is told too."""


class Rejected(NamedTuple):
    """The bytes here are no frame."""

    reason: str
    n_bytes: int = 1
    """How many of the bytes seem to belong to the bad frame: until then other reasons count as this one."""


NOTHING_HERE = Rejected(NO_START)

Judge = Callable[[bytearray, int, bool], "int | Rejected"]
"""Given a buffer, where to look, and whether nothing can follow: the length of the frame there, 0 if more bytes are
needed to say, or why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFrame:
    """One frame as the device sent it, already checked."""

    data: bytes
    offset: int
    """Offset in the byte stream of its first byte."""
    received_at_ns: int
    """When its last byte came, which may be earlier than what made sure that it is a frame."""
    n_skipped: int
    """Bytes dropped between the frame before and this one."""


class FrameScanner:
    """Bytes to frames, in whatever pieces they come.

    Parameters
    ----------
    judge : callable
        Tells frames from other bytes; pure.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._pending = bytearray()
        self._offset = 0  # of the first pending byte
        self._arrivals: deque[tuple[int, int]] = deque()  # end of a chunk in the stream, and when it came
        self._run: Rejected | None = None
        self._run_start = 0
        self._n_skipped = 0
        self._n_frames = 0
        self._n_corrupt: Counter[str] = Counter()

    @property
    def n_frames(self) -> int:
        """Frames found since the scanner was made."""
        return self._n_frames

    @property
    def n_corrupt(self) -> Mapping[str, int]:
        """Runs of dropped bytes by reason, since the scanner was made."""
        return dict(self._n_corrupt)

    def push(self, chunk: Chunk) -> list[RawFrame | Corrupt]:
        """Return the frames that `chunk` completed and what was dropped, in stream order."""
        if not chunk.data:
            return []
        self._pending += chunk.data
        self._arrivals.append((self._offset + len(self._pending), chunk.received_at_ns))
        return self._scan(is_end=False)

    def flush(self) -> list[RawFrame | Corrupt]:
        """Return what can be said of the rest, now that nothing follows."""
        out = self._scan(is_end=True)
        self._close_run(self._offset, out)
        return out

    def reset(self) -> None:
        """Start over as on a new link; what was pending is counted."""
        self.flush()
        self._offset = 0
        self._arrivals.clear()
        self._run_start = 0
        self._n_skipped = 0

    def _scan(self, *, is_end: bool) -> list[RawFrame | Corrupt]:
        out: list[RawFrame | Corrupt] = []
        pending, start = self._pending, self._offset
        at = 0
        while at < len(pending):
            found = self._judge(pending, at, is_end)
            if isinstance(found, Rejected):
                self._skip(found, start + at, out)
                at += 1
            elif found == 0 and is_end:
                self._skip(Rejected(TRUNCATED, len(pending) - at), start + at, out)
                at += 1
            elif found == 0:
                break
            else:
                self._close_run(start + at, out)
                frame = RawFrame(
                    data=bytes(pending[at : at + found]),
                    offset=start + at,
                    received_at_ns=self._arrival(start + at + found),
                    n_skipped=self._n_skipped,
                )
                out.append(frame)
                self._n_frames += 1
                self._n_skipped = 0
                at += found
        del pending[:at]
        self._offset = start + at
        while self._arrivals and self._arrivals[0][0] <= self._offset:
            self._arrivals.popleft()
        return out

    def _arrival(self, end: int) -> int:
        """Return when the byte before `end` came."""
        while self._arrivals[0][0] < end:
            self._arrivals.popleft()
        return self._arrivals[0][1]

    def _skip(self, rejected: Rejected, offset: int, out: list[RawFrame | Corrupt]) -> None:
        run = self._run
        if run is not None:
            is_new = rejected.reason != NO_START and (run.reason == NO_START or offset >= self._run_start + run.n_bytes)
            if is_new or offset - self._run_start >= MAX_GARBAGE_BYTES:
                self._close_run(offset, out)
        if self._run is None:
            self._run, self._run_start = rejected, offset
        self._n_skipped += 1

    def _close_run(self, end: int, out: list[RawFrame | Corrupt]) -> None:
        run, self._run = self._run, None
        if run is not None:
            self._n_corrupt[run.reason] += 1
            out.append(Corrupt(reason=run.reason, offset=self._run_start, n_bytes=end - self._run_start))


def share_of_frames(data: bytes, judge: Judge) -> float:
    """Return which share of `data` is frames, 0 to 1; half frames at both ends are not held against it.

    One frame alone proves nothing: with less than two the share is 0.
    """
    scanner = FrameScanner(judge)
    found = [*scanner.push(Chunk(data=data, received_at_ns=0)), *scanner.flush()]
    frames = [item for item in found if isinstance(item, RawFrame) and len(item.data) > 1]  # not a mere answer
    if len(frames) < 2:
        return 0.0
    first, last = frames[0], frames[-1]
    n_frame_bytes = sum(len(frame.data) for frame in frames)
    longest = max(len(frame.data) for frame in frames)
    # What may be the rest of a frame that began before we listened, or the beginning of one that goes on.
    head = max(0, first.offset - longest)
    tail = max(0, len(data) - last.offset - len(last.data) - longest)
    inside = last.offset + len(last.data) - first.offset
    return n_frame_bytes / (inside + head + tail)
