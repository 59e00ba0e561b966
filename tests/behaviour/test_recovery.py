"""After a disturbance the monitor sees the heart again at once, and meanwhile claims nothing of it."""

from __future__ import annotations

import pytest

from firmware_bridge.virtual.scenario import Fault, FaultKind
from tests.behaviour import stories
from tests.behaviour.monitor import nurse

START_S = 30.0
BEATS_AGAIN_S = 5.0
"""Disclosed: every beat counts again this long after the disturbance."""
RATE_AGAIN_S = 10
"""Disclosed: the rate is shown again this long after the disturbance."""
TECHNICAL = {"saturated", "lead-off", "signal-poor", "flat"}


@pytest.mark.parametrize(
    ("kind", "parameters", "duration_s"),
    [
        (FaultKind.LEAD_OFF, {}, 10.0),
        (FaultKind.LEAD_OFF, {}, 60.0),
        (FaultKind.SATURATION, {}, 60.0),
        (FaultKind.MAINS, {"amplitude_mv": 2.0}, 60.0),
        (FaultKind.BASELINE_WANDER, {"amplitude_mv": 4.0}, 60.0),
        (FaultKind.NOISE, {"rms_mv": 0.3}, 60.0),
        (FaultKind.NOISE, {"rms_mv": 2.0}, 10.0),
        (FaultKind.NOISE, {"rms_mv": 2.0}, 60.0),
    ],
)
def test_beats_and_rate_come_back(kind, parameters, duration_s):
    """Every beat from five seconds on, the rate from ten seconds on, and no physiological alert at any time."""
    fault = Fault(kind=kind, at_s=START_S, duration_s=duration_s, parameters=parameters)
    end_s = START_S + duration_s

    monitor, truth = nurse(stories.story(streams=("ecg",), faults=(fault,)), end_s + 25.0)

    true_s = [beat.at_s for beat in truth.beats]
    assert monitor.unlike(true_s, end_s + BEATS_AGAIN_S, end_s + 23.0) == ([], [])
    assert monitor.rates(int(end_s) + RATE_AGAIN_S, int(end_s) + 23) == pytest.approx([70.0] * 14, abs=4.0)
    assert {condition.split(":")[0] for condition in monitor.conditions()} <= TECHNICAL
