"""The composition root of the service: sensors, one bed per person, delivery and health in one `TaskGroup`.

::

    Sensor task ──item──▶ Bed (Pipeline) ──findings──▶ Delivery (outbox ▶ broker)
    tick task ──now────────▲                 └───────▶ BedState (whoever looks)
    health task ──────────────────────────────────────▶ Delivery
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import get_args

from edge.alarm_memory import recall, remember
from edge.alert_keeper import AlertKeeper
from edge.alert_watch import AlertWatch
from edge.assembly import pipeline_settings
from edge.bluetooth import Bluetooth
from edge.clock import NS_PER_S, Clock
from edge.conditioning.timeline import TimelineEstimate
from edge.config_sections import Config
from edge.delivery import Delivery
from edge.drivers import AttachedSensor, attached
from edge.errors import OutboxError
from edge.gateway_alarms import GatewayAlarms
from edge.health import birth_sensors, health_metrics
from edge.links_keeper import keep_links
from edge.messages import (
    Alert,
    AlertState,
    Condition,
    Corrupt,
    DeviceBlock,
    Gap,
    Json,
    Reading,
    SensorIdentity,
)
from edge.model_assembly import ModelsInUse, models_in_use
from edge.model_demands import model_store
from edge.model_service import ModelService, note_start
from edge.outbox.record import Notice
from edge.pipeline import Finding, Pipeline, SensorItem
from edge.viewing.bed import BedState

_log = logging.getLogger(__name__)

LATENESS_S = 1.0
"""A tick waits this long for samples that are still on their way: a Bluetooth notification carries 0.56 s."""
TICK_S = 0.25
"""How often the time line is moved when nothing arrives; silence is noticed this much later at most."""
_STOP_AT_MOST_S = 10.0
"""Real seconds for handing over what waits when the service stops; a long backlog is for the next start."""
HEALTH_S = 60.0
"""How often health is published; it expires after twice this (contract)."""

_FOR_THE_PIPELINE = get_args(SensorItem)


class Bed:
    """One person, or one sensor that nobody is bound to: pipeline, screen state and way out.

    Parameters
    ----------
    subject : str or None
        Pseudonym; None for a sensor that the configuration assigns to nobody.
    pipeline : Pipeline
        This person's own.
    delivery : Delivery
        Shared by all.
    on_finding : callable
        Told everything, besides the ways named above; the demo listens here.
    name : str, optional
        Tells this bed from all others; the subject by default, which several beds without one do not have.
    model_conditions : callable, optional
        Gives what is wrong with the models of the bed of that name; asked at every tick.
    watch : AlertWatch, optional
        Gives alerts their evidence and keeps what they were decided from.
    """

    def __init__(
        self,
        subject: str | None,
        pipeline: Pipeline,
        delivery: Delivery,
        on_finding: Callable[[Finding], None] = lambda _: None,
        *,
        name: str | None = None,
        model_conditions: Callable[[str], list[Condition]] = lambda _: [],
        watch: AlertWatch | None = None,
    ) -> None:
        self.subject = subject
        self.name = name or subject or "unassigned"
        self._model_conditions = model_conditions
        self._watch = watch
        self.state = BedState(subject or "unassigned")
        self.identities: dict[str, SensorIdentity] = {}
        self.batteries_pct: dict[str, float | None] = {}
        self.n_corrupt = 0
        self.n_lost_samples = 0
        self._pipeline = pipeline
        self._delivery = delivery
        self._on_finding = on_finding
        self._to_remember: dict[str, Alert] = {}
        self._gateway_alarms = GatewayAlarms()

    @property
    def memory_key(self) -> str:
        """Under which this bed's open alerts are remembered."""
        return f"alerts/{self.name}"

    async def recall(self, clock: Clock) -> None:
        """Go on with the alerts that the last run left open."""
        await self._load_memory(clock)
        self._settle(self._pipeline.restore([*self._to_remember.values()], clock.monotonic_ns()))

    async def disown(self, clock: Clock, reason: str) -> None:
        """End the alerts that the last run left open, instead of going on with them."""
        await self._load_memory(clock)
        self.end_alerts(reason, clock.monotonic_ns())

    def end_alerts(self, reason: str, at_ns: int) -> None:
        """End every open alert, so that none stands at the broker for ever when nobody goes on watching."""
        for alert in [*self._to_remember.values()]:
            ended = replace(
                alert,
                revision=alert.revision + 1,
                state=AlertState.CLOSED,
                at_ns=max(at_ns, alert.at_ns),
                evidence={**alert.evidence, "ended_by": reason},
            )
            self._settle([ended])

    async def _load_memory(self, clock: Clock) -> None:
        data = await self._delivery.load_state(self.memory_key)
        if data is None:
            return
        now_ns, wall_ns = clock.monotonic_ns(), clock.wall_ns()
        try:
            alerts = recall(data, lambda instant_ns: now_ns - (wall_ns - instant_ns))
        except OutboxError as error:
            _log.error("alerts.unreadable bed=%s error=%s", self.name, error)
            return
        self._to_remember = {alert.id: alert for alert in alerts}

    def take(self, item: SensorItem) -> None:
        """Run one message of a sensor through the pipeline and hand on what it led to."""
        if isinstance(item, SensorIdentity):
            self.identities[item.sensor] = item
        elif isinstance(item, Reading) and item.measure == "battery_pct":
            self.batteries_pct[item.sensor] = item.value
        self._settle(self._pipeline.push(item))

    def tick(self, clock: Clock) -> None:
        """Let time pass."""
        self._settle(self._pipeline.observe_clock(clock.state()))
        for condition in self._gateway_alarms.time_passed(clock.monotonic_ns()):
            self._settle(self._pipeline.claim(condition))
        for condition in self._model_conditions(self.name):
            self._settle(self._pipeline.claim(condition))
        self.advance(clock.monotonic_ns() - round(LATENESS_S * NS_PER_S))

    def notice(self, notice: Notice, at_ns: int) -> None:
        """Raise what the gateway's own store has to tell."""
        for condition in self._gateway_alarms.notice(notice, at_ns):
            self._settle(self._pipeline.claim(condition))

    def clocks(self) -> dict[tuple[str, str], TimelineEstimate]:
        """Return what is known of the clocks of the sensors, by sensor and stream."""
        return self._pipeline.clocks()

    def advance(self, now_ns: int) -> None:
        """Move the time line to `now_ns`."""
        self._settle(self._pipeline.advance(now_ns))

    def finish(self) -> None:
        """Hand on what was held back, before the service stops."""
        self._settle(self._pipeline.finish())
        if self._watch is not None:
            self._watch.finish()

    def _settle(self, findings: Iterable[Finding]) -> None:
        for each in findings:
            finding = each if self._watch is None else self._watch.observe(each)
            if isinstance(finding, Corrupt):
                self.n_corrupt += 1
            elif isinstance(finding, Gap):
                self.n_lost_samples += finding.n_missing or 0
            self.state.observe(finding)
            self._on_finding(finding)
            if isinstance(finding, Alert):
                self._deliver_alert(finding)
            else:
                self._delivery.take(self.subject, finding, bed=self.name)

    def _deliver_alert(self, alert: Alert) -> None:
        """Remember before announcing an opening, after announcing an end: a crash in between repeats, never forgets.

        The memory is what was announced so far.  The pipeline is ahead of it: of two alerts that end in the same
        second, the second must be remembered until its own end is on disk.
        """
        is_end = alert.state is AlertState.CLOSED
        if is_end:
            self._to_remember.pop(alert.id, None)
        else:
            self._to_remember[alert.id] = alert
        memory = remember([*self._to_remember.values()], self._delivery.to_wall_ns)
        self._delivery.take_alert(self.subject, alert, memory_key=self.memory_key, memory=memory, is_end=is_end)


class Runtime:
    """The service.

    Parameters
    ----------
    config : Config
        What holds.
    clock : Clock
        Time for everything.
    delivery : Delivery
        Opened by `run`.
    on_finding : callable
        Told everything that any bed finds.
    random : Random
        Jitter.
    bluetooth : Bluetooth, optional
        The radios; this machine's by default.
    drain_patience_s : float
        On stopping: real seconds without any confirmation after which the rest is left on disk.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        delivery: Delivery,
        *,
        on_finding: Callable[[Finding], None] = lambda _: None,
        random: Random | None = None,
        bluetooth: Bluetooth | None = None,
        drain_patience_s: float = 1.0,
    ) -> None:
        self._config = config
        self._drain_patience_s = drain_patience_s
        self._clock = clock
        self._delivery = delivery
        self._random = random or Random()
        self._started_at_ns = clock.monotonic_ns()
        # Before any model is opened: opening one may be what ended the last runs.
        starts = note_start(model_store(config, clock))
        self.models: ModelsInUse = models_in_use(config, clock, without=starts.without_models)
        self.model_service = ModelService(
            self.models.used,
            clock,
            self.models.store,
            refused={name: refused.why for name, refused in self.models.refused.items()},
            rolled_back=starts.rolled_back,
        )
        self._alert_keeper = AlertKeeper(config)
        self._bluetooth = bluetooth or Bluetooth(clock)
        settings = pipeline_settings(config, self.models)

        def bed(subject: str | None, name: str) -> Bed:
            pipeline = Pipeline(
                settings,
                new_id=lambda: str(uuid.uuid4()),
                make_classifiers=lambda: self.model_service.classifiers(name),
            )
            conditions = self.model_service.conditions
            watch = self._alert_keeper.watch(name, delivery.to_wall_ns)
            return Bed(subject, pipeline, delivery, on_finding, name=name, model_conditions=conditions, watch=watch)

        self.beds: dict[str, Bed] = {subject.id: bed(subject.id, subject.id) for subject in config.subject}
        # Data of a sensor that nobody is bound to is kept apart, published without a subject, and never mixed.
        self.unassigned: dict[str, Bed] = {
            sensor.id: bed(None, f"sensor/{sensor.id}")
            for sensor in config.sensor
            if config.subject_of(sensor.id) is None
        }
        self.sensors = tuple(attached(section, clock, self._random, self._bluetooth) for section in config.sensor)

    def bed_of(self, sensor: str) -> Bed:
        """Return where the data of `sensor` goes."""
        subject = self._config.subject_of(sensor)
        return self.unassigned[sensor] if subject is None else self.beds[subject]

    def all_beds(self) -> tuple[Bed, ...]:
        """Return the beds of persons, then those of unassigned sensors."""
        return (*self.beds.values(), *self.unassigned.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then stop the sensors, finish, and hand over what can be handed over in time.

        Raises
        ------
        OutboxError
            If the durable store cannot be opened.
        """
        try:
            await self._serve(stop)
        finally:  # a service that ends for another reason than its models has not died of them
            await asyncio.to_thread(self.model_service.stop)

    async def _serve(self, stop: asyncio.Event) -> None:
        early: list[Notice] = []
        self._delivery.on_notice(early.append)
        await self._delivery.start(self._birth_details)
        for bed in self.all_beds():
            await bed.recall(self._clock)
        # Only now: the alerts of the last run must be back before the first new one.
        self._delivery.on_notice(self._notice)
        for notice in early:
            self._notice(notice)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self._delivery.run(), name="delivery")
            working = [
                tasks.create_task(self._sense(sensor), name=f"sensor-{sensor.section.id}") for sensor in self.sensors
            ]
            working.append(tasks.create_task(self._tick(), name="tick"))
            working.append(tasks.create_task(self._report_health(), name="health"))
            keeping = keep_links(self, Path(self._config.outbox.path), self._clock)
            working.append(tasks.create_task(keeping, name="links"))
            working.append(tasks.create_task(self.model_service.run(), name="models"))
            await stop.wait()
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await self._bluetooth.close()
            await asyncio.to_thread(self.model_service.stop)  # before the pipelines end: the last answers count
            for bed in self.all_beds():
                bed.finish()
            await asyncio.to_thread(self._alert_keeper.stop)
            # Nothing new comes now, so what is on its way gets a moment; the rest stays on disk.
            await self._delivery.drained(self._drain_patience_s, at_most_s=_STOP_AT_MOST_S)
            await self._delivery.stop(self.health())
            await sending

    def health(self) -> dict[str, Json]:
        """Return the figures that are published as ``health``."""
        return health_metrics(self, self._delivery.view(), self._clock, self._started_at_ns)

    def alert_records(self) -> dict[str, Json]:
        """Return what became of the records that explain alerts, for ``health``."""
        return self._alert_keeper.as_json()

    def _notice(self, notice: Notice) -> None:
        for bed in self.all_beds():
            bed.notice(notice, self._clock.monotonic_ns())

    async def _sense(self, sensor: AttachedSensor) -> None:
        bed = self.bed_of(sensor.section.id)
        wanted = set(sensor.section.streams)

        def sink(item: object) -> None:
            if wanted and isinstance(item, DeviceBlock | Gap) and item.stream not in wanted:
                return
            if isinstance(item, _FOR_THE_PIPELINE):
                bed.take(item)
                if isinstance(item, SensorIdentity):
                    self._delivery.announce()

        await sensor.link.run(sink)

    async def _tick(self) -> None:
        while True:
            for bed in self.all_beds():
                bed.tick(self._clock)
            await self._clock.sleep(TICK_S)

    async def _report_health(self) -> None:
        while True:
            self._delivery.take_health(self.health(), self._clock.monotonic_ns())
            await self._clock.sleep(HEALTH_S)

    def _birth_details(self) -> tuple[Sequence[Mapping[str, Json]], Mapping[str, str]]:
        return birth_sensors(self), self.models.statuses()
