"""Pictures by class folder: a small convolutional network, to show that nothing here is bound to the ECG.

The layers are two convolutions of 32 and 64 channels, each halved by its maximum, 128 hidden units and one output a
class.  Flattened as they are, 256 × 256 pixels come to 62 × 62 × 64 values and 31.5 million weights for the hidden units;
``model.pool_px`` takes the mean of squares of the last grid first (7 gives 8 × 8 × 64 and 0.5 million), 1 leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converter.datasets.images import INPUT, image_examples
from converter.examples import Examples
from converter.keras_backend import load_keras
from converter.recipes.base import InputPlan, Recipe
from converter.recipes.settings import RecipeSettings
from edge.inference.card_inputs import TensorInput
from edge.messages import Json


class ImageFolder(Recipe):
    """Which class a picture is of."""

    name = "image_folder"
    task = "other"

    def examples(self, data: Path, settings: RecipeSettings, *, jobs: int) -> Examples:
        """Return the pictures below `data`, one folder a class."""
        return image_examples(data, size_px=settings.data["size_px"], n_colours=settings.data["n_colours"], jobs=jobs)

    def inputs(self, settings: RecipeSettings, examples: Examples) -> tuple[InputPlan, ...]:  # noqa: ARG002 - the protocol
        """Return the one input, the picture."""
        size_px = settings.data["size_px"]
        return (TensorInput(name=INPUT, shape=(size_px, size_px, settings.data["n_colours"])),)

    def build(self, settings: RecipeSettings, examples: Examples) -> Any:
        """Return the network."""
        keras = load_keras()
        layers, model = keras.layers, settings.model
        image = keras.Input(examples.inputs[INPUT].shape[1:], name=INPUT)
        value = image
        for n_channels in model["channels"]:
            value = layers.Conv2D(n_channels, 3, activation="relu")(value)
            value = layers.MaxPooling2D(2)(value)
        if model["pool_px"] > 1:
            value = layers.AveragePooling2D(model["pool_px"])(value)
        value = layers.Dense(model["hidden"], activation="relu")(layers.Reshape((-1,))(value))
        value = layers.Dropout(model["dropout"])(value)
        return keras.Model(image, layers.Dense(len(examples.classes), name="logits")(value))

    def card(self, settings: RecipeSettings) -> Mapping[str, Json]:
        """Return what the bundle says of pictures."""
        return {
            "preprocessing": {
                "stage": "picture/1",
                "size_px": settings.data["size_px"],
                "n_colours": settings.data["n_colours"],
                "range": [0, 1],
            },
            "codes": {},
            "aggregation": None,
            "training_data": settings.data["statement"],
            "licence": settings.data["licence"],
        }


RECIPE = ImageFolder()
