"""Many beats of one lead -> their average, and how much noise is left in it.

Averaging over *n* beats takes what is not tied to the heart beat (mains, muscle, wander, fibrillatory waves) down by the
square root of *n* and shifts nothing in time, which no causal filter can say of itself.  The beats go in turn into two
halves; half the difference of the halves holds no heart, only what is left of the noise (plus-minus reference,
Schimmel 1967, doi:10.1126/science.157.3784.92).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
"""One lead around an R peak, shape (n_samples,), in mV."""


class AverageBeat:
    """The average of beats that look alike, aligned to the first of them.

    Parameters
    ----------
    n_before, n_after : int
        Samples that are kept before and after the R peak.
    n_core : int
        Samples on both sides of the R peak in which beats are compared.
    n_shift : int
        Alignment error of the R peak, in samples, that is tried out on both sides.
    """

    _SIMILAR = 0.9  # the same measure as for the detector's dominant beat

    def __init__(self, *, n_before: int, n_after: int, n_core: int, n_shift: int) -> None:
        self._n_before = n_before
        self._n_after = n_after
        self._n_core = n_core
        self._n_shift = n_shift
        self._halves = np.zeros((2, n_before + n_after + 1))
        self._n_beats = [0, 0]
        self._pattern: Curve | None = None

    @property
    def n_before(self) -> int:
        """Samples that `add` wants before the R peak."""
        return self._n_before + self._n_shift

    @property
    def n_after(self) -> int:
        """Samples that `add` wants after the R peak."""
        return self._n_after + self._n_shift

    @property
    def n_beats(self) -> int:
        """Beats in the average."""
        return sum(self._n_beats)

    def add(self, curve: Curve) -> bool:
        """Take a beat in, and return whether it was like the others.

        Parameters
        ----------
        curve : ndarray, shape (n_before + 1 + n_after,)
            Raw samples; no value may be missing.
        """
        shift = self._shift(curve)
        if shift is None:
            return False
        half = 0 if self._n_beats[0] == self._n_beats[1] else 1
        self._halves[half] += curve[shift : shift + self._halves.shape[1]]
        self._n_beats[half] += 1
        return True

    def mean(self) -> Curve:
        """Return the average of all beats; its R peak is at index ``n_before`` of the constructor."""
        return np.asarray(self._halves.sum(axis=0) / max(1, self.n_beats))

    def half_means(self) -> tuple[Curve, Curve]:
        """Return the averages of every other beat and of the rest."""
        first, second = (half / max(1, n) for half, n in zip(self._halves, self._n_beats, strict=True))
        return first, second

    def _shift(self, curve: Curve) -> int | None:
        """Return where in `curve` the beat lies best over the first one; None where it is another shape."""
        r = self._n_before + self._n_shift
        core = curve[r - self._n_core - self._n_shift : r + self._n_core + self._n_shift + 1]
        n_pattern = 2 * self._n_core + 1
        if self._pattern is None:
            pattern = core[self._n_shift : self._n_shift + n_pattern]
            pattern = pattern - pattern.mean()
            size = float(np.dot(pattern, pattern)) ** 0.5
            if not size > 0:
                return None
            self._pattern = pattern / size
            return self._n_shift
        # The pattern has no mean, so the beat's own does not count in the product.
        products = np.correlate(core, self._pattern)
        shift = int(products.argmax())
        best = core[shift : shift + n_pattern]
        mean = float(np.add.reduce(best)) / n_pattern
        power = float(np.dot(best, best)) - n_pattern * mean * mean
        if not power > 0 or float(products[shift]) < self._SIMILAR * power**0.5:
            return None
        return shift
