"""The ECG of a sequence of beats: each wave a Gaussian around the R peak, in two leads.

This is the model of McSharry et al. (2003) in the form in which its equation of motion is solved by a sum of
Gaussians, one for each of P, Q, R, S and T, with two changes: the QRS complex keeps its width at every rate (in
the original it shrinks with the cycle), and P and T may rise and fall with different widths.  Atrial fibrillation
adds a saw-tooth of fibrillatory waves (Stridh & Sörnmo 2001); ventricular fibrillation is a band of oscillations
between 3 and 8 Hz without any QRS.

References
----------
.. [1] McSharry et al. (2003), A dynamical model for generating synthetic electrocardiogram signals,
   doi:10.1109/TBME.2003.808805
.. [2] Stridh & Sörnmo (2001), Spatiotemporal QRST cancellation techniques for analysis of atrial fibrillation,
   doi:10.1109/10.900266
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from firmware_bridge.virtual.respiration import Respiration
from firmware_bridge.virtual.rhythm import HeartBeat
from firmware_bridge.virtual.scenario import PatientSettings, Rhythm
from firmware_bridge.virtual.trajectory import FloatArray
from firmware_bridge.virtual.waves import (
    SHAPES,
    BeatForm,
    Morphology,
    Shape,
    WaveTimes,
    cycle_scale,
    formed,
    wave_times,
)

LEADS = ("II", "V1")
REACH_BEFORE_S = 0.6
"""No wave of a beat begins earlier than this before its R peak."""
REACH_AFTER_S = 1.1
"""No wave of a beat ends later than this after its R peak."""
RAMP_S = 0.3
"""Time in which fibrillatory waves come and go."""
_LATER = frozenset({Morphology.ABERRANT, Morphology.ABERRANT_PREMATURE})


class Electrocardiogram:
    """The electrical signal of the heart on the skin, in mV, without what an amplifier adds.

    Parameters
    ----------
    rng : numpy.random.Generator
        Makes this patient's hearts differ from another's: wave heights within 15 %, fibrillatory waves.
    respiration : Respiration
        Moves the heart and the electrodes.
    settings : PatientSettings, optional
        How much breathing is seen in the ECG.
    """

    def __init__(
        self, rng: np.random.Generator, respiration: Respiration, settings: PatientSettings | None = None
    ) -> None:
        settings = settings or PatientSettings()
        self._respiration = respiration
        self._breath_ratio = settings.breath_ecg_ratio
        self._breath_mv = settings.breath_baseline_mv
        # Shapes that came later draw from a source of their own, so that a patient stays who they are.
        later = rng.spawn(1)[0]
        self._shapes = {
            morphology: shape.personal(
                (later if morphology in _LATER else rng).uniform(0.85, 1.15, size=len(shape.waves)).tolist()
            )
            for morphology, shape in SHAPES.items()
        }
        self._usual_mv = self._shapes[Morphology.CONDUCTED].height_mv
        self._formed: dict[tuple[Morphology, BeatForm], Shape] = {}
        self._sway_hz = np.array([0.021, 0.047, 0.083])
        self._sway_phase = rng.uniform(0, 2 * np.pi, size=3)
        self._atrial = _FibrillatoryWaves(rng)
        self._ventricular = _VentricularFibrillation(rng)

    def at(
        self, at_s: FloatArray, beats: Iterable[HeartBeat], rhythms: Sequence[tuple[float, float, Rhythm]]
    ) -> FloatArray:
        """Return the two leads at the instants `at_s`, which must be consecutive samples.

        Parameters
        ----------
        at_s : ndarray, shape (n_samples,)
        beats : iterable of HeartBeat
            At least all within `REACH_AFTER_S` before and `REACH_BEFORE_S` after `at_s`.
        rhythms : sequence of (start_s, end_s, Rhythm)
            At least the spans that touch `at_s`, widened by `RAMP_S`.

        Returns
        -------
        ndarray, shape (n_samples, 2)
            Leads II and V1, in mV.
        """
        breath = self._respiration.wave(at_s)
        sway = np.sin(2 * np.pi * self._sway_hz * at_s[:, None] + self._sway_phase).sum(axis=1)
        wander = self._breath_mv * breath + 0.02 * sway
        signal = np.column_stack([wander, 0.8 * wander])
        for beat in beats:
            first, last = np.searchsorted(at_s, [beat.at_s - REACH_BEFORE_S, beat.at_s + REACH_AFTER_S])
            if first < last:
                signal[first:last] += self._beat(at_s[first:last] - beat.at_s, beat)
        for rhythm, source in (
            (Rhythm.ATRIAL_FIBRILLATION, self._atrial),
            (Rhythm.VENTRICULAR_FIBRILLATION, self._ventricular),
        ):
            spans = [(start_s, end_s) for start_s, end_s, kind in rhythms if kind is rhythm]
            for start_s, end_s in spans:
                signal += source.at(at_s) * presence(at_s, start_s, end_s)[:, None]
        return signal

    def wave_times(self, beat: HeartBeat) -> WaveTimes:
        """Return where the waves of a beat begin, peak and end."""
        return wave_times(self._shape(beat), beat.at_s, beat.cycle_s)

    def height_mv(self, beat: HeartBeat) -> tuple[float, float]:
        """Return the largest deflection of each single wave of the QRS complex in leads II and V1, with its sign."""
        size, qrs = self._size(beat), self._shape(beat).qrs
        ii, v1 = (size * max((wave.height_mv[lead] for wave in qrs), key=abs) for lead in range(2))
        return ii, v1

    def _shape(self, beat: HeartBeat) -> Shape:
        key = (beat.morphology, beat.form)
        if key not in self._formed:
            self._formed[key] = formed(self._shapes[beat.morphology], beat.morphology, beat.form, self._usual_mv)
        return self._formed[key]

    def _size(self, beat: HeartBeat) -> float:
        # Breathing turns the axis of the heart: the same beat is a few percent taller or lower.
        return beat.size_ratio * (1.0 + self._breath_ratio * float(self._respiration.wave(np.array([beat.at_s]))[0]))

    def _beat(self, offset_s: FloatArray, beat: HeartBeat) -> FloatArray:
        scale = cycle_scale(beat.cycle_s)
        size = self._size(beat)
        signal = np.zeros((len(offset_s), 2))
        # Waves are laid over each other, not cut off at the next beat: at high rates T and P merge as on paper.
        for wave in self._shape(beat).waves:
            stretch = scale if wave.is_cycle_scaled else 1.0
            distance = offset_s - wave.peak_s(scale)
            width = np.where(distance < 0, wave.rise_s * stretch, wave.fall_s * stretch)
            shape = np.exp(-0.5 * (distance / width) ** 2)
            signal += shape[:, None] * (np.array(wave.height_mv) * size)
        return signal


def presence(at_s: FloatArray, start_s: float, end_s: float) -> FloatArray:
    """Return 1 within a span and 0 outside it, with smooth flanks of `RAMP_S` after its start and after its end."""
    rise = np.clip((at_s - start_s) / RAMP_S, 0.0, 1.0)
    fall = np.clip((at_s - end_s) / RAMP_S, 0.0, 1.0) if math.isfinite(end_s) else 0.0
    return np.asarray(0.5 * (np.cos(np.pi * fall) - np.cos(np.pi * rise)))


class _FibrillatoryWaves:
    """Saw-tooth of about 6 Hz whose rate and height sway, largest in V1 (Stridh & Sörnmo 2001)."""

    N_HARMONICS = 4

    def __init__(self, rng: np.random.Generator) -> None:
        self._rate_hz = float(rng.uniform(5.5, 7.0))
        self._sway_hz = np.array([0.11, 0.37, 0.83])
        self._phase = rng.uniform(0, 2 * np.pi, size=(2, 3))

    def at(self, at_s: FloatArray) -> FloatArray:
        sway = 2 * np.pi * self._sway_hz * at_s[:, None]
        # The sum of the depths over the sway rates keeps the instantaneous rate within about +-1 Hz.
        angle = 2 * np.pi * self._rate_hz * at_s + (np.sin(sway + self._phase[0]) * (0.3 / self._sway_hz)).sum(axis=1)
        height = 1.0 + 0.18 * np.sin(sway + self._phase[1]).sum(axis=1)
        order = np.arange(1, self.N_HARMONICS + 1)
        saw = (np.sin(angle[:, None] * order) / order).sum(axis=1)
        return np.asarray((height * saw)[:, None] * np.array([0.04, 0.07]))


class _VentricularFibrillation:
    """Many oscillations between 3 and 8 Hz that beat against each other: chaotic to the eye, about 0.5 mV."""

    N_OSCILLATIONS = 24

    def __init__(self, rng: np.random.Generator) -> None:
        self._rate_hz = np.clip(rng.normal(5.2, 0.8, size=self.N_OSCILLATIONS), 3.0, 8.0)
        self._phase = rng.uniform(0, 2 * np.pi, size=(2, self.N_OSCILLATIONS))
        self._height_mv = 0.45 * np.sqrt(2.0 / self.N_OSCILLATIONS) * rng.uniform(0.6, 1.4, self.N_OSCILLATIONS)

    def at(self, at_s: FloatArray) -> FloatArray:
        angle = 2 * np.pi * self._rate_hz * at_s[:, None]
        wave_ii = (np.sin(angle + self._phase[0]) * self._height_mv).sum(axis=1)
        wave_v1 = (np.sin(angle + self._phase[1]) * self._height_mv).sum(axis=1)
        return np.column_stack([wave_ii, 0.6 * wave_ii + 0.5 * wave_v1])
