"""A bleak backend without any Bluetooth: peripherals that do what the test says, and steps that fail or hang on demand.

::

    air = ScriptedAir(strap := ScriptedPeripheral(services=(HEART_RATE,)))
    air.fails["connect"] = [BleakError("no")]     # once
    air.hangs.add("start_notify")                 # until discarded
    adapter = BleAdapter(clock, client_backend=air.client, scanner_backend=air.scanner)

Every call of a backend is one *step* with a name; `ScriptedAir.steps` keeps them in order.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError

NOTIFY, WRITE, READ = ("notify",), ("write",), ("read",)


@dataclass(eq=False)
class ScriptedPeripheral:
    """One sensor: what it advertises, what it has, what was done to it."""

    address: str = "A0:9E:1A:00:00:01"
    name: str = "Strap"
    services: tuple[str, ...] = ()
    rssi_dbm: int = -60
    characteristics: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """UUID -> properties; a UUID with ``#2`` at its end is a second characteristic of that UUID."""
    values: dict[str, bytes] = field(default_factory=dict)
    write_bytes: int = 20
    """What fits into one packet."""
    is_in_range: bool = True
    is_bonded: bool = False
    written: list[tuple[str, bytes, bool]] = field(default_factory=list)
    clients: list[ScriptedClient] = field(default_factory=list)

    def notify(self, uuid: str, value: bytes) -> None:
        for client in self.clients:
            for handle, (characteristic, callback) in client.subscribed.items():
                if characteristic.uuid == uuid and handle in client.subscribed:
                    callback(bytearray(value))

    def hang_up(self) -> None:
        for client in list(self.clients):
            client.gone()


class ScriptedAir:
    """The peripherals in range, and the troubles of the stack."""

    def __init__(self, *peripherals: ScriptedPeripheral) -> None:
        self.peripherals = list(peripherals)
        self.steps: list[str] = []
        self.fails: dict[str, list[Exception]] = {}
        self.hangs: set[str] = set()
        self.scanners: list[ScriptedScanner] = []
        self.n_connecting = 0
        self.most_at_once = 0
        """Scans and connection attempts at the same time, at most."""

        class Client(ScriptedClient):
            air = self

        class Scanner(ScriptedScanner):
            air = self

        self.client, self.scanner = Client, Scanner

    @property
    def is_idle(self) -> bool:
        """No scan, no connection, no subscription."""
        return not self.scanners and not self.n_connecting and not any(each.clients for each in self.peripherals)

    async def step(self, name: str) -> None:
        self.steps.append(name)
        self.most_at_once = max(self.most_at_once, len(self.scanners) + self.n_connecting)
        await asyncio.sleep(0)
        while name in self.hangs:  # noqa: ASYNC110 - a hung stack gives no sign either
            await asyncio.sleep(0.001)
        if self.fails.get(name):
            raise self.fails[name].pop(0)

    def advertise(self) -> None:
        """Let every peripheral be heard once."""
        for scanner in list(self.scanners):
            for each in self.peripherals:
                if each.is_in_range and not each.clients:
                    scanner.hear(each)


class ScriptedScanner(BaseBleakScanner):
    air: ScriptedAir

    def __init__(self, detection_callback, service_uuids, scanning_mode, **_) -> None:
        super().__init__(detection_callback, service_uuids)

    async def start(self) -> None:
        self.seen_devices = {}
        self.air.scanners.append(self)  # a start that is cancelled half way has started, as in bluetoothd
        await self.air.step("scan")
        asyncio.get_running_loop().call_soon(self.air.advertise)

    async def stop(self) -> None:
        if self in self.air.scanners:
            await self.air.step("stop_scan")
            self.air.scanners.remove(self)

    def hear(self, each: ScriptedPeripheral) -> None:
        data = AdvertisementData(each.name, {}, {}, list(each.services), None, each.rssi_dbm, ())
        device = self.create_or_update_device(each.address, each.address, each.name, each, data)
        self.call_detection_callbacks(device, data)


class ScriptedClient(BaseBleakClient):
    air: ScriptedAir

    def __init__(self, device, services=None, *, disconnected_callback, timeout, **_) -> None:
        super().__init__(device, disconnected_callback=disconnected_callback, timeout=timeout)
        self._device = device
        self._peripheral: ScriptedPeripheral = device.details
        self.subscribed: dict[int, tuple] = {}

    @property
    def is_connected(self) -> bool:
        return self in self._peripheral.clients

    @property
    def mtu_size(self) -> int:
        return self._peripheral.write_bytes + 3

    async def connect(self, pair, **_) -> None:
        self.air.n_connecting += 1
        try:
            await self.air.step("connect")
            self._peripheral.clients.append(self)
            self.services = self._tree()
        finally:
            self.air.n_connecting -= 1

    def _tree(self) -> BleakGATTServiceCollection:
        peripheral, tree = self._peripheral, BleakGATTServiceCollection()
        service = BleakGATTService(None, 1, "0000feed-0000-1000-8000-00805f9b34fb")
        tree.add_service(service)
        for k, (uuid, properties) in enumerate(peripheral.characteristics.items()):
            tree.add_characteristic(
                BleakGATTCharacteristic(
                    uuid, 2 + k, uuid.split("#")[0], list(properties), lambda: peripheral.write_bytes, service
                )
            )
        return tree

    def gone(self) -> None:
        if self in self._peripheral.clients:
            self._peripheral.clients.remove(self)
            self.subscribed.clear()
            self.services = None
            if self._disconnected_callback:
                self._disconnected_callback()

    async def _use(self, step: str) -> None:
        if not self.is_connected:
            raise BleakError("Not connected")
        await self.air.step(step)
        if not self.is_connected:
            raise BleakError("Not connected")

    async def disconnect(self) -> None:
        if self.is_connected:
            await self.air.step("disconnect")
            self.gone()

    async def pair(self, *_, **__) -> None:
        await self._use("pair")
        self._peripheral.is_bonded = True

    async def unpair(self) -> None:
        self._peripheral.is_bonded = False

    async def read_gatt_char(self, characteristic, **_) -> bytearray:
        await self._use(f"read {characteristic.uuid[4:8]}")
        return bytearray(self._peripheral.values[characteristic.obj])

    async def read_gatt_descriptor(self, descriptor, **_) -> bytearray:
        raise NotImplementedError

    async def write_gatt_descriptor(self, descriptor, data) -> None:
        raise NotImplementedError

    async def write_gatt_char(self, characteristic, data, response) -> None:
        await self._use("write")
        self._peripheral.written.append((characteristic.uuid, bytes(data), response))

    async def start_notify(self, characteristic, callback, **_) -> None:
        self.subscribed[characteristic.handle] = (characteristic, callback)
        await self._use(f"start {characteristic.uuid[4:8]}")

    async def stop_notify(self, characteristic) -> None:
        await self._use(f"stop {characteristic.uuid[4:8]}")
        self.subscribed.pop(characteristic.handle, None)
