"""The shapes that a heart beat can have: which waves, where, how wide, how tall, and where each begins and ends.

A wave is a Gaussian.  It begins and ends two standard deviations from its peak, where the tangent at its steepest
point meets the baseline: that is how a reader with a ruler finds the end of a T wave (Lepeschkin & Surawicz 1952).
By this rule the normal beat has P 92 ms, PR 160 ms, QRS 91 ms and QT 398 ms at 60 /min.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from types import MappingProxyType

EDGE_SD = 2.0
"""A wave reaches this many standard deviations to each side."""
LEAST_CYCLE_S = 0.25
LARGEST_CYCLE_S = 1.5
"""Beyond these the QT interval does not follow the rate any further."""


class Morphology(Enum):
    """How the electrical wave spreads, which decides the shape of the beat."""

    CONDUCTED = auto()
    """P wave, narrow QRS."""
    ATRIAL_PREMATURE = auto()
    """Early P wave of another shape, narrow QRS."""
    NO_P = auto()
    """Narrow QRS without a P wave of its own, as in atrial fibrillation or junctional escape."""
    VENTRICULAR = auto()
    """No P wave, wide QRS, T wave against it."""
    PACED = auto()
    """Pacing spike and wide QRS."""
    ABERRANT = auto()
    """P wave and the wide QRS of a right bundle branch block."""
    ABERRANT_PREMATURE = auto()
    """Early P wave of another shape and the wide QRS of a right bundle branch block."""


@dataclass(frozen=True, slots=True)
class Wave:
    """One Gaussian: its place, its two widths and its height in each lead."""

    offset_s: float
    rise_s: float
    """Standard deviation of the side before the peak."""
    fall_s: float
    height_mv: tuple[float, float]
    """In leads II and V1."""
    is_cycle_scaled: bool = False
    """Whether place and widths grow with the square root of the cycle, as the QT interval does (Bazett)."""
    shift_s: float = 0.0
    """Moved by so much at every rate."""

    def moved(self, by_s: float) -> Wave:
        """Return the wave `by_s` later."""
        return replace(self, shift_s=self.shift_s + by_s)

    def sized(self, ratio: float) -> Wave:
        """Return the wave `ratio` times as tall."""
        return replace(self, height_mv=(self.height_mv[0] * ratio, self.height_mv[1] * ratio))

    def peak_s(self, scale: float) -> float:
        """Return the instant of its peak after the R peak, in a cycle whose square root is `scale`."""
        return self.offset_s * (scale if self.is_cycle_scaled else 1.0) + self.shift_s

    def edges_s(self, scale: float) -> tuple[float, float]:
        """Return where it begins and ends after the R peak."""
        stretch = EDGE_SD * (scale if self.is_cycle_scaled else 1.0)
        peak_s = self.peak_s(scale)
        return peak_s - stretch * self.rise_s, peak_s + stretch * self.fall_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """All waves of one kind of beat."""

    p: tuple[Wave, ...] = ()
    spike: tuple[Wave, ...] = ()
    qrs: tuple[Wave, ...]
    t: Wave

    @property
    def waves(self) -> tuple[Wave, ...]:
        """Every wave, in order of time."""
        return (*self.p, *self.spike, *self.qrs, self.t)

    @property
    def height_mv(self) -> float:
        """Height of the largest deflection of the QRS complex in lead II."""
        return max(abs(wave.height_mv[0]) for wave in self.qrs)

    def personal(self, ratios: Sequence[float]) -> Shape:
        """Return the shape with every wave `ratios` times as tall, in the order of `waves`."""
        waves = [wave.sized(float(ratio)) for wave, ratio in zip(self.waves, ratios, strict=True)]
        n_p, n_spike = len(self.p), len(self.spike)
        return Shape(
            p=tuple(waves[:n_p]),
            spike=tuple(waves[n_p : n_p + n_spike]),
            qrs=tuple(waves[n_p + n_spike : -1]),
            t=waves[-1],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatForm:
    """What a scenario orders of the shape of beats; None is the patient's own."""

    pr_ms: float | None = None
    """From the beginning of P to the beginning of QRS."""
    qrs_ms: float | None = None
    """Duration of beats that come from above the ventricles."""
    qtc_ms: float | None = None
    """QT at 60 /min; at other rates it follows the square root of the cycle (Bazett)."""
    qrs_mv: float | None = None
    """Height of the usual beat in lead II; all other beats keep their size relative to it."""
    t_mv: float | None = None
    """Height of T in lead II of beats that come from above the ventricles; negative is inverted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveTimes:
    """Where the waves of one beat begin, peak and end, in seconds; of all leads the earliest beginning, the latest end."""

    p_onset_s: float | None
    p_peak_s: float | None
    """Of lead II, as all peaks."""
    p_end_s: float | None
    qrs_onset_s: float
    qrs_end_s: float
    t_onset_s: float
    t_peak_s: float
    t_end_s: float

    @property
    def pr_ms(self) -> float | None:
        """PR interval; None without a P wave."""
        return None if self.p_onset_s is None else 1000.0 * (self.qrs_onset_s - self.p_onset_s)

    @property
    def qrs_ms(self) -> float:
        """Duration of the QRS complex; a pacing spike is no part of it."""
        return 1000.0 * (self.qrs_end_s - self.qrs_onset_s)

    @property
    def qt_ms(self) -> float:
        """QT interval."""
        return 1000.0 * (self.t_end_s - self.qrs_onset_s)


# Heights and widths are those of a normal adult: P 0.1-0.2 mV and 100 ms, QRS about 1 mV and 90 ms, PR 160 ms,
# T 0.3 mV, QT 400 ms at 60 /min; V1 shows a small r, a deep S and a flat T.
_NARROW_QRS = (
    Wave(-0.026, 0.0085, 0.0085, (-0.10, 0.00)),
    Wave(0.0, 0.0105, 0.0105, (1.05, 0.00)),
    Wave(0.028, 0.009, 0.010, (-0.18, 0.00)),
    Wave(-0.016, 0.010, 0.010, (0.0, 0.22)),
    Wave(0.010, 0.012, 0.013, (0.0, -0.85)),
)
_NARROW_T = Wave(0.285, 0.060, 0.035, (0.30, 0.08), is_cycle_scaled=True)
_P = (
    Wave(-0.155, 0.024, 0.022, (0.14, 0.05)),
    Wave(-0.120, 0.016, 0.016, (0.0, -0.05)),
)
_EARLY_P = (Wave(-0.140, 0.018, 0.018, (-0.07, 0.06)),)
_WIDE_QRS = (
    Wave(-0.050, 0.018, 0.018, (-0.12, 0.15)),
    Wave(0.0, 0.030, 0.036, (1.35, -1.05)),
    Wave(0.060, 0.022, 0.026, (0.22, -0.40)),
)
_WIDE_T = Wave(0.330, 0.070, 0.050, (-0.45, 0.38), is_cycle_scaled=True)
_SPIKE = (Wave(-0.095, 0.0018, 0.0018, (0.9, 0.7)),)  # as an amplifier of 150 Hz leaves it
_PACED_QRS = (
    Wave(-0.040, 0.022, 0.024, (0.25, -0.20)),
    Wave(0.0, 0.032, 0.038, (-1.00, -0.90)),
)
_PACED_T = Wave(0.330, 0.065, 0.048, (0.35, 0.35), is_cycle_scaled=True)
# The right ventricle follows late: a broad terminal S in II, rSR' in V1 with T against it, 138 ms.
_BLOCK_QRS = (
    Wave(-0.026, 0.0085, 0.0085, (-0.08, 0.00)),
    Wave(0.0, 0.0105, 0.0115, (0.95, 0.00)),
    Wave(0.050, 0.018, 0.0225, (-0.30, 0.70)),
    Wave(-0.016, 0.010, 0.010, (0.0, 0.25)),
    Wave(0.010, 0.011, 0.011, (0.0, -0.45)),
)
_BLOCK_T = Wave(0.310, 0.060, 0.037, (0.28, -0.22), is_cycle_scaled=True)

SHAPES: Mapping[Morphology, Shape] = MappingProxyType(
    {
        Morphology.CONDUCTED: Shape(p=_P, qrs=_NARROW_QRS, t=_NARROW_T),
        Morphology.ATRIAL_PREMATURE: Shape(p=_EARLY_P, qrs=_NARROW_QRS, t=_NARROW_T),
        Morphology.NO_P: Shape(qrs=_NARROW_QRS, t=_NARROW_T),
        Morphology.VENTRICULAR: Shape(qrs=_WIDE_QRS, t=_WIDE_T),
        Morphology.PACED: Shape(spike=_SPIKE, qrs=_PACED_QRS, t=_PACED_T),
        Morphology.ABERRANT: Shape(p=_P, qrs=_BLOCK_QRS, t=_BLOCK_T),
        Morphology.ABERRANT_PREMATURE: Shape(p=_EARLY_P, qrs=_BLOCK_QRS, t=_BLOCK_T),
    }
)
"""Every shape a beat can have, of an average adult."""
_FROM_ABOVE = frozenset(SHAPES) - {Morphology.VENTRICULAR, Morphology.PACED}


def formed(shape: Shape, morphology: Morphology, form: BeatForm, usual_mv: float) -> Shape:
    """Return a patient's `shape` as `form` orders it.

    Parameters
    ----------
    shape : Shape
        Of this patient.
    morphology : Morphology
        What kind of beat it is: intervals and T are only ordered of those that come from above the ventricles.
    form : BeatForm
        The order.
    usual_mv : float
        Height of the patient's usual beat in lead II.
    """
    p, spike, qrs, t = shape.p, shape.spike, shape.qrs, shape.t
    is_from_above = morphology in _FROM_ABOVE
    if form.qrs_mv is not None:
        ratio = form.qrs_mv / usual_mv
        qrs = tuple(wave.sized(ratio) for wave in qrs)
        t = t if is_from_above else t.sized(ratio)
    if form.t_mv is not None and is_from_above:
        t = t.sized(form.t_mv / t.height_mv[0])
    onset_s, end_s = _edges_s(qrs, 1.0)
    if form.qrs_ms is not None and is_from_above:
        stretch = form.qrs_ms / (1000.0 * (end_s - onset_s))
        qrs = tuple(
            replace(w, offset_s=w.offset_s * stretch, rise_s=w.rise_s * stretch, fall_s=w.fall_s * stretch) for w in qrs
        )
        # P keeps its distance from the beginning of QRS, T from its end.
        p = tuple(wave.moved(onset_s * (stretch - 1.0)) for wave in p)
        t = t.moved(end_s * (stretch - 1.0))
        onset_s, end_s = onset_s * stretch, end_s * stretch
    if form.pr_ms is not None and p:
        now_s = onset_s - _edges_s(p, 1.0)[0]
        p = tuple(wave.moved(now_s - form.pr_ms / 1000.0) for wave in p)
    if form.qtc_ms is not None and is_from_above:
        t = replace(t, offset_s=form.qtc_ms / 1000.0 - EDGE_SD * t.fall_s, shift_s=onset_s)
    return Shape(p=p, spike=spike, qrs=qrs, t=t)


def cycle_scale(cycle_s: float) -> float:
    """Return by how much the QT interval differs from that at 60 /min."""
    return math.sqrt(min(LARGEST_CYCLE_S, max(LEAST_CYCLE_S, cycle_s)))


def wave_times(shape: Shape, at_s: float, cycle_s: float) -> WaveTimes:
    """Return where the waves of a beat with its R peak at `at_s` begin, peak and end."""
    scale = cycle_scale(cycle_s)
    p_onset_s, p_end_s = _edges_s(shape.p, scale) if shape.p else (None, None)
    p_peak_s = max(shape.p, key=lambda wave: abs(wave.height_mv[0])).peak_s(scale) if shape.p else None
    qrs_onset_s, qrs_end_s = _edges_s(shape.qrs, scale)
    t_onset_s, t_end_s = shape.t.edges_s(scale)
    return WaveTimes(
        p_onset_s=None if p_onset_s is None else at_s + p_onset_s,
        p_peak_s=None if p_peak_s is None else at_s + p_peak_s,
        p_end_s=None if p_end_s is None else at_s + p_end_s,
        qrs_onset_s=at_s + qrs_onset_s,
        qrs_end_s=at_s + qrs_end_s,
        t_onset_s=at_s + t_onset_s,
        t_peak_s=at_s + shape.t.peak_s(scale),
        t_end_s=at_s + t_end_s,
    )


def _edges_s(waves: Sequence[Wave], scale: float) -> tuple[float, float]:
    """Return the first beginning and the last end among `waves`."""
    edges = [wave.edges_s(scale) for wave in waves]
    return min(start_s for start_s, _ in edges), max(end_s for _, end_s in edges)
