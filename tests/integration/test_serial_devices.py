"""Every serial device on a real pseudo-terminal: unplugged in the middle of the stream, and plugged in again.

The device is virtual, everything else is what runs at the bed: the kernel's terminal under a stable link, the serial
port with its thread, the supervision, the codec and the time line.  The clock is the test's own: no step is taken
before the bytes of the last one were read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from random import Random

import pytest

from edge.acquisition.bridge import BridgeDecoder, BridgeSettings
from edge.acquisition.sensor import Sensor
from edge.acquisition.sensor_settings import SensorSettings
from edge.acquisition.serial_port import SerialPort, SerialPortSettings
from edge.clock import ManualClock
from edge.conditioning.timeline import Timeline
from edge.messages import Chunk, DeviceBlock, Gap, LinkChange, LinkState, Reading, SensorIdentity
from firmware_bridge.virtual.device import VirtualSensor
from firmware_bridge.virtual.devices.table import DEVICES
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario
from firmware_bridge.virtual.serial_link import PtyPort
from tests.acquisition.devices.every_device import DEVICES as CODECS

NS_PER_S = 1_000_000_000
STEP_S = 0.1
PATIENCE_S = 20.0
UNPLUGGED_S, AWAY_S, STORY_S = 7.0, 4.0, 22.0

CODEC_OF = {device.name.removesuffix("_2").removesuffix("_7"): device for device in CODECS}
DRIVERS = [*DEVICES, "bridge_serial"]


def scenario():
    fault = Fault(kind=FaultKind.DISCONNECT, at_s=UNPLUGGED_S, duration_s=AWAY_S)
    return Scenario.simple(heart_rate_bpm=150, faults=(fault,))


def peer_of(driver):
    return VirtualSensor(scenario()) if driver == "bridge_serial" else DEVICES[driver](scenario())


def decoder_of(driver):
    return BridgeDecoder(BridgeSettings(sensor="s")) if driver == "bridge_serial" else CODEC_OF[driver].make()


def port_settings(driver, link):
    if driver == "bridge_serial":
        return SerialPortSettings(port=str(link))
    line = CODEC_OF[driver].module.LINE
    return SerialPortSettings(port=str(link), baud=line.baud, parity=line.parity, stop_bits=line.stop_bits)


class Watched:
    """A decoder, and how many bytes it was given."""

    def __init__(self, decoder):
        self._decoder = decoder
        self.n_bytes = 0
        self.has_news = asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._decoder, name)

    def push(self, item):
        self.n_bytes += len(item.data)
        self.has_news.set()
        return self._decoder.push(item)


class Busy:
    """A transport that can be waited for: what it does in the machine's own time, the test's clock must not outrun."""

    def __init__(self, transport, bed) -> None:
        self._transport = transport
        self._bed = bed

    def __getattr__(self, name):
        return getattr(self._transport, name)

    async def _through(self, doing):
        self._bed.n_busy += 1
        try:
            return await doing
        finally:
            self._bed.n_busy -= 1
            self._bed.has_item.set()

    async def open(self):
        await self._through(self._transport.open())

    async def write(self, data, channel=""):
        await self._through(self._transport.write(data, channel))

    async def close(self):
        await self._through(self._transport.close())


class Bedside:
    """A device, its cable and the gateway's end of it."""

    def __init__(self, driver, link) -> None:
        self.clock = ManualClock()
        self.peer = peer_of(driver)
        self.decoder = Watched(decoder_of(driver))
        self.items: list = []
        self.has_item = asyncio.Event()
        self.lines: list[bytearray] = []  # what was delivered, link by link
        self.asked: list[bytearray] = []  # what the gateway wrote, link by link
        self._link = link
        self._port: PtyPort | None = None
        self._n_sent = 0
        self.farewell = b""
        self.n_busy = 0
        settings = port_settings(driver, link)
        self.sensor = Sensor(
            SensorSettings(sensor="s"),
            lambda: Busy(SerialPort(settings, self.clock), self),
            self.decoder,
            self.clock,
            Random(1),
        )

    def sink(self, item) -> None:
        self.items.append(item)
        if isinstance(item, LinkChange) and item.state is LinkState.CONNECTED:
            self.lines.append(bytearray())
            self.asked.append(bytearray())
        self.has_item.set()

    @property
    def is_heard(self) -> bool:
        return self.sensor.link is not None and self.sensor.link.state in {LinkState.CONNECTED, LinkState.SILENT}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.sensor.run(self.sink), name="sensor")
            while self.clock.monotonic_ns() < STORY_S * NS_PER_S:
                await self.step()
            self._port.read()  # what was asked in the last step
            task.cancel()
            await asyncio.wait([task])
            with contextlib.suppress(OSError, BlockingIOError):  # nothing was said
                self.farewell = os.read(self._port.fileno(), 4096)
            self._port.close()

    async def step(self) -> None:
        self.clock.advance(STEP_S)
        out = self.peer.advance(self.clock.monotonic_ns())
        if self.peer.is_connected and self._port is None:
            self._port = PtyPort(self._link)
        if not self.peer.is_connected and self._port is not None:
            self._port.close()
            self._port = None
            await self.until(lambda: not self.is_heard)
        await self.settle()
        if self._port is None or not self.is_heard:
            return
        asked = self._port.read()
        self.asked[-1] += asked
        await self.deliver(out + self.peer.receive(asked))

    async def settle(self) -> None:
        """Let everything happen that is due at this instant of the clock."""
        for _ in range(20):
            await asyncio.sleep(0)
            await self.until(lambda: self.n_busy == 0)

    async def deliver(self, data) -> None:
        self._port.write(data)
        assert self._port.n_dropped_bytes == 0
        self.lines[-1] += data
        self._n_sent += len(data)
        async with asyncio.timeout(PATIENCE_S):
            while self.decoder.n_bytes < self._n_sent:
                self.decoder.has_news.clear()
                await self.decoder.has_news.wait()

    async def until(self, is_so) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                self.has_item.clear()
                await self.has_item.wait()


@pytest.fixture(params=DRIVERS)
def driver(request):
    return request.param


@pytest.fixture
def bed(driver, tmp_path):
    """One whole story: connected, unplugged, plugged in again."""

    async def story():
        bed = Bedside(driver, tmp_path / "sensor")
        await bed.run()
        return bed

    return asyncio.run(story())


def samples(items):
    """Every sample by stream, in order of arrival; what the device had stored and sent later is left out."""
    out: dict[str, list] = {}
    for item in items:
        if isinstance(item, DeviceBlock) and not item.is_backfill:
            out.setdefault(item.stream, []).extend(map(tuple, item.values.tolist()))
    return out


def placed(items):
    """Gaps by stream, as the pipeline sees them."""
    lines: dict[str, Timeline] = {}
    gaps: dict[str, list[Gap]] = {}
    for item in items:
        if isinstance(item, Gap):
            lines.pop(item.stream, None)
            gaps.setdefault(item.stream, []).append(item)
        elif isinstance(item, DeviceBlock):
            for found in lines.setdefault(item.stream, Timeline()).push(item):
                if isinstance(found, Gap):
                    gaps.setdefault(item.stream, []).append(found)
    return gaps


def test_unplugged_and_plugged_in_again(driver, bed):
    """The break is told once as a link that was lost, with the reason, and as a gap in every stream."""
    states = [item.state for item in bed.items if isinstance(item, LinkChange)]
    assert states == [
        LinkState.CONNECTING,
        LinkState.CONNECTED,
        LinkState.LOST,
        *([LinkState.LOST] if states.count(LinkState.LOST) == 2 else []),  # first disconnected, then missing
        LinkState.CONNECTED,
        LinkState.STOPPED,
    ]
    lost = next(item for item in bed.items if isinstance(item, LinkChange) and item.state is LinkState.LOST)
    assert lost.reason.startswith("disconnected: ")

    gaps = placed(bed.items)
    streams = samples(bed.items)
    assert streams
    for stream in streams:
        around = [
            gap
            for gap in gaps[stream]
            if gap.start_ns <= (UNPLUGGED_S + 1) * NS_PER_S and gap.end_ns >= 10.5 * NS_PER_S
        ]
        assert len(around) == 1, stream


def test_samples_before_and_after_are_those_that_were_sent(driver, bed):
    """Nothing of one link leaks into the next, nothing is lost, repeated or changed on the way."""
    expected: dict[str, list] = {}
    reference = decoder_of(driver)
    for line in bed.lines:
        found = reference.push(Chunk(data=bytes(line), received_at_ns=0)) + reference.flush()
        reference.reset("link-lost")
        for stream, rows in samples(found).items():
            expected.setdefault(stream, []).extend(rows)

    got = samples(bed.items)

    assert len(bed.lines) == 2
    assert {stream: len(rows) for stream, rows in got.items()} == {
        stream: len(rows) for stream, rows in expected.items()
    }
    assert got == expected


def test_values_before_and_after_are_the_patient_s(driver, bed):
    """A pulse of 150 a minute on both sides of the break; values from the middle of nowhere there are none."""
    lost_at = next(
        k for k, item in enumerate(bed.items) if isinstance(item, LinkChange) and item.state is LinkState.LOST
    )
    rates = ("heart_rate_bpm", "pulse_rate_bpm")
    if driver == "cyton":  # measures no values: its samples are told above
        return
    for part in (bed.items[:lost_at], bed.items[lost_at:]):
        values = [item.value for item in part if isinstance(item, Reading) and item.measure in rates and item.value]
        assert values
        assert all(140 < value < 160 for value in values)


def test_dialogue_is_held_again(driver, bed):
    """A device that the cable feeds forgets what it was told: it is told again, and says again who it is."""
    greeting = b"".join(item.data for item in decoder_of(driver).greeting())
    assert len(bed.asked) == 2
    for asked in bed.asked:
        assert driver == "bridge_serial" or asked.startswith(greeting)
        assert bool(asked) == bool(greeting)
    if driver == "cyton":
        assert all(b"b" in asked for asked in bed.asked)
    lost_at = next(
        k for k, item in enumerate(bed.items) if isinstance(item, LinkChange) and item.state is LinkState.LOST
    )
    for part in (bed.items[:lost_at], bed.items[lost_at:]):
        assert any(isinstance(item, SensorIdentity) for item in part)


def test_device_is_let_go_when_the_gateway_stops(driver, bed):
    """A device that was started is stopped: it may go to sleep, and its battery lasts longer."""
    assert bed.farewell == b"".join(item.data for item in decoder_of(driver).farewell())
