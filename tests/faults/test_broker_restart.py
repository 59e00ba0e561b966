"""Real brokers, killed and started again: the care centre has every alert and every summary, each once."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.messages import AlertState
from edge.outbox.record import Lane
from edge.publishing.broker import MOSQUITTO, NATS, start_broker
from edge.publishing.forwarder import ForwarderSettings
from edge.publishing.mqtt import Protocol
from tests.fakes.contract import MEASUREMENT, alert, summary, validated
from tests.fakes.subscriber import subscriber
from tests.fakes.uplink import uplink

IMPATIENT = ForwarderSettings(reconnect_first_s=0.05, reconnect_last_s=0.2, stop_timeout_s=2.0)

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
    reason="mosquitto is not installed",
)
needs_nats = pytest.mark.skipif(
    not (Path(sys.executable).parent / "nats-server").exists(), reason="the extra [broker] is not installed"
)


def run(story):
    return asyncio.run(asyncio.wait_for(story, 90))


async def killed(broker):
    os.kill(broker.pid, signal.SIGKILL)
    await broker.stop()


@needs_mosquitto
def test_a_killed_broker_costs_no_alert_and_no_summary(tmp_path):
    """Killed three times in the middle of the traffic, which goes on while it is away."""

    async def story():
        broker = await start_broker(tmp_path, kinds=(MOSQUITTO,))
        port = broker.port
        n_written = 0
        try:
            async with (
                subscriber(port) as centre,
                uplink(tmp_path / "o.db", broker.settings("gw-7f3a"), settings=IMPATIENT, clock=SystemClock()) as up,
            ):
                for round_ in range(3):
                    for _ in range(25):
                        await up.outbox.append(*up.encoder.alert(alert(n_written)))
                        await up.outbox.append(up.encoder.summary(summary(n_written)))
                        n_written += 1
                        if n_written % 25 == 10:
                            await centre.until(lambda n=n_written: len(centre.distinct("/log")) >= n - 5)
                            await killed(broker)
                    broker = await start_broker(tmp_path, kinds=(MOSQUITTO,), port=port)
                    await centre.until(lambda seen=round_: centre.n_subscribed >= seen + 2)
                await centre.until(lambda: len(centre.distinct("/log")) >= n_written)
                await centre.until(lambda: len(centre.distinct("/1m")) >= n_written)
                await up.until(lambda stats: stats.n_in_flight == 0)
                await up.stopped()
                return centre, n_written, await up.depth(), up.forwarder.stats()
        finally:
            await broker.stop()

    centre, n_written, depth, stats = run(story())

    logs, summaries = centre.distinct("/log"), centre.distinct("/1m")
    assert sorted(body["episode"] for body in logs) == list(range(n_written))
    assert len({body["start_at"] for body in summaries}) == len(summaries) == n_written
    assert depth == 0
    assert stats.n_connects >= 4
    for _, payload, _ in centre.messages:
        if payload.startswith(b"{"):
            validated(payload)


@needs_mosquitto
def test_a_late_joiner_sees_the_open_alerts_and_no_value(tmp_path):
    """Retained are presence, birth, links and open alerts; never a number that may be stale."""

    async def story():
        broker = await start_broker(tmp_path, kinds=(MOSQUITTO,))
        try:
            async with uplink(tmp_path / "o.db", broker.settings("gw"), settings=IMPATIENT, clock=SystemClock()) as up:
                async with subscriber(broker.port, "first") as first:
                    await up.outbox.append(*up.encoder.alert(alert(1)))
                    await up.outbox.append(*up.encoder.alert(alert(2)))
                    await up.outbox.append(*up.encoder.alert(alert(2, 2, state=AlertState.CLOSED)))
                    up.outbox.offer(up.encoder.measurement("heart_rate_bpm", MEASUREMENT, 0))
                    await first.until(lambda: len(first.distinct("/log")) == 3 and first.distinct("/heart-rate"))
                    await first.until(lambda: any(not payload for _, payload, _ in first.messages))
                async with subscriber(broker.port, "late") as late:
                    await up.outbox.append(up.encoder.summary(summary()))
                    await late.until(lambda: late.distinct("/1m"))
                    return [topic for topic, _, is_retained in late.messages if is_retained]
        finally:
            await broker.stop()

    topics = {topic.removeprefix("vitaledge/v1/north/gw-7f3a/") for topic in run(story())}

    assert topics == {"$state", "birth", "alert/asystole-1"}


@needs_mosquitto
def test_without_a_subscriber_alerts_wait_for_one(tmp_path):
    """Nobody is there (0x10): the alert's log stays on disk until somebody subscribes."""

    async def story():
        broker = await start_broker(tmp_path, kinds=(MOSQUITTO,))
        try:
            async with uplink(tmp_path / "o.db", broker.settings("gw")) as up:
                await up.outbox.append(*up.encoder.alert(alert(1)))
                await up.until(lambda stats: stats.n_nobody >= 2)
                kept = (await up.outbox.pending(Lane.ALERT, 0, 10)).records
                async with subscriber(broker.port) as centre:
                    await centre.until(lambda: centre.distinct("/log"))
                    return [record.topic for record in kept], centre.distinct("/log")
        finally:
            await broker.stop()

    kept, heard = run(story())

    assert [topic.rsplit("/", 1)[-1] for topic in kept] == ["log"]
    assert [body["alert_id"] for body in heard] == ["asystole-1"]


@needs_nats
@pytest.mark.parametrize("protocol", [Protocol.AUTO, Protocol.V311])
def test_the_wheel_s_broker_serves_as_well(tmp_path, protocol):
    """nats-server speaks 3.1.1 alone; everything arrives, valid, and the stop is clean."""

    async def story():
        broker = await start_broker(tmp_path, kinds=(NATS,))
        settings = broker.settings("gw-7f3a")
        try:
            async with (
                subscriber(broker.port, is_v5=False) as centre,
                uplink(
                    tmp_path / "o.db",
                    type(settings)(port=broker.port, client_id="gw-7f3a", protocol=protocol),
                    settings=IMPATIENT,
                    clock=SystemClock(),
                ) as up,
            ):
                for k in range(20):
                    await up.outbox.append(*up.encoder.alert(alert(k)))
                    await up.outbox.append(up.encoder.summary(summary(k)))
                await centre.until(lambda: len(centre.distinct("/log")) == 20 and len(centre.distinct("/1m")) == 20)
                await up.until(lambda stats: stats.n_acknowledged == 60)
                await up.stopped()
                await centre.until(lambda: centre.states()[-1:] == ["stopped"])
                return centre, await up.depth()
        finally:
            await broker.stop()

    centre, depth = run(story())

    assert depth == 0
    assert centre.states() == ["online", "stopped"]
    for _, payload, _ in centre.messages:
        if payload.startswith(b"{"):
            validated(payload)


@needs_nats
def test_the_wheel_s_broker_killed_costs_nothing(tmp_path):
    async def story():
        broker = await start_broker(tmp_path, kinds=(NATS,))
        port = broker.port
        try:
            async with (
                subscriber(port, is_v5=False) as centre,
                uplink(tmp_path / "o.db", broker.settings("gw-7f3a"), settings=IMPATIENT, clock=SystemClock()) as up,
            ):
                for k in range(30):
                    await up.outbox.append(*up.encoder.alert(alert(k)))
                    if k == 15:
                        await centre.until(lambda: len(centre.distinct("/log")) >= 10)
                        await killed(broker)
                broker = await start_broker(tmp_path, kinds=(NATS,), port=port)
                await centre.until(lambda: len(centre.distinct("/log")) == 30)
                await up.until(lambda stats: stats.n_acknowledged >= 60 and not stats.n_in_flight)
                await up.stopped()
                return [body["episode"] for body in centre.distinct("/log")], await up.depth()
        finally:
            await broker.stop()

    episodes, depth = run(story())

    assert sorted(episodes) == list(range(30))
    assert depth == 0
