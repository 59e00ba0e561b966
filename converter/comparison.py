"""How much a decision changes between two ways to compute the same model: agreement, worst window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
