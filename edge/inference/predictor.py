"""Inputs by name in, the model's answer out: normalising, scaling and quantizing as the card says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelContractError, ModelFault
from edge.inference.card import FeaturesInput, ModelCard, SamplesInput, TensorInput
from edge.inference.decision import Calibration, logits_of
from edge.inference.golden import GOLDEN_TOLERANCE_LSB, GoldenCase
from edge.inference.quantization import INT8_MAX, INT8_MIN, JointQuantizer, TensorSpec
from edge.inference.scaling import FeatureScaler

_FLAT_RATIO = 1e-9

Given = NDArray[np.float64] | Mapping[str, float]
"""One input as measured: an array, or features by name."""
Real = Callable[[Given], NDArray[np.float64] | NDArray[np.float32] | None]


class Runner(Protocol):
    """What is needed of an interpreter."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What `run` takes, by name."""
        ...

    @property
    def output(self) -> TensorSpec:
        """What `run` gives."""
        ...

    def run(self, inputs: Mapping[str, NDArray[np.int8]], /) -> NDArray[np.int8]:
        """Return the model's answer to one example."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model says to one example, before any threshold."""

    output: NDArray[np.int8]
    """As the model gives it, shape (n_labels,): the same bytes from the same inputs, on every run."""
    logits: tuple[float, ...]
    """What they stand for, before bias and temperature."""
    probabilities: Mapping[str, float]
    """Calibrated, by label."""
    inputs: Mapping[str, NDArray[np.int8]] = field(repr=False)
    """What the model saw, by name, each of its tensor's shape."""

    def clipped_pct(self, name: str) -> float:
        """Return the share of an input's values at an end of the int8 range: what the model could not see whole."""
        seen = self.inputs[name]
        n_at_end = np.count_nonzero((seen == INT8_MIN) | (seen == INT8_MAX))
        return 100.0 * int(n_at_end) / seen.size


class Predictor:
    """A model with its card: raw inputs of any kind in, the answer out.

    Parameters
    ----------
    card : ModelCard
        What the bundle says of its model.
    runner : Runner
        The model; tied to the thread that calls.

    Raises
    ------
    ModelContractError
        If the model is not the one that the card describes.
    """

    def __init__(self, card: ModelCard, runner: Runner) -> None:
        if set(runner.inputs) != {each.name for each in card.inputs}:
            wanted, given = sorted(each.name for each in card.inputs), sorted(runner.inputs)
            message = f"expected a model with the inputs {', '.join(wanted)}, got {', '.join(given)}"
            raise ModelContractError(message, reason=ModelFault.MISMATCH)
        for each in card.inputs:
            _check_shape(f"input {each.name!r}", (1, *each.shape), runner.inputs[each.name].shape)
        if runner.output.name != card.output.name:
            message = f"expected a model with the output {card.output.name!r}, got {runner.output.name!r}"
            raise ModelContractError(message, reason=ModelFault.MISMATCH)
        _check_shape(f"output {card.output.name!r}", (1, len(card.output.labels)), runner.output.shape)
        self._card = card
        self._runner = runner
        self._calibration = Calibration(card.output)
        self._scaler = FeatureScaler(card.features) if card.features else None
        self._feeds = tuple((each.name, _feed(each)) for each in card.inputs)
        self._names = tuple(each.name for each in card.inputs)
        self._quantizer = JointQuantizer([runner.inputs[name] for name in self._names])
        # An output has 256 possible values: looked up, which costs a tenth of computing four of them in numpy.
        integers = np.arange(INT8_MIN, INT8_MAX + 1).astype(np.int8)
        self._logits: list[float] = logits_of(integers, runner.output.quantization, card.output.activation).tolist()

    @property
    def card(self) -> ModelCard:
        """What the bundle says of its model."""
        return self._card

    @property
    def output(self) -> TensorSpec:
        """The output tensor: how its integers stand for real values."""
        return self._runner.output

    @property
    def calibration(self) -> Calibration:
        """How logits become a label."""
        return self._calibration

    def answer(self, inputs: Mapping[str, Given]) -> Answer | None:
        """Return the model's answer, or None where a channel is flat and there is nothing to normalise.

        Parameters
        ----------
        inputs : mapping
            By name of the input: samples as measured, shape (n_samples, n_channels); features by name (all of the
            card's, NaN where unknown); tensors.

        Raises
        ------
        ValueError
            If an array has another shape, or a value of it is NaN.
        KeyError
            If an input or a feature is missing.
        """
        parts = []
        for name, real in self._feeds:
            values = real(inputs[name])
            if values is None:
                return None
            parts.append(values)
        tensors = dict(zip(self._names, self._quantizer.quantize(parts), strict=True))
        output = self._runner.run(tensors)[0]
        logits = tuple([self._logits[value - INT8_MIN] for value in output.tolist()])
        return Answer(
            output=output, logits=logits, probabilities=self._calibration.probabilities(logits), inputs=tensors
        )

    def verify(self, golden: Sequence[GoldenCase]) -> int:
        """Return the largest difference from the golden answers, in steps of the output.

        Raises
        ------
        ModelContractError
            If this device computes something else than the one that the model was made on.
        """
        worst_lsb = 0
        for number, case in enumerate(golden):
            answer = self.answer(self.named(case.inputs))
            if answer is None:
                message = f"golden case {number}: expected a signal, got a flat line"
                raise ModelContractError(message, reason=ModelFault.GOLDEN)
            difference_lsb = int(np.max(np.abs(answer.output.astype(np.int32) - case.output)))
            if difference_lsb > GOLDEN_TOLERANCE_LSB:
                raise ModelContractError(
                    f"golden case {number}: expected {case.output.tolist()} within {GOLDEN_TOLERANCE_LSB} steps, "
                    f"got {answer.output.tolist()}",
                    reason=ModelFault.GOLDEN,
                    hint="the runtime computes differently here: try the other backend",
                )
            worst_lsb = max(worst_lsb, difference_lsb)
        return worst_lsb

    def named(self, rows: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64] | dict[str, float]]:
        """Return one example of arrays as `answer` takes it: the features by name."""
        found: dict[str, NDArray[np.float64] | dict[str, float]] = {}
        for each in self._card.inputs:
            row = rows[each.name]
            if isinstance(each, FeaturesInput):
                found[each.name] = {
                    feature.name: float(value) for feature, value in zip(each.features, row, strict=True)
                }
            else:
                found[each.name] = np.asarray(row, dtype=np.float64)
        return found

    def outside_ratio(self, features: Mapping[str, float]) -> float | None:
        """Return the share of features outside the range of the training population; None where there are none."""
        if self._scaler is None:
            return None
        return self._scaler.n_outside(features) / len(self._card.features)


def _feed(card: SamplesInput | FeaturesInput | TensorInput) -> Real:
    """Return what makes real values of what is given for an input."""
    if isinstance(card, FeaturesInput):
        scaler = FeatureScaler(card.features)

        def features(given: Given) -> NDArray[np.float32]:
            if not isinstance(given, Mapping):
                raise TypeError(f"{card.name}: expected features by name, got {type(given).__name__}")
            return scaler.scale(given)

        return features

    def plain(given: Given) -> NDArray[np.float64]:
        if isinstance(given, Mapping) or given.shape != card.shape:
            raise ValueError(f"{card.name}: expected shape {card.shape}, got {getattr(given, 'shape', 'features')}")
        return given

    if isinstance(card, SamplesInput) and card.normalise == "z-score":
        return lambda given: z_score(plain(given))
    return plain


def z_score(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return samples with mean 0 and standard deviation 1 in each channel; None where a channel is flat.

    Parameters
    ----------
    values : ndarray of float64, shape (n_samples, n_channels)
        Finite.
    """
    n_samples = len(values)
    with np.errstate(over="ignore", invalid="ignore"):  # values near the largest float: not finite, so refused
        centred: NDArray[np.float64] = values - np.add.reduce(values, axis=0) / n_samples
        spread = np.sqrt(np.add.reduce(centred * centred, axis=0) / n_samples)
        # The tail of a filter differs in its last digits only; that must not be blown up into a signal.
        has_signal = (spread > _FLAT_RATIO * np.maximum.reduce(np.abs(values), axis=0)) & np.isfinite(spread)
        if not has_signal.all():
            return None
        centred /= spread
    return centred


def _check_shape(role: str, wanted: tuple[int, ...], given: tuple[int, ...]) -> None:
    if given != wanted:
        raise ModelContractError(f"{role}: expected shape {wanted}, got {given}", reason=ModelFault.MISMATCH)
