"""PR, QRS and QT, and the time a pulse travels, against the truth of the generator, through the real pipeline."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.virtual.scenario import Rhythm
from tests.behaviour import stories
from tests.behaviour.monitor import nurse

END_S = 95.0
AT_S = 92
"""The intervals of the last minute are there by then."""
TOLERANCE_MS = 12.0
"""Own choice: three samples at 250 Hz, a third of a small square of paper (40 ms)."""


def shown(**state):
    """Return the monitor's and the true median intervals of the last minute, in ms."""
    monitor, truth = nurse(stories.story(streams=("ecg",), **state), END_S)
    waves = [beat.waves for beat in truth.beats if beat.at_s > END_S - 65.0 and not beat.is_premature]
    true = {
        "pr_ms": np.median([each.pr_ms for each in waves]) if waves[0].pr_ms is not None else None,
        "qrs_ms": np.median([each.qrs_ms for each in waves]),
        "qt_ms": np.median([each.qt_ms for each in waves]),
    }
    return monitor, true


@pytest.mark.parametrize(
    "state",
    [
        {"heart_rate_bpm": 50.0, "seed": 2},
        {"heart_rate_bpm": 100.0},
        {"pr_ms": 120.0, "seed": 3},
        {"pr_ms": 240.0},
        {"qrs_ms": 110.0},
        {"qtc_ms": 350.0},
        {"qtc_ms": 500.0, "t_mv": 0.15},
        {"t_mv": -0.3},
    ],
)
def test_intervals_are_those_that_were_put_in(state):
    """Over usual and unusual intervals, rates and T waves: each within 12 ms."""
    monitor, true = shown(**state)

    for measure, value in true.items():
        assert monitor.value(measure, AT_S) == pytest.approx(value, abs=TOLERANCE_MS), measure


def test_without_p_waves_there_is_no_pr_interval():
    """A junctional rhythm has QRS and QT, and a reason in place of PR; in fibrillation there is no QT either."""
    junctional, true = shown(rhythm=Rhythm.JUNCTIONAL_ESCAPE)
    fibrillation, _ = shown(rhythm=Rhythm.ATRIAL_FIBRILLATION)

    assert junctional.measurement("pr_ms", AT_S).absent
    assert junctional.value("qrs_ms", AT_S) == pytest.approx(true["qrs_ms"], abs=TOLERANCE_MS)
    for measure in ("pr_ms", "qt_ms", "qtc_ms"):
        assert fibrillation.value(measure, AT_S) is None
        assert fibrillation.measurement(measure, AT_S).absent


@pytest.mark.parametrize("pulse_transit_ms", [150.0, 280.0])
def test_the_pulse_transit_time_is_that_of_the_foot(pulse_transit_ms):
    """From the R peak to the foot by tangents, within 12 ms."""
    story = stories.story(streams=("ecg", "ppg"), person={"pulse_transit_ms": pulse_transit_ms})

    monitor, truth = nurse(story, 50.0)

    true_ms = 1000 * np.median([pulse.transit_s for pulse in truth.pulses])
    assert monitor.value("pulse_transit_ms", 47) == pytest.approx(true_ms, abs=TOLERANCE_MS)
