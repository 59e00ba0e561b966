"""From findings to the disk: what is durable, what waits, what happens when the disk or the broker will not."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from dataclasses import replace

from edge.alarm_memory import recall, remember
from edge.clock import ManualClock
from edge.config_sections import Outbox
from edge.delivery import Delivery
from edge.messages import Alert, AlertState, Reading, ReadingStatus
from edge.outbox.record import Lane
from tests.fakes.bedside import config
from tests.fakes.outbox_records import entry
from tests.test_app import alert, vitals

KEY = "alerts/p-1"


@contextlib.asynccontextmanager
async def serving(settings):
    """Give an open delivery without a broker, and close it in order."""
    delivery = Delivery(settings, ManualClock(), mqtt=None, broker="none")
    await delivery.start(lambda: ((), {}))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(delivery.run())
        yield delivery
        await delivery.stop({"reason": "end of test"})


def announce(delivery: Delivery, each: Alert, *, padding: int = 0) -> None:
    memory = remember([each], delivery.to_wall_ns) + b" " * padding
    delivery.take_alert("p-1", each, memory_key=KEY, memory=memory, is_end=each.state is AlertState.CLOSED)


def kept(settings, lane: Lane) -> list[tuple[int, str]]:
    """Return sequence and topic of what is on disk, read by somebody else."""
    with contextlib.closing(sqlite3.connect(settings.outbox.path)) as db:
        return db.execute("SELECT id, topic FROM record WHERE lane = ? ORDER BY id", (int(lane),)).fetchall()


def test_an_alert_is_kept_when_there_is_no_broker(tmp_path):
    """State and log of the alert and its memory are on disk when the service has stopped."""
    settings = config(tmp_path, {})

    async def play():
        async with serving(settings) as delivery:
            announce(delivery, alert("asystole"))
            await delivery.settled()
            return await delivery.load_state(KEY)

    memory = asyncio.run(play())

    assert memory is not None
    topics = [topic for _, topic in kept(settings, Lane.ALERT)]
    assert topics == ["vitaledge/v1/ward-3/gw-test/alert/asystole", "vitaledge/v1/ward-3/gw-test/alert/log"]


def test_a_full_outbox_takes_every_alert_and_the_service_goes_on(tmp_path, caplog):
    """An alert makes room for itself; a memory that finds none is said to the operator and ends nothing."""
    settings = config(tmp_path, {}, outbox=Outbox(path=str(tmp_path / "outbox.db"), max_mb=10))

    async def play():
        async with serving(settings) as delivery:
            for _ in range(4):  # 12 MB into 10
                await delivery._outbox.append(*(entry(size=300_000) for _ in range(10)))
            announce(delivery, alert("a"), padding=11_000_000)
            announce(delivery, alert("b"))
            await delivery.settled()
            return await delivery.load_state(KEY)

    memory = asyncio.run(play())

    assert f"alerts.not_remembered key={KEY}" in caplog.text
    assert [each.id for each in recall(memory, lambda wall_ns: wall_ns)] == ["b"]
    assert len(kept(settings, Lane.ALERT)) == 4


def test_everything_taken_before_the_stop_is_on_disk_after_it(tmp_path):
    """Telemetry that waited for its group is written before the outbox closes."""
    settings = config(tmp_path, {})

    async def play():
        async with serving(settings) as delivery:
            for at_s in range(0, 3000, 10):
                delivery.take("p-1", vitals(at_s, 70.0 + at_s % 7), bed="p-1")

    asyncio.run(play())

    readings = [topic for _, topic in kept(settings, Lane.READING) if topic.endswith("heart-rate")]
    assert len(readings) == 300


def test_a_stored_reading_waits_for_somebody_to_hear_it(tmp_path):
    """A glucose of last night that a meter sends this morning is said once; a current value goes with the vital signs."""
    settings = config(tmp_path, {})
    now = Reading(
        sensor="meter", measure="glucose_mmol_l", value=5.5, unit="mmol/L", measured_at_ns=0, status=ReadingStatus.VALID
    )

    async def play():
        async with serving(settings) as delivery:
            delivery.take("p-1", replace(now, is_stored=True, device_time="2026-02-28T23:10:30"), bed="p-1")
            delivery.take("p-1", now, bed="p-1")

    asyncio.run(play())

    assert [topic for _, topic in kept(settings, Lane.SUMMARY)] == ["vitaledge/v1/ward-3/gw-test/reading/glucose"]
    assert not any("glucose" in topic for _, topic in kept(settings, Lane.READING))
