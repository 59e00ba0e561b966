"""How light and motion are weighed against each other."""

from __future__ import annotations

import numpy as np
import pytest

from edge.features.wrist_spectrum import (
    GRID_BPM,
    LOWEST_BPM,
    SpectrumSettings,
    equalised,
    line_spectrum,
    motion_mask,
    weigh,
)

RATES_BPM = np.arange(30, 221)
RATE_HZ = 64.0


def sine(rate_bpm: float, amplitude: float = 1.0, rate_hz: float = RATE_HZ) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * rate_bpm / 60.0 * np.arange(round(8 * rate_hz)) / rate_hz + 0.3)


def best_bpm(explained: np.ndarray) -> int:
    return int(RATES_BPM[int(np.argmax(explained))])


@pytest.mark.parametrize("rate_hz", [25.0, 64.0, 125.0])
@pytest.mark.parametrize("rate_bpm", [40.0, 90.0, 200.0])
def test_a_line_has_its_power(rate_bpm, rate_hz):
    """A sine of amplitude 3 has 4.5 at its rate, whatever the sampling rate."""
    power = line_spectrum(sine(rate_bpm, 3.0, rate_hz), rate_hz)

    assert power.max() == pytest.approx(4.5, rel=0.02)
    assert GRID_BPM[int(np.argmax(power))] == pytest.approx(rate_bpm, abs=1.0)


def test_columns_have_their_own_spectra():
    """Several columns at once give what each gives alone."""
    both = line_spectrum(np.column_stack([sine(60.0), sine(150.0)]), RATE_HZ)

    assert both == pytest.approx(np.stack([line_spectrum(sine(60.0), RATE_HZ), line_spectrum(sine(150.0), RATE_HZ)]))


def test_nothing_is_seen_above_half_the_rate():
    """A slow sensor has no lines where it cannot have any."""
    power = line_spectrum(sine(60.0, 1.0, 10.0), 10.0)

    assert not power[301 - LOWEST_BPM :].any()


def test_a_lone_pulse_explains_nearly_all():
    """The share of a sine in its own light is one, and of noise small everywhere."""
    lone = weigh(line_spectrum(sine(75.0), RATE_HZ), None, RATES_BPM, 8.0)
    noise = weigh(line_spectrum(np.random.default_rng(1).standard_normal(512), RATE_HZ), None, RATES_BPM, 8.0)

    assert best_bpm(lone.explained) == pytest.approx(75, abs=1)
    assert lone.explained.max() == pytest.approx(1.0, abs=0.05)
    assert noise.explained.max() < 0.3
    assert lone.motion_ratio == 0.0


def test_half_the_rate_gains_nothing_from_the_second_harmonic():
    """At 50 bpm a pulse of 100 bpm is no second harmonic without a first."""
    explained = weigh(line_spectrum(sine(100.0) + sine(200.0, 0.5), RATE_HZ), None, RATES_BPM, 8.0).explained

    assert best_bpm(explained) == pytest.approx(100, abs=1)
    assert explained[50 - 30] < 0.05


def test_steps_are_set_aside_with_their_overtones():
    """A weak overtone of strong steps is motion too, though its own line in the acceleration is weak."""
    steps = sine(108.0, 4.0) + sine(216.0, 2.0)
    light = line_spectrum(sine(70.0, 0.5) + steps, RATE_HZ)
    motion = line_spectrum(np.column_stack([sine(108.0, 2.5) + sine(216.0, 1.25), sine(54.0)]), RATE_HZ)

    evidence = weigh(light, motion, RATES_BPM, 8.0)

    assert best_bpm(weigh(light, None, RATES_BPM, 8.0).explained) == pytest.approx(108, abs=1)
    assert best_bpm(evidence.explained) == pytest.approx(70, abs=2)
    assert evidence.explained[216 - 30] < 0.01
    assert evidence.motion_ratio > 0.9


def test_a_line_of_the_acceleration_counts_though_the_light_shows_more():
    """Light may answer to an overtone more strongly than to the step: half the amplitude sets half aside."""
    light = line_spectrum(sine(108.0) + sine(216.0, 2.0), RATE_HZ)
    motion = line_spectrum(np.column_stack([sine(108.0, 2.5) + sine(216.0, 1.25)] * 2), RATE_HZ)

    mask = motion_mask(light, motion, SpectrumSettings())

    assert mask[108 - LOWEST_BPM] == pytest.approx(1.0)
    assert mask[216 - LOWEST_BPM] == pytest.approx(0.5, abs=0.02)


def test_a_speck_beside_strong_steps_is_no_pulse():
    """What is left of the light counts against the motion's own remainder, not as a whole."""
    light = line_spectrum(sine(108.0) + sine(70.0, 0.05), RATE_HZ)
    motion = line_spectrum(np.column_stack([sine(108.0, 2.5)] * 2), RATE_HZ)

    assert weigh(light, motion, RATES_BPM, 8.0).explained.max() < 0.1


def test_trembling_of_a_still_hand_is_not_motion():
    """At rest the acceleration may show the pulse itself: below the limit of stillness it sets nothing aside."""
    light = line_spectrum(sine(70.0), RATE_HZ)
    motion = line_spectrum(np.column_stack([sine(70.0, 0.03)] * 3), RATE_HZ)

    evidence = weigh(light, motion, RATES_BPM, 8.0)

    assert evidence.motion_ratio < 0.02
    assert best_bpm(evidence.explained) == pytest.approx(70, abs=1)


def test_all_motion_leaves_no_evidence():
    """Light that is nothing but steps explains no pulse, even where nothing may be left over."""
    steps = line_spectrum(sine(108.0, 3.0), RATE_HZ)

    for leftover_ratio in (0.0, 0.1):
        settings = SpectrumSettings(leftover_ratio=leftover_ratio)
        explained = weigh(steps, np.stack([steps] * 3), RATES_BPM, 8.0, settings).explained
        assert np.isfinite(explained).all()
    assert explained.max() < 0.1


def test_a_dark_window_is_no_evidence():
    """Without light there is nothing to explain."""
    assert not weigh(np.zeros(len(GRID_BPM)), None, RATES_BPM, 8.0).explained.any()


def test_a_jerk_is_made_as_small_as_the_rest():
    """Equalised, half a second a hundred times as large no longer hides the pulse."""
    light = sine(70.0)
    light[240:272] += 100.0 * sine(150.0)[:32]

    assert best_bpm(weigh(line_spectrum(light, RATE_HZ), None, RATES_BPM, 8.0).explained) > 100
    even = line_spectrum(equalised(light, 96), RATE_HZ)
    assert best_bpm(weigh(even, None, RATES_BPM, 8.0).explained) == pytest.approx(70, abs=3)
    assert not equalised(np.zeros(100), 10).any()
