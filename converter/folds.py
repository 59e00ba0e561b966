"""Which patients are trained on and which are held out; no patient is ever on both sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converter.examples import Examples


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationSettings:
    """How the result is judged."""

    n_folds: int = 5
    """Parts of the patients; each is held out once."""
    fold_seed: int = 1
    """Of the division into folds; every training seed sees the same folds, so that seeds differ in training alone."""
    stop_ratio: float = 0.0
    """Share of the *training* patients that decide when to stop; 0 trains for ``fit.epochs`` on all of them.
    With few patients the fixed number is the better bargain: every held patient is missing from training."""
    target_error: float = 0.05
    """Error among accepted decisions that the thresholds of abstention aim at."""
    bias_metric: str = ""
    """Metric of the recipe's score that class biases are tuned for, over nested folds; empty for no bias."""

    def __post_init__(self) -> None:
        if self.n_folds < 2 or not 0 <= self.stop_ratio < 1 or not 0 < self.target_error < 1:
            raise ValueError(f"expected n_folds >= 2, 0 <= stop_ratio < 1, 0 < target_error < 1, got {self}")


def group_folds(examples: Examples, n_folds: int, *, seed: int) -> list[NDArray[np.bool_]]:
    """Return for each fold the mask of the examples that are held out.

    Whole groups go to a fold.  They are dealt out from the one that matters most for a rare class to the least, each to
    the fold that has least of what it brings, so that each fold gets its share of every class.

    Raises
    ------
    ValueError
        If there are fewer groups than folds.
    """
    names, codes = np.unique(examples.groups, return_inverse=True)
    if len(names) < n_folds:
        raise ValueError(f"expected at least {n_folds} groups for {n_folds} folds, got {len(names)}")
    counts = np.zeros((len(names), len(examples.classes)))
    known = examples.labels >= 0
    np.add.at(counts, (codes[known], examples.labels[known]), examples.weights[known])
    shares = counts / np.maximum(counts.sum(axis=0), 1e-12)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    order = order[np.argsort(-shares[order].max(axis=1), kind="stable")]
    held = np.zeros((n_folds, shares.shape[1]))
    sizes = np.zeros(n_folds, np.int64)
    fold_of = np.empty(len(names), np.int64)
    for n_dealt, group in enumerate(order):
        # The fold whose shares, with this group, come nearest to an even division; then the one with fewest groups.
        cost = np.round(((held + shares[group] - 1 / n_folds) ** 2 - (held - 1 / n_folds) ** 2).sum(axis=1), 12)
        is_empty = sizes == 0
        if is_empty.sum() >= len(order) - n_dealt:
            cost[~is_empty] = np.inf  # no fold stays empty
        chosen = int(np.lexsort((sizes, cost))[0])
        fold_of[group] = chosen
        held[chosen] += shares[group]
        sizes[chosen] += 1
    return [fold_of[codes] == fold for fold in range(n_folds)]


def stop_split(examples: Examples, ratio: float, *, seed: int) -> NDArray[np.bool_] | None:
    """Return the mask of the examples whose patients decide when to stop; None where `ratio` is 0."""
    if ratio == 0:
        return None
    n_groups = len(np.unique(examples.groups))
    n_parts = min(max(2, round(1 / ratio)), n_groups)
    return group_folds(examples, n_parts, seed=seed)[0] if n_parts >= 2 else None
