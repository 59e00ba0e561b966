"""Which bundle a model is opened from: the promoted one, else the one before, else the one that came with the software.

One that is refused never stops the monitoring: the next is tried, and where none is left the rules go on alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ModelContractError, ModelFault
from edge.inference.bundle import Bundle
from edge.inference.lifecycle import ModelDemands, OpenedModel, open_model
from edge.model_state import Chosen, Slot
from edge.model_store import ModelStore, Verify

_log = logging.getLogger(__name__)

OPEN_AT_MOST_S = 20.0
"""Real seconds for verifying a bundle and its golden windows.  Default: hundreds of times what the reference models
take on a desktop machine; a runtime that hangs must not keep the monitoring from starting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A bundle that was not taken, and why."""

    path: Path
    slot: Slot | None
    why: str
    reason: ModelFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The model that is used."""

    opened: OpenedModel
    chosen: Chosen
    refusals: tuple[Refusal, ...] = ()
    """Those that would have come first."""


def candidates(model: str, store: ModelStore | None, builtin: Path | None) -> list[Chosen]:
    """Return where a model can be opened from, the first choice first.

    Parameters
    ----------
    model : str
        Name of the model.
    store : ModelStore, optional
        What was promoted; None looks at nothing but `builtin`.
    builtin : Path, optional
        The bundle that came with the software; None where none did.
    """
    found = [] if store is None else [store.in_use(model), store.before(model)]
    promoted = [chosen for chosen in found if chosen.slot is not None]
    return promoted if builtin is None else [*promoted, Chosen(path=builtin, slot=None)]


def choose_model(model: str, places: Sequence[Chosen], demands: ModelDemands) -> Choice:
    """Return the first model that can be used.

    Raises
    ------
    ModelContractError
        If there is none; with the reason of the first choice.
    """
    refusals: list[Refusal] = []
    first: ModelContractError | None = None
    for chosen in places:
        try:
            opened = open_chosen(chosen, demands)
        except ModelContractError as error:
            _log.error("model.refused model=%s path=%s reason=%s error=%s", model, chosen.path, error.reason, error)
            refusals.append(Refusal(path=chosen.path, slot=chosen.slot, why=str(error), reason=error.reason))
            first = first or error
        else:
            return Choice(opened=opened, chosen=chosen, refusals=tuple(refusals))
    raise first or ModelContractError(
        f"no model named {model} comes with this software",
        reason=ModelFault.MISSING,
        hint=f"give the directory of its bundle as model.{model}.bundle, or promote one",
    )


def open_chosen(chosen: Chosen, demands: ModelDemands, *, at_most_s: float = OPEN_AT_MOST_S) -> OpenedModel:
    """Return the model of a bundle, proven, and the very one that was promoted.

    Raises
    ------
    ModelContractError
        If it is refused, is another than the store says, or takes longer than `at_most_s`.
    """
    opened = _in_time(chosen.path, demands, at_most_s)
    if chosen.slot is not None and opened.bundle.sha256 != chosen.slot.sha256:
        raise ModelContractError(
            f"{chosen.path}: is not the bundle that was staged: expected manifest {chosen.slot.sha256[:12]}, "
            f"got {opened.bundle.sha256[:12]}",
            reason=ModelFault.DAMAGED,
        )
    return opened


def verify_with(demands: ModelDemands) -> Verify:
    """Return what proves a bundle for the store (`ModelStore.stage`, `ModelStore.promote`)."""

    def verify(path: Path, model: str) -> Bundle:  # noqa: ARG001 -- the demands name the task
        return _in_time(path, demands, OPEN_AT_MOST_S).bundle

    return verify


def _in_time(path: Path, demands: ModelDemands, at_most_s: float) -> OpenedModel:
    """Open a model in a thread that can be left behind."""
    found: list[OpenedModel] = []
    faults: list[ModelContractError] = []

    def work() -> None:
        try:
            found.append(open_model(path, demands))
        except ModelContractError as error:
            faults.append(error)
        except Exception as error:  # noqa: BLE001 -- whatever a runtime does, it must not stop the monitoring
            faults.append(ModelContractError(f"{path}: cannot be opened: {type(error).__name__}: {error}"))

    thread = threading.Thread(target=work, name="model-opening", daemon=True)
    thread.start()
    thread.join(at_most_s)
    if faults:
        raise faults[0]
    if not found:
        raise ModelContractError(
            f"{path}: its golden windows were not done within {at_most_s:g} s", reason=ModelFault.RUNTIME
        )
    return found[0]
