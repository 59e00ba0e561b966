"""Windows as they might have been: noise at a known level, another gain, wander, tempo, an inverted lead, lost samples.

Each function takes windows of shape (n, n_samples, n_channels) and a random generator, and returns new windows of the
same shape; equal generators give equal windows.  The channels of a window are taken to show one lead (the samples, and
what is computed from them), so all of them get the same noise, gain, tempo and losses.

The signal-to-noise ratio is that of the noise stress test of ANSI/AAMI EC57, brought to one window: the signal's power is
an eighth of the square of its peak-to-peak amplitude (in an ECG, that of the largest complex), the noise's power its
variance within the window.  The definition of the test measures beats and seconds of a whole record
(`firmware_bridge.virtual.noise_stress`); a window has no more than itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.virtual.noise_stress import SURROGATES, surrogate

Windows = NDArray[np.float32]
"""Shape (n, n_samples, n_channels)."""
NoiseBank = Mapping[str, NDArray[np.float64]]
"""Long stretches of noise by kind, each of shape (n,), at the windows' rate and in their band."""

WHITE = "white"
NOISE_KINDS = (*SURROGATES, WHITE)
"""Kinds of noise: ``bw`` wander, ``em`` electrode motion, ``ma`` muscle, ``white``."""
_BANK_S = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentSettings:
    """How far windows are changed while training; all is off by default.  A ratio of 0.3 means 3 windows of 10."""

    noise_ratio: float = 0.0
    """Share of the windows that get noise."""
    noise_kinds: tuple[str, ...] = NOISE_KINDS
    """One of these is drawn for each window."""
    noise_source: str = "synthetic"
    """``synthetic``, or ``recorded`` for the records ``nstdb/bw``, ``em`` and ``ma`` of the data folder."""
    snr_db: tuple[float, float] = (6.0, 24.0)
    """Signal-to-noise ratio, evenly between these; EC57 tests from 24 down to −6 dB."""
    gain_db: float = 0.0
    """Amplitude, evenly between minus and plus this: 6 dB is half to double, as electrodes and bodies differ."""
    wander_mv: float = 0.0
    """Largest amplitude of an added sine of 0.05–0.5 Hz: breathing, in the unit of the window."""
    stretch: float = 0.0
    """Tempo, evenly within this share either way: 0.1 makes a window 10 % faster or slower."""
    anchor_ratio: float = 0.5
    """Place in the window that a change of tempo leaves where it is (the R peak of a beat's own window)."""
    shift_ms: float = 0.0
    """Largest shift either way: a detector's R peak is not the annotator's."""
    inversion_ratio: float = 0.0
    """Share of the windows whose lead is turned upside down: swapped electrodes."""
    loss_ratio: float = 0.0
    """Share of the windows in which samples were lost and held at their last value."""
    loss_ms: float = 40.0
    """Longest loss."""

    def __post_init__(self) -> None:
        shares = (self.noise_ratio, self.inversion_ratio, self.loss_ratio, self.anchor_ratio)
        if not all(0 <= share <= 1 for share in shares) or not 0 <= self.stretch < 1:
            raise ValueError(f"expected ratios from 0 to 1 and stretch below 1, got {self}")
        if min(self.gain_db, self.wander_mv, self.shift_ms, self.loss_ms) < 0 or self.snr_db[0] > self.snr_db[1]:
            raise ValueError(f"expected gain_db, wander_mv, shift_ms, loss_ms >= 0 and snr_db ascending, got {self}")
        unknown = set(self.noise_kinds) - set(NOISE_KINDS)
        if unknown or not self.noise_kinds or self.noise_source not in {"synthetic", "recorded"}:
            raise ValueError(
                f"expected noise_kinds among {', '.join(NOISE_KINDS)}, noise_source synthetic or recorded, got {self}"
            )


def augment(
    windows: Windows, settings: AugmentSettings, noise: NoiseBank, rng: np.random.Generator, *, rate_hz: float
) -> Windows:
    """Return `windows` changed in every way that `settings` ask for, in the order in which it happens to a signal.

    First the heart (tempo, place of the beat), then the electrodes (gain, inversion), then what is added (wander,
    noise), at last what is lost on the way.
    """
    n = len(windows)
    if settings.stretch or settings.shift_ms:
        factors = 1.0 + rng.uniform(-settings.stretch, settings.stretch, n)
        shifts = rng.uniform(-settings.shift_ms, settings.shift_ms, n) * rate_hz / 1000.0
        windows = warp(windows, factors, shifts, anchor_ratio=settings.anchor_ratio)
    if settings.gain_db or settings.inversion_ratio:
        gains = 10.0 ** (rng.uniform(-settings.gain_db, settings.gain_db, n) / 20.0)
        signs = np.where(rng.random(n) < settings.inversion_ratio, -1.0, 1.0)
        windows = (windows * (gains * signs)[:, None, None]).astype(np.float32)
    if settings.wander_mv:
        windows = add_wander(windows, rng.uniform(0.0, settings.wander_mv, n), rng, rate_hz=rate_hz)
    if settings.noise_ratio:
        levels_db = np.where(rng.random(n) < settings.noise_ratio, rng.uniform(*settings.snr_db, n), np.inf)
        kinds = rng.choice(np.array(settings.noise_kinds), n)
        windows = add_noise(windows, noise, kinds, levels_db, rng)
    if settings.loss_ratio:
        is_hit = rng.random(n) < settings.loss_ratio
        n_most = max(1, round(settings.loss_ms / 1000.0 * rate_hz))
        windows = lose_samples(windows, np.where(is_hit, rng.integers(1, n_most + 1, n), 0), rng)
    return windows


def signal_power(windows: Windows) -> NDArray[np.float64]:
    """Return an eighth of the square of each window's peak-to-peak amplitude in its first channel, shape (n,).

    That is the power of a sine as large as the largest complex (EC57 noise stress test).  Missing samples are left out.
    """
    first = np.asarray(windows[:, :, 0], dtype=np.float64)
    height = np.fmax.reduce(first, axis=1, keepdims=True) - np.fmin.reduce(first, axis=1, keepdims=True)
    return np.asarray(height, dtype=np.float64)[:, 0] ** 2 / 8.0


def add_noise(
    windows: Windows,
    noise: NoiseBank,
    kinds: NDArray[np.str_],
    snr_db: NDArray[np.float64],
    rng: np.random.Generator,
) -> Windows:
    """Return `windows` with a random stretch of noise of one kind each, at exactly `snr_db`; infinite adds none.

    Raises
    ------
    ValueError
        If a kind of noise is not in the bank, or is shorter than a window.
    """
    n, n_samples, _ = windows.shape
    added = np.zeros((n, n_samples))
    for kind in sorted(set(kinds.tolist())):
        if kind not in noise or len(noise[kind]) < n_samples:
            raise ValueError(f"expected noise {kind!r} of at least {n_samples} samples, got {sorted(noise)}")
        mine = np.flatnonzero(kinds == kind)
        starts = rng.integers(0, len(noise[kind]) - n_samples + 1, len(mine))
        added[mine] = noise[kind][starts[:, None] + np.arange(n_samples)]
    added -= added.mean(axis=1, keepdims=True)
    power = np.maximum(added.var(axis=1), 1e-30)
    gains = np.asarray(np.sqrt(signal_power(windows) / power) * 10.0 ** (-snr_db / 20.0))
    return np.asarray(windows + (added * gains[:, None])[:, :, None], dtype=np.float32)


def add_wander(
    windows: Windows, amplitudes: NDArray[np.float64], rng: np.random.Generator, *, rate_hz: float
) -> Windows:
    """Return `windows` with a sine of 0.05–0.5 Hz each, of these amplitudes in the windows' unit."""
    n, n_samples, _ = windows.shape
    frequency_hz = rng.uniform(0.05, 0.5, (n,))
    phase = rng.uniform(0.0, 2.0 * math.pi, (n,))
    at_s = np.arange(n_samples) / rate_hz
    wander = amplitudes[:, None] * np.sin(2.0 * math.pi * frequency_hz[:, None] * at_s + phase[:, None])
    return np.asarray(windows + wander[:, :, None], dtype=np.float32)


def warp(
    windows: Windows, factors: NDArray[np.float64], shifts: NDArray[np.float64], *, anchor_ratio: float
) -> Windows:
    """Return `windows` played at another tempo and moved.

    Parameters
    ----------
    windows : ndarray of float32, shape (n, n_samples, n_channels)
        What is changed; beyond an edge the first or last value is held.
    factors : ndarray, shape (n,)
        1.1 makes everything last 10 % longer.
    shifts : ndarray, shape (n,)
        Samples by which everything comes later.
    anchor_ratio : float
        Place in the window, 0 to 1, that the tempo leaves where it is.
    """
    n, n_samples, _ = windows.shape
    anchor = anchor_ratio * (n_samples - 1)
    place = (np.arange(n_samples) - anchor - shifts[:, None]) / factors[:, None] + anchor
    place = np.clip(place, 0.0, n_samples - 1.0)
    low = np.minimum(place.astype(np.int64), max(0, n_samples - 2))
    share = (place - low)[:, :, None]
    rows = np.arange(n)[:, None]
    high = np.minimum(low + 1, n_samples - 1)
    return np.asarray((1.0 - share) * windows[rows, low] + share * windows[rows, high], dtype=np.float32)


def lose_samples(windows: Windows, n_lost: NDArray[np.int64], rng: np.random.Generator) -> Windows:
    """Return `windows` in which that many samples in a row were lost and their last value held; 0 loses none."""
    n, n_samples, _ = windows.shape
    first = (rng.random(n) * np.maximum(1, n_samples - n_lost - 1)).astype(np.int64) + 1
    at = np.arange(n_samples)
    is_lost = (at >= first[:, None]) & (at < (first + n_lost)[:, None])
    source = np.where(is_lost, first[:, None] - 1, at)
    return np.asarray(windows[np.arange(n)[:, None], source], dtype=np.float32)


def synthetic_noise(rate_hz: float, *, seed: int, duration_s: float = _BANK_S) -> dict[str, NDArray[np.float64]]:
    """Return noise of every kind at `rate_hz`, made by `noise_stress.surrogate`; bands are stated there."""
    n_samples = round(duration_s * rate_hz)
    bank = {kind: surrogate(kind, n_samples, rate_hz, seed=seed) for kind in SURROGATES}
    return bank | {WHITE: np.random.default_rng([seed, *WHITE.encode()]).standard_normal(n_samples)}
