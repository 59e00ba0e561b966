"""An outbox and a forwarder together, on a clock that jumps over every wait."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager

from edge.clock import ManualClock
from edge.outbox.writer import OutboxWriter, WriterSettings
from edge.publishing.forwarder import Forwarder, ForwarderSettings
from edge.publishing.mqtt import MqttSettings
from tests.fakes.contract import START_WALL_NS, payloads


class JumpingClock(ManualClock):
    """Whoever sleeps has slept at once; how long is noted."""

    def __init__(self):
        super().__init__(start_wall_ns=START_WALL_NS)
        self.slept_s = []

    async def sleep(self, duration_s):
        self.slept_s.append(duration_s)
        self.advance(duration_s)
        await asyncio.sleep(0)


class Uplink:
    """What a test needs at hand."""

    def __init__(self, outbox, forwarder, task, clock, encoder, notices):
        self.outbox = outbox
        self.forwarder = forwarder
        self.task = task
        self.clock = clock
        self.encoder = encoder
        self.notices = notices
        self._news = asyncio.Event()
        forwarder.on_change(self._news.set)

    async def until(self, condition, timeout_s=20.0):
        """Return when `condition(stats)` holds of the forwarder's figures; looked at whenever they change."""
        async with asyncio.timeout(timeout_s):
            while not condition(self.forwarder.stats()):
                self._news.clear()
                await self._news.wait()

    async def stopped(self):
        """Ask for an ordered stop and return when it is done."""
        self.forwarder.stop()
        await asyncio.wait_for(self.task, 20)

    async def depth(self):
        """How many records are on disk, every removal included."""
        await self.outbox.load_state("flush")
        await self.outbox.load_state("flush")
        await self.outbox.load_state("flush")
        return sum(self.outbox.stats().depth.values())


@asynccontextmanager
async def uplink(path, mqtt: MqttSettings, *, settings=None, clock=None, writer_settings=None):
    """Open an outbox at `path` and forward it to the broker of `mqtt` until the end of the block."""
    clock = clock or JumpingClock()
    encoder = payloads()
    notices = []
    outbox = OutboxWriter(
        path,
        clock,
        encoder.loss,
        settings=writer_settings or WriterSettings(group_s=0.02),
        on_notice=notices.append,
    )
    opening = await outbox.start()
    encoder = payloads(boot=opening.boot_id)
    forwarder = Forwarder(
        outbox,
        mqtt,
        encoder.topics,
        clock,
        announcements=lambda: [encoder.birth(at_ns=0, versions={}, models={}, sensors=[])],
        settings=settings or ForwarderSettings(stop_timeout_s=1.0, settle_s=0.0),
        jitter=random.Random(1),
    )
    task = asyncio.create_task(forwarder.run())
    try:
        yield Uplink(outbox, forwarder, task, clock, encoder, notices)
    finally:
        forwarder.stop()
        await asyncio.wait_for(task, 20)
        await outbox.close()
