"""Alarm limits: every lasting violation alarms, nothing flaps, a missing value is never silent."""

from __future__ import annotations

import itertools
import random

import pytest

from edge.messages import AlertKind, Measurement, Priority, Tick, Vitals
from edge.monitoring.alarms import Alarms, AlarmSettings
from edge.monitoring.limits import DEFAULT_LIMITS, Limit, LimitMonitor, LimitSettings

S = 1_000_000_000
HEART_RATE = Limit(measure="heart_rate_bpm", low=50, high=120, hysteresis=2, on_delay_s=10, off_delay_s=10)


def vitals(at_s, value, measure="heart_rate_bpm", unit="/min", absent=None):
    measurement = Measurement(value=value, unit=unit, absent=absent, quality=0.9, source="chest/ecg")
    return Vitals(at_ns=at_s * S, measurements={measure: measurement}, coverage_pct=100.0, quality=0.9)


def run(values, limit=HEART_RATE, start_s=0, monitor=None, **kwargs):
    """Push one value a second (None is missing) with its tick; return the conditions."""
    monitor = monitor or LimitMonitor(LimitSettings(limits=(limit,)))
    outputs = []
    for at_s, value in enumerate(values, start=start_s):
        absent = "lead-off" if value is None else None
        outputs += monitor.push(vitals(at_s, value, absent=absent, **kwargs))
        outputs += monitor.push(Tick(at_ns=at_s * S))
    return outputs


def summary(conditions):
    return [(out.code, out.is_active, out.at_ns // S) for out in conditions]


def test_a_lasting_violation_alarms_after_its_delay():
    """Ten seconds above the limit, then the alarm, with a sentence that a nurse can act on."""
    conditions = run([100, *[134] * 30])

    assert summary(conditions) == [("heart_rate_bpm-high", True, 11)]
    assert conditions[0].onset_at_ns == 1 * S
    assert conditions[0].kind is AlertKind.PHYSIOLOGICAL
    assert conditions[0].sentence == "Heart rate 134/min is above the limit of 120/min for 10 s."
    assert conditions[0].evidence["limit"] == 120
    assert conditions[0].evidence["value"] == 134


def test_the_low_side_is_its_own_condition():
    """Too slow and too fast are two alerts with two sentences."""
    conditions = run([44] * 12)

    assert summary(conditions) == [("heart_rate_bpm-low", True, 10)]
    assert conditions[0].sentence == "Heart rate 44/min is below the limit of 50/min for 10 s."


@pytest.mark.parametrize("value", [50, 120])
def test_a_value_at_its_limit_is_inside(value):
    """The limit itself is allowed."""
    assert run([value] * 60) == []


def test_a_short_violation_does_not_alarm():
    """Nine seconds are less than ten."""
    assert run([*[134] * 10, *[100] * 30]) == []


def test_an_alarm_ends_after_its_off_delay_inside_by_the_hysteresis():
    """118 is inside by the hysteresis of 2, 119 is not."""
    conditions = run([*[134] * 11, *[119] * 20, *[118] * 11])

    assert summary(conditions) == [("heart_rate_bpm-high", True, 10), ("heart_rate_bpm-high", False, 41)]
    assert conditions[1].sentence == "Heart rate 118/min is back inside the limit of 120/min for 10 s."


def test_a_value_swinging_across_its_limit_is_not_lost():
    """130, 119, 130, 119 …: 119 is not inside by the hysteresis, so the time above the limit adds up."""
    conditions = run([130, 119] * 15)

    assert summary(conditions) == [("heart_rate_bpm-high", True, 20)]


def test_a_value_returning_inside_starts_the_delay_anew():
    """Nine seconds outside, one clearly inside, nine outside: no alarm."""
    assert run([*[134] * 9, 100, *[134] * 10]) == []


def test_missing_values_stop_the_clock_without_turning_it_back():
    """Five seconds above, four missing, then above again: alarm when ten seconds above were *seen*."""
    conditions = run([*[134] * 6, *[None] * 4, *[134] * 10])

    assert summary(conditions) == [("heart_rate_bpm-high", True, 14)]


def test_a_long_absence_starts_the_delay_anew():
    """What was seen before a minute without values is another episode."""
    conditions = run([*[134] * 9, *[None] * 60, *[134] * 9])

    assert conditions == []


def test_missing_values_never_alarm():
    """No value is neither high nor low."""
    assert run([None] * 600) == []


def test_an_alarm_whose_value_goes_missing_ends_and_says_so():
    """The technical alarm takes over; this one does not go quietly."""
    conditions = run([*[134] * 11, *[None] * 12])

    assert summary(conditions) == [("heart_rate_bpm-high", True, 10), ("heart_rate_bpm-high", False, 20)]
    assert "no value for 10 s (lead-off)" in conditions[1].sentence
    assert conditions[1].evidence["absent"] == "no value: lead-off"


def test_only_uninterrupted_seconds_inside_end_an_alarm():
    """Six seconds inside, two missing, six inside: nobody knows that it was inside for ten."""
    conditions = run([*[134] * 11, *[100] * 6, None, None, *[100] * 6])

    assert summary(conditions) == [("heart_rate_bpm-high", True, 10)]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_counts_as_missing(bad):
    """NaN and infinities are never compared with a limit."""
    assert run([bad] * 60) == []


def test_vitals_that_stop_coming_count_as_missing():
    """Only ticks arrive: the alarm ends as stale instead of standing for ever on an old value."""
    monitor = LimitMonitor(LimitSettings(limits=(HEART_RATE,)))
    run([134] * 11, monitor=monitor)

    outputs = [out for at_s in range(11, 40) for out in monitor.push(Tick(at_ns=at_s * S))]

    assert summary(outputs) == [("heart_rate_bpm-high", False, 20)]
    assert "stale" in outputs[0].sentence


def test_seconds_that_nobody_saw_do_not_count():
    """Vitals of 0 s and of 30 s, both high: no alarm from the half minute between them."""
    monitor = LimitMonitor(LimitSettings(limits=(HEART_RATE,)))

    outputs = [*monitor.push(vitals(0, 134)), *monitor.push(vitals(30, 134))]

    assert outputs == []


def test_time_running_backwards_is_ignored():
    """A second that has been judged is not judged again."""
    monitor = LimitMonitor(LimitSettings(limits=(HEART_RATE,)))
    monitor.push(vitals(100, 134))

    outputs = [out for at_s in range(100, 0, -1) for out in monitor.push(vitals(at_s, 134))]

    assert outputs == []


def test_the_defaults_grade_a_desaturation():
    """Below 90 a medium alarm after 20 s, below 80 a latching high one after 10 s, under different codes."""
    conditions = run([78] * 25, limit=None, monitor=LimitMonitor(), measure="spo2_pct", unit="%")

    assert summary(conditions) == [("spo2_pct-extreme-low", True, 10), ("spo2_pct-low", True, 20)]
    assert [out.priority for out in conditions] == [Priority.HIGH, Priority.MEDIUM]
    assert conditions[0].is_latching
    assert conditions[0].sentence == "Oxygen saturation 78 % is below the limit of 80 % for 10 s."


def test_an_unknown_measure_gets_a_readable_name():
    """A limit on a measure without an entry still speaks plainly."""
    limit = Limit(measure="skin_temperature_c", high=40, on_delay_s=0)

    conditions = run([41.25], limit=limit, measure="skin_temperature_c", unit="Cel")

    assert conditions[0].sentence == "Skin temperature 41.2 °C is above the limit of 40 °C."


@pytest.mark.parametrize(
    "arguments",
    [{}, {"low": 5, "high": 5}, {"low": 9, "high": 5}, {"low": 5, "hysteresis": -1}, {"low": 5, "on_delay_s": -1}],
)
def test_an_impossible_limit_is_misuse(arguments):
    """No side, crossed sides, negative delays."""
    with pytest.raises(ValueError, match="expected"):
        Limit(measure="heart_rate_bpm", **arguments)


def test_two_limits_for_one_condition_are_misuse():
    """They would share one life-cycle and end each other."""
    with pytest.raises(ValueError, match="grade"):
        LimitSettings(limits=(*DEFAULT_LIMITS, Limit(measure="heart_rate_bpm", low=45)))


ADVERSARIES = {
    "at the limit": lambda n: [120 + (k % 2) for k in range(n)],
    "across the hysteresis": lambda n: [117 if k % 2 else 121 for k in range(n)],
    "one delay out, one delay in": lambda n: [134 if (k // 11) % 2 else 100 for k in range(n)],
    "one and a half delays": lambda n: [134 if (k // 15) % 2 else 100 for k in range(n)],
    "random walk": lambda n: list(
        itertools.accumulate(random.Random(1).choices((-1, 1), k=n), initial=120)  # fixed seed 1
    ),
    "comes and goes": lambda n: [None if (k // 12) % 2 else 134 for k in range(n)],
}


@pytest.mark.parametrize("name", ADVERSARIES)
def test_no_signal_makes_alerts_flap(name):
    """An hour of a hostile signal: at most about one alert a minute reaches a person."""
    alerts = Alarms(AlarmSettings(), itertools.count().__next__)
    monitor = LimitMonitor(LimitSettings(limits=(HEART_RATE,)))
    n_raised = 0

    for at_s, value in enumerate(ADVERSARIES[name](3600)):
        conditions = monitor.push(vitals(at_s, value, absent=None if value is not None else "lead-off"))
        for item in [*conditions, Tick(at_ns=at_s * S)]:
            n_raised += sum(out.revision == 1 for out in alerts.push(item))

    assert n_raised <= 61


def test_a_value_that_is_only_inferred_raises_nothing():
    """A breathing rate guessed from the heart is shown; nobody is called for it, however long it is low."""
    limit = Limit(measure="respiratory_rate_bpm", low=8)
    monitor, outputs = LimitMonitor(LimitSettings(limits=(limit,))), []

    for at_s in range(120):
        guessed = Measurement(value=6.0, unit="/min", is_alarmed=False)
        item = Vitals(at_ns=at_s * S, measurements={limit.measure: guessed}, coverage_pct=100.0, quality=0.9)
        outputs += monitor.push(item)

    assert outputs == []
