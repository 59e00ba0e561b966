"""What a model bundle says about itself: the contents of ``manifest.json``, checked field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config

from edge.inference.quantization import INT8_MAX, INT8_MIN

FORMAT_VERSION = 1
GOLDEN_TOLERANCE_LSB = 8
"""Largest difference between a golden output and ours, in steps of the output.  Default: kernels of different runtimes
differed by at most 6 over 2400 comparisons."""

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$")]
"""A plain name: no path leads out of the bundle."""
Text = Annotated[str, Field(min_length=1, max_length=200)]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of the bundle, as it must be."""

    n_bytes: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class InputCard:
    """What the model wants to see."""

    name: Text
    """Name of the input tensor in the model file."""
    n_samples: Annotated[int, Field(gt=0, le=1_000_000)]
    """Samples in a window."""
    channels: Annotated[tuple[Text, ...], Field(min_length=1, max_length=64)]
    """Kinds of channel, one per column, such as ``ecg``."""
    rate_hz: Annotated[float, Field(ge=0.1, le=100_000)]
    """Sampling rate of a window."""
    unit: Text
    """UCUM unit of the values before `normalise`."""
    normalise: Literal["none", "z-score"] = "none"
    """``z-score`` takes each channel's mean off and divides by its standard deviation, window by window."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the input tensor: one window, samples, channels."""
        return (1, self.n_samples, len(self.channels))


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCard:
    """What the model answers: one probability per label."""

    name: Text
    """Name of the output tensor in the model file."""
    labels: Annotated[tuple[Text, ...], Field(min_length=2, max_length=100)]
    """WFDB rhythm names or AAMI classes, in the order of the output."""
    thresholds: Mapping[Text, Annotated[float, Field(ge=0, le=1)]]
    """Smallest probability at which each label is said; below it the model abstains."""

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"expected labels that differ, got {', '.join(self.labels)}")
        if set(self.thresholds) != set(self.labels):
            raise ValueError(
                f"expected a threshold for each label ({', '.join(self.labels)}), got {', '.join(self.thresholds)}"
            )


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The whole manifest of a bundle."""

    format_version: Annotated[int, Field(ge=1, le=FORMAT_VERSION)]
    name: Text
    version: Text
    files: Mapping[FileName, FileEntry]
    """Every file of the bundle but the manifest; no other is ever opened."""
    model: FileName
    """Which of them is the TFLite model."""
    golden: FileName
    """Which of them holds the golden windows."""
    input: InputCard
    output: OutputCard
    signature: None = None
    """Room for the signature of a later format; in format 1 a bundle is unsigned, and says so."""

    def __post_init__(self) -> None:
        for name in (self.model, self.golden):
            if name not in self.files:
                raise ValueError(f"expected {name} among files, got {', '.join(self.files) or 'none'}")

    @property
    def title(self) -> str:
        """Name and version, for people."""
        return f"{self.name} {self.version}"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenWindow:
    """A window and what the model answered to it where it was made."""

    values: tuple[tuple[float, ...], ...]
    """Samples by channels, in the unit of the input, before `InputCard.normalise`."""
    output: tuple[Annotated[int, Field(ge=INT8_MIN, le=INT8_MAX)], ...]
    """The int8 output."""
