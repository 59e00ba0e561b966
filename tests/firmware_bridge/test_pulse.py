"""Light through the finger."""

from __future__ import annotations

import numpy as np
import pytest

from edge.messages import BeatKind
from firmware_bridge.virtual.pulse import INFRARED_DC, Photoplethysmogram, ratio_of_ratios
from firmware_bridge.virtual.respiration import Respiration
from firmware_bridge.virtual.rhythm import HeartBeat
from firmware_bridge.virtual.scenario import Scenario, Step
from firmware_bridge.virtual.trajectory import Trajectory
from firmware_bridge.virtual.waves import Morphology

AT_S = np.arange(0.0, 6.0, 0.01)


def finger(**state):
    states = Scenario(steps=(Step(at_s=0.0, respiratory_rate_bpm=0.0, **state),)).states()
    rng = np.random.default_rng(1)
    return Photoplethysmogram(states, Trajectory([(0.0, 97.0)], time_constant_s=1.0), Respiration(states, rng), rng)


def beat(at_s, pulse_ratio=1.0):
    return HeartBeat(
        at_s=at_s,
        rr_s=0.9,
        cycle_s=0.9,
        kind=BeatKind.NORMAL,
        morphology=Morphology.CONDUCTED,
        size_ratio=1.0,
        pulse_ratio=pulse_ratio,
    )


def test_foot_comes_after_the_transit_time():
    """Nothing rises before the transit time has passed; half the height is reached within 150 ms after it."""
    light = finger()

    wave = light.at(AT_S, [beat(2.0)])[:, 1] - light.at(AT_S, [])[:, 1]

    at_foot = round((2.0 + light.transit_s) * 100)
    assert wave[: at_foot - 2].max() < 0.03 * wave.max()
    assert wave[at_foot + 15] > 0.5 * wave.max()


def test_perfusion_is_the_share_of_pulsating_light():
    """A perfusion index of 3 % makes a pulse of 3 % of the steady infrared light."""
    light = finger(perfusion_pct=3.0)

    wave = light.at(AT_S, [beat(2.0)])[:, 1] - light.at(AT_S, [])[:, 1]

    assert wave.max() / INFRARED_DC == pytest.approx(0.03, rel=0.05)


def test_a_weak_beat_makes_a_weak_and_later_pulse():
    """Half the strength is half the height, and the valve opens later."""
    light = finger()
    still = light.at(AT_S, [])[:, 1]

    full, weak = (light.at(AT_S, [beat(2.0, ratio)])[:, 1] - still for ratio in (1.0, 0.5))

    assert weak.max() / full.max() == pytest.approx(0.5, abs=0.01)
    assert weak.argmax() > full.argmax()


def test_no_beats_no_pulse():
    """Without beats only the slow baseline is left."""
    light = finger().at(AT_S, [])

    assert np.ptp(light, axis=0).max() < 0.005 * INFRARED_DC


def test_lower_saturation_is_a_higher_ratio():
    """The line through (97.5, 0.5) and (85, 1)."""
    assert ratio_of_ratios(np.array([97.5, 85.0, 60.0])) == pytest.approx([0.5, 1.0, 2.0])
