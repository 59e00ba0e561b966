"""The stories of the behaviour tests do what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Activity, Posture
from tests.behaviour import stories


def told(story, duration_s=180.0):
    return VirtualPatient(story).take(duration_s)


def truth(story, duration_s=180.0):
    return VirtualPatient(story).truth(0.0, duration_s)


@pytest.mark.parametrize("duration_s", [25.0, 40.0])
def test_the_apnoea_is_as_long_as_asked(duration_s):
    """From the last breath to the first it lasts as long as ordered, and a few seconds of fading on both sides."""
    (apnoea,) = truth(stories.apnoea(60.0, duration_s)).apnoeas

    assert duration_s - 1.0 < apnoea.end_s - apnoea.start_s < duration_s + 16.0


@pytest.mark.parametrize(
    "story", [stories.short_pauses(), stories.shallow_breathing(), stories.detached_electrode(), stories.fall()]
)
def test_other_stories_have_no_apnoea(story):
    assert not truth(story).apnoeas


@pytest.mark.parametrize(
    ("story", "is_still", "is_lying"),
    [
        (stories.fall(), True, True),
        (stories.fall_and_up_again(), False, False),
        (stories.jump(), True, False),
        (stories.hard_landing_on_a_chair(), True, False),
        (stories.going_to_bed(), True, True),
    ],
)
def test_movement_ends_as_the_story_says(story, is_still, is_lying):
    """Still or not, lying or upright, a quarter of a minute after it happened."""
    last = truth(story, 100.0).motions[-1]

    assert (last.activity is Activity.REST) == is_still
    assert (last.posture not in {Posture.STANDING, Posture.SITTING}) == is_lying


def test_walking_is_seen_in_the_light():
    """The finger's light swings more while walking than before."""
    light = told(stories.walk(), 110.0).ppg[:, 1]

    assert np.diff(light[8000:11000]).std() > 1.2 * np.diff(light[1000:5000]).std()


def test_saturation_and_perfusion_fall():
    """Half a minute after the order they are where they were told to go."""
    assert truth(stories.desaturation()).pulses[-1].spo2_pct == pytest.approx(76.0, abs=0.5)
    assert truth(stories.cold_hand()).pulses[-1].perfusion_pct == pytest.approx(0.05, abs=0.02)


def test_without_the_clip_there_is_hardly_any_light():
    assert told(stories.clip_off(), 100.0).ppg[7000:].max() < 3000
    assert np.ptp(told(stories.poor_signal(), 100.0).ecg_mv[7000:, 0]) > 2.0
