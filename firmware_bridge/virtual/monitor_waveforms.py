"""The test waveforms of the cardiac-monitor standards, constructed after their published description.

IEC 60601-2-27 (before it ANSI/AAMI EC13) tests a heart rate meter with triangular QRS complexes, tall T waves, pacing
pulses, four irregular rhythms (figures 3a-3d) and two ventricular tachycardias (4a, 4b); IEC 60601-2-47 tests heart
rate variability with intervals that follow a sine.  The standards and the recorded waveforms of figures 3 and 4 are
not free.  What is built here has the rates, amplitudes and durations that makers of monitors and of testers disclose
for them; the intervals *within* the irregular rhythms and the shapes of the tachycardias are our own.

::

    wave = regular(80.0, 60.0, qrs_mv=0.5, qrs_ms=40.0)
    wave.values_mv, wave.rate_hz        # (15000,), 250.0
    wave.beats_s                        # every QRS complex, at its peak
    with_mains(wave, 50.0, 0.1)

References
----------
.. [1] PhysioNet, ANSI/AAMI EC13 Test Waveforms (page): figures 4 follow 30 s of triangular waves without a pause
.. [2] Mindray uMEC15 and GE B20 manuals, performance of the heart rate meter: rates of 3a-3d, 4a and 4b, tall T waves
.. [3] WhaleTeq ECG test system manual, HRV patterns of IEC 60601-2-47: rr(k) = a + d sin(2 pi f T(k))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from firmware_bridge.virtual.trajectory import FloatArray

RATE_HZ = 250.0
NOISE_MV = 0.005
"""White noise of a good front end, RMS; without any, a channel between beats would look like a dead one."""
RANGE_MV = 5.0
"""What a monitor must take at least (IEC 60601-2-27): an amplifier cuts off there."""
FIRST_BEAT_S = 0.5
NORMAL_BPM = 80.0
"""Rate before a tachycardia begins."""
NORMAL_S = 30.0
"""So long triangular waves go before figures 4a and 4b [1]_."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waveform:
    """One lead and the truth about it."""

    values_mv: FloatArray
    """Shape (n_samples,)."""
    rate_hz: float
    beats_s: tuple[float, ...]
    """Peak of every QRS complex."""

    @property
    def rate_bpm(self) -> float:
        """Mean heart rate when every QRS complex is counted."""
        return 60.0 * (len(self.beats_s) - 1) / (self.beats_s[-1] - self.beats_s[0])

    @property
    def time_s(self) -> FloatArray:
        """Instant of each sample."""
        return np.arange(len(self.values_mv)) / self.rate_hz


@dataclass(frozen=True, slots=True, kw_only=True)
class Complex:
    """A triangular QRS complex and its T wave, half a cosine."""

    qrs_mv: float = 1.0
    qrs_ms: float = 100.0
    t_mv: float = 0.2
    t_ms: float = 180.0
    qt_ms: float = 350.0
    """From the beginning of QRS to the end of T."""


def triangles(
    beats_s: Sequence[float],
    duration_s: float,
    *,
    rate_hz: float = RATE_HZ,
    shapes: Sequence[Complex] = (Complex(),),
    noise_mv: float = NOISE_MV,
) -> Waveform:
    """Return triangular QRS complexes, each with its T wave.

    Parameters
    ----------
    beats_s : sequence of float
        Peak of each QRS complex.
    duration_s : float
    rate_hz : float
    shapes : sequence of Complex
        Taken in turn, one for each beat.
    noise_mv : float
        RMS of the white noise.
    """
    values = noise_mv * np.random.default_rng(0).standard_normal(round(duration_s * rate_hz))
    for k, at_s in enumerate(beats_s):
        shape = shapes[k % len(shapes)]
        first = max(0, math.floor((at_s - 0.5) * rate_hz))
        time_s = np.arange(first, min(len(values), math.ceil((at_s + 1.0) * rate_hz))) / rate_hz - at_s
        values[first : first + len(time_s)] += _complex(time_s, shape)
    return Waveform(values_mv=values, rate_hz=rate_hz, beats_s=tuple(float(s) for s in beats_s if s < duration_s))


def regular(
    heart_rate_bpm: float,
    duration_s: float,
    *,
    rate_hz: float = RATE_HZ,
    shape: Complex | None = None,
    noise_mv: float = NOISE_MV,
) -> Waveform:
    """Return one QRS complex after another at a constant rate."""
    beats_s = np.arange(FIRST_BEAT_S, duration_s, 60.0 / heart_rate_bpm)
    return triangles(
        beats_s.tolist(), duration_s, rate_hz=rate_hz, shapes=(shape or _fitting(heart_rate_bpm),), noise_mv=noise_mv
    )


def rate_step(
    from_bpm: float, to_bpm: float, duration_s: float, *, at_s: float = 60.0, rate_hz: float = RATE_HZ
) -> Waveform:
    """Return a constant rate that changes to another with the first beat after `at_s`, without a pause."""
    before_s = np.arange(FIRST_BEAT_S, at_s + 60.0 / from_bpm, 60.0 / from_bpm)
    after_s = np.arange(before_s[-1] + 60.0 / to_bpm, duration_s, 60.0 / to_bpm)
    shape = _fitting(max(from_bpm, to_bpm))
    return triangles([*before_s.tolist(), *after_s.tolist()], duration_s, rate_hz=rate_hz, shapes=(shape,))


def standstill(heart_rate_bpm: float, duration_s: float, *, at_s: float, rate_hz: float = RATE_HZ) -> Waveform:
    """Return a constant rate that ends: no QRS complex after `at_s`."""
    beats_s = np.arange(FIRST_BEAT_S, at_s, 60.0 / heart_rate_bpm)
    return triangles(beats_s.tolist(), duration_s, rate_hz=rate_hz)


def sine_intervals(
    mean_s: float, swing_s: float, swing_hz: float, duration_s: float, *, rate_hz: float = RATE_HZ
) -> Waveform:
    """Return triangular pulses of 1 mV and 100 ms whose intervals follow a sine, to test heart rate variability [3]_.

    Interval k is ``mean_s + swing_s sin(2 pi swing_hz T(k))``, with T(k) the instant at which it begins.

    Examples
    --------
    >>> intervals_s = np.diff(sine_intervals(1.0, 0.07, 0.1, 300.0).beats_s)
    >>> round(float(1000 * intervals_s.std(ddof=1)), 1)
    49.6
    """
    beats_s = [FIRST_BEAT_S]
    while beats_s[-1] < duration_s:
        since_s = beats_s[-1] - FIRST_BEAT_S
        beats_s.append(beats_s[-1] + mean_s + swing_s * math.sin(2 * math.pi * swing_hz * since_s))
    return triangles(beats_s[:-1], duration_s, rate_hz=rate_hz, shapes=(Complex(t_mv=0.0),))


# --- figures 3: irregular rhythms --------------------------------------------------------------------------

_NORMAL = Complex(qrs_ms=80.0, qt_ms=340.0, t_ms=160.0)
_WIDE = Complex(qrs_mv=1.4, qrs_ms=150.0, t_mv=-0.35, t_ms=180.0, qt_ms=390.0)
_WIDE_DOWN = Complex(qrs_mv=-1.4, qrs_ms=150.0, t_mv=0.35, t_ms=180.0, qt_ms=390.0)
_FAST_WIDE = Complex(qrs_mv=1.4, qrs_ms=140.0, t_mv=-0.3, t_ms=140.0, qt_ms=330.0)
_IRREGULAR: Mapping[str, tuple[tuple[float, ...], tuple[Complex, ...]]] = MappingProxyType(
    {
        "3a": ((0.55, 0.95), (_NORMAL, _WIDE)),
        "3b": ((0.60, 1.40), (_NORMAL, _WIDE)),
        "3c": ((0.42, 0.58), (_NORMAL, _FAST_WIDE)),
        "3d": ((0.64, 2 / 1.5 - 0.64), (_WIDE, _WIDE_DOWN)),
    }
)
"""Intervals after each of the two beats of a pattern, and their shapes."""


def ventricular_bigeminy(duration_s: float, *, rate_hz: float = RATE_HZ) -> Waveform:
    """Return figure 3a: a premature ventricular beat after every normal one, 80 QRS complexes a minute."""
    return _alternating("3a", duration_s, rate_hz)


def slow_alternating_bigeminy(duration_s: float, *, rate_hz: float = RATE_HZ) -> Waveform:
    """Return figure 3b: couples of a normal and a ventricular beat with long pauses, 60 QRS complexes a minute."""
    return _alternating("3b", duration_s, rate_hz)


def rapid_alternating_bigeminy(duration_s: float, *, rate_hz: float = RATE_HZ) -> Waveform:
    """Return figure 3c: the same without pauses, 120 QRS complexes a minute."""
    return _alternating("3c", duration_s, rate_hz)


def bidirectional_systoles(duration_s: float, *, rate_hz: float = RATE_HZ) -> Waveform:
    """Return figure 3d: wide beats that point up and down in turn, 90 QRS complexes a minute."""
    return _alternating("3d", duration_s, rate_hz)


def _alternating(name: str, duration_s: float, rate_hz: float) -> Waveform:
    intervals_s, shapes = _IRREGULAR[name]
    beats_s = [FIRST_BEAT_S]
    while beats_s[-1] < duration_s:
        beats_s.append(beats_s[-1] + intervals_s[(len(beats_s) - 1) % len(intervals_s)])
    return triangles(beats_s[:-1], duration_s, rate_hz=rate_hz, shapes=shapes)


# --- figures 4: ventricular tachycardias -------------------------------------------------------------------


def tachycardia_4a(
    duration_s: float, *, size_ratio: float = 1.0, normal_s: float = NORMAL_S, rate_hz: float = RATE_HZ
) -> Waveform:
    """Return normal beats, then at once a ventricular tachycardia of 206 a minute and 1 mV, as broad as a sine."""
    return _tachycardia(206.0, 1.0 * size_ratio, _sine_like, duration_s, normal_s, rate_hz)


def tachycardia_4b(
    duration_s: float, *, size_ratio: float = 1.0, normal_s: float = NORMAL_S, rate_hz: float = RATE_HZ
) -> Waveform:
    """Return normal beats, then at once a ventricular tachycardia of 195 a minute and 2 mV with steep upstrokes."""
    return _tachycardia(195.0, 2.0 * size_ratio, _saw_like, duration_s, normal_s, rate_hz)


def _tachycardia(
    heart_rate_bpm: float,
    swing_mv: float,
    shape: Callable[[FloatArray], FloatArray],
    duration_s: float,
    normal_s: float,
    rate_hz: float,
) -> Waveform:
    # Counted back from the transition, which comes as soon as the last T wave is over.
    kept_s = np.arange(normal_s - 0.4, 0.2, -60.0 / NORMAL_BPM)[::-1].tolist()
    wave = triangles(kept_s, duration_s, rate_hz=rate_hz)
    cycle_s = 60.0 / heart_rate_bpm
    cycles = (wave.time_s - normal_s) / cycle_s
    one = shape(np.arange(1000) / 1000.0)
    fast = swing_mv / np.ptp(one) * (shape(cycles % 1.0) - shape(np.zeros(1)))
    values = wave.values_mv + np.where(cycles >= 0, fast, 0.0)
    peaks_s = np.arange(normal_s + cycle_s * one.argmax() / 1000.0, duration_s, cycle_s)
    return replace(wave, values_mv=values, beats_s=(*kept_s, *peaks_s.tolist()))


def _sine_like(part: FloatArray) -> FloatArray:
    """Return one cycle of a monomorphic tachycardia in which QRS and T cannot be told apart."""
    angle = 2 * np.pi * part
    return np.asarray(-np.cos(angle) + 0.30 * np.cos(2 * angle + 0.9))


def _saw_like(part: FloatArray) -> FloatArray:
    """Return one cycle with a wide upright QRS complex, steeper before its peak than after, and a T wave against it."""
    rise, fall = part - 0.30, part - 0.70
    qrs = np.exp(-0.5 * (rise / np.where(rise < 0, 0.09, 0.13)) ** 2)
    return np.asarray(qrs - 0.45 * np.exp(-0.5 * (fall / 0.11) ** 2))


# --- what is added to a waveform ---------------------------------------------------------------------------


def with_drift(wave: Waveform, swing_mv: float, frequency_hz: float = 0.1) -> Waveform:
    """Return the waveform with its baseline going up and down in a triangle, `swing_mv` from end to end."""
    cycles = wave.time_s * frequency_hz
    triangle = 2.0 * np.abs((cycles % 1.0) - 0.5)
    return replace(wave, values_mv=wave.values_mv + swing_mv * (triangle - triangle[0]))


def with_mains(wave: Waveform, mains_hz: float, swing_mv: float) -> Waveform:
    """Return the waveform with the hum of the mains, `swing_mv` from end to end (EC13: 0.1 mV)."""
    return replace(wave, values_mv=wave.values_mv + 0.5 * swing_mv * np.sin(2 * np.pi * mains_hz * wave.time_s))


def with_pacing_pulses(
    wave: Waveform, pulses_s: Sequence[float], pulse_mv: float, pulse_ms: float, *, bandwidth_hz: float = 150.0
) -> Waveform:
    """Return the waveform with rectangular pulses, as an amplifier of limited bandwidth and range leaves them.

    A monitor must not count pulses of 2 to 700 mV and 0.1 to 2 ms.  Behind an amplifier of 150 Hz (second-order
    Butterworth, whose answer to a step is a closed formula) 2 mV for 0.1 ms are a ripple of about 0.08 mV, 700 mV for
    2 ms a deflection to the end of the range for about 12 ms.

    Parameters
    ----------
    wave : Waveform
        Its beats stay the truth: a pulse alone is none.
    pulses_s : sequence of float
        When each pulse begins.
    pulse_mv : float
        Height, of either sign.
    pulse_ms : float
        Width.
    bandwidth_hz : float
        Where the amplifier ends.
    """
    values = wave.values_mv.copy()
    for at_s in pulses_s:
        first = max(0, math.floor(at_s * wave.rate_hz))
        since_s = np.arange(first, min(len(values), first + math.ceil(0.1 * wave.rate_hz))) / wave.rate_hz - at_s
        answer = _step_answer(since_s, bandwidth_hz) - _step_answer(since_s - pulse_ms / 1000.0, bandwidth_hz)
        values[first : first + len(since_s)] += pulse_mv * answer
    return replace(wave, values_mv=np.clip(values, -RANGE_MV, RANGE_MV))


def _step_answer(since_s: FloatArray, bandwidth_hz: float) -> FloatArray:
    """Return the answer of a second-order Butterworth low-pass to a unit step at 0."""
    angle = math.sqrt(2.0) * math.pi * bandwidth_hz * np.maximum(0.0, since_s)
    return np.asarray(1.0 - np.exp(-angle) * (np.cos(angle) + np.sin(angle)))


def _complex(time_s: FloatArray, shape: Complex) -> FloatArray:
    """Return one complex whose QRS peaks at 0."""
    half_s = shape.qrs_ms / 2000.0
    qrs = shape.qrs_mv * np.maximum(0.0, 1.0 - np.abs(time_s) / half_s)
    t_s = shape.t_ms / 1000.0
    from_t_s = time_s - (shape.qt_ms / 1000.0 - half_s - t_s / 2.0)
    t = np.where(np.abs(from_t_s) < t_s / 2.0, shape.t_mv * np.cos(np.pi * from_t_s / t_s), 0.0)
    return np.asarray(qrs + t)


def _fitting(heart_rate_bpm: float) -> Complex:
    """Return the usual complex, shortened where the cycle is too short for it: at 300 /min only 200 ms are left."""
    ratio = min(1.0, math.sqrt(60.0 / heart_rate_bpm / 0.6))
    usual = Complex()
    return replace(
        usual,
        qrs_ms=min(usual.qrs_ms, usual.qrs_ms * ratio),
        t_ms=usual.t_ms * ratio,
        qt_ms=usual.qt_ms * ratio,
    )
