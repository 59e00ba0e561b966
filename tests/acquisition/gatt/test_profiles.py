"""What a Bluetooth health sensor says becomes readings; what it questions, repeats or took long ago is never passed on as good."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.gatt import profile_plans as uuids
from edge.acquisition.gatt.blood_pressure import BloodPressure, PressureStatus, blood_pressure_bytes
from edge.acquisition.gatt.cgm import (
    CgmFeatures,
    CgmRecord,
    CgmSessionStart,
    CgmState,
    CgmStatus,
    cgm_bytes,
    cgm_features_bytes,
    cgm_session_start_bytes,
    cgm_state_bytes,
)
from edge.acquisition.gatt.current_time import CurrentTime, current_time_bytes, parse_current_time
from edge.acquisition.gatt.date_time import DateTime, date_time_bytes
from edge.acquisition.gatt.glucose import CONTROL_SOLUTION, Glucose, GlucoseStatus, glucose_bytes
from edge.acquisition.gatt.heart_rate import HeartRate, heart_rate_bytes
from edge.acquisition.gatt.ieee11073 import Number, Special
from edge.acquisition.gatt.plan import assigned
from edge.acquisition.gatt.profiles import ProfileDecoder, ProfileSettings, profile_plan
from edge.acquisition.gatt.pulse_oximeter import (
    ContinuousOximetry,
    DeviceStatus,
    MeasurementStatus,
    SpotOximetry,
    continuous_oximetry_bytes,
    spot_oximetry_bytes,
)
from edge.acquisition.gatt.thermometer import Temperature, temperature_bytes
from edge.acquisition.gatt.weight import NOT_MEASURED, Weight, weight_bytes
from edge.messages import (
    Chunk,
    Corrupt,
    Outgoing,
    Reading,
    ReadingStatus,
    RrIntervals,
    SensorIdentity,
    SensorStatus,
)

S = 1_000_000_000
NOON = datetime.fromisoformat("2025-03-14T12:00:00")
VALID, QUESTIONABLE, INVALID = ReadingStatus.VALID, ReadingStatus.QUESTIONABLE, ReadingStatus.INVALID


class Rig:
    """A decoder whose wall clock shows noon at second 0."""

    def __init__(self, *profiles, **settings):
        self.at_s = 0.0
        settings = {"wall_time": lambda: NOON + timedelta(seconds=self.at_s)} | settings
        self.decoder = ProfileDecoder(ProfileSettings(sensor="s", profiles=profiles, **settings))

    def say(self, channel, data, at_s=None):
        self.at_s = self.at_s if at_s is None else at_s
        return self.decoder.push(Chunk(data=data, received_at_ns=round(self.at_s * S), channel=channel))

    def requests(self, at_s):
        self.at_s = at_s
        return self.decoder.requests(round(at_s * S))


def readings(items):
    return {item.measure: item for item in items if isinstance(item, Reading)}


def changes(items):
    return [(item.condition, item.is_active, item.detail) for item in items if isinstance(item, SensorStatus)]


def shown(items):
    """Value or reason, and status, by measure."""
    return {
        measure: (item.absent if item.value is None else item.value, item.status)
        for measure, item in readings(items).items()
    }


def reasons(items):
    return [item.reason for item in items if isinstance(item, Corrupt)]


def at(moment):
    return DateTime.at(moment)


# --- heart rate ---------------------------------------------------------------------------------------------


def strap(rig, at_s=None, **fields):
    measured = HeartRate(**({"heart_rate_bpm": 60} | fields))
    return rig.say(uuids.HEART_RATE, heart_rate_bytes(measured), at_s)


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


# --- oximeter -----------------------------------------------------------------------------------------------


def oximeter(rig, at_s=None, *, device=None, measurement=None, **fields):
    measured = ContinuousOximetry(
        **({"spo2_pct": Number(97), "pulse_rate_bpm": Number(80)} | fields),
        device_status=None if device is None else DeviceStatus(device),
        measurement_status=None if measurement is None else MeasurementStatus(measurement),
    )
    return rig.say(uuids.OXIMETRY_CONTINUOUS, continuous_oximetry_bytes(measured), at_s)


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


def spot(rig, at_s=None, *, measurement=None, **fields):
    status = None if measurement is None else MeasurementStatus(measurement)
    measured = SpotOximetry(
        **({"spo2_pct": Number(95), "pulse_rate_bpm": Number(80)} | fields), measurement_status=status
    )
    return rig.say(uuids.OXIMETRY_SPOT, spot_oximetry_bytes(measured), at_s)


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


# --- thermometer --------------------------------------------------------------------------------------------


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

    assert rig.say(uuids.INTERMEDIATE_TEMPERATURE, temperature_bytes(Temperature(temperature=Number(312, -1))), 2) == []


def test_thermometer_without_clock_may_send_the_same_every_second():
    """It is no repeat."""
    rig = Rig("thermometer")
    data = temperature_bytes(Temperature(temperature=Number(370, -1)))

    items = rig.say(uuids.TEMPERATURE, data, 1) + rig.say(uuids.TEMPERATURE, data, 2)

    assert len(readings(items)) == 1
    assert reasons(items) == []


# --- cuff and scale -----------------------------------------------------------------------------------------


def cuff(rig, at_s=None, channel=uuids.BLOOD_PRESSURE, *, status=None, **fields):
    measured = BloodPressure(
        **({"systolic": Number(120), "diastolic": Number(80), "mean": Number(93)} | fields),
        status=None if status is None else PressureStatus(status),
    )
    return rig.say(channel, blood_pressure_bytes(measured), at_s)


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


# --- the device's own clock ----------------------------------------------------------------------------------


def tell_time(rig, moment, at_s=None):
    return rig.say(uuids.CURRENT_TIME, current_time_bytes(CurrentTime.at(moment)), at_s)


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
    """A device that says year 0 does not know the time; what it stamps tells no age."""
    rig = Rig("blood_pressure")
    rig.say(uuids.CURRENT_TIME, bytes(10), 0)

    items = cuff(rig, 1, taken_at=at(datetime.fromisoformat("2000-01-01T00:05:00")))
    (write,) = rig.requests(2)

    assert not readings(items)["systolic_mmhg"].is_stored
    assert write.channel == uuids.CURRENT_TIME


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


# --- glucose meter ------------------------------------------------------------------------------------------


def meter(rig, sequence, at_s=None, *, age_min=0, status=None, **fields):
    record = Glucose(
        sequence=sequence,
        base_time=at(NOON - timedelta(minutes=age_min)),
        **({"concentration": Number(120, -5), "sample_type": 1, "sample_location": 1} | fields),
        status=None if status is None else GlucoseStatus(status),
    )
    return rig.say(uuids.GLUCOSE, glucose_bytes(record), at_s)


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


# --- continuous glucose -------------------------------------------------------------------------------------


def cgm(rig, *offsets_min, at_s=None, mg_dl=108, status=0, has_crc=False):
    octets = CgmStatus(status)
    records = tuple(
        CgmRecord(
            glucose_mg_dl=Number(mg_dl),
            offset_min=offset_min,
            status_octet=octets & 0xFF or None,
            calibration_octet=octets >> 8 & 0xFF or None,
            warning_octet=octets >> 16 or None,
            has_crc=has_crc,
        )
        for offset_min in offsets_min
    )
    return rig.say(uuids.CGM, cgm_bytes(records), at_s)


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


# --- battery and identity -----------------------------------------------------------------------------------


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
    rig = Rig("heart_rate")
    rig.say(uuids.BATTERY, b"\x05")
    rig.decoder.reset("link-lost")

    assert changes(rig.say(uuids.BATTERY, b"\x64")) == [("battery-low", False, "")]


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


# --- plan and dispatch --------------------------------------------------------------------------------------


def test_plan_of_a_profile():
    """What tells the identity, the clock and the battery belongs to every profile."""
    plan = profile_plan(["cgm"])

    assert plan.services == (assigned(0x181F),)
    assert plan.required == (uuids.CGM,)
    assert plan.needs_bond
    assert {uuids.CGM, uuids.RECORD_ACCESS, uuids.BATTERY, uuids.CURRENT_TIME} == set(plan.subscribe)
    assert {*uuids.DEVICE_INFORMATION, uuids.CURRENT_TIME, uuids.BATTERY, uuids.CGM_STATUS} < set(plan.read)


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
