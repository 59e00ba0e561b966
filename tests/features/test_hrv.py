"""Heart-rate variability against the patterns of the Holter standard."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge.features.hrv import heart_rate_variability


def pattern(mean_s, depth_s, at_hz, duration_s=300.0):
    """RR intervals of the test pattern rr(k) = a + d sin(2 pi f T(k)) (IEC 60601-2-47), in ms."""
    intervals, at_s = [], 0.0
    while at_s < duration_s:
        rr_s = mean_s + depth_s * math.sin(2 * math.pi * at_hz * at_s)
        at_s += rr_s
        intervals.append(1000 * rr_s)
    return intervals


@pytest.mark.parametrize(
    ("mean_s", "depth_s", "at_hz", "sdnn_ms", "rmssd_ms"),
    [(0.8, 0.035, 0.25, 24.76, 29.07), (1.0, 0.07, 0.1, 49.53, 30.53)],
)
def test_patterns_of_the_standard(mean_s, depth_s, at_hz, sdnn_ms, rmssd_ms):
    """SDNN is the depth over the square root of two, within 1 %."""
    result = heart_rate_variability(pattern(mean_s, depth_s, at_hz), window_s=300.0)

    assert result.sdnn_ms == pytest.approx(sdnn_ms, rel=0.01)
    assert result.rmssd_ms == pytest.approx(rmssd_ms, rel=0.01)


def test_an_ectopic_beat_does_not_count():
    """A premature beat and its pause are left out, and no difference reaches over them."""
    intervals = [800.0 + 10 * (k % 2) for k in range(370)]
    broken = intervals.copy()
    broken[100:102] = [500.0, 1100.0]

    result, clean = (heart_rate_variability(rr, window_s=300.0) for rr in (broken, intervals))

    assert result.rmssd_ms == pytest.approx(clean.rmssd_ms)
    assert result.sdnn_ms == pytest.approx(clean.sdnn_ms, rel=0.01)


def test_pnn50_counts_differences_above_50_ms():
    """Every second difference is 60 ms, the others 0."""
    result = heart_rate_variability([800.0, 800.0, 860.0, 860.0] * 90, window_s=300.0)

    assert result.pnn50_pct == pytest.approx(50, abs=0.5)


@pytest.mark.parametrize("intervals", [[], [800.0], [math.nan] * 400, [800.0] * 250, [-1.0] * 400, [math.inf] * 400])
def test_too_little_gives_no_value(intervals):
    """Below 80 % coverage nothing is said."""
    result = heart_rate_variability(intervals, window_s=300.0)

    assert (result.rmssd_ms, result.sdnn_ms, result.pnn50_pct) == (None, None, None)
    assert 0 <= result.coverage_ratio < 0.8


def test_missing_intervals_reduce_the_coverage_only():
    """Intervals in doubt (NaN) are neither bridged nor counted."""
    intervals = np.full(370, 800.0) + np.tile([0.0, 20.0], 185)
    intervals[50:60] = np.nan

    result = heart_rate_variability(intervals, window_s=300.0)

    assert result.coverage_ratio == pytest.approx(360 * 0.81 / 300, rel=0.01)
    assert result.rmssd_ms == pytest.approx(20.0)
