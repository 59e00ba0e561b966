"""A window of light and acceleration -> how well each pulse rate explains the light once motion is set aside.

Own method from known parts.  What share of a window one periodicity explains follows from the weighted periodogram,
as in Bretthorst's Bayesian spectrum analysis (1988, doi:10.1007/978-1-4684-9399-3).  Motion is taken out of the spectrum,
not of the signal, by the spectrum of each axis of acceleration, as Wiener-filter methods do (Temko 2017,
doi:10.1109/TBME.2017.2676243).  Where motion and pulse coincide, nothing is left that speaks for or against a rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

Curve = NDArray[np.float64]

LOWEST_BPM = 24
HIGHEST_BPM = 480
GRID_BPM: tuple[int, ...] = tuple(range(LOWEST_BPM, HIGHEST_BPM + 1))
"""Rates at which spectra are compared: from the lower edge of the band to the second harmonic of 240 bpm."""
_HANN_BANDWIDTH = 1.5
"""Equivalent noise bandwidth of a Hann window, in units of one over its length (Harris 1978,
doi:10.1109/PROC.1978.10837)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumSettings:
    """How light and motion are weighed against each other."""

    equalise_s: float = 1.5
    """The light is divided by its own size over this long, so that one jerk does not outshout the rest of the window;
    about one beat at 40 bpm (own choice; 0 and 3 s give nearly the same on the development recordings)."""
    still_mps2: float = 0.3
    """Root mean square of a line in the acceleration from which it is fully trusted to move the light: the movement up
    to which `activity` says still (0.15 to 0.6 give nearly the same)."""
    leftover_ratio: float = 0.1
    """Share of the motion's energy in the light that the acceleration does not show; what is left of the light counts
    against this too, so that a speck of it is no pulse (own choice; 0 to 0.3 give nearly the same)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one window says."""

    explained: Curve
    """Shape (n_rates,): share 0-1 of the light's energy that a pulse of this rate explains."""
    motion_ratio: float
    """Share of the light's energy that lies where the body moves."""


def line_spectrum(values: Curve, rate_hz: float) -> Curve:
    """Return the power of a sine wave of each rate of `GRID_BPM` in `values`, Hann-weighted.

    Parameters
    ----------
    values : ndarray, shape (n_samples,) or (n_samples, n_columns)
        Finite, without offset.
    rate_hz : float
        Sampling rate.

    Returns
    -------
    ndarray, shape (n_rates,) or (n_columns, n_rates)
        A sine of amplitude a has ``a**2 / 2`` at its rate; nothing above half the sampling rate.
    """
    weights = 0.5 - 0.5 * np.cos(np.arange(len(values)) * (2.0 * np.pi / len(values)))  # periodic Hann
    n_fft = max(len(values), 1 << int(np.ceil(np.log2(60.0 * rate_hz))))
    weighted = (values.T * weights) * (np.sqrt(2.0) / weights.sum())
    power = np.square(np.abs(np.fft.rfft(weighted, n_fft)))
    rates_bpm = np.arange(n_fft // 2 + 1) * (60.0 * rate_hz / n_fft)
    grid = np.arange(LOWEST_BPM, HIGHEST_BPM + 1.0)
    if power.ndim == 1:
        return np.asarray(np.interp(grid, rates_bpm, power, right=0.0))
    return np.stack([np.interp(grid, rates_bpm, row, right=0.0) for row in power])


def equalised(light: Curve, n_around: int) -> Curve:
    """Return `light` divided by its own root mean square over `n_around` samples."""
    if n_around < 2:
        return light
    size = np.sqrt(np.maximum(uniform_filter1d(np.square(light), n_around, mode="constant"), 0.0))
    return np.asarray(light / np.maximum(size, max(float(size.max()) * 1e-6, 1e-300)))


def motion_mask(light: Curve, motion: Curve, settings: SpectrumSettings) -> Curve:
    """Return for each rate how far motion may explain the light there, 0-1.

    Parameters
    ----------
    light : ndarray, shape (n_rates,)
        Line spectrum of the light.
    motion : ndarray, shape (n_axes, n_rates)
        Line spectra of the acceleration in m/s2 squared.
    settings : SpectrumSettings
        What counts as still.

    Notes
    -----
    Two views of each axis, and the larger counts.  The axis' own lines, by amplitude, whatever the light shows.  And
    the light to be expected if it followed the axis as strongly everywhere as it does at the axis' strongest line, as
    in a Wiener filter: a weak overtone of strong steps is motion too.
    """
    at = motion.argmax(axis=1)[:, None]
    strongest = np.maximum(np.take_along_axis(motion, at, axis=1), 1e-12)
    relative = motion / strongest
    expected = relative * light[at] / np.maximum(light, 1e-300)
    trust = np.minimum(strongest / settings.still_mps2**2, 1.0)
    return np.asarray((np.minimum(np.maximum(np.sqrt(relative), expected), 1.0) * trust).max(axis=0))


def weigh(
    light: Curve,
    motion: Curve | None,
    rates_bpm: NDArray[np.int64],
    window_s: float,
    settings: SpectrumSettings = SpectrumSettings(),
) -> Evidence:
    """Return how well each rate explains the light where the body does not move.

    Parameters
    ----------
    light : ndarray, shape (n_grid,)
        Line spectrum of the light on `GRID_BPM`.
    motion : ndarray, shape (n_axes, n_grid), or None
        Line spectra of the acceleration in m/s2 squared; None where nothing is known of it.
    rates_bpm : ndarray of int
        Pulse rates to judge, with their doubles on the grid.
    window_s : float
        Length of the window behind the spectra.
    settings : SpectrumSettings
        How light and motion are weighed.

    Notes
    -----
    Movements of a hand make a spectrum that falls with frequency; weighting power by frequency keeps slow ones from
    looking like a slow heart (in the development recordings the light of moving hands falls by 3-9 dB an octave above
    1 Hz).  The second harmonic counts at most as much as the first, so that half the true rate gains nothing from it.
    """
    power = light * np.arange(LOWEST_BPM, HIGHEST_BPM + 1) / 60.0
    total = float(power.sum())
    if not 0.0 < total < np.inf:
        return Evidence(explained=np.zeros(len(rates_bpm)), motion_ratio=0.0)
    moved = power * (0.0 if motion is None else motion_mask(light, motion, settings))
    motion_ratio = float(moved.sum()) / total
    rest = total * ((1.0 - motion_ratio) + settings.leftover_ratio * motion_ratio)
    if not rest > 0.0:
        return Evidence(explained=np.zeros(len(rates_bpm)), motion_ratio=1.0)
    share = (power - moved) / rest * (_HANN_BANDWIDTH / window_s * 60.0)
    first = share[rates_bpm - LOWEST_BPM]
    second = share[2 * rates_bpm - LOWEST_BPM]
    return Evidence(explained=np.minimum(first + np.minimum(first, second), 1.0), motion_ratio=motion_ratio)
