"""What breathing does to beats and pulses -> how well every respiration rate would explain it.

Breathing turns the heart's axis (R amplitude), moves the filling of the heart (pulse amplitude), the blood in the veins
(PPG baseline) and the sinus node (RR and pulse intervals) [1]_.  Each of these series is laid on an even grid, freed
from its trend and turned into a power spectrum; a peak in several of them at the same rate is breathing.

Breathing is no sine: its second harmonic can be the taller peak.  So power at twice a rate speaks for the rate, and
power at half a rate against it.  Only from 9/min (0.15 Hz) on, though: below it the slow waves of blood pressure, at
0.1 Hz or 6/min, would pass for the fundamental of calm breathing at 12/min.

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
    harmonic_ratio: float = 0.5
    """How much a harmonic counts beside its fundamental.  PPG alone on BIDMC at 80 % acceptance: error 1.23/min without
    it, 0.60/min at 0.5, 0.76/min at 1."""
    harmonic_from_bpm: float = 9.0
    """No fundamental below this: 0.15 Hz, the border of the low-frequency band (Task Force 1996,
    doi:10.1161/01.CIR.93.5.1043)."""
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
        if not self.max_bpm / 60.0 < self.series_hz / 2:
            raise ValueError(f"expected max_bpm / 60 < series_hz / 2, got {self.max_bpm} and {self.series_hz}")

    @property
    def rates_bpm(self) -> Curve:
        """The rates asked about."""
        n = int((self.max_bpm - self.min_bpm) / self.step_bpm + 1e-9)
        return np.asarray(self.min_bpm + self.step_bpm * np.arange(n + 1), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one series of beats says of breathing."""

    log_likelihood: Curve
    weight: float
    """Number of series in it, as far as they count."""
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
        usual_s = _median(intervals_s)
        heart_rate_bpm = 60.0 / usual_s
        is_irregular = _median(np.abs(np.diff(intervals_s))) > _IRREGULAR_RATIO * usual_s
        rows = [self._spectra.even(times_s, values[:, k]) for k in range(values.shape[1])]
        known = [k for k, row in enumerate(rows) if row is not None]
        if not known:
            return None
        curves = self._spectra.likelihoods(np.stack([row for row in rows if row is not None]), heart_rate_bpm / 2)
        weights = self._weights[known]
        return Evidence(
            log_likelihood=(weights[:, None] * curves).sum(axis=0),
            weight=float(weights.sum()),
            heart_rate_bpm=heart_rate_bpm,
            is_irregular=is_irregular,
        )

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
        # Zero-padded to this length, the transform has its bins a step apart.
        self._n_transform = round(60.0 * settings.series_hz / settings.step_bpm)
        self._first_bin = round(settings.min_bpm / settings.step_bpm)
        self._window = np.hanning(n)
        slope = self._grid_s - self._grid_s.mean()
        self._slope = slope / math.sqrt(float((slope**2).sum()))
        self._fundamentals, self._harmonics = self._pairs()

    def even(self, times_s: Curve, values: Curve) -> Curve | None:
        """Return `values` on the even grid, outliers left out, in units of their spread; None where nothing varies."""
        is_known = np.abs(values) < 1e12  # False for NaN
        if not is_known.all():
            times_s, values = times_s[is_known], values[is_known]
        if len(values) < 4 or len(values) < self._settings.min_coverage_ratio * len(is_known):
            return None
        distance = np.abs(values - _median(values))
        spread = _median(distance)
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
        level = rows - rows.mean(axis=1, keepdims=True)
        level -= (level * self._slope).sum(axis=1, keepdims=True) * self._slope
        waves = np.fft.rfft(level * self._window, self._n_transform)
        waves = waves[:, self._first_bin : self._first_bin + len(self._rates_bpm)]
        power = (waves.real**2 + waves.imag**2) * self._rates_bpm
        power[:, self._rates_bpm > highest_bpm] = 0.0
        total = power.sum(axis=1, keepdims=True)
        n_possible = max(1, int(np.count_nonzero(self._rates_bpm <= highest_bpm)))
        ratio = np.divide(power * n_possible, total, out=np.zeros_like(power), where=total > 0)
        ratio = self._with_harmonics(ratio)
        return np.asarray(np.log((ratio + self._settings.floor_ratio) / (1.0 + self._settings.floor_ratio)))

    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the indices of the rates that have a harmonic on the grid, and of these harmonics."""
        fundamentals = np.flatnonzero(
            (self._rates_bpm >= self._settings.harmonic_from_bpm) & (2.0 * self._rates_bpm <= self._rates_bpm[-1])
        )
        return fundamentals, np.rint(
            (2.0 * self._rates_bpm[fundamentals] - self._rates_bpm[0]) / self._settings.step_bpm
        ).astype(np.int64)

    def _with_harmonics(self, ratio: Curve) -> Curve:
        """Return `ratio` with what harmonics say for their fundamentals, and fundamentals against their harmonics."""
        weight = self._settings.harmonic_ratio
        low, high = ratio[:, self._fundamentals], ratio[:, self._harmonics]
        out = ratio.copy()
        out[:, self._harmonics] /= 1.0 + weight * low
        # The rate between two harmonics on the grid has its fundamental between theirs.
        out[:, self._harmonics[:-1] + 1] /= 1.0 + weight * (low[:, :-1] + low[:, 1:]) / 2
        out[:, self._fundamentals] *= 1.0 + weight * np.minimum(low, high) / np.maximum(low, 1e-12)
        return out


class RateBelief:
    """How probable every rate is, as evidence comes in; rates drift from one step to the next and may jump.

    Parameters
    ----------
    rates_bpm : ndarray
        The grid of rates.
    """

    TEMPER = 0.4
    """Weight of one step's evidence, which is the mean over all series: windows of 32 s every 4 s overlap, and series have
    noise in common.  With it, one limit of the quality lets the same share of noise pass, whether there are two series
    or five: 0.5 passes 4 to 6 % of the seconds of simulated beats and pulses without any breathing in them."""
    FIRST_WEIGHT = 3.0
    """The first window counts for three steps: it shares nothing with one before (own choice; it holds eight)."""
    DRIFT_BPM = 0.5
    """Standard deviation of the change from one step to the next; larger changes are jumps."""
    JUMP_RATIO = 0.1
    """Probability that breathing becomes another one from one step to the next: a step of the rate is shown after 30 to
    45 s (simulated; 45 to 70 s at 0.02), and the old rate for 22 s at the longest."""
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
        self._is_started = False

    def step(self, evidence: Sequence[Evidence]) -> None:
        """Let one step of time pass, with the evidence of it, or without any."""
        n_reach = len(self._drift) // 2
        moved = np.convolve(self._probability, self._drift)[n_reach : n_reach + len(self._probability)]
        moved = (1.0 - self.JUMP_RATIO) * moved / moved.sum() + self.JUMP_RATIO / len(moved)
        if evidence:
            total = np.sum([item.log_likelihood for item in evidence], axis=0)
            temper = self.TEMPER / sum(item.weight for item in evidence)
            if not self._is_started:  # nothing of this window was seen before
                temper *= self.FIRST_WEIGHT
                self._is_started = True
            moved = moved * np.exp(temper * (total - total.max()))
            moved /= moved.sum()
        self._probability = moved

    def best(self) -> tuple[float, float]:
        """Return the most probable rate and how probable it is that the rate is near it."""
        best_bpm = self._rates_bpm[int(np.argmax(self._probability))]
        is_near = np.abs(self._rates_bpm - best_bpm) <= self.NEAR_BPM
        near = self._probability[is_near]
        mass = float(near.sum())
        return float(near @ self._rates_bpm[is_near]) / mass, mass


def _median(values: Curve) -> float:
    """Return the middle value; of an even number the upper one.  Five times as fast as `numpy.median` on a window."""
    return float(np.sort(values)[len(values) // 2])
