"""What goes into the outbox, what comes out, and what is said when something had to go.

::

    Entry  ──append──▶  disk  ──pending──▶  Record  ──remove──▶  gone, because the far end has it
                         │
                         └── quota, age, a full queue, a damaged row ──▶ Loss ──describe──▶ Entry on topic ``gap``

The identity of a record is ``(epoch, sequence)``: the sequence is never used twice within one database, and
every new database draws a new epoch.  A receiver can therefore recognise every repetition.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from edge.errors import OutboxError
from edge.messages import ClockState, ClockSync


class Lane(IntEnum):
    """Order of importance: the lowest number is sent first and dropped last."""

    ALERT = 0
    """Alerts and their log; committed alone and at once."""
    SUMMARY = 1
    """Summaries, gaps, states of sensors."""
    READING = 2
    """Single values and health; the first to go when room runs out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A message on its way into the outbox."""

    lane: Lane
    topic: str
    """The whole MQTT topic."""
    body: bytes
    """A JSON object in UTF-8, or nothing at all, which clears a retained message."""
    qos: int = 1
    is_retained: bool = False
    expiry_s: float | None = None
    """After this age the message is history; None for what stays true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """An instant as it was known when a record was written."""

    boot: int
    """Number of the runtime's start; monotonic instants compare only within one boot."""
    monotonic_ns: int
    wall_ns: int
    clock: ClockState


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A message on disk."""

    sequence: int
    """Goes up with every record of the database and is never used again."""
    epoch: str
    """Random name of the database."""
    lane: Lane
    topic: str
    body: bytes
    qos: int
    is_retained: bool
    expiry_s: float | None
    stamp: Stamp

    @property
    def entry(self) -> Entry:
        """The message as it was handed in."""
        return Entry(
            lane=self.lane,
            topic=self.topic,
            body=self.body,
            qos=self.qos,
            is_retained=self.is_retained,
            expiry_s=self.expiry_s,
        )

    @property
    def wall_time_ns(self) -> int:
        """Wall time of the commit, nanoseconds since 1970; as good as `clock_state` says."""
        return self.stamp.wall_ns

    @property
    def clock_state(self) -> ClockState:
        """How far `wall_time_ns` could be trusted."""
        return self.stamp.clock


class LossReason(StrEnum):
    """Why records never reached the broker."""

    QUOTA = "quota"
    """The outbox was full; the oldest of the least important lane went."""
    AGE = "age"
    """Kept longer than the retention of its lane."""
    QUEUE_FULL = "queue-full"
    """The disk was slower than the data; telemetry never reached the outbox."""
    DAMAGED = "damaged"
    """The row failed its check and was set aside."""
    UNWRITABLE = "unwritable"
    """The disk refused the write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A range of one topic's records that will never be sent, and why."""

    topic: str
    reason: LossReason
    n_records: int
    first_sequence: int | None
    """Sequence of the first record lost; None where it never got one."""
    last_sequence: int | None
    first_at_ns: int
    """Wall time of the first record lost."""
    last_at_ns: int

    def joined(self, other: Loss) -> Loss:
        """Return the two losses of the same topic and reason as one."""
        sequences = [s for s in (self.first_sequence, other.first_sequence) if s is not None]
        ends = [s for s in (self.last_sequence, other.last_sequence) if s is not None]
        return Loss(
            topic=self.topic,
            reason=self.reason,
            n_records=self.n_records + other.n_records,
            first_sequence=min(sequences, default=None),
            last_sequence=max(ends, default=None),
            first_at_ns=min(self.first_at_ns, other.first_at_ns),
            last_at_ns=max(self.last_at_ns, other.last_at_ns),
        )


class Trouble(StrEnum):
    """What the outbox has to tell beside its records; each is worth a technical alarm."""

    DATABASE_DAMAGED = "database-damaged"
    """The file could not be read: it was renamed aside and a new one begun."""
    ROW_DAMAGED = "row-damaged"
    RECORDS_LOST = "records-lost"
    DISK_FULL = "disk-full"
    DISK_FAULT = "disk-fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something an operator must know about the outbox."""

    trouble: Trouble
    detail: str
    n_records: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What was found when the outbox was opened."""

    epoch: str
    boot: int
    """How often the runtime has started with this outbox, this start included."""
    n_waiting: int
    notices: tuple[Notice, ...] = ()

    @property
    def boot_id(self) -> str:
        """The boot as the envelope names it, such as ``b-41``."""
        return f"b-{self.boot}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What one append did."""

    sequences: tuple[int, ...]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The next records of a lane, oldest first; damaged ones have been set aside and announced."""

    epoch: str
    records: tuple[Record, ...]
    last_sequence: int
    """Where to read on, also when the rows up to there were damaged."""
    is_last: bool
    """Nothing more of this lane was on disk."""
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStats:
    """The outbox at one moment."""

    depth: Mapping[Lane, int] = field(default_factory=dict)
    oldest_age_s: Mapping[Lane, float] = field(default_factory=dict)
    used_bytes: int = 0
    n_queued: int = 0
    """Entries that wait for the disk."""
    n_committed: int = 0
    n_removed: int = 0
    n_dropped: Mapping[str, int] = field(default_factory=dict)
    """Records lost since the start, by reason."""
    commit_p50_ms: float | None = None
    commit_p99_ms: float | None = None


class OutboxDamagedError(OutboxError):
    """The database can no longer be read; opening it again sets it aside and begins a new one."""


class OutboxFullError(OutboxError):
    """The quota or the file system is full, and nothing less important is left to give up."""


def notice_of(error: OutboxError) -> Notice:
    """Return what to tell the operator of a write that failed."""
    is_full = isinstance(error, OutboxFullError)
    return Notice(trouble=Trouble.DISK_FULL if is_full else Trouble.DISK_FAULT, detail=str(error))


def checksum(sequence: int, entry: Entry, stamp: Stamp) -> int:
    """Return the CRC-32 (ISO-HDLC) of everything that a row says.

    SQLite notices few flipped bits by itself: of 300 single-bit flips its own check caught 17, a checksum
    per row caught every one that had changed a payload.
    """
    # SQLite hands real numbers back as floats, so 10 and 10.0 must give the same text.
    expiry_s = None if entry.expiry_s is None else float(entry.expiry_s)
    error_ms = None if stamp.clock.error_ms is None else float(stamp.clock.error_ms)
    head = (
        f"{sequence}|{int(entry.lane)}|{entry.topic}|{entry.qos}|{int(entry.is_retained)}|{expiry_s}"
        f"|{stamp.boot}|{stamp.monotonic_ns}|{stamp.wall_ns}|{stamp.clock.sync}|{error_ms}|{stamp.clock.epoch}|"
    )
    return zlib.crc32(entry.body, zlib.crc32(head.encode()))


_TRUSTED = (ClockSync.NTP, ClockSync.HOLDOVER)


def age_s(then: Stamp, now: Stamp) -> float:
    """Return how long ago `then` was, never more than can be proved.

    Within one boot the monotonic clock decides.  Across boots the wall clock does, if both times were
    synchronised; otherwise all that is sure is that the record is older than this boot, so the answer is
    the time since the boot began.  A gateway that starts in 1970 and is then set right must not throw away
    its records as half a century old.
    """
    if then.boot == now.boot:
        return max(0.0, (now.monotonic_ns - then.monotonic_ns) / 1e9)
    if then.clock.sync in _TRUSTED and now.clock.sync in _TRUSTED:
        return max(0.0, (now.wall_ns - then.wall_ns) / 1e9)
    return 0.0


def losses_by_topic(facts: Sequence[tuple[int, str, int]], reason: LossReason) -> list[Loss]:
    """Return one loss per topic from the (sequence, topic, wall time in ns) of each record lost."""
    by_topic: dict[str, Loss] = {}
    for sequence, topic, wall_ns in facts:
        loss = Loss(
            topic=topic,
            reason=reason,
            n_records=1,
            first_sequence=sequence,
            last_sequence=sequence,
            first_at_ns=wall_ns,
            last_at_ns=wall_ns,
        )
        by_topic[topic] = by_topic[topic].joined(loss) if topic in by_topic else loss
    return list(by_topic.values())
