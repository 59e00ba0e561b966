"""bleak on a bumble central: the same `BleakClient` and `BleakScanner` without D-Bus, without root, on any system.

::

    client_class, scanner_class = make_backend(central)     # any bumble Device: virtual, or a dongle
    device = await BleakScanner.find_device_by_name("Oximeter 00000001", backend=scanner_class)
    async with BleakClient(device, backend=client_class) as client: ...

bleak has no registry of backends: the classes are passed wherever it looks for or connects to something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDeviceNotFoundError, BleakError, BleakGATTProtocolError, BleakGATTProtocolErrorCode
from bumble import att, core, hci
from bumble.core import InvalidStateError, ProtocolError
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.hci import Address

from firmware_bridge.virtual.ble.hearing import full_uuid, heard, property_names
from firmware_bridge.virtual.ble.links import LinkEndedError, connect, disconnect, discover_all, while_linked

_T = TypeVar("_T")
_OUR_MTU = 517


class _Central:
    """What clients and scanners of one central share: it can scan for several, and connect to one at a time."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.connecting = asyncio.Lock()
        self.scanners: set[Callable[[Advertisement], None]] = set()
        device.on(Device.EVENT_ADVERTISEMENT, self._on_advertisement)

    async def add_scanner(self, heard: Callable[[Advertisement], None], *, is_active: bool) -> None:
        self.scanners.add(heard)
        if len(self.scanners) == 1:
            await self.device.start_scanning(active=is_active, filter_duplicates=False)

    async def remove_scanner(self, heard: Callable[[Advertisement], None]) -> None:
        self.scanners.discard(heard)
        if not self.scanners:
            await self.device.stop_scanning()

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        for scanner in list(self.scanners):
            scanner(advertisement)


def make_backend(central: Device) -> tuple[type[BaseBleakClient], type[BaseBleakScanner]]:
    """Return the client and the scanner class for a bumble central that is powered on.

    Nothing is shared between two calls: two centrals are two adapters.
    """
    shared = _Central(central)

    class BumbleScanner(_Scanner):
        """Scans with this central."""

        _central = shared

    class BumbleClient(_Client):
        """Connects with this central."""

        _central = shared

    return BumbleClient, BumbleScanner


class _Scanner(BaseBleakScanner):
    _central: _Central

    def __init__(self, detection_callback: Any, service_uuids: Any, scanning_mode: str, **options: Any) -> None:
        del options
        super().__init__(detection_callback, service_uuids)
        self._is_active = scanning_mode == "active"

    async def start(self) -> None:
        self.seen_devices = {}
        await self._central.add_scanner(self._on_advertisement, is_active=self._is_active)

    async def stop(self) -> None:
        await self._central.remove_scanner(self._on_advertisement)

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        found = heard(advertisement)
        if not self.is_allowed_uuid(list(found.services)):
            return
        told = AdvertisementData(
            local_name=found.name,
            manufacturer_data=found.manufacturer_data,
            service_data={},
            service_uuids=list(found.services),
            tx_power=found.tx_power_dbm,
            rssi=found.rssi_dbm,
            platform_data=(advertisement,),
        )
        device = self.create_or_update_device(found.address, found.address, found.name, advertisement.address, told)
        self.call_detection_callbacks(device, told)


class _Client(BaseBleakClient):
    _central: _Central

    def __init__(
        self,
        address_or_ble_device: Any,
        services: Any = None,
        *,
        disconnected_callback: Any,
        timeout: float,
        **options: Any,
    ) -> None:
        del options
        super().__init__(address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout)
        self._device = address_or_ble_device
        self._wanted_services = services
        self._connection: Connection | None = None
        self._callbacks: dict[int, Callable[[bytes], None]] = {}

    @property
    def name(self) -> str:
        return getattr(self._device, "name", None) or self.address

    @property
    def mtu_size(self) -> int:
        return att.ATT_DEFAULT_MTU if self._connection is None else int(self._connection.att_mtu)

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool, **options: Any) -> None:
        del options
        if self.is_connected:
            raise BleakError("Client is already connected")
        address = self._device.details if isinstance(self._device, BLEDevice) else Address(self.address)
        async with asyncio.timeout(self._timeout), self._central.connecting:
            try:
                connection = await connect(self._central.device, address, self._timeout * 0.9)
            except TimeoutError:
                message = f"Device with address {self.address} was not found."
                raise BleakDeviceNotFoundError(self.address, message) from None
            except (ProtocolError, hci.HCI_Error) as error:
                raise BleakError(f"cannot connect: {error}") from error
        self._connection = connection
        connection.on(Connection.EVENT_DISCONNECTION, self._on_disconnection)
        try:
            if pair:
                await self.pair()
            self.services = await self._discover(connection)
        except BaseException:
            await self.disconnect()
            raise

    async def disconnect(self) -> None:
        if self._connection is not None:
            await disconnect(self._connection)

    async def pair(self, *args: Any, **options: Any) -> None:
        del args, options
        await self._do(lambda connection: connection.pair())

    async def unpair(self) -> None:
        keystore = self._central.device.keystore
        if keystore is None:
            return
        for name, _ in await keystore.get_all():
            if name.startswith(self.address):
                await keystore.delete(name)

    async def read_gatt_char(self, characteristic: BleakGATTCharacteristic, **options: Any) -> bytearray:
        del options
        return bytearray(await self._do(lambda _: characteristic.obj.read_value()))

    async def read_gatt_descriptor(self, descriptor: BleakGATTDescriptor, **options: Any) -> bytearray:
        del options
        return bytearray(await self._do(lambda _: descriptor.obj.read_value()))

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: Any, response: bool) -> None:
        await self._do(lambda _: characteristic.obj.write_value(bytes(data), with_response=response))

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: Any) -> None:
        await self._do(lambda _: descriptor.obj.write_value(bytes(data), with_response=True))

    async def start_notify(self, characteristic: BleakGATTCharacteristic, callback: Any, **options: Any) -> None:
        del options

        def pass_on(value: bytes) -> None:
            callback(bytearray(value))

        await self._do(lambda _: characteristic.obj.subscribe(pass_on))
        self._callbacks[characteristic.handle] = pass_on

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        pass_on = self._callbacks.pop(characteristic.handle)
        await self._do(lambda _: characteristic.obj.unsubscribe(pass_on))

    async def _discover(self, connection: Connection) -> BleakGATTServiceCollection:
        peer = Peer(connection)
        await self._do(lambda _: peer.request_mtu(_OUR_MTU))
        await self._do(lambda _: discover_all(peer))
        found = BleakGATTServiceCollection()
        for service in peer.services:
            uuid = full_uuid(service.uuid)
            if self._wanted_services and uuid not in self._wanted_services:
                continue
            ours = BleakGATTService(service, service.handle, uuid)
            found.add_service(ours)
            for each in service.characteristics:
                flags = property_names(int(each.properties))
                target = BleakGATTCharacteristic(
                    each, each.handle, full_uuid(each.uuid), flags, lambda: self.mtu_size - 3, ours
                )
                found.add_characteristic(target)
                for below in each.descriptors:
                    found.add_descriptor(BleakGATTDescriptor(below, below.handle, full_uuid(below.type), target))
        return found

    def _on_disconnection(self, reason: int) -> None:
        del reason
        self._connection = None
        self.services = None
        self._callbacks.clear()
        if self._disconnected_callback:
            self._disconnected_callback()

    async def _do(self, act: Callable[[Connection], Coroutine[Any, Any, _T]]) -> _T:
        """Run one operation; its failures come out as bleak's."""
        connection = self._connection
        if connection is None:
            raise BleakError("Not connected")
        try:
            return await while_linked(connection, act(connection))
        except att.ATT_Error as error:
            raise BleakGATTProtocolError(BleakGATTProtocolErrorCode(int(error.error_code))) from error
        except LinkEndedError:
            raise BleakError("Not connected") from None
        except (ProtocolError, InvalidStateError, core.TimeoutError) as error:
            raise BleakError(str(error)) from error
