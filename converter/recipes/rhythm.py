"""The rhythm of half a minute of one lead: normal, atrial fibrillation, another rhythm, or too noisy to tell (CinC 2017).

::

    ecg (1250, 1) ─▶ residual convolutions ─▶ mean and maximum over time ─┐
                                                                          ├─▶ hidden ─▶ logits
    features ─▶ hinges at fixed places of their scale ─▶ hidden, hidden ──┘

The samples show what a beat looks like, the features what a minute of beats does; each alone is worth less than both.  A
window is no unit of its own here: the label belongs to the recording, so the loss is taken on the mean of the logits
of some of its windows, as the device averages them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converter.datasets.recordings import WindowTensors, record_examples
from converter.examples import Examples
from converter.fitting import Fitted
from converter.keras_backend import load_keras
from converter.recipes.base import FeatureNames, Fold, InputPlan, Inputs, Recipe
from converter.recipes.rhythm_fit import bags_of, fit_bags, taught
from converter.recipes.settings import RecipeSettings
from converter.scoring import class_scores, confusion
from edge.ecg_chain import EcgChainSettings
from edge.features.rhythm_windows import FEATURES, RhythmWindowsSettings
from edge.inference.card_inputs import SamplesInput
from edge.messages import Json
from edge.model_windows import ModelWindowsSettings

CLASSES = ("N", "A", "O", "~")
"""Normal, atrial fibrillation, another rhythm, too noisy."""
SAMPLES, NUMBERS = "ecg", "features"
"""Names of the inputs."""

_CODES: Mapping[str, Mapping[str, str]] = {
    "N": {"snomed": "426783006"},  # electrocardiographic normal sinus rhythm
    "A": {"snomed": "164889003"},  # electrocardiographic atrial fibrillation
}
"""SNOMED CT, as the PhysioNet/CinC challenges of 2020 and 2021 use them; the other two are no rhythm of their own."""
_KERNEL = 7
_STEM_KERNEL = 15
_LAST_KERNEL = 5


class Rhythm(Recipe):
    """Which rhythm a recording shows."""

    name = "rhythm"
    task = "rhythm"

    def examples(self, data: Path, settings: RecipeSettings, *, jobs: int) -> Examples:
        """Return the windows of all recordings, one bag a recording, each a group of its own."""
        cache = settings.data["cache"]
        folder = data / settings.data["folder"]
        return record_examples(
            folder if folder.is_dir() else data,
            (),
            EcgChainSettings(models=ModelWindowsSettings(rhythm=self.windows(settings))),
            WindowTensors(samples=SAMPLES, features=NUMBERS, feature_names=FEATURES),
            CLASSES,
            cache=Path(cache) if cache else None,
            jobs=jobs,
        )

    def windows(self, settings: RecipeSettings) -> RhythmWindowsSettings:
        """Return the settings of the stage that cuts the windows."""
        return RhythmWindowsSettings(hop_s=settings.data["hop_s"], evidence_s=settings.data["evidence_s"])

    def inputs(self, settings: RecipeSettings, examples: Examples) -> tuple[InputPlan, ...]:  # noqa: ARG002 - the protocol
        """Return the samples, normalised window by window, and the features of the stage."""
        stage = self.windows(settings)
        samples = SamplesInput(
            name=SAMPLES,
            n_samples=round(stage.window_s * stage.rate_hz),
            channels=("ecg",),
            rate_hz=stage.rate_hz,
            unit="mV",
            normalise="z-score",
        )
        return (samples, FeatureNames(name=NUMBERS, features=FEATURES))

    def build(self, settings: RecipeSettings, examples: Examples) -> Any:
        """Return the network."""
        keras = load_keras()
        layers, model = keras.layers, settings.model
        ecg = keras.Input(examples.inputs[SAMPLES].shape[1:], name=SAMPLES)
        numbers = keras.Input(examples.inputs[NUMBERS].shape[1:], name=NUMBERS)
        value = layers.ReLU()(_convolved(layers, ecg, model["channels"][0], _STEM_KERNEL, 2))
        value = layers.MaxPooling1D(2, padding="same")(value)
        last = len(model["channels"]) - 1
        for k, n_channels in enumerate(model["channels"][1:], start=1):
            kernel = _LAST_KERNEL if k == last else _KERNEL
            value = _residual(layers, value, n_channels, kernel, model["channel_dropout"])
        pooled = [layers.GlobalAveragePooling1D()(value), layers.GlobalMaxPooling1D()(value)]
        seen = layers.Dropout(model["dropout"])(layers.Concatenate()(pooled))
        # Quantiles of the training population lie evenly on the scale, so a hinge at 0.6 bends for the highest fifth.
        hinges = [layers.ReLU()(layers.Rescaling(1.0, offset=-place)(numbers)) for place in model["hinges"]]
        known = layers.Dropout(model["feature_dropout"])(layers.Concatenate()([numbers, *hinges]))
        for n_units in model["feature_units"]:
            dense = layers.Dense(n_units, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-4))
            known = layers.Dropout(model["dropout"])(dense(known))
        joined = layers.Dense(model["hidden"], activation="relu")(layers.Concatenate()([seen, known]))
        joined = layers.Dropout(model["dropout"])(joined)
        logits = layers.Dense(len(examples.classes), name="logits")(layers.Concatenate()([joined, known]))
        return keras.Model([ecg, numbers], logits)

    def augment(self, inputs: Inputs, settings: RecipeSettings, fold: Fold, rng: np.random.Generator) -> Inputs:
        """Return a batch with the signal changed, some windows padded as short recordings are, and blurred features."""
        changed = dict(super().augment(inputs, settings, fold, rng))
        windows = np.array(changed[SAMPLES], dtype=np.float32)
        n_samples = windows.shape[1]
        for k in np.flatnonzero(rng.random(len(windows)) < settings.data["padded_ratio"]):
            windows[k, : rng.integers(1, n_samples // 2)] = 0.0
        centred = windows - windows.mean(axis=1, keepdims=True)
        changed[SAMPLES] = centred / np.maximum(centred.std(axis=1, keepdims=True), 1e-6)
        numbers = changed[NUMBERS]
        blur = settings.data["feature_blur"] * rng.standard_normal(numbers.shape)
        changed[NUMBERS] = (numbers + blur).astype(np.float32)
        return changed

    def fit(self, settings: RecipeSettings, fold: Fold) -> Fitted:
        """Return the network fitted to whole recordings, on soft targets where the settings ask for them."""
        train, model = fold.train.labelled(), settings.model
        if not model["teacher_share"] and not model["mixing"]:
            return super().fit(settings, fold)
        bags = bags_of(train, settings.fit)
        return fit_bags(
            self.build(settings, train),
            train,
            bags,
            taught(bags, train.inputs[NUMBERS], model["teacher_share"], seed=fold.seed),
            settings.fit,
            mixing=model["mixing"],
            seed=fold.seed,
            change=lambda inputs, rng: self.augment(inputs, settings, fold, rng),
            on_epoch=fold.on_epoch,
        )

    def card(self, settings: RecipeSettings) -> Mapping[str, Json]:
        """Return what the bundle says of the windows, the labels and where they come from."""
        return {
            "preprocessing": self.windows(settings).describe(),
            "codes": {label: dict(codes) for label, codes in _CODES.items()},
            "aggregation": {"span_s": settings.data["span_s"]},
            "judges_noise": True,
            "training_data": settings.data["statement"],
            "licence": settings.data["licence"],
        }

    def score(
        self, labels: NDArray[np.int64], decided: NDArray[np.int64], classes: tuple[str, ...]
    ) -> dict[str, float]:
        """Return the score of the CinC challenge 2017 (mean F1 of normal, fibrillation, other) and what is behind it."""
        found = class_scores(labels, decided, classes)
        counts = confusion(labels, decided, len(classes))
        fibrillation = classes.index("A")
        others = np.delete(counts, fibrillation, axis=0)
        specificity = 1.0 - others[:, fibrillation].sum() / max(1, int(others.sum()))
        challenge = float(np.mean([found[f"f1_{name}"] for name in ("N", "A", "O")]))
        return {"challenge": challenge, "sp_A": float(specificity), **found}


def _convolved(layers: Any, value: Any, n_channels: int, kernel: int, stride: int) -> Any:
    """Return a convolution without bias and its normalisation."""
    value = layers.Conv1D(n_channels, kernel, strides=stride, padding="same", use_bias=False)(value)
    # Some hundred batches an epoch: a long memory would still hold the first weights when the last epoch ends.
    return layers.BatchNormalization(momentum=0.95)(value)


def _residual(layers: Any, value: Any, n_channels: int, kernel: int, dropout: float) -> Any:
    """Return a block of two convolutions, half as long, beside what went in."""
    inner = layers.ReLU()(_convolved(layers, value, n_channels, kernel, 2))
    inner = _convolved(layers, layers.SpatialDropout1D(dropout)(inner), n_channels, kernel, 1)
    outer = layers.MaxPooling1D(2, padding="same")(value)
    if value.shape[-1] != n_channels:
        outer = _convolved(layers, outer, n_channels, 1, 1)
    return layers.ReLU()(layers.Add()([outer, inner]))


RECIPE = Rhythm()
"""The recipe, for `converter.recipes.find_recipe`."""
