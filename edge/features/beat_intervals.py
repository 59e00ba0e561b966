"""The RR intervals around one beat against the patient's own: how early it came, how irregular everything is."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

_N_SHORT = 8
_N_LONG = 32
_N_WIDE = 96
_FEWEST = 3
# What comes this near to the running median, before and after, is the patient's own rhythm.
_USUAL_RATIOS = (0.88, 1.25)
_EARLY_RATIO = 0.85
_LONGEST_PERIOD = 3
# From this irregularity on an early interval says nothing: half of the intervals differ by more from their like.
_IRREGULAR = 0.12
# Added to the scatter of the intervals, as a share: sinus rhythm scatters by some 3 %.
_LEAST_SCATTER = 0.03
# An interval that changes by less than this from one beat to the next changes gradually, as the sinus node does.
_GRADUAL = 0.06
_FOLLOWED = 0.6
# An interval nearer to the level than this pulls it; one further away moves it by a fixed small step.
_NEAR = 0.12
_NEAR_RATE = 0.08
_FAR_STEP = 0.004

NAMES = (
    "rr_ms",
    "rr_to_median_short",
    "rr_to_median_long",
    "rr_to_usual",
    "rr_to_level",
    "rr_earliness",
    "rr_pair_to_level",
    "next_rr_to_level",
    "previous_rr_to_level",
    "rr_to_long_interval",
    "rr_to_short_interval",
    "rr_to_previous",
    "previous_rr_to_median",
    "before_previous_rr_to_median",
    "next_rr_to_median",
    "next_rr_to_rr",
    "rr_pair_to_median",
    "rr_scatter_short",
    "rr_scatter_long",
    "rr_irregularity",
    "rr_prematurity",
    "early_share",
)
"""What `Intervals.describe` returns, in this order; NaN is unknown."""


class Intervals:
    """Describe each beat's intervals, and remember them."""

    def __init__(self) -> None:
        self._rr_ms: deque[float] = deque(maxlen=_N_WIDE)
        self._usual_ms: deque[float] = deque(maxlen=_N_LONG)
        self._level: float | None = None
        """Logarithm of the interval that the patient's rhythm has apart from what comes suddenly."""

    def describe(self, rr_ms: float, next_rr_ms: float) -> dict[str, float]:
        """Return the features of a beat that came `rr_ms` after the one before it.

        Parameters
        ----------
        rr_ms, next_rr_ms : float
            The interval before and after; NaN where there is none.
        """
        known = np.array(self._rr_ms)
        if len(known) < _FEWEST:
            return {**dict.fromkeys(NAMES, math.nan), "rr_ms": rr_ms, "next_rr_to_rr": _ratio(next_rr_ms, rr_ms)}
        short = float(np.median(known[-_N_SHORT:]))
        recent = known[-_N_LONG:]
        median = float(np.median(recent))
        usual = float(np.median(self._usual_ms)) if len(self._usual_ms) >= _FEWEST else median
        low, high = np.quantile(known, (0.1, 0.9))
        steps = np.diff(recent)
        level = usual if self._level is None else math.exp(self._level)
        scatter = float(np.median(np.abs(steps))) / median
        irregularity = _irregularity(recent) / median
        early = 1.0 - rr_ms / level
        return {
            "rr_ms": rr_ms,
            "rr_to_median_short": rr_ms / short,
            "rr_to_median_long": rr_ms / median,
            "rr_to_usual": rr_ms / usual,
            "rr_to_level": rr_ms / level,
            "rr_earliness": early / (_LEAST_SCATTER + irregularity),
            "rr_pair_to_level": (rr_ms + next_rr_ms) / (2.0 * level),
            "next_rr_to_level": next_rr_ms / level,
            "previous_rr_to_level": known[-1] / level,
            "rr_to_long_interval": rr_ms / float(high),
            "rr_to_short_interval": rr_ms / float(low),
            "rr_to_previous": rr_ms / known[-1],
            "previous_rr_to_median": known[-1] / median,
            "before_previous_rr_to_median": known[-2] / median,
            "next_rr_to_median": next_rr_ms / median,
            "next_rr_to_rr": _ratio(next_rr_ms, rr_ms),
            "rr_pair_to_median": (rr_ms + next_rr_ms) / (2.0 * median),
            "rr_scatter_short": float(np.median(np.abs(steps[-_N_SHORT:]))) / median,
            "rr_scatter_long": scatter,
            "rr_irregularity": irregularity,
            "rr_prematurity": early * max(0.0, 1.0 - irregularity / _IRREGULAR),
            "early_share": float(np.mean(recent < _EARLY_RATIO * usual)),
        }

    def median_ms(self) -> float:
        """Return the running median; NaN where too few intervals are known."""
        if len(self._rr_ms) < _FEWEST:
            return math.nan
        return float(
            np.median(list(self._usual_ms) if len(self._usual_ms) >= _FEWEST else list(self._rr_ms)[-_N_LONG:])
        )

    def learn(self, rr_ms: float, *, is_usual: bool) -> None:
        """Remember an interval; `is_usual` says that both beats around it have the usual form."""
        if not rr_ms > 0:
            return
        if len(self._rr_ms) >= _FEWEST:
            ratio = rr_ms / float(np.median(list(self._rr_ms)[-_N_SHORT:]))
            is_usual = is_usual and _USUAL_RATIOS[0] <= ratio <= _USUAL_RATIOS[1]
        if is_usual:
            self._usual_ms.append(rr_ms)
        self._follow(rr_ms)
        self._rr_ms.append(rr_ms)

    def _follow(self, rr_ms: float) -> None:
        """Follow what changes gradually at once, and what changed suddenly only slowly."""
        now = math.log(rr_ms)
        if self._level is None:
            if len(self._rr_ms) >= _FEWEST:
                self._level = math.log(float(np.median(list(self._rr_ms))))
            return
        change = now - math.log(self._rr_ms[-1])
        away = now - self._level
        if abs(change) <= _GRADUAL:
            self._level += _FOLLOWED * change
        if abs(away) <= _NEAR:
            self._level += _NEAR_RATE * away
        else:
            self._level += math.copysign(_FAR_STEP, away)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def _irregularity(rr_ms: NDArray[np.float64]) -> float:
    """Return how far intervals differ from those one to three beats before, whichever repeats best.

    Sinus rhythm repeats, bigeminy and trigeminy repeat after two and three beats, atrial fibrillation never does.
    """
    lags = range(1, min(_LONGEST_PERIOD, len(rr_ms) - 1) + 1)
    return min(float(np.median(np.abs(rr_ms[lag:] - rr_ms[:-lag]))) for lag in lags)
