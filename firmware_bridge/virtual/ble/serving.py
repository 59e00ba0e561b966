"""Virtual wearables for programs outside this process: on a private D-Bus, on a radio, or over a bumble transport.

Three ways, one for each kind of peer:

``serve_on_bus``
    An emulated BlueZ: for bleak, ``bluetoothctl`` and everything else that speaks to ``org.bluez``.
``serve_on_transport`` with ``usb:0``, ``hci-socket:0``, ``serial:…``, ``tcp-client:…``
    The transport leads to a Bluetooth controller; one wearable goes on the air with it.
``serve_on_transport`` with ``tcp-server:…``, ``ws-server:…``, ``pty``, ``vhci``
    The transport is offered: whoever opens it finds a controller in the room where all the wearables are.  ``vhci``
    offers it to the Linux kernel, so that the system's own BlueZ sees them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from bumble import hci
from bumble.core import BaseBumbleError
from bumble.transport import open_transport
from bumble.transport.common import Transport, TransportSpecError

from edge.acquisition.transport import Remedy
from edge.clock import Clock
from edge.errors import TransportError, TransportFault
from firmware_bridge.virtual.ble.bus import BusUnavailableError, PrivateBus
from firmware_bridge.virtual.ble.emulated_bluez import EmulatedBluez
from firmware_bridge.virtual.ble.kinds import WearableSettings
from firmware_bridge.virtual.ble.radio import AirController, VirtualAir, host_device
from firmware_bridge.virtual.ble.wearable import Wearable
from firmware_bridge.virtual.scenario import Scenario

_log = logging.getLogger(__name__)

OFFERED = ("tcp-server", "ws-server", "pty", "vhci")
"""Transports at whose other end a host waits for a controller; at that of all others a controller waits for a host."""
GUEST_ADDRESS = "C0:C1:C2:C3:C4:C7"
_LOOK_S = 0.1
_POWER_ON_S = 10.0

Ready = Callable[[Sequence[Wearable], str], None]


async def serve_on_bus(
    settings: Sequence[WearableSettings], scenario: Scenario, clock: Clock, stop: asyncio.Event, ready: Ready
) -> list[Wearable]:
    """Offer wearables through an emulated BlueZ until `stop` is set or the story is over.

    Parameters
    ----------
    settings : sequence of WearableSettings
    scenario : Scenario
    clock : Clock
    stop : asyncio.Event
    ready : callable
        Called with the wearables and the address of the bus once programs can connect.

    Returns
    -------
    list of Wearable
        With what they sent.

    Raises
    ------
    TransportError
        If there is no ``dbus-daemon``.
    """
    air = VirtualAir()
    try:
        bus = PrivateBus().__enter__()
    except BusUnavailableError as error:
        raise TransportError(
            f"no private D-Bus: {error}",
            reason=TransportFault.MISSING,
            hint="install the package that has dbus-daemon (Debian: dbus, dbus-daemon), or take --transport",
        ) from error
    wearables: list[Wearable] = []
    bluez = EmulatedBluez(air, on_remedy=lambda address, remedy: _tell(wearables, address, remedy))
    try:
        await bluez.start(bus.address)
        try:
            wearables += [_in_air(each, scenario, clock, air) for each in settings]
            async with _started(wearables):
                ready(wearables, bus.address)
                await _until_over(wearables, scenario, stop)
        finally:
            await bluez.close()
    finally:
        bus.__exit__(None, None, None)
    return wearables


async def serve_on_transport(
    settings: Sequence[WearableSettings],
    scenario: Scenario,
    clock: Clock,
    stop: asyncio.Event,
    ready: Ready,
    *,
    transport: str,
) -> list[Wearable]:
    """Offer wearables on a bumble transport until `stop` is set or the story is over; see the module.

    Raises
    ------
    TransportError
        If the transport cannot be opened, nothing answers at its other end, or it takes one wearable and there are more.
    """
    is_offered = transport.split(":", 1)[0] in OFFERED
    if not is_offered and len(settings) > 1:
        raise TransportError(
            f"{transport} is one Bluetooth controller and carries one wearable, not {len(settings)}",
            reason=TransportFault.OTHER,
            hint="give one --kind (all is one wearable with everything), or take --bluez",
        )
    async with _opened(transport) as opened:
        if is_offered:
            air = VirtualAir()
            AirController(
                "guest", host_source=opened.source, host_sink=opened.sink, link=air.link, public_address=GUEST_ADDRESS
            )
            wearables = [_in_air(each, scenario, clock, air) for each in settings]
        else:
            (only,) = settings
            device = host_device(only.shown_name, only.shown_address, opened.source, opened.sink)
            wearables = [Wearable(only, scenario, clock, device)]
        async with _started(wearables, transport):
            ready(wearables, transport)
            await _until_over(wearables, scenario, stop)
    return wearables


@asynccontextmanager
async def _opened(name: str) -> AsyncIterator[Transport]:
    try:
        transport = await open_transport(name)
    except (OSError, ValueError, BaseBumbleError, TransportSpecError, ImportError) as error:
        raise TransportError(
            f"cannot open the transport {name}: {str(error) or type(error).__name__}",
            reason=TransportFault.MISSING,
            hint="usb:0 is the first Bluetooth dongle and needs the right to open it; see bumble's list of transports",
        ) from error
    try:
        async with transport:
            yield transport
    finally:
        server = getattr(transport, "server", None)
        if server is not None:  # bumble's own closing leaves the port open
            server.close()


def _in_air(settings: WearableSettings, scenario: Scenario, clock: Clock, air: VirtualAir) -> Wearable:
    return Wearable(settings, scenario, clock, air.device(settings.shown_name, settings.shown_address))


def _tell(wearables: Sequence[Wearable], address: str | None, remedy: Remedy) -> None:
    for wearable in wearables:
        if address in {None, wearable.address}:
            wearable.notice(remedy)


@asynccontextmanager
async def _started(wearables: Sequence[Wearable], transport: str = "") -> AsyncIterator[None]:
    """Start all, and close those that were started in reverse order."""
    started: list[Wearable] = []
    try:
        for wearable in wearables:
            await _answered(wearable.start(), transport)
            started.append(wearable)
        yield
    finally:
        for wearable in reversed(started):
            await wearable.close()


async def _answered(start: Awaitable[None], transport: str) -> None:
    try:
        async with asyncio.timeout(_POWER_ON_S):
            await start
    except (TimeoutError, hci.HCI_Error, BaseBumbleError) as error:
        raise TransportError(
            f"no Bluetooth controller answers at {transport}: {str(error) or 'timeout'}",
            reason=TransportFault.ADAPTER,
            hint="is it a Bluetooth controller, and is nothing else using it? (sudo systemctl stop bluetooth frees it)",
        ) from error


async def _until_over(wearables: Sequence[Wearable], scenario: Scenario, stop: asyncio.Event) -> None:
    while not stop.is_set():
        if scenario.duration_s is not None and wearables[0].story_s >= scenario.duration_s:
            return
        for wearable in wearables:
            wearable.sent.forget()  # only the counts are reported
        try:
            async with asyncio.timeout(_LOOK_S):
                await stop.wait()
        except TimeoutError:
            continue
