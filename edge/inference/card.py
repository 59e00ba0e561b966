"""What a model bundle says about itself: the contents of ``manifest.json``, checked field by field (format 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, JsonValue, with_config

from edge.inference.card_inputs import (
    STRICT,
    FeatureCard,
    FeaturesInput,
    InputCard,
    SamplesInput,
    TensorInput,
    Text,
)

__all__ = [
    "FORMAT_VERSION",
    "MAX_TOTAL_BYTES",
    "AbstentionCard",
    "AggregationCard",
    "FeatureCard",
    "FeaturesInput",
    "FileEntry",
    "InputCard",
    "ModelCard",
    "OutputCard",
    "ReferenceCard",
    "SamplesInput",
    "TensorInput",
]

FORMAT_VERSION = 2
MAX_TOTAL_BYTES = 64_000_000
"""Of all files of a bundle; models for such devices are below 1 MB."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$")]
"""A plain name: no path leads out of the bundle."""
LongText = Annotated[str, Field(min_length=1, max_length=20_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Logit = Annotated[float, Field(ge=-100, le=100)]


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of the bundle, as it must be."""

    n_bytes: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCard:
    """What the model answers, and how an answer becomes a label."""

    name: Text
    """Name of the output tensor."""
    labels: Annotated[tuple[Text, ...], Field(min_length=2, max_length=1000)]
    """AAMI classes, WFDB rhythm names or others, in the order of the output."""
    thresholds: Mapping[Text, Share]
    """Smallest probability at which each label is said; below it the model abstains."""
    codes: Mapping[Text, Mapping[Text, Text]] = field(default_factory=dict)
    """For a label its code in each system of codes, such as ``{"A": {"snomed": "49436004"}}``."""
    activation: Literal["none", "softmax"] = "none"
    """What the output is: ``none``, logits; ``softmax``, probabilities, whose logarithm stands for the logits."""
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    """Calibration: probabilities are ``softmax((logits + bias) / temperature)``."""
    bias: Mapping[Text, Logit] = field(default_factory=dict)
    """Added to the logit of a label; 0 for a label that is not named."""

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"expected labels that differ, got {', '.join(self.labels)}")
        if set(self.thresholds) != set(self.labels):
            raise ValueError(
                f"expected a threshold for each label ({', '.join(self.labels)}), got {', '.join(self.thresholds)}"
            )
        _known("codes", self.codes, self.labels)
        _known("bias", self.bias, self.labels)


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationCard:
    """How the answers to several windows become one."""

    span_s: Annotated[float, Field(gt=0, le=3600)]
    """The decision is on the mean of the logits of the windows that lie wholly in the last so many seconds."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class AbstentionCard:
    """When the model says nothing although it was asked, or is not asked at all."""

    min_energy: float | None = None
    """Smallest energy (logarithm of the sum of the exponentials of the logits) that is not ``unfamiliar``."""
    max_outside: Share | None = None
    """Largest share of features outside the first and last of their knots that is not ``unfamiliar``."""
    judges_noise: bool = False
    """True where a label of the model says that the signal is too noisy: then low quality is shown to it too."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCard:
    """What the model said of the population it was validated on: what drift is measured against."""

    labels: Mapping[Text, Share]
    """Share of the windows that each label was the likeliest of, thresholds apart."""
    n_windows: Annotated[int, Field(ge=1)]
    """How many windows these shares are from."""
    abstained: Share = 0.0
    """Share of the windows for which it abstained."""
    energy: tuple[float, ...] = ()
    """Energy at equally spaced quantiles from the least to the largest, or nothing."""
    outside: Share | None = None
    """Mean share of features outside their knots."""

    def __post_init__(self) -> None:
        if any(low > high for low, high in zip(self.energy, self.energy[1:], strict=False)):
            raise ValueError("expected quantiles of energy that ascend")
        total = sum(self.labels.values())
        if abs(total - 1) > 0.01:
            raise ValueError(f"expected shares of the labels that add up to 1, got {total:g}")


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The whole manifest of a bundle."""

    format_version: Literal[2]
    name: Text
    version: Text
    """For people, such as ``1.2.0``."""
    release: Annotated[int, Field(ge=1, le=2**53)]
    """Only ever goes up from one bundle of this task to the next: an older one cannot be played back."""
    task: Literal["beat", "rhythm", "other"]
    """Which windows it looks at (`Window.model`); ``other`` is none of the runtime's."""
    created: date
    """Day on which it was made."""
    files: Annotated[Mapping[FileName, FileEntry], Field(max_length=64)]
    """Every file of the bundle but manifest and signature; no other is ever opened."""
    model: FileName
    """Which of them is the TFLite model."""
    golden: FileName
    """Which of them holds the golden vectors."""
    preprocessing: Mapping[Text, JsonValue]
    """What made the windows that it was trained on: ``stage``, such as ``beat-windows/1``, and its settings."""
    inputs: Annotated[tuple[InputCard, ...], Field(min_length=1, max_length=16)]
    output: OutputCard
    aggregation: AggregationCard | None = None
    """None: each window is decided by itself."""
    abstention: AbstentionCard = AbstentionCard()
    reference: ReferenceCard | None = None
    training_data: LongText
    """What it was trained on, by name and number of persons."""
    licence: LongText
    """Of the model, and of the data where it matters."""
    metrics: Mapping[Text, float]
    """Figures of the int8 model, by name, such as ``beat.V.sensitivity``; how they were measured: ``MODEL_CARD.md``."""

    def __post_init__(self) -> None:
        for name in (self.model, self.golden):
            if name not in self.files:
                raise ValueError(f"expected {name} among files, got {', '.join(self.files) or 'none'}")
        n_bytes = sum(entry.n_bytes for entry in self.files.values())
        if n_bytes > MAX_TOTAL_BYTES:
            raise ValueError(f"expected files of at most {MAX_TOTAL_BYTES} bytes together, got {n_bytes}")
        if {"manifest.json", "manifest.sig"} & {name.lower() for name in self.files}:
            raise ValueError("expected files without the manifest and its signature")
        if type(self.preprocessing.get("stage")) is not str:
            raise ValueError("expected preprocessing.stage, the name of the stage that makes the windows")
        names = [each.name for each in self.inputs]
        if len(set(names)) != len(names):
            raise ValueError(f"expected inputs whose names differ, got {', '.join(names)}")
        if self.task != "other" and not self.takes_windows:
            kinds = ", ".join(each.kind for each in self.inputs)
            raise ValueError(f"expected one samples input and otherwise features, got {kinds}")
        if self.reference is not None:
            _known("reference.labels", self.reference.labels, self.output.labels)

    @property
    def title(self) -> str:
        """Name and version, for people."""
        return f"{self.name} {self.version}"

    @property
    def takes_windows(self) -> bool:
        """Whether it looks at windows of a signal: one input of samples, and any others of features."""
        kinds = [each.kind for each in self.inputs]
        return kinds.count("samples") == 1 and set(kinds) <= {"samples", "features"}

    @property
    def samples(self) -> SamplesInput:
        """The input for the signal: the rate and length of window that the model wants.

        Raises
        ------
        ValueError
            If the model takes no signal.
        """
        for each in self.inputs:
            if isinstance(each, SamplesInput):
                return each
        raise ValueError(f"expected a model of signals, {self.title} is none")

    @property
    def features(self) -> tuple[FeatureCard, ...]:
        """The named numbers that it takes, input by input in the order of the tensors; empty where it takes none."""
        return tuple(feature for each in self.inputs if isinstance(each, FeaturesInput) for feature in each.features)


def preprocessing_differences(card: Mapping[str, JsonValue], stage: Mapping[str, JsonValue]) -> list[str]:
    """Return in words where a stage makes other windows than the card was trained on; empty where it makes the same.

    Examples
    --------
    >>> preprocessing_differences({"stage": "beat-windows/1", "rate_hz": 125.0}, {"stage": "beat-windows/1"})
    ['rate_hz: the model wants 125.0, this software has nothing']
    """
    found = []
    for key in sorted({*card, *stage}):
        wanted, given = card.get(key, _NOTHING), stage.get(key, _NOTHING)
        if _plain(wanted) != _plain(given):
            found.append(f"{key}: the model wants {wanted}, this software has {given}")
    return found


_NOTHING = "nothing"


def _plain(value: object) -> object:
    """Return a JSON value with its tuples as lists, as they come back from a file."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _known(what: str, named: Mapping[str, object], labels: tuple[str, ...]) -> None:
    strange = sorted(set(named) - set(labels))
    if strange:
        raise ValueError(f"{what}: expected labels of the output ({', '.join(labels)}), got {', '.join(strange)}")
