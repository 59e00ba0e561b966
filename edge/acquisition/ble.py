"""Bluetooth Low Energy sensors as `transport.Transport`.

`BleTransport` is one sensor on a `BleAdapter`, its radio::

    adapter = BleAdapter(clock)
    strap = BleTransport(BleSettings(plan=HEART_RATE), adapter, clock)
    oximeter = BleTransport(BleSettings(plan=OXIMETER, address="A0:9E:1A:12:34:56"), adapter, clock)

Opening finds the peripheral, connects, bonds, reads and subscribes; every value is a `Chunk` whose ``channel`` is its
characteristic.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from edge.acquisition.ble_adapter import BleAdapter
from edge.acquisition.ble_errors import as_transport_errors
from edge.acquisition.ble_link import BleLink, Client, disconnect, hang_up
from edge.acquisition.ble_match import Advertisement, fits, shortened
from edge.acquisition.chunk_buffer import ChunkBuffer
from edge.acquisition.gatt.plan import GattPlan
from edge.acquisition.transport import Remedy
from edge.acquisition.waiting import ended, within
from edge.clock import NS_PER_S, Clock
from edge.errors import TransportError, TransportFault
from edge.messages import Chunk

__all__ = ["Advertisement", "BleAdapter", "BleSettings", "BleTransport"]

_AUTO = "auto"
_COMPARE_S = 1.0
"""How long a scan goes on after the first match, for a nearer sensor of the same kind: most advertise every second."""
_DELIVERING_S = 30.0
"""A link that had a value within this time is one that a power cycle would harm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BleSettings:
    """Which sensor, and how it is used."""

    plan: GattPlan
    """What kind of sensor it is."""
    address: str = _AUTO
    """Its Bluetooth address; ``auto`` for the nearest of its kind, which is then kept."""
    bond: bool = False
    """Whether to bond with it; also done where the plan needs it."""
    passkey: int | None = None
    """The six digits printed on a sensor that asks for them when bonding."""
    connect_timeout_s: float = 20.0
    """For connecting, and for every step after it; bleak-retry-connector's value."""
    scan_timeout_s: float = 10.0
    """Seconds of listening after which the sensor is missing; the slowest advertise every 2.5 s, and scans miss some."""
    write_timeout_s: float = 5.0
    """The attribute protocol allows 30 s (Core 5.4, Vol 3 Part F, 3.3.3); a sensor that is well answers in one."""
    max_buffered_chunks: int = 8192
    """Received and not yet read: half a minute at 250 notifications per second, about 3 MB."""


class BleTransport:
    """One Bluetooth sensor as a `Transport`; keep one per sensor, for it remembers which peripheral is its own.

    Parameters
    ----------
    settings : BleSettings
        Which sensor.
    adapter : BleAdapter
        The radio.
    clock : Clock
        Stamps the chunks.
    """

    def __init__(self, settings: BleSettings, adapter: BleAdapter, clock: Clock) -> None:
        self._settings = settings
        self._adapter = adapter
        self._clock = clock
        self._address = "" if settings.address == _AUTO else settings.address.upper()
        self._strangers: set[str] = set()  # advertised the service, and turned out to be another kind of sensor
        self._link: BleLink | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closing = asyncio.Lock()
        self._n_dropped_bytes = 0
        if self._address:
            adapter.claim(self._address, self)

    @property
    def address(self) -> str:
        """Address of the peripheral that this is bound to; empty as long as ``auto`` found none."""
        return self._address

    @property
    def mtu_bytes(self) -> int | None:
        """Largest packet agreed on with the peripheral; None while not open."""
        return None if self._link is None else self._link.mtu_bytes

    @property
    def is_delivering(self) -> bool:
        """Whether a value came within the last 30 s."""
        at_ns = None if self._link is None else self._link.heard_at_ns
        return at_ns is not None and self._clock.monotonic_ns() - at_ns < _DELIVERING_S * NS_PER_S

    @property
    def n_dropped_bytes(self) -> int:
        """Bytes dropped since `open`, because they were not read in time."""
        return self._n_dropped_bytes if self._link is None else self._link.buffer.n_dropped_bytes

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """All of them with bluetoothd; without it nothing can switch the radio off."""
        remedies = (Remedy.RESUBSCRIBE, Remedy.REDISCOVER)
        return remedies if self._adapter.bluez is None else (*remedies, Remedy.POWER_CYCLE)

    def describe(self) -> str:
        """Return the end of the address and the adapter; the whole address would tell its wearer apart."""
        which = f"Bluetooth sensor {shortened(self._address)}" if self._address else "a Bluetooth sensor of this kind"
        return f"{which} on {self._adapter.describe()}"

    async def open(self) -> None:
        """Find the peripheral, connect, bond, read and subscribe (`transport.Transport.open`).

        Cancelled at any point, it leaves nothing behind: no task, no scan, no connection.
        """
        if self._link is not None or self._opening is not None:
            raise RuntimeError(f"{self.describe()} is already open")
        opening = self._opening = asyncio.create_task(self._establish(), name="ble-open")
        try:
            await asyncio.wait({opening})
        except asyncio.CancelledError:
            await self.close()
            raise
        finally:
            self._opening = None
        if opening.cancelled():
            raise TransportError(f"{self.describe()} was closed while opening", reason=TransportFault.DISCONNECTED)
        opening.result()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yield every value, its characteristic as the channel (`transport.Transport.chunks`)."""
        buffer = self._require_link().buffer
        while (chunk := await buffer.next()) is not None:
            yield chunk

    async def write(self, data: bytes, channel: str = "") -> None:
        """Write to a characteristic, acknowledged where it can be (`transport.Transport.write`)."""
        await self._require_link().write(data, channel, self._settings.write_timeout_s)

    async def heal(self, remedy: Remedy) -> None:
        """Apply `remedy` (`transport.Transport.heal`)."""
        if remedy is Remedy.RESUBSCRIBE:
            await self._require_link().resubscribe(self._settings.connect_timeout_s)
            return
        if remedy not in self.remedies:
            raise TransportError(f"{self.describe()} has no remedy {remedy.value!r}", reason=TransportFault.OTHER)
        if self._link is not None:
            raise RuntimeError(f"{self.describe()} is open: {remedy.value} is for a closed link")
        if remedy is Remedy.POWER_CYCLE:
            await self._adapter.power_cycle(self)
        else:
            await self._rediscover()

    async def close(self) -> None:
        """Unsubscribe and disconnect (`transport.Transport.close`)."""
        is_cancelled = False
        if self._opening is not None:
            is_cancelled = await ended(self._opening)
        link, self._link = self._link, None
        if link is not None:
            self._n_dropped_bytes = link.buffer.n_dropped_bytes
            async with self._closing:
                await link.leave()
        if is_cancelled:
            raise asyncio.CancelledError

    async def _establish(self) -> None:
        async with self._closing:  # the last link of this transport may still be on its way out
            pass
        settings, place = self._settings, self.describe()
        linger_s = 0.0 if self._address else _COMPARE_S
        device = await self._adapter.find(self, self._is_wanted, settings.scan_timeout_s, linger_s)
        self._address = device.address.upper()
        place = self.describe()
        buffer = ChunkBuffer(settings.max_buffered_chunks)
        client = await self._adapter.connect(device, lambda: buffer.fail(hang_up(place)), settings.connect_timeout_s)
        try:
            if settings.bond or settings.plan.needs_bond:
                await self._bond(client)
            link = BleLink(client, settings.plan, buffer, self._clock, place)
            await link.set_up(settings.connect_timeout_s)
        except BaseException as error:
            await disconnect(client, place)
            if isinstance(error, TransportError) and error.reason is TransportFault.MISSING:
                self._let_go(is_stranger=True)
            raise
        self._adapter.settled(self._address)
        self._link = link

    async def _bond(self, client: Client) -> None:
        with as_transport_errors(f"{self.describe()}, bonding", is_connected=True):
            if self._adapter.bluez is None:
                await within(self._clock, self._settings.connect_timeout_s, client.pair(), "ble-pair")
            else:
                address = await self._adapter.bluez.bond(self._address, self._settings.passkey)
                self._adapter.claim(address, self)  # a private address is replaced by the identity once bonded
                self._address = address.upper()

    async def _rediscover(self) -> None:
        address = self._address
        self._strangers.clear()
        if not address:
            return
        self._let_go(is_stranger=False)
        if self._adapter.bluez is not None:
            with as_transport_errors(f"{shortened(address)}, forgetting", is_connected=False):
                await self._adapter.bluez.forget(address)

    def _let_go(self, *, is_stranger: bool) -> None:
        """Look for another peripheral next time, where ours was found and not configured."""
        address = self._address
        self._adapter.release(address, self)
        if self._settings.address != _AUTO:
            self._adapter.claim(address, self)
            return
        self._address = ""
        if is_stranger:
            self._strangers.add(address)

    def _is_wanted(self, heard: Advertisement) -> bool:
        if self._address:
            return heard.address.upper() == self._address
        return heard.address.upper() not in self._strangers and fits(self._settings.plan, heard)

    def _require_link(self) -> BleLink:
        if self._link is None:
            raise TransportError(f"{self.describe()} is not open", reason=TransportFault.DISCONNECTED)
        return self._link
