"""``vitaledge model list|verify|stage|shadow|promote|rollback``: bring in a model, try it, use it, take it back."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.cli.options import add_config_options, add_json_option, loaded_config, option_error
from edge.clock import SystemClock
from edge.config import Config
from edge.errors import ModelContractError
from edge.inference.bundle import load_bundle
from edge.inference.lifecycle import OpenedModel, open_model
from edge.inference.shadow import Agreement
from edge.messages import Json
from edge.model_choice import verify_with
from edge.model_demands import OWN_MODELS, builtin_of, model_demands, model_store, own_bundle
from edge.model_state import ModelSlots, Slot, pair_name
from edge.model_store import ModelStore

_TAKES_HOLD = "a running service follows within a minute"
_AUTO = "auto"
_BUILTIN = "the model that came with this software"


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("model", help="bring in a model, try it beside the one in use, use it, take it back")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="what is in use, what waits, what came before, and why")
    listing.set_defaults(run=run_list)
    verify = actions.add_parser("verify", help="prove a bundle: signature, files, windows, golden answers here")
    verify.add_argument("bundle", type=Path, help="directory or zip")
    verify.set_defaults(run=run_verify)
    stage = actions.add_parser("stage", help="prove a bundle and copy it in; nothing is used yet")
    stage.add_argument("bundle", type=Path, help="directory or zip")
    stage.add_argument("--again", action="store_true", help="take one that was taken back before")
    stage.set_defaults(run=run_stage)
    shadow = actions.add_parser("shadow", help="let the staged model run beside the one in use; it decides nothing")
    shadow.add_argument("--off", action="store_true", help="no longer")
    shadow.set_defaults(run=run_shadow)
    promote = actions.add_parser("promote", help="use the staged model")
    promote.set_defaults(run=run_promote)
    rollback = actions.add_parser("rollback", help="go back to the model before")
    rollback.add_argument("--why", default="ordered on the command line", metavar="TEXT", help="for whoever asks later")
    rollback.set_defaults(run=run_rollback)
    for action in (shadow, promote, rollback):
        action.add_argument("model", help="which one: beat, rhythm, or the name of your own")
    for action in (verify, stage):
        action.add_argument("--model", metavar="NAME", help="which one it is to be (default: its own task)")
    for action in (listing, verify, stage, shadow, promote, rollback):
        action.add_argument("--store", type=Path, metavar="DIR", help="where models are kept, instead of [models] path")
        add_config_options(action)
        add_json_option(action)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    """What every action needs."""

    config: Config
    store: ModelStore
    is_json: bool

    def tell(self, body: Mapping[str, Json], *lines: str) -> int:
        """Print the outcome and return the exit code."""
        print(json.dumps(body, indent=2) if self.is_json else "\n".join(lines))
        return 0

    def configured(self, name: str) -> str:
        """Return which bundle the configuration asks for."""
        return self.config.model[name].bundle if name in self.config.model else _AUTO

    def warn(self, name: str) -> list[str]:
        """Return what to say where the configuration passes over what is promoted."""
        bundle = self.configured(name)
        words = f"note: the configuration says model.{name}.bundle = {bundle!r}, so that what is promoted is not used"
        return [] if bundle == _AUTO else [words]


def run_list(args: argparse.Namespace) -> int:
    """Print every model with its slots, comparisons and latest steps."""
    desk = _desk(args)
    state, damage = desk.store.state(), desk.store.damage()
    names = sorted({*OWN_MODELS, *desk.config.model, *state.models})
    lines = [f"models kept in {desk.store.folder}"]
    if damage:
        lines.append(f"warning: {damage}: the models that came with this software are used")
    models: dict[str, Json] = {}
    for name in names:
        models[name], told = _listed(desk, name, state.slots(name))
        lines += ["", *told]
    if state.events:
        lines += ["", "latest steps"]
        lines += [
            f"  {event.at}  {event.model}  {event.step}  {event.title or _BUILTIN}  {event.why}".rstrip()
            for event in state.events[-10:]
        ]
    events: list[Json] = [
        {"at": e.at, "model": e.model, "step": e.step, "sha256": e.sha256, "title": e.title, "why": e.why}
        for e in state.events
    ]
    body: dict[str, Json] = {
        "store": str(desk.store.folder),
        "damage": damage or None,
        "models": models,
        "events": events,
    }
    return desk.tell(body, *lines)


def run_verify(args: argparse.Namespace) -> int:
    """Prove a bundle here and say what it is."""
    desk = _desk(args)
    name = args.model or _task(args.bundle, desk.config)
    opened = open_model(args.bundle, model_demands(name, desk.config))
    return desk.tell(_described(opened, name), *_words(opened, name))


def run_stage(args: argparse.Namespace) -> int:
    """Copy a proven bundle in."""
    desk = _desk(args)
    name = args.model or _task(args.bundle, desk.config)
    verify, own = verify_with(model_demands(name, desk.config)), own_bundle(name, desk.config)
    slot = desk.store.stage(args.bundle, name, verify, own=own, is_again=args.again)
    return desk.tell(
        {"model": name, "step": "stage", "staged": _slot_json(slot)},
        f"staged {slot.title} (release {slot.release}) as {name}; it is not used yet",
        f"try it beside the one in use: vitaledge model shadow {name}",
        f"or use it: vitaledge model promote {name}",
    )


def run_shadow(args: argparse.Namespace) -> int:
    """Let the staged model run beside the one in use, or no longer."""
    desk = _desk(args)
    slot = desk.store.shadow(args.model, is_on=not args.off)
    if args.off:
        return desk.tell(
            {"model": args.model, "step": "shadow", "is_on": False},
            f"{slot.title} no longer runs beside; it stays staged",
        )
    return desk.tell(
        {"model": args.model, "step": "shadow", "is_on": True, "staged": _slot_json(slot)},
        f"{slot.title} runs beside the one in use and decides nothing; {_TAKES_HOLD}",
        "how far they agree: vitaledge model list",
        *desk.warn(args.model),
    )


def run_promote(args: argparse.Namespace) -> int:
    """Put the staged model into use."""
    desk = _desk(args)
    slots = desk.store.state().slots(args.model)
    agreement = _agreement(desk.store, args.model, "shadow", slots.active, slots.staged)
    verify = verify_with(model_demands(args.model, desk.config))
    slot = desk.store.promote(args.model, verify, expected_disagreement_ratio=agreement.disagreement_ratio)
    seen = "it never ran beside the one before"
    if agreement.n_compared:
        seen = f"beside the one before: {_agreement_words(agreement)}"
    before = slots.active.title if slots.active else _BUILTIN
    return desk.tell(
        {
            "model": args.model,
            "step": "promote",
            "active": _slot_json(slot),
            "previous": _slot_json(slots.active),
            "shadow": agreement.as_json() if agreement.n_compared else None,
        },
        f"{slot.title} (release {slot.release}) is used as {args.model}; {_TAKES_HOLD}",
        seen,
        f"for a day {before} runs beside it, and comes back by itself if the two differ widely or the service dies",
        f"to go back: vitaledge model rollback {args.model}",
        *desk.warn(args.model),
    )


def run_rollback(args: argparse.Namespace) -> int:
    """Go back to the model before."""
    desk = _desk(args)
    was = desk.store.state().slots(args.model).active
    slot = desk.store.rollback(args.model, args.why)
    return desk.tell(
        {"model": args.model, "step": "rollback", "active": _slot_json(slot), "rejected": _slot_json(was)},
        f"{slot.title if slot else _BUILTIN} is used as {args.model} again; {_TAKES_HOLD}",
    )


def _desk(args: argparse.Namespace) -> _Desk:
    config = loaded_config(args).config
    model = getattr(args, "model", None)
    if model is not None and model not in {*OWN_MODELS, *config.model}:
        known = ", ".join(sorted({*OWN_MODELS, *config.model}))
        raise option_error("model", f"expected one of {known}; got {model!r}")
    return _Desk(config=config, store=model_store(config, SystemClock(), args.store), is_json=args.json)


def _task(path: Path, config: Config) -> str:
    """Return what a bundle says that it is for."""
    demands = model_demands("other", config)
    task = load_bundle(path, demands.trust, allow_unsigned=demands.allow_unsigned).card.task
    if task not in OWN_MODELS:
        raise option_error("--model", f"{path} is none of the runtime's own models: say which one it is to be")
    return task


def _listed(desk: _Desk, name: str, slots: ModelSlots) -> tuple[dict[str, Json], list[str]]:
    """Return what is known of one model, for machines and for people."""
    configured = desk.configured(name)
    builtin, fault = _builtin(name, desk.config)
    body: dict[str, Json] = {
        "configured": configured,
        "builtin": builtin,
        "builtin_fault": fault or None,
        "active": _slot_json(slots.active),
        "previous": _slot_json(slots.previous),
        "staged": _slot_json(slots.staged),
        "rejected": _slot_json(slots.rejected),
        "is_shadow": slots.is_shadow,
        "is_on_probation": slots.is_on_probation,
        "floors": {maker: floor.release for maker, floor in slots.floors.items()},
    }
    came_with = (
        fault or f"{builtin['title']} (release {builtin['release']}), came with this software" if builtin else fault
    )
    lines = [name]
    if configured != _AUTO:
        lines.append(f"  configured  {configured}: what is promoted here is not used")
    lines.append(f"  in use      {_slot_words(slots.active) if slots.active else came_with}")
    if slots.active is not None:
        lines.append(f"  before      {_slot_words(slots.previous) if slots.previous else came_with}")
    if slots.staged is not None:
        lines.append(f"  staged      {_slot_words(slots.staged)}{', runs beside' if slots.is_shadow else ''}")
    if slots.rejected is not None:
        lines.append(f"  taken back  {_slot_words(slots.rejected)}")
    pairs = {"shadow": (slots.active, slots.staged), "probation": (slots.active, slots.previous)}
    running = {"shadow": slots.is_shadow, "probation": slots.is_on_probation}
    for kind, (active, beside) in pairs.items():
        agreement = _agreement(desk.store, name, kind, active, beside)
        body[kind] = agreement.as_json() if running[kind] else None
        if running[kind]:
            lines.append(f"  {kind:<11} {_agreement_words(agreement)}")
    return body, lines


def _builtin(name: str, config: Config) -> tuple[dict[str, Json], str]:
    path = builtin_of(name)
    if path is None:
        return {}, "none came with this software"
    try:
        bundle = load_bundle(path, model_demands(name, config).trust)
    except ModelContractError as error:
        return {}, f"the one that came with this software is refused: {error}"
    return {"title": bundle.card.title, "release": bundle.card.release, "sha256": bundle.sha256}, ""


def _agreement(store: ModelStore, name: str, kind: str, active: Slot | None, beside: Slot | None) -> Agreement:
    if kind == "shadow" and beside is None:
        return Agreement()
    return store.agreement(name, kind, pair_name(active, beside))


def _agreement_words(agreement: Agreement) -> str:
    ratio = agreement.disagreement_ratio
    if ratio is None:
        return "nothing compared yet (written every ten minutes)"
    kappa = "" if agreement.kappa is None else f", kappa {agreement.kappa:.2f}"
    return (
        f"{100 * (1 - ratio):.1f} % the same over {agreement.n_decided} windows in {agreement.duration_s / 3600:.1f} h"
        f"{kappa}; {100 * (agreement.abstention_ratio(0) or 0):.0f} % and "
        f"{100 * (agreement.abstention_ratio(1) or 0):.0f} % abstained"
    )


def _slot_json(slot: Slot | None) -> dict[str, Json] | None:
    return (
        None if slot is None else {"title": slot.title, "release": slot.release, "sha256": slot.sha256, "at": slot.at}
    )


def _slot_words(slot: Slot) -> str:
    return f"{slot.title} (release {slot.release}, sha256 {slot.sha256[:12]}), since {slot.at}"


def _described(opened: OpenedModel, name: str) -> dict[str, Json]:
    card, signed_by = opened.bundle.card, opened.bundle.signed_by
    return {
        "model": name,
        "title": card.title,
        "release": card.release,
        "sha256": opened.bundle.sha256,
        "signed_by": None if signed_by is None else {"key_id": signed_by.key_id, "owner": signed_by.owner},
        "labels": [*card.output.labels],
        "n_golden": len(opened.bundle.golden),
        "metrics": {**card.metrics},
    }


def _words(opened: OpenedModel, name: str) -> list[str]:
    card, bundle = opened.bundle.card, opened.bundle
    vouched = f"signed by {bundle.signed_by.owner}" if bundle.signed_by else "unsigned, which the configuration allows"
    return [
        f"{card.title} (release {card.release}) can be used as {name} here",
        f"  {vouched}; sha256 {bundle.sha256}",
        f"  {len(bundle.golden)} golden windows give the released answers; labels {', '.join(card.output.labels)}",
    ]
