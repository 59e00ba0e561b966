"""What a model wants to see: its inputs, each bound to a tensor of the model file by name."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""Of every part of a manifest: no unknown key, no conversion, no infinity."""

Text = Annotated[str, Field(min_length=1, max_length=200)]
Length = Annotated[int, Field(gt=0, le=1_000_000)]

LEAST_STEP = 1e-9
"""Between two knots; a steeper scale would make two readings of the same number differ."""
MOST_VALUES = 16_000_000
"""Values of one input; a picture of 2048 x 2048 in three colours still fits."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesInput:
    """A stretch of the signal."""

    name: Text
    """Name of the input tensor, with or without what the converter put around it (``serving_default_…:0``)."""
    n_samples: Length
    """Samples in a window."""
    channels: Annotated[tuple[Text, ...], Field(min_length=1, max_length=64)]
    """Kinds of channel, one per column, such as ``ecg``."""
    rate_hz: Annotated[float, Field(ge=0.1, le=100_000)]
    """Sampling rate of a window."""
    unit: Text
    """UCUM unit of the values before `normalise`."""
    normalise: Literal["none", "z-score"] = "none"
    """``z-score`` takes each channel's mean off and divides by its standard deviation, window by window."""
    kind: Literal["samples"] = "samples"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, without the axis of the batch: samples, channels."""
        return (self.n_samples, len(self.channels))


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCard:
    """One named number and how it is brought onto −1 to 1 (`scaling`)."""

    name: Text
    """Key in `Window.features`."""
    knots: Annotated[tuple[Annotated[float, Field(ge=-1e12, le=1e12)], ...], Field(min_length=2, max_length=1025)]
    """Quantiles of the training population, strictly ascending; the first stands for −1, the last for 1."""

    def __post_init__(self) -> None:
        for low, high in itertools.pairwise(self.knots):
            if not high - low >= LEAST_STEP:
                raise ValueError(f"expected knots that ascend by at least {LEAST_STEP:g}, got {low!r} before {high!r}")


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesInput:
    """Named numbers beside the samples, in the order of the tensor."""

    name: Text
    """Name of the input tensor."""
    features: Annotated[tuple[FeatureCard, ...], Field(min_length=1, max_length=1000)]
    kind: Literal["features"] = "features"

    def __post_init__(self) -> None:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError(f"expected features whose names differ, got {', '.join(names)}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, without the axis of the batch."""
        return (len(self.features),)


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInput:
    """Anything else, such as a picture; its values go into the tensor as they are."""

    name: Text
    """Name of the input tensor."""
    shape: Annotated[tuple[Length, ...], Field(min_length=1, max_length=6)]
    """Shape of one example, without the axis of the batch."""
    kind: Literal["tensor"] = "tensor"

    def __post_init__(self) -> None:
        n_values = 1
        for length in self.shape:
            n_values *= length
        if n_values > MOST_VALUES:
            raise ValueError(f"expected at most {MOST_VALUES} values, got {n_values}")


InputCard = Annotated[SamplesInput | FeaturesInput | TensorInput, Field(discriminator="kind")]
