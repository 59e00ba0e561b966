"""What a monitor says of breathing, from all signals of a virtual patient through the real pipeline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.behaviour import stories
from tests.behaviour.monitor import nurse

CHEST = ("ecg", "respiration")
APNOEA_S = 20.0
SETTLING_S = 6.0
"""Disclosed: so long after a hole the impedance settles, and nothing is concluded from it."""
LATENCY_S = 3.0
"""Disclosed: 2 s for a breath that may still come, at most 1 s to the next full second."""


def true_rate_bpm(truth, from_s, to_s):
    at_s = [breath.at_s for breath in truth.breaths if from_s <= breath.at_s <= to_s]
    return 60.0 / np.median(np.diff(at_s))


@pytest.mark.parametrize("rate_bpm", [8.0, 14.0, 30.0])
def test_the_breathing_rate_is_right(rate_bpm):
    """Within 1.5 /min of the true breaths of the last half minute, at nine seconds of ten."""
    monitor, truth = nurse(stories.story(respiratory_rate_bpm=rate_bpm, streams=CHEST), 110.0)

    shown = {at_s: monitor.value("respiratory_rate_bpm", at_s) for at_s in range(50, 108)}
    there = {at_s: value for at_s, value in shown.items() if value is not None}

    assert len(there) >= 0.9 * len(shown)
    for at_s, value in there.items():
        assert value == pytest.approx(true_rate_bpm(truth, at_s - 32.0, at_s), abs=max(1.5, 0.1 * rate_bpm))


@pytest.mark.parametrize(("seed", "cardiac_ohm"), [(1, 0.0), (2, 0.3)])
def test_apnoea_is_noticed_in_time_although_the_heart_moves_the_chest(seed, cardiac_ohm):
    """Twenty seconds after the last breath and at most three more; breathing again ends it; nobody calls the heart ill."""
    monitor, truth = nurse(stories.apnoea(60.0, 40.0, cardiac_ohm=cardiac_ohm, seed=seed), 125.0)
    (apnoea,) = truth.apnoeas

    (raised_s,) = monitor.raised_s("apnoea")

    # The last breath may fade away before it is one: the true beginning is known to a few seconds.
    assert APNOEA_S - 1.0 <= raised_s - apnoea.start_s <= APNOEA_S + LATENCY_S + 1.0
    assert monitor.values("respiratory_rate_bpm", 90, 99) == [None] * 10
    assert monitor.ended_s("apnoea") == pytest.approx([apnoea.end_s + 8.0], abs=8.0)
    assert monitor.conditions() == {"apnoea"}


@pytest.mark.parametrize("story", [stories.short_pauses(), stories.shallow_breathing()])
def test_no_apnoea_while_somebody_breathes(story):
    """Quiet breathing, pauses of less than ten seconds, and breaths of a third of the depth."""
    monitor, truth = nurse(story, 120.0)

    assert not truth.apnoeas
    assert not monitor.conditions()


def test_a_detached_electrode_is_no_apnoea():
    """The chest is not measured for a minute: the electrodes are to be checked, and nothing is said of breathing."""
    monitor, _ = nurse(stories.detached_electrode(60.0, 60.0), 150.0)

    assert not monitor.raised_s("apnoea")
    assert min(monitor.raised_s("saturated:bed/respiration")) < 70.0


def test_an_apnoea_behind_a_detached_electrode_is_found_when_it_is_back():
    """Breathing stops while the electrodes are off and does not come back with them."""
    story = stories.apnoea(70.0, 200.0)
    off = stories.detached_electrode(60.0, 30.0).faults
    monitor, _ = nurse(replace(story, faults=off), 140.0)

    (raised_s,) = monitor.raised_s("apnoea")

    assert 100.0 <= raised_s <= 90.0 + SETTLING_S + APNOEA_S + LATENCY_S
