"""What the store of models remembers: which bundle is in use, which came before, which waits.

One small JSON file, written as a whole.  It holds no paths: a bundle's folder is its hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, with_config

from edge.errors import ModelContractError, ModelFault
from edge.inference.bundle import Bundle

STATE_VERSION = 1
MAX_EVENTS = 100
"""Newest steps that are kept; enough to see what happened to a gateway in years."""

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
"""``beat``, ``rhythm``, or what somebody called a model of their own."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=500)]
Maker = Annotated[str, Field(pattern=r"^([0-9a-f]{16}|unsigned)$")]
"""Identifier of the key that signed a bundle."""

Step = Literal["stage", "shadow", "promote", "rollback", "confirm"]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One bundle in the store."""

    sha256: Sha256
    """Of its manifest: it names the bundle and its folder."""
    title: Text
    release: Annotated[int, Field(ge=0)]
    at: Text
    """When it came into this slot, ISO 8601 by the wall clock of the gateway."""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Below which nothing of one maker comes in again."""

    release: Annotated[int, Field(ge=0)]
    sha256: Sha256
    """The bundle of that release: another with the same number is refused too."""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSlots:
    """Everything about one model."""

    active: Slot | None = None
    """In use; None is the one that came with the software."""
    previous: Slot | None = None
    """What a rollback goes back to; None is the one that came with the software."""
    staged: Slot | None = None
    """Verified and copied, not in use."""
    is_shadow: bool = False
    """Whether the staged one runs beside the one in use."""
    floors: Mapping[Maker, Floor] = field(default_factory=dict)
    """Highest release that was ever promoted, by who signed it: numbers of two makers cannot be compared."""
    is_on_probation: bool = False
    """Whether the one in use was promoted a short while ago and may be taken back without asking."""
    expected_disagreement_ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    """What the shadow run before the promotion had shown."""
    rejected: Slot | None = None
    """The last one that was taken back."""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One step, for whoever asks later."""

    at: Text
    model: Text
    step: Step
    sha256: Sha256 | None = None
    """Of the bundle that the step was about; None is the one that came with the software."""
    title: Text = ""
    why: Text = ""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    """The whole state file."""

    format_version: Literal[1] = 1
    models: Mapping[ModelName, ModelSlots] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    n_starts: Annotated[int, Field(ge=0)] = 0
    """Starts of the service in a row that did not come to a healthy end."""

    def slots(self, model: str) -> ModelSlots:
        """Return everything about one model."""
        return self.models.get(model, ModelSlots())

    def with_slots(self, model: str, slots: ModelSlots, event: Event) -> StoreState:
        """Return the state after a step."""
        return replace(self, models={**self.models, model: slots}, events=(*self.events, event)[-MAX_EVENTS:])

    def bundles(self) -> set[str]:
        """Return the hashes of all bundles that something points at."""
        slots = self.models.values()
        found = [slot for each in slots for slot in (each.active, each.previous, each.staged, each.rejected)]
        return {slot.sha256 for slot in found if slot is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Where a bundle lies that a model may be opened from."""

    path: Path
    slot: Slot | None
    """None: the one that came with the software."""


def encode_state(state: StoreState) -> bytes:
    """Return the state as JSON."""
    return TypeAdapter(StoreState).dump_json(state, indent=1) + b"\n"


def decode_state(content: bytes) -> StoreState:
    """Return the state that `encode_state` wrote.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    return TypeAdapter(StoreState).validate_json(content)


def pair_name(active: Slot | None, beside: Slot | None) -> str:
    """Return what two models that are compared are called together."""
    return ">".join("builtin" if slot is None else slot.sha256 for slot in (active, beside))


def refuse_old(model: str, bundle: Bundle, floors: Mapping[str, Floor]) -> None:
    """Raise ModelContractError where a bundle is older than one of the same maker that was in use here.

    Of two bundles with one release number the second is refused as well: the number would prove nothing any more.
    """
    floor = floors.get(maker_of(bundle))
    release, title = bundle.card.release, bundle.card.title
    if floor is None or release > floor.release or bundle.sha256 == floor.sha256:
        return
    if release == floor.release:
        raise ModelContractError(
            f"{title}: calls itself release {release}, and another bundle of that release was in use here",
            reason=ModelFault.REPLAYED,
            hint="ask who made it: every bundle needs a release of its own",
        )
    raise ModelContractError(
        f"{title}: release {release} is older than release {floor.release}, which was in use here",
        reason=ModelFault.REPLAYED,
        hint=f"vitaledge model rollback {model} goes back to the one before",
    )


def maker_of(bundle: Bundle) -> str:
    """Return who signed a bundle, as `ModelSlots.floors` names it."""
    return "unsigned" if bundle.signed_by is None else bundle.signed_by.key_id


def floor_of(bundle: Bundle) -> Floor:
    """Return below which nothing of its maker comes in once a bundle was in use."""
    return Floor(release=bundle.card.release, sha256=bundle.sha256)
