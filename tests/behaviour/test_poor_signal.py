"""Below the threshold of quality there is no value but a reason, and after a minute somebody is called to the sensor."""

from __future__ import annotations

import pytest

from edge.messages import Vitals
from tests.behaviour import stories
from tests.behaviour.monitor import NS_PER_S, nurse

MEASURES = ("heart_rate_bpm", "pulse_rate_bpm", "respiratory_rate_bpm", "spo2_uncalibrated_pct")


@pytest.fixture(scope="module")
def monitor():
    """A healthy patient; for two minutes all signals are noise."""
    return nurse(stories.poor_signal(60.0, 120.0, rms_mv=1.0, intensity_ratio=1.0), 230.0)[0]


@pytest.mark.parametrize("measure", MEASURES)
def test_no_value_is_held_over_a_poor_signal(monitor, measure):
    """It was there before, is absent with a reason during, and comes back by itself."""
    assert None not in monitor.values(measure, 45, 58)
    assert monitor.values(measure, 100, 178) == [None] * 79
    assert monitor.measurement(measure, 140).absent
    assert None not in monitor.values(measure, 222, 228)


def test_a_poor_signal_is_a_technical_alert_on_each_stream(monitor):
    """Raised about a minute after the signal became poor, over when it is good again."""
    for stream in ("ecg", "ppg", "respiration"):
        (raised_s,) = monitor.raised_s(f"signal-poor:bed/{stream}")
        (ended_s,) = monitor.ended_s(f"signal-poor:bed/{stream}")
        assert 100.0 < raised_s < 130.0
        assert 180.0 < ended_s < 205.0


def test_noise_is_no_illness(monitor):
    """Nothing is claimed of the patient."""
    assert {condition.split(":")[0] for condition in monitor.conditions()} == {"signal-poor"}


def test_coverage_falls(monitor):
    """The share of usable time of the last minute goes to zero and comes back."""
    coverage = {each.at_ns // NS_PER_S: each.coverage_pct for each in monitor.all(Vitals)}

    assert coverage[58] > 90.0
    assert coverage[130] < 5.0
    assert 20.0 < coverage[215] < 80.0
