"""Glucose meters and continuous sensors: records of now and of long ago, each once, and what is asked of the device."""

from __future__ import annotations

from datetime import timedelta

import pytest

from edge.acquisition.gatt import profile_plans as uuids
from edge.acquisition.gatt.cgm import (
    CgmFeatures,
    CgmSessionStart,
    CgmState,
    CgmStatus,
    cgm_features_bytes,
    cgm_session_start_bytes,
    cgm_state_bytes,
)
from edge.acquisition.gatt.glucose import CONTROL_SOLUTION, GlucoseStatus
from edge.acquisition.gatt.ieee11073 import Number
from edge.messages import (
    Outgoing,
    Reading,
)
from tests.acquisition.gatt.rig import (
    INVALID,
    NOON,
    QUESTIONABLE,
    VALID,
    Rig,
    S,
    at,
    cgm,
    changes,
    meter,
    readings,
    reasons,
    shown,
    tell_time,
)

ALL_RECORDS = Outgoing(data=b"\x01\x01", channel=uuids.RECORD_ACCESS)


def test_meter_is_asked_for_its_records():
    """It does not send them by itself."""
    assert Rig("glucose").decoder.greeting() == [ALL_RECORDS]
    assert Rig("heart_rate").decoder.greeting() == []


def test_records_are_history_but_for_the_one_of_now():
    """By the meter's own clock; both concentrations are in mmol/L."""
    rig = Rig("glucose")
    tell_time(rig, NOON, 0)
    rig.decoder.greeting()

    old = readings(meter(rig, 1, 1, age_min=600))["glucose_mmol_l"]
    new = readings(meter(rig, 2, 1, age_min=2, concentration=Number(55, -4), is_molar=True))["glucose_mmol_l"]

    assert (old.is_stored, new.is_stored) == (True, False)
    assert (old.value, new.value) == (pytest.approx(6.6607, abs=1e-4), 5.5)
    assert old.device_time == "2025-03-14T02:00:00"
    assert new.measured_at_ns == (1 - 120 - 1) * S


def test_records_of_a_meter_without_clock_are_history_until_it_has_answered():
    """What comes on request is stored, unless our clock puts it near now; what comes later by itself is of now."""
    rig = Rig("glucose", wall_time=None)
    knowing = Rig("glucose")
    for each in (rig, knowing):
        each.decoder.greeting()

    asked = readings(meter(rig, 1, 1, age_min=30))["glucose_mmol_l"]
    rig.say(uuids.RECORD_ACCESS, bytes.fromhex("06 00 01 01"), 2)
    live = readings(meter(rig, 2, 3))["glucose_mmol_l"]
    near = readings(meter(knowing, 1, 1, age_min=30))["glucose_mmol_l"]

    assert (asked.is_stored, live.is_stored, near.is_stored) == (True, False, False)


def test_request_that_was_never_answered_does_not_make_history_of_what_comes_later():
    """Half a minute after its last record a meter is done, whether it says so or not."""
    rig = Rig("glucose", wall_time=None)
    rig.decoder.greeting()

    told = [readings(meter(rig, k, at_s))["glucose_mmol_l"].is_stored for k, at_s in enumerate((1, 30, 61, 62))]

    assert told == [True, True, False, False]


def test_state_of_long_ago_is_not_told_as_of_now():
    """The battery was low when the old record was made."""
    rig = Rig("glucose")
    tell_time(rig, NOON, 0)

    assert changes(meter(rig, 1, 1, age_min=600, status=GlucoseStatus.BATTERY_LOW)) == []


def test_records_that_come_again_count_once():
    """Twice over one link is told; again after a connection is as asked, and only counted."""
    rig = Rig("glucose")
    meter(rig, 1, 1)

    twice = meter(rig, 1, 2)
    rig.decoder.reset("link-lost")
    again = meter(rig, 1, 3)
    other = meter(rig, 1, 4, age_min=60)

    assert reasons(twice) == ["duplicate"]
    assert again == []
    assert set(readings(other)) == {"glucose_mmol_l"}
    assert rig.decoder.counters.n_corrupt == {"duplicate": 2}


@pytest.mark.parametrize(
    ("bit", "absent", "status"),
    [
        (0, None, VALID),
        (1, "device-error", INVALID),
        (2, "not-measured", INVALID),
        (3, "not-measured", INVALID),
        (4, "not-measured", INVALID),
        (5, "out-of-range", INVALID),
        (6, "out-of-range", INVALID),
        (7, None, QUESTIONABLE),
        (8, None, QUESTIONABLE),
        (9, "not-measured", INVALID),
        (10, "device-error", INVALID),
        (11, None, VALID),
    ],
)
def test_every_status_bit_of_a_meter(bit, absent, status):
    """A strip without enough blood has no glucose; the meter's battery and faults are conditions."""
    items = meter(Rig("glucose"), 1, status=1 << bit)

    reading = readings(items)["glucose_mmol_l"]
    assert (reading.absent, reading.status) == (absent, status)
    active = [condition for condition, is_active, _ in changes(items) if is_active]
    assert active == {0: ["battery-low"], 1: ["device-error"], 10: ["device-error"]}.get(bit, [])


def test_control_solution_is_nobody():
    """A test of the meter, by type or by location."""
    for origin in ({"sample_type": CONTROL_SOLUTION}, {"sample_location": 4}):
        assert shown(meter(Rig("glucose"), 1, **origin)) == {"glucose_mmol_l": ("not-measured", INVALID)}


def test_meter_that_does_not_answer_is_asked_again():
    """After half a minute, three times in all; then it is left in peace."""
    rig = Rig("glucose", wall_time=None)
    rig.decoder.greeting()

    asked = [at_s for at_s in range(1, 200) if rig.requests(at_s)]

    assert asked == [31, 61]


def test_meter_that_answers_is_not_asked_again():
    """No records is an answer too."""
    rig = Rig("glucose")
    rig.decoder.greeting()
    rig.say(uuids.RECORD_ACCESS, bytes.fromhex("06 00 01 06"), 1)

    assert [rig.requests(at_s) for at_s in range(2, 100)] == [[]] * 98


def test_meter_that_refuses_is_told():
    """Nobody should wait for records that will not come."""
    rig = Rig("glucose")
    rig.decoder.greeting()

    assert reasons(rig.say(uuids.RECORD_ACCESS, bytes.fromhex("06 00 01 02"), 1)) == ["records-refused"]
    assert rig.requests(100) == []
    assert reasons(rig.say(uuids.RECORD_ACCESS, bytes.fromhex("06 00 02 01"), 101)) == ["unasked"]


def test_continuous_glucose_is_of_now():
    """In mmol/L, for a quarter of an hour, with the sensor's time where the session's beginning is known."""
    rig = Rig("cgm")
    began = CgmSessionStart(started_at=at(NOON - timedelta(hours=10)))
    rig.say(uuids.CGM_SESSION_START, cgm_session_start_bytes(began))

    reading = readings(cgm(rig, 600))["glucose_mmol_l"]

    assert (reading.value, reading.valid_for_s) == (pytest.approx(5.9947, abs=1e-4), 900.0)
    assert (reading.is_stored, reading.device_time) == (False, "2025-03-14T12:00:00")


def test_missed_values_are_asked_for_and_are_history():
    """At first the last one only; after a break all since; as old as the session is longer."""
    rig = Rig("cgm")
    first = rig.decoder.greeting()
    rig.say(uuids.CGM_STATUS, cgm_state_bytes(CgmState(offset_min=600, status=CgmStatus(0))), 0)
    last = cgm(rig, 597, at_s=1)
    rig.decoder.reset("link-lost")
    second = rig.decoder.greeting()
    rig.say(uuids.CGM_STATUS, cgm_state_bytes(CgmState(offset_min=660, status=CgmStatus(0))), 3600)

    missed = cgm(rig, 602, 657, at_s=3601)

    assert [write.data for write in first + second] == [b"\x01\x06", bytes.fromhex("01 03 01 56 02")]
    assert readings(last)["glucose_mmol_l"].measured_at_ns == (1 - 180 - 1) * S
    assert [(item.is_stored, item.measured_at_ns // S) for item in missed if isinstance(item, Reading)] == [
        (True, 3600 - 58 * 60),
        (False, 3600 - 180),
    ]


def test_record_sent_twice_counts_once():
    """A value with one new record of two is news; one with none is a duplicate."""
    rig = Rig("cgm")
    cgm(rig, 10)

    partly = cgm(rig, 10, 15)
    wholly = cgm(rig, 10, 15)

    assert len([item for item in partly if isinstance(item, Reading)]) == 1
    assert reasons(wholly) == ["duplicate"]


def test_check_sum_that_is_promised_must_be_there():
    """A sensor that uses check sums always does."""
    rig = Rig("cgm")
    rig.say(uuids.CGM_FEATURES, cgm_features_bytes(CgmFeatures.CRC))

    assert reasons(cgm(rig, 5)) == ["crc"]
    assert set(readings(cgm(rig, 5, has_crc=True))) == {"glucose_mmol_l"}


@pytest.mark.parametrize(
    ("status", "absent", "doubt"),
    [
        (CgmStatus.SESSION_STOPPED, "not-measured", INVALID),
        (CgmStatus.SENSOR_TYPE_INCORRECT, "device-error", INVALID),
        (CgmStatus.SENSOR_MALFUNCTION, "device-error", INVALID),
        (CgmStatus.DEVICE_FAULT, "device-error", INVALID),
        (CgmStatus.BELOW_RANGE, "out-of-range", INVALID),
        (CgmStatus.ABOVE_RANGE, "out-of-range", INVALID),
        (CgmStatus.CALIBRATION_REQUIRED, None, QUESTIONABLE),
        (CgmStatus.TEMPERATURE_TOO_HIGH, None, QUESTIONABLE),
        (CgmStatus.TEMPERATURE_TOO_LOW, None, QUESTIONABLE),
        (CgmStatus.CALIBRATION_RECOMMENDED, None, VALID),
        (CgmStatus.HYPO, None, VALID),
        (CgmStatus.BATTERY_LOW, None, VALID),
    ],
)
def test_status_of_a_continuous_sensor(status, absent, doubt):
    """What a sensor cannot measure has no value; that glucose is low is a value."""
    reading = readings(cgm(Rig("cgm"), 5, status=status))["glucose_mmol_l"]

    assert (reading.absent, reading.status) == (absent, doubt)


def test_conditions_of_a_continuous_sensor_begin_and_end():
    """Status and records speak of the same thing: the later word counts."""
    rig = Rig("cgm")
    began = rig.say(
        uuids.CGM_STATUS,
        cgm_state_bytes(CgmState(offset_min=5, status=CgmStatus.BATTERY_LOW | CgmStatus.SESSION_STOPPED)),
    )

    ended = cgm(rig, 6)

    assert [(name, is_active) for name, is_active, _ in changes(began)] == [
        ("device-error", False),
        ("battery-low", True),
        ("session-stopped", True),
    ]
    assert [(name, is_active) for name, is_active, _ in changes(ended)] == [
        ("battery-low", False),
        ("session-stopped", False),
    ]
