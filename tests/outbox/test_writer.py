"""The writer's thread: what its promises are worth, also when the disk, the queue or the process fails."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.clock import ManualClock, SystemClock
from edge.errors import OutboxError
from edge.outbox.record import Lane, Trouble
from edge.outbox.retention import RetentionSettings
from edge.outbox.writer import OutboxWriter, WriterSettings
from tests.fakes.outbox_records import alert, entry, gap_entry, number_of

ROOT = Path(__file__).parents[2]
PATIENT = WriterSettings(group_s=3600.0, group_rows=50)
"""Grouping by number alone, so that no test depends on how long something takes."""


@asynccontextmanager
async def opened(path, *, settings=None, retention=None, clock=None, notices=None):
    writer = OutboxWriter(
        path,
        clock or SystemClock(),
        gap_entry,
        settings=settings,
        retention=retention,
        on_notice=(notices if notices is not None else []).append,
    )
    await writer.start()
    try:
        yield writer
    finally:
        await writer.close()


async def numbers(writer, lane):
    batch = await writer.pending(lane, 0, 10_000)
    return [number_of(record.body) for record in batch.records if record.topic != "v/gap"]


def on_disk(path):
    """What another process sees: only what is committed."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        found = db.execute("SELECT body FROM record ORDER BY id").fetchall()
    db.close()
    return [number_of(body) for (body,) in found]


def test_append_returns_after_the_commit(tmp_path):
    """When the sequence is known, another process already sees the record."""

    async def story():
        async with opened(tmp_path / "o.db", settings=PATIENT) as writer:
            (sequence,) = await writer.append(alert(7))
            return sequence, on_disk(tmp_path / "o.db")

    assert asyncio.run(story()) == (1, [7])


def test_an_alert_does_not_wait_for_the_group(tmp_path):
    """Telemetry waits for company; the alert that comes after it is on disk before it."""

    async def story():
        async with opened(tmp_path / "o.db", settings=PATIENT) as writer:
            writer.offer(entry(1))
            await writer.append(alert(2))
            return on_disk(tmp_path / "o.db")

    assert asyncio.run(story()) == [2]


def test_a_full_group_is_committed_without_waiting(tmp_path):
    async def story():
        async with opened(tmp_path / "o.db", settings=PATIENT) as writer:
            for k in range(49):
                writer.offer(entry(k))
            await writer.append(entry(49, Lane.SUMMARY))
            return on_disk(tmp_path / "o.db")

    assert asyncio.run(story()) == list(range(50))


def test_a_small_group_is_committed_when_its_time_is_up(tmp_path):
    async def story():
        async with opened(tmp_path / "o.db", settings=WriterSettings(group_s=0.01)) as writer:
            return await asyncio.wait_for(writer.append(entry(1, Lane.SUMMARY)), 10)

    assert asyncio.run(story()) == (1,)


def test_alerts_of_one_append_are_committed_together(tmp_path):
    """The state of an alert and its log entry: both or none, with consecutive sequences."""

    async def story():
        async with opened(tmp_path / "o.db") as writer:
            return await writer.append(alert(1), alert(2))

    first, second = asyncio.run(story())
    assert second == first + 1


def test_close_writes_what_was_taken(tmp_path):
    async def story():
        async with opened(tmp_path / "o.db", settings=PATIENT) as writer:
            for k in range(7):
                writer.offer(entry(k))

    asyncio.run(story())

    assert on_disk(tmp_path / "o.db") == list(range(7))


def test_a_full_queue_drops_the_oldest_reading_and_announces_it(tmp_path):
    """Nothing blocks, nothing is lost in silence, and the summary that nobody awaits outlives the readings."""
    settings = WriterSettings(group_s=3600.0, group_rows=10_000, max_queued=10)

    async def story():
        async with opened(tmp_path / "o.db", settings=settings) as writer:
            writer.offer(entry(100, Lane.SUMMARY))
            for k in range(15):
                writer.offer(entry(k))
            dropped = writer.stats().n_dropped
        async with opened(tmp_path / "o.db") as writer:
            summaries = await writer.pending(Lane.SUMMARY, 0, 100)
            return dropped, await numbers(writer, Lane.READING), [json.loads(r.body) for r in summaries.records]

    dropped, readings, summaries = asyncio.run(story())

    assert dropped == {"queue-full": 6}
    assert readings == list(range(6, 15))
    assert summaries[0]["number"] == 100
    assert (summaries[1]["reason"], summaries[1]["n"], summaries[1]["first"]) == ("queue-full", 6, None)


def test_removed_records_are_not_read_again_before_the_removal_is_on_disk(tmp_path):
    """The removal waits for its group; meanwhile the record must not be sent a second time."""

    async def story():
        async with opened(tmp_path / "o.db", settings=PATIENT) as writer:
            await writer.append(alert(1), alert(2))
            (first, _), still_on_disk = (await writer.pending(Lane.ALERT, 0, 10)).records, None
            writer.remove([first])
            batch = await writer.pending(Lane.ALERT, 0, 10)
            still_on_disk = on_disk(tmp_path / "o.db")
            return [number_of(record.body) for record in batch.records], batch.last_sequence, still_on_disk

    left, last_sequence, _ = asyncio.run(story())

    assert left == [2]
    assert last_sequence == 2


def test_a_stream_of_questions_does_not_put_off_a_removal(tmp_path):
    """Reading ahead never stops while the backlog drains; the removals must be written nevertheless."""

    async def story():
        async with opened(tmp_path / "o.db", settings=PATIENT) as writer:
            await writer.append(alert(1))
            writer.remove((await writer.pending(Lane.ALERT, 0, 10)).records)
            for _ in range(4):
                await writer.load_state("x")
            return on_disk(tmp_path / "o.db")

    assert asyncio.run(story()) == []


def test_state_is_kept(tmp_path):
    async def story():
        async with opened(tmp_path / "o.db") as writer:
            await writer.save_state("alarms", b"abc")
        async with opened(tmp_path / "o.db") as writer:
            return await writer.load_state("alarms"), await writer.load_state("nothing")

    assert asyncio.run(story()) == (b"abc", None)


def test_stats_tell_depth_age_and_latency(tmp_path):
    clock = ManualClock(start_wall_ns=1_700_000_000 * 10**9)

    async def story():
        async with opened(tmp_path / "o.db", clock=clock) as writer:
            await writer.append(alert(1))
            await writer.save_state("x", b"")  # the figures of the alert are in when this has been answered
            clock.advance(30)
            return writer.stats()

    stats = asyncio.run(story())

    assert stats.depth == {Lane.ALERT: 1, Lane.SUMMARY: 0, Lane.READING: 0}
    assert stats.oldest_age_s == {Lane.ALERT: 30}
    assert stats.n_committed == 1
    assert stats.commit_p50_ms is not None
    assert stats.used_bytes > 0


def test_commits_wake_the_listener(tmp_path):
    async def story():
        news = asyncio.Event()
        async with opened(tmp_path / "o.db") as writer:
            writer.on_commit(news.set)
            await writer.append(alert(1))
            await asyncio.wait_for(news.wait(), 10)

    asyncio.run(story())


def test_the_quota_is_told_as_a_notice(tmp_path):
    notices = []
    retention = RetentionSettings(max_bytes=200_000)

    async def story():
        async with opened(tmp_path / "o.db", retention=retention, notices=notices) as writer:
            for k in range(500):
                writer.offer(entry(k, size=900))
                if k % 50 == 49:
                    await writer.load_state("x")  # lets the group be written

    asyncio.run(story())

    assert {notice.trouble for notice in notices} == {Trouble.DISK_FULL}
    assert sum(notice.n_records for notice in notices) > 100


def test_an_alert_that_the_disk_refuses_is_held_until_it_is_durable(tmp_path):
    """A disk that fails for a while makes the alert late, not lost, and the operator is told at once."""
    path = tmp_path / "o.db"
    told = asyncio.Event()

    async def story():
        async with opened(path, settings=WriterSettings(group_s=0.01)) as writer:
            writer._on_notice = lambda notice: told.set() if notice.trouble is Trouble.DISK_FAULT else None
            blocker = sqlite3.connect(path, isolation_level=None)
            blocker.execute("BEGIN EXCLUSIVE")  # every commit fails as long as this lasts
            await writer._call(lambda store: store._db.execute("PRAGMA busy_timeout=0"))
            pending = asyncio.create_task(writer.append(alert(1)))
            await asyncio.wait_for(told.wait(), 10)
            assert not pending.done()
            blocker.execute("ROLLBACK")
            blocker.close()
            return await asyncio.wait_for(pending, 10)

    assert asyncio.run(story())
    assert on_disk(path) == [1]


def test_telemetry_that_the_disk_refuses_is_counted_and_announced(tmp_path):
    path = tmp_path / "o.db"

    async def story():
        async with opened(path, settings=WriterSettings(group_s=0.01)) as writer:
            blocker = sqlite3.connect(path, isolation_level=None)
            blocker.execute("BEGIN EXCLUSIVE")
            await writer._call(lambda store: store._db.execute("PRAGMA busy_timeout=0"))
            with pytest.raises(OutboxError):
                await asyncio.wait_for(writer.append(entry(1, Lane.SUMMARY)), 10)
            blocker.execute("ROLLBACK")
            blocker.close()
            await asyncio.wait_for(writer.append(entry(2, Lane.SUMMARY)), 10)
            batch = await writer.pending(Lane.SUMMARY, 0, 10)
            return writer.stats().n_dropped, [json.loads(record.body) for record in batch.records]

    dropped, bodies = asyncio.run(story())

    assert dropped == {"unwritable": 1}
    assert [(body["reason"], body["n"]) for body in bodies if body["schema"] == "gap/1"] == [("unwritable", 1)]


def test_damage_found_while_running_begins_a_new_database(tmp_path):
    """A page that breaks under a running service: told, set aside, and the next alert is kept."""
    path = tmp_path / "o.db"
    notices = []

    async def story():
        async with opened(path, notices=notices) as writer:
            await writer.append(*[alert(k, size=900) for k in range(40)])
            await writer._call(lambda store: store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)"))
            content = bytearray(path.read_bytes())
            page = content.index(b'"number": 20') // 4096
            with path.open("r+b") as file:
                file.seek(page * 4096)
                file.write(bytes(300))
            await writer._call(lambda store: store._db.execute("PRAGMA cache_size=0"))
            with pytest.raises(OutboxError):
                await writer.pending(Lane.ALERT, 0, 100)
            await asyncio.wait_for(writer.append(alert(99)), 10)
            return await numbers(writer, Lane.ALERT)

    found = asyncio.run(story())

    assert found[-1] == 99
    assert len(found) > 20
    assert notices[0].trouble is Trouble.DATABASE_DAMAGED


def test_an_outbox_that_cannot_be_opened_says_why(tmp_path):
    (tmp_path / "file").write_text("")

    async def story():
        await OutboxWriter(tmp_path / "file" / "o.db", SystemClock(), gap_entry).start()

    with pytest.raises(OutboxError):
        asyncio.run(story())


def test_using_it_after_close_is_misuse(tmp_path):
    async def story():
        async with opened(tmp_path / "o.db") as writer:
            pass
        writer.offer(entry(1))

    with pytest.raises(RuntimeError, match="not open"):
        asyncio.run(story())


def test_a_bug_in_the_thread_fails_every_waiter(tmp_path):
    """Whatever ends the thread, nobody waits for ever."""

    async def story():
        async with opened(tmp_path / "o.db") as writer:
            with pytest.raises(OutboxError):
                await asyncio.wait_for(writer._call(lambda store: 1 / 0), 10)
            with pytest.raises(OutboxError):
                await asyncio.wait_for(writer.append(alert(1)), 10)

    asyncio.run(story())


CHILD = """
import asyncio, sys
from pathlib import Path
from edge.clock import SystemClock
from edge.outbox.writer import OutboxWriter, WriterSettings
from tests.fakes.outbox_records import alert, entry, gap_entry

async def main():
    settings = WriterSettings(group_s=0.01)
    writer = OutboxWriter(Path(sys.argv[1]), SystemClock(), gap_entry, settings=settings)
    await writer.start()
    k = int(sys.argv[2])
    async def promise(make, k):
        for sequence in await writer.append(make(k)):
            sys.stdout.write(f"{sequence} {k}\\n")
            sys.stdout.flush()
    from edge.outbox.record import Lane
    while True:
        await asyncio.gather(promise(alert, k), *(promise(lambda n: entry(n, Lane.SUMMARY), k + j) for j in range(1, 8)))
        k += 8

asyncio.run(main())
"""


def test_every_promised_record_survives_kill_9(tmp_path):
    """Ten times killed in the middle of writing: each sequence that was reported is there, with its own content."""
    path = tmp_path / "o.db"
    promised = {}

    for round_ in range(10):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), str(round_ * 1_000_000)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        with child.stdout:
            lines = [child.stdout.readline() for _ in range(20 + 7 * round_)]
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        child.wait(timeout=10)
        for line in lines:
            if line.endswith(b"\n"):
                sequence, number = line.split()
                assert int(sequence) not in promised
                promised[int(sequence)] = int(number)

    async def story():
        async with opened(path) as writer:
            found = {}
            for lane in (Lane.ALERT, Lane.SUMMARY):
                batch = await writer.pending(lane, 0, 100_000)
                found |= {record.sequence: number_of(record.body) for record in batch.records}
            return found

    found = asyncio.run(story())

    assert len(promised) > 300
    assert {sequence: found.get(sequence) for sequence in promised} == promised
