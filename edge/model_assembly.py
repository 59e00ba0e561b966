"""From the configuration to the models in use: which bundle, and what it is fed with.

A model that cannot be used is refused with a reason; nothing of that stops the monitoring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.clock import Clock, SystemClock
from edge.config import Config
from edge.config_sections import Model
from edge.errors import ModelContractError, ModelFault
from edge.features.beat_windows import BeatWindowsSettings
from edge.features.rhythm_windows import RhythmWindowsSettings
from edge.features.windows import WindowSettings
from edge.inference.lifecycle import WindowStage
from edge.model_choice import Choice, candidates, choose_model
from edge.model_demands import OWN_MODELS, builtin_of, model_demands, model_store, own_bundle
from edge.model_lanes import ServedModel, answering
from edge.model_state import Chosen
from edge.model_store import ModelStore
from edge.model_windows import ModelWindowsSettings

AUTO, BUILTIN, OFF = "auto", "builtin", "none"
"""What ``model.NAME.bundle`` may say besides a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedModel:
    """One model that is configured and cannot be used."""

    why: str
    reason: ModelFault
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsInUse:
    """All models; monitoring by rule goes on whatever is in here."""

    used: Mapping[str, ServedModel] = field(default_factory=dict)
    """By name; each was proven on this machine."""
    refused: Mapping[str, RefusedModel] = field(default_factory=dict)
    windows: ModelWindowsSettings = field(default_factory=ModelWindowsSettings)
    """What they are to be shown."""
    store: ModelStore | None = None
    """Where promotions are kept."""

    def classifiers(self) -> dict[str, WindowStage]:
        """Return a classifier of each model for one more stream, which answers at once: for replay."""
        return {name: answering(model.choice.opened) for name, model in self.used.items()}

    def statuses(self) -> dict[str, str]:
        """Return what ``birth`` says of each model."""
        told = {name: model.choice.opened.title for name, model in self.used.items()}
        told |= {name: f"refused: {refused.why}" for name, refused in self.refused.items()}
        return {name: told.get(name, "switched off") for name in sorted({*told, *OWN_MODELS})}

    @property
    def status(self) -> str:
        """What people are told of all of them in one line."""
        return "; ".join(f"{name}: {words}" for name, words in self.statuses().items())


def models_in_use(config: Config, clock: Clock | None = None, *, without: str = "") -> ModelsInUse:
    """Return every model that is configured or came with this software, verified and tried on its golden windows.

    Parameters
    ----------
    config : Config
        Which bundles, and whose signature is trusted.
    clock : Clock, optional
        For the store of promoted models; the machine's by default.
    without : str
        Why this run is to go without models (`model_service.note_start`); empty where it is not.
    """
    store = model_store(config, clock or SystemClock())
    used: dict[str, ServedModel] = {}
    refused: dict[str, RefusedModel] = {}
    for name in sorted({*OWN_MODELS, *config.model}):
        settings = config.model.get(name, Model())
        if settings.bundle == OFF:
            continue
        if without:
            refused[name] = RefusedModel(why=without, reason=ModelFault.OTHER)
            continue
        try:
            used[name] = _served(name, settings, config, store)
        except ModelContractError as error:
            refused[name] = RefusedModel(why=str(error), reason=error.reason, hint=error.hint)
    others = {name: _plain_windows(name, model, config) for name, model in used.items() if name not in OWN_MODELS}
    windows = ModelWindowsSettings(
        beat=BeatWindowsSettings() if "beat" in used else None,
        rhythm=RhythmWindowsSettings() if "rhythm" in used else None,
        others=others,
    )
    return ModelsInUse(used=used, refused=refused, windows=windows, store=store)


def _served(name: str, settings: Model, config: Config, store: ModelStore) -> ServedModel:
    demands = model_demands(name, config)
    is_named = settings.bundle not in {AUTO, BUILTIN}
    is_from_store = settings.bundle == AUTO and name in OWN_MODELS
    builtin = None if is_named else builtin_of(name)
    places = candidates(name, store if is_from_store else None, builtin)
    if is_named:
        places = [Chosen(path=Path(settings.bundle), slot=None)]
    choice = choose_model(name, places, demands)
    if is_named:
        store.refuse_replay(name, choice.opened.bundle, own=own_bundle(name, config))
    if name not in OWN_MODELS:
        _check_plain(choice, settings)
    return ServedModel(
        choice=choice,
        demands=demands,
        deadline_s=settings.deadline_s,
        builtin=builtin,
        is_from_store=is_from_store,
    )


def _check_plain(choice: Choice, settings: Model) -> None:
    samples = choice.opened.bundle.card.samples
    wanted_s = samples.n_samples / samples.rate_hz
    if abs(wanted_s - settings.window_s) > 1e-6 * wanted_s:
        raise ModelContractError(
            f"{choice.chosen.path}: window_s = {settings.window_s:g} configured, the model wants {wanted_s:g}",
            reason=ModelFault.MISMATCH,
        )


def _plain_windows(name: str, model: ServedModel, config: Config) -> WindowSettings:
    settings = config.model[name]
    rate_hz = model.choice.opened.bundle.card.samples.rate_hz
    return WindowSettings(window_s=settings.window_s, hop_s=settings.hop_s, rate_hz=rate_hz)
