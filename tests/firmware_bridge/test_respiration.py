"""Breathing."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.virtual.respiration import Respiration
from firmware_bridge.virtual.scenario import Scenario, Step

AT_S = np.arange(0.0, 240.0, 0.05)


def respiration(*steps, seed=1):
    return Respiration(Scenario(steps=steps).states(), np.random.default_rng(seed))


@pytest.mark.parametrize("rate_bpm", [8.0, 15.0, 30.0])
def test_as_many_breaths_as_ordered(rate_bpm):
    """Counting breaths over four minutes gives the rate, and inspiration is the shorter part."""
    wave = respiration(Step(at_s=0.0, respiratory_rate_bpm=rate_bpm)).wave(AT_S)

    n_breaths = ((wave[:-1] < 0) & (wave[1:] >= 0)).sum()

    assert n_breaths / 4 == pytest.approx(rate_bpm, rel=0.06)
    assert 0.35 < (np.diff(wave) > 0).mean() < 0.46
    assert np.abs(wave).max() < 1.3


def test_apnoea_is_flat_and_breathing_comes_back():
    """At a rate of zero the chest stands still within a few seconds."""
    breathing = respiration(Step(at_s=60.0, respiratory_rate_bpm=0.0), Step(at_s=120.0, respiratory_rate_bpm=15.0))
    wave = breathing.wave(AT_S)

    assert np.ptp(wave[(AT_S > 75) & (AT_S < 120)]) < 0.01
    assert np.ptp(wave[(AT_S > 130) & (AT_S < 150)]) > 1.5
    assert breathing.rate_bpm(np.array([110.0]))[0] < 0.01


def test_the_wave_is_smooth():
    """No step, even where the rate changes."""
    wave = respiration(Step(at_s=30.0, respiratory_rate_bpm=40.0)).wave(np.arange(0, 60, 0.001))

    assert np.abs(np.diff(wave)).max() < 0.01
