"""Raw examples -> what the tensors of a model take, by the very functions that the device uses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converter.examples import Examples
from converter.recipes.base import FeatureNames, InputPlan
from edge.inference.card_inputs import FeatureCard, FeaturesInput, SamplesInput, TensorInput
from edge.inference.predictor import z_score
from edge.inference.scaling import knots_of, scale_matrix

Card = SamplesInput | FeaturesInput | TensorInput


def learn_inputs(plans: Sequence[InputPlan], train: Examples) -> tuple[Card, ...]:
    """Return the inputs as the bundle's card states them, the knots of the features learned from `train`.

    Raises
    ------
    ValueError
        If an input of the examples has no plan, or its shape is another.
    """
    missing = set(train.inputs) ^ {plan.name for plan in plans}
    if missing:
        raise ValueError(f"expected a plan for each of {sorted(train.inputs)}, differs in {sorted(missing)}")
    cards: list[Card] = []
    for plan in plans:
        values = train.inputs[plan.name]
        shape = (len(plan.features),) if isinstance(plan, FeatureNames) else plan.shape
        if values.shape[1:] != shape:
            raise ValueError(f"input {plan.name!r}: expected examples of shape {shape}, got {values.shape[1:]}")
        if isinstance(plan, FeatureNames):
            features = tuple(
                FeatureCard(name=name, knots=_knots(values[:, column])) for column, name in enumerate(plan.features)
            )
            cards.append(FeaturesInput(name=plan.name, features=features))
        else:
            cards.append(plan)
    return tuple(cards)


def scale(examples: Examples, cards: Sequence[Card]) -> Examples:
    """Return `examples` as the model sees them: features on −1 to 1, samples normalised where the card says so."""
    inputs = {}
    for card in cards:
        values = examples.inputs[card.name]
        if isinstance(card, FeaturesInput):
            inputs[card.name] = scale_matrix(values, [each.knots for each in card.features])
        elif isinstance(card, SamplesInput) and card.normalise == "z-score":
            inputs[card.name] = _normalised(values)
        else:
            inputs[card.name] = np.asarray(values, dtype=np.float32)
    return examples.with_inputs(inputs)


def _normalised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return windows with mean 0 and standard deviation 1; a flat one, which the device does not show, becomes 0."""
    normalised = [z_score(window.astype(np.float64)) for window in values]
    return np.stack(
        [np.zeros_like(window) if found is None else found for window, found in zip(values, normalised, strict=True)]
    ).astype(np.float32)


def _knots(population: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the knots; of a feature that never varies here, a range in which its one value is the middle."""
    known = population[np.isfinite(population)].astype(np.float64)
    if not len(known) or known.min() == known.max():
        middle = float(known[0]) if len(known) else 0.0
        reach = max(1.0, abs(middle))
        return (middle - reach, middle + reach)
    return knots_of(population)
