"""Decisions against the truth: confusion matrix, sensitivity, positive predictivity, F1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""Shape (n_classes, n_classes + 1): true class by decision; the last column is "cannot tell"."""


def confusion(labels: NDArray[np.int64], decided: NDArray[np.int64], n_classes: int) -> Counts:
    """Return how often each class was taken for which; unlabelled examples are left out.

    Examples
    --------
    >>> confusion(np.array([0, 0, 1, -1]), np.array([0, 1, -1, 0]), 2).tolist()
    [[1, 1, 0], [0, 0, 1]]
    """
    counts = np.zeros((n_classes, n_classes + 1), np.int64)
    known = labels >= 0
    np.add.at(counts, (labels[known], np.where(decided[known] < 0, n_classes, decided[known])), 1)
    return counts


def class_scores(labels: NDArray[np.int64], decided: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, float]:
    """Return ``macro_f1`` first, then accuracy, coverage and of each class ``se_``, ``ppv_`` and ``f1_``.

    A class that never occurs is left out of the mean; an abstention is a miss for Se and no error for +P.  Values are
    shares, 0 to 1; a predictivity of nothing predicted is 0.
    """
    counts = confusion(labels, decided, len(classes))
    n_true = counts.sum(axis=1)
    n_decided = counts[:, :-1].sum(axis=0)
    hits = np.diagonal(counts)
    se = hits / np.maximum(n_true, 1)
    ppv = hits / np.maximum(n_decided, 1)
    f1 = 2 * hits / np.maximum(n_true + n_decided, 1)
    present = n_true > 0
    n_accepted = int(n_decided.sum())
    found = {
        "macro_f1": float(f1[present].mean()) if present.any() else 0.0,
        "accuracy": float(hits.sum() / max(1, n_accepted)),
        "coverage": float(n_accepted / max(1, int(n_true.sum()))),
    }
    for index, name in enumerate(classes):
        found |= {f"se_{name}": float(se[index]), f"ppv_{name}": float(ppv[index]), f"f1_{name}": float(f1[index])}
    return found
