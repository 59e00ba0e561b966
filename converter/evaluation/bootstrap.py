"""How far a score may be chance: percentile bootstrap over patients.

Beats of one patient resemble each other, so patients are drawn, never beats: with 22 patients a difference of several
points is no evidence, and these intervals show it.  Efron and Tibshirani 1993, An Introduction to the Bootstrap, ch. 13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL_PCT = 95.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    """NaN where fewer than two patients have anything to count, or no bootstrap was asked for."""
    high: float


def intervals(
    counts: NDArray[Any],
    patients: Sequence[str],
    statistics: Callable[[NDArray[Any]], Mapping[str, NDArray[np.float64]]],
    *,
    n_draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return each statistic of the summed counts, with the interval that drawing patients anew gives.

    Parameters
    ----------
    counts : array
        Shape (n_records, ...): what was counted in each record.
    patients : sequence of str
        Whose record it is; records of one patient are drawn together.
    statistics : callable
        From summed counts of shape (n, ...) to named values of shape (n,).
    n_draws : int
        Draws with replacement; 0 gives no intervals.
    seed : int
        The same seed gives the same intervals.

    Notes
    -----
    A draw in which a value is not defined (no beat of that class) is left out of its interval.
    """
    names, owner = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    by_patient = np.zeros((len(names), *counts.shape[1:]), dtype=counts.dtype)
    np.add.at(by_patient, owner, counts)
    values = statistics(by_patient.sum(axis=0, keepdims=True))
    if len(names) < 2 or n_draws < 1:
        nothing = float("nan")
        return {name: Interval(value=float(value[0]), low=nothing, high=nothing) for name, value in values.items()}
    random = np.random.default_rng(seed)
    weights = random.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=n_draws)
    drawn, alone = statistics(np.tensordot(weights, by_patient, axes=1)), statistics(by_patient)
    return {name: _interval(float(values[name][0]), drawn[name], alone[name]) for name in values}


def _interval(value: float, drawn: NDArray[np.float64], alone: NDArray[np.float64]) -> Interval:
    """Return the interval of one statistic from all draws, and from each patient alone."""
    known = drawn[~np.isnan(drawn)]
    if (~np.isnan(alone)).sum() < 2:  # one patient decides it: drawing others changes nothing, and proves nothing
        return Interval(value=value, low=float("nan"), high=float("nan"))
    outside = (100.0 - LEVEL_PCT) / 2
    low, high = np.percentile(known, [outside, 100.0 - outside])
    return Interval(value=value, low=float(low), high=float(high))
