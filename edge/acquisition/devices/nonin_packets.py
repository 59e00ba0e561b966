"""The frames of a Nonin device put together to packets of 25, with what was lost between.  Used by `nonin`.

Only the first frame of a packet is marked (SYNC).  Frames that come after a hole therefore have no place until the
next mark says how many there were: a packet is held back until it is whole or the next one begins, a third of a
second.  Two stretches with one hole between are placed exactly; what lies between two holes is dropped and counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PACKET_FRAMES = 25


@dataclass(frozen=True, slots=True)
class NoninFrame:
    """One frame, in either format."""

    status: int
    pleth: int
    data: int
    received_at_ns: int

    @property
    def is_first(self) -> bool:
        """Whether it is the first of a packet."""
        return bool(self.status & 0x01)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoninPacket:
    """A packet, or what came of it."""

    head: tuple[NoninFrame, ...]
    """From the mark to the hole, or all of them."""
    n_missing: int
    """Frames lost between `head` and `tail`, unplaced ones included."""
    tail: tuple[NoninFrame, ...] = ()
    """From the last hole to the next mark."""
    n_unplaced: int = 0
    """Frames that came and whose place cannot be known; part of `n_missing`."""

    @property
    def is_whole(self) -> bool:
        """Whether every frame came, so that the values in it can be read."""
        return len(self.head) == PACKET_FRAMES and not self.n_missing


@dataclass(slots=True)
class _Pending:
    runs: list[list[NoninFrame]] = field(default_factory=list)


class NoninPackets:
    """Frames to packets."""

    def __init__(self) -> None:
        self._pending: _Pending | None = None  # None until the first mark

    @property
    def is_synchronised(self) -> bool:
        """Whether a mark was seen, so that frames have a place."""
        return self._pending is not None

    def push(self, frame: NoninFrame, *, is_after_hole: bool) -> list[NoninPacket]:
        """Return the packets that `frame` completed; it belongs to the next one if it is marked."""
        pending = self._pending
        if frame.is_first:
            out = [] if pending is None else _close(pending, is_next_marked=True)
            self._pending = _Pending([[frame]])
            return out
        if pending is None:
            return []
        if is_after_hole or not pending.runs:
            # The first stretch of a packet stands at its mark; where the mark itself is in the hole it is empty.
            pending.runs += [[], []] if is_after_hole and not pending.runs else [[]]
        pending.runs[-1].append(frame)
        if len(pending.runs) == 1 and len(pending.runs[0]) == PACKET_FRAMES:
            out = _close(pending, is_next_marked=True)
            # The next frame is a marked one; where it is not, its mark was lost and counting goes on.
            self._pending = _Pending()
            return out
        return []

    def finish(self) -> list[NoninPacket]:
        """Return the packet that waited, now that no more will come: what follows its first hole has no place."""
        pending, self._pending = self._pending, None
        return [] if pending is None else _close(pending, is_next_marked=False)

    def reset(self) -> None:
        """Forget the link."""
        self._pending = None


def _close(pending: _Pending, *, is_next_marked: bool) -> list[NoninPacket]:
    runs = pending.runs
    if not runs:
        return []
    n_frames = sum(len(run) for run in runs)
    head = tuple(runs[0])
    tail = tuple(runs[-1]) if len(runs) > 1 and is_next_marked else ()
    n_unplaced = n_frames - len(head) - len(tail)
    # The number of frames from mark to mark is a multiple of 25, for a lost mark joins two packets.
    n_lost = -n_frames % PACKET_FRAMES if is_next_marked else 0
    return [NoninPacket(head=head, n_missing=n_lost + n_unplaced, tail=tail, n_unplaced=n_unplaced)]
