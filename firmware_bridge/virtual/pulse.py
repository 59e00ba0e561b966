"""Light through the finger: red and infrared photoplethysmogram that follow the heart and agree with the SpO2.

Values are shown upright, more blood is a higher value, as most front ends deliver them; unit 1 (arbitrary).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from firmware_bridge.virtual.respiration import Respiration
from firmware_bridge.virtual.rhythm import HeartBeat
from firmware_bridge.virtual.scenario import PatientSettings, PatientState
from firmware_bridge.virtual.trajectory import FloatArray, Trajectory
from firmware_bridge.virtual.truth import TruePulse
from firmware_bridge.virtual.waves import EDGE_SD

REACH_AFTER_S = 2.0
"""No pulse wave ends later than this after the R peak of its beat."""
INFRARED_DC = 100_000.0
RED_DC = 80_000.0
"""Steady light, in counts of an 18-bit front end, chosen to leave room above."""

GREEN_DC = 60_000.0
WRIST_EARLIER_S = 0.02
"""The wrist lies a few centimetres before the fingertip: 20 ms at 5-10 m/s."""
WRIST_PERFUSION_RATIO = 0.4
"""Perfusion seen at the wrist, relative to the finger; reflection there sees less pulsating blood (own choice)."""

SYSTOLIC_S = 0.15
"""From the onset of a pulse to its peak, in a cycle of one second."""
SYSTOLIC_RISE_S = 0.055
DICROTIC_S = 0.42
LATE_ONSET_S = 0.04
"""So much later the valve opens for a beat that ejects nothing."""

SPO2_AT_RATIO_ZERO_PCT = 110.0
SPO2_PER_RATIO_PCT = 25.0
"""The usual first approximation SpO2 = 110 - 25 R (Webster 1997, Design of Pulse Oximeters, chapter 10)."""


def ratio_of_ratios(spo2_pct: FloatArray) -> FloatArray:
    """Return R = (AC/DC of red) / (AC/DC of infrared) that stands for a saturation.

    Examples
    --------
    >>> ratio_of_ratios(np.array([97.5, 85.0])).tolist()
    [0.5, 1.0]
    """
    return np.asarray((SPO2_AT_RATIO_ZERO_PCT - spo2_pct) / SPO2_PER_RATIO_PCT)


class Photoplethysmogram:
    """The pulse at the finger as a function of the beats.

    Parameters
    ----------
    states : sequence of PatientState
        Time line; ``perfusion_pct`` is read.
    spo2_pct : Trajectory
        The patient's saturation.
    respiration : Respiration
        Moves the baseline.
    rng : numpy.random.Generator
        This patient's pulse transit time and the shape of the wave.
    settings : PatientSettings, optional
        The same, where the scenario orders them; and how much breathing is seen in the light.
    """

    def __init__(
        self,
        states: Sequence[PatientState],
        spo2_pct: Trajectory,
        respiration: Respiration,
        rng: np.random.Generator,
        settings: PatientSettings | None = None,
    ) -> None:
        self._settings = settings = settings or PatientSettings()
        self._spo2_pct = spo2_pct
        self._respiration = respiration
        self._perfusion_pct = Trajectory([(state.at_s, state.perfusion_pct) for state in states], time_constant_s=5.0)
        self._transit_s = float(rng.uniform(0.18, 0.24))
        self._notch_ratio = float(rng.uniform(0.25, 0.45))
        if settings.pulse_transit_ms is not None:
            self._transit_s = settings.pulse_transit_ms / 1000.0
        if settings.dicrotic_ratio is not None:
            self._notch_ratio = settings.dicrotic_ratio
        self._sway_phase = rng.uniform(0, 2 * np.pi, size=2)

    @property
    def transit_s(self) -> float:
        """Time from the R peak to the onset of a strong pulse at the finger."""
        return self._transit_s

    def at(self, at_s: FloatArray, beats: Iterable[HeartBeat]) -> FloatArray:
        """Return red and infrared at consecutive instants, shape (n_samples, 2).

        `beats` are at least all within `REACH_AFTER_S` before `at_s`.
        """
        pulse, baseline = self._wave(at_s, beats), self._baseline(at_s)
        infrared = self._perfusion_pct.at(at_s) / 100.0 * pulse
        red = ratio_of_ratios(self._spo2_pct.at(at_s)) * infrared
        return np.column_stack([RED_DC * (1.0 + red + baseline), INFRARED_DC * (1.0 + infrared + baseline)])

    def wrist(self, at_s: FloatArray, beats: Iterable[HeartBeat]) -> FloatArray:
        """Return green light reflected at the wrist, shape (n_samples,): a weaker pulse that is there a little earlier."""
        pulse = self._wave(at_s + WRIST_EARLIER_S, beats)
        perfusion = WRIST_PERFUSION_RATIO * self._perfusion_pct.at(at_s) / 100.0
        return np.asarray(GREEN_DC * (1.0 + perfusion * pulse + self._baseline(at_s)))

    def _wave(self, at_s: FloatArray, beats: Iterable[HeartBeat]) -> FloatArray:
        pulse = np.zeros(len(at_s))
        for beat in beats:
            first, last = np.searchsorted(at_s, [beat.at_s, beat.at_s + REACH_AFTER_S])
            if first < last:
                pulse[first:last] += self._pulse(at_s[first:last] - beat.at_s, beat)
        return pulse

    def _baseline(self, at_s: FloatArray) -> FloatArray:
        slow = np.sin(2 * np.pi * np.array([0.03, 0.1]) * at_s[:, None] + self._sway_phase).sum(axis=1)
        # The venous swing of breathing is a few times smaller than the pulse and alike in both colours.
        return np.asarray(self._settings.breath_light_ratio * self._respiration.wave(at_s) + 0.001 * slow)

    def pulse(self, beat: HeartBeat) -> TruePulse:
        """Return what is true of the pulse that a beat makes."""
        scale, onset_s = _scale(beat), beat.at_s + self._onset_s(beat)
        peak_s = onset_s + SYSTOLIC_S * scale
        instant = np.array([peak_s])
        return TruePulse(
            beat_at_s=beat.at_s,
            onset_s=onset_s,
            foot_s=peak_s - EDGE_SD * SYSTOLIC_RISE_S * scale,
            peak_s=peak_s,
            dicrotic_s=onset_s + DICROTIC_S * scale,
            perfusion_pct=float(self._perfusion_pct.at(instant)[0]) * self._strength(beat),
            spo2_pct=float(self._spo2_pct.at(instant)[0]),
        )

    def _onset_s(self, beat: HeartBeat) -> float:
        # A beat that ejects little also opens the valve later.
        return self._transit_s + LATE_ONSET_S * (1.0 - beat.pulse_ratio)

    def _strength(self, beat: HeartBeat) -> float:
        if self._settings.breath_pulse_ratio == 0.0:
            return beat.pulse_ratio
        breath = float(self._respiration.wave(np.array([beat.at_s]))[0])
        return beat.pulse_ratio * (1.0 + self._settings.breath_pulse_ratio * breath)

    def _pulse(self, offset_s: FloatArray, beat: HeartBeat) -> FloatArray:
        """Return one pulse, foot to peak 1: a steep systolic rise, then a slower fall with the dicrotic wave."""
        scale, onset_s = _scale(beat), self._onset_s(beat)
        systolic = offset_s - (onset_s + SYSTOLIC_S * scale)
        dicrotic = offset_s - (onset_s + DICROTIC_S * scale)
        width = np.where(systolic < 0, SYSTOLIC_RISE_S * scale, 0.13 * scale)
        wave = np.exp(-0.5 * (systolic / width) ** 2)
        wave += self._notch_ratio * np.exp(-0.5 * (dicrotic / (0.10 * scale)) ** 2)
        return np.asarray(self._strength(beat) * wave)


def _scale(beat: HeartBeat) -> float:
    """Return by how much the pulse of this beat is stretched: waves are shorter at higher rates."""
    return math.sqrt(min(1.3, max(0.25, beat.cycle_s)))
