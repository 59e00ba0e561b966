"""Augmented windows are what their settings say, measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.augment import (
    NOISE_KINDS,
    AugmentSettings,
    add_noise,
    add_wander,
    augment,
    lose_samples,
    signal_power,
    synthetic_noise,
    warp,
)

RATE_HZ = 125.0
BANK = synthetic_noise(RATE_HZ, seed=1, duration_s=60.0)


def beats(n=20, n_samples=500, *, height_mv=1.0, n_channels=2, seed=3):
    """Windows with a spike of known height each second, and a second channel that is half of the first."""
    rng = np.random.default_rng(seed)
    at = np.arange(n_samples)
    lead = np.zeros((n, n_samples))
    for k in range(n):
        for centre in range(int(rng.integers(40, 80)), n_samples - 20, 125):
            lead[k] += height_mv * np.exp(-0.5 * ((at - centre) / 3.0) ** 2)
    return np.stack([lead / (1 + channel) for channel in range(n_channels)], axis=2).astype(np.float32)


@given(snr_db=st.floats(-6, 30), kind=st.sampled_from(NOISE_KINDS), height_mv=st.floats(0.05, 5))
@settings(max_examples=40, deadline=None)
def test_the_noise_has_the_level_it_should(snr_db, kind, height_mv):
    """EC57's ratio, measured on what was added: power of a sine as high as the QRS over the noise's variance."""
    clean = beats(4, height_mv=height_mv)

    noisy = add_noise(clean, BANK, np.array([kind] * 4), np.full(4, snr_db), np.random.default_rng(1))

    added = (noisy - clean)[:, :, 0].astype(np.float64)
    assert added.mean(axis=1) == pytest.approx(np.zeros(4), abs=1e-3 * np.abs(added).max())  # no step in the level
    power = np.ptp(clean[:, :, 0].astype(np.float64), axis=1) ** 2 / 8
    measured_db = 10 * np.log10(power / added.var(axis=1))
    assert measured_db == pytest.approx(np.full(4, snr_db), abs=0.05)
    assert np.allclose((noisy - clean)[:, :, 0], (noisy - clean)[:, :, 1], atol=1e-4 * height_mv)  # one lead, one noise


def test_infinite_ratio_is_no_noise():
    clean = beats(3)

    noisy = add_noise(clean, BANK, np.array(["ma"] * 3), np.full(3, np.inf), np.random.default_rng(1))

    assert np.array_equal(noisy, clean)


def test_signal_power_is_that_of_the_largest_complex():
    """A spike of 2 mV has the power of a sine of 2 mV peak to peak, 0.5 mV²."""
    assert signal_power(beats(1, height_mv=2.0)) == pytest.approx([0.5], rel=1e-3)
    with_hole = beats(1, height_mv=2.0)
    with_hole[0, 300:] = np.nan
    assert signal_power(with_hole) == pytest.approx([0.5], rel=1e-3)


def test_noise_of_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="expected noise 'em'"):
        add_noise(beats(1), {"ma": BANK["ma"]}, np.array(["em"]), np.zeros(1), np.random.default_rng(1))


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_tempo_leaves_the_anchor_and_stretches_the_rest(factor):
    """A wave 100 samples before the anchor comes to lie 100 times the factor before it."""
    at = np.arange(500)
    anchor = 0.4 * 499
    window = np.exp(-0.5 * ((at - (anchor - 100)) / 4) ** 2)[None, :, None].astype(np.float32)

    warped = warp(window, np.array([factor]), np.zeros(1), anchor_ratio=0.4)

    centre = (warped[0, :, 0] * at).sum() / warped[0, :, 0].sum()
    assert anchor - centre == pytest.approx(100 * factor, abs=0.5)


def test_a_shift_moves_everything_and_holds_the_edge():
    ramp = np.arange(50, dtype=np.float32)[None, :, None]

    later = warp(ramp, np.ones(1), np.array([7.0]), anchor_ratio=0.5)

    assert later[0, 7:, 0] == pytest.approx(np.arange(43))
    assert later[0, :7, 0] == pytest.approx(np.zeros(7))


def test_lost_samples_hold_the_last_value():
    ramp = np.tile(np.arange(100, dtype=np.float32)[None, :, None], (50, 1, 1))

    held = lose_samples(ramp, np.full(50, 5), np.random.default_rng(2))

    for window in held[:, :, 0]:
        still = np.flatnonzero(np.diff(window) == 0)
        assert len(still) == 5
        assert np.all(np.diff(still) == 1)
    assert np.array_equal(lose_samples(ramp, np.zeros(50, np.int64), np.random.default_rng(2)), ramp)


def test_wander_is_slow_and_of_its_amplitude():
    flat = np.zeros((8, 2500, 1), np.float32)

    wander = add_wander(flat, np.full(8, 0.3), np.random.default_rng(1), rate_hz=RATE_HZ)[:, :, 0]

    assert np.abs(wander).max() <= 0.3 + 1e-6
    assert np.abs(wander).max() > 0.25
    crossings = (np.diff(np.sign(wander), axis=1) != 0).sum(axis=1) / 2 / 20.0
    assert crossings.max() <= 0.55


ALL = AugmentSettings(
    noise_ratio=0.5, gain_db=6.0, wander_mv=0.2, stretch=0.1, shift_ms=16, inversion_ratio=0.2, loss_ratio=0.3
)


def test_equal_seeds_give_equal_windows():
    first, second = (augment(beats(), ALL, BANK, np.random.default_rng(7), rate_hz=RATE_HZ) for _ in range(2))
    other = augment(beats(), ALL, BANK, np.random.default_rng(8), rate_hz=RATE_HZ)

    assert np.array_equal(first, second)
    assert not np.allclose(first, other)


def test_the_original_is_left_alone_and_shape_and_type_stay():
    windows = beats()
    before = windows.copy()

    changed = augment(windows, ALL, BANK, np.random.default_rng(7), rate_hz=RATE_HZ)

    assert np.array_equal(windows, before)
    assert changed.shape == windows.shape
    assert changed.dtype == np.float32


def test_nothing_is_changed_by_default():
    assert augment(beats(), AugmentSettings(), {}, np.random.default_rng(1), rate_hz=RATE_HZ) is not None
    assert np.array_equal(augment(beats(), AugmentSettings(), {}, np.random.default_rng(1), rate_hz=RATE_HZ), beats())


def test_gain_and_inversion_hit_the_share_they_should():
    windows = beats(2000, 60, n_channels=1) + 1.0
    settings = AugmentSettings(gain_db=6.0, inversion_ratio=0.25)

    changed = augment(windows, settings, {}, np.random.default_rng(1), rate_hz=RATE_HZ)

    gains = (changed / windows)[:, 0, 0]
    assert (gains < 0).mean() == pytest.approx(0.25, abs=0.03)
    assert 0.5 <= np.abs(gains).min() < 0.53
    assert 1.9 < np.abs(gains).max() <= 2.0


@pytest.mark.parametrize(
    "wrong",
    [{"noise_ratio": 1.5}, {"snr_db": (10, 0)}, {"noise_kinds": ("hum",)}, {"noise_source": "x"}, {"gain_db": -1.0}],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        AugmentSettings(**wrong)
