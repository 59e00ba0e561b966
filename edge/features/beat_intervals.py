"""The RR intervals around one beat against the patient's own: how early it came, how irregular everything is."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

_N_RECENT = 32
_FEWEST = 3
# Added to the irregularity, as a share of an interval: sinus rhythm scatters by some 3 %.
_LEAST_SCATTER = 0.03
# An interval that changes by less than this from one beat to the next changes gradually, as the sinus node does.
_GRADUAL = 0.06
_FOLLOWED = 0.6
# An interval nearer to the level than this pulls it; one further away moves it by a fixed small step.
_NEAR = 0.12
_NEAR_RATE = 0.08
_FAR_STEP = 0.004
# Bigeminy and trigeminy repeat within so many beats.
_LONGEST_PERIOD = 3
# From this irregularity on an early interval says nothing: half of the intervals differ by more from their like.
_IRREGULAR = 0.12

NAMES = (
    "rr_to_level",
    "rr_earliness",
    "rr_prematurity",
    "rr_irregularity",
    "rr_to_previous",
    "next_rr_to_rr",
    "next_rr_to_level",
    "next_rr_surplus",
)
"""What `Intervals.describe` returns, in this order; NaN is unknown."""


class Intervals:
    """Describe each beat's intervals, and remember them."""

    def __init__(self) -> None:
        self._rr_ms: deque[float] = deque(maxlen=_N_RECENT)
        self._level: float | None = None
        """Logarithm of the interval that the patient's rhythm has apart from what comes suddenly."""

    def describe(self, rr_ms: float, next_rr_ms: float) -> dict[str, float]:
        """Return the features of a beat that came `rr_ms` after the one before it.

        Parameters
        ----------
        rr_ms, next_rr_ms : float
            The interval before and after; NaN where there is none.
        """
        if self._level is None:
            return dict.fromkeys(NAMES, math.nan)
        known = np.array(self._rr_ms)
        level = math.exp(self._level)
        irregularity = _irregularity(known) / level
        regularity = max(0.0, 1.0 - irregularity / _IRREGULAR)
        early = 1.0 - rr_ms / level
        return {
            "rr_to_level": rr_ms / level,
            "rr_earliness": early / (_LEAST_SCATTER + irregularity),
            "rr_prematurity": early * regularity,
            "rr_irregularity": irregularity,
            "rr_to_previous": rr_ms / known[-1],
            "next_rr_to_rr": next_rr_ms / rr_ms,
            "next_rr_to_level": next_rr_ms / level,
            "next_rr_surplus": (next_rr_ms / rr_ms - 1.0) * regularity,
        }

    def ratio(self, rr_ms: float) -> float:
        """Return an interval against the level; NaN where one of them is not known."""
        return math.nan if self._level is None else rr_ms / math.exp(self._level)

    def learn(self, rr_ms: float) -> None:
        """Remember an interval; NaN is forgotten."""
        if not rr_ms > 0:
            return
        self._follow(rr_ms)
        self._rr_ms.append(rr_ms)

    def _follow(self, rr_ms: float) -> None:
        """Follow what changes gradually at once, and what changed suddenly only slowly."""
        now = math.log(rr_ms)
        if self._level is None:
            if len(self._rr_ms) + 1 >= _FEWEST:
                self._level = math.log(float(np.median([*self._rr_ms, rr_ms])))
            return
        change = now - math.log(self._rr_ms[-1])
        away = now - self._level
        if abs(change) <= _GRADUAL:
            self._level += _FOLLOWED * change
        if abs(away) <= _NEAR:
            self._level += _NEAR_RATE * away
        else:
            self._level += math.copysign(_FAR_STEP, away)


def _irregularity(rr_ms: NDArray[np.float64]) -> float:
    """Return how far intervals differ from those one to three beats before, whichever repeats best.

    Sinus rhythm repeats, bigeminy and trigeminy repeat after two and three beats, atrial fibrillation never does.
    """
    lags = range(1, min(_LONGEST_PERIOD, len(rr_ms) - 1) + 1)
    return min(float(np.median(np.abs(rr_ms[lag:] - rr_ms[:-lag]))) for lag in lags)
