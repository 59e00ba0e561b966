"""The average beat -> where P, QRS and T begin and end.

Everything is symmetric in time: Gaussian smoothing moves no edge one way, as a causal filter would.

* QRS begins and ends where the slope stays below a share of its largest value: for 12 ms before, for 20 ms after, and
  for 50 ms where the curve is far from the level before it.
* T ends, and P begins, where the tangent at the steepest part of its outer flank meets the baseline: the tangent
  method, least sensitive to noise and to a U wave (Lepeschkin and Surawicz 1952, doi:10.1161/01.CIR.6.3.378).
* A wave that does not stand out of the noise, or is lower than a pen stroke, is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, ndimage, signal

Curve = NDArray[np.float64]
Flags = NDArray[np.bool_]

RATE_HZ = 500.0
"""Every beat is brought to this rate: 2 ms a sample, the resolution of a diagnostic cardiograph."""
_MS = RATE_HZ / 1000.0

# Standard deviations of the smoothing: −3 dB at 33 Hz for QRS, at 17 Hz for the slower waves.
_QRS_SMOOTHING_MS = 4.0
_WAVE_SMOOTHING_MS = 8.0
# The share of the steepest slope that still belongs to the complex, and how long it must stay below.
_ONSET_SLOPE_RATIO = 0.05
_OFFSET_SLOPE_RATIO = 0.10
_QUIET_BEFORE_MS = 12.0
_QUIET_AFTER_MS = 20.0
# Further from the level before it than this share of its height, the complex has not ended where it is quiet for a moment:
# a late S or R wave of a bundle branch block turns round slowly.
_FAR_RATIO = 0.15
_QUIET_FAR_MS = 50.0
_LONGEST_HALF_QRS_MS = 130.0
# Where the noise limits the slope to more than this share, the edges would move inward by more than a sample or two.
_MOST_NOISE_RATIO = 0.07
_SLOPE_NOISE_RATIO = 3.0
# A wave must exceed the noise left in the average so many times, and be as high as a thin stroke on paper.
_NOISE_RATIO = 4.0
# T is measured from a level that is as noisy as itself.
_LEVEL_NOISE_RATIO = 6.0
_LOWEST_P_MV = 0.03
_LOWEST_T_MV = 0.05
# From the beginning of P to that of QRS: 320 ms is a long first-degree block; P itself lasts about 100 ms.
_LONGEST_PR_MS = 340.0
_SHORTEST_PR_MS = 70.0
_LONGEST_P_RISE_MS = 110.0
_P_PEAK_MS = 30.0
_P_SD_MS = 20.0
_T_PEAK_MS = 60.0
_LEVEL_MS = (16.0, 6.0)
# The tangent ends before the last of T has faded.
_T_TAIL_MS = 30.0
# A second phase of T has this share of the first; below the lower one it is none, and between them one cannot tell.  It
# comes back to the baseline with this share of the pace that led to it: what a high-pass leaves behind a wave comes back
# slowly.  For P the share is one of the curvature, of which a wave of one phase has 0.45 on either side.
_BIPHASIC_RATIO = 0.4
_OVERSHOOT_RATIO = 0.25
_RETURN_RATIO = 0.35
_PHASE_MS = 150.0
_P_BIPHASIC_RATIO = 0.7
_P_PHASE_MS = 70.0
# How far from its peak a wave's flank is steepest at most, and how far beyond that it has reached the baseline.
_FLANK_MS = 150.0
_BASELINE_MS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveBounds:
    """Instants relative to the R peak, in ms; None where a wave is not there or cannot be told."""

    p_onset_ms: float | None
    qrs_onset_ms: float
    qrs_offset_ms: float
    t_end_ms: float | None

    @property
    def pr_ms(self) -> float | None:
        """From the beginning of P to the beginning of QRS."""
        return None if self.p_onset_ms is None else self.qrs_onset_ms - self.p_onset_ms

    @property
    def qrs_ms(self) -> float:
        """Duration of the QRS complex."""
        return self.qrs_offset_ms - self.qrs_onset_ms

    @property
    def qt_ms(self) -> float | None:
        """From the beginning of QRS to the end of T."""
        return None if self.t_end_ms is None else self.t_end_ms - self.qrs_onset_ms


def wave_bounds(
    beats: Sequence[Curve], noise: Curve, *, peak: int, rate_hz: float, rr_ms: float
) -> list[WaveBounds | None]:
    """Return where the waves of each average beat begin and end; None without a QRS complex that ends on both sides.

    Parameters
    ----------
    beats : sequence of ndarray, each of shape (n_samples,)
        Average beats in mV, at least from 450 ms before the R peak to 300 ms after it.
    noise : ndarray, shape (n_samples,)
        What is left of the noise in them (half the difference of two half averages).
    peak : int
        Index of the R peak.
    rate_hz : float
        Sampling rate of all.
    rr_ms : float
        Mean interval: the waves of the neighbouring beats are kept out by it.
    """
    r = round(peak * RATE_HZ / rate_hz)
    cycle = round(rr_ms * _MS)
    *fine, fine_noise = _without_mains(_resampled(np.stack([*beats, noise]), rate_hz), r, cycle)
    # Where the next beat lies the halves differ because its distance does, which is no noise.
    left = _noise(fine_noise[: r + cycle // 2])
    return [_bounds(beat, r, cycle, left) for beat in fine]


@dataclass(frozen=True, slots=True)
class _Noise:
    """What is left of the noise in an average, as the three waves see it; standard deviations."""

    slope: float
    bend: float
    wave_mv: float


def _noise(curve: Curve) -> _Noise:
    smooth = _smoothed(curve)
    return _Noise(
        slope=float(np.gradient(curve).std()),
        bend=float(_bend(smooth).std()),
        wave_mv=float(signal.detrend(smooth).std()),
    )


def _bounds(beat: Curve, r: int, cycle: int, noise: _Noise) -> WaveBounds | None:
    """Return the waves of one beat at `RATE_HZ` with its R peak at index `r`."""
    qrs = _qrs(beat, noise.slope, r)
    if qrs is None:
        return None
    onset, offset = qrs
    # P first, as T must end before the next one; then P again, where the T wave before reaches into its search.
    first = onset - min(round(_LONGEST_PR_MS * _MS), cycle // 2)
    p_onset = _p_onset(beat, first, onset, noise)
    next_p = cycle + (onset - round(_SHORTEST_PR_MS * _MS) if p_onset is None else round(p_onset))
    t_end = _t_end(beat, onset, offset, next_p, noise)
    after_t = first if t_end is None else round(t_end + _T_TAIL_MS * _MS) - cycle
    if after_t > first:
        p_onset = _p_onset(beat, after_t, onset, noise)
    return WaveBounds(
        p_onset_ms=None if p_onset is None else (p_onset - r) / _MS,
        qrs_onset_ms=(onset - r) / _MS,
        qrs_offset_ms=(offset - r) / _MS,
        t_end_ms=None if t_end is None else (t_end - r) / _MS,
    )


def _resampled(curves: Curve, rate_hz: float) -> Curve:
    """Return `curves` (rows) smoothed for the QRS complex, at `RATE_HZ`."""
    smooth = ndimage.gaussian_filter1d(curves, _QRS_SMOOTHING_MS * rate_hz / 1000.0, axis=1, mode="nearest")
    at = np.arange(curves.shape[1]) / rate_hz
    fine = np.arange(int(at[-1] * RATE_HZ) + 1) / RATE_HZ
    return np.asarray(interpolate.CubicSpline(at, smooth, axis=1)(fine))


def _without_mains(curves: Curve, r: int, cycle: int) -> Curve:
    """Return `curves` (rows) without the part of 50 and 60 Hz that is seen where there is no QRS complex.

    When the beats come in step with the mains, averaging does not remove it, and both halves hold the same.
    """
    at = np.arange(curves.shape[1])
    is_rest = (at < r - 60 * _MS) | ((at > r + 120 * _MS) & (at < r + cycle - 80 * _MS))
    angles = 2 * np.pi * at / RATE_HZ * np.array([[50.0], [60.0]])
    waves = np.concatenate([np.cos(angles), np.sin(angles)])
    quick = curves - ndimage.gaussian_filter1d(curves, _WAVE_SMOOTHING_MS * _MS, axis=1, mode="nearest")
    parts = np.linalg.lstsq(waves[:, is_rest].T, quick[:, is_rest].T, rcond=None)[0]
    return np.asarray(curves - parts.T @ waves)


def _smoothed(curve: Curve) -> Curve:
    """Return a curve, smoothed for the QRS complex already, smoothed for the slower waves."""
    rest_ms = float(np.sqrt(_WAVE_SMOOTHING_MS**2 - _QRS_SMOOTHING_MS**2))
    return np.asarray(ndimage.gaussian_filter1d(curve, rest_ms * _MS, mode="nearest"))


def _bend(curve: Curve) -> Curve:
    """Return how much a curve is bent, as a wave as wide as P is."""
    return -np.asarray(ndimage.gaussian_filter1d(curve, _P_SD_MS * _MS, order=2, mode="nearest"))


def _qrs(beat: Curve, noise_slope: float, r: int) -> tuple[int, int] | None:
    """Return the first and the last index of the QRS complex around `r`."""
    steepness = np.abs(np.gradient(beat))
    n_near = round(100 * _MS)
    near = steepness[r - n_near : r + n_near + 1]
    largest = float(near.max())
    lowest = _SLOPE_NOISE_RATIO * noise_slope
    if not largest > 0 or lowest > _MOST_NOISE_RATIO * largest:
        return None
    steep = np.flatnonzero(near > 0.3 * largest) + r - n_near
    n_longest = round(_LONGEST_HALF_QRS_MS * _MS)
    before = _n_until_quiet(steepness[steep[0] :: -1] < max(lowest, _ONSET_SLOPE_RATIO * largest), _QUIET_BEFORE_MS)
    if before is None:
        return None
    onset = int(steep[0]) - before
    above = np.abs(beat - beat[onset])
    is_far = above[steep[-1] :] > _FAR_RATIO * float(above[onset : r + n_near].max())
    is_quiet = steepness[steep[-1] :] < max(lowest, _OFFSET_SLOPE_RATIO * largest)
    after = _n_until_quiet(is_quiet, _QUIET_AFTER_MS, is_far)
    if after is None:
        return None
    offset = int(steep[-1]) + after
    return (onset, offset) if r - onset <= n_longest and offset - r <= n_longest else None


def _n_until_quiet(is_quiet: Flags, quiet_ms: float, is_far: Flags | None = None) -> int | None:
    """Return after how many samples quiet begins that lasts, longer where the curve `is_far` from the baseline."""
    n_quiet = 0
    for k, is_still in enumerate(is_quiet.tolist()):
        n_quiet = n_quiet + 1 if is_still else 0
        start = k - n_quiet + 1
        lasting_ms = _QUIET_FAR_MS if is_far is not None and n_quiet and is_far[start] else quiet_ms
        if n_quiet >= round(lasting_ms * _MS):
            return start
    return None


def _t_end(beat: Curve, onset: int, offset: int, end: int, noise: _Noise) -> float | None:
    """Return where T ends, which is looked for up to `end`; None where there is no T wave to be seen."""
    first = round(_T_PEAK_MS * _MS)
    curve = _smoothed(beat[offset : max(offset, end)])
    if len(curve) < first + 10:
        return None
    # On average the level before QRS is the level after T too, whatever ST does.
    level_mv = float(beat[max(0, onset - round(_LEVEL_MS[0] * _MS)) : onset - round(_LEVEL_MS[1] * _MS)].mean())
    above = curve - level_mv
    peak = first + int(np.abs(above[first:]).argmax())
    height_mv = float(abs(above[peak]))
    if height_mv < max(_LOWEST_T_MV, _LEVEL_NOISE_RATIO * noise.wave_mv) or not first < peak < len(curve) - 2:
        return None
    sign = 1.0 if above[peak] > 0 else -1.0
    second = _second_phase(sign * curve[peak:], sign * level_mv, height_mv)
    if second is None:
        return None
    if second > 0:
        peak += second
        sign = -sign
    edge = _tangent(sign * curve[peak:])
    return None if edge is None else offset + peak + edge


def _second_phase(curve: Curve, level_mv: float, height_mv: float) -> int | None:
    """Return where T, upright from its first sample on, has a second phase below the baseline; 0 where it has none.

    None where one cannot tell: a dip that comes back like a wave but is small.
    """
    n_phase = round(_PHASE_MS * _MS)
    at = int(curve[:n_phase].argmin())
    depth_mv = min(level_mv, float(curve[-1])) - float(curve[at])
    if at < 2 or len(curve) - at < 3 or depth_mv < _OVERSHOOT_RATIO * height_mv:
        return 0
    fall = -float(np.gradient(curve[: at + 1]).min())
    rise = float(np.gradient(curve[at : at + n_phase]).max())
    if rise / depth_mv < _RETURN_RATIO * fall / (height_mv + depth_mv):
        return 0
    return at if depth_mv >= max(_LOWEST_T_MV, _BIPHASIC_RATIO * height_mv) else None


def _p_onset(beat: Curve, first: int, onset: int, noise: _Noise) -> float | None:
    """Return where P begins, which is looked for from `first` on; None where there is no P wave to be seen."""
    curve = _smoothed(beat[max(0, first) : onset + 1][::-1])  # outward, away from QRS
    nearest = round(_P_PEAK_MS * _MS)
    if len(curve) < nearest + 10:
        return None
    # A wave as wide as P is curved more than what it lies on: the flank of the T wave before, a wandering baseline.
    bend = _bend(curve)
    peak = nearest + int(np.abs(bend[nearest:]).argmax())
    if abs(float(bend[peak])) < _NOISE_RATIO * noise.bend:
        return None
    sign = 1.0 if bend[peak] > 0 else -1.0
    second = -sign * bend[peak : peak + round(_P_PHASE_MS * _MS)]
    if float(second.max()) > _P_BIPHASIC_RATIO * abs(float(bend[peak])):
        peak += int(second.argmax())
        sign = -sign
    curve = sign * curve
    n_near = round(_P_SD_MS * _MS)
    at = max(0, peak - n_near)
    peak = at + int(curve[at : peak + n_near + 1].argmax())
    beyond = curve[peak : peak + round(_FLANK_MS * _MS)]
    height_mv = float(curve[peak] - max(curve[: peak + 1].min(), beyond.min()))
    if height_mv < _LOWEST_P_MV or peak in {at, len(curve) - 1}:
        return None
    edge = _tangent(curve[peak:])
    if edge is None or edge > _LONGEST_P_RISE_MS * _MS or peak + edge < _SHORTEST_PR_MS * _MS:
        return None
    return onset - peak - edge


def _tangent(curve: Curve) -> float | None:
    """Return where the tangent at the steepest fall from a peak, the first sample, meets the level beyond.

    None where the wave has not come down before the end.
    """
    if len(curve) < 3:
        return None
    fall = -np.gradient(curve[: round(_FLANK_MS * _MS)])
    steepest = int(fall.argmax())
    slope = float(fall[steepest])
    if not slope > 0:
        return None
    beyond = curve[steepest : steepest + round(_BASELINE_MS * _MS)]
    edge = steepest + float(beyond[0] - beyond.min()) / slope
    return edge if edge <= len(curve) - 1 else None
