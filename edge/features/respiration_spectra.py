"""What breathing does to beats and pulses -> how well every respiration rate would explain it.

Breathing turns the heart's axis (R amplitude), moves the filling of the heart (pulse amplitude), the blood in the veins
(PPG baseline) and the sinus node (RR and pulse intervals) [1]_.  Each of these series is laid on an even grid, freed
from its trend and turned into a power spectrum; a peak in several of them at the same rate is breathing.

References
----------
.. [1] Charlton et al. (2018), Breathing rate estimation from the electrocardiogram and photoplethysmogram: a review,
   doi:10.1109/RBME.2017.2763681
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NS_PER_S = 1_000_000_000

_IRREGULAR_RATIO = 0.1
"""Median change from one interval to the next, relative to the interval, from which the rhythm has no order: respiratory
sinus arrhythmia spreads its change over the beats of a breath, fibrillation has it at every beat (own choice)."""

Curve = NDArray[np.float64]
"""One number for every rate of the grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectraSettings:
    """Which rates are asked about, and over what time."""

    min_bpm: float = 4.0
    """Slowest breathing (the range of bedside monitors begins at 4/min)."""
    max_bpm: float = 60.0
    """Fastest breathing of an adult or a child."""
    step_bpm: float = 0.5
    """Distance of the rates asked about: finer than the 1/min of a display."""
    window_s: float = 32.0
    """Time looked at: the usual window of the literature (Charlton 2018): 2 breaths at 4/min, 11 at 20/min."""
    series_hz: float = 4.0
    """Rate of the even grid (Task Force 1996 names 2-4 Hz for RR series); twice the fastest breathing needs 2 Hz."""
    floor_ratio: float = 1.0
    """A series explains no rate worse than this share of the mean power: half of the time it tells nothing at all.
    So one series that is quiet, or led by something else than breathing, cannot overrule the others."""
    max_hole_s: float = 5.0
    """A longer hole between two beats makes the window useless (own choice: the slowest heart, 30/min, has 2 s)."""
    min_coverage_ratio: float = 0.8
    """Least share of the window that beats must cover (own choice)."""
    outlier_ratio: float = 5.0
    """A value further from the window's median than this many median absolute deviations is no modulation: an ectopic
    beat, a missed one, a change of the lead (own choice; 3.4 standard deviations of a Gaussian)."""

    def __post_init__(self) -> None:
        if not (0 < self.min_bpm < self.max_bpm and self.step_bpm > 0 and self.window_s > 0):
            raise ValueError(f"expected 0 < min_bpm < max_bpm, step_bpm > 0, window_s > 0, got {self}")

    @property
    def rates_bpm(self) -> Curve:
        """The rates asked about."""
        n = int((self.max_bpm - self.min_bpm) / self.step_bpm + 1e-9)
        return np.asarray(self.min_bpm + self.step_bpm * np.arange(n + 1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one series of beats says of breathing."""

    log_likelihood: Curve
    heart_rate_bpm: float
    """Median rate of the beats themselves."""
    is_irregular: bool
    """Whether the beats come without order, as in atrial fibrillation: their intervals then tell nothing of breathing."""


class BeatSeries:
    """The modulations of the beats of one stream over the last window.

    Parameters
    ----------
    weights : sequence of float
        One number for each modulation: how much it counts.
    settings : SpectraSettings
        Which rates are asked about.
    spectra : Spectra
        The transform, shared between series.
    """

    def __init__(self, weights: Sequence[float], settings: SpectraSettings, spectra: Spectra) -> None:
        self._weights = np.array(weights)
        self._settings = settings
        self._spectra = spectra
        self._at_ns: deque[int] = deque()
        self._values: deque[tuple[float, ...]] = deque()

    @property
    def last_ns(self) -> int | None:
        """Instant of the newest beat; None before the first."""
        return self._at_ns[-1] if self._at_ns else None

    def add(self, at_ns: int, values: tuple[float, ...]) -> None:
        """Take the next beat, NaN where a modulation is not known or not of this beat; one in the past is ignored."""
        if self._at_ns and at_ns <= self._at_ns[-1]:
            return
        self._at_ns.append(at_ns)
        self._values.append(values)
        # One beat before the window is kept, so that its beginning need not be guessed; five seconds for a late tick.
        oldest_ns = at_ns - round((self._settings.window_s + 10.0) * NS_PER_S)
        while self._at_ns[0] < oldest_ns:
            self._at_ns.popleft()
            self._values.popleft()

    def evidence(self, until_ns: int) -> Evidence | None:
        """Return what the window that ends at `until_ns` says; None where it has too few beats."""
        settings = self._settings
        start_ns = until_ns - round(settings.window_s * NS_PER_S)
        times_s = np.array([(at_ns - start_ns) / NS_PER_S for at_ns in self._at_ns])
        first = max(0, int(np.searchsorted(times_s, 0.0)) - 1)
        last = int(np.searchsorted(times_s, settings.window_s, side="right"))
        times_s = times_s[first:last]
        if len(times_s) < 4 or not self._is_covered(times_s):
            return None
        values = np.array(list(self._values)[first:last])
        intervals_s = np.diff(times_s)
        usual_s = float(np.median(intervals_s))
        heart_rate_bpm = 60.0 / usual_s
        is_irregular = float(np.median(np.abs(np.diff(intervals_s)))) > _IRREGULAR_RATIO * usual_s
        rows = [self._spectra.even(times_s, values[:, k]) for k in range(values.shape[1])]
        known = [k for k, row in enumerate(rows) if row is not None]
        if not known:
            return None
        curves = self._spectra.likelihoods(np.stack([row for row in rows if row is not None]), heart_rate_bpm / 2)
        return Evidence(np.asarray(self._weights[known] @ curves), heart_rate_bpm, is_irregular)

    def _is_covered(self, times_s: Curve) -> bool:
        settings = self._settings
        inside = np.clip(times_s, 0.0, settings.window_s)
        holes = np.diff(np.concatenate([[0.0], inside, [settings.window_s]]))
        lost_s = float(holes[holes > 3.0].sum())
        return (
            bool(holes.max() <= settings.max_hole_s) and lost_s <= (1 - settings.min_coverage_ratio) * settings.window_s
        )


class Spectra:
    """The transform from series on the even grid to log likelihoods of rates; without state.

    Parameters
    ----------
    settings : SpectraSettings
        Which rates are asked about.
    """

    def __init__(self, settings: SpectraSettings = SpectraSettings()) -> None:
        self._settings = settings
        n = max(8, round(settings.window_s * settings.series_hz))
        self._grid_s = (np.arange(n) + 0.5) / settings.series_hz
        self._rates_bpm = settings.rates_bpm
        # Trend removal and window are linear, so they are folded into the transform.
        trend = np.column_stack([np.ones(n), self._grid_s - self._grid_s.mean()])
        without_trend = np.eye(n) - trend @ np.linalg.pinv(trend)
        waves = np.exp(-2j * np.pi / 60.0 * np.outer(self._grid_s, self._rates_bpm))
        self._transform = without_trend @ (np.hanning(n)[:, None] * waves)

    def even(self, times_s: Curve, values: Curve) -> Curve | None:
        """Return `values` on the even grid, outliers left out, in units of their spread; None where nothing varies."""
        is_known = np.abs(values) < 1e12  # False for NaN
        if not is_known.all():
            times_s, values = times_s[is_known], values[is_known]
        if len(values) < 4 or len(values) < self._settings.min_coverage_ratio * len(is_known):
            return None
        distance = np.abs(values - np.median(values))
        spread = float(np.median(distance))
        if spread <= 0:
            return None
        is_near = distance <= self._settings.outlier_ratio * spread
        return np.asarray(np.interp(self._grid_s, times_s[is_near], values[is_near] / spread))

    def likelihoods(self, rows: Curve, highest_bpm: float) -> Curve:
        """Return how well each rate explains each row, as the logarithm of a likelihood up to a constant.

        Parameters
        ----------
        rows : ndarray, shape (n_series, n_grid)
        highest_bpm : float
            Half the heart rate: what is faster cannot be told from beats.
        """
        # Slow waves of the circulation fall off with frequency; times the rate, the background is even.
        power = np.abs(rows @ self._transform) ** 2 * self._rates_bpm
        power[:, self._rates_bpm > highest_bpm] = 0.0
        total = power.sum(axis=1, keepdims=True)
        n_possible = max(1, int(np.count_nonzero(self._rates_bpm <= highest_bpm)))
        ratio = np.divide(power * n_possible, total, out=np.zeros_like(power), where=total > 0)
        return np.asarray(np.log((ratio + self._settings.floor_ratio) / (1.0 + self._settings.floor_ratio)))


class RateBelief:
    """How probable every rate is, as evidence comes in; rates drift from one step to the next and may jump.

    Parameters
    ----------
    rates_bpm : ndarray
        The grid of rates.
    """

    TEMPER = 0.25
    """Weight of one step's evidence: windows of 32 s every 4 s overlap, and modulations have noise in common."""
    DRIFT_BPM = 1.0
    """Standard deviation of the change from one step to the next (own choice; 0.5 and 2 measure the same)."""
    JUMP_RATIO = 0.02
    """Probability that breathing becomes another one from one step to the next (own choice)."""
    NEAR_BPM = 2.0
    """Probability this near to the best rate is the belief's quality: what a reader would call the same rate."""

    def __init__(self, rates_bpm: Curve) -> None:
        self._rates_bpm = rates_bpm
        step_bpm = float(rates_bpm[1] - rates_bpm[0])
        n_reach = math.ceil(4.0 * self.DRIFT_BPM / step_bpm)
        offsets = np.arange(-n_reach, n_reach + 1) * step_bpm
        drift = np.exp(-0.5 * (offsets / self.DRIFT_BPM) ** 2)
        self._drift = drift / drift.sum()
        self._probability = np.full(len(rates_bpm), 1.0 / len(rates_bpm))

    def step(self, log_likelihood: Curve | None) -> None:
        """Let one step of time pass, with the evidence of it, or without any."""
        n_reach = len(self._drift) // 2
        moved = np.convolve(self._probability, self._drift)[n_reach : n_reach + len(self._probability)]
        moved = (1.0 - self.JUMP_RATIO) * moved / moved.sum() + self.JUMP_RATIO / len(moved)
        if log_likelihood is not None:
            moved = moved * np.exp(self.TEMPER * (log_likelihood - log_likelihood.max()))
            moved /= moved.sum()
        self._probability = moved

    def best(self) -> tuple[float, float]:
        """Return the most probable rate and how probable it is that the rate is near it."""
        best_bpm = self._rates_bpm[int(np.argmax(self._probability))]
        is_near = np.abs(self._rates_bpm - best_bpm) <= self.NEAR_BPM
        near = self._probability[is_near]
        mass = float(near.sum())
        return float(near @ self._rates_bpm[is_near]) / mass, mass
