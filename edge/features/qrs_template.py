"""The shape of a beat: how wide its QRS complex is, and how much it resembles this person's usual beat."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Curve = NDArray[np.float64]
"""One lead around an R peak, shape (n_samples,), in mV."""

# The complex ends where the slope stays below this share of its largest value; 10 ms bridges the peak itself.
_EDGE_SLOPE_RATIO = 0.15
_BRIDGE_S = 0.010


def qrs_width_ms(curve: Curve, peak: int, rate_hz: float) -> float:
    """Return the duration of the QRS complex around index `peak`, from where its slope rises and dies away.

    An estimate from one lead: it reads some 10-20 ms less than the widest lead of a 12-lead recording.
    """
    slope = np.abs(np.gradient(curve))
    n_bridge = max(1, round(_BRIDGE_S * rate_hz))
    bridged = ndimage.maximum_filter1d(slope, 2 * n_bridge + 1)
    near = slice(max(0, peak - round(0.06 * rate_hz)), peak + round(0.06 * rate_hz) + 1)
    is_steep = bridged > _EDGE_SLOPE_RATIO * float(slope[near].max(initial=0.0))
    if not is_steep[peak]:
        return 0.0
    quiet = np.flatnonzero(~is_steep)
    k = int(np.searchsorted(quiet, peak))
    first = int(quiet[k - 1]) + 1 if k > 0 else 0
    last = int(quiet[k]) - 1 if k < len(quiet) else len(curve) - 1
    return 1000.0 * max(1, last - first + 1 - 2 * n_bridge) / rate_hz


class DominantBeat:
    """The usual beat of one person in one lead, learned from the first eight and following slow changes.

    Parameters
    ----------
    n_shift : int
        Alignment error of the R peak, in samples, that is tried out on both sides.
    """

    _N_LEARNED = 8
    _SIMILAR = 0.9  # what is averaged into the template
    _RATE = 0.1  # share of a new beat: the template follows over about ten beats
    _N_REMEMBERED = 60  # about a minute
    _FEWEST_SIMILAR = 0.5

    def __init__(self, n_shift: int) -> None:
        self._n_shift = n_shift
        self._template: Curve | None = None
        self._examples: list[Curve] = []
        self._recent: deque[bool] = deque(maxlen=self._N_REMEMBERED)

    def similarity(self, curve: Curve) -> float | None:
        """Return the correlation of `curve` with the usual beat, and learn from it; None until one is known.

        Parameters
        ----------
        curve : ndarray
            The beat with ``n_shift`` extra samples on both sides; always of the same length.
        """
        if self._template is None:
            self._learn(curve)
            return None
        n = len(self._template)
        shifted = np.lib.stride_tricks.sliding_window_view(curve, n)
        correlations = _correlations(shifted, self._template)
        best = int(np.argmax(correlations))
        result = float(correlations[best])
        self._follow(shifted[best], result)
        return result

    def _learn(self, curve: Curve) -> None:
        self._examples.append(curve[self._n_shift : len(curve) - self._n_shift])
        if len(self._examples) < self._N_LEARNED:
            return
        examples = np.stack(self._examples)
        likeness = np.stack([_correlations(examples, example) for example in examples])
        typical = likeness[int(np.argmax(np.median(likeness, axis=1)))]
        self._template = examples[typical >= min(self._SIMILAR, float(np.median(typical)))].mean(axis=0)
        self._examples = []
        self._recent.clear()

    def _follow(self, curve: Curve, correlation: float) -> None:
        assert self._template is not None
        is_similar = correlation > self._SIMILAR
        self._recent.append(is_similar)
        if is_similar:
            self._template = self._template + self._RATE * (curve - self._template)
        elif len(self._recent) == self._N_REMEMBERED and np.mean(self._recent) < self._FEWEST_SIMILAR:
            self._template = None  # the usual beat has changed: learn the new one


def _correlations(curves: NDArray[np.float64], template: Curve) -> Curve:
    """Return Pearson's correlation of every row with `template`; 0 where a row is flat."""
    centred = curves - curves.mean(axis=1, keepdims=True)
    pattern = template - template.mean()
    norm = np.sqrt((centred * centred).sum(axis=1) * (pattern * pattern).sum())
    return np.asarray(np.divide(centred @ pattern, norm, out=np.zeros(len(curves)), where=norm > 1e-12))
