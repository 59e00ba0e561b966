"""How much a candidate looks like this person's usual complex, in the 5-20 Hz band and in all leads at once.

It helps to tell small or early complexes from noise; a large one is a beat whatever it looks like.  The curves are about
20 samples long, so this is cheap.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Shape = NDArray[np.float64]
"""The band-passed leads around a candidate, shape (n_leads, n_samples), with `N_SHIFT` extra samples on both sides."""

N_SHIFT = 3
"""Samples by which the maximum of the energy may lie off."""

_N_LEARNED = 8
_RATE = 0.1  # share of a new beat: the usual complex follows over about ten beats
_SIMILAR = 0.8  # what is averaged into it
_N_REMEMBERED = 30
_FEWEST_SIMILAR = 0.5
_N_RECENT = 4
UNKNOWN = 0.8
"""Likeness while no complex has been learned: neither for nor against a beat."""


class KnownComplexes:
    """The usual complex, learned from the first eight beats, and the last few of any kind.

    Beats of a ventricular run resemble each other, where noise resembles nothing.
    """

    def __init__(self) -> None:
        self._recent_ones: deque[tuple[Shape, Sequence[float]]] = deque(maxlen=_N_RECENT)
        self._usual: Shape | None = None
        self._norm = 1.0
        self._examples: list[Shape] = []
        self._recent: deque[bool] = deque(maxlen=_N_REMEMBERED)

    def likeness(self, shape: Shape, scales: Sequence[float]) -> float:
        """Return the largest correlation −1…1 of `shape`, each lead multiplied by its scale, with what is known."""
        usual = UNKNOWN if self._usual is None else _compare(shape, scales, self._usual, self._norm)[0]
        recent = [_compare(shape, scales, *_with_norm(_middle(*other)))[0] for other in self._recent_ones]
        return max([usual, *recent])

    def notice(self, shape: Shape, scales: Sequence[float]) -> None:
        """Take `shape` for one that may come again, be it a beat or not."""
        self._recent_ones.append((shape, scales))

    def learn(self, shape: Shape, scales: Sequence[float]) -> None:
        """Take `shape` for a beat."""
        if self._usual is None:
            self._examples.append(_middle(shape, scales))
            if len(self._examples) == _N_LEARNED:
                self._usual, self._norm = _with_norm(np.median(np.stack(self._examples), axis=0))
                self._examples = []
                self._recent.clear()
            return
        likeness, shift = _compare(shape, scales, self._usual, self._norm)
        is_similar = likeness > _SIMILAR
        self._recent.append(is_similar)
        if is_similar:
            part = shape[:, shift : shift + self._usual.shape[1]] * np.array(scales)[:, None]
            self._usual, self._norm = _with_norm(self._usual + _RATE * (part - self._usual))
        elif len(self._recent) == _N_REMEMBERED and sum(self._recent) < _FEWEST_SIMILAR * _N_REMEMBERED:
            self._usual = None  # the usual complex has changed: learn the new one


def _middle(shape: Shape, scales: Sequence[float]) -> Shape:
    return np.asarray(shape[:, N_SHIFT : shape.shape[1] - N_SHIFT] * np.array(scales)[:, None])


def _with_norm(shape: Shape) -> tuple[Shape, float]:
    return shape, math.sqrt(float((shape * shape).sum()))


def _compare(shape: Shape, scales: Sequence[float], known: Shape, norm: float) -> tuple[float, int]:
    """Return the largest correlation over all shifts, and the shift."""
    n = known.shape[1]
    products = np.zeros(2 * N_SHIFT + 1)
    for lead, usual, scale in zip(shape, known, scales, strict=True):
        products += scale * np.correlate(lead, usual)
    shift = int(products.argmax())
    energy = 0.0
    for lead, scale in zip(shape, scales, strict=True):
        part = lead[shift : shift + n]
        energy += scale * scale * float(part.dot(part))
    both = math.sqrt(energy) * norm
    return (float(products[shift]) / both if both > 1e-9 else 0.0), shift
