"""The models of one gateway on disk: which is in use, which came before, which waits.

::

    state.json           what points at what (`model_state.StoreState`), replaced as a whole
    bundles/<sha256>/    verified copies of bundles, named by the hash of their manifest
    shadow-<model>.json, probation-<model>.json    how far two models agreed so far

**Nothing points at a bundle before all of it is on the medium**, and every step is one replacement of ``state.json``:
whenever the power goes, the state before or the state after is there.  What nobody points at is swept away with the
next step.  A state that cannot be read is set aside, and the models that came with the software are used.

::

    stage ──▶ staged ──(shadow: runs beside)──▶ promote ──▶ active ──(probation)──▶ confirmed
                                                  previous ◀──────── rollback ◀───────┘
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from edge.clock import Clock
from edge.errors import ModelContractError, ModelFault, OutboxError
from edge.inference.bundle import MANIFEST, SIGNATURE, Bundle
from edge.inference.shadow import Agreement, agreement_from_json
from edge.messages import Json
from edge.model_disk import Disk, bundle_file
from edge.model_state import (
    Chosen,
    Event,
    ModelSlots,
    Slot,
    Step,
    StoreState,
    decode_state,
    encode_state,
    floor_of,
    maker_of,
    refuse_old,
)

_log = logging.getLogger(__name__)

STATE = "state.json"
BUNDLES = "bundles"
LOCK = ".lock"
_N_DAMAGED_KEPT = 3

Verify = Callable[[Path, str], Bundle]
"""Returns the bundle at a path for a model, or raises `ModelContractError`: signature, hashes, task, preprocessing, golden
vectors on this machine."""


class ModelStoreError(OutboxError):
    """The folder of the models cannot be read or written."""


class ModelStore:
    """The models of one gateway.

    Parameters
    ----------
    folder : Path
        Made with the first step that writes; a folder that is not there is an empty store.
    clock : Clock
        For the instants of steps.
    builtin : callable
        Gives the folder of the bundle that came with the software, by name of the model.
    disk : Disk
        How files are written.
    """

    def __init__(self, folder: Path, clock: Clock, *, builtin: Callable[[str], Path], disk: Disk | None = None) -> None:
        self._folder = folder
        self._clock = clock
        self._builtin = builtin
        self._disk = disk or Disk()

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._folder

    def state(self) -> StoreState:
        """Return what points at what; an empty state where there is none or it is damaged (`damage` says so)."""
        return self._read()[0]

    def damage(self) -> str:
        """Return why the state on disk is not used; empty while it is."""
        return self._read()[1]

    def in_use(self, model: str) -> Chosen:
        """Return what to open for a model."""
        return self._chosen(model, self.state().slots(model).active)

    def before(self, model: str) -> Chosen:
        """Return what a rollback goes back to."""
        return self._chosen(model, self.state().slots(model).previous)

    def waiting(self, model: str) -> Chosen | None:
        """Return what is staged; None where nothing is."""
        slot = self.state().slots(model).staged
        return None if slot is None else self._chosen(model, slot)

    def agreement(self, model: str, kind: str, pair: str) -> Agreement:
        """Return how far two models agreed so far; nothing where they were never compared.

        Parameters
        ----------
        model : str
            Name of the model.
        kind : str
            ``shadow`` or ``probation``.
        pair : str
            Which two (`pair_name`): counts of any other two do not count.
        """
        try:
            values = json.loads((self._folder / f"{kind}-{model}.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return Agreement()
        return agreement_from_json(values) if isinstance(values, dict) and values.get("pair") == pair else Agreement()

    def refuse_replay(self, model: str, bundle: Bundle, *, own: Bundle | None = None) -> None:
        """Raise ModelContractError where a bundle is older than one of the same maker that was promoted here.

        `own` is the one that came with the software, if any: it has been in use here too.
        """
        refuse_old(model, bundle, {} if own is None else {maker_of(own): floor_of(own)})
        refuse_old(model, bundle, self.state().slots(model).floors)

    # --- steps --------------------------------------------------------------------------------------------

    def stage(
        self, path: Path, model: str, verify: Verify, *, own: Bundle | None = None, is_again: bool = False
    ) -> Slot:
        """Copy a verified bundle in, so that it can be tried and promoted.

        Parameters
        ----------
        path : Path
            Folder or zip.
        model : str
            Which model it is to be.
        verify : callable
            Proves the bundle; the copy is proven again.
        own : Bundle, optional
            The one that came with the software: it has been in use here too.
        is_again : bool
            Take one that was taken back before.

        Raises
        ------
        ModelContractError
            If it is refused; nothing has changed then.
        ModelStoreError
            If the folder cannot be written; nothing has changed then.
        """
        bundle = verify(path, model)
        with self._changing() as state:
            slots = state.slots(model)
            self.refuse_replay(model, bundle, own=own)
            if slots.active is not None and slots.active.sha256 == bundle.sha256:
                raise ModelContractError(f"{path}: {bundle.card.title} is in use already")
            if slots.rejected is not None and slots.rejected.sha256 == bundle.sha256 and not is_again:
                raise ModelContractError(
                    f"{path}: {bundle.card.title} was taken back on {slots.rejected.at}",
                    hint="see vitaledge model list for the reason; --again stages it all the same",
                )
            self._copy_in(path, bundle, model, verify)
            slot = self._slot(bundle)
            changed = replace(slots, staged=slot, is_shadow=False)
            self._write(state.with_slots(model, changed, self._event(model, "stage", slot, "")))
        _log.info("model.staged model=%s title=%s sha256=%s", model, slot.title, slot.sha256)
        return slot

    def shadow(self, model: str, *, is_on: bool, why: str = "") -> Slot:
        """Let the staged model run beside the one in use, or no longer.

        Raises
        ------
        ModelContractError
            If nothing is staged.
        """
        with self._changing() as state:
            slots = state.slots(model)
            slot = _staged(model, slots)
            changed = replace(slots, is_shadow=is_on)
            event = self._event(model, "shadow", slot, ": ".join(filter(None, ("on" if is_on else "off", why))))
            self._write(state.with_slots(model, changed, event))
        return slot

    def promote(self, model: str, verify: Verify, *, expected_disagreement_ratio: float | None = None) -> Slot:
        """Put the staged model into use; the one in use becomes the previous one.

        Raises
        ------
        ModelContractError
            If nothing is staged, or it is no longer what it was.
        """
        with self._changing() as state:
            slots = state.slots(model)
            slot = _staged(model, slots)
            bundle = verify(self._path(slot), model)
            refuse_old(model, bundle, slots.floors)
            slot = self._slot(bundle)
            changed = ModelSlots(
                active=slot,
                previous=slots.active,
                floors={**slots.floors, maker_of(bundle): floor_of(bundle)},
                is_on_probation=True,
                expected_disagreement_ratio=expected_disagreement_ratio,
                rejected=slots.rejected,
            )
            after = state.with_slots(model, changed, self._event(model, "promote", slot, ""))
            # Deaths of the process before this step are not the fault of the new model.
            self._write(replace(after, n_starts=0))
        _log.info("model.promoted model=%s title=%s sha256=%s", model, slot.title, slot.sha256)
        return slot

    def rollback(self, model: str, why: str) -> Slot | None:
        """Go back to the previous model and return it; None is the one that came with the software.

        Raises
        ------
        ModelContractError
            If the one that came with the software is in use already.
        """
        with self._changing() as state:
            slots = state.slots(model)
            if slots.active is None:
                raise ModelContractError(
                    f"{model}: nothing to go back to: the model that came with the software is in use",
                    hint="vitaledge model stage BUNDLE brings another",
                )
            changed = replace(
                slots,
                active=slots.previous,
                previous=None,
                is_on_probation=False,
                expected_disagreement_ratio=None,
                rejected=replace(slots.active, at=self._now()),
            )
            after = state.with_slots(model, changed, self._event(model, "rollback", slots.active, why))
            self._write(replace(after, n_starts=0))
        _log.warning("model.rolled-back model=%s title=%s why=%s", model, slots.active.title, why)
        return slots.previous

    def confirm(self, model: str, why: str) -> None:
        """End the probation of the model in use: it stays until a person says otherwise."""
        with self._changing() as state:
            slots = state.slots(model)
            if slots.is_on_probation:
                changed = replace(slots, is_on_probation=False)
                self._write(state.with_slots(model, changed, self._event(model, "confirm", slots.active, why)))

    def note_start(self) -> int:
        """Count a start of the service and return how many in a row have not come to a healthy end, this one included."""
        with self._changing() as state:
            self._write(replace(state, n_starts=state.n_starts + 1))
        return state.n_starts + 1

    def note_healthy(self) -> None:
        """Forget the starts: the service has run well for a while, or ends as it was told to."""
        if self.state().n_starts:
            with self._changing() as state:
                self._write(replace(state, n_starts=0))

    def keep_agreement(self, model: str, kind: str, pair: str, agreement: Agreement) -> None:
        """Keep how far two models agreed over a restart."""
        content: dict[str, Json] = {"pair": pair, "at": self._now(), **agreement.as_json()}
        with self._writing():
            self._disk.make_folder(self._folder)
            self._disk.replace_file(self._folder / f"{kind}-{model}.json", json.dumps(content).encode() + b"\n")

    # --- parts --------------------------------------------------------------------------------------------

    def _load(self) -> StoreState:
        path = self._folder / STATE
        try:
            return decode_state(path.read_bytes())
        except FileNotFoundError:
            return StoreState()

    def _read(self) -> tuple[StoreState, str]:
        path = self._folder / STATE
        try:
            return self._load(), ""
        except OSError as error:
            return StoreState(), f"{path}: cannot be read: {error.strerror}"
        except ValueError as error:
            return StoreState(), f"{path}: is damaged: {str(error).splitlines()[0]}"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except ModelStoreError:
            raise
        except OSError as error:
            where = error.filename or self._folder
            raise ModelStoreError(
                f"{where}: cannot be used: {error.strerror}",
                hint="the user of the service needs room and the right to write there; nothing has changed",
            ) from error

    @contextmanager
    def _changing(self) -> Iterator[StoreState]:
        """Give the state to change, while no other process changes it."""
        with self._writing():
            self._disk.make_folder(self._folder / BUNDLES)
            with self._disk.locked(self._folder / LOCK):
                try:
                    state = self._load()
                except ValueError as error:
                    self._set_aside(error)
                    yield StoreState()
                else:
                    yield state
                    self._sweep()

    def _set_aside(self, error: ValueError) -> None:
        """Keep a damaged state for whoever wants to mend it; its bundles stay too, until the next step."""
        path = self._folder / STATE
        _log.error("model.store-damaged path=%s error=%s", path, str(error).splitlines()[0])
        for number in range(_N_DAMAGED_KEPT):
            aside = path.with_name(f"{STATE}.damaged-{number}")
            if not aside.exists() or number == _N_DAMAGED_KEPT - 1:
                self._disk.rename(path, aside)
                return

    def _write(self, state: StoreState) -> None:
        self._disk.replace_file(self._folder / STATE, encode_state(state))

    def _sweep(self) -> None:
        """Remove what nobody points at; what cannot be removed now is for the next time."""
        kept = self.state().bundles()
        try:
            for path in sorted((self._folder / BUNDLES).iterdir()):
                if path.name not in kept:
                    self._disk.remove(path)
        except OSError as error:
            _log.warning("model.sweep-failed error=%s", error)

    def _copy_in(self, path: Path, bundle: Bundle, model: str, verify: Verify) -> None:
        """Bring a bundle's files into the store, all of them or none, and prove the copy."""
        target = self._folder / BUNDLES / bundle.sha256
        if target.is_dir():
            try:
                verify(target, model)
            except ModelContractError:
                self._disk.remove(target)
            else:
                return
        unfinished = self._folder / BUNDLES / f".{bundle.sha256}.new"
        self._disk.remove(unfinished)
        self._disk.make_folder(unfinished)
        for name in (MANIFEST, SIGNATURE, *bundle.card.files):
            content = bundle_file(path, name)
            if content is not None:
                self._disk.write(unfinished / name, content)
        self._disk.sync_folder(unfinished)
        if verify(unfinished, model).sha256 != bundle.sha256:  # exchanged between the two readings
            raise ModelContractError(f"{path}: changed while it was copied", reason=ModelFault.DAMAGED)
        self._disk.rename(unfinished, target)
        self._disk.sync_folder(target.parent)

    def _chosen(self, model: str, slot: Slot | None) -> Chosen:
        return Chosen(path=self._builtin(model) if slot is None else self._path(slot), slot=slot)

    def _path(self, slot: Slot) -> Path:
        return self._folder / BUNDLES / slot.sha256

    def _slot(self, bundle: Bundle) -> Slot:
        return Slot(sha256=bundle.sha256, title=bundle.card.title[:500], release=bundle.card.release, at=self._now())

    def _event(self, model: str, step: Step, slot: Slot | None, why: str) -> Event:
        sha256, title = (None, "") if slot is None else (slot.sha256, slot.title)
        return Event(at=self._now(), model=model, step=step, sha256=sha256, title=title, why=why[:500])

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock.wall_ns() / 1e9, UTC).isoformat(timespec="seconds")


def _staged(model: str, slots: ModelSlots) -> Slot:
    if slots.staged is None:
        raise ModelContractError(
            f"{model}: nothing is staged", hint="vitaledge model stage BUNDLE brings a bundle in first"
        )
    return slots.staged
