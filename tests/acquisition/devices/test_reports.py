"""What a device says many times a second, told when it changes."""

from __future__ import annotations

import pytest

from edge.acquisition.devices.reports import Reports, Value, judged


def told(reports, value, n_frames=1):
    out = []
    for _ in range(n_frames):
        reports.frame()
        out += [item.absent or item.value for item in reports.readings([value], 0)]
    return out


def spo2(value):
    return judged("spo2_pct", value, low=1, high=100)


def test_change_is_told_at_once_and_the_same_once_a_period():
    """A value that is not told again would go stale."""
    reports = Reports("s", 60)

    assert told(reports, spo2(97), 61) == [97.0, 97.0]
    assert told(reports, spo2(96)) == [96.0]
    assert told(reports, spo2(0)) == ["not-measured"]


def test_values_that_never_agree_are_never_told():
    """Noise that looks like frames has another value each time."""
    reports = Reports("s", 60, agreeing_frames=3)

    assert [told(reports, spo2(50 + k % 40)) for k in range(100)] == [[]] * 100


def test_old_value_is_not_told_while_another_is_doubted():
    """A device that says something else now does not confirm the old value."""
    reports = Reports("s", 2, agreeing_frames=3)
    told(reports, spo2(97), 10)

    assert [told(reports, spo2(90 + k)) for k in range(6)] == [[]] * 6


@pytest.mark.parametrize("agreeing_frames", [1, 3])
def test_conditions_are_told_when_they_change(agreeing_frames):
    """And once at the beginning: what was wrong on the last link may be over."""
    reports = Reports("s", 60, agreeing_frames=agreeing_frames)

    out = []
    for is_active in [False] * 5 + [True] * 5 + [False] * 5:
        out += reports.condition("lead-off", is_active=is_active, at_ns=0, stream="ecg", detail="electrode 2")

    assert [(item.is_active, item.detail) for item in out] == [(False, ""), (True, "electrode 2"), (False, "")]


def test_same_condition_of_two_streams_is_two():
    """One electrode may be off, the finger clip not."""
    reports = Reports("s", 60)

    out = reports.condition("lead-off", is_active=True, at_ns=0, stream="ecg")
    out += reports.condition("lead-off", is_active=True, at_ns=0, stream="respiration")

    assert [item.stream for item in out] == ["ecg", "respiration"]


def test_reset_forgets_what_was_told():
    """The next link hears everything."""
    reports = Reports("s", 60)
    told(reports, spo2(97))

    reports.reset()

    assert told(reports, spo2(97)) == [97.0]


@pytest.mark.parametrize(
    ("raw", "absent", "expected"),
    [
        (97, None, Value(measure="spo2_pct", value=97.0)),
        (0, None, Value(measure="spo2_pct", value=None, absent="not-measured")),
        (101, None, Value(measure="spo2_pct", value=None, absent="out-of-range")),
        (float("nan"), None, Value(measure="spo2_pct", value=None, absent="out-of-range")),
        (97, "sensor-off", Value(measure="spo2_pct", value=None, absent="sensor-off")),
        (0, "sensor-off", Value(measure="spo2_pct", value=None, absent="sensor-off")),
    ],
)
def test_values_are_judged(raw, absent, expected):
    """The device's flags come first, then its marks for "none", then what is possible."""
    assert judged("spo2_pct", raw, low=1, high=100, absent=absent) == expected
