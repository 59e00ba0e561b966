"""Raw samples -> a dozen figures of every second of every ECG lead, all complete seconds of a block at once.

The figures are measured on the signal averaged down to 120 Hz or a little more, with two short symmetric kernels:

* a Ricker wavelet at 12 Hz passes 5-20 Hz, where the beat detector looks.  It rings for no more than 0.1 s, so that
  there is rest between beats; wander of 0.5 Hz is left at 0.5 %, mains at less than 0.1 %;
* a Gabor wavelet at 28 Hz passes 20-36 Hz, where muscles are heard and QRS complexes are too short to matter to a
  median.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from edge.conditioning.filters import FilterSettings, design

Floats = NDArray[np.float64]

_LEAST_RATE_HZ = 120
"""Averaging never goes below this: 60 Hz mains must not fold into 20-36 Hz."""
_LEAST_MUSCLE_RATE_HZ = 80.0
"""36 Hz must be well below half of the rate."""
_QRS_HZ = 12.0
_MUSCLE_HZ = 28.0
_MUSCLE_WIDTH_HZ = 8.0
_REST_SHARE = 1.0 / 3.0
"""Share of a second that has no QRS complex: even wide paced complexes at 120 bpm leave a third at rest (own choice)."""
_WAVE_BAND = FilterSettings(band_hz=(1.0, 15.0), order=2)
_N_WAVES = 4
_N_WARM_UP = 1
_LAGS_S = (0.25, 1.6)
"""Intervals of 240 to 37 beats a minute."""
_LARGEST_MV = 1e9
_TINY = 1e-24
_CLIPPED_FROM_MV = 1.0
_MAINS_HZ = (50.0, 60.0)


class Figures(NamedTuple):
    """One second of one lead, in millivolts; ``low`` and ``high`` are NaN or huge where a sample is missing."""

    low: float
    high: float
    n_low: float
    n_high: float
    """How many samples are exactly the smallest and the largest value."""
    peak: float
    """Largest deflection between 5 and 20 Hz."""
    rest: float
    """Lower third of the deflections between 5 and 20 Hz: what lies between the beats."""
    square: float
    fourth: float
    """Mean square and mean fourth power of the signal between 5 and 20 Hz."""
    muscle: float
    """Median deflection between 20 and 36 Hz."""
    means: list[float]
    """Means of the five fifths."""
    mains: list[float]
    """Sine and cosine amplitude of 50 Hz and of 60 Hz, as far as the rate can carry them."""

    @property
    def is_missing(self) -> bool:
        """Whether a sample is missing or beyond any body."""
        return not (self.low >= -_LARGEST_MV and self.high <= _LARGEST_MV)


class QualityFeatures:
    """Measure the seconds of a stretch without holes.

    Parameters
    ----------
    rate_hz : float
        Sampling rate.
    n_second : int
        Samples of a second.
    n_leads : int
        Columns.
    """

    def __init__(self, rate_hz: float, n_second: int, n_leads: int) -> None:
        self._n_mean = _mean_length(n_second)
        self._n = n_second // self._n_mean
        self._n_second = n_second
        self._rate_hz = rate_hz / self._n_mean
        self._n_leads = n_leads
        has_muscle = self._rate_hz > _LEAST_MUSCLE_RATE_HZ
        self._kernels = [_ricker(self._rate_hz), _gabor(self._rate_hz)][: 1 + has_muscle]
        self._cuts = np.arange(5) * self._n // 5
        self._n_fifths = np.diff(np.append(self._cuts, self._n)).astype(np.float64)
        self._mains = _mains_waves(rate_hz, n_second)
        self._n_kept = (_N_WAVES + _N_WARM_UP) * self._n
        self._slow: Floats | None = None
        """Averaged samples, shape (n_leads, n), up to the last second."""
        self._n_known = 0
        self._whole = np.empty((0, 0, 0))
        self._last_good = np.zeros((1, n_leads))

    def measure(self, raw: Floats) -> list[list[Figures]]:
        """Return the figures of `raw`, whole seconds, shape (n_seconds * n_second, n_leads), by second and lead."""
        n_seconds = len(raw) // self._n_second
        whole = raw.reshape(n_seconds, self._n_second, self._n_leads)
        low, high = np.minimum.reduce(whole, axis=1), np.maximum.reduce(whole, axis=1)
        if not ((low >= -_LARGEST_MV) & (high <= _LARGEST_MV)).all():  # NaN fails too
            raw = self._filled(raw)
            whole = raw.reshape(whole.shape)
        self._last_good = raw[-1:].copy()
        # Sums run along one contiguous axis, so that they have the same bits however many seconds come together.
        self._whole = np.ascontiguousarray(whole.transpose(0, 2, 1))
        table = np.zeros((n_seconds, self._n_leads, 14 + len(self._mains)))
        table[..., 0] = low
        table[..., 1] = high
        if (high - low > _CLIPPED_FROM_MV).any():
            table[..., 2] = np.add.reduce(self._whole == low[..., None], axis=-1)
            table[..., 3] = np.add.reduce(self._whole == high[..., None], axis=-1)
        slow = self._average(raw)
        self._measure_bands(table, slow)
        by_second = np.ascontiguousarray(slow.reshape(self._n_leads, n_seconds, self._n).transpose(1, 0, 2))
        table[..., 9:14] = np.add.reduceat(by_second, self._cuts, axis=-1) / self._n_fifths
        if len(self._mains):
            table[..., 14:] = np.add.reduce(self._whole[:, :, None, :] * self._mains, axis=-1)
        return [[Figures._make([*row[:9], row[9:14], row[14:]]) for row in rows] for rows in table.tolist()]

    def held_ratio(self, second: int, lead: int, floor: float, ceiling: float, n_run: int) -> float:
        """Return the share of samples at a rail: a known one, or an extreme held exactly for `n_run` samples.

        `second` counts from the first of the last call of `measure`.
        """
        values = self._whole[second, lead]
        is_held = (values <= floor) | (values >= ceiling)
        middle = float(np.median(values))
        for extreme in (float(values.min()), float(values.max())):
            if abs(extreme - middle) < _CLIPPED_FROM_MV and not is_held.any():
                continue
            is_extreme = values == extreme
            if _longest_run(is_extreme) >= n_run and float(np.ptp(values)) > _CLIPPED_FROM_MV:
                is_held |= is_extreme
        return float(is_held.mean())

    def leakage(self, second: int, lead: int) -> float | None:
        """Return how little of a regular wave is in the four seconds up to `second`: 0 in a sine wave.

        Of beats with rest between them almost everything is left (1) [1]_.  None while there is too little signal;
        `second` counts from the first of the last call of `measure`.

        References
        ----------
        .. [1] Kuo and Dillman (1978), as restated in doi:10.1186/1475-925X-4-60.
        """
        window = self._window(second, lead)
        if window is None:
            return None
        sos = design(_WAVE_BAND, self._rate_hz)
        waves, _ = signal.sosfilt(sos, window, zi=signal.sosfilt_zi(sos) * window[0])
        curve = np.asarray(waves[_N_WARM_UP * self._n :], dtype=np.float64)
        path = float(np.abs(np.diff(curve)).sum())
        # Half a mean period: of a sine wave it follows from the mean magnitude and the mean slope.
        n_half = round(np.pi * float(np.abs(curve).sum()) / path) if path > 0 else 0
        if not 1 <= n_half < len(curve) // 2:
            return 1.0
        late, early = curve[n_half:], curve[:-n_half]
        return float(np.abs(late + early).sum() / (np.abs(late).sum() + np.abs(early).sum()))

    def repetition(self, second: int, lead: int) -> float | None:
        """Return how alike the beats of the four seconds up to `second` are: 1 where one is like the next.

        It is the largest autocorrelation of the 5-20 Hz band at a lag that a beat-to-beat interval can have.  None
        while there is too little signal.
        """
        window = self._window(second, lead)
        if window is None:
            return None
        n = _N_WAVES * self._n
        band = np.convolve(window, self._kernels[0], mode="valid")[-n:]
        spectrum = np.fft.rfft(band, 2 * n)
        products = np.fft.irfft(spectrum * spectrum.conj())[:n]
        energy = np.concatenate([np.zeros(1), np.cumsum(band * band)])
        lags = np.arange(round(_LAGS_S[0] * self._rate_hz), round(_LAGS_S[1] * self._rate_hz))
        size = np.sqrt(energy[n - lags] * (energy[n] - energy[lags]))
        return float((products[lags] / np.maximum(size, _TINY)).max())

    def _window(self, second: int, lead: int) -> Floats | None:
        """Return the averaged samples of the five seconds up to `second`; None while there are fewer."""
        assert self._slow is not None
        n_after = (len(self._whole) - 1 - second) * self._n
        if self._n_known - n_after < self._n_kept:
            return None
        end = self._slow.shape[1] - n_after
        return self._slow[lead, end - self._n_kept : end]

    def _measure_bands(self, table: Floats, slow: Floats) -> None:
        if self._slow is None:  # before the first sample the signal was as flat as it
            self._slow = np.repeat(slow[:, :1], self._n_kept, axis=1)
        longer = self._slow = np.concatenate([self._slow[:, -self._n_kept :], slow], axis=1)
        self._n_known += slow.shape[1]
        middle, rest = self._n // 2, int(_REST_SHARE * self._n)
        for k, kernel in enumerate(self._kernels):
            first = self._n_kept - len(kernel) + 1
            for lead in range(self._n_leads):
                band = np.convolve(longer[lead, first:], kernel, mode="valid").reshape(-1, self._n)
                size = np.abs(band)
                if k == 1:
                    size.partition(middle, axis=-1)
                    table[:, lead, 8] = size[:, middle]
                    continue
                table[:, lead, 4] = np.maximum.reduce(size, axis=-1)
                size.partition(rest, axis=-1)
                table[:, lead, 5] = size[:, rest]
                square = band * band
                table[:, lead, 6] = np.add.reduce(square, axis=-1) / self._n
                table[:, lead, 7] = np.add.reduce(square * square, axis=-1) / self._n

    def _average(self, raw: Floats) -> Floats:
        """Return the means of groups of samples, by lead: cheaper than a filter, and deep enough for its purpose."""
        total = raw[:: self._n_mean]
        for k in range(1, self._n_mean):
            total = total + raw[k :: self._n_mean]
        return np.ascontiguousarray((total / self._n_mean).T)

    def _filled(self, raw: Floats) -> Floats:
        """Return `raw` with the last good value of each lead in place of missing ones, so that no step rings on."""
        longer = np.concatenate([self._last_good, raw])
        is_good = np.abs(longer) <= _LARGEST_MV
        rows = np.maximum.accumulate(np.where(is_good, np.arange(len(longer))[:, None], 0), axis=0)
        return np.take_along_axis(longer, rows, axis=0)[1:]


def _mean_length(n_second: int) -> int:
    """Return how many samples are averaged: the largest divisor of a second that leaves 120 of them or more."""
    divisors = [k for k in range(1, n_second + 1) if n_second % k == 0 and n_second // k >= _LEAST_RATE_HZ]
    return max(divisors, default=1)


def _ricker(rate_hz: float) -> Floats:
    """Return a Ricker wavelet with gain 1 at its middle frequency and none at 0 Hz."""
    x = np.pi * _QRS_HZ * _instants(3.0 / (np.pi * _QRS_HZ) * np.sqrt(2.0), rate_hz)
    return _unit_gain((1.0 - 2.0 * x * x) * np.exp(-x * x), _QRS_HZ, rate_hz)


def _gabor(rate_hz: float) -> Floats:
    """Return a cosine under a Gaussian, with gain 1 at its middle frequency and none at 0 Hz."""
    spread_s = 1.0 / (2 * np.pi * _MUSCLE_WIDTH_HZ)
    at_s = _instants(2.5 * spread_s, rate_hz)
    return _unit_gain(
        np.cos(2 * np.pi * _MUSCLE_HZ * at_s) * np.exp(-0.5 * (at_s / spread_s) ** 2), _MUSCLE_HZ, rate_hz
    )


def _instants(half_s: float, rate_hz: float) -> Floats:
    n_half = max(1, round(half_s * rate_hz))
    return np.arange(-n_half, n_half + 1) / rate_hz


def _unit_gain(kernel: Floats, at_hz: float, rate_hz: float) -> Floats:
    kernel = kernel - np.hanning(len(kernel) + 2)[1:-1] * kernel.sum() / np.hanning(len(kernel) + 2).sum()
    n = np.arange(len(kernel))
    return np.asarray(kernel / np.abs(kernel @ np.exp(-2j * np.pi * at_hz / rate_hz * n)), dtype=np.float64)


def _mains_waves(rate_hz: float, n_samples: int) -> Floats:
    """Return sine and cosine of 50 and 60 Hz, shape (4, n_samples), tapered against wander, to give amplitudes."""
    taper = np.hanning(n_samples)
    taper *= 2.0 / max(float(taper.sum()), 1.0)
    angles = [2 * np.pi * hz / rate_hz * np.arange(n_samples) for hz in _MAINS_HZ if hz < 0.48 * rate_hz]
    waves = [taper * wave for angle in angles for wave in (np.sin(angle), np.cos(angle))]
    return np.array(waves, dtype=np.float64).reshape(len(waves), n_samples)


def _longest_run(is_set: NDArray[np.bool_]) -> int:
    """Return the length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_set, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
