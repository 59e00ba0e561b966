"""What the values of the outbox say of themselves."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from edge.outbox.record import Loss, LossReason, age_s, checksum, losses_by_topic
from tests.fakes.outbox_records import NTP, UNKNOWN, alert, entry, stamp


def test_age_within_one_boot_ignores_the_wall_clock():
    """Somebody sets the clock by a day; a record of ten seconds ago is ten seconds old."""
    then = stamp(0, wall_s=1_700_000_000)
    now = stamp(10, wall_s=1_700_086_410)

    assert age_s(then, now) == 10


def test_age_across_boots_uses_synchronised_wall_clocks():
    then = stamp(500, boot=1, wall_s=1_700_000_000)
    now = stamp(3, boot=2, wall_s=1_700_000_060)

    assert age_s(then, now) == 60


def test_a_boot_in_1970_makes_no_record_half_a_century_old():
    """Without two trusted wall clocks the age across boots is not known, so nothing is claimed."""
    then = stamp(5, boot=1, clock=UNKNOWN, wall_s=12)
    now = stamp(3, boot=2, clock=NTP, wall_s=1_700_000_000)

    assert age_s(then, now) == 0


@given(st.integers(0, 2), st.integers(0, 50))
def test_age_is_never_negative(boot, seconds):
    """Whatever the clocks did, an age is at least nothing."""
    assert age_s(stamp(seconds, boot=boot), stamp(10, boot=1)) >= 0


def test_checksum_covers_everything_a_row_says():
    """A change in any field of entry, stamp or clock changes the checksum."""
    base_entry, base_stamp = entry(1, expiry_s=15), stamp(1)
    base = checksum(7, base_entry, base_stamp)
    changed_clock = dataclasses.replace(base_stamp, clock=UNKNOWN)

    variants = [
        checksum(8, base_entry, base_stamp),
        checksum(7, dataclasses.replace(base_entry, topic="v/other"), base_stamp),
        checksum(7, dataclasses.replace(base_entry, body=b"{}"), base_stamp),
        checksum(7, dataclasses.replace(base_entry, qos=0), base_stamp),
        checksum(7, dataclasses.replace(base_entry, is_retained=True), base_stamp),
        checksum(7, dataclasses.replace(base_entry, expiry_s=16), base_stamp),
        checksum(7, alert(1, topic=base_entry.topic, expiry_s=15), base_stamp),
        checksum(7, base_entry, stamp(2)),
        checksum(7, base_entry, stamp(1, boot=2)),
        checksum(7, base_entry, changed_clock),
    ]

    assert base not in variants
    assert len(set(variants)) == len(variants)


def test_checksum_is_the_same_for_10_and_10_0():
    """SQLite gives real numbers back as floats."""
    assert checksum(1, entry(expiry_s=10), stamp()) == checksum(1, entry(expiry_s=10.0), stamp())


def test_losses_are_joined_by_topic():
    facts = [(3, "v/a", 30), (5, "v/b", 50), (9, "v/a", 90)]

    losses = {loss.topic: loss for loss in losses_by_topic(facts, LossReason.QUOTA)}

    assert losses["v/a"] == Loss(
        topic="v/a",
        reason=LossReason.QUOTA,
        n_records=2,
        first_sequence=3,
        last_sequence=9,
        first_at_ns=30,
        last_at_ns=90,
    )
    assert losses["v/b"].n_records == 1


def test_a_loss_without_sequence_joins_one_that_has_it():
    """Records that never reached the disk have no sequence; joining keeps what is known."""
    unknown = Loss(
        topic="t",
        reason=LossReason.QUEUE_FULL,
        n_records=1,
        first_sequence=None,
        last_sequence=None,
        first_at_ns=5,
        last_at_ns=5,
    )
    known = dataclasses.replace(unknown, first_sequence=4, last_sequence=6, n_records=3)

    joined = unknown.joined(known)

    assert (joined.first_sequence, joined.last_sequence, joined.n_records) == (4, 6, 4)
