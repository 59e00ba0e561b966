"""Which examples set the ranges of an int8 model: of every class, patient and amplitude, without outliers.

The range of every tensor is the smallest and largest value seen on these examples.  Too narrow, and what is larger is cut
off; too wide, and 255 steps are too coarse: with one example 50 times too large among 100, accuracy fell from 0.99 to
0.85.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from converter.examples import Examples

OUTLIER_RATIO = 3.0
"""An example whose largest value is more than so many times the usual large one sets no range.  Default: of all windows
of 1.7 s in the first leads of MIT-BIH (0.5–40 Hz) the largest was 1.8 times the usual large one."""
USUAL_QUANTILE = 0.9
"""Which of the largest values counts as a usual large one; a tenth of the examples may be outliers."""
N_AMPLITUDES = 3
"""Examples of a patient are taken in turn from so many groups of equal size by amplitude."""

T = TypeVar("T")


def outliers(inputs: Mapping[str, NDArray[np.float32]], *, ratio: float = OUTLIER_RATIO) -> NDArray[np.bool_]:
    """Return which examples must set no range: not finite, or far larger than the others in any input.

    Parameters
    ----------
    inputs : Mapping of str to ndarray
        What the model sees, by input; the first axis counts examples.
    ratio : float
        How many times the usual large value is too large.

    Examples
    --------
    >>> outliers({"x": np.array([[1.0, -2.0], [2.0, 1.0], [2.0, 50.0], [np.nan, 1.0]], dtype=np.float32)}).tolist()
    [False, False, True, True]
    """
    n_examples = len(next(iter(inputs.values())))
    rejected = np.zeros(n_examples, dtype=np.bool_)
    for values in inputs.values():
        peaks = amplitudes(values)
        rejected |= ~np.isfinite(peaks)
    for values in inputs.values():
        peaks = amplitudes(values)
        if not rejected.all():
            # Of the examples that are smaller, so that the outlier itself is never the usual one.
            usual = float(np.quantile(peaks[~rejected], USUAL_QUANTILE, method="lower"))
            rejected |= ~(peaks <= ratio * usual)
    return rejected


def amplitudes(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the largest magnitude of each example; NaN where a value is NaN."""
    magnitudes = np.abs(np.asarray(values, dtype=np.float64))
    largest: NDArray[np.float64] = magnitudes.max(axis=tuple(range(1, magnitudes.ndim)), initial=0.0)
    return largest


def stratified_sample(examples: Examples, n: int, seed: int) -> NDArray[np.int64]:
    """Return the indices of at most `n` examples that are to set the ranges.

    They are taken in turn from every class, within a class from every patient, within a patient from small, medium and
    large amplitudes; examples with outliers in the samples are never taken.  The amplitude of an example is the largest
    magnitude in its inputs of more than one axis; raw features have units of their own and are not looked at.

    Raises
    ------
    ValueError
        If `n` is not positive or no example is left.
    """
    if n < 1:
        raise ValueError(f"expected n >= 1, got {n}")
    signals = {name: values for name, values in examples.inputs.items() if values.ndim > 2}
    usable = ~outliers(signals) if signals else np.ones(len(examples), dtype=np.bool_)
    if not usable.any():
        raise ValueError(f"expected examples with finite values, got {len(examples)} without")
    size = sum((amplitudes(values) for values in signals.values()), start=np.zeros(len(examples)))
    rng = np.random.default_rng(seed)
    by_class = []
    for label in np.unique(examples.labels[usable]):
        of_class = np.flatnonzero(usable & (examples.labels == label))
        patients = [of_class[examples.groups[of_class] == group] for group in np.unique(examples.groups[of_class])]
        rng.shuffle(patients)
        by_class.append(_in_turn([_by_amplitude(indices, size, rng) for indices in patients]))
    return np.array(_in_turn(by_class)[:n], dtype=np.int64)


def _by_amplitude(indices: NDArray[np.int64], size: NDArray[np.float64], rng: np.random.Generator) -> list[int]:
    ordered = indices[np.argsort(size[indices], kind="stable")]
    parts = [rng.permutation(part).tolist() for part in np.array_split(ordered, N_AMPLITUDES)]
    rng.shuffle(parts)
    return _in_turn(parts)


def _in_turn(rows: list[list[T]]) -> list[T]:
    """Return the first of each row, then the second of each, and so on."""
    absent = object()
    return [item for turn in zip_longest(*rows, fillvalue=absent) for item in turn if item is not absent]  # type: ignore[misc]
