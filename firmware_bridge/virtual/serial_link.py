"""A virtual sensor on a real serial line: a pseudo-terminal under a stable path that any serial program can open.

A pty has no baud rate and buffers what nobody reads; a UART has neither mercy.  So nothing is written while no
program has the port open, what does not fit is dropped, and both are counted.  Pulling the cable closes the
terminal and removes the path: a reader sees the hang-up that a USB adapter gives; plugging it in makes a new
terminal under the same path.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import select
import termios
import tty
from pathlib import Path
from typing import Protocol

from edge.clock import NS_PER_S, Clock
from edge.errors import TransportError, TransportFault
from firmware_bridge.virtual.scenario import Scenario

_log = logging.getLogger(__name__)

PERIOD_S = 0.02
"""How often bytes go either way: a fifth of a packet."""
_READ_BYTES = 4096


class LineDevice(Protocol):
    """What can be put on a line: `device.VirtualSensor`, and the devices of ``devices/``."""

    @property
    def scenario(self) -> Scenario:
        """What is acted out."""
        ...

    @property
    def story_ns(self) -> int:
        """Where in the story the device is."""
        ...

    @property
    def is_connected(self) -> bool:
        """Whether the cable is in."""
        ...

    @property
    def is_finished(self) -> bool:
        """Whether the story is over."""
        ...

    def advance(self, to_ns: int) -> bytes:
        """Return the bytes that reach the host until `to_ns` after switching on."""
        ...

    def receive(self, data: bytes) -> bytes:
        """Return the answer to bytes from the host, as far as it arrives at once."""
        ...


class PtyPort:
    """A pseudo-terminal in raw mode with a symbolic link to its far end.

    Parameters
    ----------
    link : pathlib.Path
        Where clients find it.  A link left behind by an earlier run is replaced, anything else is not.

    Raises
    ------
    TransportError
        If something that is no link stands at `link`, or it cannot be made.
    """

    def __init__(self, link: Path) -> None:
        if link.exists() and not link.is_symlink():
            raise TransportError(
                f"expected no file at {link}, found one",
                reason=TransportFault.BUSY,
                hint="give another path for the virtual port or remove the file",
            )
        self._link = link
        self._master, slave = os.openpty()
        self._target = os.ttyname(slave)
        try:
            tty.setraw(slave)
            os.set_blocking(self._master, False)
            self._place_link()
        except OSError as error:
            os.close(self._master)
            raise TransportError(
                f"cannot make the link {link}: {error.strerror}",
                reason=TransportFault.PERMISSION if error.errno == errno.EACCES else TransportFault.OTHER,
                hint="give a path in a directory that exists and is yours",
            ) from error
        finally:
            # Held open, it would hide from the poll whether a client is there.
            os.close(slave)
        self._had_client = False
        self.n_dropped_bytes = 0

    def fileno(self) -> int:
        """Return the descriptor of the sensor's end, for `select`."""
        return self._master

    def has_client(self) -> bool:
        """Whether some program has the port open."""
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        is_open = not any(events & select.POLLHUP for _, events in poll.poll(0))
        if self._had_client and not is_open:
            self._forget_unread()
        self._had_client = is_open
        return is_open

    def write(self, data: bytes) -> None:
        """Hand `data` to the client; without one, or where it does not read, bytes are dropped and counted."""
        if not data:
            return
        n_written = 0
        if self.has_client():
            with contextlib.suppress(BlockingIOError):
                n_written = os.write(self._master, data)
        self.n_dropped_bytes += len(data) - n_written

    def read(self) -> bytes:
        """Return what the client wrote, empty if nothing or if there is none."""
        if not self.has_client():
            return b""
        try:
            return os.read(self._master, _READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != errno.EIO:  # the client closed between the two calls
                raise
            return b""

    def close(self) -> None:
        """Hang up and take the link away, unless somebody else's stands there by now."""
        os.close(self._master)
        with contextlib.suppress(OSError):
            if str(self._link.readlink()) == self._target:
                self._link.unlink()

    def _place_link(self) -> None:
        """Put the link in place in one step, so that a client never finds half of it."""
        temporary = self._link.with_name(f".{self._link.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(self._target)
        temporary.replace(self._link)

    def _forget_unread(self) -> None:
        """Throw away what the last client left in the terminal's buffer, or the next one would take it for new."""
        with contextlib.suppress(OSError):
            slave = os.open(self._target, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                termios.tcflush(slave, termios.TCIOFLUSH)
            finally:
                os.close(slave)


async def serve(sensor: LineDevice, link_path: str | Path, clock: Clock, stop: asyncio.Event) -> int:
    """Offer `sensor` at `link_path` until `stop` is set or its story is over.

    Parameters
    ----------
    sensor : LineDevice
        Advanced in step with `clock`; its time zero is the moment of the call.
    link_path : str or pathlib.Path
        Where clients find the port.
    clock : Clock
        A clock that runs at ten times speed makes the sensor do so.
    stop : asyncio.Event
        Ends the service within `PERIOD_S` of the clock.

    Returns
    -------
    int
        Bytes that nobody was there to read, or did not read in time.

    Raises
    ------
    TransportError
        If the link cannot be made.
    """
    link = Path(link_path)
    start_ns = clock.monotonic_ns()
    n_dropped_bytes = 0
    port: PtyPort | None = PtyPort(link) if sensor.is_connected else None
    _log.info("virtual_sensor.offered link=%s scenario=%s", link, sensor.scenario.name)
    try:
        while not stop.is_set() and not sensor.is_finished:
            out = sensor.advance(clock.monotonic_ns() - start_ns)
            if port is not None and not sensor.is_connected:
                port.write(out)  # what was sent before the cable was pulled
                port.close()
                n_dropped_bytes += port.n_dropped_bytes
                port = None
                _log.info("virtual_sensor.unplugged story_s=%.1f", sensor.story_ns / NS_PER_S)
            elif port is None and sensor.is_connected:
                port = PtyPort(link)
                _log.info("virtual_sensor.plugged_in story_s=%.1f", sensor.story_ns / NS_PER_S)
            if port is not None:
                port.write(out)
                port.write(sensor.receive(port.read()))
            await clock.sleep(PERIOD_S)
    finally:
        if port is not None:
            port.close()
            n_dropped_bytes += port.n_dropped_bytes
        _log.info("virtual_sensor.ended story_s=%.1f dropped_bytes=%d", sensor.story_ns / NS_PER_S, n_dropped_bytes)
    return n_dropped_bytes
