"""Bytes over a UART: pyserial in a reader thread behind `transport.Transport` (the only file that imports it).

A thread blocks in the operating system until bytes come (no polling) and hands them to the event loop through a
buffer bounded in bytes.  Overflow policy: the oldest bytes are dropped, counted and announced, because the newest
are the ones that matter at a bed.

Notes
-----
The port may be a path, a stable link or a USB identity (`serial_ports`); it is looked up at every open, so what was
unplugged and comes back in another socket or under another name is found again.

Opening locks the port (flock) against every program that asks for the lock too, and raises the lines DTR and RTS, as
the operating system does for every program.  Boards of the Arduino kind reset on that; see `SerialPortSettings.dtr`.

Opening a port discards what the peer sent before (termios flush), on a real UART as on a pty.  A port that is
unplugged raises `SerialException` from reading and plain `OSError` (EIO) from asking how many bytes wait; both are
one thing here: ``DISCONNECTED``.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import termios
import threading
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Literal, get_args

import serial

from edge.acquisition.serial_ports import open_error, parse_usb, resolve_port
from edge.acquisition.transport import Remedy
from edge.acquisition.udev import PortRoots
from edge.clock import Clock
from edge.errors import TransportError, TransportFault
from edge.messages import Chunk

log = logging.getLogger(__name__)

_READ_BYTES = 4096  # the kernel's tty buffer: more never waits
_PORT_ERRORS = (OSError, termios.error)
"""SerialException is an OSError; termios.error, raised when a port vanishes while it is being set up, is not."""
_NO_MODEM_LINES = {errno.ENOTTY, errno.EINVAL}  # what a pseudo-terminal answers

Parity = Literal["N", "O", "E"]
"""None, odd, even."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialPortSettings:
    """Which port, and how it is used.

    Raises
    ------
    ValueError
        If a value cannot be one of a serial line, or `port` begins with ``usb:`` and is no USB identity.
    """

    port: str
    """Path; better a stable link such as ``/dev/serial/by-id/…``, because ``ttyUSB0`` may be another one after a
    replug; or a USB identity ``usb:0403:6001:A1B2``."""
    baud: int = 115_200
    """Bits per second, as `firmware_bridge/PROTOCOL.md` says; always 8 data bits."""
    parity: Parity = "N"
    """None, odd or even.  A byte that fails the check is passed on all the same: the codecs have checks of their own."""
    stop_bits: Literal[1, 2] = 1
    """Bits of rest after each byte."""
    dtr: bool | None = None
    """The lines DTR and RTS, always both: an ESP32 board stays in reset while they differ.

    None
        raised on opening and lowered on closing, as the operating system does: a board that resets when DTR rises,
        as Arduinos do, resets on every open and sends nothing for the second that its bootloader waits.
    True
        raised and left raised on closing (termios HUPCL off): such a board resets on the first open only.
    False
        lowered right after opening, for what must not see a terminal; the short pulse before is not avoidable.
    """
    max_buffered_bytes: int = 1 << 20
    """Received and not yet read: a minute and a half at 115200 baud."""
    wake_up_s: float = 0.5
    """Longest that the reader thread blocks without looking whether it shall end; `close` wakes it at once."""
    write_timeout_s: float = 1.0
    """Then the peer does not take bytes; a frame of 256 bytes takes 22 ms at 115200 baud."""
    roots: PortRoots = PortRoots()  # noqa: RUF009 - frozen, so sharing the default is safe
    """Where the system describes its ports."""

    def __post_init__(self) -> None:
        parse_usb(self.port)
        if self.baud <= 0 or self.parity not in get_args(Parity) or self.stop_bits not in {1, 2}:
            raise ValueError(
                f"expected baud > 0, parity N, O or E and 1 or 2 stop bits, "
                f"got {self.baud}, {self.parity!r} and {self.stop_bits}"
            )

    @property
    def line(self) -> str:
        """The line in words: ``19200 baud``, and ``8O1`` where it is not 8N1."""
        framing = f"8{self.parity}{self.stop_bits}"
        return f"{self.baud} baud" + ("" if framing == "8N1" else f" {framing}")


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
        """Return the port and its line; of a USB identity that is open also where it was found."""
        found = self._link.port.name if self._link is not None else None
        where = f" ({found})" if found and parse_usb(self._settings.port) else ""
        return f"{self._settings.port}{where} at {self._settings.line}"

    async def open(self) -> None:
        """Open the port for this process alone (`transport.Transport.open`)."""
        if self._link is not None:
            raise RuntimeError(f"{self.describe()} is already open")
        opening = asyncio.ensure_future(asyncio.to_thread(self._open_port))
        try:
            port = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_let_go)  # the thread cannot be stopped; what it opens must not stay locked
            raise
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

    async def retune(self, baud: int, parity: Parity = "N", stop_bits: Literal[1, 2] = 1) -> None:
        """Go on at another speed without closing, which would reset a board; what was not read yet is discarded.

        Raises
        ------
        TransportError
            If the port is not open, went away (``DISCONNECTED``) or cannot do it (``OTHER``).
        """
        link = self._require_link()
        settings = replace(self._settings, baud=baud, parity=parity, stop_bits=stop_bits)
        try:
            await asyncio.to_thread(link.retune, settings)
        except ValueError as error:
            raise _bad_line(self._settings.port, settings, error) from error
        except TransportError:
            raise
        except _PORT_ERRORS as error:
            raise _disconnected(self.describe(), error) from error
        self._settings = settings

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
        settings = self._settings
        path = resolve_port(settings.port, settings.roots)
        try:
            port = serial.Serial(
                path,
                settings.baud,
                parity=settings.parity,
                stopbits=settings.stop_bits,
                timeout=settings.wake_up_s,
                write_timeout=settings.write_timeout_s,
                exclusive=True,
            )
        except ValueError as error:
            raise _bad_line(path, settings, error) from error
        except _PORT_ERRORS as error:
            raise open_error(path, error) from error
        try:
            _set_modem_lines(port, settings.dtr)
        except _PORT_ERRORS as error:  # it went away just now
            port.close()
            raise open_error(path, error) from error
        return port


def _let_go(opening: asyncio.Future[serial.Serial]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _set_modem_lines(port: serial.Serial, dtr: bool | None) -> None:
    """Do with DTR and RTS what `SerialPortSettings.dtr` says; nothing on a port that has no such lines."""
    if dtr:
        attributes = termios.tcgetattr(port.fileno())
        attributes[2] &= ~termios.HUPCL
        termios.tcsetattr(port.fileno(), termios.TCSANOW, attributes)
    if dtr is False:
        try:
            port.rts = False  # first: the other way round an ESP32 board is reset in between
            port.dtr = False
        except OSError as error:
            if error.errno not in _NO_MODEM_LINES:
                raise


class _Retuning:
    """A wish to change the line, for the reader thread."""

    def __init__(self, settings: SerialPortSettings) -> None:
        self.settings = settings
        self.done: Future[None] = Future()


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
        self._lock = threading.Lock()  # guards the five fields below
        self._retuning: _Retuning | None = None
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

    def retune(self, settings: SerialPortSettings) -> None:
        """Have the line changed and what came over the old one forgotten; blocks until it is done.

        The reader thread does it between two reads: a flush during a read looks to pyserial like a hang-up.
        """
        retuning = _Retuning(settings)
        with self._lock:
            if self._error is not None:
                raise self._error
            self._retuning = retuning
        self.port.cancel_read()
        retuning.done.result()

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
                self._retune_if_asked()
                data = self.port.read(1)  # blocks until a byte comes, or `wake_up_s`
                if data:
                    self._take(data + self._rest())
        except _PORT_ERRORS as error:
            self._fail(_disconnected(self._settings.port, error))
        else:
            self._fail(TransportError(f"{self._settings.port} was closed", reason=TransportFault.DISCONNECTED))

    def _retune_if_asked(self) -> None:
        with self._lock:
            retuning, self._retuning = self._retuning, None
        if retuning is None:
            return
        wanted = retuning.settings
        try:
            self.port.apply_settings({"baudrate": wanted.baud, "parity": wanted.parity, "stopbits": wanted.stop_bits})
            self.port.reset_input_buffer()
        except (ValueError, *_PORT_ERRORS) as error:
            retuning.done.set_exception(error)
            return
        with self._lock:
            self._chunks.clear()
            self._n_buffered_bytes = 0
        retuning.done.set_result(None)

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
            retuning, self._retuning = self._retuning, None
        if retuning is not None:
            retuning.done.set_exception(error)
        self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._is_ready.set)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.debug("serial.loop_closed port=%s", self._settings.port)


def _bad_line(port: str, settings: SerialPortSettings, error: ValueError) -> TransportError:
    log.debug("serial.bad_line port=%s error=%s", port, error)
    return TransportError(
        f"{port} cannot do {settings.line}",
        reason=TransportFault.OTHER,
        hint="take a speed that both the adapter and the device have",
    )


def _disconnected(place: str, error: BaseException) -> TransportError:
    # pyserial guesses at causes in a sentence of its own, which confuses whoever pulled the cable.
    log.debug("serial.disconnected port=%s error=%s", place, error)
    return TransportError(f"{place} was disconnected", reason=TransportFault.DISCONNECTED)
