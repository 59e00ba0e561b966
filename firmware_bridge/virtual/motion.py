"""How the patient lies and moves: three axes of acceleration at the chest, in m/s2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from firmware_bridge.virtual.respiration import Respiration
from firmware_bridge.virtual.scenario import Activity, PatientState, Posture
from firmware_bridge.virtual.trajectory import FloatArray, Trajectory

STANDARD_GRAVITY_MPS2 = 9.80665
TURN_TIME_CONSTANT_S = 0.6
STEP_RATE_HZ = 1.8
"""Usual cadence of an adult, about 108 steps a minute."""

GRAVITY: Mapping[Posture, tuple[float, float, float]] = MappingProxyType(
    {
        Posture.SUPINE: (0.0, 0.0, 1.0),
        Posture.PRONE: (0.0, 0.0, -1.0),
        Posture.LEFT: (1.0, 0.0, 0.0),
        Posture.RIGHT: (-1.0, 0.0, 0.0),
        Posture.SITTING: (0.0, math.sin(math.radians(70)), math.cos(math.radians(70))),
        Posture.STANDING: (0.0, 1.0, 0.0),
    }
)
"""What an accelerometer at rest shows, in g: x to the patient's right, y to the head, z out of the chest."""


class Motion:
    """Acceleration at the chest as a function of time.

    Parameters
    ----------
    states : sequence of PatientState
        Time line; posture and activity are read.
    respiration : Respiration
        Lifts the chest.
    rng : numpy.random.Generator
        Phases of the patient's movements.
    """

    def __init__(self, states: Sequence[PatientState], respiration: Respiration, rng: np.random.Generator) -> None:
        self._respiration = respiration
        self._gravity = [
            Trajectory(
                [(state.at_s, GRAVITY[state.posture][axis]) for state in states], time_constant_s=TURN_TIME_CONSTANT_S
            )
            for axis in range(3)
        ]
        self._amount = {
            activity: Trajectory(
                [(state.at_s, 1.0 if state.activity is activity else 0.0) for state in states], time_constant_s=1.0
            )
            for activity in (Activity.RESTLESS, Activity.WALKING)
        }
        self._fidget_hz = rng.uniform(0.3, 4.0, size=(3, 8))
        self._fidget_phase = rng.uniform(0, 2 * np.pi, size=(3, 8))

    def at(self, at_s: FloatArray) -> FloatArray:
        """Return x, y and z at each instant, shape (n_samples, 3), in m/s2."""
        gravity = np.column_stack([axis.at(at_s) for axis in self._gravity])
        breath = self._respiration.wave(at_s)
        # Breathing tilts the sensor by about a degree: 0.02 g across the chest.
        still = gravity + breath[:, None] * np.array([0.0, 0.01, 0.02])
        moving = self._walking(at_s) * self._amount[Activity.WALKING].at(at_s)[:, None]
        moving += self.fidgeting(at_s) * self._amount[Activity.RESTLESS].at(at_s)[:, None]
        return np.asarray(STANDARD_GRAVITY_MPS2 * (still + moving))

    def fidgeting(self, at_s: FloatArray) -> FloatArray:
        """Return restless movement in g, shape (n_samples, 3): bursts of a few seconds."""
        angle = 2 * np.pi * self._fidget_hz * at_s[:, None, None] + self._fidget_phase
        burst = np.clip(np.sin(2 * np.pi * 0.11 * at_s + self._fidget_phase[0, 0]) + 0.2, 0.0, None)
        return np.asarray(0.08 * np.sin(angle).sum(axis=2) * burst[:, None])

    def _walking(self, at_s: FloatArray) -> FloatArray:
        angle = 2 * np.pi * STEP_RATE_HZ * at_s
        vertical = 0.25 * np.sin(angle) + 0.12 * np.sin(2 * angle + 0.7)
        return np.column_stack([0.10 * np.sin(angle / 2), vertical, 0.12 * np.sin(angle + 1.2)])
