"""What a monitor says of movement, posture and falls, and what movement must not make of other signals."""

from __future__ import annotations

import pytest

from edge.features.activity import Placement
from edge.messages import Activity, ActivityLevel
from edge.pipeline import PipelineSettings
from edge.signal_chain import SensorTraits
from firmware_bridge.virtual.scenario import Posture
from tests.behaviour import stories
from tests.behaviour.monitor import NS_PER_S, nurse

ON_THE_CHEST = PipelineSettings(traits={"bed": SensorTraits(placement=Placement.CHEST)})


def watched(story, duration_s=95.0, streams=("acceleration",)):
    return nurse(stories.only(story, *streams), duration_s, settings=ON_THE_CHEST)


def activity(monitor, at_s):
    (found,) = [each for each in monitor.all(Activity) if round(each.at_ns / NS_PER_S) == at_s]
    return found


@pytest.mark.parametrize(("seed", "posture"), [(1, Posture.RIGHT), (2, Posture.PRONE), (3, Posture.SUPINE)])
def test_a_fall_is_suspected_within_twenty_seconds(posture, seed):
    """Impact and then stillness, whichever way somebody lies: one latched alert, and it stays."""
    monitor, truth = watched(stories.fall(60.0, posture=posture, seed=seed))

    (raised_s,) = monitor.raised_s("fall-suspected")

    assert 0.0 < raised_s - truth.events[0].impact_s <= 20.0
    assert not monitor.ended_s("fall-suspected")


@pytest.mark.parametrize(
    "story", [stories.fall_and_up_again(), stories.jump(), stories.hard_landing_on_a_chair(), stories.going_to_bed()]
)
def test_what_is_no_fall_is_not_called_one(story):
    """Somebody who is up again at once, a jump, a chair, and going to bed."""
    monitor, _ = watched(story)

    assert not monitor.raised_s("fall-suspected")


def test_walking_and_posture_are_told():
    """Cadence within 0.1 Hz while walking; at rest the posture, in movement none."""
    monitor, truth = watched(stories.walk(40.0, 40.0, step_rate_hz=2.0))

    assert [motion.step_rate_hz for motion in truth.motions] == [None, 2.0, None]
    assert activity(monitor, 30).level is ActivityLevel.STILL
    assert activity(monitor, 30).posture == "upright"
    assert activity(monitor, 60).level is ActivityLevel.WALKING
    assert activity(monitor, 60).cadence_hz == pytest.approx(2.0, abs=0.1)
    assert activity(monitor, 60).posture is None


@pytest.mark.parametrize("step_rate_hz", [1.6, 2.0])
def test_the_pulse_is_never_the_cadence(step_rate_hz):
    """While steps are in the light the pulse rate is that of the heart, within 3/min, or absent."""
    walk = stories.walk(30.0, 60.0, step_rate_hz=step_rate_hz, heart_rate_bpm=82.0)
    monitor, _ = watched(walk, streams=("ecg", "ppg", "acceleration"))

    shown = [value for value in monitor.values("pulse_rate_bpm", 40, 88) if value is not None]

    assert shown == pytest.approx([82.0] * len(shown), abs=3.0)
    assert monitor.rates(40, 88) == pytest.approx([82.0] * 49, abs=4.0)


def test_walking_calls_nothing_ill():
    """Movement is told by technical alerts on the signals that it spoils, never by a physiological one."""
    monitor, _ = watched(stories.walk(30.0, 90.0), 140.0, streams=stories.ALL_STREAMS)

    assert {condition.split(":")[0] for condition in monitor.conditions()} <= {"signal-poor"}
