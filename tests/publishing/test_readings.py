"""Which vital signs become messages."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.messages import Measurement, Vitals
from edge.publishing.readings import ReadingPolicy, ReadingPolicySettings

S = 10**9


def vitals(second, **values):
    measurements = {
        name: Measurement(value=None, unit="/min", absent=value)
        if isinstance(value, str)
        else Measurement(value=value, unit="/min")
        for name, value in values.items()
    }
    return Vitals(at_ns=second * S, measurements=measurements, coverage_pct=100.0, quality=1.0)


def published_at(values, **settings):
    """Seconds at which a heart rate of `values`, one a second, is published."""
    policy = ReadingPolicy(ReadingPolicySettings(**settings))
    return [second for second, value in enumerate(values) if policy.push(vitals(second, heart_rate_bpm=value))]


def test_a_steady_value_is_repeated_before_its_validity_ends():
    """Once at first, then every ten seconds: never older than the fifteen for which it is valid."""
    assert published_at([72.0] * 31) == [0, 10, 20, 30]


def test_a_measure_of_minutes_is_repeated_once_a_minute():
    """Variability over five minutes says nothing new every ten seconds; it stays valid until the next one."""
    policy = ReadingPolicy()

    due = [policy.push(vitals(second, sdnn_ms=50.0, heart_rate_bpm=72.0)) for second in range(130)]

    slow = [item for publications in due for item in publications if item.measure == "sdnn_ms"]
    assert [item.at_ns // S for item in slow] == [0, 60, 120]
    assert {item.valid_for_s for item in slow} == {90.0}


def test_a_measure_of_minutes_that_is_gone_is_gone_at_once():
    """However slow, a number that is no longer true does not stand."""
    policy = ReadingPolicy()
    policy.push(vitals(0, sdnn_ms=50.0))

    (gone,) = policy.push(vitals(1, sdnn_ms="irregular"))

    assert gone.measurement.value is None


def test_small_changes_wait_for_the_calm_interval():
    assert published_at([72.0, 73.0, 74.0, 75.0, 76.0, 77.0, 78.0, 79.0]) == [0, 5]


def test_a_change_below_the_resolution_is_none():
    assert published_at([72.0, 72.4, 72.8, 72.9, 72.9, 72.9, 72.9, 72.9, 72.9, 72.9]) == [0]


def test_a_jump_is_published_at_once():
    assert published_at([72.0, 72.0, 140.0, 140.0]) == [0, 2]


def test_a_value_that_disappears_is_withdrawn_at_once():
    """A heart rate must not stand for a second longer than it is true."""
    assert published_at([72.0, 72.0, "lead-off", "lead-off"]) == [0, 2]


def test_a_value_that_comes_back_is_published_at_once():
    assert published_at(["lead-off", "lead-off", 72.0]) == [0, 2]


def test_another_reason_for_absence_is_news():
    assert published_at(["lead-off", "link-lost", "link-lost"]) == [0, 1]


def test_absence_is_repeated_like_a_value():
    assert published_at(["lead-off"] * 21) == [0, 10, 20]


def test_measures_are_judged_by_themselves():
    policy = ReadingPolicy()
    policy.push(vitals(0, heart_rate_bpm=72.0, spo2_pct=97.0))

    due = policy.push(vitals(1, heart_rate_bpm="lead-off", spo2_pct=97.0))

    assert [publication.measure for publication in due] == ["heart_rate_bpm"]


def test_after_a_reset_everything_is_published_again():
    policy = ReadingPolicy()
    policy.push(vitals(0, heart_rate_bpm=72.0))

    policy.reset("new session")

    assert policy.push(vitals(1, heart_rate_bpm=72.0))


@given(st.lists(st.floats() | st.sampled_from(["lead-off", "noise"]), max_size=60))
def test_what_was_last_published_is_never_far_from_the_truth(values):
    """At any second the receiver knows that a value is gone, and no message is older than ten seconds."""
    policy = ReadingPolicy()
    last_at, last = None, None
    for second, value in enumerate(values):
        for publication in policy.push(vitals(second, x=value)):
            last_at, last = second, publication.measurement.value
        assert second - last_at < 10
        if isinstance(value, str):
            assert last is None
        elif last is not None and math.isfinite(value) and math.isfinite(last) and second - last_at >= 5:
            assert abs(value - last) < 1


def test_impossible_intervals_are_refused():
    with pytest.raises(ValueError, match="calm_s"):
        ReadingPolicySettings(calm_s=20.0)
