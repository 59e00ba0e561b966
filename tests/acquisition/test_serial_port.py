"""A serial port over real pseudo-terminals: loss-less, prompt, and clear about what is wrong."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import subprocess
import termios
import threading
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import serial as serial_library

from edge.acquisition.serial_port import SerialPort, SerialPortSettings
from edge.acquisition.serial_ports import open_error
from edge.clock import ManualClock, SystemClock
from edge.errors import TransportError, TransportFault
from tests.conformance.transport_battery import GUARD_S, TransportBattery, read_exactly, read_to_end, run
from tests.fakes.pty_port import Pty
from tests.fakes.serial_device import SerialDevice


@pytest.fixture
def pty(tmp_path):
    pty = Pty(tmp_path / "ttyBED")
    yield pty
    pty.unplug()


def port_at(link, **settings) -> SerialPort:
    return SerialPort(SerialPortSettings(port=str(link), **settings), SystemClock())


class StampSignal(ManualClock):
    """Tells the test that the reader thread has taken bytes out of the terminal: each chunk is stamped once."""

    def __init__(self) -> None:
        super().__init__()
        self._stamps = threading.Semaphore(0)

    def monotonic_ns(self) -> int:
        self._stamps.release()
        return super().monotonic_ns()

    async def stamped(self) -> None:
        assert await asyncio.to_thread(self._stamps.acquire, timeout=GUARD_S)


class PtyRig:
    def __init__(self, pty: Pty, pieces: list[bytes], *, hangs_up: bool) -> None:
        self._clock = StampSignal()
        self.transport = SerialPort(SerialPortSettings(port=str(pty.link)), self._clock)
        self._pty = pty
        self._pieces = pieces
        self._hangs_up = hangs_up

    async def play(self) -> None:
        for piece in self._pieces:
            await self._pty.send(piece)
            if self._hangs_up:  # bytes still inside the terminal die with it, as they do in an unplugged adapter
                await self._clock.stamped()
        if self._hangs_up:
            self._pty.unplug()


class TestSerialPortContract(TransportBattery):
    @pytest.fixture(autouse=True)
    def _pty(self, tmp_path):
        self.pty = Pty(tmp_path / "ttyBED")
        yield
        self.pty.unplug()

    @asynccontextmanager
    async def rig(self, pieces, *, hangs_up):
        rig = PtyRig(self.pty, pieces, hangs_up=hangs_up)
        yield rig
        await rig.transport.close()


def test_burst_of_64_kib_arrives_whole(pty):
    """A sensor that sends everything it stored at once loses nothing."""
    burst = os.urandom(64 * 1024)

    async def scenario():
        port = port_at(pty.link)
        await port.open()
        sending = asyncio.create_task(pty.send(burst))
        data = await read_exactly(port, len(burst))
        await sending
        await port.close()
        return data, port.n_dropped_bytes

    assert run(scenario()) == (burst, 0)


def test_every_byte_value_passes_both_ways(pty):
    """The terminal layer changes nothing: no echo, no line ends, no flow control characters."""
    every = bytes(range(256))

    async def scenario():
        port = port_at(pty.link)
        await port.open()
        await port.write(every)
        seen = await pty.receive(256)
        await pty.send(every)
        got = await read_exactly(port, 256)
        await port.close()
        return seen, got

    assert run(scenario()) == (every, every)


def test_unread_bytes_beyond_the_bound_drop_the_oldest_and_are_counted(pty, caplog):
    """When nobody reads, the newest bytes stay; how many were dropped is known."""
    n_sent = 512 * 1024  # far more than a terminal holds (64 KiB), so the thread must have taken most of it

    async def scenario():
        port = port_at(pty.link, max_buffered_bytes=10_000)
        await port.open()
        await pty.send(bytes(n_sent - 3) + b"end")
        data = b""
        async for chunk in port.chunks():
            data += chunk.data
            if data.endswith(b"end"):
                break
        await port.close()
        return data, port.n_dropped_bytes

    data, n_dropped = run(scenario())

    assert len(data) + n_dropped == n_sent
    assert n_dropped > n_sent // 2
    assert any("serial.overflow" in record.getMessage() for record in caplog.records)


def test_bytes_that_were_read_no_longer_count_against_the_bound(pty):
    """A link that is read in time never drops, however much passes over the years."""
    clock = StampSignal()

    async def scenario():
        port = SerialPort(SerialPortSettings(port=str(pty.link), max_buffered_bytes=2000), clock)
        await port.open()
        for _ in range(6):
            for _ in range(2):  # two chunks wait at once
                await pty.send(bytes(500))
                await clock.stamped()
            await read_exactly(port, 1000)
        await port.close()
        return port.n_dropped_bytes

    assert run(scenario()) == 0


def test_port_replugged_under_the_same_link_opens_again(pty):
    """After a hang-up the same object opens the same link, although the device behind it is another one."""

    async def scenario():
        port = port_at(pty.link)
        await port.open()
        pty.unplug()
        _, error = await read_to_end(port)
        await port.close()
        with pytest.raises(TransportError) as missing:
            await port.open()
        pty.plug()
        await port.open()
        await pty.send(b"back")
        data = await read_exactly(port, 4)
        await port.close()
        return error.reason, missing.value.reason, data

    assert run(scenario()) == (TransportFault.DISCONNECTED, TransportFault.MISSING, b"back")


def test_writing_to_an_unplugged_port_is_disconnected(pty):
    """A write after the hang-up says so instead of waiting."""

    async def scenario():
        port = port_at(pty.link)
        await port.open()
        pty.unplug()
        with pytest.raises(TransportError) as caught:
            await port.write(b"x")
        await port.close()
        return caught.value.reason

    assert run(scenario()) is TransportFault.DISCONNECTED


def test_peer_that_takes_nothing_is_a_timeout(pty):
    """A full line is a TIMEOUT, not a hang."""

    async def scenario():
        port = port_at(pty.link, write_timeout_s=0.05)
        await port.open()
        with pytest.raises(TransportError) as caught:
            await port.write(bytes(1 << 20))
        await port.close()
        return caught.value.reason

    assert run(scenario()) is TransportFault.TIMEOUT


def test_close_leaves_no_thread_and_no_open_file(pty):
    """Every reconnect gives back what it took: threads and file descriptors."""

    def n_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def scenario():
        port = port_at(pty.link)
        await port.open()
        await port.close()
        before = n_files()
        for _ in range(5):
            await port.open()
            await port.close()
        return n_files() - before

    assert run(scenario()) == 0
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("serial-")]


def test_cancelled_open_leaves_the_port_free(pty, monkeypatch):
    """Whoever stops waiting for a slow driver must not leave the port locked by what it opens at last."""
    may_go_on, closed = threading.Event(), threading.Event()
    original = serial_library.Serial

    class Slow(original):
        def __init__(self, *args, **options) -> None:
            may_go_on.wait(GUARD_S)
            super().__init__(*args, **options)

        def close(self) -> None:
            super().close()
            closed.set()

    async def scenario():
        port = port_at(pty.link)
        monkeypatch.setattr(serial_library, "Serial", Slow)
        opening = asyncio.create_task(port.open())
        await asyncio.sleep(0)  # lets it begin
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await port.close()
        may_go_on.set()
        assert await asyncio.to_thread(closed.wait, GUARD_S)
        monkeypatch.setattr(serial_library, "Serial", original)
        await port.open()
        await port.close()

    run(scenario())


def test_close_wakes_the_reader_thread_at_once(pty):
    """Closing does not wait for the reading time-out: this one would outlast the test's guard."""

    async def scenario():
        port = port_at(pty.link, wake_up_s=3600.0)
        await port.open()
        await port.close()

    run(scenario())


def test_chunks_carry_the_clock_they_were_given(pty):
    """The stamp is the runtime's clock, taken when the bytes came."""
    clock = ManualClock()
    clock.advance(12.5)

    async def scenario():
        port = SerialPort(SerialPortSettings(port=str(pty.link)), clock)
        await port.open()
        await pty.send(b"x")
        async for chunk in port.chunks():
            await port.close()
            return chunk.received_at_ns
        return None

    assert run(scenario()) == 12_500_000_000


# --- the line ---------------------------------------------------------------------------------------------


@contextmanager
def terminal(pty):
    """Open the terminal a second time, to look at what the port has made of it."""
    fd = os.open(pty.link, os.O_RDWR | os.O_NOCTTY)
    yield fd
    os.close(fd)


def line_of(pty) -> tuple[int, int]:
    """Return speed and control flags (termios c_cflag) of the terminal."""
    with terminal(pty) as fd:
        attributes = termios.tcgetattr(fd)
    return attributes[4], attributes[2]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "115200 baud"),
        ({"baud": 19200, "parity": "O"}, "19200 baud 8O1"),
        ({"baud": 9600, "parity": "E", "stop_bits": 2}, "9600 baud 8E2"),
    ],
)
def test_line_is_told_in_words_where_it_is_not_the_usual_one(settings, words):
    """``8N1`` goes without saying."""
    assert port_at("/dev/ttyX", **settings).describe() == f"/dev/ttyX at {words}"


def test_speed_and_stop_bits_reach_the_terminal(pty):
    """What the settings say is what the system is told; a pseudo-terminal keeps everything but the parity."""

    async def scenario():
        port = port_at(pty.link, baud=19_200, stop_bits=2)
        await port.open()
        speed, flags = line_of(pty)
        await port.close()
        return speed, bool(flags & termios.CSTOPB), flags & termios.CSIZE

    assert run(scenario()) == (termios.B19200, True, termios.CS8)


@pytest.mark.parametrize(("parity", "flags"), [("N", 0), ("E", termios.PARENB), ("O", termios.PARENB | termios.PARODD)])
def test_parity_is_what_the_system_is_asked_for(pty, monkeypatch, parity, flags):
    """Looked at where the terminal is set up: a pseudo-terminal, which has no wire, drops the parity bit."""
    asked = []
    original = termios.tcsetattr
    monkeypatch.setattr(
        termios, "tcsetattr", lambda fd, when, wanted: (asked.append(wanted[2]), original(fd, when, wanted))
    )

    async def scenario():
        port = port_at(pty.link, parity=parity)
        await port.open()
        await port.close()

    run(scenario())

    assert asked[0] & (termios.PARENB | termios.PARODD) == flags


@pytest.mark.parametrize("wrong", [{"baud": 0}, {"baud": -9600}, {"parity": "odd"}, {"parity": ""}, {"stop_bits": 3}])
def test_line_that_cannot_be_is_refused_as_a_setting(wrong):
    """Told when the settings are made, with what was given."""
    with pytest.raises(ValueError, match="expected baud > 0"):
        SerialPortSettings(port="/dev/ttyX", **wrong)


def test_speed_that_the_adapter_cannot_do_is_told(pty, monkeypatch):
    """The system's refusal is an error of the link, not of the program: it does not end the service."""

    def refuse(*_):
        raise ValueError("Failed to set custom baud rate")  # as pyserial says it

    monkeypatch.setattr("serial.serialposix.Serial._set_special_baudrate", refuse)

    async def scenario():
        with pytest.raises(TransportError) as odd:
            await port_at(pty.link, baud=123_457).open()
        port = port_at(pty.link)
        await port.open()
        with pytest.raises(TransportError) as later:
            await port.retune(123_457)
        await port.close()
        return odd.value, later.value

    odd, later = run(scenario())

    assert (odd.reason, later.reason) == (TransportFault.OTHER, TransportFault.OTHER)
    assert "cannot do 123457 baud" in str(odd)
    assert "cannot do 123457 baud" in str(later)


def test_retuned_port_reads_on_at_the_new_speed_and_forgets_the_old_bytes(pty):
    """A scan tries several speeds; a board would be reset by closing and opening."""
    clock = StampSignal()

    async def scenario():
        port = SerialPort(SerialPortSettings(port=str(pty.link)), clock)
        await port.open()
        await pty.send(b"old")
        await clock.stamped()
        await port.retune(9600, "N", 2)
        words, (speed, flags) = port.describe(), line_of(pty)
        await pty.send(b"new")
        data = await read_exactly(port, 3)
        await port.close()
        return words, bool(flags & termios.CSTOPB), speed, data

    assert run(scenario()) == (f"{pty.link} at 9600 baud 8N2", True, termios.B9600, b"new")


def test_retuning_under_a_flood_is_no_hang_up():
    """A flush in the middle of a read would look like a cable pulled: the driver says "readable" and gives nothing."""

    async def scenario():
        with SerialDevice(bytes(512)) as device:
            port = port_at(device.path)
            await port.open()
            for n in range(300):
                await port.retune((9600, 19200, 115200)[n % 3])
            data = await read_exactly(port, 100)
            await port.close()
        return len(data)

    assert run(scenario()) >= 100


def test_retuning_a_port_that_was_pulled_is_disconnected(pty):
    """The reader thread has ended: the wish is answered all the same."""

    async def scenario():
        port = port_at(pty.link)
        await port.open()
        pty.unplug()
        await read_to_end(port)
        with pytest.raises(TransportError) as caught:
            await port.retune(9600)
        await port.close()
        return caught.value.reason

    assert run(scenario()) is TransportFault.DISCONNECTED


def test_retuning_a_closed_port_is_refused(pty):
    """There is nothing to retune."""

    async def scenario():
        with pytest.raises(TransportError) as caught:
            await port_at(pty.link).retune(9600)
        return caught.value.reason

    assert run(scenario()) is TransportFault.DISCONNECTED


@pytest.mark.parametrize(("dtr", "hangs_up"), [(None, True), (True, False), (False, True)])
def test_dtr_that_is_kept_does_not_hang_up_on_close(pty, dtr, hangs_up):
    """HUPCL off is what spares an Arduino the reset on the next open; otherwise the system's way is left alone."""
    with terminal(pty) as fd:
        attributes = termios.tcgetattr(fd)
        attributes[2] |= termios.HUPCL
        termios.tcsetattr(fd, termios.TCSANOW, attributes)

    async def scenario():
        port = port_at(pty.link, dtr=dtr)
        await port.open()
        await port.close()

    run(scenario())

    assert bool(line_of(pty)[1] & termios.HUPCL) is hangs_up


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EIO, TransportFault.MISSING), (errno.ENODEV, TransportFault.MISSING)]
)
def test_port_that_goes_while_its_lines_are_set_is_missing_and_let_go(pty, monkeypatch, number, reason):
    """Pulled in the moment after opening: an error of the link, and no lock is left."""
    original = fcntl.ioctl

    def gone(fd, request, *rest):
        if request == termios.TIOCMBIC:
            raise OSError(number, os.strerror(number))
        return original(fd, request, *rest)

    async def scenario():
        monkeypatch.setattr(fcntl, "ioctl", gone)
        with pytest.raises(TransportError) as caught:
            await port_at(pty.link, dtr=False).open()
        monkeypatch.setattr(fcntl, "ioctl", original)
        port = port_at(pty.link)
        await port.open()
        await port.close()
        return caught.value.reason

    assert run(scenario()) is reason


def test_lowered_lines_fall_together_rts_first(pty, monkeypatch):
    """The other order would pull an ESP32 board into reset for a moment."""
    asked = []
    original = fcntl.ioctl

    def watched(fd, request, *rest):
        if request in (termios.TIOCMBIC, termios.TIOCMBIS):
            asked.append((request == termios.TIOCMBIS, int.from_bytes(rest[0], "little")))
            return b""
        return original(fd, request, *rest)

    monkeypatch.setattr(fcntl, "ioctl", watched)

    async def scenario():
        port = port_at(pty.link, dtr=False)
        await port.open()
        await port.close()

    run(scenario())

    assert asked[-2:] == [(False, termios.TIOCM_RTS), (False, termios.TIOCM_DTR)]


# --- why a port cannot be opened --------------------------------------------------------------------------


def opening(link) -> TransportError:
    async def scenario():
        with pytest.raises(TransportError) as caught:
            await port_at(link).open()
        return caught.value

    return run(scenario())


def test_missing_port_is_named(tmp_path):
    """No such port: MISSING, with the name and where to look."""
    error = opening(tmp_path / "ttyNONE")

    assert error.reason is TransportFault.MISSING
    assert "ttyNONE" in str(error)
    assert "vitaledge scan" in error.hint


def test_port_in_use_is_busy(pty):
    """A second opener is refused: two readers would each get half of the bytes."""

    async def scenario():
        first = port_at(pty.link)
        await first.open()
        with pytest.raises(TransportError) as caught:
            await port_at(pty.link).open()
        await first.close()
        return caught.value

    error = run(scenario())

    assert error.reason is TransportFault.BUSY
    assert "fuser" in error.hint


@contextmanager
def as_nobody():
    """Give up root, which may open everything; whoever else runs this is refused by the file's mode."""
    if os.geteuid() != 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def test_port_without_permission_names_the_group_of_the_port(pty):
    """The remedy is the group of this very file, whatever the distribution calls it."""
    target = pty.link.resolve()
    target.chmod(0o060)
    group = target.group()

    with as_nobody():
        error = opening(target)

    assert error.reason is TransportFault.PERMISSION
    assert f"group {group}" in error.hint
    assert "usermod" in error.hint


def test_port_that_its_group_may_not_use_either_says_so(pty):
    """Joining the group would not help: another remedy."""
    target = pty.link.resolve()
    target.chmod(0o600)

    error = open_error(str(target), PermissionError(errno.EACCES, "Permission denied"))

    assert "usermod" not in error.hint
    assert "chmod" in error.hint


def test_file_that_is_no_port_is_refused(tmp_path):
    """A regular file is told apart from a port."""
    (tmp_path / "file").write_text("")

    error = opening(tmp_path / "file")

    assert error.reason is TransportFault.OTHER
    assert "not a serial port" in str(error)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENXIO, "no device"), TransportFault.MISSING),
        (OSError(errno.EBUSY, "busy"), TransportFault.BUSY),
        (OSError(errno.ENOMEM, "memory"), TransportFault.OTHER),
        (termios.error(errno.EIO, "gone while being set up"), TransportFault.MISSING),
        (ValueError("no number at all"), TransportFault.OTHER),
    ],
)
def test_system_errors_are_classified(error, reason):
    """Each errno has one reason; what is not known keeps the system's words."""
    assert open_error("/dev/ttyX", error).reason is reason


@pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")
def test_cable_pulled_from_a_socat_pair_is_disconnected(tmp_path):
    """A port made by another program behaves the same: data, then the loss when that program ends."""
    near, far = tmp_path / "near", tmp_path / "far"
    process = subprocess.Popen(
        ["socat", "-d", "-d", f"pty,raw,echo=0,link={near}", f"pty,raw,echo=0,link={far}"],
        stderr=subprocess.PIPE,
    )
    try:
        for line in process.stderr:  # socat says so when both ends are there
            if b"starting data transfer loop" in line:
                break

        async def scenario():
            port = port_at(near)
            await port.open()
            far.write_bytes(b"over the wire")
            data = await read_exactly(port, 13)
            process.terminate()
            _, error = await read_to_end(port)
            await port.close()
            return data, error.reason

        assert run(scenario()) == (b"over the wire", TransportFault.DISCONNECTED)
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()
