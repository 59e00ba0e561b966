"""The test waveforms of the cardiac-monitor standards have the figures that are published for them."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.virtual import monitor_waveforms as waveforms
from firmware_bridge.virtual.monitor_waveforms import Complex


@pytest.mark.parametrize("heart_rate_bpm", [30.0, 80.0, 300.0])
@pytest.mark.parametrize("rate_hz", [100.0, 250.0, 720.0])
def test_a_constant_rate_is_constant_and_every_beat_is_there(heart_rate_bpm, rate_hz):
    """The rate is exact, and at each instant of the truth the signal is as tall as ordered."""
    wave = waveforms.regular(heart_rate_bpm, 20.0, rate_hz=rate_hz)

    assert wave.rate_bpm == pytest.approx(heart_rate_bpm)
    assert len(wave.values_mv) == 20 * rate_hz
    peaks = [wave.values_mv[round(at_s * rate_hz)] for at_s in wave.beats_s[:-1]]
    assert min(peaks) > 0.7


def test_a_complex_has_its_durations():
    """QRS is 100 ms wide at its foot; T ends 350 ms after the beginning of QRS and is as tall as ordered."""
    wave = waveforms.regular(60.0, 3.0, rate_hz=1000.0, shape=Complex(t_mv=1.2), noise_mv=0.0)

    beat = wave.values_mv[450:1300]
    inside = np.flatnonzero(beat > 1e-9)

    assert inside[0] == 1
    assert inside[-1] == pytest.approx(349, abs=2)
    assert beat[50] == pytest.approx(1.0)
    assert beat[350 - 90] == pytest.approx(1.2)
    assert not (beat[100:170] > 1e-9).any()


def test_a_step_of_the_rate_has_no_pause():
    """The first short interval begins with a beat of the old rate."""
    intervals_s = np.diff(waveforms.rate_step(80.0, 120.0, 90.0, at_s=60.0).beats_s)

    assert intervals_s[:79] == pytest.approx(0.75)
    assert intervals_s[-40:] == pytest.approx(0.5)
    assert set(np.round(intervals_s, 6)) == {0.75, 0.5}


@pytest.mark.parametrize(
    ("make", "rate_bpm", "n_kinds"),
    [
        (waveforms.ventricular_bigeminy, 80, 2),
        (waveforms.slow_alternating_bigeminy, 60, 2),
        (waveforms.rapid_alternating_bigeminy, 120, 2),
        (waveforms.bidirectional_systoles, 90, 2),
    ],
)
def test_irregular_rhythms_have_the_rate_that_is_published(make, rate_bpm, n_kinds):
    """Counting every QRS complex gives the number of the standard; intervals alternate between two values."""
    wave = make(60.0)

    intervals_s = np.round(np.diff(wave.beats_s), 6)

    assert wave.rate_bpm == pytest.approx(rate_bpm, rel=0.01)
    assert len(set(intervals_s)) == n_kinds


def test_bidirectional_systoles_point_up_and_down():
    """Every second QRS complex is negative."""
    wave = waveforms.bidirectional_systoles(20.0)

    signs = [np.sign(wave.values_mv[round(at_s * 250)]) for at_s in wave.beats_s[:-1]]

    assert signs == [1, -1] * (len(signs) // 2) + [1] * (len(signs) % 2)


@pytest.mark.parametrize("size_ratio", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    ("make", "rate_bpm", "swing_mv"), [(waveforms.tachycardia_4a, 206, 1.0), (waveforms.tachycardia_4b, 195, 2.0)]
)
def test_tachycardias_begin_at_once_with_rate_and_size(make, rate_bpm, swing_mv, size_ratio):
    """80 /min for half a minute, then without a pause the fast rhythm, its beats at its maxima."""
    wave = make(45.0, size_ratio=size_ratio)
    fast = wave.values_mv[32 * 250 :]
    beats_s = [at_s for at_s in wave.beats_s if at_s > 30.0]

    assert np.ptp(fast) == pytest.approx(swing_mv * size_ratio, rel=0.1)
    assert 60 / np.diff(beats_s).mean() == pytest.approx(rate_bpm, rel=0.001)
    assert beats_s[0] - max(s for s in wave.beats_s if s < 30.0) < 1.0
    for at_s in beats_s[:-1]:
        near = wave.values_mv[round(at_s * 250) - 20 : round(at_s * 250) + 20]
        assert near.max() - wave.values_mv[round(at_s * 250)] < 0.06 * swing_mv * size_ratio + 0.03
    assert np.abs(np.diff(wave.values_mv[30 * 250 - 5 : 30 * 250 + 5])).max() < 0.12 * swing_mv * size_ratio + 0.03


@pytest.mark.parametrize(
    ("mean_s", "swing_s", "swing_hz", "sdnn_ms", "rmssd_ms"),
    [(0.8, 0.035, 0.25, 24.76, 29.07), (1.0, 0.070, 0.10, 49.53, 30.53)],
)
def test_sine_intervals_have_the_variability_that_is_published(mean_s, swing_s, swing_hz, sdnn_ms, rmssd_ms):
    """SDNN and RMSSD of five minutes are those of the reference within 1 %."""
    intervals_ms = 1000 * np.diff(waveforms.sine_intervals(mean_s, swing_s, swing_hz, 300.0).beats_s)

    assert intervals_ms.std(ddof=1) == pytest.approx(sdnn_ms, rel=0.01)
    assert np.sqrt(np.mean(np.diff(intervals_ms) ** 2)) == pytest.approx(rmssd_ms, rel=0.01)


@pytest.mark.parametrize(("pulse_mv", "pulse_ms"), [(2.0, 0.1), (2.0, 2.0), (-700.0, 2.0), (700.0, 0.1)])
@pytest.mark.parametrize("rate_hz", [500.0, 1000.0])
def test_a_pacing_pulse_is_short_and_within_range(pulse_mv, pulse_ms, rate_hz):
    """What is left of a pulse lasts less than 20 ms, whatever its height, and never leaves the range."""
    flat = waveforms.triangles([], 2.0, rate_hz=rate_hz, noise_mv=0.0)

    values = waveforms.with_pacing_pulses(flat, [1.0003], pulse_mv, pulse_ms).values_mv

    seen = np.flatnonzero(np.abs(values) > 0.02)
    assert len(seen) > 0
    assert (seen[-1] - seen[0]) / rate_hz < 0.020
    assert np.abs(values).max() <= 5.0
    assert np.sign(values[seen[0]]) == np.sign(pulse_mv)


def test_the_area_of_a_short_pulse_is_kept():
    """An amplifier of limited bandwidth spreads a pulse and keeps its area: 2 mV times 0.1 ms."""
    flat = waveforms.triangles([], 1.0, rate_hz=20_000.0, noise_mv=0.0)

    values = waveforms.with_pacing_pulses(flat, [0.5], 2.0, 0.1).values_mv

    assert values.sum() / 20.0 == pytest.approx(0.2, rel=0.01)
    assert values.max() == pytest.approx(0.08, abs=0.02)


def test_drift_and_mains_are_as_large_as_ordered():
    """Both are added to what is there and start at zero."""
    flat = waveforms.triangles([], 20.0, rate_hz=1000.0, noise_mv=0.0)

    assert np.ptp(waveforms.with_drift(flat, 4.0).values_mv) == pytest.approx(4.0)
    assert np.ptp(waveforms.with_mains(flat, 60.0, 0.1).values_mv) == pytest.approx(0.1, rel=0.01)
    assert waveforms.with_drift(flat, 4.0).values_mv[0] == 0.0


def test_a_standstill_has_no_beat_after_its_instant():
    """What remains is noise."""
    wave = waveforms.standstill(75.0, 30.0, at_s=15.0)

    assert 14.0 < wave.beats_s[-1] < 15.0
    assert np.abs(wave.values_mv[round(15.5 * 250) :]).max() < 0.03
