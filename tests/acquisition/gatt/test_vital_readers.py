"""Heart rate, oximeter, thermometer, cuff and scale: what the device doubts, repeats or has not measured is never passed on as good."""

from __future__ import annotations

from datetime import timedelta

import pytest

from edge.acquisition.gatt import profile_plans as uuids
from edge.acquisition.gatt.ieee11073 import Number, Special
from edge.acquisition.gatt.pulse_oximeter import (
    DeviceStatus,
    MeasurementStatus,
)
from edge.acquisition.gatt.thermometer import Temperature, temperature_bytes
from edge.acquisition.gatt.weight import NOT_MEASURED, Weight, weight_bytes
from edge.messages import (
    Reading,
    RrIntervals,
)
from tests.acquisition.gatt.rig import (
    INVALID,
    NOON,
    QUESTIONABLE,
    VALID,
    Rig,
    S,
    at,
    changes,
    cuff,
    oximeter,
    readings,
    reasons,
    shown,
    spot,
    strap,
)


def test_strap_gives_rate_energy_and_intervals():
    """Each under its name and unit; the intervals in milliseconds with what the strap feels."""
    items = strap(Rig("heart_rate"), 5, is_contact=True, energy_kj=50, rr_1024=(1024, 1016))

    assert shown(items) == {"heart_rate_bpm": (60.0, VALID), "energy_kj": (50.0, VALID)}
    assert {item.unit for item in readings(items).values()} == {"/min", "kJ"}
    assert RrIntervals(sensor="s", intervals_ms=(1000.0, 992.1875), received_at_ns=5 * S, is_worn=True) in items
    assert readings(items)["heart_rate_bpm"].valid_for_s == 15.0


def test_rate_of_zero_is_no_reading_and_no_asystole():
    """Nothing is claimed of the heart."""
    assert shown(strap(Rig("heart_rate"), heart_rate_bpm=0)) == {"heart_rate_bpm": ("not-measured", INVALID)}


def test_lost_contact_takes_the_value_and_is_told_once():
    """Where it is worn is part of the advice."""
    rig = Rig("heart_rate")
    rig.say(uuids.BODY_SENSOR_LOCATION, b"\x01")
    first = strap(rig, 1, is_contact=True)

    lost = strap(rig, 2, is_contact=False, heart_rate_bpm=255)
    still = strap(rig, 3, is_contact=False, heart_rate_bpm=255)
    again = strap(rig, 4, is_contact=True)

    assert changes(first) == [("sensor-off", False, "")]
    assert changes(lost) == [("sensor-off", True, "no skin contact at the chest")]
    assert shown(lost) == {"heart_rate_bpm": ("sensor-off", INVALID)}
    assert [item.is_worn for item in lost if isinstance(item, RrIntervals)] == [False]
    assert changes(still) == []
    assert changes(again) == [("sensor-off", False, "")]


def test_strap_that_cannot_feel_the_skin_says_nothing_of_it():
    """The contact bit alone means nothing, and neither does its absence."""
    items = Rig("heart_rate").say(uuids.HEART_RATE, bytes.fromhex("02 50"))

    assert changes(items) == []
    assert shown(items) == {"heart_rate_bpm": (80.0, VALID)}


def test_intervals_that_come_twice_count_once():
    """The same notification within 50 ms is one; a second later it is another."""
    rig = Rig("heart_rate")
    strap(rig, 1.0, rr_1024=(1024,))

    twice = strap(rig, 1.02, rr_1024=(1024,))
    later = strap(rig, 2.0, rr_1024=(1024,))

    assert reasons(twice) == ["duplicate"]
    assert not readings(twice)
    assert [type(item) for item in later] == [Reading, RrIntervals]


def test_oximeter_gives_the_usual_averages():
    """Fast and slow ones are not shown: alarms and scores are made for the usual one."""
    items = oximeter(Rig("oximeter"), fast=(Number(90), Number(99)), amplitude_pct=Number(150, -2))

    assert shown(items) == {
        "spo2_pct": (97.0, VALID),
        "pulse_rate_bpm": (80.0, VALID),
        "perfusion_index_pct": (1.5, VALID),
    }


OFF = {11: "sensor-off", 13: "sensor-off", 15: "sensor-off"}
BROKEN = {1: "device-error", 12: "device-error", 14: "device-error"}
DOUBTFUL = (3, 4, 5, 6, 8, 10)


@pytest.mark.parametrize("bit", range(24))
def test_every_device_status_bit_of_an_oximeter(bit):
    """Off and broken have no value and raise a condition; doubt marks the value; the rest changes nothing."""
    absent = (OFF | BROKEN | {7: "signal-poor"}).get(bit)

    items = oximeter(Rig("oximeter"), device=1 << bit)

    status = INVALID if absent else QUESTIONABLE if bit in DOUBTFUL else VALID
    assert shown(items) == {"spo2_pct": (absent or 97.0, status), "pulse_rate_bpm": (absent or 80.0, status)}
    active = [condition for condition, is_active, _ in changes(items) if is_active]
    assert active == ([(OFF | BROKEN)[bit]] if bit in OFF | BROKEN else [])


@pytest.mark.parametrize("bit", range(16))
def test_every_measurement_status_bit_of_an_oximeter(bit):
    """Invalid, unavailable and demonstrated values are none; early, calibrating and questionable ones are doubtful."""
    absent = {10: "not-measured", 11: "not-measured", 13: "not-measured", 15: "invalid"}.get(bit)

    items = oximeter(Rig("oximeter"), measurement=1 << bit)

    status = INVALID if absent else QUESTIONABLE if bit in {6, 12, 14} else VALID
    assert shown(items)["spo2_pct"] == (absent or 97.0, status)
    assert {item.is_stored for item in readings(items).values()} == {bit == 9}


def test_unknown_probe_is_a_technical_matter_and_no_desaturation():
    """The vector of the table: no numbers, device error."""
    items = Rig("oximeter").say(uuids.OXIMETRY_CONTINUOUS, bytes.fromhex("08 FF 07 FF 07 00 10 00"))

    assert shown(items)["spo2_pct"] == ("device-error", INVALID)
    assert ("device-error", True, "unknown sensor") in changes(items)


def test_probe_off_begins_and_ends():
    """Told at each change, though the status comes every second; a number without any status ends it."""
    rig = Rig("oximeter")
    told = [
        changes(oximeter(rig, 1, device=0)),
        changes(oximeter(rig, 2, device=DeviceStatus.UNCONNECTED_TO_USER)),
        changes(oximeter(rig, 3, device=DeviceStatus.UNCONNECTED_TO_USER)),
        changes(oximeter(rig, 4)),
        changes(oximeter(rig, 5)),
    ]

    assert told == [
        [("sensor-off", False, ""), ("device-error", False, "")],
        [("sensor-off", True, "unconnected to user")],
        [],
        [("sensor-off", False, "")],
        [],
    ]


def test_demonstration_is_told():
    """An oximeter left in demonstration mode would else only be silent."""
    rig = Rig("oximeter")

    on = oximeter(rig, 1, measurement=MeasurementStatus.DEMONSTRATION)
    off = oximeter(rig, 2, measurement=0)

    assert ("demonstration", True, "demonstration") in changes(on)
    assert ("demonstration", False, "") in changes(off)


@pytest.mark.parametrize(
    ("number", "absent"),
    [
        (Number.none(), "not-a-number"),
        (Number.none(Special.NRES), "device-error"),
        (Number.none(Special.PLUS_INFINITY), "out-of-range"),
        (Number(0), "not-measured"),
        (Number(-1), "not-measured"),
        (Number(127), "out-of-range"),
        (Number(1001, -1), "out-of-range"),
    ],
)
def test_saturation_that_is_none(number, absent):
    """Not a number, 0 without a finger, 127 of older oximeters: no value, and the pulse rate stands."""
    items = oximeter(Rig("oximeter"), spo2_pct=number)

    assert shown(items) == {"spo2_pct": (absent, INVALID), "pulse_rate_bpm": (80.0, VALID)}


@pytest.mark.parametrize("pulse", [255, 511])
def test_pulse_of_no_finger_is_none(pulse):
    """127 and 255, or 127 and 511, are what modules say of nothing; 255 beside a saturation is a pulse."""
    nothing = oximeter(Rig("oximeter"), spo2_pct=Number(127), pulse_rate_bpm=Number(pulse))
    fast = oximeter(Rig("oximeter"), spo2_pct=Number(97), pulse_rate_bpm=Number(255))

    assert shown(nothing)["pulse_rate_bpm"] == ("out-of-range", INVALID)
    assert shown(fast)["pulse_rate_bpm"] == (255.0, VALID)


def test_spot_check_from_memory_is_history():
    """Whatever its stamp says; and what the probe was doing then is not told as of now."""
    rig = Rig("oximeter")

    items = spot(
        rig,
        measurement=MeasurementStatus.FROM_STORAGE,
        taken_at=at(NOON),
        device_status=DeviceStatus.DISCONNECTED,
    )

    assert {item.is_stored for item in readings(items).values()} == {True}
    assert changes(items) == []
    assert readings(items)["spo2_pct"].device_time == "2025-03-14T12:00:00"


def test_spot_check_beside_continuous_values_lives_no_longer_than_they_do():
    """Alone it counts for an hour; an oximeter that sends both may lose its finger the next second."""
    alone, beside = Rig("oximeter"), Rig("oximeter")
    oximeter(beside, 1)

    assert readings(spot(alone, 2))["spo2_pct"].valid_for_s == 3600.0
    assert readings(spot(beside, 2))["spo2_pct"].valid_for_s == 15.0


def test_stamp_of_a_clock_that_is_not_set_means_nothing():
    """The device says so itself."""
    items = spot(Rig("oximeter"), taken_at=at(NOON - timedelta(days=3)), is_clock_set=False)

    assert readings(items)["spo2_pct"].device_time is None
    assert not readings(items)["spo2_pct"].is_stored


def test_temperature_in_fahrenheit_is_shown_in_celsius():
    """Converted once, at the boundary."""
    items = Rig("thermometer").say(uuids.TEMPERATURE, bytes.fromhex("01 DA 03 00 FF"))

    assert shown(items) == {"body_temperature_c": (37.0, VALID)}


def test_intermediate_temperature_is_no_temperature_yet():
    """It stands for how far the thermometer is, not for the patient."""
    measured = temperature_bytes(Temperature(temperature=Number(312, -1)))

    items = Rig("thermometer").say(uuids.INTERMEDIATE_TEMPERATURE, measured)

    assert shown(items) == {"body_temperature_c": ("measuring", INVALID)}


def test_new_measurement_leaves_the_last_temperature_until_it_is_done():
    """A value does not come and go with every second of a thermometer that sends both."""
    rig = Rig("thermometer")
    rig.say(uuids.TEMPERATURE, temperature_bytes(Temperature(temperature=Number(370, -1))), 1)

    settling = temperature_bytes(Temperature(temperature=Number(312, -1)))
    now = rig.say(uuids.INTERMEDIATE_TEMPERATURE, settling, 2)
    rig.decoder.reset("link-lost")
    next_link = rig.say(uuids.INTERMEDIATE_TEMPERATURE, settling, 3)

    assert now == []
    assert shown(next_link) == {"body_temperature_c": ("measuring", INVALID)}


def test_temperature_of_a_patch_lives_for_minutes_and_one_taken_by_hand_for_an_hour():
    """A patch that falls silent has come off; the next link begins anew."""
    rig = Rig("thermometer")
    data = temperature_bytes(Temperature(temperature=Number(370, -1)))

    def valid_for_s(at_s):
        return readings(rig.say(uuids.TEMPERATURE, data, at_s))["body_temperature_c"].valid_for_s

    lives_s = [valid_for_s(at_s) for at_s in (0, 60, 70, 131)]
    rig.decoder.reset("link-lost")

    assert lives_s == [3600.0, 180.0, 180.0, 3600.0]
    assert valid_for_s(140) == 3600.0


def test_thermometer_without_clock_may_send_the_same_every_second():
    """It is no repeat."""
    rig = Rig("thermometer")
    data = temperature_bytes(Temperature(temperature=Number(370, -1)))

    items = rig.say(uuids.TEMPERATURE, data, 1) + rig.say(uuids.TEMPERATURE, data, 2)

    assert len(readings(items)) == 1
    assert reasons(items) == []


def test_cuff_gives_pressures_for_an_hour_and_a_pulse_for_a_minute():
    """An hour-old pulse must not stand for the one of now."""
    items = readings(cuff(Rig("blood_pressure"), pulse_rate_bpm=Number(72)))

    assert {measure: (item.value, item.unit, item.valid_for_s) for measure, item in items.items()} == {
        "systolic_mmhg": (120.0, "mm[Hg]", 3600.0),
        "diastolic_mmhg": (80.0, "mm[Hg]", 3600.0),
        "mean_pressure_mmhg": (93.0, "mm[Hg]", 3600.0),
        "pulse_rate_bpm": (72.0, "/min", 60.0),
    }


def test_cuff_in_kilopascal():
    """18.9 kPa is 141.8 mmHg, as the flag says, not 18.9 mmHg."""
    items = Rig("blood_pressure").say(uuids.BLOOD_PRESSURE, bytes.fromhex("01 BD F0 0B 00 9F F0"))

    assert readings(items)["systolic_mmhg"].value == pytest.approx(141.7617, abs=1e-4)
    assert readings(items)["mean_pressure_mmhg"].value == pytest.approx(119.2599, abs=1e-4)


@pytest.mark.parametrize(
    ("bit", "pressure", "pulse"),
    [
        (0, QUESTIONABLE, QUESTIONABLE),
        (1, QUESTIONABLE, QUESTIONABLE),
        (2, QUESTIONABLE, QUESTIONABLE),
        (3, VALID, QUESTIONABLE),
        (4, VALID, QUESTIONABLE),
        (5, QUESTIONABLE, QUESTIONABLE),
        (6, VALID, VALID),
    ],
)
def test_every_status_bit_of_a_cuff(bit, pressure, pulse):
    """Movement, fit, rhythm and position put all in doubt, a pulse out of range only itself."""
    items = readings(cuff(Rig("blood_pressure"), status=1 << bit, pulse_rate_bpm=Number(60)))

    assert (items["systolic_mmhg"].status, items["pulse_rate_bpm"].status) == (pressure, pulse)


def test_cuff_without_result_has_reasons_and_one_without_mean_has_none():
    """All NaN is a failed measurement; NaN for the mean alone is a cuff that does not know it."""
    nan = Number.none()
    failed = cuff(Rig("blood_pressure"), systolic=nan, diastolic=nan, mean=nan)
    no_mean = cuff(Rig("blood_pressure"), mean=nan)

    assert shown(failed) == dict.fromkeys(("systolic_mmhg", "diastolic_mmhg"), ("not-a-number", INVALID))
    assert set(shown(no_mean)) == {"systolic_mmhg", "diastolic_mmhg"}


def test_inflating_cuff_has_no_pressure_yet():
    """What the cuff is at is no pressure of the patient."""
    items = cuff(Rig("blood_pressure"), channel=uuids.INTERMEDIATE_PRESSURE, systolic=Number(163))

    assert shown(items)["systolic_mmhg"] == ("measuring", INVALID)


def test_cuff_sent_twice_counts_once():
    """Without a stamp within 5 s; with one whenever it comes."""
    rig = Rig("blood_pressure")
    stamped = {"taken_at": at(NOON)}

    told = [
        reasons(cuff(rig, 1)),
        reasons(cuff(rig, 3)),
        reasons(cuff(rig, 60)),
        reasons(cuff(rig, 61, **stamped)),
        reasons(cuff(rig, 300, **stamped)),
    ]

    assert told == [[], ["duplicate"], [], [], ["duplicate"]]


def test_person_of_a_shared_device():
    """Others who are known are dropped and counted; unknown ones and devices without users are not."""
    rig = Rig("blood_pressure", "weight", user=1)

    told = [reasons(cuff(rig, 10 * user, user=user)) for user in (1, 2, 255)]
    weighed = rig.say(uuids.WEIGHT, weight_bytes(Weight(mass_steps=14000, user=2)))

    assert told == [[], ["other-user"], []]
    assert reasons(weighed) == ["other-user"]
    assert rig.decoder.counters.n_corrupt == {"other-user": 2}


def test_scale_gives_mass_height_and_index():
    """In kilograms and metres, for a day."""
    data = bytes.fromhex("0C B0 36 05 F5 00 D6 06")

    items = Rig("weight").say(uuids.WEIGHT, data)

    assert shown(items) == {"body_mass_kg": (70.0, VALID), "height_m": (1.75, VALID), "bmi_kg_m2": (24.5, VALID)}
    assert readings(items)["body_mass_kg"].valid_for_s == 86400.0


def test_weighing_that_failed_has_a_reason():
    """65535 steps are no 327 kg."""
    items = Rig("weight").say(uuids.WEIGHT, weight_bytes(Weight(mass_steps=NOT_MEASURED)))

    assert shown(items) == {"body_mass_kg": ("not-measured", INVALID)}
