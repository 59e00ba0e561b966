"""A night on a virtual bed: patient, pty, runtime, broker, subscriber and screen in one process, ten times as fast.

Everything between the virtual sensor and the subscriber is the real thing: a serial port, the wire protocol, the
pipeline, the outbox on disk, MQTT.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge.app import Runtime
from edge.clock import NS_PER_S, SystemClock
from edge.config_sections import Config, Gateway, Model, Mqtt, Outbox, Subject
from edge.config_sensor import Sensor
from edge.delivery import Delivery, DeliveryView
from edge.messages import Alert, AlertState, Beat, Gap
from edge.model_demands import OWN_MODELS
from edge.pipeline import Finding
from edge.publishing.broker import SPOOL_ONLY, BrokerHandle, start_broker
from edge.publishing.listener import Listener
from edge.viewing.bed import BedState
from edge.viewing.gateway import GatewayView
from firmware_bridge.virtual.device import VirtualSensor
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import FaultKind, Scenario
from firmware_bridge.virtual.serial_link import serve

SUBJECT = "p-9c1e"
SENSOR = "bed"
_REFRESH_S = 0.15
"""Real seconds between two pictures."""
_SETTLE_S = 3.0
"""Story seconds between the end of the sensor's story and the stop: what is on its way arrives."""
_DRAIN_PATIENCE_S = 3.0

Show = Callable[[BedState, GatewayView], None]


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """One step of the scenario and what was raised during it."""

    at_s: float
    note: str
    raised: tuple[tuple[float, Alert], ...]
    """Seconds after the beginning of the step, and the alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What the demo came to."""

    title: str
    duration_s: float
    real_s: float
    phases: tuple[PhaseReport, ...]
    n_beats_played: int
    n_beats_hidden: int
    """Of them, played while the electrode was off or the cable was pulled: nothing could see them."""
    n_beats_found: int
    n_gaps: int
    n_missing_samples: int
    broker: str
    delivery: DeliveryView
    n_heard: int | None
    """Different records that the subscriber heard; None without a broker."""
    open_alerts_heard: int
    was_interrupted: bool


@dataclass(slots=True)
class _Story:
    """What happened, noted while it happens."""

    alerts: list[Alert] = field(default_factory=list)
    n_beats: int = 0
    n_gaps: int = 0
    n_missing_samples: int = 0
    _episodes: set[tuple[str, int]] = field(default_factory=set)

    def note(self, finding: Finding) -> None:
        match finding:
            case Beat():
                self.n_beats += 1
            case Gap() if finding.stream == "ecg":
                self.n_gaps += 1
                self.n_missing_samples += finding.n_missing or 0
            case Alert() if finding.state is AlertState.RAISED and (finding.id, finding.episode) not in self._episodes:
                self._episodes.add((finding.id, finding.episode))
                self.alerts.append(finding)
            case _:
                pass


class Demo:
    """One demo, ready to be played.

    Parameters
    ----------
    scenario : Scenario
        The story; it must have an end.
    directory : Path
        For the pty's link, the outbox and the broker's files.
    speed_ratio : float
        Story seconds per real second.
    """

    def __init__(self, scenario: Scenario, directory: Path, *, speed_ratio: float = 10.0) -> None:
        if scenario.duration_s is None:
            raise ValueError("expected a scenario with a duration, got one that goes on for ever")
        self._scenario = scenario
        self._directory = directory
        self._clock = SystemClock(speed_ratio)
        self._speed_ratio = speed_ratio
        self._patient = VirtualPatient(scenario)
        self._sensor = VirtualSensor(scenario, self._patient)
        self._story = _Story()

    async def play(self, show: Show, stop: asyncio.Event, on_finding: Callable[[Finding], None]) -> DemoReport:
        """Play to the end, or until `stop` is set, and report.

        Parameters
        ----------
        show : callable
            Draws the bed; called several times a second.
        stop : asyncio.Event
            Ctrl-C.
        on_finding : callable
            Told everything, for a screen that is a log.
        """
        broker = await start_broker(self._directory / "broker")
        try:
            return await self._with_broker(broker, show, stop, on_finding)
        finally:
            if broker is not None:
                await broker.stop()

    async def _with_broker(
        self, broker: BrokerHandle | None, show: Show, stop: asyncio.Event, on_finding: Callable[[Finding], None]
    ) -> DemoReport:
        listener = await self._listening(broker)
        config = self._config()
        words = SPOOL_ONLY if broker is None else f"{broker.name} on {broker.host}:{broker.port}"
        mqtt = None if broker is None else broker.settings("vitaledge-demo")
        delivery = Delivery(config, self._clock, mqtt=mqtt, broker=words, mode="demo")

        def observe(finding: Finding) -> None:
            self._story.note(finding)
            on_finding(finding)

        runtime = Runtime(config, self._clock, delivery, on_finding=observe, drain_patience_s=_DRAIN_PATIENCE_S)
        started_ns = self._clock.monotonic_ns()
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(runtime.run(over), name="runtime")
            playing = tasks.create_task(self._play_sensor(stop), name="virtual-sensor")
            drawing = tasks.create_task(self._draw(runtime, delivery, listener, words, show, started_ns), name="screen")
            await playing
            over.set()
            await running
            drawing.cancel()
        elapsed_s = (self._clock.monotonic_ns() - started_ns) / NS_PER_S
        report = self._report(delivery.view(), words, listener, started_ns, elapsed_s, was_interrupted=stop.is_set())
        if listener is not None:
            await asyncio.to_thread(listener.stop)
        return report

    async def _listening(self, broker: BrokerHandle | None) -> Listener | None:
        if broker is None:
            return None
        listener = Listener(broker.settings("care-centre"), "vitaledge/v1/home/demo/")
        return listener if await asyncio.to_thread(listener.start) else None

    def _config(self) -> Config:
        # The model has as much real time as in the service, however fast the story is told.
        models = {name: Model(deadline_s=Model().deadline_s * max(1.0, self._speed_ratio)) for name in OWN_MODELS}
        return Config(
            model=models,
            gateway=Gateway(id="demo", site="home"),
            sensor=(Sensor(id=SENSOR, driver="bridge_serial", port=str(self._link)),),
            subject=(Subject(id=SUBJECT, sensors=(SENSOR,)),),
            outbox=Outbox(path=str(self._directory / "outbox.db"), max_mb=100),
            mqtt=Mqtt(tls=False),
        )

    @property
    def _link(self) -> Path:
        return self._directory / "sensor"

    async def _play_sensor(self, stop: asyncio.Event) -> None:
        await serve(self._sensor, self._link, self._clock, stop)
        if not stop.is_set():
            await self._clock.sleep(_SETTLE_S)

    async def _draw(
        self,
        runtime: Runtime,
        delivery: Delivery,
        listener: Listener | None,
        words: str,
        show: Show,
        started_ns: int,
    ) -> None:
        while True:
            (bed,) = runtime.beds.values()
            view = delivery.view()
            story_s = self._sensor.story_ns / NS_PER_S
            show(
                bed.state,
                GatewayView(
                    title=f"VitalEdge demo, {self._speed_ratio:g} × real time",
                    clock_s=(self._clock.monotonic_ns() - started_ns) / NS_PER_S,
                    broker=words,
                    is_connected=view.uplink is not None and view.uplink.is_connected,
                    n_waiting=view.n_waiting,
                    n_sent=view.n_confirmed,
                    n_heard=listener.n_heard if listener else None,
                    n_corrupt=bed.n_corrupt,
                    n_lost_samples=bed.n_lost_samples,
                    model=runtime.models.status,
                    phase=self._scenario.state_at(story_s).note,
                ),
            )
            await asyncio.sleep(_REFRESH_S)

    def _hidden_beats(self, until_s: float) -> int:
        hiding = [fault for fault in self._scenario.faults if fault.kind in _HIDING]
        beats = self._patient.truth(0.0, until_s).beats
        return sum(any(fault.at_s <= beat.at_s < fault.end_s for fault in hiding) for beat in beats)

    def _report(
        self,
        view: DeliveryView,
        words: str,
        listener: Listener | None,
        started_ns: int,
        elapsed_s: float,
        *,
        was_interrupted: bool,
    ) -> DemoReport:
        played_s = min(self._sensor.story_ns / NS_PER_S, self._scenario.duration_s or 0.0)
        return DemoReport(
            title=self._scenario.title,
            duration_s=played_s,
            real_s=elapsed_s / self._speed_ratio,
            phases=phase_reports(self._scenario, self._story.alerts, started_ns, played_s),
            n_beats_played=len(self._patient.truth(0.0, played_s).beats),
            n_beats_hidden=self._hidden_beats(played_s),
            n_beats_found=self._story.n_beats,
            n_gaps=self._story.n_gaps,
            n_missing_samples=self._story.n_missing_samples,
            broker=words,
            delivery=view,
            n_heard=listener.n_heard if listener else None,
            open_alerts_heard=len(listener.open_alerts()) if listener else 0,
            was_interrupted=was_interrupted,
        )


_HIDING = (FaultKind.LEAD_OFF, FaultKind.DISCONNECT)


def phase_reports(
    scenario: Scenario, alerts: Sequence[Alert], started_ns: int, until_s: float
) -> tuple[PhaseReport, ...]:
    """Return each step of `scenario` that was played, with the alerts raised before the next step."""
    steps = [step for step in scenario.steps if step.at_s <= until_s]
    ends = [step.at_s for step in steps[1:]] + [float("inf")]
    reports = []
    for step, end_s in zip(steps, ends, strict=True):
        raised = [(alert, (alert.at_ns - started_ns) / NS_PER_S) for alert in alerts]
        within = tuple((at_s - step.at_s, alert) for alert, at_s in raised if step.at_s <= at_s < end_s)
        reports.append(PhaseReport(at_s=step.at_s, note=step.note or "", raised=within))
    return tuple(reports)
