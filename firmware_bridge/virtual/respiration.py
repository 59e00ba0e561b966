"""Breathing: a wave between -1 and 1 that other signals lean on, and its impedance signal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from firmware_bridge.virtual.scenario import PatientState
from firmware_bridge.virtual.trajectory import FloatArray, Trajectory
from firmware_bridge.virtual.truth import TrueApnoea, TrueBreath

INSPIRATION_RATIO = 0.4
"""Share of a breath spent breathing in: an inspiration to expiration ratio of 1 : 1.5."""
RATE_TIME_CONSTANT_S = 5.0
DEPTH_TIME_CONSTANT_S = 1.5
LEAST_BREATH_RATIO = 0.1
"""A shallower breath moves no air that counts."""
APNOEA_S = 10.0
"""Without a breath for so long it is an apnoea (AASM, in adults)."""
_GRID_S = 0.05
_LOOK_BACK_S = 60.0


class Respiration:
    """The patient's breathing as a function of time alone.

    Parameters
    ----------
    states : sequence of PatientState
        Time line of the patient; rate and depth of breathing are read, a rate of 0 is apnoea.
    rng : numpy.random.Generator
        Decides where in a breath the story begins and how breathing varies.
    """

    def __init__(self, states: Sequence[PatientState], rng: np.random.Generator) -> None:
        self._rate_bpm = Trajectory(
            [(state.at_s, state.respiratory_rate_bpm) for state in states], time_constant_s=RATE_TIME_CONSTANT_S
        )
        self._depth = Trajectory(
            [(s.at_s, s.respiratory_depth_ratio if s.respiratory_rate_bpm > 0 else 0.0) for s in states],
            time_constant_s=DEPTH_TIME_CONSTANT_S,
        )
        # Slow, incommensurable modulations make no two breaths alike and still need no memory.
        self._sway_hz = np.array([0.013, 0.0291, 0.0537])
        self._sway_phase = rng.uniform(0, 2 * np.pi, size=(2, 3))
        self._start_cycle = float(rng.uniform())
        self._is_stopped = [(state.at_s, _is_stopped(state)) for state in states]

    def rate_bpm(self, at_s: FloatArray) -> FloatArray:
        """Return breaths per minute at each instant."""
        return self._rate_bpm.at(at_s)

    def wave(self, at_s: FloatArray) -> FloatArray:
        """Return the volume of the lungs at each instant: about -1 at the end of expiration, 1 at its start."""
        part = self._cycle(at_s) % 1.0
        breathing_in = -np.cos(np.pi * part / INSPIRATION_RATIO)
        breathing_out = np.cos(np.pi * (part - INSPIRATION_RATIO) / (1.0 - INSPIRATION_RATIO))
        return np.asarray(self._swing(at_s) * np.where(part < INSPIRATION_RATIO, breathing_in, breathing_out))

    def breaths(self, from_s: float, to_s: float) -> tuple[TrueBreath, ...]:
        """Return the breaths that begin between two instants and are deep enough to be one."""
        # A breath that began before its cycle was ordered to stop ends all the same, hence the grid beyond the end.
        grid_s = np.arange(math.floor(from_s) - 1.0, to_s + 15.0, _GRID_S)
        starts_s = self._crossings(grid_s, 0.0)
        starts_s = starts_s[(starts_s >= max(0.0, from_s)) & (starts_s < to_s)]
        peaks_s = self._crossings(grid_s, INSPIRATION_RATIO)
        found = []
        for start_s in starts_s:
            later_s = peaks_s[peaks_s > start_s]
            # Where breathing stops within a breath, the wave fades instead of reaching its peak.
            if not len(later_s) or later_s[0] - start_s > APNOEA_S:
                continue
            depth_ratio = float(self._swing(np.array([start_s, later_s[0]])).mean())
            if depth_ratio >= LEAST_BREATH_RATIO:
                found.append(TrueBreath(at_s=float(start_s), peak_s=float(later_s[0]), depth_ratio=depth_ratio))
        return tuple(found)

    def apnoeas(self, from_s: float, to_s: float) -> tuple[TrueApnoea, ...]:
        """Return the stretches without a breath that touch the one asked for."""
        back_s = self._back_s(from_s)
        edges_s = [back_s, *(breath.at_s for breath in self.breaths(back_s, to_s)), to_s]
        return tuple(
            TrueApnoea(start_s=start_s, end_s=end_s)
            for start_s, end_s in itertools.pairwise(edges_s)
            if end_s - start_s >= APNOEA_S and end_s > from_s and self._is_breathless(0.5 * (start_s + end_s))
        )

    def _back_s(self, from_s: float) -> float:
        """Return an instant before the last breath before an apnoea that may be there at `from_s`."""
        began_s = from_s
        for at_s, is_stopped in reversed([state for state in self._is_stopped if state[0] <= from_s]):
            if not is_stopped:
                break
            began_s = at_s
        return max(0.0, began_s - _LOOK_BACK_S)

    def _is_breathless(self, at_s: float) -> bool:
        return float(self._depth.at(np.array([at_s]))[0]) < LEAST_BREATH_RATIO

    def _cycle(self, at_s: FloatArray) -> FloatArray:
        """Return the number of breaths so far, with a part."""
        sway = 2 * np.pi * self._sway_hz * at_s[:, None]
        cycle = self._start_cycle + self._rate_bpm.integral(at_s) / 60.0
        return np.asarray(cycle + 0.04 * np.sin(sway + self._sway_phase[0]).sum(axis=1))

    def _swing(self, at_s: FloatArray) -> FloatArray:
        sway = 2 * np.pi * self._sway_hz * at_s[:, None]
        return np.asarray(self._depth.at(at_s) * (1.0 + 0.08 * np.sin(sway + self._sway_phase[1]).sum(axis=1)))

    def _crossings(self, grid_s: FloatArray, part: float) -> FloatArray:
        """Return the instants at which a breath reaches `part` of its cycle."""
        cycle = self._cycle(grid_s) - part
        before = np.flatnonzero(np.floor(cycle[1:]) > np.floor(cycle[:-1]))
        # Linear between grid points: breathing does not speed up noticeably within 50 ms.
        share = (np.floor(cycle[before + 1]) - cycle[before]) / (cycle[before + 1] - cycle[before])
        return np.asarray(grid_s[before] + share * _GRID_S)


def _is_stopped(state: PatientState) -> bool:
    return state.respiratory_rate_bpm <= 0 or state.respiratory_depth_ratio < LEAST_BREATH_RATIO
