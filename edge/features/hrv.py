"""RR intervals -> heart-rate variability in the time domain.

Definitions of the Task Force of ESC and NASPE 1996 (doi:10.1161/01.CIR.93.5.1043): SDNN and RMSSD over normal-to-normal
intervals, five minutes being the standard short recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class HrvSettings:
    """Which intervals count, and how much of a window they must cover."""

    min_coverage_ratio: float = 0.8
    """Smallest share of the window that normal intervals must cover (own choice; Task Force: exclude poor records)."""
    max_deviation_ratio: float = 0.2
    """An interval that differs more than this from the median of its neighbours is no normal one: the usual 20 % rule
    against ectopic beats and missed ones."""
    n_neighbours: int = 5
    """Intervals on both sides that make that median (own choice)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hrv:
    """Variability of one window; None where the window does not cover enough."""

    rmssd_ms: float | None
    """Root mean square of the differences of successive intervals."""
    sdnn_ms: float | None
    """Standard deviation of the intervals (n - 1)."""
    pnn50_pct: float | None
    """Share of differences above 50 ms."""
    coverage_ratio: float
    """Share of the window that normal intervals cover."""


def heart_rate_variability(
    rr_ms: Sequence[float] | NDArray[np.float64],
    *,
    window_s: float,
    settings: HrvSettings = HrvSettings(),
) -> Hrv:
    """Return the variability over one window of beats.

    Parameters
    ----------
    rr_ms : sequence of float
        Interval that ended at each beat of the window, oldest first; NaN where none can be trusted.
    window_s : float
        Length of the window.
    settings : HrvSettings
        Which intervals count.
    """
    rr = np.asarray(rr_ms, dtype=np.float64)
    rr = np.where(np.abs(rr) < 1e6, rr, np.nan)
    is_normal = _normal(rr, settings)
    intervals = rr[is_normal]
    # A difference counts only between two intervals that follow each other directly.
    differences = np.diff(rr)[is_normal[1:] & is_normal[:-1]]
    coverage = float(intervals.sum()) / (1000.0 * window_s)
    if coverage < settings.min_coverage_ratio or len(differences) == 0:
        return Hrv(rmssd_ms=None, sdnn_ms=None, pnn50_pct=None, coverage_ratio=coverage)
    return Hrv(
        rmssd_ms=float(np.sqrt(np.mean(differences**2))),
        sdnn_ms=float(np.std(intervals, ddof=1)),
        pnn50_pct=float(100.0 * np.mean(np.abs(differences) > 50.0)),
        coverage_ratio=coverage,
    )


def _normal(rr: NDArray[np.float64], settings: HrvSettings) -> NDArray[np.bool_]:
    """Return which intervals are near the median of their neighbours."""
    if len(rr) == 0:
        return np.zeros(0, dtype=bool)
    n = settings.n_neighbours
    around = np.sort(sliding_window_view(np.pad(rr, n, constant_values=np.nan), 2 * n + 1), axis=1)  # NaN comes last
    n_known = np.count_nonzero(~np.isnan(around), axis=1)
    rows = np.arange(len(rr))
    usual = (around[rows, np.maximum(n_known - 1, 0) // 2] + around[rows, n_known // 2 * (n_known > 0)]) / 2
    with np.errstate(invalid="ignore"):
        return np.asarray((rr > 0) & (np.abs(rr - usual) <= settings.max_deviation_ratio * usual))
