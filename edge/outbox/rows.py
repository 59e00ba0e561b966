"""The database's schema, and the way between a row and a `Record`: text and tuples only, `store` runs them.

Every row carries a checksum over all that it says (`record.checksum`), its own sequence included, so that a
row whose cell was shifted onto another key is noticed as well.
"""

from __future__ import annotations

import zlib
from typing import TypeAlias

from edge.messages import ClockState, ClockSync
from edge.outbox.record import Entry, Lane, Loss, LossReason, Record, Stamp, checksum

Row: TypeAlias = tuple[object, ...]

VERSION = 1
"""Value of ``user_version``; a database with a higher one was written by a newer program."""

SCHEMA = """
CREATE TABLE record(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  lane INTEGER NOT NULL, topic TEXT NOT NULL, qos INTEGER NOT NULL, retained INTEGER NOT NULL, expiry_s REAL,
  boot INTEGER NOT NULL, monotonic_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL,
  sync TEXT NOT NULL, error_ms REAL, clock_epoch INTEGER NOT NULL,
  crc INTEGER NOT NULL, announces TEXT, body BLOB NOT NULL);
CREATE INDEX record_by_lane ON record(lane);
CREATE TABLE damaged(id INTEGER, raw TEXT);
CREATE TABLE loss(
  topic TEXT NOT NULL, reason TEXT NOT NULL, n INTEGER NOT NULL,
  first_sequence INTEGER, last_sequence INTEGER, first_at_ns INTEGER NOT NULL, last_at_ns INTEGER NOT NULL,
  PRIMARY KEY(topic, reason));
CREATE TABLE state(key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL);
"""

PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # NORMAL lost acknowledged records in 14 of 25 simulated power cuts, FULL in none
    "wal_autocheckpoint=200",  # pages; keeps the log near the size of what one checkpoint folds in
    "journal_size_limit=1048576",
    "cell_size_check=ON",
    "trusted_schema=OFF",
)

COLUMNS = "id, lane, topic, qos, retained, expiry_s, boot, monotonic_ns, wall_ns, sync, error_ms, clock_epoch, crc, announces, body"
INSERT = f"INSERT INTO record({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608 - constant text
SELECT_LANE = f"SELECT {COLUMNS} FROM record WHERE lane=? AND id>? ORDER BY id LIMIT ?"  # noqa: S608 - constant text
SELECT_OLD = SELECT_LANE.replace("lane=?", "announces IS NULL AND lane=?")
SELECT_VICTIMS = "SELECT id, topic, wall_ns FROM record WHERE lane=? AND announces IS NULL ORDER BY id LIMIT ?"
SELECT_STRAYS = f"SELECT {COLUMNS} FROM record NOT INDEXED WHERE lane NOT IN (0, 1, 2)"  # noqa: S608 - constant text
SELECT_ALL = f"SELECT {COLUMNS} FROM record NOT INDEXED ORDER BY id"  # noqa: S608 - constant text

HIGHEST_SEQUENCE = """
SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name='record'), 0),
           coalesce((SELECT max(id) FROM record), 0), coalesce((SELECT max(id) FROM damaged), 0))
"""

UPSERT_LOSS = """
INSERT INTO loss VALUES (?,?,?,?,?,?,?) ON CONFLICT(topic, reason) DO UPDATE SET
  n = n + excluded.n,
  first_sequence = min(coalesce(first_sequence, excluded.first_sequence),
                       coalesce(excluded.first_sequence, first_sequence)),
  last_sequence = max(coalesce(last_sequence, excluded.last_sequence),
                      coalesce(excluded.last_sequence, last_sequence)),
  first_at_ns = min(first_at_ns, excluded.first_at_ns),
  last_at_ns = max(last_at_ns, excluded.last_at_ns)
"""

# Losses of a topic of which no gap record is on its way: at most one waits per topic and reason, so that a
# long outage at the quota does not fill the outbox with reports of itself.
UNANNOUNCED_LOSSES = """
SELECT topic, reason, n, first_sequence, last_sequence, first_at_ns, last_at_ns FROM loss
WHERE topic || '|' || reason NOT IN (SELECT announces FROM record WHERE announces IS NOT NULL)
"""


def to_row(sequence: int, entry: Entry, stamp: Stamp, announces: str | None = None) -> Row:
    """Return the values for `INSERT`, the checksum included."""
    return (
        sequence,
        int(entry.lane),
        entry.topic,
        entry.qos,
        int(entry.is_retained),
        entry.expiry_s,
        stamp.boot,
        stamp.monotonic_ns,
        stamp.wall_ns,
        stamp.clock.sync.value,
        stamp.clock.error_ms,
        stamp.clock.epoch,
        checksum(sequence, entry, stamp),
        announces,
        entry.body,
    )


def from_row(row: Row, epoch: str) -> Record | None:
    """Return the record in `row` (in the order of `COLUMNS`), or None if it fails its checksum."""
    sequence, lane, topic, qos, retained, expiry_s, boot, monotonic_ns, wall_ns, sync, error_ms, clock_epoch = row[:12]
    body = row[14]
    if not isinstance(body, bytes) or not isinstance(topic, str):
        return None
    integers = (sequence, lane, qos, retained, boot, monotonic_ns, wall_ns, clock_epoch)
    if not all(isinstance(value, int) for value in integers):
        return None
    if not all(value is None or isinstance(value, float) for value in (expiry_s, error_ms)):
        return None
    try:
        clock = ClockState(sync=ClockSync(sync), error_ms=error_ms, epoch=clock_epoch)  # type: ignore[arg-type] # checked above
        stamp = Stamp(boot=boot, monotonic_ns=monotonic_ns, wall_ns=wall_ns, clock=clock)  # type: ignore[arg-type] # checked above
        entry = Entry(
            lane=Lane(lane),  # type: ignore[arg-type] # checked above
            topic=topic,
            body=body,
            qos=qos,  # type: ignore[arg-type] # checked above
            is_retained=bool(retained),
            expiry_s=expiry_s,  # type: ignore[arg-type] # checked above
        )
    except ValueError:  # a flipped bit made an unknown lane or clock state
        return None
    if checksum(sequence, entry, stamp) != row[12]:  # type: ignore[arg-type] # checked above
        return None
    return Record(
        sequence=sequence,  # type: ignore[arg-type] # checked above
        epoch=epoch,
        lane=entry.lane,
        topic=entry.topic,
        body=entry.body,
        qos=entry.qos,
        is_retained=entry.is_retained,
        expiry_s=entry.expiry_s,
        stamp=stamp,
    )


def loss_to_row(loss: Loss) -> Row:
    """Return the values for `UPSERT_LOSS`."""
    return (
        loss.topic,
        loss.reason.value,
        loss.n_records,
        loss.first_sequence,
        loss.last_sequence,
        loss.first_at_ns,
        loss.last_at_ns,
    )


def loss_from_row(row: Row) -> Loss:
    """Return the loss in a row of `UNANNOUNCED_LOSSES`."""
    topic, reason, n, first_sequence, last_sequence, first_at_ns, last_at_ns = row
    return Loss(
        topic=str(topic),
        reason=LossReason(str(reason)),
        n_records=integer(n),
        first_sequence=None if first_sequence is None else integer(first_sequence),
        last_sequence=None if last_sequence is None else integer(last_sequence),
        first_at_ns=integer(first_at_ns),
        last_at_ns=integer(last_at_ns),
    )


def state_checksum(key: str, value: bytes) -> int:
    """Return the CRC-32 (ISO-HDLC) of one row of ``state``."""
    return zlib.crc32(value, zlib.crc32(key.encode()))


def lenient_text(data: bytes) -> str:
    """Return `data` as text; a flipped bit must fail the checksum of its row, not the reading of all the others."""
    return data.decode("utf-8", "replace")


def integer(value: object) -> int:
    """Return `value`, which SQLite promises to be an integer; anything else is a broken invariant."""
    if not isinstance(value, int):
        raise TypeError(f"expected an integer column, got {value!r}")
    return value
