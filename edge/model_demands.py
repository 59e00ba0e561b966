"""From the configuration to what a model must be, and to where the models of this gateway are kept."""

from __future__ import annotations

from pathlib import Path

from edge.clock import Clock
from edge.config_sections import Config, Model
from edge.errors import ModelContractError
from edge.features.beat_windows import BeatWindows
from edge.features.rhythm_windows import RhythmWindows
from edge.inference.bundle import Bundle, builtin_bundle, load_bundle, trusted_keys
from edge.inference.classifier import ClassifierSettings
from edge.inference.lifecycle import ModelDemands
from edge.messages import Json
from edge.model_store import ModelStore

OWN_MODELS = ("beat", "rhythm")
"""The models that the runtime has stages and rules for; a bundle of each comes with this software."""


def model_demands(name: str, config: Config) -> ModelDemands:
    """Return what a bundle must be to be used as the model `name`.

    Raises
    ------
    ModelContractError
        If a file of trusted keys cannot be read.
    """
    return ModelDemands(
        task=name if name in OWN_MODELS else "other",
        preprocessing=preprocessing_of(name),
        trust=trusted_keys([Path(file) for file in config.models.trusted_keys]),
        allow_unsigned=config.models.allow_unsigned,
        backend=config.model.get(name, Model()).backend,
        settings=ClassifierSettings(min_quality=config.ecg.min_quality),
    )


def preprocessing_of(name: str) -> dict[str, Json] | None:
    """Return what the stage that feeds a model says of its windows; None of a model of somebody's own."""
    if name == "beat":
        return BeatWindows().describe()
    return RhythmWindows().describe() if name == "rhythm" else None


def builtin_of(name: str) -> Path | None:
    """Return the bundle that came with this software; None where none did."""
    return builtin_bundle(name) if name in OWN_MODELS else None


def own_bundle(name: str, config: Config) -> Bundle | None:
    """Return the bundle that came with this software; None where there is none that can be used."""
    path = builtin_of(name)
    if path is None:
        return None
    try:
        return load_bundle(path, model_demands(name, config).trust)
    except ModelContractError:
        return None


def store_folder(config: Config) -> Path:
    """Return where the models of this gateway are kept: as configured, or beside the outbox."""
    return Path(config.models.path) if config.models.path else Path(config.outbox.path).parent / "models"


def model_store(config: Config, clock: Clock, folder: Path | None = None) -> ModelStore:
    """Return the store of this gateway's models; `folder` wins over the configuration."""
    return ModelStore(folder or store_folder(config), clock, builtin=builtin_bundle)
