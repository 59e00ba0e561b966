"""What every Bluetooth health sensor has in common: battery, identity, the plan, and that no bytes can harm."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.gatt import profile_plans as uuids
from edge.acquisition.gatt.plan import assigned
from edge.acquisition.gatt.profiles import ProfileDecoder, ProfileSettings, profile_plan
from edge.messages import (
    Chunk,
    Corrupt,
    Reading,
    SensorIdentity,
)
from tests.acquisition.gatt.rig import (
    INVALID,
    NOON,
    Rig,
    S,
    changes,
    readings,
    reasons,
    strap,
)
from tests.acquisition.gatt.test_vectors import mutated
from tests.acquisition.gatt.vectors import VALID as VALID_VECTORS


def test_low_battery_begins_at_10_and_ends_at_15():
    """Each level is a reading; the condition carries the level, so that one nearly empty is known as such."""
    rig = Rig("heart_rate")

    told = [changes(rig.say(uuids.BATTERY, bytes([level]))) for level in (50, 11, 10, 10, 3, 12, 14, 15, 11)]

    assert told == [
        [("battery-low", False, "")],
        [],
        [("battery-low", True, "10")],
        [],
        [("battery-low", True, "3")],
        [("battery-low", True, "12")],
        [("battery-low", True, "14")],
        [("battery-low", False, "")],
        [],
    ]


def test_battery_is_a_reading_of_an_hour():
    """In percent; above 100 it is none."""
    rig = Rig("heart_rate")

    (reading,) = readings(rig.say(uuids.BATTERY, b"\x40")).values()

    assert (reading.measure, reading.value, reading.unit, reading.valid_for_s) == ("battery_pct", 64.0, "%", 3600.0)
    assert reasons(rig.say(uuids.BATTERY, b"\x65")) == ["value"]


def test_condition_that_a_device_still_has_is_told_again_on_the_next_link():
    """And one that ended while the link was down is told to have ended."""
    still, ended = Rig("heart_rate"), Rig("heart_rate")
    for rig in (still, ended):
        rig.say(uuids.BATTERY, b"\x05")
        rig.decoder.reset("link-lost")

    assert changes(still.say(uuids.BATTERY, b"\x05")) == [("battery-low", True, "5")]
    assert changes(ended.say(uuids.BATTERY, b"\x64")) == [("battery-low", False, "")]


def test_identity_is_told_once_it_is_together_and_when_it_changes():
    """Before the first other value; the serial number says who it is, else the system id."""
    rig = Rig("heart_rate")
    texts = {
        uuids.MANUFACTURER: b"Polar Electro Oy\x00",
        uuids.MODEL: b"H10",
        uuids.SYSTEM_ID: bytes.fromhex("0102030405AABBCC"),
        uuids.HARDWARE: b"00760690.03",
        uuids.FIRMWARE: b"5.0.0",
    }
    silent = [item for channel, data in texts.items() for item in rig.say(channel, data)]

    first = strap(rig, 1)
    second = strap(rig, 2)
    rig.say(uuids.SERIAL, b"0123456789ABCDEF ")
    third = strap(rig, 3)

    assert silent == []
    assert first[0] == SensorIdentity(
        sensor="s",
        device_id="ccbbaa0504030201",
        model="Polar Electro Oy H10",
        firmware="5.0.0",
        boot_id=0,
        streams=(),
        at_ns=S,
    )
    assert not [item for item in second if isinstance(item, SensorIdentity)]
    assert third[0] == replace(first[0], device_id="0123456789ABCDEF", at_ns=3 * S)


def test_plan_of_a_profile():
    """What tells the identity, the clock and the battery belongs to every profile."""
    plan = profile_plan(["cgm"])

    assert plan.services == (assigned(0x181F),)
    assert plan.required == (uuids.CGM,)
    assert plan.needs_bond
    assert {uuids.CGM, uuids.RECORD_ACCESS, uuids.BATTERY, uuids.CURRENT_TIME} == set(plan.subscribe)
    assert {*uuids.DEVICE_INFORMATION, uuids.CURRENT_TIME, uuids.BATTERY, uuids.CGM_STATUS} < set(plan.read)


def test_oximeter_needs_neither_of_its_two_characteristics():
    """Most send either spot checks or continuous values: a plan's required ones must all be there."""
    plan = profile_plan(["oximeter"])

    assert plan.required == ()
    assert set(plan.subscribe) >= {uuids.OXIMETRY_CONTINUOUS, uuids.OXIMETRY_SPOT}


def test_plan_of_several_profiles_names_nothing_twice():
    """One device, one plan."""
    plan = profile_plan(["glucose", "cgm", "blood_pressure", "thermometer", "weight"])

    for names in (plan.services, plan.subscribe, plan.read, plan.required):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("profiles", [(), ("heart-rate",), ("heart_rate", "ecg")])
def test_unknown_profile_is_misuse(profiles):
    """With the names there are."""
    with pytest.raises(ValueError, match="expected one or more of heart_rate, oximeter"):
        profile_plan(profiles)
    with pytest.raises(ValueError, match="expected one or more of heart_rate, oximeter"):
        ProfileSettings(sensor="s", profiles=profiles)


def test_value_of_another_profile_is_counted_and_not_read():
    """By the short number of its characteristic, or 0."""
    rig = Rig("heart_rate")

    items = rig.say(uuids.OXIMETRY_CONTINUOUS, bytes(5)) + rig.say("fb005c82-02e7-f387-1cad-8acd2d8df0c8", b"1")

    assert items == []
    assert rig.decoder.counters.n_unknown_types == {0x2A5F: 1, 0: 1}


def test_refused_value_says_where_it_was():
    """By the bytes since the link began; valid values are counted."""
    rig = Rig("heart_rate")
    strap(rig)

    (corrupt,) = rig.say(uuids.HEART_RATE, b"\x10\x3c\x00")

    assert corrupt == Corrupt(reason="length", offset=2, n_bytes=3)
    assert (rig.decoder.counters.n_frames, rig.decoder.counters.n_corrupt) == (1, {"length": 1})


@pytest.mark.long
def test_a_quarter_of_a_million_mutated_values_through_the_decoder():
    """Fixed seed: valid values with bits turned, of every characteristic, over links that come and go."""
    rng = random.Random(1822)
    decoder = ProfileDecoder(ProfileSettings(sensor="s", profiles=EVERY, wall_time=lambda: NOON))
    seeds = [(assigned(int(vector.name, 16)), vector.data) for vector in VALID_VECTORS]
    n_readings = 0
    for k in range(250_000):
        channel, data = seeds[rng.randrange(len(seeds))]
        chunk = Chunk(data=mutated(rng, data), received_at_ns=k * S // 10, channel=channel)
        items = decoder.push(chunk)
        if k % 50 == 0:
            decoder.requests(k * S // 10)
        if k % 5000 == 4999:
            decoder.reset("link-lost")
            decoder.greeting()
        for item in items:
            if isinstance(item, Reading):
                n_readings += 1
                assert (item.value is None) == (item.absent is not None)
                assert item.value is None or math.isfinite(item.value)

    assert n_readings > 10_000


EVERY = ("heart_rate", "oximeter", "thermometer", "blood_pressure", "weight", "glucose", "cgm")
CHANNELS = [*profile_plan(EVERY).subscribe, *profile_plan(EVERY).read, "", "nonsense"]


@given(st.lists(st.tuples(st.sampled_from(CHANNELS), st.binary(max_size=30), st.integers(-(1 << 62), 1 << 62))))
def test_any_values_give_items_with_a_value_or_a_reason(chunks):
    """Invariant: no exception; a reading has a value or a reason; what is refused is told and counted."""
    decoder = ProfileDecoder(ProfileSettings(sensor="s", profiles=EVERY, wall_time=lambda: NOON))
    items = []
    for channel, data, at_ns in chunks:
        items += decoder.push(Chunk(data=data, received_at_ns=at_ns, channel=channel))
        decoder.requests(at_ns)

    for item in items:
        if isinstance(item, Reading):
            assert (item.value is None) == (item.absent is not None) == (item.status is INVALID)
    assert len(reasons(items)) == sum(decoder.counters.n_corrupt.values())
