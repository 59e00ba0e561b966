"""The average beat -> where P, QRS and T begin and end.

Everything is symmetric in time: Gaussian smoothing moves no edge one way, as a causal filter would.

* QRS begins and ends where the slope has stayed below a share of its largest value for 12 ms.
* T ends, and P begins, where the tangent at the steepest part of its outer flank meets the baseline: the tangent
  method, least sensitive to noise and to a U wave (Lepeschkin and Surawicz 1952, doi:10.1161/01.CIR.6.3.378).
* A wave that does not stand out of the noise, or is lower than a pen stroke, is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, ndimage

Curve = NDArray[np.float64]

RATE_HZ = 500.0
"""Every beat is brought to this rate: 2 ms a sample, the resolution of a diagnostic cardiograph."""
_MS = RATE_HZ / 1000.0

# Standard deviations of the smoothing: −3 dB at 33 Hz for QRS, at 17 Hz for the slower waves.
_QRS_SMOOTHING_MS = 4.0
_WAVE_SMOOTHING_MS = 8.0
# The share of the steepest slope that still belongs to the complex, and how long it must stay below.
_ONSET_SLOPE_RATIO = 0.06
_OFFSET_SLOPE_RATIO = 0.10
_QUIET_MS = 12.0
_LONGEST_HALF_QRS_MS = 130.0
# A wave must exceed the noise left in the average so many times, and be as high as a thin stroke on paper.
_NOISE_RATIO = 4.0
_LOWEST_P_MV = 0.03
_LOWEST_T_MV = 0.05
# From the beginning of P to that of QRS: 320 ms is a long first-degree block; P itself lasts about 100 ms.
_LONGEST_PR_MS = 340.0
_SHORTEST_PR_MS = 70.0
_P_PEAK_MS = 30.0
_P_WIDTH_MS = (16.0, 160.0)
_T_PEAK_MS = 60.0
# A second phase of this share of the first is no overshoot: the wave then goes on to it.
_BIPHASIC_RATIO = 0.4
_PHASE_MS = 150.0
# How far from its peak a wave's flank is steepest at most, and how far beyond that it has reached the baseline.
_FLANK_MS = 200.0
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
    *fine, fine_noise = _resampled(np.stack([*beats, noise]), rate_hz)
    noise_slope = float(np.gradient(fine_noise).std())
    noise_mv = float(_smoothed(fine_noise).std())
    r = round(peak * RATE_HZ / rate_hz)
    return [_bounds(beat, r, round(rr_ms * _MS), noise_mv, noise_slope) for beat in fine]


def _bounds(beat: Curve, r: int, cycle: int, noise_mv: float, noise_slope: float) -> WaveBounds | None:
    """Return the waves of one beat at `RATE_HZ` with its R peak at index `r`."""
    qrs = _qrs(np.gradient(beat), noise_slope, r)
    if qrs is None:
        return None
    onset, offset = qrs
    # P first, as T must end before the next one; then P again, where the T wave before reaches into its search.
    first = onset - min(round(_LONGEST_PR_MS * _MS), cycle // 2)
    p_onset = _p_onset(beat, first, onset, noise_mv)
    next_p = cycle + (onset - round(_SHORTEST_PR_MS * _MS) if p_onset is None else round(p_onset))
    t_end = _t_end(beat, offset, next_p, noise_mv)
    if t_end is not None and t_end - cycle > first:
        p_onset = _p_onset(beat, round(t_end) - cycle, onset, noise_mv)
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


def _smoothed(curve: Curve) -> Curve:
    """Return a curve, smoothed for the QRS complex already, smoothed for the slower waves."""
    rest_ms = float(np.sqrt(_WAVE_SMOOTHING_MS**2 - _QRS_SMOOTHING_MS**2))
    return np.asarray(ndimage.gaussian_filter1d(curve, rest_ms * _MS, mode="nearest"))


def _qrs(slope: Curve, noise_slope: float, r: int) -> tuple[int, int] | None:
    """Return the first and the last index of the QRS complex around `r`."""
    steepness = np.abs(slope)
    n_near = round(100 * _MS)
    near = steepness[r - n_near : r + n_near + 1]
    largest = float(near.max())
    lowest = _NOISE_RATIO * noise_slope
    if not largest > 3 * lowest:
        return None
    steep = np.flatnonzero(near > 0.3 * largest) + r - n_near
    n_longest = round(_LONGEST_HALF_QRS_MS * _MS)
    before = _n_until_quiet(steepness[steep[0] :: -1], max(lowest, _ONSET_SLOPE_RATIO * largest))
    after = _n_until_quiet(steepness[steep[-1] :], max(lowest, _OFFSET_SLOPE_RATIO * largest))
    if before is None or after is None:
        return None
    onset, offset = int(steep[0]) - before, int(steep[-1]) + after
    return (onset, offset) if r - onset <= n_longest and offset - r <= n_longest else None


def _n_until_quiet(steepness: Curve, limit: float) -> int | None:
    """Return after how many samples the slope stays below `limit` for `_QUIET_MS`."""
    n_quiet = round(_QUIET_MS * _MS)
    n_below = 0
    for k, is_below in enumerate((steepness < limit).tolist()):
        n_below = n_below + 1 if is_below else 0
        if n_below == n_quiet:
            return k - n_quiet + 1
    return None


def _t_end(fine: Curve, offset: int, end: int, noise_mv: float) -> float | None:
    edge = _edge(
        _smoothed(fine[offset : max(offset, end)]), round(_T_PEAK_MS * _MS), max(_LOWEST_T_MV, _NOISE_RATIO * noise_mv)
    )
    return None if edge is None else offset + edge


def _p_onset(fine: Curve, first: int, onset: int, noise_mv: float) -> float | None:
    outward = _smoothed(fine[max(0, first) : onset + 1][::-1])
    edge = _edge(outward, round(_P_PEAK_MS * _MS), max(_LOWEST_P_MV, _NOISE_RATIO * noise_mv), _P_WIDTH_MS)
    return None if edge is None or edge < _SHORTEST_PR_MS * _MS else onset - edge


def _edge(curve: Curve, first: int, lowest_mv: float, width_ms: tuple[float, float] = (0.0, np.inf)) -> float | None:
    """Return where the wave in `curve`, which leads away from the QRS complex, meets the baseline beyond it.

    Parameters
    ----------
    curve : ndarray, shape (n_samples,)
        From the edge of the QRS complex outward.
    first : int
        The wave's peak lies here or beyond.
    lowest_mv : float
        Lower than this above the line through both ends it is no wave.
    width_ms : (float, float)
        How wide it may be at half its height.
    """
    if len(curve) < first + 10:
        return None
    above = curve - np.linspace(curve[0], curve[-1], len(curve))
    peak = first + int(np.abs(above[first:]).argmax())
    height_mv = float(abs(above[peak]))
    if height_mv < lowest_mv or peak >= len(curve) - 2:
        return None
    sign = 1.0 if above[peak] > 0 else -1.0
    is_low = np.flatnonzero(sign * above < 0.5 * height_mv)
    k = int(np.searchsorted(is_low, peak))
    if k in {0, len(is_low)} or not width_ms[0] <= (is_low[k] - is_low[k - 1]) / _MS <= width_ms[1]:
        return None
    second = -sign * above[peak : peak + round(_PHASE_MS * _MS)]
    if float(second.max()) > _BIPHASIC_RATIO * height_mv:
        peak += int(second.argmax())
        sign = -sign
    flank = -sign * np.gradient(curve)[peak : peak + round(_FLANK_MS * _MS)]
    n_steep = int(flank.argmax())
    slope = float(flank[n_steep])
    if not slope > 0:
        return None
    steepest = peak + n_steep
    rest = sign * curve[steepest : steepest + round(_BASELINE_MS * _MS)]
    edge = steepest + float(rest[0] - rest.min()) / slope
    return edge if edge <= len(curve) - 1 else None
