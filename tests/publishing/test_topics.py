"""The topic tree."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.publishing.topics import Topics, measure_segment, period_segment, segment, slug

TOPICS = Topics(root="vitaledge", site="north", gateway="gw-7f3a")
ALLOWED = re.compile(r"[a-z0-9$][a-z0-9-]*(/[a-z0-9$][a-z0-9-]*)*")


def test_the_tree_is_that_of_the_contract():
    assert TOPICS.state == "vitaledge/v1/north/gw-7f3a/$state"
    assert TOPICS.birth == "vitaledge/v1/north/gw-7f3a/birth"
    assert TOPICS.health == "vitaledge/v1/north/gw-7f3a/health"
    assert TOPICS.gap == "vitaledge/v1/north/gw-7f3a/gap"
    assert TOPICS.alert_log == "vitaledge/v1/north/gw-7f3a/alert/log"
    assert TOPICS.alert("asystole-1") == "vitaledge/v1/north/gw-7f3a/alert/asystole-1"
    assert TOPICS.reading("heart_rate_bpm") == "vitaledge/v1/north/gw-7f3a/reading/heart-rate"
    assert TOPICS.summary(60) == "vitaledge/v1/north/gw-7f3a/summary/1m"
    assert TOPICS.sensor_status("chest") == "vitaledge/v1/north/gw-7f3a/sensor/chest/status"


@given(st.text(min_size=1, max_size=40))
def test_no_name_can_leave_its_place_in_the_tree(name):
    """Whatever a sensor, measure or alert is called, its topic has the same depth and only [a-z0-9-]."""
    for topic, depth in (
        (TOPICS.alert(name), 6),
        (TOPICS.reading(name), 6),
        (TOPICS.sensor_status(name), 7),
    ):
        assert ALLOWED.fullmatch(topic), topic
        assert topic.count("/") + 1 == depth, topic


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_different_names_have_different_slugs(one, other):
    if one != other:
        assert slug(one) != slug(other)


def test_an_alert_cannot_take_the_place_of_the_log():
    """An alert whose identifier is "log" would overwrite the log's topic with a retained state."""
    assert TOPICS.alert("log") != TOPICS.alert_log


@pytest.mark.parametrize("bad", ["", "North", "a b", "a/b", "a+", "#", "-a", "a-", "ä", "a\n"])
def test_a_gateway_name_that_is_no_segment_is_refused(bad):
    with pytest.raises(ValueError, match="segment"):
        segment(bad)
    with pytest.raises(ValueError, match="segment"):
        Topics(root="vitaledge", site="north", gateway=bad)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("heart_rate_bpm", "heart-rate"),
        ("spo2_pct", "spo2"),
        ("body_temperature_c", "body-temperature"),
        ("rmssd_ms", "rmssd"),
        ("blood_pressure_systolic_mmhg", "blood-pressure-systolic"),
        ("perfusion_index_pct", "perfusion-index"),
    ],
)
def test_measures_lose_their_unit(measure, expected):
    assert measure_segment(measure) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(60, "1m"), (90, "90s"), (3600, "1h"), (86_400, "1d"), (59.98, "1m")]
)
def test_periods_have_short_names(seconds, expected):
    assert period_segment(seconds) == expected


def test_no_period_at_all_is_refused():
    with pytest.raises(ValueError, match="period"):
        period_segment(0.2)
