"""How old a record is by a clock that nobody trusts, and when that clock is set."""

from __future__ import annotations

from datetime import timedelta

import pytest

from edge.acquisition.gatt import profile_plans as uuids
from edge.acquisition.gatt.current_time import parse_current_time
from edge.acquisition.gatt.date_time import date_time_bytes
from edge.acquisition.gatt.ieee11073 import Number
from edge.acquisition.gatt.thermometer import Temperature, temperature_bytes
from edge.messages import Outgoing
from tests.acquisition.gatt.rig import (
    NOON,
    Rig,
    S,
    at,
    cuff,
    readings,
    reasons,
    tell_time,
)


def test_age_of_a_record_is_counted_by_the_device_own_clock():
    """The cuff's clock is two hours slow, which changes nothing: the record is ten minutes old."""
    rig = Rig("blood_pressure")
    tell_time(rig, NOON - timedelta(hours=2), 0)

    items = cuff(rig, 30, taken_at=at(NOON - timedelta(hours=2, minutes=10)))

    systolic = readings(items)["systolic_mmhg"]
    assert not systolic.is_stored
    assert systolic.measured_at_ns == (30 - 30 - 600) * S
    assert systolic.device_time == "2025-03-14T09:50:00"


def test_old_record_is_history():
    """Measured before the hour for which a pressure may be shown."""
    rig = Rig("blood_pressure")
    tell_time(rig, NOON, 0)

    items = cuff(rig, 5, taken_at=at(NOON - timedelta(minutes=61)))

    assert {item.is_stored for item in readings(items).values()} == {True}


def test_clock_that_is_off_is_set_once_a_link():
    """To the time here; records stamped before and after are both of known age."""
    rig = Rig("blood_pressure")
    tell_time(rig, NOON - timedelta(days=1), 0)

    (write,) = rig.requests(1)
    tell_time(rig, NOON + timedelta(days=-1, seconds=2), 2)  # it does not obey
    before = cuff(rig, 10, taken_at=at(NOON - timedelta(days=1)))
    after = cuff(rig, 70, taken_at=at(NOON + timedelta(seconds=60)))

    assert write.channel == uuids.CURRENT_TIME
    written = parse_current_time(write.data)
    assert written.moment == NOON + timedelta(seconds=1)
    assert written.day_of_week == 5
    assert rig.requests(3) == []
    for items, measured_at_s in ((before, 0), (after, 60)):
        reading = readings(items)["systolic_mmhg"]
        assert (reading.is_stored, reading.measured_at_ns) == (False, measured_at_s * S)


def test_record_stamped_before_the_clock_was_set_keeps_its_age():
    """It lay in the cuff while the clock was set, and says what the clock said then."""
    rig = Rig("blood_pressure")
    tell_time(rig, NOON - timedelta(days=1), 0)
    rig.requests(1)

    items = cuff(rig, 10, taken_at=at(NOON - timedelta(days=1, minutes=5)))

    assert readings(items)["systolic_mmhg"].measured_at_ns == -300 * S
    assert not readings(items)["systolic_mmhg"].is_stored


def test_clock_of_one_link_says_nothing_of_the_next():
    """It may be another device."""
    rig = Rig("blood_pressure")
    tell_time(rig, NOON - timedelta(hours=2), 0)
    rig.decoder.reset("link-lost")

    assert not readings(cuff(rig, 5, taken_at=at(NOON)))["systolic_mmhg"].is_stored
    assert rig.requests(6) == []


def test_clock_is_left_alone_when_it_is_right_or_ours_is_not():
    """A minute is right; a host that does not know the time sets no clocks, but counts ages all the same."""
    right = Rig("blood_pressure")
    tell_time(right, NOON - timedelta(seconds=59), 0)
    unsure = Rig("blood_pressure", wall_time=lambda: None)
    tell_time(unsure, NOON, 0)
    without = Rig("blood_pressure", wall_time=None)
    tell_time(without, NOON, 0)

    assert right.requests(1) == unsure.requests(1) == without.requests(1) == []
    for rig in (unsure, without):
        assert readings(cuff(rig, 5, taken_at=at(NOON - timedelta(hours=2))))["systolic_mmhg"].is_stored


def test_clock_that_was_never_set_is_set():
    """A device that says year 0 does not know the time; what it stamps tells no age, whatever it looks like."""
    rig = Rig("blood_pressure")
    rig.say(uuids.CURRENT_TIME, bytes(10), 0)

    items = cuff(rig, 1, taken_at=at(NOON - timedelta(days=3)))
    (write,) = rig.requests(2)

    assert not readings(items)["systolic_mmhg"].is_stored
    assert write.channel == uuids.CURRENT_TIME


def test_clock_that_shows_no_time_of_any_day_is_set():
    """All ones, as from empty memory: refused, and put right."""
    rig = Rig("blood_pressure")

    refused = rig.say(uuids.CURRENT_TIME, b"\xff" * 7 + b"\x00\x00\x00", 0)

    assert reasons(refused) == ["time"]
    assert [write.channel for write in rig.requests(1)] == [uuids.CURRENT_TIME]


def test_clock_without_current_time_service_is_set_through_date_time():
    """As in A&D's cuffs and scales; with both services the better one is used."""
    old = Rig("blood_pressure")
    old.say(uuids.DATE_TIME, date_time_bytes(at(NOON - timedelta(hours=1))), 0)
    both = Rig("blood_pressure")
    tell_time(both, NOON, 0)
    both.say(uuids.DATE_TIME, date_time_bytes(at(NOON - timedelta(hours=1))), 0)

    assert old.requests(1) == [Outgoing(data=date_time_bytes(at(NOON + timedelta(seconds=1))), channel=uuids.DATE_TIME)]
    assert both.requests(1) == []


def test_record_of_the_future_is_history():
    """A clock that was set back since: nothing says how old it is."""
    rig = Rig("blood_pressure")
    tell_time(rig, NOON, 0)

    items = cuff(rig, 1, taken_at=at(NOON + timedelta(hours=5)))

    assert readings(items)["systolic_mmhg"].is_stored
    assert readings(items)["systolic_mmhg"].measured_at_ns == S


@pytest.mark.parametrize(
    ("age", "is_stored"),
    [
        (timedelta(hours=-5), False),
        (timedelta(hours=-1), False),
        (timedelta(0), False),
        (timedelta(hours=1, minutes=59), False),
        (timedelta(hours=3), True),
        (timedelta(days=30), True),
        (timedelta(days=32), False),
        (timedelta(days=7000), False),
    ],
)
def test_stamp_without_a_readable_clock_is_held_against_ours(age, is_stored):
    """The past month is history; an hour or two is summer time; years are a clock that was never set."""
    reading = readings(cuff(Rig("blood_pressure"), 0, taken_at=at(NOON - age)))["systolic_mmhg"]

    assert reading.is_stored == is_stored
    assert is_stored or reading.measured_at_ns == 0


def test_stamps_tell_the_age_of_each_other():
    """Without any clock: a record older than the newest on the link is as much older, newest first or last."""
    rig = Rig("blood_pressure", wall_time=None)
    hours = (0, -2, -1, 1)

    told = [readings(cuff(rig, k, taken_at=at(NOON + timedelta(hours=hour)))) for k, hour in enumerate(hours)]

    assert [items["systolic_mmhg"].is_stored for items in told] == [False, True, True, False]


def test_clock_that_is_set_back_does_not_make_history_of_everything():
    """The first stamp after it is held to be old, the next goes in step with the time."""
    rig = Rig("thermometer", wall_time=None)

    def warm(at_s, moment):
        data = temperature_bytes(Temperature(temperature=Number(370, -1), taken_at=at(moment)))
        return readings(rig.say(uuids.TEMPERATURE, data, at_s))["body_temperature_c"].is_stored

    before = [warm(60 * k, NOON + timedelta(minutes=k)) for k in range(3)]
    after = [warm(60 * k, NOON + timedelta(hours=-5, minutes=k)) for k in range(3, 6)]

    assert before == [False, False, False]
    assert after == [True, False, False]
