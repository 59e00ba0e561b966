"""The figures of a second."""

from __future__ import annotations

import numpy as np
import pytest

from edge.conditioning.quality_features import QualityFeatures

RATE = 250


def measure(values, rate_hz=RATE):
    values = np.asarray(values, dtype=float)
    n_second = round(rate_hz)
    stage = QualityFeatures(rate_hz, n_second, 1)
    return stage, [row[0] for row in stage.measure(values[: len(values) // n_second * n_second, None].copy())]


def wave(hz, seconds=6, rate_hz=RATE):
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


@pytest.mark.parametrize("rate_hz", [125.0, 128.0, 200.0, 250.0, 360.0, 500.0, 1000.0])
def test_the_qrs_band_is_alike_at_every_rate(rate_hz):
    """12 Hz passes whole, baseline wander and mains hardly at all."""

    def peak(hz):
        return measure(wave(hz, rate_hz=rate_hz), rate_hz)[1][3].peak

    assert peak(12.0) == pytest.approx(1.0, rel=0.1)
    assert peak(0.5) < 0.01
    assert peak(50.0) < 0.005


@pytest.mark.parametrize("rate_hz", [125.0, 250.0, 360.0, 1000.0])
def test_the_muscle_band_hears_neither_complexes_nor_mains(rate_hz):
    """The median deflection at 28 Hz is that of a sine wave, and next to nothing at 5 and 60 Hz."""

    def muscle(hz):
        return measure(wave(hz, rate_hz=rate_hz), rate_hz)[1][3].muscle

    assert muscle(28.0) == pytest.approx(2**-0.5, rel=0.15)
    assert muscle(5.0) < 0.02
    assert muscle(60.0) < 0.02


def test_mains_is_measured_beside_anything_else():
    """Amplitude of 60 Hz under an offset and wander."""
    _, figures = measure(0.4 * wave(60.0) + 3.0 + wave(0.3))

    assert np.hypot(*figures[3].mains[2:]) == pytest.approx(0.4, rel=0.02)
    assert np.hypot(*figures[3].mains[:2]) < 0.02


def test_a_missing_sample_spoils_its_second_and_no_other():
    """The hole is filled with the value before it, and the second says that it is missing."""
    values = wave(12.0)
    values[600:620] = np.nan

    _, figures = measure(values)

    assert [row.is_missing for row in figures] == [False, False, True, False, False, False]
    assert figures[3].peak == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e300])
def test_a_stream_that_begins_with_a_hole_is_measured_from_its_first_value(odd):
    """Nothing is known before the first value, and nothing is invented that rings on."""
    values = wave(12.0) + 100.0
    values[:10] = odd

    _, figures = measure(values)

    assert figures[0].is_missing
    assert figures[2].peak == pytest.approx(1.0, rel=0.1)


def test_leakage_tells_a_wave_from_beats():
    """A sine wave of 5 Hz cancels itself half a period later; narrow spikes do not."""
    spikes = np.zeros(6 * RATE)
    spikes[100::RATE] = 1.0

    of_wave, of_spikes = (measure(values)[0].leakage(5, 0) for values in (wave(5.0), spikes))

    assert of_wave == pytest.approx(0.0, abs=0.1)
    assert of_spikes > 0.7


def test_leakage_needs_five_seconds():
    """Four seconds and one for the filter to settle."""
    stage, _ = measure(wave(5.0))

    assert stage.leakage(3, 0) is None
    assert stage.leakage(4, 0) is not None


def test_repetition_tells_a_rhythm_from_noise():
    """Beats that are alike come round again, however wide they are; noise in the same band does not."""
    time_s = np.arange(6 * RATE) / RATE
    beats = np.exp(-0.5 * ((time_s % 0.5 - 0.25) / 0.05) ** 2)
    noise = np.random.default_rng(1).standard_normal(6 * RATE)

    of_beats, of_noise = (measure(values)[0].repetition(5, 0) for values in (beats, noise))

    assert of_beats > 0.95
    assert of_noise < 0.6


def test_repetition_of_nothing_is_none_at_all():
    """A flat line has no beats that could be alike."""
    assert measure(np.zeros(6 * RATE))[0].repetition(5, 0) == 0.0
    assert measure(np.zeros(4 * RATE))[0].repetition(3, 0) is None
