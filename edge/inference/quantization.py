"""The affine int8 map of TFLite, both ways; the only place where it is written.

``real = scale * (integer - zero_point)``, one scale and zero point for the whole tensor.

References
----------
.. [1] TensorFlow Lite 8-bit quantization specification.
.. [2] ``tensorflow/lite/kernels/internal/reference/quantize.h``, `AffineQuantize`: division in float32, halves rounded
   away from zero, then clamped.  The map here equals LiteRT's reference kernel on 23 360 values in four maps, on and
   beside every half step.  The fast kernels multiply by the reciprocal and round halves to even: there, and only there,
   they came out one step apart.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

INT8_MIN = -128
INT8_MAX = 127
# Below it float32 loses digits, above it 255 steps would not fit into float32.
_SCALE_MIN = float(np.finfo(np.float32).tiny)
_SCALE_MAX = 1e36
# Added before cutting, it rounds halves away from zero.  The largest float32 below 0.5: with 0.5 itself, 0.49999997
# would become 1, because the sum is rounded too.  Compared with exact rounding for every float32 up to 512.
_NEARLY_HALF = np.float32(0.49999997)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How one int8 tensor stands for real values.

    Raises
    ------
    ValueError
        If the scale is no positive float32 or the zero point no int8.
    """

    scale: float
    """Real value of one step."""
    zero_point: int
    """Integer that stands for 0."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and _SCALE_MIN <= self.scale <= _SCALE_MAX):
            raise ValueError(f"expected {_SCALE_MIN:g} <= scale <= {_SCALE_MAX:g}, got {self.scale}")
        if not INT8_MIN <= self.zero_point <= INT8_MAX:
            raise ValueError(f"expected {INT8_MIN} <= zero_point <= {INT8_MAX}, got {self.zero_point}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """The input or output of a model."""

    name: str
    shape: tuple[int, ...]
    quantization: Quantization


def quantize(values: ArrayLike, quantization: Quantization) -> NDArray[np.int8]:
    """Return real values as int8; what lies outside the range takes the nearest end of it.

    Parameters
    ----------
    values : array_like of float
        Any shape; infinities take the ends of the range.
    quantization : Quantization
        Of the tensor that the values go into.

    Raises
    ------
    ValueError
        If a value is NaN: there is no integer for "unknown".

    Examples
    --------
    >>> quantize([-9.0, -0.25, 0.0, 0.25, 9.0], Quantization(scale=0.5, zero_point=10)).tolist()
    [-8, 9, 10, 11, 28]
    """
    least, largest = _ends(quantization)
    real = np.asarray(values, dtype=np.float64)
    return _integers(real, np.float32(quantization.scale), np.int16(quantization.zero_point), least, largest)


class JointQuantizer:
    """`quantize` for all inputs of a model in one go: numpy's price is by the call, not by the value.

    Parameters
    ----------
    specs : sequence of TensorSpec
        One for each input, in the order in which `quantize` is given them.
    """

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self._shapes = tuple(spec.shape for spec in specs)
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self._ends = tuple(itertools.accumulate(self._sizes))
        sizes = self._sizes if len(specs) > 1 else [1]  # one map for every value: nothing to be laid out
        ends = [_ends(spec.quantization) for spec in specs]
        self._least = np.repeat([low for low, _ in ends], sizes)
        self._largest = np.repeat([high for _, high in ends], sizes)
        self._scale = np.repeat([np.float32(spec.quantization.scale) for spec in specs], sizes)
        self._zero_point = np.repeat([np.int16(spec.quantization.zero_point) for spec in specs], sizes)

    def quantize(self, parts: Sequence[NDArray[np.floating]]) -> list[NDArray[np.int8]]:
        """Return each input as int8, in the shape of its tensor.

        Raises
        ------
        ValueError
            If a value is NaN, or an input has not as many values as its tensor.
        """
        given = [part.size for part in parts]
        if given != self._sizes:
            raise ValueError(f"expected inputs of {self._sizes} values, got {given}")
        real = np.concatenate([part.ravel() for part in parts], dtype=np.float64)
        integers = _integers(real, self._scale, self._zero_point, self._least, self._largest)
        starts = (0, *self._ends)
        return [
            integers[start:end].reshape(shape)
            for start, end, shape in zip(starts, self._ends, self._shapes, strict=False)
        ]


def _ends(quantization: Quantization) -> tuple[float, float]:
    """Return the real values of the ends of the range."""
    step = float(np.float32(quantization.scale))
    return (INT8_MIN - quantization.zero_point) * step, (INT8_MAX - quantization.zero_point) * step


def _integers(
    real: NDArray[np.float64],
    scale: np.float32 | NDArray[np.float32],
    zero_point: np.int16 | NDArray[np.int16],
    least: float | NDArray[np.float64],
    largest: float | NDArray[np.float64],
) -> NDArray[np.int8]:
    # Clamped first, at whole steps, which changes no result: nothing after it can overflow.
    bounded = np.minimum(np.maximum(real, least), largest)
    if bounded.size and math.isnan(bounded.min()):
        raise ValueError("expected numbers, got NaN")
    steps = np.asarray(bounded.astype(np.float32) / scale)
    steps += np.copysign(_NEARLY_HALF, steps)
    integers = steps.astype(np.int16)  # cuts towards zero
    integers += zero_point
    return integers.astype(np.int8)


def dequantize(integers: NDArray[np.int8], quantization: Quantization) -> NDArray[np.float64]:
    """Return the real values that int8 integers stand for.

    Examples
    --------
    >>> dequantize(np.array([8, 12], dtype=np.int8), Quantization(scale=0.5, zero_point=10)).tolist()
    [-1.0, 1.0]
    """
    steps = integers.astype(np.int32) - quantization.zero_point
    return (steps.astype(np.float32) * np.float32(quantization.scale)).astype(np.float64)
