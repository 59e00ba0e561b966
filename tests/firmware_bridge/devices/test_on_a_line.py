"""The virtual devices on a pseudo-terminal, as `serial_link.serve` offers them to any program."""

from __future__ import annotations

import asyncio
import os

import pytest

from edge.clock import ManualClock
from firmware_bridge.virtual.devices.table import DEVICES
from firmware_bridge.virtual.scenario import Scenario
from firmware_bridge.virtual.serial_link import PERIOD_S, serve
from tests.acquisition.devices.every_device import DEVICES as CODECS
from tests.acquisition.devices.hearing import Heard, hear
from tests.firmware_bridge.test_serial_link import Bench, client, read_all

CODEC_OF = {device.name.removesuffix("_2").removesuffix("_7"): device for device in CODECS}


@pytest.mark.parametrize("name", DEVICES)
def test_a_program_opens_the_port_and_hears_the_device(name, tmp_path):
    """The greeting goes out, the frames come in; ten seconds without a hole."""
    decoder, heard = CODEC_OF[name].make(), Heard()

    async def story():
        clock, stop = ManualClock(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            device = DEVICES[name](Scenario.simple())
            bench = Bench(clock, group.create_task(serve(device, tmp_path / "port", clock, stop), name="serve"), stop)
            await bench.run(PERIOD_S)
            with client(tmp_path / "port") as fd:
                for item in decoder.greeting():
                    os.write(fd, item.data)
                for _ in range(48):
                    await bench.run(0.25)
                    now_s = clock.monotonic_ns() / 1e9
                    if now_s > 3:  # by then the slowest of them has been started
                        heard.extend(hear(decoder, read_all(fd), at_s=now_s, flush=False))
                    for item in decoder.requests(clock.monotonic_ns()):
                        os.write(fd, item.data)
                    if name == "cyton" and 2 < now_s <= 3:
                        heard.extend(hear(decoder, read_all(fd, at_least=0), at_s=now_s, flush=False))
            await bench.finish()

    asyncio.run(story())
    heard.extend(decoder.flush())

    numbers = heard.sequences(CODEC_OF[name].stream)[-round(5 * CODEC_OF[name].rate_hz) :]
    assert len(numbers) >= 5 * CODEC_OF[name].rate_hz
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
