"""A train of beats whose waves have known edges: each wave a Gaussian that begins and ends two deviations from its peak."""

from __future__ import annotations

import numpy as np


def waves(*, pr_ms=160.0, qrs_ms=91.0, qt_ms=400.0, p_mv=0.14, t_mv=0.3, r_mv=1.05):
    """Return the waves of one beat as (peak_s, rise_s, fall_s, height_mv), relative to the R peak."""
    stretch = qrs_ms / 91.0
    onset_s, end_s = -0.043 * stretch, -0.043 * stretch + qt_ms / 1000.0
    return [
        (onset_s - pr_ms / 1000.0 + 0.048, 0.024, 0.022, p_mv),
        (-0.026 * stretch, 0.0085 * stretch, 0.0085 * stretch, -0.1 * r_mv),
        (0.0, 0.0105 * stretch, 0.0105 * stretch, r_mv),
        (0.028 * stretch, 0.009 * stretch, 0.010 * stretch, -0.17 * r_mv),
        (end_s - 0.07, 0.06, 0.035, t_mv),
    ]


def train(beat_waves, peaks_s, duration_s, rate_hz, *, noise_mv=0.008, wander_mv=0.05, mains_mv=0.0, seed=0):
    """Return (n_samples,) mV: the same beat at every instant of `peaks_s`, and what disturbs it."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    values = noise_mv * np.random.default_rng(seed).standard_normal(len(time_s))
    values += wander_mv * np.sin(2 * np.pi * 0.23 * time_s) + mains_mv * np.sin(2 * np.pi * 50.0 * time_s)
    for at_s in peaks_s:
        first, last = np.searchsorted(time_s, [at_s - 0.6, at_s + 0.9])
        for peak_s, rise_s, fall_s, height_mv in beat_waves:
            distance_s = time_s[first:last] - at_s - peak_s
            width_s = np.where(distance_s < 0, rise_s, fall_s)
            values[first:last] += height_mv * np.exp(-0.5 * (distance_s / width_s) ** 2)
    return values
