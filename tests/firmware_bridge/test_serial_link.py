"""The virtual sensor on a real pseudo-terminal, read by programs that come and go."""

from __future__ import annotations

import asyncio
import os
import select
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import serial

from edge.acquisition.framing import Frame, FrameDecoder
from edge.acquisition.packets import Command, CommandCode, Hello, SamplesPacket, decode_packet, packet_line
from edge.clock import ManualClock
from edge.errors import TransportError, TransportFault
from edge.messages import Chunk, Corrupt
from firmware_bridge.virtual.device import VirtualSensor
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario
from firmware_bridge.virtual.serial_link import PERIOD_S, PtyPort, serve

PATIENCE_S = 5.0


@contextmanager
def client(link):
    """Open the port as any program would, without terminal settings of its own."""
    fd = os.open(link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


def read_all(fd, *, at_least=1):
    """Return what is there, waiting for the kernel to pass on at least so many bytes."""
    data = b""
    while len(data) < at_least:
        assert select.select([fd], [], [], PATIENCE_S)[0], f"expected {at_least} bytes, got {len(data)}"
        data += os.read(fd, 65536)
    while select.select([fd], [], [], 0)[0]:
        data += os.read(fd, 65536)
    return data


def decoded(data):
    items = FrameDecoder().push(Chunk(data=data, received_at_ns=0))
    return [decode_packet(item) if isinstance(item, Frame) else item for item in items]


class Bench:
    def __init__(self, clock, task, stop):
        self.clock, self.task, self.stop = clock, task, stop

    async def run(self, duration_s):
        for _ in range(round(duration_s / PERIOD_S)):
            self.clock.advance(PERIOD_S)
            for _ in range(3):  # the sleeper wakes, works and goes to sleep again
                await asyncio.sleep(0)

    async def finish(self):
        self.stop.set()
        await self.run(PERIOD_S)
        return await self.task


@asynccontextmanager
async def serving(link, *faults, **scenario):
    clock, stop = ManualClock(), asyncio.Event()
    sensor = VirtualSensor(Scenario(faults=faults, **scenario))
    async with asyncio.TaskGroup() as group:
        bench = Bench(clock, group.create_task(serve(sensor, link, clock, stop), name="serve"), stop)
        await bench.run(0.0)
        await asyncio.sleep(0)
        yield bench
        await bench.finish()


def test_a_client_reads_what_the_sensor_says(tmp_path):
    """All frames from the moment of opening arrive whole, in order and without a hole."""

    async def story():
        async with serving(tmp_path / "port") as bench:
            data = b""
            with client(tmp_path / "port") as fd:
                for _ in range(5):
                    await bench.run(1.0)
                    data += read_all(fd, at_least=2500)
        return data

    packets = decoded(asyncio.run(story()))

    ecg = [packet for packet in packets if isinstance(packet, SamplesPacket) and packet.stream_id == 1]
    assert not [packet for packet in packets if isinstance(packet, Corrupt)]
    assert [packet.sequence for packet in ecg] == list(range(0, 1250, 25))


def test_what_nobody_reads_is_lost_and_counted(tmp_path):
    """Without a reader nothing piles up: a client that comes later hears the present, not the past."""

    async def story():
        async with serving(tmp_path / "port") as bench:
            await bench.run(30.0)
            with client(tmp_path / "port") as fd:
                await bench.run(1.0)
                data = read_all(fd)
            n_dropped = await bench.finish()
        return data, n_dropped

    data, n_dropped = asyncio.run(story())

    first = next(packet for packet in decoded(data) if isinstance(packet, SamplesPacket) and packet.stream_id == 1)
    assert first.sequence >= 30 * 250 - 25
    assert n_dropped > 30 * 2500


def test_a_client_that_does_not_read_blocks_nothing(tmp_path):
    """The port is open and nobody reads: the sensor goes on, what does not fit is dropped."""

    async def story():
        async with serving(tmp_path / "port") as bench:
            with client(tmp_path / "port") as fd:
                await bench.run(60.0)
                held = read_all(fd)
                await bench.run(1.0)
                fresh = read_all(fd)
            return held, fresh, await bench.finish()

    held, fresh, n_dropped = asyncio.run(story())

    assert n_dropped > 0
    assert len(held) < 150_000
    assert [packet for packet in decoded(fresh) if isinstance(packet, SamplesPacket)]


def test_a_client_that_comes_back_finds_nothing_old(tmp_path):
    """What one program left unread is not there for the next one."""

    async def story():
        async with serving(tmp_path / "port") as bench:
            with client(tmp_path / "port"):
                await bench.run(2.0)
            await bench.run(10.0)
            with client(tmp_path / "port") as fd:
                await bench.run(1.0)
                return read_all(fd)

    packets = decoded(asyncio.run(story()))

    sequences = [packet.sequence for packet in packets if isinstance(packet, SamplesPacket) and packet.stream_id == 1]
    assert min(sequences) >= 12 * 250 - 25


def test_a_pulled_cable_hangs_up_and_comes_back_under_the_same_path(tmp_path):
    """While the cable is out there is no port; afterwards the same path leads to a new one that talks."""
    pulled = Fault(kind=FaultKind.DISCONNECT, at_s=3.0, duration_s=20.0)
    link = tmp_path / "port"

    async def story():
        async with serving(link, pulled) as bench:
            with client(link) as fd:
                await bench.run(2.0)
                read_all(fd)
                await bench.run(2.0)
                hung_up = select.select([fd], [], [], PATIENCE_S)[0]
                try:
                    while os.read(fd, 65536):
                        pass
                except OSError as error:
                    hung_up = error.errno
            was_there = link.is_symlink()
            await bench.run(20.0)
            with client(link) as fd:
                await bench.run(1.0)
                return hung_up, was_there, decoded(read_all(fd))

    hung_up, was_there, packets = asyncio.run(story())

    assert hung_up
    assert not was_there
    ecg = [packet for packet in packets if isinstance(packet, SamplesPacket) and packet.stream_id == 1]
    assert ecg[0].sequence >= 24 * 250 - 25


def test_plugging_is_logged(tmp_path, caplog):
    """A person who watches the simulator sees when the cable was pulled and how much nobody read."""
    pulled = Fault(kind=FaultKind.DISCONNECT, at_s=1.0, duration_s=2.0)

    async def story():
        async with serving(tmp_path / "port", pulled) as bench:
            await bench.run(4.0)

    with caplog.at_level("INFO", logger="firmware_bridge"):
        asyncio.run(story())

    events = [record.getMessage().split()[0] for record in caplog.records if record.name.startswith("firmware_bridge")]
    assert events == [
        "virtual_sensor.offered",
        "virtual_sensor.unplugged",
        "virtual_sensor.plugged_in",
        "virtual_sensor.ended",
    ]


def test_a_story_that_begins_unplugged_has_no_port_yet(tmp_path):
    """With the cable out from the start there is no link until it is plugged in."""
    link = tmp_path / "port"

    async def story():
        async with serving(link, Fault(kind=FaultKind.DISCONNECT, at_s=0.0, duration_s=2.0)) as bench:
            await bench.run(1.0)
            was_there = link.is_symlink()
            await bench.run(2.0)
            return was_there, link.is_symlink()

    assert asyncio.run(story()) == (False, True)


def test_the_host_can_talk_to_the_sensor(tmp_path):
    """A command written to the port is answered; pyserial opens it like any other port."""

    async def story():
        async with serving(tmp_path / "port") as bench:
            await bench.run(3.0)
            with serial.Serial(str(tmp_path / "port"), baudrate=115200, timeout=0) as port:
                port.write(packet_line(Command(command_id=9, code=CommandCode.IDENTIFY), sequence=0))
                port.flush()
                answer = b""
                for _ in range(100):
                    await bench.run(PERIOD_S)
                    select.select([port.fileno()], [], [], 0.02)
                    answer += port.read(65536)
                    if any(isinstance(packet, Hello) for packet in decoded(answer)):
                        break
                return answer

    packets = decoded(asyncio.run(story()))

    assert [packet for packet in packets if isinstance(packet, Hello)]


def test_service_ends_with_the_story_and_leaves_no_link(tmp_path):
    """When the story is over the port is closed and its path is gone."""
    link = tmp_path / "port"

    async def story():
        async with serving(link, duration_s=2.0) as bench:
            was_there = link.is_symlink()
            await bench.run(3.0)
            return was_there, bench.task.done()

    was_there, is_done = asyncio.run(story())

    assert was_there
    assert is_done
    assert not link.is_symlink()


def test_every_byte_passes_unchanged_both_ways(tmp_path):
    """The terminal is raw: no echo, no line ends, no control characters, even for a client that sets nothing."""
    port = PtyPort(tmp_path / "port")
    every = bytes(range(256))

    with client(tmp_path / "port") as fd:
        port.write(every)
        down = read_all(fd, at_least=256)
        os.write(fd, every)
        up = b""
        while len(up) < 256:
            assert select.select([port.fileno()], [], [], PATIENCE_S)[0]
            up += port.read()
        echoed = select.select([fd], [], [], 0)[0]
    port.close()

    assert down == every
    assert up == every
    assert not echoed


def test_a_file_in_the_way_is_not_destroyed(tmp_path):
    """Something that is no link stays what it is, and the error says what to do."""
    path = tmp_path / "notes.txt"
    path.write_text("important")

    with pytest.raises(TransportError, match=r"notes\.txt") as caught:
        PtyPort(path)

    assert caught.value.reason is TransportFault.BUSY
    assert caught.value.hint
    assert path.read_text() == "important"


def test_a_link_of_an_earlier_run_is_replaced(tmp_path):
    """A dangling link, as a killed process leaves it, does not stand in the way."""
    link = tmp_path / "port"
    link.symlink_to("/dev/pts/does-not-exist")

    port = PtyPort(link)
    leads_to_terminal = link.resolve().is_char_device()
    port.close()

    assert leads_to_terminal
    assert not link.is_symlink()


def test_closing_leaves_the_link_of_another_sensor_alone(tmp_path):
    """A second sensor took the path over; the first one's end does not take it away."""
    first = PtyPort(tmp_path / "port")
    second = PtyPort(tmp_path / "port")

    first.close()
    is_there = (tmp_path / "port").resolve().is_char_device()
    second.close()

    assert is_there


def test_a_directory_that_does_not_exist_is_a_clear_error(tmp_path):
    """The path is named in the error and no terminal is left open."""
    n_open = len(list(Path("/proc/self/fd").iterdir()))

    with pytest.raises(TransportError, match="nowhere") as caught:
        PtyPort(tmp_path / "nowhere" / "port")

    assert caught.value.hint
    assert len(list(Path("/proc/self/fd").iterdir())) == n_open
