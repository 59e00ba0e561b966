"""Bytes over a UART: pyserial in a reader thread behind `transport.Transport` (the only file that imports it).

A thread blocks in the operating system until bytes come (no polling) and hands them to the event loop through a
buffer bounded in bytes.  Overflow policy: the oldest bytes are dropped, counted and announced, because the newest
are the ones that matter at a bed.

Notes
-----
Opening a port discards what the peer sent before (termios flush), on a real UART as on a pty.  A port that is
unplugged raises `SerialException` from reading and plain `OSError` (EIO) from asking how many bytes wait; both are
one thing here: ``DISCONNECTED``.
"""

from __future__ import annotations

import asyncio
import errno
import grp
import logging
import stat
import termios
import threading
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import serial

from edge.acquisition.transport import Remedy
from edge.clock import Clock
from edge.errors import TransportError, TransportFault
from edge.messages import Chunk

log = logging.getLogger(__name__)

_READ_BYTES = 4096  # the kernel's tty buffer: more never waits
_FAULTS = {
    errno.ENOENT: TransportFault.MISSING,
    errno.ENODEV: TransportFault.MISSING,
    errno.ENXIO: TransportFault.MISSING,
    errno.ENOTDIR: TransportFault.MISSING,
    errno.EIO: TransportFault.MISSING,
    errno.EACCES: TransportFault.PERMISSION,
    errno.EPERM: TransportFault.PERMISSION,
    errno.EBUSY: TransportFault.BUSY,
    errno.EWOULDBLOCK: TransportFault.BUSY,
}
_PORT_ERRORS = (OSError, termios.error)
"""SerialException is an OSError; termios.error, raised when a port vanishes while it is being set up, is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialPortSettings:
    """Which port, and how it is used."""

    port: str
    """Path or, better, a stable link such as ``/dev/serial/by-id/…``: ``ttyUSB0`` may be another one after a replug."""
    baud: int = 115_200
    """8 data bits, no parity, one stop bit, as `firmware_bridge/PROTOCOL.md` says."""
    max_buffered_bytes: int = 1 << 20
    """Received and not yet read: a minute and a half at 115200 baud."""
    wake_up_s: float = 0.5
    """Longest that the reader thread blocks without looking whether it shall end; `close` wakes it at once."""
    write_timeout_s: float = 1.0
    """Then the peer does not take bytes; a frame of 256 bytes takes 22 ms at 115200 baud."""


class SerialPort:
    """One serial port as a `Transport`.

    Parameters
    ----------
    settings : SerialPortSettings
        Which port.
    clock : Clock
        Stamps the chunks, in the reader thread, so that a busy event loop does not delay the stamp.
    """

    def __init__(self, settings: SerialPortSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._link: _Link | None = None
        self._n_dropped_bytes = 0

    @property
    def n_dropped_bytes(self) -> int:
        """Bytes dropped since `open`, because they were not read in time."""
        return self._link.n_dropped_bytes if self._link else self._n_dropped_bytes

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """None: opening the port again is all that helps."""
        return ()

    async def heal(self, remedy: Remedy) -> None:
        """Refuse (`transport.Transport.heal`)."""
        raise TransportError(f"a serial port has no remedy {remedy.value!r}", reason=TransportFault.OTHER)

    def describe(self) -> str:
        """Return the port and its speed."""
        return f"{self._settings.port} at {self._settings.baud} baud"

    async def open(self) -> None:
        """Open the port for this process alone (`transport.Transport.open`)."""
        if self._link is not None:
            raise RuntimeError(f"{self.describe()} is already open")
        port = await asyncio.to_thread(self._open_port)
        self._link = _Link(port, self._settings, self._clock, asyncio.get_running_loop())

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yield what comes in (`transport.Transport.chunks`)."""
        link = self._require_link()
        while (chunk := await link.next_chunk()) is not None:
            yield chunk

    async def write(self, data: bytes, channel: str = "") -> None:  # noqa: ARG002 - a byte stream has one
        """Send `data` (`transport.Transport.write`)."""
        link = self._require_link()
        try:
            await asyncio.to_thread(link.port.write, data)
        except serial.SerialTimeoutException as error:
            raise TransportError(
                f"{self.describe()}: the device did not take {len(data)} bytes within "
                f"{self._settings.write_timeout_s:g} s",
                reason=TransportFault.TIMEOUT,
            ) from error
        except _PORT_ERRORS as error:
            raise _disconnected(self.describe(), error) from error

    async def close(self) -> None:
        """Close the port; the reader thread has ended when this returns."""
        link, self._link = self._link, None
        if link is not None:
            await asyncio.to_thread(link.stop)
            self._n_dropped_bytes = link.n_dropped_bytes

    def _require_link(self) -> _Link:
        if self._link is None:
            raise TransportError(f"{self.describe()} is not open", reason=TransportFault.DISCONNECTED)
        return self._link

    def _open_port(self) -> serial.Serial:
        try:
            return serial.Serial(
                self._settings.port,
                self._settings.baud,
                timeout=self._settings.wake_up_s,
                write_timeout=self._settings.write_timeout_s,
                exclusive=True,
            )
        except _PORT_ERRORS as error:
            raise open_error(self._settings.port, error) from error


class _Link:
    """An open port, its reader thread and the buffer between thread and event loop."""

    def __init__(
        self, port: serial.Serial, settings: SerialPortSettings, clock: Clock, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.port = port
        self.n_dropped_bytes = 0
        self._settings = settings
        self._clock = clock
        self._loop = loop
        self._lock = threading.Lock()  # guards the four fields below
        self._chunks: deque[Chunk] = deque()
        self._n_buffered_bytes = 0
        self._error: TransportError | None = None
        self._is_stopping = False
        self._is_ready = asyncio.Event()
        self._thread = threading.Thread(target=self._read, name=f"serial-{settings.port}", daemon=True)
        self._thread.start()

    async def next_chunk(self) -> Chunk | None:
        """Return the oldest chunk once there is one; None after `stop`."""
        while True:
            with self._lock:
                if self._is_stopping:
                    return None
                if self._chunks:
                    chunk = self._chunks.popleft()
                    self._n_buffered_bytes -= len(chunk.data)
                    return chunk
                if self._error is not None:
                    raise self._error
                self._is_ready.clear()
            await self._is_ready.wait()

    def stop(self) -> None:
        """End the thread and close the port; blocks for as long as the thread needs to notice."""
        with self._lock:
            self._is_stopping = True
        self._wake()
        self.port.cancel_read()
        self.port.cancel_write()
        self._thread.join()
        self.port.close()

    def _read(self) -> None:
        try:
            while not self._is_stopping:
                data = self.port.read(1)  # blocks until a byte comes, or `wake_up_s`
                if data:
                    self._take(data + self._rest())
        except _PORT_ERRORS as error:
            self._fail(_disconnected(self._settings.port, error))

    def _rest(self) -> bytes:
        """Return what else waits; nothing if the port just vanished, which the next read will tell."""
        try:
            return self.port.read(min(self.port.in_waiting, _READ_BYTES))
        except _PORT_ERRORS:
            return b""

    def _take(self, data: bytes) -> None:
        chunk = Chunk(data=data, received_at_ns=self._clock.monotonic_ns())
        n_dropped = 0
        with self._lock:
            self._chunks.append(chunk)
            self._n_buffered_bytes += len(data)
            while self._n_buffered_bytes - n_dropped > self._settings.max_buffered_bytes and len(self._chunks) > 1:
                n_dropped += len(self._chunks.popleft().data)
            self._n_buffered_bytes -= n_dropped
            self.n_dropped_bytes += n_dropped
        if n_dropped:
            log.warning("serial.overflow port=%s dropped_bytes=%d", self._settings.port, n_dropped)
        self._wake()

    def _fail(self, error: TransportError) -> None:
        with self._lock:
            self._error = error
        self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._is_ready.set)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.debug("serial.loop_closed port=%s", self._settings.port)


def open_error(port: str, error: BaseException) -> TransportError:
    """Return why `port` could not be opened, with the remedy.

    Parameters
    ----------
    port : str
        As given to the operating system.
    error : BaseException
        What opening raised; its errno, or that of the error behind it, decides.
    """
    number = _errno(error)
    reason = _FAULTS.get(number, TransportFault.OTHER) if number is not None else TransportFault.OTHER
    if reason is TransportFault.MISSING:
        return TransportError(
            f"there is no serial port {port}", reason=reason, hint="plug it in, or see: ls -l /dev/serial/by-id"
        )
    if reason is TransportFault.PERMISSION:
        return TransportError(f"{port} may not be opened by this user", reason=reason, hint=_permission_hint(port))
    if reason is TransportFault.BUSY:
        return TransportError(
            f"{port} is used by another process", reason=reason, hint=f"find and end it: fuser -v {port}"
        )
    if number == errno.ENOTTY:
        return TransportError(f"{port} is not a serial port", reason=reason, hint="see: ls -l /dev/serial/by-id")
    return TransportError(f"{port} cannot be opened: {error}", reason=reason)


def _permission_hint(port: str) -> str:
    """Return who may open the port, looked up from the file itself: it is dialout on Debian, uucp on Arch."""
    try:
        status = Path(port).stat()
    except OSError:
        return f"see who may reach it: namei -l {port}"
    if not status.st_mode & stat.S_IRGRP or not status.st_mode & stat.S_IWGRP:
        return f"its group may not use it either: chmod g+rw {port}, or install the udev rule"
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return f"add the user to group {group}: sudo usermod -aG {group} USER, then log in again"


def _disconnected(place: str, error: BaseException) -> TransportError:
    # pyserial guesses at causes in a sentence of its own, which confuses whoever pulled the cable.
    log.debug("serial.disconnected port=%s error=%s", place, error)
    return TransportError(f"{place} was disconnected", reason=TransportFault.DISCONNECTED)


def _errno(error: BaseException) -> int | None:
    """Return the error number, also where pyserial put only its text into the message."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, termios.error) and error.args and isinstance(error.args[0], int):
        return error.args[0]
    return _errno(error.__context__) if error.__context__ is not None else None
