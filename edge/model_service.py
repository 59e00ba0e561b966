"""The models of a running service: threads for every stream, comparisons, drift, and the steps that nobody orders.

::

    window ─▶ Drift ─▶ the model in use, in its thread ─▶ Prediction      (acted on)
                  ├──▶ the staged one, in its thread ───▶ Agreement       (shadow: only counted)
                  └──▶ the previous one, in its thread ─▶ Agreement       (probation: only counted)

A promoted model is taken back without asking when it is refused here, when the service keeps dying after its
promotion, or when it differs widely from the one before on the same patients.  Every such step is a technical alarm,
and the rules go on throughout.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edge.clock import NS_PER_S, Clock
from edge.errors import ModelContractError
from edge.inference.drift import Drift
from edge.inference.lifecycle import InferenceWorker, InThread, OpenedModel
from edge.inference.shadow import Agreement, Beside, ProbationSettings, probation_fault
from edge.inference.window_stage import Deferred, WindowStage
from edge.messages import Condition, Json
from edge.model_alarms import ModelAlarms, ModelFigures
from edge.model_choice import candidates, choose_model, open_chosen
from edge.model_lanes import Comparison, Lane, Running, ServedModel, answering
from edge.model_state import Chosen, pair_name
from edge.model_store import ModelStore, ModelStoreError

_log = logging.getLogger(__name__)

_QUEUE_SIZE = 64
"""Windows that may wait for one model.  A link that stood still delivers half a minute at once, a window for every beat;
how old an answer may be is bounded by its deadline, not here."""
SHADOW = "shadow"
PROBATION = "probation"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServiceSettings:
    """When the service acts by itself."""

    max_deaths: int = 3
    """Starts in a row that ended before `healthy_s`, after which what is new is taken back: a freshly promoted model and
    a shadow.  Where there is neither, models are left out of the next run (own choice)."""
    healthy_s: float = 600.0
    """A service that has run for so long, or ends as it was told to, has not died (own choice)."""
    check_s: float = 60.0
    """How often the store is looked at: a step on the command line takes hold within this time."""
    keep_s: float = 600.0
    """How often the counts of a comparison are written: as much is lost when the power goes."""
    shown_s: float = 3600.0
    """How long a rollback is shown at the bed; afterwards it stands in ``health`` and in ``vitaledge model list``."""
    probation: ProbationSettings = field(default_factory=ProbationSettings)
    """When a promotion is taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartVerdict:
    """What the starts before this one say."""

    rolled_back: Mapping[str, str] = field(default_factory=dict)
    """Why, by model."""
    without_models: str = ""
    """Why this run goes without models; empty where it does not."""


def note_start(store: ModelStore, settings: ModelServiceSettings | None = None) -> StartVerdict:
    """Count a start of the service, and take back what is new if the last starts did not live long.

    Call it once, before any model is opened: opening may be what ends the process.
    """
    max_deaths = (settings or ModelServiceSettings()).max_deaths
    try:
        n_deaths = store.note_start() - 1
        if n_deaths < max_deaths:
            return StartVerdict()
        why = f"the service ended {n_deaths} times in a row soon after its start"
        models = store.state().models
        fresh = [model for model, slots in models.items() if slots.is_on_probation]
        shadows = [model for model, slots in models.items() if slots.is_shadow]
        for model in shadows:
            store.shadow(model, is_on=False, why=why)
        for model in fresh:
            store.rollback(model, why)
        if fresh or shadows:  # what follows is another matter, and this start is its first
            store.note_healthy()
            store.note_start()
    except ModelStoreError as error:  # a disk that cannot be written must not stop the monitoring
        _log.error("model.store-unusable error=%s", error)
        return StartVerdict()
    return StartVerdict(rolled_back=dict.fromkeys(fresh, why), without_models="" if fresh or shadows else why)


class ModelService:
    """Everything that runs models for the beds of one gateway.

    Parameters
    ----------
    models : mapping
        What to run, by name.
    clock : Clock
        For deadlines and periods.
    store : ModelStore, optional
        Where promotions are kept; without it nothing is promoted and nothing taken back.
    refused : mapping, optional
        Models that are configured and cannot be used, each with the reason.
    rolled_back : mapping, optional
        Models that `note_start` took back, each with the reason.
    settings : ModelServiceSettings
        When the service acts by itself.
    """

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        clock: Clock,
        store: ModelStore | None = None,
        *,
        refused: Mapping[str, str] | None = None,
        rolled_back: Mapping[str, str] | None = None,
        settings: ModelServiceSettings | None = None,
    ) -> None:
        self._settings = settings or ModelServiceSettings()
        self._clock = clock
        self._store = store
        self._refused = dict(refused or {})
        self._rolled_back: dict[str, tuple[str, int]] = {}
        self._alarms: dict[str, ModelAlarms] = {}
        self._started_at_ns = clock.monotonic_ns()
        self._kept_at_ns = self._started_at_ns
        self._is_healthy = False
        self._store_fault = "" if store is None else store.damage()
        for name, why in (rolled_back or {}).items():
            self._tell_rollback(name, why)
        self._models = {name: Running(name, served) for name, served in models.items()}
        for running in self._models.values():
            self._settle_refusals(running)
            self._open_beside(running)

    # --- for every stream and bed -------------------------------------------------------------------------

    def classifiers(self, bed: str) -> dict[str, WindowStage]:
        """Return the stages of one more stream of a bed, by name of the model; each has threads of its own."""
        found: dict[str, WindowStage] = {}
        for name, running in self._models.items():
            drift = running.drifts.setdefault(bed, Drift(running.reference))
            lane = Lane(bed, drift)
            self._fill(running, lane)
            running.lanes.append(lane)
            found[name] = lane
        return found

    def conditions(self, bed: str) -> list[Condition]:
        """Return the technical conditions of a bed's models that began or ended; call it at every tick."""
        now_ns = self._clock.monotonic_ns()
        shown_ns = self._settings.shown_s * NS_PER_S
        figures: dict[str, ModelFigures] = {}
        for name in {*self._models, *self._refused, *self._rolled_back}:
            why, at_ns = self._rolled_back.get(name, ("", 0))
            each = ModelFigures(
                refused=self._refused.get(name, ""), rolled_back=why if now_ns - at_ns < shown_ns else ""
            )
            if name in self._models:
                each = self._models[name].figures(bed, each)
            figures[name] = each
        alarms = self._alarms.setdefault(bed, ModelAlarms())
        return alarms.observe(dict(sorted(figures.items())), now_ns, store_fault=self._store_fault)

    def health(self) -> dict[str, Json]:
        """Return what ``health`` says of every model."""
        told: dict[str, Json] = {name: {"status": f"refused: {why}"} for name, why in self._refused.items()}
        for name, running in self._models.items():
            told[name] = running.as_json() | {"rolled_back": self._rolled_back.get(name, ("", 0))[0] or None}
        return told

    # --- now and then -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look after the models until cancelled; what touches the disk or opens a model is done in a thread."""
        while True:
            await self._clock.sleep(self._settings.check_s)
            try:
                await self.look_after()
            except Exception:  # noqa: BLE001 -- whatever is wrong with a model, monitoring goes on
                _log.exception("model.look-after-failed")

    async def look_after(self) -> None:
        """Do once what `run` does again and again."""
        store, now_ns = self._store, self._clock.monotonic_ns()
        if store is None:
            return
        try:
            if not self._is_healthy and now_ns - self._started_at_ns >= self._settings.healthy_s * NS_PER_S:
                await asyncio.to_thread(store.note_healthy)
                self._is_healthy = True
            if now_ns - self._kept_at_ns >= self._settings.keep_s * NS_PER_S:
                self._kept_at_ns = now_ns
                for arguments in self._to_keep():
                    await asyncio.to_thread(store.keep_agreement, *arguments)
            for running in self._models.values():
                if running.served.is_from_store:
                    await self._judge(running, store)
                    await self._follow(running, store)
        except ModelStoreError as error:
            _log.error("model.store-unusable error=%s", error)
        except ModelContractError as error:  # somebody took the same step a moment ago
            _log.warning("model.step-refused error=%s", error)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop every thread, keep the comparisons, and note that the service ended as it was told to."""
        threads = [thread for running in self._models.values() for lane in running.lanes for thread in lane.threads]
        for thread in threads:
            thread.stop(0.0)  # all are told before any is waited for
        for thread in threads:
            thread.stop(timeout_s / len(threads))
        if self._store is None:
            return
        try:
            for arguments in self._to_keep():
                self._store.keep_agreement(*arguments)
            self._store.note_healthy()
        except ModelStoreError as error:
            _log.error("model.store-unusable error=%s", error)

    # --- parts --------------------------------------------------------------------------------------------

    async def _judge(self, running: Running, store: ModelStore) -> None:
        """Take a promotion back that went wrong, or confirm one that has proven itself."""
        comparison = running.comparisons.get(PROBATION)
        if comparison is None:
            return
        slots = store.state().slots(running.name)
        if slots != running.slots:
            return  # somebody changed something meanwhile: follow first
        settings = self._settings.probation
        why = probation_fault(comparison.agreement, slots.expected_disagreement_ratio, settings)
        if why:
            await asyncio.to_thread(store.rollback, running.name, why)
            self._tell_rollback(running.name, why)
        elif comparison.agreement.duration_s >= settings.duration_s:
            hours = comparison.agreement.duration_s / 3600.0
            await asyncio.to_thread(store.confirm, running.name, f"agreed with the one before over {hours:.0f} h")

    async def _follow(self, running: Running, store: ModelStore) -> None:
        """Run what the store says, after a step of somebody else or of our own."""
        self._store_fault = await asyncio.to_thread(store.damage)
        slots = await asyncio.to_thread(lambda: store.state().slots(running.name))
        if slots == running.slots or self._store_fault:
            return  # a state that was damaged meanwhile is no order to change the model
        was_active, running.slots = running.slots.active, slots
        if slots.active != was_active:
            places = candidates(running.name, store, running.served.builtin)
            try:
                choice = await asyncio.to_thread(choose_model, running.name, places, running.served.demands)
            except ModelContractError as error:  # the one in use goes on
                self._refused[running.name] = str(error)
                return
            running.take(replace(running.served, choice=choice))
            self._refused.pop(running.name, None)
            await asyncio.to_thread(self._settle_refusals, running)
        await asyncio.to_thread(self._open_beside, running)
        for lane in running.lanes:
            for thread in self._fill(running, lane):
                thread.stop(timeout_s=0.0)

    def _settle_refusals(self, running: Running) -> None:
        """Let the store forget promoted models that were refused here, so that the next start does not try them."""
        store, served = self._store, running.served
        if store is None or not served.is_from_store:
            return
        refused = {refusal.slot.sha256: refusal.why for refusal in served.choice.refusals if refusal.slot is not None}
        try:
            slots = store.state().slots(running.name)
            while slots.active is not None and slots.active.sha256 in refused:
                why = refused[slots.active.sha256]
                self._tell_rollback(running.name, why)
                store.rollback(running.name, f"refused here: {why}")
                slots = store.state().slots(running.name)
        except ModelStoreError as error:  # it is refused again at the next start
            _log.error("model.store-unusable error=%s", error)
        running.slots = store.state().slots(running.name)

    def _open_beside(self, running: Running) -> None:
        """Open what runs beside the model in use, and take up its counts."""
        store, slots = self._store, running.slots
        wanted: dict[str, Chosen] = {}
        if store is not None and running.served.is_from_store:
            staged = store.waiting(running.name)
            if slots.is_shadow and staged is not None:
                wanted[SHADOW] = staged
            if slots.is_on_probation and (slots.previous is not None or running.served.builtin is not None):
                wanted[PROBATION] = store.before(running.name)
        found: dict[str, Comparison] = {}
        for kind, chosen in wanted.items():
            pair = pair_name(running.served.choice.chosen.slot, chosen.slot)
            known = running.comparisons.get(kind)
            if known is not None and known.pair == pair:
                found[kind] = known
                continue
            try:
                opened = open_chosen(chosen, running.served.demands)
            except ModelContractError as error:
                _log.error("model.refused model=%s kind=%s error=%s", running.name, kind, error)
                continue
            agreement = Agreement() if store is None else store.agreement(running.name, kind, pair)
            found[kind] = Comparison(pair=pair, opened=opened, agreement=agreement)
        running.comparisons = found

    def _fill(self, running: Running, lane: Lane) -> list[InThread]:
        """Give a stream's lane what runs now, and return the threads that it had."""
        active = self._thread(running, running.served.choice.opened)
        stage: WindowStage = active
        threads = [active]
        for comparison in running.comparisons.values():
            threads.append(self._thread(running, comparison.opened))
            stage = Beside(stage, threads[-1], comparison.agreement)
        return lane.exchange(stage, threads)

    def _thread(self, running: Running, opened: OpenedModel) -> InThread:
        def worker() -> InferenceWorker:
            stage = Deferred(lambda: answering(opened), opened.title)
            return InferenceWorker(stage, self._clock, queue_size=_QUEUE_SIZE, deadline_s=running.served.deadline_s)

        return InThread(worker(), clock=self._clock, make_another=worker)

    def _to_keep(self) -> list[tuple[str, str, str, Agreement]]:
        return [
            (running.name, kind, comparison.pair, Agreement() + comparison.agreement)
            for running in self._models.values()
            for kind, comparison in running.comparisons.items()
        ]

    def _tell_rollback(self, name: str, why: str) -> None:
        self._rolled_back[name] = (why, self._clock.monotonic_ns())
