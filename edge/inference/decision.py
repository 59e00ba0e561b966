"""Logits -> probabilities -> a label or an abstention: calibration and thresholds, once for runtime and training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.inference.card import OutputCard
from edge.inference.quantization import Quantization, dequantize

_LEAST_PROBABILITY = 1.0 / 512.0
"""Stands for a probability that int8 cannot tell from 0: half a step of 1/256."""


def logits_of(output: NDArray[np.int8], quantization: Quantization, activation: str) -> NDArray[np.float64]:
    """Return the logits that an int8 output stands for, of the same shape.

    Parameters
    ----------
    output : ndarray of int8, shape (..., n_labels)
        As the model gives it.
    quantization : Quantization
        Of the output tensor.
    activation : str
        ``none``: it is logits; ``softmax``: probabilities, whose logarithm is taken.
    """
    real = dequantize(output, quantization)
    if activation == "none":
        return real
    logits: NDArray[np.float64] = np.log(np.maximum(real, _LEAST_PROBABILITY))
    return logits


def probabilities(
    logits: ArrayLike, *, temperature: float = 1.0, bias: Sequence[float] | NDArray[np.float64] | float = 0.0
) -> NDArray[np.float64]:
    """Return ``softmax((logits + bias) / temperature)`` over the last axis.

    Parameters
    ----------
    logits : array_like of float, shape (..., n_labels)
        Finite.
    temperature : float
        Above 1 makes every probability more modest.
    bias : sequence of float, shape (n_labels,)
        Added to the logits.
    """
    raised = (np.asarray(logits, dtype=np.float64) + np.asarray(bias, dtype=np.float64)) / temperature
    powers = np.exp(raised - raised.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def energy(logits: ArrayLike) -> NDArray[np.float64]:
    """Return the logarithm of the sum of the exponentials of the logits: small where nothing is familiar.

    References
    ----------
    .. [1] W. Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020, arXiv:2010.03759 (there with the
       sign turned).
    """
    raw = np.asarray(logits, dtype=np.float64)
    largest = raw.max(axis=-1, keepdims=True)
    total: NDArray[np.float64] = np.log(np.exp(raw - largest).sum(axis=-1)) + largest[..., 0]
    return total


class Calibration:
    """The same for one example at a time, in plain floats: numpy's cost per call is more than the arithmetic.

    Parameters
    ----------
    output : OutputCard
        Temperature, biases and thresholds.
    """

    def __init__(self, output: OutputCard) -> None:
        self._labels = output.labels
        self._biases = tuple(output.bias.get(label, 0.0) for label in output.labels)
        self._temperature = output.temperature
        self._thresholds = tuple(output.thresholds[label] for label in output.labels)

    def probabilities(self, logits: Sequence[float]) -> dict[str, float]:
        """Return the calibrated probability of each label."""
        raised = [(each + bias) / self._temperature for each, bias in zip(logits, self._biases, strict=True)]
        largest = max(raised)
        powers = [math.exp(each - largest) for each in raised]
        total = sum(powers)
        return {label: power / total for label, power in zip(self._labels, powers, strict=True)}

    @staticmethod
    def energy(logits: Sequence[float]) -> float:
        """Return `energy` of one example."""
        largest = max(logits)
        return math.log(sum(math.exp(each - largest) for each in logits)) + largest

    def verdict(self, shares: Mapping[str, float]) -> tuple[str, bool]:
        """Return the likeliest label, the first of equals, and whether it reaches its threshold."""
        values = list(shares.values())
        best = values.index(max(values))
        return self._labels[best], values[best] >= self._thresholds[best]
