"""The thread that owns the outbox's database, and the awaitable face of it for the event loop.

::

    append (alert)     ── committed alone and at once ─────────────┐
    append (summary)   ── grouped: 50 rows or 250 ms ──────────────┤─▶ Store (one thread, one connection)
    offer  (reading)   ── the same, but bounded: oldest goes ──────┤
    pending, remove, save_state, load_state ───────────────────────┘

An alert that the disk refuses is held in memory and tried again until it is durable: its `append` simply
takes longer, and the operator is told by a `Notice`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from edge.clock import Clock
from edge.errors import OutboxError
from edge.outbox.backlog import Append, Backlog, Group, Question, WriterSettings
from edge.outbox.figures import Latencies
from edge.outbox.record import (
    Batch,
    Entry,
    Lane,
    Loss,
    LossReason,
    Notice,
    Opening,
    OutboxDamagedError,
    OutboxFullError,
    OutboxStats,
    Record,
    Stamp,
    Trouble,
    age_s,
    notice_of,
)
from edge.outbox.retention import RetentionSettings
from edge.outbox.store import Store

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class OutboxWriter:
    """The outbox of one gateway.

    Parameters
    ----------
    path : Path
        Database file.
    clock : Clock
        Stamps records and measures ages and commit latencies.
    describe_loss : callable
        Turns a `Loss` into the entry that announces it (``Payloads.loss``); called in the writer's thread.
    retention, settings
        Quota and ages; grouping.
    on_notice : callable
        Told, in the event loop, what deserves a technical alarm.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        describe_loss: Callable[[Loss], Entry],
        *,
        retention: RetentionSettings | None = None,
        settings: WriterSettings | None = None,
        on_notice: Callable[[Notice], None] | None = None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._describe_loss = describe_loss
        self._retention = retention or RetentionSettings()
        self._settings = settings or WriterSettings()
        self._on_notice = on_notice
        self._on_commit: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        # Shared with the thread and guarded by `_changed`.
        self._backlog = Backlog(max_queued=self._settings.max_queued, group_rows=self._settings.group_rows)
        self._is_closing = False
        self._failure: OutboxError | None = None
        # Written by the thread alone, replaced whole; the loop only reads.
        self._latencies = Latencies()
        self._figures = OutboxStats()
        self._oldest: Mapping[Lane, Stamp] = {}
        self._boot = 0
        self._prune_due_ns = 0

    async def start(self) -> Opening:
        """Return what was found once the database is open.

        Raises
        ------
        OutboxError
            If it cannot be opened.
        """
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[Opening] = self._loop.create_future()
        # A daemon, so that a disk that hangs in fsync cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, args=(opened,), name="outbox-writer", daemon=True)
        self._thread.start()
        opening = await opened
        self._tell(*opening.notices)
        return opening

    def on_commit(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called in the event loop after every commit of new records."""
        self._on_commit = callback

    async def append(self, *entries: Entry) -> tuple[int, ...]:
        """Return the sequences of `entries` once they are on disk, all or none of them.

        With an alert among them they are committed alone and at once.

        Raises
        ------
        OutboxError
            If the disk refused; never for an alert while the outbox is open: that is tried again.
        """
        future: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._add(Append(entries=entries, on_done=partial(self._finish, future)))
        return await future

    def offer(self, entry: Entry) -> None:
        """Take telemetry without waiting; when the disk cannot keep up the oldest reading is lost, and announced."""
        self._add(Append(entries=(entry,), on_done=None))

    async def pending(self, lane: Lane, after_sequence: int, n_at_most: int) -> Batch:
        """Return the next records of `lane` beyond `after_sequence`, oldest first, without those to be removed."""

        def ask(store: Store) -> Batch:
            found = store.pending(lane, after_sequence, n_at_most, self.stamp())
            with self._changed:
                gone = {(record.epoch, record.sequence) for record in self._backlog.removals}
            return replace(found, records=tuple(r for r in found.records if (r.epoch, r.sequence) not in gone))

        batch = await self._call(ask)
        self._tell(*batch.notices)
        return batch

    def remove(self, records: Sequence[Record]) -> None:
        """Forget `records` with the next group; until that is on disk a restart would send them again."""
        with self._changed:
            self._backlog.removals.extend(records)
            self._changed.notify()

    async def save_state(self, key: str, value: bytes) -> None:
        """Return once `value` is durable under `key`."""
        await self._call(lambda store: store.save_state(key, value))

    async def load_state(self, key: str) -> bytes | None:
        """Return what was last saved under `key`, None if nothing was."""
        return await self._call(lambda store: store.load_state(key))

    def stats(self) -> OutboxStats:
        """Return the figures of the last commit with ages as of now."""
        now = self.stamp()
        return replace(
            self._figures,
            oldest_age_s={lane: age_s(stamp, now) for lane, stamp in self._oldest.items()},
            n_queued=len(self._backlog.group) + len(self._backlog.alerts),
            n_dropped=dict(self._backlog.n_dropped),
            commit_p50_ms=self._latencies.percentile_ms(0.50),
            commit_p99_ms=self._latencies.percentile_ms(0.99),
        )

    def stamp(self) -> Stamp:
        """Return this instant as records are stamped with it."""
        return Stamp(
            boot=self._boot,
            monotonic_ns=self._clock.monotonic_ns(),
            wall_ns=self._clock.wall_ns(),
            clock=self._clock.state(),
        )

    async def close(self) -> None:
        """Write what was taken and close the database; what the disk still refuses fails its `append`."""
        if self._thread is not None:
            with self._changed:
                self._is_closing = True
                self._changed.notify()
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _add(self, append: Append) -> None:
        with self._changed:
            self._refuse_if_closed()
            self._backlog.add(append, self._clock.wall_ns())
            self._changed.notify()

    async def _call(self, work: Callable[[Store], _T]) -> _T:
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()

        def ask(store: Store) -> None:
            try:
                self._finish(future, work(store))
            except OutboxDamagedError as error:
                self._finish(future, error)
                raise
            except OutboxError as error:
                self._finish(future, error)
            except Exception as error:  # whatever it was, the one who asked must not wait for ever
                self._finish(future, OutboxError(f"{self._path}: {error!r}"))
                raise

        with self._changed:
            self._refuse_if_closed()
            self._backlog.questions.append(Question(ask=ask, refuse=partial(self._finish, future)))
            self._changed.notify()
        return await future

    def _refuse_if_closed(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._thread is None or self._is_closing:
            raise RuntimeError("the outbox is not open")

    def _finish(self, future: asyncio.Future[_T], result: _T | OutboxError) -> None:
        """Complete `future` from the thread; one whose waiter was cancelled is left alone."""

        def complete() -> None:
            if future.done():
                return
            if isinstance(result, OutboxError):
                future.set_exception(result)
            else:
                future.set_result(result)

        self._in_loop(complete)

    def _tell(self, *notices: Notice) -> None:
        for notice in notices:
            _log.warning("outbox.%s n_records=%d detail=%s", notice.trouble, notice.n_records, notice.detail)
            if self._on_notice is not None:
                self._in_loop(partial(self._on_notice, notice))

    def _in_loop(self, callback: Callable[[], None]) -> None:
        assert self._loop is not None  # set before the thread starts
        with contextlib.suppress(RuntimeError):  # the loop was closed without waiting for us; nobody is left to tell
            self._loop.call_soon_threadsafe(callback)

    # From here on: the writer's thread.

    def _run(self, opened: asyncio.Future[Opening]) -> None:
        store: Store | None = None
        work: Append | Group | Question | None = None
        try:
            store = self._opened()
            self._finish(opened, store.opening)
            while (work := self._next_work()) is not None:
                try:
                    self._do(work, store)
                except OutboxDamagedError as error:
                    _log.warning("outbox.damaged error=%s", error)
                    store.close()
                    store = self._opened()
                    self._tell(*store.opening.notices)
                self._prune(store)
                self._refresh(store)
        except Exception as error:  # noqa: BLE001 - end of the thread: whatever it was, nobody may wait for it for ever
            fault = error if isinstance(error, OutboxError) else OutboxError(f"{self._path}: {error!r}")
            self._finish(opened, fault)
            self._fail(fault, work)
        finally:
            if store is not None:
                store.close()

    def _opened(self) -> Store:
        store = Store(self._path, self._retention, self._describe_loss, self.stamp())
        self._boot = store.boot
        self._refresh(store)
        return store

    def _next_work(self) -> Append | Group | Question | None:
        """Wait for something to do; None at the end."""
        with self._changed:
            while True:
                if self._is_closing:
                    self._backlog.ripen()
                work = self._backlog.take()
                if work is not None:
                    return work
                if self._is_closing:
                    return None
                if self._backlog.is_empty:
                    self._changed.wait()
                elif not self._changed.wait_for(
                    lambda: self._is_closing or self._backlog.is_due, self._settings.group_s
                ):
                    self._backlog.ripen()

    def _do(self, work: Append | Group | Question, store: Store) -> None:
        if isinstance(work, Question):
            work.ask(store)
        elif isinstance(work, Append):
            self._write_alert(work, store)
        else:
            self._write_group(work, store)

    def _write_alert(self, alert: Append, store: Store) -> None:
        try:
            sequences = self._append(store, alert.entries)
        except OutboxDamagedError:
            raise
        except OutboxError as error:
            self._tell(notice_of(error))
            with self._changed:
                if not self._is_closing:
                    self._backlog.is_alert_held = True
                    return
            alert.answer(error)
        else:
            alert.answer(sequences)
        with self._changed:
            self._backlog.alert_written()

    def _write_group(self, group: Group, store: Store) -> None:
        """Write and remove in one transaction; if that fails, each lane by itself, the important one first."""
        removed = [record.sequence for record in group.removed if record.epoch == store.epoch]
        entries = [entry for append in group.appends for entry in append.entries]
        try:
            sequences = iter(self._append(store, entries, removed, group.losses))
        except OutboxError as error:
            if isinstance(error, OutboxDamagedError):
                with self._changed:  # nothing of it was written: it goes into the new database
                    self._backlog.put_back(group)
                raise
            self._write_apart(group, store)
            return
        for append in group.appends:
            append.answer(tuple(itertools.islice(sequences, len(append.entries))))

    def _write_apart(self, group: Group, store: Store) -> None:
        with self._changed:
            self._backlog.put_back(replace(group, appends=()))
        for append in sorted(group.appends, key=lambda append: append.entries[0].lane):
            try:
                append.answer(self._append(store, append.entries))
            except OutboxDamagedError:
                raise
            except OutboxError as error:
                append.answer(error)
                self._tell(notice_of(error))
                reason = LossReason.QUOTA if isinstance(error, OutboxFullError) else LossReason.UNWRITABLE
                with self._changed:
                    self._backlog.lose(append.entries, reason, self._clock.wall_ns())

    def _append(
        self, store: Store, entries: Sequence[Entry], removed: Sequence[int] = (), losses: Sequence[Loss] = ()
    ) -> tuple[int, ...]:
        began_ns = self._clock.monotonic_ns()
        done = store.append(entries, self.stamp(), losses, removed)
        self._latencies.add(self._clock.monotonic_ns() - began_ns)
        figures = self._figures
        n_committed, n_removed = figures.n_committed + len(entries), figures.n_removed + len(removed)
        self._figures = replace(figures, n_committed=n_committed, n_removed=n_removed)
        self._tell(*done.notices)
        if entries and self._on_commit is not None:
            self._in_loop(self._on_commit)
        return done.sequences

    def _prune(self, store: Store) -> None:
        now = self.stamp()
        if now.monotonic_ns < self._prune_due_ns:
            return
        self._prune_due_ns = now.monotonic_ns + round(self._settings.prune_every_s * 1e9)
        while n_pruned := store.prune(now):
            self._tell(Notice(trouble=Trouble.RECORDS_LOST, detail="older than their retention", n_records=n_pruned))

    def _refresh(self, store: Store) -> None:
        self._oldest = store.oldest()
        self._figures = replace(self._figures, depth=store.depth(), used_bytes=store.used_bytes())

    def _fail(self, error: OutboxError, unfinished: Append | Group | Question | None) -> None:
        """Let every waiter know that the outbox is gone."""
        _log.error("outbox.failed error=%s", error)
        self._tell(notice_of(error))
        with self._changed:
            self._failure = error
            if isinstance(unfinished, Group):
                self._backlog.put_back(unfinished)
            self._backlog.refuse_all(error)
