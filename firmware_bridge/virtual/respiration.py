"""Breathing: a wave between -1 and 1 that other signals lean on, and its impedance signal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from firmware_bridge.virtual.scenario import PatientState
from firmware_bridge.virtual.trajectory import FloatArray, Trajectory

INSPIRATION_RATIO = 0.4
"""Share of a breath spent breathing in: an inspiration to expiration ratio of 1 : 1.5."""
RATE_TIME_CONSTANT_S = 5.0
DEPTH_TIME_CONSTANT_S = 1.5


class Respiration:
    """The patient's breathing as a function of time alone.

    Parameters
    ----------
    states : sequence of PatientState
        Time line of the patient; only ``respiratory_rate_bpm`` is read, 0 is apnoea.
    rng : numpy.random.Generator
        Decides where in a breath the story begins and how breathing varies.
    """

    def __init__(self, states: Sequence[PatientState], rng: np.random.Generator) -> None:
        self._rate_bpm = Trajectory(
            [(state.at_s, state.respiratory_rate_bpm) for state in states], time_constant_s=RATE_TIME_CONSTANT_S
        )
        self._depth = Trajectory(
            [(state.at_s, 1.0 if state.respiratory_rate_bpm > 0 else 0.0) for state in states],
            time_constant_s=DEPTH_TIME_CONSTANT_S,
        )
        # Slow, incommensurable modulations make no two breaths alike and still need no memory.
        self._sway_hz = np.array([0.013, 0.0291, 0.0537])
        self._sway_phase = rng.uniform(0, 2 * np.pi, size=(2, 3))
        self._start_cycle = float(rng.uniform())

    def rate_bpm(self, at_s: FloatArray) -> FloatArray:
        """Return breaths per minute at each instant."""
        return self._rate_bpm.at(at_s)

    def wave(self, at_s: FloatArray) -> FloatArray:
        """Return the volume of the lungs at each instant: about -1 at the end of expiration, 1 at its start."""
        sway = 2 * np.pi * self._sway_hz * at_s[:, None]
        cycle = self._start_cycle + self._rate_bpm.integral(at_s) / 60.0
        cycle = cycle + 0.04 * np.sin(sway + self._sway_phase[0]).sum(axis=1)
        depth = self._depth.at(at_s) * (1.0 + 0.08 * np.sin(sway + self._sway_phase[1]).sum(axis=1))
        part = cycle % 1.0
        breathing_in = -np.cos(np.pi * part / INSPIRATION_RATIO)
        breathing_out = np.cos(np.pi * (part - INSPIRATION_RATIO) / (1.0 - INSPIRATION_RATIO))
        return np.asarray(depth * np.where(part < INSPIRATION_RATIO, breathing_in, breathing_out))
