"""Where the waves of an average beat begin and end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from edge.features.wave_bounds import wave_bounds
from tests.features.average_beats import train, waves

RATE_HZ = 250.0
PEAK = 125


def bounds(beat_waves, *, noise_mv=0.0, rr_s=0.85, rate_hz=RATE_HZ, shape=None):
    """The waves of the middle one of five beats."""
    peaks_s = 1.0 + rr_s * np.arange(5)
    values = train(beat_waves, peaks_s, 7, rate_hz, noise_mv=0.0, wander_mv=0.0)
    if shape is not None:
        values = shape(values)
    r = round(peaks_s[2] * rate_hz)
    peak = round(PEAK * rate_hz / RATE_HZ)
    beat = values[r - peak : r + round(0.75 * rate_hz)]
    noise = noise_mv * np.random.default_rng(0).standard_normal(len(beat))
    return wave_bounds([beat + noise], noise, peak=peak, rate_hz=rate_hz, rr_ms=1000.0 * rr_s)[0]


def test_a_t_wave_of_two_phases_ends_with_the_second():
    """Negative, then positive: it ends where the positive phase does."""
    first, last = (0.21, 0.03, 0.03, -0.25), (0.31, 0.03, 0.03, 0.2)

    assert bounds([*waves(t_mv=0.0), first, last]).t_end_ms == pytest.approx(370, abs=10)


def test_a_small_second_phase_has_no_end():
    """A third of the first: an overshoot or a wave, one cannot tell."""
    first, last = (0.21, 0.03, 0.03, -0.25), (0.31, 0.03, 0.03, 0.08)

    assert bounds([*waves(t_mv=0.0), first, last]).t_end_ms is None


def test_a_u_wave_is_no_part_of_qt():
    """A low wave after T in the same direction."""
    u = (0.46, 0.04, 0.04, 0.05)

    assert bounds([*waves(), u], rr_s=1.2).qt_ms == pytest.approx(400, abs=10)


def test_a_p_wave_of_two_phases_begins_with_the_first():
    """As in V1: up, then down."""
    p = [(-0.175, 0.016, 0.016, 0.07), (-0.125, 0.016, 0.016, -0.07)]

    assert bounds([*waves(p_mv=0.0), *p]).p_onset_ms == pytest.approx(-207, abs=10)


def test_a_t_wave_before_is_no_p_wave():
    """At 105 /min T ends just before P."""
    found = bounds(waves(pr_ms=150, qt_ms=330, p_mv=0.06, t_mv=0.6), rr_s=0.57)

    assert found.pr_ms == pytest.approx(150, abs=12)
    assert found.qt_ms == pytest.approx(330, abs=12)


def test_a_flat_t_wave_is_not_replaced_by_the_next_p_wave():
    """P of the next beat lies within reach of the search for T."""
    assert bounds(waves(t_mv=0.0), rr_s=0.7).t_end_ms is None


def test_the_high_pass_of_a_monitor_costs_little():
    """A causal 0.5 Hz band shifts what follows each wave; QT stays within 10 ms, PR within 15 ms."""
    sos = signal.butter(2, 0.5, "highpass", fs=RATE_HZ, output="sos")
    zi = signal.sosfilt_zi(sos)

    found = bounds(waves(), shape=lambda values: signal.sosfilt(sos, values, zi=zi * values[0])[0])

    assert found.qt_ms == pytest.approx(400, abs=10)
    assert found.pr_ms == pytest.approx(160, abs=15)


@pytest.mark.parametrize("seed", range(10))
def test_noise_is_neither_p_nor_t(seed):
    """Noise of 40 uV is left in the average of a beat without P and T."""
    noise = 0.04 * np.random.default_rng(seed).standard_normal(313)
    beat = train(waves(p_mv=0.0, t_mv=0.0, r_mv=6.0), [0.5], 1.252, RATE_HZ, noise_mv=0.0, wander_mv=0.0)

    found = wave_bounds([beat + noise], noise, peak=PEAK, rate_hz=RATE_HZ, rr_ms=850.0)[0]

    assert (found.p_onset_ms, found.t_end_ms) == (None, None)


@pytest.mark.parametrize("curve", [np.zeros(313), np.full(313, 1e9), np.linspace(-1, 1, 313)])
def test_without_a_complex_there_are_no_bounds(curve):
    """Flat, saturated, a ramp."""
    assert wave_bounds([curve], np.zeros(313), peak=PEAK, rate_hz=RATE_HZ, rr_ms=800.0) == [None]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rate_hz=st.sampled_from([100.0, 128.0, 250.0, 1000.0]),
    rr_ms=st.floats(150, 3000),
    roughness_ms=st.floats(1, 60),
    noise_mv=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_any_curve_is_answered(seed, rate_hz, rr_ms, roughness_ms, noise_mv):
    """Random curves have waves in the right order or none, and never fail."""
    rng = np.random.default_rng(seed)
    n = round(1.25 * rate_hz)
    peak = round(0.5 * rate_hz)
    sigma = max(1.0, roughness_ms * rate_hz / 1000)
    beat = np.convolve(rng.standard_normal(n), np.exp(-0.5 * (np.arange(-3 * sigma, 3 * sigma) / sigma) ** 2), "same")
    beat[peak - 3 : peak + 3] += rng.uniform(0, 10) * np.hanning(6)
    noise = noise_mv * rng.standard_normal(n)

    for found in wave_bounds([beat, beat + noise], noise, peak=peak, rate_hz=rate_hz, rr_ms=rr_ms):
        if found is None:
            continue
        assert -131 <= found.qrs_onset_ms < found.qrs_offset_ms <= 131
        assert found.p_onset_ms is None or 70 <= found.pr_ms <= 345
        assert found.t_end_ms is None or found.t_end_ms > found.qrs_offset_ms
