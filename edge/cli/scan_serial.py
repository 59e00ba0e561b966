"""The serial half of ``vitaledge scan``: every port, who may use it, and which device is behind it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from edge.acquisition.devices.line import LineSettings
from edge.acquisition.recognition import (
    BRIDGE,
    BRIDGE_LINE,
    KINDS,
    LINES,
    MAX_BYTES,
    Recognised,
    bridge_words,
    questions,
    recognise,
)
from edge.acquisition.serial_port import SerialPort, SerialPortSettings
from edge.acquisition.serial_ports import lasting_name, open_error, resolve_port
from edge.acquisition.udev import PortInfo, PortRoots, holders, list_ports
from edge.clock import Clock
from edge.errors import TransportError, TransportFault

_JUDGED_AT_ONCE = 256
"""Up to here every chunk is judged; then at each doubling, and from a kilobyte on once a kilobyte."""
_JUDGED_EVERY = 1024
_ENOUGH_BYTES = 1 << 14
"""Of a port that floods us no more is heard at one speed."""
_UNLISTED = "not on the kernel's list"


class PortState(StrEnum):
    """What a scan found out about a port."""

    FOUND = "found"
    """A device that one of our drivers reads."""
    UNKNOWN = "unknown"
    """Bytes come, and no driver knows them."""
    SILENT = "silent"
    """Free, and nothing came."""
    FREE = "free"
    """Nobody has it; it was not opened, as was asked for."""
    IN_USE = "in use"
    """Another process has it; nothing was read, because that process would miss it."""
    NOT_PERMITTED = "not permitted"
    CONSOLE = "console"
    """The kernel's own terminal, left alone."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFind:
    """One port and what was found there."""

    port: PortInfo
    name: str
    """What to write into a configuration."""
    state: PortState
    detail: str = ""
    """What the device is, or why there is nothing, in words."""
    hint: str = ""
    """What the operator can do; empty where there is nothing to do."""
    device: Recognised | None = None
    n_bytes: int = 0
    """Heard at all speeds together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How long and how a port is listened to."""

    opens: bool = True
    """Whether ports are opened at all; without, they are only listed."""
    patience_s: float = 4.0
    """Until the first byte comes; a board that resets on opening needs 2 s before it speaks."""
    window_s: float = 1.5
    """At each speed, once anything comes at all: 500 bytes of the slowest device."""
    answer_s: float = 3.0
    """After each question; a Cyton takes two seconds to reset and say so."""
    asks: bool = False
    """Whether a port that says nothing is asked; only then a byte is written."""
    extra_baud: int | None = None
    """A further speed at which to look for our own firmware."""

    @property
    def lines(self) -> tuple[LineSettings, ...]:
        """The lines to listen at, in this order."""
        extra = () if self.extra_baud is None else (LineSettings(baud=self.extra_baud),)
        return tuple(dict.fromkeys((*extra, *LINES)))


async def scan_ports(
    settings: ProbeSettings,
    clock: Clock,
    *,
    only: str | None = None,
    roots: PortRoots = PortRoots(),  # noqa: B008
) -> list[PortFind]:
    """Return every port with what is behind it, all looked at side by side; or `only` the one named.

    Raises
    ------
    TransportError
        If the one named is not there.
    """
    wanted = await asyncio.to_thread(_wanted, only, roots)
    async with asyncio.TaskGroup() as tasks:
        looks = [
            tasks.create_task(_look(port, name, settings, clock, roots, insists=only is not None), name=f"scan-{name}")
            for port, name in wanted
        ]
    return [look.result() for look in looks]


def _wanted(only: str | None, roots: PortRoots) -> list[tuple[PortInfo, str]]:
    """Return the ports to look at, each with the name that a configuration should have for it."""
    ports = list_ports(roots)
    if only is None:
        return [(port, lasting_name(port, ports)) for port in ports]
    path = resolve_port(only, roots)
    place = os.path.realpath(path)
    listed = [port for port in ports if os.path.realpath(port.path) == place]
    return [(listed[0] if listed else _bare(path), only)]


def _bare(path: str) -> PortInfo:
    """Return a port of which nothing is known, such as a pseudo-terminal."""
    return PortInfo(
        path=path,
        links=(),
        usb=None,
        interface="",
        manufacturer="",
        product=_UNLISTED,
        is_console=False,
        group="",
        is_permitted=True,
    )


async def _look(
    port: PortInfo, name: str, settings: ProbeSettings, clock: Clock, roots: PortRoots, *, insists: bool
) -> PortFind:
    """Return what is at `port`; it is opened only if nobody else uses it and opening does no harm."""
    if port.is_console and not insists:
        return PortFind(port=port, name=name, state=PortState.CONSOLE, detail="the kernel's own terminal, not opened")
    if not port.is_permitted:
        error = open_error(port.path, PermissionError(errno.EACCES, "Permission denied"))
        return _failed(port, name, error)
    # The other end of a pseudo-terminal often holds this one open too, which is no use of it: there the lock decides.
    users = () if port.product == _UNLISTED else await asyncio.to_thread(holders, port.path, roots)
    if users:
        held = replace(port, holders=users)
        return PortFind(port=held, name=name, state=PortState.IN_USE, detail=f"used by {', '.join(users)}")
    if not settings.opens:
        return PortFind(port=port, name=name, state=PortState.FREE)
    return await _probe(port, name, settings, clock)


async def _probe(port: PortInfo, name: str, settings: ProbeSettings, clock: Clock) -> PortFind:
    """Return what `port` says at the speeds of the known devices; opened once, since opening resets some boards."""
    first = settings.lines[0]
    serial = SerialPort(
        SerialPortSettings(port=port.path, baud=first.baud, parity=first.parity, stop_bits=first.stop_bits), clock
    )
    ear = _Ear(serial, clock)
    try:
        await serial.open()
        device = await _search(ear, settings)
    except TransportError as error:
        return _failed(port, name, error)
    finally:
        await serial.close()
    n_bytes = ear.n_bytes
    if device is not None:
        return PortFind(
            port=port, name=name, state=PortState.FOUND, detail=device.words, device=device, n_bytes=n_bytes
        )
    if n_bytes:
        return PortFind(
            port=port,
            name=name,
            state=PortState.UNKNOWN,
            detail=f"{n_bytes} bytes came that no driver knows",
            hint="is it our own firmware at another speed?  try: --baud N",
            n_bytes=n_bytes,
        )
    hint = "" if settings.asks else "some devices speak only when asked; to write a question to it: --ask"
    return PortFind(port=port, name=name, state=PortState.SILENT, detail="nothing came", hint=hint)


async def _search(ear: _Ear, settings: ProbeSettings) -> Recognised | None:
    """Return the device, if one of the lines makes sense of what comes."""
    await ear.hear(settings.patience_s, lambda: ear.n_bytes > 0)
    if not (ear.n_bytes or settings.asks):
        return None
    for at, line in enumerate(settings.lines):
        if at:
            await ear.retune(line)
        device = await ear.recognise(settings.window_s) if ear.n_bytes else None
        if device is None and settings.asks:
            device = await _ask(ear, line, settings.answer_s)
        if device is None:
            continue
        if device.driver == BRIDGE:
            device = await _introduced(ear, device, settings.answer_s)
            return device if line in LINES else replace(device, line=line)
        return device
    return None


async def _ask(ear: _Ear, line: LineSettings, answer_s: float) -> Recognised | None:
    """Return the device that answers to the questions of `line`, which are put one after the other."""
    for question in questions(line):
        await ear.write(question)
        device = await ear.recognise(answer_s)
        if device is not None:
            return device
    return None


async def _introduced(ear: _Ear, device: Recognised, answer_s: float) -> Recognised:
    """Return `device` with who it says it is; to ask a device of our own protocol does no harm."""
    if device.words != KINDS[BRIDGE].words:
        return device
    await ear.write(questions(BRIDGE_LINE)[0])
    await ear.hear(answer_s, lambda: bridge_words(ear.tail) != "")
    return replace(device, words=bridge_words(ear.tail) or device.words)


class _Ear:
    """Listens to one open port, and judges what it hears."""

    def __init__(self, serial: SerialPort, clock: Clock) -> None:
        self._serial = serial
        self._clock = clock
        self._tail = bytearray()
        self._n_here = 0  # bytes heard at this speed
        self._n_judged = 0  # of these, when they were judged last
        self.n_bytes = 0

    @property
    def tail(self) -> bytes:
        """The newest bytes that came at this speed, as many as are judged."""
        return bytes(self._tail)

    async def retune(self, line: LineSettings) -> None:
        """Go on at another speed."""
        await self._serial.retune(line.baud, line.parity, line.stop_bits)
        self._tail.clear()
        self._n_here = self._n_judged = 0

    async def write(self, data: bytes) -> None:
        """Write to the device."""
        await self._serial.write(data)

    async def recognise(self, for_s: float) -> Recognised | None:
        """Return the device as soon as it is known, at the latest after `for_s` seconds."""
        found: list[Recognised] = []

        def is_known() -> bool:
            # Not at every chunk: a fast port would keep us busy with judging.
            if _JUDGED_AT_ONCE < self._n_here < self._n_judged + min(self._n_judged, _JUDGED_EVERY):
                return False
            self._n_judged = self._n_here
            device = recognise(self.tail)
            found.extend([] if device is None else [device])
            return device is not None or self._n_here > _ENOUGH_BYTES

        if not is_known():
            await self.hear(for_s, is_known)
        return found[0] if found else recognise(self.tail)

    async def hear(self, for_s: float, is_enough: Callable[[], bool]) -> None:
        """Listen for `for_s` seconds, or until it is enough.

        Raises
        ------
        TransportError
            If the port goes away meanwhile.
        """

        async def read() -> None:
            async for chunk in self._serial.chunks():
                self.n_bytes += len(chunk.data)
                self._n_here += len(chunk.data)
                self._tail += chunk.data
                del self._tail[:-MAX_BYTES]
                if is_enough():
                    return

        reading = asyncio.create_task(read(), name="scan-read")
        waiting = asyncio.create_task(self._clock.sleep(for_s), name="scan-wait")
        try:
            await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, waiting):
                task.cancel()
            results = await asyncio.gather(reading, waiting, return_exceptions=True)
        if isinstance(results[0], Exception):  # not the cancellation, which is ours
            raise results[0]


def _failed(port: PortInfo, name: str, error: TransportError) -> PortFind:
    state = {
        TransportFault.BUSY: PortState.IN_USE,
        TransportFault.PERMISSION: PortState.NOT_PERMITTED,
    }.get(error.reason, PortState.FAILED)
    # Whoever has it may well be meant to: nobody should be told to end the service.
    hint = f"see by whom: fuser -v {port.path}" if state is PortState.IN_USE else error.hint
    return PortFind(port=port, name=name, state=state, detail=str(error), hint=hint)
