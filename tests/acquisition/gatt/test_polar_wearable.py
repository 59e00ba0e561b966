"""A virtual strap that others wrote, over an emulated BlueZ: what it sent arrives, and what was lost is counted."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

import numpy as np
import pytest

from edge.acquisition.gatt.polar_control import DATA
from edge.acquisition.gatt.polar_pmd import POLAR_PLAN, PolarDecoder, PolarSettings
from edge.acquisition.sensor import Sensor
from edge.acquisition.sensor_settings import SensorSettings
from edge.clock import SystemClock
from edge.messages import DeviceBlock
from tests.fakes.bluetooth import emulated_bluetooth, until

pytest.importorskip("bleak", reason="the strap is met with bleak")
pytest.importorskip("dbus_fast", reason="the emulated BlueZ needs dbus-fast")

from edge.acquisition.ble import BleAdapter, BleSettings, BleTransport
from firmware_bridge.virtual.ble.kinds import Kind, WearableSettings
from firmware_bridge.virtual.ble.polar import PolarData
from firmware_bridge.virtual.ble.sending import Fate

ECG, ACC = 0, 2
SPEED = 10.0


class Met:
    """A supervised strap: what came of it, and what it sent."""

    def __init__(self, env, clock) -> None:
        self.wearable = env.wearable
        self.decoder = PolarDecoder(PolarSettings(sensor="chest"))
        self.items: list = []
        self.adapter = BleAdapter(clock)
        transport = BleTransport(BleSettings(plan=POLAR_PLAN), self.adapter, clock)
        self.sensor = Sensor(SensorSettings(sensor="chest"), lambda: transport, self.decoder, clock, Random(1))

    def blocks(self, stream: str) -> list[DeviceBlock]:
        return [item for item in self.items if isinstance(item, DeviceBlock) and item.stream == stream]

    async def more(self, stream: str, n: int) -> None:
        """Wait for `n` further blocks."""
        have = len(self.blocks(stream))
        await until(lambda: len(self.blocks(stream)) >= have + n)

    def frames(self, measurement: int, *fates: Fate) -> list[bytes]:
        return [data for data in self.wearable.sent.of(DATA, *fates) if data[0] == measurement]


def meet(story) -> Met:
    async def act():
        clock = SystemClock(SPEED)
        async with emulated_bluetooth((WearableSettings(kind=Kind.ECG_STRAP),), clock) as env:
            met = Met(env, clock)
            running = asyncio.create_task(met.sensor.run(met.items.append))
            await met.more("acc", 2)
            await story(met)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            await met.adapter.close()
            return met

    return asyncio.run(act())


def ecg_of(frame: bytes) -> np.ndarray:
    """Read a frame of 24-bit microvolts the slow way."""
    return np.array([int.from_bytes(frame[k : k + 3], "little", signed=True) / 1000 for k in range(10, len(frame), 3)])


def test_what_the_strap_sent_arrives_and_losses_and_copies_are_counted():
    """One value lost, five in a row, two copies: samples, numbers and counts agree with what the strap knows."""

    async def story(met):
        for harm in (lambda: met.wearable.lose(1), lambda: met.wearable.lose(5), lambda: met.wearable.repeat(2)):
            harm()
            await met.more("ecg", 8)

    met = meet(story)

    sent = met.frames(ECG, Fate.SENT)
    blocks = met.blocks("ecg")
    assert len(sent) - 1 <= len(blocks) <= len(sent)  # the last may have been on its way
    for frame, block in zip(sent, blocks, strict=False):
        assert block.values.ravel() == pytest.approx(ecg_of(frame))
    dropped = [*met.frames(ECG, Fate.DROPPED), *met.frames(ACC, Fate.DROPPED)]
    assert dropped
    n_lost = 73 * len(met.frames(ECG, Fate.DROPPED)) + 36 * len(met.frames(ACC, Fate.DROPPED))
    assert met.decoder.counters.n_lost_samples == n_lost
    n_copies = len([*met.frames(ECG, Fate.REPEATED), *met.frames(ACC, Fate.REPEATED)])
    assert met.decoder.counters.n_corrupt.get("duplicate", 0) >= n_copies
    assert set(met.decoder.counters.n_corrupt) <= {"duplicate"}


def test_strap_that_stops_by_itself_and_one_that_hangs_up_come_back():
    """Streams start again, and the numbers go on by the strap's own clock."""

    async def story(met):
        await met.more("ecg", 4)
        met.wearable.part(PolarData).stop_by_itself()
        await met.more("ecg", 4)
        await met.wearable.drop_link()
        await met.more("ecg", 4)

    met = meet(story)

    blocks = met.blocks("ecg")
    elapsed_s = (blocks[-1].device_time_ns - blocks[0].device_time_ns) / 1e9
    assert blocks[-1].sequence - blocks[0].sequence == pytest.approx(elapsed_s * 130.0452, abs=1.5)
    assert met.decoder.counters.n_device_resets == 0
    assert met.sensor.counters.n_connects == 2
