"""What beats say of breathing: fundamentals, harmonics, holes, outliers, and a belief that follows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge.features.respiration_spectra import BeatSeries, Evidence, RateBelief, Spectra, SpectraSettings

S = 1_000_000_000
SETTINGS = SpectraSettings()
RATES_BPM = SETTINGS.rates_bpm


def series(values, at_s, weights=(1.0,)):
    """Return a series of beats with one modulation."""
    out = BeatSeries(weights, SETTINGS, Spectra(SETTINGS))
    for at, value in zip(at_s, values, strict=True):
        out.add(round(at * S), (float(value),))
    return out


def beats_s(until_s=40.0, heart_bpm=75.0):
    return np.arange(0.3, until_s, 60.0 / heart_bpm)


def wave(at_s, bpm, phase=0.0):
    return np.sin(2 * np.pi * bpm / 60.0 * at_s + phase)


def best_bpm(evidence):
    return RATES_BPM[int(np.argmax(evidence.log_likelihood))]


@pytest.mark.parametrize("bpm", [6.0, 9.5, 14.0, 22.0, 33.0])
def test_the_best_explained_rate_is_the_modulation(bpm):
    """Within a step of the grid, whatever the trend."""
    at_s = beats_s()

    evidence = series(wave(at_s, bpm) + 0.3 * at_s, at_s).evidence(39 * S)

    assert best_bpm(evidence) == pytest.approx(bpm, abs=0.5)
    assert evidence.heart_rate_bpm == pytest.approx(75.0)
    assert evidence.weight == 1.0


def test_a_harmonic_that_is_taller_speaks_for_its_fundamental():
    """Breaths with two humps at 16/min are no 32/min."""
    at_s = beats_s(heart_bpm=90)
    values = wave(at_s, 16) + 1.2 * wave(at_s, 32, 0.5)

    assert best_bpm(series(values, at_s).evidence(39 * S)) == pytest.approx(16, abs=0.5)


def test_a_slow_wave_of_blood_pressure_is_no_fundamental():
    """At 6/min beside breathing at 12/min, both of the same size: 12/min."""
    at_s = beats_s()
    values = wave(at_s, 12) + wave(at_s, 6, 0.5)

    assert best_bpm(series(values, at_s).evidence(39 * S)) == pytest.approx(12, abs=0.5)


def test_nothing_is_said_beyond_half_the_heart_rate():
    """Beats at 50/min cannot show what is faster than 25/min."""
    at_s = beats_s(heart_bpm=50)

    evidence = series(np.random.default_rng(0).standard_normal(len(at_s)), at_s).evidence(39 * S)

    beyond = evidence.log_likelihood[RATES_BPM > 26]
    assert np.ptp(beyond) == 0
    assert beyond[0] < 0


@pytest.mark.parametrize("hole", [(10.0, 16.0), (33.5, 40.0), (0.0, 12.0)])
def test_a_hole_makes_the_window_useless(hole):
    """Of more than five seconds, in the middle or at either end."""
    at_s = beats_s()
    at_s = at_s[(at_s < hole[0]) | (at_s > hole[1])]

    assert series(wave(at_s, 12), at_s).evidence(39 * S) is None


def test_single_outliers_do_not_matter():
    """Two beats of ten times the height."""
    at_s = beats_s()
    values = wave(at_s, 12)
    values[[20, 33]] = 15.0

    assert best_bpm(series(values, at_s).evidence(39 * S)) == pytest.approx(12, abs=0.5)


def test_a_series_without_variation_says_nothing():
    """A constant, or one that is mostly unknown, is no evidence."""
    at_s = beats_s()

    assert series(np.ones(len(at_s)), at_s).evidence(39 * S) is None
    assert series(np.where(at_s % 2 < 1, wave(at_s, 12), math.nan), at_s).evidence(39 * S) is None


def test_disorder_of_the_beats_is_told():
    """Fibrillation yes, respiratory arrhythmia no."""
    rng = np.random.default_rng(0)
    irregular = np.cumsum(0.8 * (1 + 0.2 * rng.standard_normal(50)))
    breathing = np.cumsum(0.8 + 0.05 * np.sin(np.arange(50) / 5 * 2 * np.pi))

    assert series(wave(irregular, 12), irregular).evidence(round(irregular[-1] * S)).is_irregular
    assert not series(wave(breathing, 12), breathing).evidence(round(breathing[-1] * S)).is_irregular


def test_the_unit_and_the_sign_do_not_matter():
    """A thousand times the height, upside down: the same evidence to rounding."""
    at_s = beats_s()
    values = wave(at_s, 17) + 0.3 * np.random.default_rng(2).standard_normal(len(at_s))

    one = series(values, at_s).evidence(39 * S).log_likelihood
    other = series(-1000.0 * values, at_s).evidence(39 * S).log_likelihood

    np.testing.assert_allclose(one, other, atol=1e-9)


def test_the_belief_grows_with_evidence_and_fades_without():
    """Near one after half a minute of the same; back to a tenth after a minute of nothing."""
    peak = Evidence(
        log_likelihood=np.where(np.abs(RATES_BPM - 15) < 1, 2.5, -0.3), weight=1.0, heart_rate_bpm=70, is_irregular=False
    )  # fmt: skip
    belief = RateBelief(RATES_BPM)

    before = belief.best()[1]
    for _ in range(10):
        belief.step([peak])
    bpm, grown = belief.best()
    for _ in range(20):
        belief.step([])

    assert before < 0.1
    assert bpm == pytest.approx(15, abs=0.3)
    assert grown > 0.6
    assert belief.best()[1] < 0.3


def test_impossible_settings_are_refused():
    """A grid that is too coarse for the fastest breathing, and a range without rates."""
    with pytest.raises(ValueError, match="series_hz"):
        SpectraSettings(series_hz=1.5)
    with pytest.raises(ValueError, match="min_bpm"):
        SpectraSettings(min_bpm=60.0, max_bpm=10.0)
