"""The durable queue: what was promised is there, what cannot be kept is announced."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import stat

import pytest

from edge.errors import OutboxError
from edge.outbox.record import Lane, LossReason, Trouble
from edge.outbox.retention import RetentionSettings
from edge.outbox.store import Store
from tests.fakes.outbox_records import alert, entry, gap_entry, number_of, stamp

ALL = 10_000


@pytest.fixture
def open_store(tmp_path):
    """Open the same file again and again; whatever is still open at the end is closed."""
    opened = []

    def make(settings=None, now=None, name="outbox.db"):
        store = Store(tmp_path / name, settings or RetentionSettings(), gap_entry, now or stamp())
        opened.append(store)
        return store

    yield make
    for store in opened:
        with contextlib.suppress(OSError):  # a test closed it already
            store.close()


def read_all(store, lane, now=None):
    return store.pending(lane, 0, ALL, now or stamp()).records


def test_a_record_comes_back_as_it_was_given(open_store):
    store = open_store()
    given = entry(1, Lane.SUMMARY, is_retained=True, expiry_s=90, qos=1)

    (sequence,) = store.append([given], stamp(5)).sequences
    (record,) = read_all(store, Lane.SUMMARY)

    assert record.entry == given
    assert record.sequence == sequence
    assert record.stamp == stamp(5)
    assert record.epoch == store.epoch


def test_records_survive_reopening(open_store):
    store = open_store()
    store.append([alert(k) for k in range(5)], stamp())
    store.close()

    again = open_store()

    assert [number_of(record.body) for record in read_all(again, Lane.ALERT)] == list(range(5))
    assert again.depth()[Lane.ALERT] == 5


def test_sequences_are_never_used_twice(open_store):
    """Not even after everything was removed and the file opened again: a receiver would drop new records as old."""
    store = open_store()
    first = store.append([entry(k) for k in range(10)], stamp()).sequences
    store.append([], stamp(), removed=first)
    store.close()

    second = open_store().append([entry(0)], stamp()).sequences

    assert min(second) > max(first)


def test_epoch_stays_and_boot_counts_up(open_store):
    store = open_store()
    store.close()
    again = open_store()

    assert again.epoch == store.epoch
    assert (store.boot, again.boot) == (1, 2)
    assert again.opening.boot_id == "b-2"


def test_every_database_has_its_own_epoch(open_store):
    assert open_store(name="a.db").epoch != open_store(name="b.db").epoch


def test_the_file_is_for_its_owner_alone(open_store, tmp_path):
    """Health data: no other user of the machine may read them, in the log neither."""
    store = open_store()
    store.append([alert()], stamp())

    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_second_runtime_is_refused(open_store):
    """Two writers would give the same sequence to different records."""
    open_store()

    with pytest.raises(OutboxError, match="in use"):
        open_store()


def test_state_survives_and_damaged_state_is_no_state(open_store, tmp_path):
    store = open_store()
    store.save_state("alarms", b"snapshot")
    store.close()
    again = open_store()
    assert again.load_state("alarms") == b"snapshot"
    again.close()
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        db.execute("UPDATE state SET value=x'00' WHERE key='alarms'")
    db.close()

    assert open_store().load_state("alarms") is None


def test_pending_pages_through_a_lane(open_store):
    store = open_store()
    store.append([entry(k) for k in range(10)], stamp())

    first = store.pending(Lane.READING, 0, 6, stamp())
    second = store.pending(Lane.READING, first.last_sequence, 6, stamp())

    assert [number_of(record.body) for record in (*first.records, *second.records)] == list(range(10))
    assert (first.is_last, second.is_last) == (False, True)


def test_a_damaged_row_is_set_aside_and_announced_while_the_others_go_on(open_store, tmp_path):
    store = open_store()
    sequences = store.append([entry(k) for k in range(5)], stamp()).sequences
    store.close()
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        db.execute("UPDATE record SET body=replace(body, '\"number\": 2', '\"number\": 3') WHERE id=?", (sequences[2],))
    db.close()

    again = open_store()
    batch = again.pending(Lane.READING, 0, ALL, stamp())

    assert [number_of(record.body) for record in batch.records] == [0, 1, 3, 4]
    assert batch.notices[0].trouble is Trouble.ROW_DAMAGED
    (gap,) = read_all(again, Lane.SUMMARY)
    assert json.loads(gap.body) == {
        "schema": "gap/1",
        "topic": "v/reading",
        "reason": "damaged",
        "n": 1,
        "first": sequences[2],
        "last": sequences[2],
    }
    assert again.depth()[Lane.READING] == 4
    again.close()
    with sqlite3.connect(tmp_path / "outbox.db") as db:  # nothing is deleted: the row can be looked at
        assert db.execute("SELECT count(*) FROM damaged").fetchone()[0] == 1
    db.close()


def test_flipped_bits_never_change_a_record_silently(open_store, tmp_path):
    """After any single flipped bit every record delivered is one that was written, and each missing one is announced."""
    store = open_store()
    store.append([alert(k, size=50) for k in range(40)], stamp())
    store.append([entry(k, size=50) for k in range(40)], stamp())
    store.close()
    path = tmp_path / "outbox.db"
    sound = path.read_bytes()
    rng = random.Random(7)
    n_set_aside = 0

    for trial in range(100):
        bits = rng.randrange(len(sound) * 8)
        flipped = bytearray(sound)
        flipped[bits // 8] ^= 1 << (bits % 8)
        path = tmp_path / f"trial-{trial}.db"
        path.write_bytes(flipped)
        try:
            again = open_store(name=path.name)
        except OutboxError:
            continue  # said so, as with a flipped version number
        # The lane of the gaps last: reading a damaged row is what announces it.
        found = {lane: read_all(again, lane) for lane in (Lane.ALERT, Lane.READING, Lane.SUMMARY)}
        delivered = {(r.lane, number_of(r.body)) for lane in (Lane.ALERT, Lane.READING) for r in found[lane]}
        losses = [json.loads(record.body) for record in found[Lane.SUMMARY]]

        # Nothing invented, nothing doubled, and what is missing was announced or its file set aside.
        assert all(
            record.entry in (alert(number_of(record.body), size=50), entry(number_of(record.body), size=50))
            for lane in (Lane.ALERT, Lane.READING)
            for record in found[lane]
        ), bits
        n_missing = 80 - len(delivered)
        was_set_aside = any(notice.trouble is Trouble.DATABASE_DAMAGED for notice in again.opening.notices)
        n_set_aside += was_set_aside
        assert was_set_aside or n_missing == sum(loss["n"] for loss in losses), bits
        again.close()

    assert n_set_aside < 50  # the checksums, not the renaming, carry the day


def test_a_file_that_is_no_database_is_renamed_and_a_new_one_begun(open_store, tmp_path):
    """Renamed aside, never deleted."""
    store = open_store()
    store.save_state("boot", b"41")
    store.close()
    (tmp_path / "outbox.db").write_bytes(b"this is no database" * 1000)

    again = open_store(now=stamp(60))

    (notice,) = again.opening.notices
    assert notice.trouble is Trouble.DATABASE_DAMAGED
    assert again.epoch != store.epoch
    assert again.append([alert(1)], stamp()).sequences
    (aside,) = [path for path in tmp_path.iterdir() if ".damaged-" in path.name]
    assert aside.read_bytes().startswith(b"this is no database")
    # Boots must still sort behind all that were counted, though the counter is lost.
    assert again.boot > 41


def test_readable_records_of_a_damaged_file_are_taken_over(open_store, tmp_path):
    """A broken page in the middle costs what is on it, not the alerts before and behind."""
    store = open_store()
    store.save_state("alarms", b"snapshot")
    store.append([alert(k, size=900) for k in range(60)], stamp(1))
    store.close()
    path = tmp_path / "outbox.db"
    content = bytearray(path.read_bytes())
    page = content.index(b'"number": 30') // 4096
    content[page * 4096 : page * 4096 + 200] = bytes(200)
    path.write_bytes(content)

    again = open_store()

    numbers = {number_of(record.body) for record in read_all(again, Lane.ALERT)}
    assert again.opening.notices[0].trouble is Trouble.DATABASE_DAMAGED
    assert {0, 1, 2, 57, 58, 59} <= numbers
    assert len(numbers) >= 50
    assert again.load_state("alarms") == b"snapshot"
    assert again.boot == 2


@pytest.mark.parametrize("seed", range(20))
def test_a_torn_log_opens_and_keeps_what_came_before(open_store, tmp_path, seed):
    """The write-ahead log cut at any byte is the end of the log, not an error."""
    store = open_store()
    store.append([alert(0)], stamp())
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for k in range(1, 30):
        store.append([alert(k)], stamp())
    copy = tmp_path / "copy.db"
    copy.write_bytes((tmp_path / "outbox.db").read_bytes())
    log = (tmp_path / "outbox.db-wal").read_bytes()
    (tmp_path / "copy.db-wal").write_bytes(log[: random.Random(seed).randrange(len(log))])

    again = open_store(name="copy.db")

    numbers = [number_of(record.body) for record in read_all(again, Lane.ALERT)]
    assert numbers == list(range(len(numbers)))
    assert numbers
    assert again.opening.notices == ()


QUOTA = RetentionSettings(max_bytes=400_000, n_drop_at_once=16)


def test_at_the_quota_readings_give_way_and_every_loss_is_announced(open_store):
    """Ten times more than fits: appends go on, and kept plus announced losses are exactly what was written."""
    store = open_store(QUOTA)
    n_written = 4000

    for k in range(0, n_written, 40):
        store.append([entry(k + j, size=800) for j in range(40)], stamp(k))
    kept = read_all(store, Lane.READING)
    announced = [json.loads(record.body) for record in read_all(store, Lane.SUMMARY)]
    unannounced = store._db.execute("SELECT coalesce(sum(n), 0) FROM loss").fetchone()[0]

    assert len(announced) == 1  # one report waits at a time, so reports do not fill the outbox
    assert announced[0]["reason"] == LossReason.QUOTA
    assert len(kept) + announced[0]["n"] + unannounced == n_written
    assert number_of(kept[-1].body) == n_written - 1
    assert store.used_bytes() <= QUOTA.max_bytes


def test_the_next_report_follows_when_the_first_was_delivered(open_store):
    store = open_store(QUOTA)
    for k in range(0, 2000, 40):
        store.append([entry(k + j, size=800) for j in range(40)], stamp(k))
    (first,) = read_all(store, Lane.SUMMARY)

    store.append([], stamp(3000), removed=[first.sequence])

    (second,) = read_all(store, Lane.SUMMARY)
    n_kept = len(read_all(store, Lane.READING))
    assert json.loads(first.body)["n"] + json.loads(second.body)["n"] + n_kept == 2000


def test_no_alert_is_lost_at_the_quota_while_there_is_telemetry(open_store):
    store = open_store(QUOTA)
    for k in range(0, 600, 40):
        store.append([entry(k + j, size=800) for j in range(40)], stamp())

    for k in range(0, 100, 4):
        store.append([alert(k + j, size=800) for j in range(4)], stamp())

    assert [number_of(record.body) for record in read_all(store, Lane.ALERT)] == list(range(100))


def test_telemetry_never_pushes_out_an_alert(open_store):
    """When only alerts are left, a reading is refused; the alerts stay."""
    store = open_store(QUOTA)
    n_alerts = 0
    while store.used_bytes() < 380_000:
        store.append([alert(n_alerts + k, size=800) for k in range(4)], stamp())
        n_alerts += 4

    with pytest.raises(OutboxError, match="full"):
        store.append([entry(k, size=4000) for k in range(20)], stamp())

    assert len(read_all(store, Lane.ALERT)) == n_alerts
    assert store.depth()[Lane.READING] == 0


def test_a_new_alert_is_taken_even_when_only_alerts_are_left(open_store):
    """The newest alarm matters more than the oldest that nobody fetched; its loss is announced."""
    store = open_store(QUOTA)

    for k in range(0, 600, 4):
        store.append([alert(k + j, size=800) for j in range(4)], stamp(k))

    kept = [number_of(record.body) for record in read_all(store, Lane.ALERT)]
    gaps = [json.loads(record.body) for record in read_all(store, Lane.SUMMARY)]
    unannounced = store._db.execute("SELECT coalesce(sum(n), 0) FROM loss").fetchone()[0]
    assert kept == list(range(600 - len(kept), 600))
    assert sum(gap["n"] for gap in gaps) + unannounced == 600 - len(kept)


def test_after_the_quota_removing_makes_room_again(open_store):
    """A full file system would not even let the deletes commit; a quota does."""
    store = open_store(QUOTA)
    while store.used_bytes() < 390_000:
        store.append([alert(0, size=800)] * 4, stamp())
    records = read_all(store, Lane.ALERT)

    store.append([], stamp(), removed=[record.sequence for record in records])

    assert store.depth()[Lane.ALERT] == 0
    assert store.append([entry(1)], stamp()).sequences


def test_old_readings_go_by_age_and_alerts_never(open_store):
    settings = RetentionSettings(keep_s={Lane.ALERT: None, Lane.SUMMARY: 3600.0, Lane.READING: 60.0})
    store = open_store(settings)
    for lane in Lane:
        store.append([entry(1, lane)], stamp(0, boot=1))
        store.append([entry(2, lane)], stamp(100, boot=1))

    n_pruned = store.prune(stamp(120, boot=1))

    assert n_pruned == 1
    assert [number_of(record.body) for record in read_all(store, Lane.READING)] == [2]
    assert len(read_all(store, Lane.ALERT)) == 2
    gaps = [json.loads(record.body) for record in read_all(store, Lane.SUMMARY) if record.topic == "v/gap"]
    assert [(gap["reason"], gap["n"]) for gap in gaps] == [("age", 1)]


def test_a_failed_append_leaves_nothing_and_no_sequence_is_used_again(open_store):
    """A write that the disk refuses is as if it had not been."""
    store = open_store(RetentionSettings(max_bytes=65_536))
    with pytest.raises(OutboxError):
        store.append([alert(1), alert(2, size=200_000)], stamp())

    sequences = store.append([alert(3)], stamp()).sequences

    assert [number_of(record.body) for record in read_all(store, Lane.ALERT)] == [3]
    assert sequences[0] > 2
    assert store.depth()[Lane.ALERT] == 1


def test_a_newer_layout_is_refused(open_store, tmp_path):
    store = open_store()
    store.close()
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        db.execute("PRAGMA user_version=99")
    db.close()

    with pytest.raises(OutboxError, match="layout 99"):
        open_store()


def test_a_directory_that_cannot_be_made_is_an_outbox_error(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(OutboxError) as caught:
        Store(tmp_path / "file" / "outbox.db", RetentionSettings(), gap_entry, stamp())

    assert caught.value.hint
