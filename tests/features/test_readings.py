"""What a device may say: plausible, fresh, not contradicting itself, with its age and its trend."""

from dataclasses import replace

import pytest

from edge.features.readings import DeviceReadings
from edge.messages import Measurement, Reading, ReadingStatus

NS_PER_S = 1_000_000_000
MINUTE_S = 60.0


def reading(measure: str, value: float | None, at_s: float, *, sensor: str = "bed", **changes: object) -> Reading:
    fields: dict[str, object] = {"status": ReadingStatus.VALID, "unit": "1", "valid_for_s": 3600.0} | changes
    return Reading(sensor=sensor, measure=measure, value=value, measured_at_ns=round(at_s * NS_PER_S), **fields)  # type: ignore[arg-type]


def shown(readings: list[Reading], measure: str, at_s: float | None = None) -> Measurement:
    board = DeviceReadings()
    for item in readings:
        board.add(item)
    latest_s = max(item.measured_at_ns for item in readings) / NS_PER_S
    return board.measurements(round((latest_s if at_s is None else at_s) * NS_PER_S))[measure]


@pytest.mark.parametrize(
    ("measure", "value"),
    [("body_temperature_c", 12.0), ("body_temperature_c", 99.0), ("spo2_pct", 0.0), ("systolic_mmhg", 500.0)],
)
def test_what_no_living_person_has_is_not_shown(measure, value):
    """A thermometer on the table or an oximeter without a finger gives no vital sign, and the reason is said."""
    found = shown([reading(measure, value, 10)], measure)

    assert (found.value, found.absent) == (None, "implausible")


@pytest.mark.parametrize(("measure", "value"), [("body_temperature_c", 27.5), ("spo2_pct", 55.0)])
def test_what_a_very_ill_person_has_is_shown(measure, value):
    """Deep hypothermia and a very low saturation are rare and real: a filter must not hide them."""
    assert shown([reading(measure, value, 10)], measure).value == value


def test_a_cuff_whose_values_contradict_each_other_shows_none_of_them():
    """Systolic above mean above diastolic holds in every measurement; otherwise none of the three can be trusted."""
    wrong = [
        reading("systolic_mmhg", 90, 10),
        reading("mean_pressure_mmhg", 95, 10),
        reading("diastolic_mmhg", 60, 10),
    ]

    assert {shown(wrong, item.measure).absent for item in wrong} == {"implausible"}


def test_values_of_two_cuff_measurements_are_not_held_against_each_other():
    """While the second measurement arrives value by value, the first one's diastolic is no contradiction."""
    board = DeviceReadings()
    board.add(reading("systolic_mmhg", 180, 10))
    board.add(reading("diastolic_mmhg", 110, 10))
    board.add(reading("systolic_mmhg", 100, 600))

    assert board.measurements(600 * NS_PER_S)["systolic_mmhg"].value == 100


def test_a_thermometer_that_is_warming_up_is_not_shown():
    """A probe on its way from room to body temperature passes through hypothermia: no number until it has settled."""
    warming = [reading("body_temperature_c", 26.0 + 0.1 * k, 10.0 * k) for k in range(100)]
    settled = [reading("body_temperature_c", 36.1, 1000.0 + 10.0 * k) for k in range(10)]

    assert shown(warming, "body_temperature_c").absent == "settling"
    assert shown(warming + settled, "body_temperature_c").value == 36.1


def test_a_fever_that_rises_as_fast_as_one_can_is_shown():
    """In malignant hyperthermia the body warms by one degree in five minutes: that is a patient, not a probe."""
    rising = [reading("body_temperature_c", round(37 + 0.2 * k, 1), MINUTE_S * k) for k in range(15)]

    assert shown(rising, "body_temperature_c").value == pytest.approx(39.8)


def test_a_trend_is_the_slope_of_the_recent_past():
    """Half a degree an hour over half an hour is said as such; two readings alone have no trend."""
    rising = [reading("body_temperature_c", 37 + 0.5 * k / 6, 10 * MINUTE_S * k) for k in range(4)]

    assert shown(rising, "body_temperature_c").trend_per_h == pytest.approx(0.5)
    assert shown(rising[:2], "body_temperature_c").trend_per_h is None


def test_a_reading_sent_again_does_not_make_a_trend():
    """A thermometer that repeats one measurement for an hour has measured once."""
    same = [reading("body_temperature_c", 37.0, 10.0)] * 50

    assert shown(same, "body_temperature_c").trend_per_h is None


def test_a_reading_carries_its_own_instant_and_goes_stale():
    """A cuff pressure is shown with the time at which it was taken, and not beyond its validity."""
    cuff = reading("systolic_mmhg", 120, 100, valid_for_s=900)

    assert shown([cuff], "systolic_mmhg", at_s=800).measured_at_ns == 100 * NS_PER_S
    assert shown([cuff], "systolic_mmhg", at_s=1001).absent == "stale"


def test_the_sensor_in_use_stays_until_it_has_no_value():
    """Two oximeters that take turns must not make the saturation jump; when the one fails, the other takes over."""
    board = DeviceReadings()
    board.add(reading("spo2_pct", 97, 1, sensor="finger", valid_for_s=10))
    board.measurements(NS_PER_S)
    board.add(reading("spo2_pct", 92, 2, sensor="ear", valid_for_s=100))

    assert board.measurements(3 * NS_PER_S)["spo2_pct"].source == "finger"
    assert board.measurements(20 * NS_PER_S)["spo2_pct"].source == "ear"


def test_an_older_reading_does_not_replace_a_newer_one():
    """Readings that a device stored while its link was down arrive late: they are not the latest."""
    assert shown([reading("spo2_pct", 97, 10), reading("spo2_pct", 80, 5)], "spo2_pct").value == 97


def test_days_of_readings_need_a_bounded_memory():
    """A thermometer that speaks every second for three hours is remembered in a few dozen values, with its trend."""
    board = DeviceReadings()
    for k in range(3 * 3600):
        board.add(reading("body_temperature_c", 37 + 0.1 * k / 3600, k))

    found = board.measurements(3 * 3600 * NS_PER_S)["body_temperature_c"]

    assert found.trend_per_h == pytest.approx(0.1, rel=0.01)
    assert sum(len(past) for past in board._past.values()) <= 64


def test_values_of_a_lost_link_do_not_stand_and_spot_measurements_do():
    """A saturation of five seconds ago is no saturation once the link is silent; a cuff pressure is what it was."""
    board = DeviceReadings()
    board.add(reading("spo2_pct", 97, 1, sensor="finger", valid_for_s=15))
    board.add(reading("spo2_pct", 96, 0.5, sensor="ear", valid_for_s=15))
    board.add(reading("systolic_mmhg", 120, 1, sensor="finger", valid_for_s=900))

    board.lose("finger", "link-silent")

    found = board.measurements(2 * NS_PER_S)
    assert (found["spo2_pct"].value, found["spo2_pct"].source) == (96, "ear")
    assert found["systolic_mmhg"].value == 120

    board.lose("ear", "link-lost")

    assert board.measurements(2 * NS_PER_S)["spo2_pct"].absent in {"link-silent", "link-lost"}


def test_history_and_the_battery_are_no_vital_signs():
    """What a device stored last week is not what the patient has now."""
    board = DeviceReadings()

    board.add(replace(reading("glucose_mmol_l", 2.1, 1), is_stored=True))
    board.add(reading("battery_pct", 50, 1))

    assert board.measurements(2 * NS_PER_S) == {}
