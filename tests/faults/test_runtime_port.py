"""A sensor's port that is not there or not ours: the service runs on, says so everywhere, and connects when it can."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest

from edge.acquisition.sensor import Sensor
from edge.acquisition.sensor_settings import SensorSettings
from edge.app import Runtime
from edge.clock import ManualClock
from edge.delivery import Delivery
from edge.errors import TransportError, TransportFault
from edge.health import sensor_metrics
from edge.messages import Alert, AlertState, LinkChange, LinkState, Vitals
from tests.fakes.bedside import bedside, config, running_broker, story
from tests.fakes.care_centre import CareCentre
from tests.fakes.scripted_transport import ScriptedTransport


def lost(finding) -> bool:
    return isinstance(finding, LinkChange) and finding.state is LinkState.LOST


def test_missing_port_is_said_at_the_broker_in_health_and_by_an_alert(tmp_path, caplog):
    """Status `lost` with the path, a technical alert, counted attempts; the service itself goes on."""

    async def play():
        async with running_broker(tmp_path / "broker") as broker:
            settings = config(tmp_path, {"bed": "p-9c1e"}, port=broker.port)
            with CareCentre(broker.port) as centre:
                async with bedside(settings, {}, speed_ratio=30) as gateway:
                    alert = await gateway.found(lambda f: isinstance(f, Alert) and f.condition == "link-lost:bed")
                    health = gateway.runtime.health()
                    status = await asyncio.to_thread(
                        centre.wait_for,
                        lambda heard: heard.path == "sensor/bed/status" and heard.body["state"] == "lost",
                    )
                return alert, health, status

    with caplog.at_level("WARNING"):
        alert, health, status = asyncio.run(play())

    assert alert.state is AlertState.RAISED
    assert status.body["reason"].startswith("missing: ")
    assert str(tmp_path / "bed") in status.body["reason"]
    assert health["sensors"]["bed"]["state"] == "lost"
    assert health["sensors"]["bed"]["failures"] >= 1
    assert "sensor.lost sensor=bed reason=missing" in caplog.text


def test_port_that_appears_later_is_used_without_help(tmp_path):
    """A sensor plugged in after the start is found by the next attempt, and the alert ends."""
    settings = config(tmp_path, {"bed": "p-9c1e"})
    text = story('[[fault]]\nkind = "disconnect"\nat_s = 0\nduration_s = 20\n')

    async def play():
        async with bedside(settings, {"bed": text}, speed_ratio=30) as gateway:
            await gateway.found(lost)
            return await gateway.found(
                lambda f: isinstance(f, Vitals) and bool(getattr(f.measurements.get("heart_rate_bpm"), "value", None))
            )

    assert asyncio.run(play()).measurements["heart_rate_bpm"].value == pytest.approx(72, abs=8)


def test_port_without_permission_is_said_with_what_to_do(tmp_path, caplog):
    """The reason and the hint reach status and health; only a person can mend it, so the attempts become rare."""
    settings = config(tmp_path, {"bed": "p-9c1e"})
    refusal = TransportError(
        "/dev/ttyUSB0 may not be opened by this user", reason=TransportFault.PERMISSION, hint="add it to group dialout"
    )

    async def play():
        clock = ManualClock()
        delivery = Delivery(settings, clock, mqtt=None, broker="none")
        changes: asyncio.Queue[LinkChange] = asyncio.Queue()

        def observe(finding) -> None:
            if lost(finding):
                changes.put_nowait(finding)

        runtime = Runtime(settings, clock, delivery, on_finding=observe)
        (attached,) = runtime.sensors
        link = Sensor(
            SensorSettings(sensor="bed"),
            lambda: ScriptedTransport(clock, refuses=refusal),
            attached.decoder,
            clock,
            Random(1),
        )
        runtime.sensors = (replace(attached, link=link),)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(runtime.run(stop))
            async with asyncio.timeout(20):
                change = await changes.get()
            metrics = sensor_metrics(runtime.sensors[0])
            stop.set()
        return change, metrics

    with caplog.at_level("WARNING"):
        change, metrics = asyncio.run(play())

    assert change.reason == "permission: /dev/ttyUSB0 may not be opened by this user; add it to group dialout"
    assert metrics["reason"] == change.reason
    assert "permission" in caplog.text
