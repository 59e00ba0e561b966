"""What a recipe has to say to be trained: where its examples come from, what its network is, what its card says.

A recipe is a class that inherits `Recipe`, with one instance named ``RECIPE`` in its module, and a TOML file of the same
name beside it.  It must give `examples`, `inputs`, `build` and `card`; everything else has a default that suits one
plain network: `augment`, `fit`, `predict`, `score`.  An ensemble, a distilled network or another loss replaces `fit`.

The trainer (`converter.train`) calls, for each fold and seed::

    examples()  once                    raw features, samples as the runtime's stages cut them
    inputs()    once                    what the card says of the inputs; knots are learned from the training part
    fit()       on scaled examples      -> Fitted; fit() itself calls build() and augment()
    predict()   on the fold held out    -> logits, kept as out-of-fold predictions
    score()     on all of those         -> metrics, mean and spread over the seeds

and at last `fit` once more on everything.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from converter.augment import NoiseBank, augment
from converter.examples import Examples
from converter.fitting import Fitted, fit_network, predict_logits, set_seed
from converter.recipes.settings import RecipeSettings
from converter.scoring import class_scores
from edge.inference.card_inputs import SamplesInput, TensorInput
from edge.messages import Json

Inputs = Mapping[str, NDArray[np.float32]]
"""Batch of inputs by tensor name, first axis the examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureNames:
    """An input of named numbers, before their knots are learned; its tensor has one column a name, in this order."""

    name: str
    """Name of the input tensor."""
    features: tuple[str, ...]
    """Keys in `edge.messages.Window.features`."""


InputPlan = SamplesInput | TensorInput | FeatureNames


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One training: what is learned from, and what decides when to stop."""

    train: Examples
    """Scaled, every label known."""
    held: Examples | None
    """Scaled examples of other patients, for early stopping; None trains for a fixed number of epochs.
    Never the examples that the result is judged by."""
    seed: int
    inputs: tuple[InputPlan, ...]
    noise: NoiseBank
    """Noise at the rate of the windows; empty where the settings ask for none."""
    on_epoch: Callable[[int, Mapping[str, float]], None] = field(default=lambda _epoch, _figures: None)
    """Called after each epoch with its number from 1 and its figures."""


class Recipe(Protocol):
    """A recipe; inherit it and fill in the four methods without a body."""

    name: str
    """Of the module, the TOML file and the bundle."""
    task: str = "other"
    """What the runtime uses the model for: ``beat``, ``rhythm`` or ``other``."""

    @abstractmethod
    def examples(self, data: Path, settings: RecipeSettings, *, jobs: int) -> Examples:
        """Return everything there is to learn from below `data`, with raw features."""

    @abstractmethod
    def inputs(self, settings: RecipeSettings, examples: Examples) -> tuple[InputPlan, ...]:
        """Return what the model's inputs are, one for each of ``examples.inputs``."""

    @abstractmethod
    def build(self, settings: RecipeSettings, examples: Examples) -> Any:
        """Return a fresh keras model: inputs named as in ``examples.inputs`` (scaled), one output, the logits."""

    @abstractmethod
    def card(self, settings: RecipeSettings) -> Mapping[str, Json]:
        """Return what the bundle's card takes from the recipe.

        Keys ``preprocessing`` (what the runtime's stage says of itself), ``codes`` (class to system to code),
        ``aggregation`` (or None), ``training_data``, ``licence``; `converter.trained.Trained` holds the rest.
        """

    def augment(self, inputs: Inputs, settings: RecipeSettings, fold: Fold, rng: np.random.Generator) -> Inputs:
        """Return a batch as the next epoch shall see it; by default every signal input is augmented by itself.

        Replace it where two inputs show the same signal and must be changed alike.
        """
        rates_hz = {plan.name: plan.rate_hz for plan in fold.inputs if isinstance(plan, SamplesInput)}
        return {
            name: augment(values, settings.augment, fold.noise, rng, rate_hz=rates_hz[name])
            if name in rates_hz
            else values
            for name, values in inputs.items()
        }

    def fit(self, settings: RecipeSettings, fold: Fold) -> Fitted:
        """Return a trained model; by default one network as `build` gives it.

        Replace it for an ensemble that is distilled, for another loss, for stages.  `set_seed` comes first, so that a
        network follows from its seed; `fit_network` is at hand for each part.
        """
        set_seed(fold.seed)
        return fit_network(
            self.build(settings, fold.train),
            fold.train,
            fold.held,
            settings.fit,
            seed=fold.seed,
            change=lambda inputs, rng: self.augment(inputs, settings, fold, rng),
            on_epoch=fold.on_epoch,
        )

    def predict(self, fitted: Fitted, inputs: Inputs) -> NDArray[np.float32]:
        """Return the logits of scaled inputs, shape (n, n_classes)."""
        return predict_logits(fitted.model, inputs)

    def score(
        self, labels: NDArray[np.int64], decided: NDArray[np.int64], classes: tuple[str, ...]
    ) -> dict[str, float]:
        """Return the metrics of decisions; the first is the one by which settings are chosen.

        Parameters
        ----------
        labels, decided : ndarray of int
            True class and decision, of examples or, where there are bags, of bags; -1 is an abstention.
        classes : tuple of str
            Their names.
        """
        return class_scores(labels, decided, classes)
