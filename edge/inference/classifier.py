"""A window of the signal in, what the model says of it out, or why it says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.errors import ModelContractError, ModelFault
from edge.inference.aggregation import MeanLogits, TrailingMean, WindowLogits
from edge.inference.card import FeaturesInput, ModelCard
from edge.inference.golden import GoldenCase
from edge.inference.predictor import Answer, Predictor, Runner
from edge.inference.quantization import TensorSpec
from edge.inference.trust import SignedBy
from edge.messages import Json, Prediction, Window

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierSettings:
    """When the model is not asked at all."""

    min_quality: float = 0.6
    """Signal-quality index 0–1 below which a window is not shown to the model; the one that hides values too.
    A model that judges noise itself (`AbstentionCard.judges_noise`) sees every window."""


class Classifier:
    """Turns each window of its task into a prediction, or an abstention with its reason.

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
    signed_by : SignedBy, optional
        Who vouches for the bundle.

    Raises
    ------
    ModelContractError
        If the model is not the one that the card describes, or is none of windows of a signal.

    Notes
    -----
    Abstentions (``Prediction.absent``): ``window-mismatch`` (not the shape, rate or features that the model was made
    for), ``low-quality``, ``missing-samples`` (a value is not finite), ``flat`` (nothing to normalise), ``unfamiliar``
    (nothing like it in training: energy or features beyond the card's limits), ``uncertain`` (the likeliest label is
    below its threshold).  With the last two the probabilities are given.
    """

    def __init__(
        self,
        card: ModelCard,
        bundle_sha256: str,
        runner: Runner,
        settings: ClassifierSettings = ClassifierSettings(),
        *,
        signed_by: SignedBy | None = None,
    ) -> None:
        if not card.takes_windows:
            kinds = ", ".join(each.kind for each in card.inputs)
            message = f"expected a model of one signal and at most one set of features, {card.title} takes {kinds}"
            raise ModelContractError(message, reason=ModelFault.MISMATCH)
        self._predictor = Predictor(card, runner)
        self._samples = card.samples
        self._features_names = tuple(each.name for each in card.inputs if isinstance(each, FeaturesInput))
        self._feature_names = frozenset(each.name for each in card.features)
        self._card = card
        self._sha256 = bundle_sha256
        self._settings = settings
        self._signed_by = signed_by
        self._means: dict[tuple[str, str], TrailingMean] = {}

    @property
    def card(self) -> ModelCard:
        """What the bundle says of its model: the rate and length of window that it wants."""
        return self._card

    @property
    def output(self) -> TensorSpec:
        """The output tensor: how its integers stand for real values."""
        return self._predictor.output

    def status(self) -> str:
        """Return what ``health`` says of the model."""
        signed = f"signed by {self._signed_by.owner}" if self._signed_by else "unsigned"
        return f"{self._card.title} ({signed}, sha256 {self._sha256[:12]})"

    def push(self, window: Window) -> list[Prediction]:
        """Return the one prediction for `window`, without a label where the model abstains; none for another task."""
        if window.model != self._card.task:
            return []
        absent = self._unfit(window)
        answer = None if absent else self.answer(window)
        if answer is None:
            return [self._prediction(window, label=None, absent=absent or "flat", probabilities={}, more={})]
        mean = self._mean(window, answer)
        shares = answer.probabilities
        if len(mean.sequences) > 1:
            shares = self._predictor.calibration.probabilities(mean.logits)
        label, is_certain = self._predictor.calibration.verdict(shares)
        outside_ratio = self._predictor.outside_ratio(window.features)
        energy_now = self._predictor.calibration.energy(mean.logits)
        absent = self._unfamiliar(energy_now, outside_ratio) or ("" if is_certain else "uncertain")
        return [
            self._prediction(
                window,
                label=None if absent else label,
                absent=absent or None,
                probabilities=shares,
                more={
                    "clipped_pct": answer.clipped_pct(self._samples.name),
                    "energy": energy_now,
                    "outside_ratio": outside_ratio,
                    "logits": answer.output.tolist(),
                    "windows": list(mean.sequences),
                    "from_ns": mean.from_ns,
                },
            )
        ]

    def answer(self, window: Window) -> Answer | None:
        """Return what the model says to one window by itself; None where there is nothing to normalise.

        Nothing is remembered: the same window gives the same bytes, whatever came before.

        Raises
        ------
        ValueError
            If the window has another shape or a sample is NaN.
        KeyError
            If it lacks a feature.
        """
        features = dict.fromkeys(self._features_names, window.features)
        return self._predictor.answer({self._samples.name: window.values, **features})

    def reset(self, reason: str) -> None:
        """Forget the windows so far: nothing from before a gap is counted with what follows."""
        for mean in self._means.values():
            mean.reset(reason)

    def verify(self, golden: Sequence[GoldenCase]) -> int:
        """Return the largest difference from the golden answers, in steps of the output.

        Raises
        ------
        ModelContractError
            If this device computes something else than the one that the model was made on.
        """
        return self._predictor.verify(golden)

    def _unfit(self, window: Window) -> str:
        """Return why the model is not asked; empty where it is."""
        if window.values.shape != self._samples.shape or window.rate_hz != self._samples.rate_hz:
            return "window-mismatch"
        if not window.features.keys() >= self._feature_names:
            return "window-mismatch"
        if not self._card.abstention.judges_noise and not window.quality >= self._settings.min_quality:
            return "low-quality"  # NaN is no quality either
        return "" if np.isfinite(window.values).all() else "missing-samples"

    def _unfamiliar(self, energy_now: float, outside_ratio: float | None) -> str:
        limits = self._card.abstention
        is_strange = limits.min_energy is not None and energy_now < limits.min_energy
        is_outside = limits.max_outside is not None and outside_ratio is not None and outside_ratio > limits.max_outside
        return "unfamiliar" if is_strange or is_outside else ""

    def _mean(self, window: Window, answer: Answer) -> MeanLogits:
        if self._card.aggregation is None:
            return MeanLogits(logits=answer.logits, sequences=(window.sequence,), from_ns=window.start_ns)
        key = (window.sensor, window.stream)
        if key not in self._means:
            self._means[key] = TrailingMean(round(self._card.aggregation.span_s * _NS_PER_S))
        (mean,) = self._means[key].push(
            WindowLogits(
                start_ns=window.start_ns,
                end_ns=self._end_ns(window),
                sequence=window.sequence,
                logits=answer.logits,
            )
        )
        return mean

    def _end_ns(self, window: Window) -> int:
        # A window's own rate may be anything where it does not fit.
        return window.start_ns + round(self._samples.n_samples / self._samples.rate_hz * _NS_PER_S)

    def _prediction(
        self,
        window: Window,
        *,
        label: str | None,
        absent: str | None,
        probabilities: Mapping[str, float],
        more: Mapping[str, Json],
    ) -> Prediction:
        is_beat = self._card.task == "beat" and len(window.beats) == 1
        return Prediction(
            at_ns=window.beats[0].at_ns if is_beat else self._end_ns(window),
            label=label,
            probabilities=probabilities,
            bundle_sha256=self._sha256,
            absent=absent,
            model=self._card.task,
            sensor=window.sensor,
            stream=window.stream,
            sequence=window.sequence,
            evidence={
                "model": self._card.title,
                "bundle_sha256": self._sha256,
                "window_s": self._samples.n_samples / self._samples.rate_hz,
                "window_sequence": window.sequence,
                "quality": window.quality,
                **more,
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
