"""One SQLite file that keeps what it promised: the only file that imports sqlite3.

`Store` is used by one thread (`writer`).  `append` returns after COMMIT with ``synchronous=FULL``: in 25
simulated power cuts that lost nothing, ``NORMAL`` lost acknowledged records in 14.  A page quota keeps the
file below the size of the file system, because on a full one even the deletes that would help fail.

A damaged file is renamed aside, never deleted; its readable rows move into a new database with a new epoch.
A damaged row is set aside in the table ``damaged``; the others go on.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from edge.errors import OutboxError
from edge.outbox import rows
from edge.outbox.record import (
    Appended,
    Batch,
    Entry,
    Lane,
    Loss,
    LossReason,
    Notice,
    Opening,
    OutboxDamagedError,
    OutboxFullError,
    Record,
    Stamp,
    Trouble,
    age_s,
    losses_by_topic,
)
from edge.outbox.retention import RetentionSettings, victims

_N_AT_ONCE = 256
_Pair: TypeAlias = tuple[Entry, Stamp]
# A damaged schema can give SQLite an error text that is no UTF-8; its Python binding then fails on the text itself.
_ERRORS = (sqlite3.Error, UnicodeDecodeError)


class Store:
    """The durable queue, opened and locked for this process.

    Parameters
    ----------
    path : Path
        Database file; created with its directory, readable by the owner alone.
    settings : RetentionSettings
        Quota and ages.
    describe : callable
        Turns a loss into the gap record that is written in the same transaction.
    now : Stamp
        The instant of opening; its ``boot`` is ignored, the store counts the boots.

    Raises
    ------
    OutboxError
        If the file cannot be opened or another process has it.
    """

    def __init__(self, path: Path, settings: RetentionSettings, describe: Callable[[Loss], Entry], now: Stamp) -> None:
        self._path = path
        self._settings = settings
        self._describe = describe
        self._next_sequence = 1
        self._depth = dict.fromkeys(Lane, 0)
        self._lock_fd = self._locked()
        notices: tuple[Notice, ...] = ()
        try:
            try:
                self._db = self._opened()
            except (*_ERRORS, OutboxDamagedError) as error:
                if not _is_damage(error):
                    raise
                notices = self._begun_anew(now, str(error))
            self.epoch = (self.load_state("epoch") or b"").decode() or self._new_epoch()
            self.boot = self._next_boot(now, is_counter_lost=bool(notices))
            self._next_sequence = rows.integer(self._query(rows.HIGHEST_SEQUENCE)[0][0]) + 1
            self._set_aside(
                self._query(rows.SELECT_STRAYS), Lane.READING, now
            )  # a flipped lane would hide a row from every reader
            counts = dict(self._db.execute("SELECT lane, count(*) FROM record GROUP BY lane").fetchall())
            self._depth = {lane: counts.get(int(lane), 0) for lane in Lane}
        except (*_ERRORS, OutboxError) as error:
            os.close(self._lock_fd)
            raise _as_outbox_error(error, path) from error
        self.opening = Opening(epoch=self.epoch, boot=self.boot, n_waiting=sum(self._depth.values()), notices=notices)

    def append(
        self, entries: Sequence[Entry], now: Stamp, losses: Sequence[Loss] = (), removed: Sequence[int] = ()
    ) -> Appended:
        """Return the sequences of `entries` once they are on disk; at the quota older telemetry gives way.

        In the same transaction the `removed` sequences go, which the far end has, and `losses` are announced.

        Raises
        ------
        OutboxError
            If the disk refuses, or if at the quota only more important records are left.
        """
        return self._append([(entry, now) for entry in entries], now, losses, removed)

    def _append(self, pairs: Sequence[_Pair], now: Stamp, losses: Sequence[Loss], removed: Sequence[int]) -> Appended:
        first = self._next_sequence
        self._next_sequence += len(pairs)  # also when it fails: a sequence is never used twice
        sequences = tuple(range(first, self._next_sequence))
        least = max((entry.lane for entry, _ in pairs), default=Lane.READING)

        def insert() -> None:
            for sequence in removed:
                self._delete_one(sequence)
            self._note_losses(losses)
            values = [rows.to_row(s, entry, stamp) for s, (entry, stamp) in zip(sequences, pairs, strict=True)]
            self._db.executemany(rows.INSERT, values)
            for entry, _ in pairs:
                self._depth[entry.lane] += 1
            self._announce_losses(now)

        return Appended(sequences=sequences, notices=self._with_room(insert, least))

    def pending(self, lane: Lane, after_sequence: int, n_at_most: int, now: Stamp) -> Batch:
        """Return up to `n_at_most` records of `lane` beyond `after_sequence`, oldest first."""
        found = self._query(rows.SELECT_LANE, int(lane), after_sequence, n_at_most)
        pairs = [(row, rows.from_row(row, self.epoch)) for row in found]
        bad = [row for row, record in pairs if record is None]
        self._set_aside(bad, lane, now)
        notice = Notice(trouble=Trouble.ROW_DAMAGED, detail=f"{len(bad)} rows failed their check", n_records=len(bad))
        records = tuple(record for _, record in pairs if record is not None)
        return Batch(
            epoch=self.epoch,
            records=records,
            last_sequence=rows.integer(found[-1][0]) if found else after_sequence,
            is_last=len(found) < n_at_most,
            notices=(notice,) if bad else (),
        )

    def prune(self, now: Stamp) -> int:
        """Drop what is older than its lane's retention, announce it, and return how many that were."""
        n_pruned = 0
        for lane, keep_s in self._settings.keep_s.items():
            if keep_s is None:
                continue
            found = self._query(rows.SELECT_OLD, int(lane), 0, _N_AT_ONCE)
            records = [record for row in found if (record := rows.from_row(row, self.epoch))]
            old = [record for record in records if age_s(record.stamp, now) > keep_s]
            if old:
                facts = [(record.sequence, record.topic, record.wall_time_ns) for record in old]
                self._transact(partial(self._drop, facts, LossReason.AGE, now))
                n_pruned += len(old)
        return n_pruned

    def save_state(self, key: str, value: bytes) -> None:
        """Keep `value` under `key`, durable on return."""
        row = (key, value, rows.state_checksum(key, value))
        self._transact(lambda: self._db.execute("INSERT OR REPLACE INTO state VALUES (?,?,?)", row))

    def load_state(self, key: str) -> bytes | None:
        """Return what was last saved under `key`, or None if nothing was or it is damaged."""
        for value, crc in self._query("SELECT value, crc FROM state WHERE key=?", key):
            if isinstance(value, bytes) and crc == rows.state_checksum(key, value):
                return value
        return None

    def depth(self) -> Mapping[Lane, int]:
        """Return how many records wait, by lane."""
        return dict(self._depth)

    def oldest(self) -> Mapping[Lane, Stamp]:
        """Return when the oldest record of each lane that has one was written."""
        heads = {lane: self._query(rows.SELECT_LANE, int(lane), 0, 1) for lane in Lane}
        records = {lane: rows.from_row(found[0], self.epoch) for lane, found in heads.items() if found}
        return {lane: record.stamp for lane, record in records.items() if record}

    def used_bytes(self) -> int:
        """Return the bytes in use inside the database file, free pages not counted."""
        names = ("page_size", "page_count", "freelist_count")
        page_bytes, n_pages, n_free = (rows.integer(self._query(f"PRAGMA {name}")[0][0]) for name in names)
        return page_bytes * (n_pages - n_free)

    def close(self) -> None:
        """Fold the write-ahead log into the file and release both."""
        with contextlib.suppress(*_ERRORS):  # the log is folded in at the next start then
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        os.close(self._lock_fd)

    def _query(self, sql: str, *values: object) -> list[rows.Row]:
        try:
            return self._db.execute(sql, values).fetchall()
        except _ERRORS as error:
            raise _as_outbox_error(error, self._path) from error

    def _transact(self, work: Callable[[], object]) -> None:
        depth = dict(self._depth)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            work()
            self._db.execute("COMMIT")
        except BaseException as error:
            self._depth = depth
            with contextlib.suppress(*_ERRORS):  # SQLite may have rolled back by itself
                self._db.execute("ROLLBACK")
            if isinstance(error, _ERRORS):
                raise _as_outbox_error(error, self._path) from error
            raise

    def _with_room(self, work: Callable[[], None], least: Lane) -> tuple[Notice, ...]:
        """Run `work` in a transaction; when the file is full, first drop records of the lanes from `least` down."""
        n_drop = n_dropped = 0

        def make_room_and_work() -> None:
            nonlocal n_dropped
            n_dropped = self._give_up(n_drop, least)
            work()

        while True:
            try:
                self._transact(make_room_and_work)
            except OutboxFullError:
                if n_drop > sum(self._depth.values()):
                    raise
                n_drop = max(self._settings.n_drop_at_once, 2 * n_drop)
                continue
            if not n_dropped:
                return ()
            return (Notice(trouble=Trouble.DISK_FULL, detail="the outbox is at its quota", n_records=n_dropped),)

    def _give_up(self, n_wanted: int, least: Lane) -> int:
        """Delete the oldest of the least important lanes, never one more important than `least`; return how many."""
        n_dropped = 0
        for lane, n_here in victims({lane: n for lane, n in self._depth.items() if lane >= least}, n_wanted):
            found = self._db.execute(rows.SELECT_VICTIMS, (int(lane), n_here)).fetchall()
            self._drop(found, LossReason.QUOTA)
            n_dropped += len(found)
        return n_dropped

    def _drop(
        self, facts: Sequence[tuple[int, str, int]], reason: LossReason, announce_at: Stamp | None = None
    ) -> None:
        """Delete the records of `facts` (sequence, topic, wall time) and note them as lost."""
        for sequence, _, _ in facts:
            self._delete_one(sequence)
        self._note_losses(losses_by_topic(facts, reason))
        if announce_at:
            self._announce_losses(announce_at)

    def _delete_one(self, sequence: int) -> None:
        row = self._db.execute("DELETE FROM record WHERE id=? RETURNING lane", (sequence,)).fetchone()
        if row is not None:
            self._depth[Lane(row[0])] -= 1

    def _note_losses(self, losses: Sequence[Loss]) -> None:
        self._db.executemany(rows.UPSERT_LOSS, [rows.loss_to_row(loss) for loss in losses])

    def _announce_losses(self, now: Stamp) -> None:
        for row in self._db.execute(rows.UNANNOUNCED_LOSSES).fetchall():
            loss = rows.loss_from_row(row)
            entry = self._describe(loss)
            values = rows.to_row(self._next_sequence, entry, now, announces=f"{loss.topic}|{loss.reason}")
            self._next_sequence += 1
            self._db.execute(rows.INSERT, values)
            self._db.execute("DELETE FROM loss WHERE topic=? AND reason=?", row[:2])
            self._depth[entry.lane] += 1

    def _set_aside(self, bad: Sequence[rows.Row], lane: Lane, now: Stamp) -> None:
        """Move damaged rows into their own table and announce each range that is missing."""
        if not bad:
            return

        def move() -> None:
            for row in bad:
                self._db.execute("INSERT INTO damaged VALUES (?,?)", (row[0], repr(row)))
                self._db.execute("DELETE FROM record WHERE id=?", (row[0],))
                self._depth[lane] -= 1
            facts = [(rows.integer(row[0]), str(row[2]), now.wall_ns) for row in bad]
            self._note_losses(losses_by_topic(facts, LossReason.DAMAGED))
            self._announce_losses(now)

        self._with_room(move, Lane.READING)

    def _locked(self) -> int:
        """Return a descriptor that holds the lock; a process that dies releases it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OutboxError(f"{self._path}: {error.strerror}", hint="choose another [outbox] path") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise OutboxError(f"{self._path} is in use by another process", hint="stop the other runtime") from error
        return fd

    def _opened(self) -> sqlite3.Connection:
        """Return the connection, its schema present and every page checked."""
        # SQLite gives the log and the index of the log the same permissions as the file.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(self._path, isolation_level=None, timeout=5.0)
        try:
            db.text_factory = rows.lenient_text
            for pragma in rows.PRAGMAS:
                db.execute(f"PRAGMA {pragma}")
            page_bytes = int(db.execute("PRAGMA page_size").fetchone()[0])
            db.execute(f"PRAGMA max_page_count={self._settings.max_bytes // page_bytes}")
            if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                db.executescript(f"BEGIN; {rows.SCHEMA} PRAGMA user_version={rows.VERSION}; COMMIT")
            if (verdict := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise OutboxDamagedError(str(verdict))
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != rows.VERSION:
                raise OutboxError(f"{self._path} has layout {version}, expected {rows.VERSION}")
            # quick_check does not compare an index with its table: a flipped bit in it would hide rows.
            db.execute("REINDEX record_by_lane")
        except BaseException:
            db.close()
            raise
        return db

    def _begun_anew(self, now: Stamp, why: str) -> tuple[Notice, ...]:
        """Rename the damaged file aside, begin a new one and take over every row that can still be read."""
        aside = self._path.with_name(f"{self._path.name}.damaged-{now.wall_ns // 1_000_000_000}-{secrets.token_hex(2)}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").rename(f"{aside}{suffix}")
        self._db = self._opened()
        n_saved, readable = 0, _readable_records(aside)
        while batch := [(record.entry, record.stamp) for record in itertools.islice(readable, _N_AT_ONCE)]:
            self._append(batch, now, (), ())
            n_saved += len(batch)
        for key, value in _readable_state(aside):
            self.save_state(key, value)
        self._new_epoch()
        detail = f"{why}; kept as {aside.name}, {n_saved} records taken over"
        return (Notice(trouble=Trouble.DATABASE_DAMAGED, detail=detail, n_records=n_saved),)

    def _new_epoch(self) -> str:
        epoch = secrets.token_hex(4)
        self.save_state("epoch", epoch.encode())
        return epoch

    def _next_boot(self, now: Stamp, *, is_counter_lost: bool) -> int:
        last = self.load_state("boot")
        # After the counter was lost with its file, the seconds of the wall clock still sort behind every boot counted.
        boot = max(1, now.wall_ns // 1_000_000_000) if last is None and is_counter_lost else int(last or b"0") + 1
        self.save_state("boot", str(boot).encode())
        return boot


def _readable_records(path: Path) -> Iterator[Record]:
    """Yield the sound records of a damaged file, from both ends towards the broken page."""
    seen: set[int] = set()
    for order in ("", " DESC"):
        for row in _rows_aside(path, rows.SELECT_ALL + order):
            record = rows.from_row(row, "")
            if record is not None and record.sequence not in seen:
                seen.add(record.sequence)
                yield record


def _readable_state(path: Path) -> Iterator[tuple[str, bytes]]:
    for key, value, crc in _rows_aside(path, "SELECT key, value, crc FROM state"):
        if key != "epoch" and isinstance(value, bytes) and crc == rows.state_checksum(str(key), value):
            yield str(key), value


def _rows_aside(path: Path, sql: str) -> Iterator[rows.Row]:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    db.text_factory = rows.lenient_text
    with contextlib.suppress(*_ERRORS), contextlib.closing(db):
        yield from db.execute(sql)


def _is_damage(error: BaseException) -> bool:
    codes = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
    return (
        isinstance(error, OutboxDamagedError | UnicodeDecodeError)
        or getattr(error, "sqlite_errorcode", 0) & 0xFF in codes
    )


def _as_outbox_error(error: Exception, path: Path) -> OutboxError:
    if isinstance(error, OutboxError):
        return error
    if _is_damage(error):
        return OutboxDamagedError(f"{path}: {error}", hint="the file is set aside at the next opening")
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return OutboxFullError(f"{path}: {error}", hint="free space at [outbox] path, or lower its quota")
    return OutboxError(f"{path}: {error}", hint="see whether the file system of [outbox] path can be written")
