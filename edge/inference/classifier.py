"""A window of the signal in, what the model says of it out, or why it says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelContractError
from edge.inference.card import GOLDEN_TOLERANCE_LSB, GoldenWindow, ModelCard
from edge.inference.quantization import INT8_MAX, INT8_MIN, TensorSpec, dequantize, quantize
from edge.messages import Prediction, Window

_NS_PER_S = 1_000_000_000
_FLAT_RATIO = 1e-9


class Runner(Protocol):
    """What the classifier needs of an interpreter."""

    @property
    def input(self) -> TensorSpec:
        """What `run` takes."""
        ...

    @property
    def output(self) -> TensorSpec:
        """What `run` gives."""
        ...

    def run(self, values: NDArray[np.int8], /) -> NDArray[np.int8]:
        """Return the model's answer to one input."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierSettings:
    """When the model is not asked at all."""

    min_quality: float = 0.6
    """Signal-quality index 0–1 below which a window is not shown to the model; the one that hides values too."""


class Classifier:
    """Turns each window into a prediction or an abstention with its reason.

    Parameters
    ----------
    card : ModelCard
        What the bundle says of its model.
    bundle_sha256 : str
        Name of the bundle in every prediction.
    runner : Runner
        The model; tied to the thread that calls `push`.
    settings : ClassifierSettings
        When to abstain.

    Raises
    ------
    ModelContractError
        If the model is not the one that the card describes.

    Notes
    -----
    Abstentions (``Prediction.absent``): ``window-mismatch`` (not the shape or rate that the model was made for),
    ``low-quality``, ``missing-samples`` (a value is not finite), ``flat`` (nothing to normalise), ``uncertain`` (the
    likeliest label is below its threshold; the probabilities are given).
    """

    def __init__(
        self,
        card: ModelCard,
        bundle_sha256: str,
        runner: Runner,
        settings: ClassifierSettings = ClassifierSettings(),
    ) -> None:
        _check("input", card.input.name, card.input.shape, runner.input)
        _check("output", card.output.name, (1, len(card.output.labels)), runner.output)
        self._card = card
        self._sha256 = bundle_sha256
        self._runner = runner
        self._settings = settings

    @property
    def card(self) -> ModelCard:
        """What the bundle says of its model: the rate and length of window that it wants."""
        return self._card

    def status(self) -> str:
        """Return what ``health`` says of the model."""
        return f"{self._card.title} (unsigned, sha256 {self._sha256[:12]})"

    def push(self, window: Window) -> list[Prediction]:
        """Return the one prediction for `window`; without a label where the model abstains."""
        values, absent = self._prepared(window)
        if values is None:
            return [self._prediction(window, absent=absent)]
        integers = quantize(values, self._runner.input.quantization)[np.newaxis]
        answer = self._runner.run(integers)[0]
        probabilities = dequantize(answer, self._runner.output.quantization)
        best = int(np.argmax(probabilities))
        label = self._card.output.labels[best]
        is_certain = probabilities[best] >= self._card.output.thresholds[label]
        n_at_end = int(np.count_nonzero((integers == INT8_MIN) | (integers == INT8_MAX)))
        return [
            self._prediction(
                window,
                label=label if is_certain else None,
                absent=None if is_certain else "uncertain",
                probabilities=dict(zip(self._card.output.labels, map(float, probabilities), strict=True)),
                clipped_pct=100.0 * n_at_end / integers.size,
            )
        ]

    def reset(self, reason: str) -> None:
        """Do nothing: every window stands for itself."""

    def verify(self, golden: Sequence[GoldenWindow]) -> int:
        """Return the largest difference from the golden answers, in steps of the output.

        Raises
        ------
        ModelContractError
            If this device computes something else than the one that the model was made on.
        """
        worst_lsb = 0
        for number, window in enumerate(golden):
            values = self._normalised(np.asarray(window.values, dtype=np.float64))
            if values is None:
                raise ModelContractError(f"golden window {number}: expected a signal, got a flat line")
            answer = self._runner.run(quantize(values, self._runner.input.quantization)[np.newaxis])[0]
            difference_lsb = int(np.max(np.abs(answer.astype(np.int32) - np.asarray(window.output, dtype=np.int32))))
            if difference_lsb > GOLDEN_TOLERANCE_LSB:
                raise ModelContractError(
                    f"golden window {number}: expected {list(window.output)} within {GOLDEN_TOLERANCE_LSB} steps, "
                    f"got {answer.tolist()}",
                    hint="the runtime computes differently here: try the other backend",
                )
            worst_lsb = max(worst_lsb, difference_lsb)
        return worst_lsb

    def _prepared(self, window: Window) -> tuple[NDArray[np.float64] | None, str]:
        """Return the values that the model is to see, or None and why it sees none."""
        card = self._card.input
        if window.values.shape != card.shape[1:] or window.rate_hz != card.rate_hz:
            return None, "window-mismatch"
        if not window.quality >= self._settings.min_quality:  # NaN is no quality either
            return None, "low-quality"
        if not np.isfinite(window.values).all():
            return None, "missing-samples"
        values = self._normalised(window.values)
        return values, "flat" if values is None else ""

    def _normalised(self, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return values as the model was trained on; None where a channel is flat."""
        if self._card.input.normalise == "none":
            return values
        with np.errstate(over="ignore", invalid="ignore"):  # values near the largest float: not finite, so refused
            centred = values - values.mean(axis=0)
            spread = centred.std(axis=0)
            # The tail of a filter differs in its last digits only; that must not be blown up into a signal.
            is_flat = spread <= _FLAT_RATIO * np.abs(values).max(axis=0)
            scaled = centred / np.where(is_flat, np.nan, spread)
        return scaled if np.isfinite(scaled).all() else None

    def _prediction(
        self,
        window: Window,
        *,
        label: str | None = None,
        absent: str | None,
        probabilities: dict[str, float] | None = None,
        clipped_pct: float | None = None,
    ) -> Prediction:
        duration_s = self._card.input.n_samples / self._card.input.rate_hz  # a window's own rate may be anything
        return Prediction(
            at_ns=window.start_ns + round(duration_s * _NS_PER_S),
            label=label,
            probabilities=probabilities or {},
            bundle_sha256=self._sha256,
            absent=absent,
            evidence={
                "model": self._card.title,
                "window_s": duration_s,
                "window_sequence": window.sequence,
                "quality": window.quality,
                "clipped_pct": clipped_pct,
            },
        )


class NoModel:
    """Stands where no bundle is configured: says nothing about any window, and says so to whoever asks."""

    def status(self) -> str:
        """Return what ``health`` says of the model."""
        return "no model configured"

    def push(self, window: Window) -> list[Prediction]:  # noqa: ARG002 -- the shape of a stage
        """Return nothing: without a model there is not even an abstention to publish."""
        return []

    def reset(self, reason: str) -> None:
        """Do nothing."""


def _check(role: str, name: str, shape: tuple[int, ...], spec: TensorSpec) -> None:
    if spec.name != name:
        raise ModelContractError(f"expected a model with the {role} {name!r}, got {spec.name!r}")
    if spec.shape != shape:
        raise ModelContractError(f"{role} {name!r}: expected shape {shape}, got {spec.shape}")
