"""An emulated ``org.bluez`` on a bus of its own: any program that knows BlueZ meets virtual wearables through it.

Programs run unmodified: bleak, ``bluetoothctl``, ``busctl``.  Behind the D-Bus objects a bumble central speaks real ATT
and SMP to the wearables.  Behaviour and error names follow bluetoothd 5.66; what differs is listed in `EmulatedBluez`.

::

    with PrivateBus() as bus:
        bluez = EmulatedBluez(air)
        await bluez.start(bus.address)
        bluez.fail_connects("org.bluez.Error.Failed", "le-connection-abort-by-local", 2)
        await bluez.set_powered(False)
        bluez.unplug()
        bluez.plug_in("hci1")
        await bluez.close()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bumble.device import Advertisement, Device
from dbus_fast import Variant

from edge.acquisition.transport import Remedy
from firmware_bridge.virtual.ble.bluez_agent import AGENT_MANAGER, Agents
from firmware_bridge.virtual.ble.bluez_device import DEVICE, EmulatedDevice
from firmware_bridge.virtual.ble.bluez_faults import BluezFaults
from firmware_bridge.virtual.ble.bluez_monitors import Monitors
from firmware_bridge.virtual.ble.bluez_properties import (
    ADAPTER,
    ADDRESS,
    adapter_interfaces,
    advertised_properties,
)
from firmware_bridge.virtual.ble.hearing import heard
from firmware_bridge.virtual.ble.links import disconnect
from firmware_bridge.virtual.ble.object_server import Call, DbusError, MethodEntry, ObjectServer, Reply
from firmware_bridge.virtual.ble.radio import AirController, VirtualAir

TEMPORARY_S = 30.0
"""Devices that are neither bonded nor connected are forgotten so long after they were last heard (``TemporaryTimeout``
of bluetoothd's main.conf)."""


class EmulatedBluez:
    """The service and its one adapter.

    Parameters
    ----------
    air : VirtualAir
        Where the wearables are.
    adapter : str
        Name of the adapter.
    on_remedy : callable, optional
        Told what a sensor cannot see: address of the sensor that was forgotten and ``Remedy.REDISCOVER``, or None and
        ``Remedy.POWER_CYCLE`` when the adapter was switched off and on.
    temporary_s : float
        See `TEMPORARY_S`.

    Notes
    -----
    Not there: classic Bluetooth, advertising by the adapter, GATT servers of programs, discovery filters and the
    patterns of advertisement monitors (who scans hears everything), and a charge that follows the sensor:
    ``org.bluez.Battery1`` shows the one read when the link was made.
    """

    def __init__(
        self,
        air: VirtualAir,
        *,
        adapter: str = "hci0",
        on_remedy: Callable[[str | None, Remedy], None] | None = None,
        temporary_s: float = TEMPORARY_S,
    ) -> None:
        self.faults = BluezFaults()
        self.server = ObjectServer("org.bluez", self._client_gone)
        self.central: Device = air.device("emulated-bluez", ADDRESS)
        self.devices: dict[str, EmulatedDevice] = {}
        self.agents = Agents(self.server)
        self.monitors = Monitors(self.server, self.require_power, self.listen)
        self.path = f"/org/bluez/{adapter}"
        self.is_plugged_in = False
        self.wanted: set[str] = set()
        """Addresses of devices that wait to be heard so that they can be connected."""
        self.heard = asyncio.Event()
        self.connecting = asyncio.Lock()
        self._temporary_s = temporary_s
        self._on_remedy = on_remedy
        self._scanners: set[str] = set()
        self._is_listening = False
        self._listen_lock = asyncio.Lock()
        self._fresh: set[str] = set()

    @property
    def adapter(self) -> str:
        """Name of the adapter now."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def is_powered(self) -> bool:
        """Whether the adapter is there and switched on."""
        return bool(self.server.value(self.path, ADAPTER, "Powered"))

    async def start(self, address: str) -> None:
        """Appear on the bus at `address` with an adapter that is switched on."""
        self.central.on(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        await self.central.power_on()
        self._fill_tables()
        self.server.objects["/org/bluez"] = {AGENT_MANAGER: {}}
        self.server.objects[self.path] = adapter_interfaces(is_powered=True)
        self.is_plugged_in = True
        await self.server.start(address)

    async def close(self) -> None:
        """Drop every link and leave the bus."""
        for device in list(self.devices.values()):
            device.forget()
        await self.server.close()
        self._controller.silence()
        await self.central.power_off()
        if self._controller.link is not None:
            self._controller.link.remove_controller(self._controller)

    # Faults by hand

    def fail_connects(self, name: str, text: str, n: int) -> None:
        """Answer the next `n` calls of Connect or Pair with this D-Bus error."""
        self.faults.connect_errors += [(name, text)] * n

    def drop_notifications(self, m: int, *, of: int | None = None) -> None:
        """Lose `m` of the next `of` values silently, spread evenly, as an overrun socket does."""
        self.faults.drop(m, m if of is None else of)

    def stall(self, duration_s: float) -> None:
        """Hold values back for `duration_s` real seconds, then pass them on at once."""
        self.faults.stall(asyncio.get_running_loop().time() + duration_s)

    def vanish(self, address: str) -> None:
        """Let a device's objects disappear, its link with them."""
        device = self._device_at(address)
        if device is not None:
            self._remove(device)

    async def set_powered(self, is_on: bool) -> None:
        """Switch the adapter, from outside or for a client; off really ends every link and scan."""
        if not self.is_plugged_in or is_on == self.is_powered:
            return
        if is_on:
            self.server.change(self.path, ADAPTER, {"Powered": Variant("b", True)})
            if self._on_remedy is not None:
                self._on_remedy(None, Remedy.POWER_CYCLE)
            return
        self._controller.silence()
        await self._stop_everything()
        self.server.change(self.path, ADAPTER, {"Powered": Variant("b", False), "Discovering": Variant("b", False)})

    def unplug(self, *, tells: bool = True) -> None:
        """Pull the adapter: links end and its objects vanish.

        Parameters
        ----------
        tells : bool
            Whether "not connected" and "not powered" are announced first, as the kernel's power-off event makes
            bluetoothd do; when it does not come in time, clients see nothing but objects that vanish.
        """
        self.is_plugged_in = False
        self._controller.silence()
        if tells:
            for device in self.devices.values():
                device.link_ended()
            self.server.change(self.path, ADAPTER, {"Powered": Variant("b", False), "Discovering": Variant("b", False)})
        for device in list(self.devices.values()):
            device.forget()
        self.devices.clear()
        self._scanners.clear()
        self.monitors.clear()
        self._is_listening = False
        self.server.remove(self.path)

    def plug_in(self, adapter: str | None = None, *, is_powered: bool = True) -> None:
        """Put the adapter back, under another name if `adapter` is given."""
        if self.is_plugged_in:
            return
        self.path = f"/org/bluez/{adapter or self.adapter}"
        self.is_plugged_in = True
        self.server.add(self.path, adapter_interfaces(is_powered=is_powered))
        if self._on_remedy is not None:
            self._on_remedy(None, Remedy.POWER_CYCLE)

    # For the devices

    def require_power(self) -> None:
        """Refuse what needs a radio while there is none.

        Raises
        ------
        DbusError
            ``NotReady`` while the adapter is off.
        """
        if not self.is_powered:
            raise DbusError("NotReady", "Resource Not Ready")

    def has_heard(self, address: str) -> bool:
        """Whether this device was heard since it was last asked; asking forgets it."""
        is_fresh = address in self._fresh
        self._fresh.discard(address)
        return is_fresh

    def has_bond(self, address: str) -> bool:
        """Whether keys for this device are kept."""
        return any(str(name).startswith(address) for name in getattr(self.central.keystore, "all_keys", {}))

    async def listen(self) -> None:
        """Let the radio listen exactly while somebody scans or waits for a device."""
        async with self._listen_lock:
            should = self.is_powered and bool(self._scanners or self.monitors or self.wanted)
            if should == self._is_listening:
                return
            self._is_listening = should
            if should:
                await self.central.start_scanning(legacy=True, active=True, filter_duplicates=False)
            else:
                await self.central.stop_scanning(legacy=True)

    # Adapter1

    @property
    def _controller(self) -> AirController:
        controller = self.central.host.controller
        assert isinstance(controller, AirController)
        return controller

    def _fill_tables(self) -> None:
        methods = self.server.methods
        methods[ADAPTER, "StartDiscovery"] = MethodEntry("", "", self._start_discovery)
        methods[ADAPTER, "StopDiscovery"] = MethodEntry("", "", self._stop_discovery)
        methods[ADAPTER, "SetDiscoveryFilter"] = MethodEntry("a{sv}", "", self._set_discovery_filter)
        methods[ADAPTER, "GetDiscoveryFilters"] = MethodEntry("", "as", self._discovery_filters)
        methods[ADAPTER, "RemoveDevice"] = MethodEntry("o", "", self._remove_device)
        methods.update(self.monitors.methods())
        methods.update(self.agents.methods())
        methods.update(EmulatedDevice.methods(self._device))

        async def power(path: str, value: object) -> None:
            del path
            await self.set_powered(bool(value))

        def keeps(interface: str, name: str, signature: str) -> None:
            async def keep(path: str, value: object) -> None:
                self.server.change(path, interface, {name: Variant(signature, value)})

            self.server.setters[interface, name] = keep

        self.server.setters[ADAPTER, "Powered"] = power
        for name, signature in (("Alias", "s"), ("Discoverable", "b"), ("Pairable", "b")):
            keeps(ADAPTER, name, signature)
        for name, signature in (("Alias", "s"), ("Trusted", "b"), ("Blocked", "b")):
            keeps(DEVICE, name, signature)

    async def _start_discovery(self, call: Call) -> Reply | None:
        self.require_power()
        if call.sender in self._scanners:
            raise DbusError("InProgress", "Operation already in progress")
        self._scanners.add(call.sender)
        await self._scan_changed()
        return None

    async def _stop_discovery(self, call: Call) -> Reply | None:
        self.require_power()
        if call.sender not in self._scanners:
            raise DbusError("Failed", "No discovery started")
        self._scanners.discard(call.sender)
        await self._scan_changed()
        return None

    async def _set_discovery_filter(self, call: Call) -> Reply | None:
        del call
        self.require_power()
        return None

    async def _discovery_filters(self, call: Call) -> Reply | None:
        del call
        return Reply("as", (["UUIDs", "RSSI", "Pathloss", "Transport", "DuplicateData", "Discoverable", "Pattern"],))

    async def _remove_device(self, call: Call) -> Reply | None:
        device = self.devices.get(str(call.arguments[0]))
        if device is None:
            raise DbusError("DoesNotExist", "Does Not Exist")
        await self._delete_bond(device.address)
        if device.is_connected:  # bluetoothd disconnects first, and everybody is told
            await self.disconnect(device)
            device.link_ended()
        self._remove(device)
        if self._on_remedy is not None:
            self._on_remedy(device.address, Remedy.REDISCOVER)
        return None

    async def _delete_bond(self, address: str) -> None:
        keystore = self.central.keystore
        if keystore is not None:
            for name, _ in await keystore.get_all():
                if str(name).startswith(address):
                    await keystore.delete(name)

    async def _scan_changed(self) -> None:
        await self.listen()
        is_on = bool(self._scanners)
        if is_on != self.server.value(self.path, ADAPTER, "Discovering"):
            self.server.change(self.path, ADAPTER, {"Discovering": Variant("b", is_on)})
        if not is_on:
            for device in self.devices.values():
                self.server.change(device.path, DEVICE, {}, gone=("RSSI", "TxPower"))

    async def _stop_everything(self) -> None:
        self._scanners.clear()
        self.monitors.clear()
        self.wanted.clear()
        for device in self.devices.values():
            device.cancel_connect("Software caused connection abort")
        await self.listen()

    async def _client_gone(self, client: str) -> None:
        was_listening = self.monitors.client_gone(client) or client in self._scanners
        self._scanners.discard(client)
        self.agents.client_gone(client)
        for device in list(self.devices.values()):
            await device.client_gone(client)
        if was_listening and self.is_plugged_in:
            await self._scan_changed()

    # Devices

    def _device(self, path: str) -> EmulatedDevice:
        """Return the device that `path` is or belongs to."""
        for device in self.devices.values():
            if path == device.path or path.startswith(f"{device.path}/"):
                return device
        raise DbusError("org.freedesktop.DBus.Error.UnknownObject", f"no device at {path}")

    def _device_at(self, address: str) -> EmulatedDevice | None:
        return next((device for device in self.devices.values() if device.address == address.upper()), None)

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        """Show what was heard, and let those who wait for this device go on."""
        if not self.is_powered:
            return
        found = heard(advertisement)
        address = found.address
        self._fresh.add(address)
        if address in self.wanted:
            self.heard.set()
        path = f"{self.path}/dev_{address.replace(':', '_')}"
        device = self.devices.get(path)
        if device is None:
            if not (self._scanners or self.monitors):
                return
            device = self.devices[path] = EmulatedDevice(self, path, advertisement.address)
        device.show(advertised_properties(found), is_scanning=bool(self._scanners or self.monitors))
        device.expire_after(self._temporary_s, self._forget_temporary)

    def _forget_temporary(self, device: EmulatedDevice) -> None:
        if self.devices.get(device.path) is not device:
            return
        if device.is_connected or device.is_connecting or self.has_bond(device.address):
            device.expire_after(self._temporary_s, self._forget_temporary)
        else:
            self._remove(device)

    def _remove(self, device: EmulatedDevice) -> None:
        self.devices.pop(device.path, None)
        device.forget()
        self.server.remove(device.path)

    async def disconnect(self, device: EmulatedDevice) -> None:
        """End a device's link."""
        if device.connection is not None:
            await disconnect(device.connection)
