"""One Bluetooth radio through bleak (the only file that imports it): hear, find, connect, switch off and on.

The links of one adapter share scanning and take turns in connecting, because BlueZ and most controllers do one of these
at a time.  On Linux bleak speaks to bluetoothd over D-Bus; simulations and tests hand in other bleak backends.

Notes
-----
* Found peripherals are shared: while one sensor is looked for, the others are heard too, so that four absent sensors
  cost the time of one.
* A runtime that was killed leaves its sensors connected in bluetoothd, and a connected peripheral does not advertise:
  such links are taken over instead of waiting for an advertisement that cannot come.
* Connecting is retried by `sensor` with its back-off.  ``bleak-retry-connector`` was looked at for this: it brings five
  more packages, retries where we want to be told, and does not see a link that says "connected" and sends nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from bleak import BleakAdapter, BleakClient, BleakScanner
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner

from edge.acquisition.ble_errors import as_transport_errors, hint_for
from edge.acquisition.ble_link import disconnect
from edge.acquisition.ble_match import Advertisement, nearest, shortened
from edge.acquisition.bluez import Bluez
from edge.acquisition.gatt.plan import assigned
from edge.acquisition.waiting import to_the_end, within
from edge.clock import NS_PER_S, Clock
from edge.errors import TransportError, TransportFault

_SLICE_S = 2.5
"""One sensor's turn of scanning; then the next sensor may connect."""
_FRESH_S = 10.0
"""Age up to which a sighting is good for connecting; bluetoothd forgets a device 30 s after the scan."""
_CYCLE_PAUSE_S = 300.0
"""Between two power cycles: what one did not heal, the next will not, and every other sensor pays for it."""
_CYCLE_PATIENCE_S = 30.0
_DROP_PATIENCE_S = 3.0
_UNKNOWN_RSSI_DBM = -127
_GENERIC_ACCESS, _GENERIC_ATTRIBUTE = assigned(0x1800), assigned(0x1801)

Wanted = Callable[[Advertisement], bool]


class Owner(Protocol):
    """A link of the adapter, as far as the adapter looks at it."""

    @property
    def is_delivering(self) -> bool:
        """Whether it had data lately."""
        ...

    def describe(self) -> str:
        """Return what it is, for messages."""
        ...


@dataclass(frozen=True, slots=True)
class _Sighting:
    heard: Advertisement
    device: BLEDevice
    at_ns: int


class BleAdapter:
    """One Bluetooth radio, shared by all its links.

    Parameters
    ----------
    clock : Clock
        All limits and ages.
    adapter : str or None
        ``hci0``; None for the first that is on.
    client_backend, scanner_backend : type or None
        Classes of a bleak backend other than the platform's: for simulations.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        adapter: str | None = None,
        client_backend: type[BaseBleakClient] | None = None,
        scanner_backend: type[BaseBleakScanner] | None = None,
    ) -> None:
        self.bluez = Bluez(clock, adapter) if client_backend is None and sys.platform == "linux" else None
        self._clock = clock
        self._name = adapter
        self._client_backend = client_backend
        self._scanner_backend = scanner_backend
        self._turn = asyncio.Lock()
        self._sightings: dict[str, _Sighting] = {}
        self._owners: dict[str, Owner] = {}
        self._taken_over: set[str] = set()
        self._looking: dict[Owner, tuple[Wanted, float]] = {}
        self._n_eager = 0  # links that found their peripheral and wait for their turn to connect: no scan before them
        self._listened_s = 0.0
        self._cycled_at_ns: int | None = None

    def describe(self) -> str:
        """Return the adapter's name for messages."""
        return self._name or "the first adapter"

    async def scan(self, duration_s: float) -> list[Advertisement]:
        """Return every peripheral heard within `duration_s` seconds, nearest first.

        Raises
        ------
        TransportError
            If the adapter cannot scan.
        """
        since_ns = self._clock.monotonic_ns()
        async with self._turn:
            await self._listen(duration_s, is_survey=True)
        heard = [each.heard for each in self._sightings.values() if each.at_ns >= since_ns]
        return sorted(heard, key=lambda each: -1000 if each.rssi_dbm is None else -each.rssi_dbm)

    async def close(self) -> None:
        """Forget what was heard; the links close themselves, and no connection of our own is kept."""
        self._sightings.clear()
        self._owners.clear()

    def claim(self, address: str, owner: Owner) -> None:
        """Keep `address` for `owner`, so that no other link of this adapter picks it by itself."""
        self._owners.setdefault(address.upper(), owner)

    def release(self, address: str, owner: Owner) -> None:
        """Undo `claim`, and forget where the peripheral was heard."""
        self.settled(address)
        self._sightings.pop(address.upper(), None)
        if self._owners.get(address.upper()) is owner:
            del self._owners[address.upper()]

    def settled(self, address: str) -> None:
        """Take note that the link to `address` works, so that it may be taken over again one day."""
        self._taken_over.discard(address.upper())

    async def find(self, owner: Owner, wanted: Wanted, timeout_s: float, linger_s: float) -> BLEDevice:
        """Return the nearest peripheral that `wanted` accepts and no other link has claimed; it is `owner`'s now.

        Parameters
        ----------
        owner : Owner
            Who looks for it.
        wanted : callable
            Whether an advertisement is the one.
        timeout_s : float
            Seconds of listening on this adapter, for whomever, after which the peripheral is missing.
        linger_s : float
            How long to go on listening after a match, for a nearer one.

        Raises
        ------
        TransportError
            ``MISSING``; or what is wrong with the adapter.
        """
        begun_s = self._listened_s
        await self._hear_connected()
        self._looking[owner] = (wanted, linger_s)
        try:
            while (device := self._claimed(owner, wanted)) is None:
                left_s = timeout_s - (self._listened_s - begun_s)
                if left_s <= 0:
                    raise TransportError(
                        f"{owner.describe()} was not heard for {timeout_s:g} s",
                        reason=TransportFault.MISSING,
                        hint=hint_for(TransportFault.MISSING),
                    )
                async with self._turn:  # first come, first served
                    if not self._n_eager and not self._lingers():
                        await self._listen(min(_SLICE_S, left_s))
        finally:
            del self._looking[owner]
        return device

    async def connect(self, device: BLEDevice, on_hang_up: Callable[[], None], limit_s: float) -> BleakClient:
        """Return a client connected to `device`; one attempt at a time.

        Raises
        ------
        TransportError
            If that was not possible within `limit_s` seconds; nothing of the attempt is left then.
        """
        client = BleakClient(
            device,
            disconnected_callback=lambda _: on_hang_up(),
            timeout=limit_s,
            bluez={} if self._name is None else {"adapter": self._name},
            backend=self._client_backend,
        )
        self._sightings.pop(device.address.upper(), None)  # connected it does not advertise; failed it is heard anew
        try:
            with as_transport_errors(f"{shortened(device.address)}, connecting", is_connected=False):
                self._n_eager += 1
                try:
                    await self._turn.acquire()
                finally:
                    self._n_eager -= 1
                try:
                    await within(self._clock, limit_s, client.connect(), "ble-connect")
                finally:
                    self._turn.release()
        except BaseException:
            # A connect that fails tidies up after itself, and bleak 3.1 hangs in disconnecting what never had a bus.
            if client.is_connected:
                await disconnect(client, shortened(device.address))
            elif self.bluez is not None:
                with suppress(TransportError), as_transport_errors(self.describe(), is_connected=False):
                    await to_the_end(self.bluez.drop(device.address), "ble-drop", _DROP_PATIENCE_S)
            raise
        return client

    async def power_cycle(self, asked_by: Owner) -> None:
        """Switch the radio off and on (`Remedy.POWER_CYCLE`).

        Raises
        ------
        TransportError
            ``BUSY`` if another link delivers data or this was done less than 5 minutes ago; ``ADAPTER`` if the radio
            does not come back.
        """
        async with self._turn:
            now_ns = self._clock.monotonic_ns()
            if self._cycled_at_ns is not None and now_ns - self._cycled_at_ns < _CYCLE_PAUSE_S * NS_PER_S:
                raise TransportError(f"{self.describe()} was switched off and on just now", reason=TransportFault.BUSY)
            if any(each is not asked_by and each.is_delivering for each in self._owners.values()):
                raise TransportError(f"{self.describe()} serves another sensor", reason=TransportFault.BUSY)
            if self.bluez is None:
                raise TransportError(f"{self.describe()} cannot be switched off", reason=TransportFault.OTHER)
            self._cycled_at_ns = now_ns
            self._sightings.clear()
            with as_transport_errors(f"{self.describe()}, switching off and on", is_connected=False):
                await to_the_end(self.bluez.power_cycle(), "ble-power-cycle", _CYCLE_PATIENCE_S)

    def _best(self, owner: Owner, wanted: Wanted) -> Advertisement | None:
        oldest_ns = self._clock.monotonic_ns() - int(_FRESH_S * NS_PER_S)
        return nearest(
            each.heard
            for address, each in self._sightings.items()
            if each.at_ns >= oldest_ns and self._owners.get(address, owner) is owner and wanted(each.heard)
        )

    def _claimed(self, owner: Owner, wanted: Wanted) -> BLEDevice | None:
        found = self._best(owner, wanted)
        if found is None:
            return None
        self.claim(found.address, owner)
        return self._sightings[found.address.upper()].device

    def _lingers(self) -> list[float]:
        """Return for every link whose peripheral was heard how long it would go on listening for a nearer one."""
        looking = self._looking.items()
        return [linger_s for owner, (wanted, linger_s) in looking if self._best(owner, wanted) is not None]

    async def _listen(self, limit_s: float, *, is_survey: bool = False) -> None:
        """Scan until anybody's peripheral is heard, or to the end of a survey; call it in turn only."""
        heard = asyncio.Event()

        def on_advertisement(device: BLEDevice, data: AdvertisementData) -> None:
            rssi_dbm = data.rssi if data.rssi > _UNKNOWN_RSSI_DBM else None
            self._sight(device, data.local_name or device.name or "", tuple(data.service_uuids), rssi_dbm)
            if not is_survey and self._lingers():
                heard.set()

        begun_ns = self._clock.monotonic_ns()
        with as_transport_errors(f"{self.describe()}, scanning", is_connected=False):
            scanner = BleakScanner(
                on_advertisement,
                bluez={} if self._name is None else {"adapter": self._name},
                backend=self._scanner_backend,
            )
            try:
                # A start that is cut short leaves bluetoothd discovering, and every later scan "in progress".
                await to_the_end(scanner.start(), "ble-scan-start")
                with suppress(TimeoutError):
                    await within(self._clock, limit_s, heard.wait(), "ble-scan")
                if heard.is_set():
                    await self._clock.sleep(max(self._lingers(), default=0.0))
            finally:
                self._listened_s += (self._clock.monotonic_ns() - begun_ns) / NS_PER_S
                await to_the_end(scanner.stop(), "ble-scan-stop")

    async def _hear_connected(self) -> None:
        """Note the sensors that the system holds connected: a killed runtime left them, and they do not advertise.

        Each is tried once: after a crash of bluetoothd bleak goes on believing in links that are no more, and only a
        scan tells what is true.
        """
        if self.bluez is None:
            return
        with as_transport_errors(self.describe(), is_connected=False):
            adapter = await BleakAdapter.get(bluez={} if self._name is None else {"adapter": self._name})
            for device in await adapter.get_connected_devices([_GENERIC_ATTRIBUTE, _GENERIC_ACCESS]):
                if device.address.upper() not in self._taken_over:
                    self._taken_over.add(device.address.upper())
                    services = device.details["props"].get("UUIDs", [])
                    self._sight(device, device.name or "", tuple(services), None)

    def _sight(self, device: BLEDevice, name: str, services: tuple[str, ...], rssi_dbm: int | None) -> None:
        heard = Advertisement(address=device.address.upper(), name=name, services=services, rssi_dbm=rssi_dbm)
        self._sightings[heard.address] = _Sighting(heard, device, self._clock.monotonic_ns())
