"""The whole gateway around virtual sensors on real ptys: what the tests of the running service stand on."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from edge.app import Runtime
from edge.assembly import broker_words, mqtt_settings
from edge.clock import NS_PER_S, SystemClock
from edge.config_sections import Config, Gateway, Mqtt, Outbox, Subject, Summaries
from edge.config_sensor import Sensor
from edge.delivery import Delivery
from edge.pipeline import Finding
from edge.publishing.broker import MOSQUITTO, BrokerHandle, start_broker
from firmware_bridge.virtual.device import VirtualSensor
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario_file import parse_scenario
from firmware_bridge.virtual.serial_link import serve

PATIENCE_S = 60.0
"""Real seconds; only a test that fails ever waits this long."""


async def mosquitto(folder: Path, port: int | None = None) -> BrokerHandle:
    """Return a running mosquitto that keeps its sessions in `folder`; skip the test where none is installed."""
    broker = await start_broker(folder, kinds=(MOSQUITTO,), port=port)
    if broker is None:
        pytest.skip("no mosquitto on this machine")
    return broker


@contextlib.asynccontextmanager
async def running_broker(folder: Path, port: int | None = None) -> AsyncIterator[BrokerHandle]:
    """Give a mosquitto for the length of a test."""
    broker = await mosquitto(folder, port)
    try:
        yield broker
    finally:
        await broker.stop()


def config(
    folder: Path, sensors: Mapping[str, str | None], *, port: int | None = None, period_s: int = 60, **sections: object
) -> Config:
    """Return a configuration: sensor id to pseudonym (None for nobody), everything below `folder`."""
    return Config(
        **{
            "gateway": Gateway(id="gw-test", site="ward-3"),
            "sensor": tuple(Sensor(id=name, driver="bridge_serial", port=str(folder / name)) for name in sensors),
            "subject": tuple(Subject(id=who, sensors=(name,)) for name, who in sensors.items() if who is not None),
            "outbox": Outbox(path=str(folder / "outbox.db"), max_mb=100),
            "mqtt": Mqtt(host=None if port is None else "127.0.0.1", port=port, tls=False),
            "summary": Summaries(period_s=period_s),
        }
        | sections
    )


@dataclass
class Bedside:
    """One running gateway."""

    config: Config
    clock: SystemClock
    delivery: Delivery
    runtime: Runtime
    started_ns: int
    findings: list[Finding] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def story_s(self) -> float:
        """Seconds of the story since the start."""
        return (self.clock.monotonic_ns() - self.started_ns) / NS_PER_S

    def at_s(self, at_ns: int) -> float:
        """Return an instant of a finding in seconds of the story."""
        return (at_ns - self.started_ns) / NS_PER_S

    def wall_ns_at(self, story_s: float) -> int:
        """Return the wall time of a moment of the story."""
        return self.clock.wall_ns() - round((self.story_s - story_s) * NS_PER_S)

    @staticmethod
    def ns_of(time: str) -> int:
        """Return the wall time that a message says."""
        return round(datetime.fromisoformat(time).timestamp() * 1000) * 1_000_000

    def observe(self, finding: Finding) -> None:
        """Keep one finding, and wake who waits for it."""
        self.findings.append(finding)
        self._news.set()

    def of(self, kind: type) -> list:
        """Return the findings of one kind."""
        return [finding for finding in self.findings if isinstance(finding, kind)]

    async def found(self, is_it: Callable[[Finding], bool]) -> Finding:
        """Return the first finding, there already or still to come, of which `is_it` is true."""
        n_seen = 0
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self._news.clear()
                for finding in self.findings[n_seen:]:
                    if is_it(finding):
                        return finding
                n_seen = len(self.findings)
                await self._news.wait()


@contextlib.asynccontextmanager
async def bedside(
    settings: Config, stories: Mapping[str, str], *, speed_ratio: float = 30.0, mode: str = "test"
) -> AsyncIterator[Bedside]:
    """Give a gateway that serves one virtual sensor per story, and stop it in order at the end.

    Parameters
    ----------
    settings : Config
        From `config`.
    stories : mapping
        Sensor id to the text of its scenario; a sensor without one has no port to open.
    speed_ratio : float
        Story seconds per real second.
    """
    clock = SystemClock(speed_ratio)
    delivery = Delivery(settings, clock, mqtt=mqtt_settings(settings), broker=broker_words(settings), mode=mode)

    def observe(finding: Finding) -> None:
        here.observe(finding)

    # More patience than the service has: on a busy machine the broker's answer may take more than its second.
    runtime = Runtime(settings, clock, delivery, on_finding=observe, random=random.Random(1), drain_patience_s=5.0)
    here = Bedside(settings, clock, delivery, runtime, clock.monotonic_ns())
    unplugged = asyncio.Event()
    ports = {sensor.id: Path(sensor.port) for sensor in settings.sensor}
    async with asyncio.TaskGroup() as tasks:
        for name, text in stories.items():
            scenario = parse_scenario(text)
            sensor = VirtualSensor(scenario, VirtualPatient(scenario))
            tasks.create_task(serve(sensor, ports[name], clock, unplugged), name=f"virtual-{name}")
        tasks.create_task(runtime.run(here.stop), name="runtime")
        try:
            yield here
        finally:
            here.stop.set()
            unplugged.set()


def story(*parts: str, seed: int = 3, duration_s: float = 100_000) -> str:
    """Return a scenario of sinus rhythm at 72/min, and `parts`."""
    head = f'title = "Test"\nduration_s = {duration_s}\n[patient]\nseed = {seed}\n'
    return head + '[[step]]\nat_s = 0\nrhythm = "sinus"\nheart_rate_bpm = 72\n' + "\n".join(parts)


def step(at_s: float, rhythm: str, rate_bpm: float | None = None) -> str:
    """Return a change of rhythm."""
    rate = "" if rate_bpm is None else f"heart_rate_bpm = {rate_bpm}\n"
    return f'[[step]]\nat_s = {at_s}\nrhythm = "{rhythm}"\n{rate}'


def fault(kind: str, at_s: float, duration_s: float, extra: str = "") -> str:
    """Return something that goes wrong."""
    return f'[[fault]]\nkind = "{kind}"\nat_s = {at_s}\nduration_s = {duration_s}\n{extra}\n'
