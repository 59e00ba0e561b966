"""How much a decision changes between two ways to compute the same model: agreement, worst window, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converter.examples import UNLABELLED
from edge.inference.decision import probabilities

N_BINS = 15
"""Bins of the calibration error.  Default: the usual number since [1]_."""

Logits = NDArray[np.float64]
"""Shape (n_examples, n_labels)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two sets of answers to the same examples."""

    agreement: float
    """Share with the same likeliest label."""
    exact: float
    """Share that is the same in every number."""
    largest: float
    """Largest difference of one number, in the unit of the answers."""
    worst: int
    """Index of the example with it."""


def difference(first: Logits, second: Logits, bias: Sequence[float] | None = None) -> Difference:
    """Return how far two sets of answers are apart.

    Parameters
    ----------
    first, second : ndarray, shape (n_examples, n_labels)
        Logits, or int8 answers where only these are compared.
    bias : sequence of float, optional
        Added to both before the likeliest label is taken.

    Examples
    --------
    >>> difference(np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[1.0, 2.0], [1.0, 2.0]])).agreement
    0.5
    """
    if first.shape != second.shape or first.ndim != 2 or not len(first):
        raise ValueError(f"expected two equal shapes (n >= 1, n_labels), got {first.shape} and {second.shape}")
    apart = np.abs(first - second)
    added = np.zeros(first.shape[1]) if bias is None else np.asarray(bias, dtype=np.float64)
    same = (first + added).argmax(axis=1) == (second + added).argmax(axis=1)
    per_example = apart.max(axis=1)
    return Difference(
        agreement=float(same.mean()),
        exact=float((per_example == 0).mean()),
        largest=float(per_example.max()),
        worst=int(per_example.argmax()),
    )


def calibration_error(
    logits: Logits,
    labels: NDArray[np.int64],
    *,
    temperature: float = 1.0,
    bias: Sequence[float] | NDArray[np.float64] | float = 0.0,
) -> float:
    """Return the expected calibration error, 0 to 1: how far the probability of the likeliest label is from how often it
    is right, over examples whose label is known.

    References
    ----------
    .. [1] C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599.

    Examples
    --------
    >>> round(calibration_error(np.array([[0.0, 0.0]] * 4), np.array([0, 0, 1, 1])), 3)
    0.0
    """
    known = labels != UNLABELLED
    if not known.any():
        raise ValueError("expected labelled examples, got none")
    shares = probabilities(logits[known], temperature=temperature, bias=bias)
    confidence = shares.max(axis=1)
    is_right = shares.argmax(axis=1) == labels[known]
    bins = np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)
    gaps = [
        abs(float(confidence[bins == each].mean() - is_right[bins == each].mean())) * float((bins == each).mean())
        for each in np.unique(bins)
    ]
    return float(sum(gaps))


def bag_means(logits: Logits, bags: NDArray[np.int64]) -> tuple[Logits, NDArray[np.int64]]:
    """Return the mean logits of each bag, and the index of its first example.

    Examples
    --------
    >>> bag_means(np.array([[0.0, 2.0], [1.0, 1.0], [4.0, 0.0]]), np.array([7, 8, 7]))[0].tolist()
    [[2.0, 1.0], [1.0, 1.0]]
    """
    _, first, index = np.unique(bags, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), logits.shape[1]))
    np.add.at(sums, index, logits)
    means: Logits = sums / np.bincount(index)[:, np.newaxis]
    return means, first.astype(np.int64)
