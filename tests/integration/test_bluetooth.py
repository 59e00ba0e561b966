"""Four Bluetooth sensors at once, supervised, on unmodified bleak and an emulated BlueZ, through every kind of trouble.

Run by hand it tells how long noticing and recovering took, in seconds of the story: ``pytest -s`` shows the table.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import pytest

from edge.acquisition.ble import BleAdapter, BleSettings, BleTransport
from edge.acquisition.gatt.polar_pmd import POLAR_PLAN, PolarDecoder, PolarSettings
from edge.acquisition.gatt.profiles import ProfileDecoder, ProfileSettings, profile_plan
from edge.acquisition.sensor import Sensor
from edge.acquisition.sensor_settings import SensorSettings
from edge.acquisition.transport import Remedy
from edge.clock import NS_PER_S, SystemClock
from edge.messages import DeviceBlock, LinkChange, LinkState, Reading, RrIntervals
from tests.fakes.bluetooth import emulated_bluetooth, until

from firmware_bridge.virtual.ble.kinds import Kind, WearableSettings  # isort: skip - after the check for bumble

SPEED = 10
PATIENCE_S = 40.0
"""Real seconds for one fault to be healed; a broken ladder hangs, this ends it."""


STORY_S = 300.0
"""Five minutes of the story, or longer if the faults take longer."""
H10_RATE_HZ = 130.045
"""True rate of the virtual strap, which calls it 130 Hz: that of a real one."""


def is_data(item) -> bool:
    """Whether it comes from the body: a battery level is read on every connect, also of a sensor that is mute."""
    is_battery = isinstance(item, Reading) and item.measure == "battery_pct"
    return isinstance(item, DeviceBlock | Reading | RrIntervals) and not is_battery


class Watched:
    """A supervised sensor and all that it said."""

    def __init__(self, name, wearable, decoder, plan, adapter, clock) -> None:
        self.name, self.wearable, self.decoder = name, wearable, decoder
        self.items = []
        self._clock = clock
        transport = BleTransport(BleSettings(plan=plan, address=wearable.address), adapter, clock)
        settings = SensorSettings(sensor=name, max_silence_s=5.0, open_timeout_s=60.0)
        self.sensor = Sensor(settings, lambda: transport, decoder, clock, Random(1))

    async def run(self) -> None:
        await self.sensor.run(lambda item: self.items.append((self._clock.monotonic_ns() / NS_PER_S, item)))

    def n_data(self) -> int:
        return sum(is_data(item) for _, item in self.items)

    def blocks(self, stream: str) -> list[DeviceBlock]:
        return [item for _, item in self.items if isinstance(item, DeviceBlock) and item.stream == stream]

    def noticed_at_s(self, since_s: float) -> float | None:
        troubles = {LinkState.SILENT, LinkState.LOST}
        return next(
            (
                at
                for at, item in self.items
                if at >= since_s and isinstance(item, LinkChange) and item.state in troubles
            ),
            None,
        )

    def healed_at_s(self, since_s: float) -> float | None:
        noticed_s = self.noticed_at_s(since_s)
        if noticed_s is None:
            return None
        return next((at for at, item in self.items if at > noticed_s and is_data(item)), None)


@asynccontextmanager
async def ward():
    """Give four sensors that deliver."""
    clock = SystemClock(SPEED)
    kinds = (Kind.HEART_RATE_STRAP, Kind.OXIMETER, Kind.THERMOMETER, Kind.ECG_STRAP)
    async with emulated_bluetooth([WearableSettings(kind=each) for each in kinds], clock) as env:
        adapter = BleAdapter(clock)
        profiles = ("heart_rate", "oximeter", "thermometer")
        sensors = [
            Watched(
                name,
                wearable,
                ProfileDecoder(ProfileSettings(sensor=name, profiles=(name,))),
                profile_plan((name,)),
                adapter,
                clock,
            )
            for name, wearable in zip(profiles, env.wearables, strict=False)
        ]
        decoder = PolarDecoder(PolarSettings(sensor="ecg", streams=("ecg",)))
        sensors.append(Watched("ecg", env.wearables[3], decoder, POLAR_PLAN, adapter, clock))
        running = [asyncio.create_task(each.run()) for each in sensors]
        try:
            await until(lambda: all(each.n_data() for each in sensors) and sensors[3].blocks("ecg"), PATIENCE_S)
            yield env, sensors, clock
        finally:
            for each in running:
                each.cancel()
            await asyncio.wait(running)


async def struck(env, sensors, clock, name, act, hit):
    """Do `act`, wait until every sensor in `hit` noticed and delivers again; return the times in story seconds."""
    since_s = clock.monotonic_ns() / NS_PER_S
    await act()
    await until(lambda: all(each.healed_at_s(since_s) for each in hit), PATIENCE_S)
    noticed_s = max(each.noticed_at_s(since_s) for each in hit) - since_s
    healed_s = max(each.healed_at_s(since_s) for each in hit) - since_s
    print(f"{name:28} noticed after {noticed_s:5.1f} s, data again after {healed_s:5.1f} s")  # noqa: T201 - for the notes
    return name


def test_every_fault_of_the_link_is_healed_without_a_person():
    """Drop, refusals, three depths of zombie, adapter off, adapter pulled: each sensor delivers again after each."""

    async def scenario():
        async with ward() as (env, sensors, clock):
            rate, oximeter, _, ecg = sensors

            async def zombie(sensor, until_remedy):
                sensor.wearable.go_silent(until=until_remedy)

            async def refused():
                env.bluez.fail_connects("org.bluez.Error.Failed", "le-connection-abort-by-local", 1)
                env.bluez.fail_connects("org.bluez.Error.InProgress", "Operation already in progress", 2)
                await rate.wearable.drop_link()

            async def off():
                await env.bluez.set_powered(False)
                await clock.sleep(5.0)
                await env.bluez.set_powered(True)

            async def pulled():
                env.bluez.unplug()
                await clock.sleep(5.0)
                env.bluez.plug_in()

            faults = (
                ("link drops", rate.wearable.drop_link, [rate]),
                ("connection refused 3 times", refused, [rate]),
                ("zombie until subscribed", lambda: zombie(rate, Remedy.RESUBSCRIBE), [rate]),
                ("zombie until reconnected", lambda: zombie(oximeter, Remedy.RECONNECT), [oximeter]),
                ("zombie until rediscovered", lambda: zombie(ecg, Remedy.REDISCOVER), [ecg]),
                ("adapter off for 5 s", off, sensors),
                ("adapter pulled for 5 s", pulled, sensors),
            )
            healed = [await struck(env, sensors, clock, *fault) for fault in faults]
            await clock.sleep(max(0.0, STORY_S - clock.monotonic_ns() / NS_PER_S))
            counters = {each.name: each.sensor.counters for each in sensors}
            return healed, counters, ecg.blocks("ecg"), ecg.decoder.counters.n_lost_samples

    healed, counters, blocks, n_lost_samples = asyncio.run(scenario())

    assert len(healed) == 7
    assert counters["heart_rate"].n_remedies[Remedy.RESUBSCRIBE.value] >= 1
    assert counters["oximeter"].n_remedies[Remedy.RECONNECT.value] >= 1
    assert counters["ecg"].n_remedies[Remedy.REDISCOVER.value] >= 1
    assert all(each.n_connects >= 3 for each in counters.values())
    assert not any(each.n_dropped_bytes for each in counters.values())
    # Every sample that the strap took between the first and the last one that came has come or is counted as lost.
    first, last = blocks[0], blocks[-1]
    n_taken = last.sequence + len(last.values) - first.sequence
    assert sum(len(block.values) for block in blocks) + n_lost_samples == n_taken
    elapsed_s = (last.device_time_ns - first.device_time_ns) / NS_PER_S
    assert last.sequence - first.sequence == pytest.approx(elapsed_s * H10_RATE_HZ, rel=2e-4)
    assert n_lost_samples > 0


def test_values_lost_on_the_way_are_counted_to_the_sample():
    """Notifications that vanish in the system are told by the strap's own clock: no sample more, no sample less."""

    async def scenario():
        async with ward() as (_, sensors, _):
            ecg = sensors[3]
            n_before = len(ecg.blocks("ecg"))
            ecg.wearable.lose(6)
            await until(lambda: len(ecg.blocks("ecg")) >= n_before + 6, PATIENCE_S)
            return ecg.blocks("ecg"), ecg.wearable.sent

    blocks, sent = asyncio.run(scenario())

    steps = [after.sequence - (before.sequence + len(before.values)) for before, after in pairwise(blocks)]
    n_lost = sum(value.n_samples for value in sent if value.fate == "dropped" and value.n_samples)
    assert n_lost > 0
    assert sum(steps) == n_lost
    assert all(step >= 0 for step in steps)
