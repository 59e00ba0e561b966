"""Acceleration at the chest."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.virtual.motion import STANDARD_GRAVITY_MPS2, STEP_RATE_HZ, Motion
from firmware_bridge.virtual.respiration import Respiration
from firmware_bridge.virtual.scenario import Activity, Posture, Scenario, Step

AT_S = np.arange(0.0, 60.0, 0.02)


def acceleration(*steps):
    states = Scenario(steps=steps).states()
    rng = np.random.default_rng(1)
    return Motion(states, Respiration(states, rng), rng).at(AT_S)


@pytest.mark.parametrize("posture", list(Posture))
def test_at_rest_there_is_gravity_and_breathing(posture):
    """The length of the vector is 1 g within 3 % in every posture; the patient hardly moves."""
    values = acceleration(Step(at_s=0.0, posture=posture))

    assert np.linalg.norm(values, axis=1) == pytest.approx(STANDARD_GRAVITY_MPS2, rel=0.03)
    assert 0.0 < values.std(axis=0).max() < 0.3


def test_turning_over_takes_a_second():
    """The axis of gravity moves from z to x, within a few seconds and not at once."""
    values = acceleration(Step(at_s=30.0, posture=Posture.LEFT)) / STANDARD_GRAVITY_MPS2

    assert values[AT_S < 29].mean(axis=0) == pytest.approx([0, 0, 1], abs=0.05)
    assert values[AT_S > 35].mean(axis=0) == pytest.approx([1, 0, 0], abs=0.05)
    assert 0.1 < values[np.abs(AT_S - 30.6) < 0.01][0, 0] < 0.9


def test_walking_has_the_cadence():
    """The vertical axis swings at the rate of steps."""
    values = acceleration(Step(at_s=0.0, posture=Posture.STANDING, activity=Activity.WALKING))

    power = np.abs(np.fft.rfft(values[:, 1] - values[:, 1].mean()))
    assert np.fft.rfftfreq(len(AT_S), 0.02)[power.argmax()] == pytest.approx(STEP_RATE_HZ, abs=0.02)
    assert values[:, 1].std() > 1.0


def test_restless_is_more_than_rest():
    """Fidgeting is seen on every axis."""
    rest, restless = (
        acceleration(Step(at_s=0.0, activity=activity)) for activity in (Activity.REST, Activity.RESTLESS)
    )

    assert (restless.std(axis=0) > 2 * rest.std(axis=0)).all()
