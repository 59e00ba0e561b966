"""The GATT objects of a connected device: services, characteristics and descriptors as bluetoothd shows them.

A value travels from the wearable's notification to every client that subscribed, as a change of ``Value`` for
``StartNotify`` and through a socket for ``AcquireNotify``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bumble import att
from bumble.device import Peer
from bumble.gatt_client import CharacteristicProxy, DescriptorProxy
from dbus_fast import Variant

from firmware_bridge.virtual.ble.hearing import full_uuid, property_names
from firmware_bridge.virtual.ble.object_server import Call, DbusError, MethodEntry, Reply

if TYPE_CHECKING:
    from firmware_bridge.virtual.ble.bluez_device import EmulatedDevice

SERVICE = "org.bluez.GattService1"
CHARACTERISTIC = "org.bluez.GattCharacteristic1"
DESCRIPTOR = "org.bluez.GattDescriptor1"
_GENERIC_ACCESS = "00001800-0000-1000-8000-00805f9b34fb"
_WRITE_COMMAND, _NOTIFY, _NOTIFY_OR_INDICATE = 0x04, 0x10, 0x30
_MOST_SOCKET_BYTES = 1024

Attribute = CharacteristicProxy[bytes] | DescriptorProxy


@dataclass(slots=True)
class _Subscription:
    """Who gets the values of one characteristic."""

    deliver: Callable[[bytes], None]
    clients: dict[str, socket.socket | None] = field(default_factory=dict)
    """Socket of `AcquireNotify`, None for `StartNotify`."""


class GattObjects:
    """The attributes of one connection.

    Parameters
    ----------
    device : EmulatedDevice
        Whose they are.
    peer : bumble.device.Peer
        The far end, its services discovered.
    """

    def __init__(self, device: EmulatedDevice, peer: Peer) -> None:
        self._device, self._peer = device, peer
        self._server, self._faults = device.bluez.server, device.bluez.faults
        self._attributes: dict[str, Attribute] = {}
        self._subscriptions: dict[str, _Subscription] = {}
        self._writers: dict[str, socket.socket] = {}
        self._held: list[tuple[str, bytes]] = []

    def show(self) -> list[str]:
        """Put the objects into the tree; return the UUIDs of all services, sorted."""
        uuids = []
        for service in self._peer.services:
            uuids.append(full_uuid(service.uuid))
            if uuids[-1] == _GENERIC_ACCESS:
                continue  # bluetoothd lists it and keeps it to itself
            path = f"{self._device.path}/service{service.handle:04x}"
            properties = {
                "UUID": Variant("s", uuids[-1]),
                "Device": Variant("o", self._device.path),
                "Primary": Variant("b", True),
                "Includes": Variant("ao", []),
            }
            self._server.add(path, {SERVICE: properties})
            for each in service.characteristics:
                self._show_characteristic(path, each)
        return sorted(uuids)

    def _show_characteristic(self, service: str, proxy: CharacteristicProxy[bytes]) -> None:
        # The handle in the path is that of the declaration, one before the value's.
        path = f"{service}/char{proxy.handle - 1:04x}"
        bits = int(proxy.properties)
        properties = {
            "UUID": Variant("s", full_uuid(proxy.uuid)),
            "Service": Variant("o", service),
            "Value": Variant("ay", b""),
            "Flags": Variant("as", property_names(bits)),
            "MTU": Variant("q", self._peer.connection.att_mtu),
        }
        if bits & _NOTIFY_OR_INDICATE:
            properties["Notifying"] = Variant("b", False)
        if bits & _NOTIFY:
            properties["NotifyAcquired"] = Variant("b", False)
        if bits & _WRITE_COMMAND:
            properties["WriteAcquired"] = Variant("b", False)
        self._attributes[path] = proxy
        self._server.add(path, {CHARACTERISTIC: properties})
        for descriptor in proxy.descriptors:
            below = f"{path}/desc{descriptor.handle:04x}"
            self._attributes[below] = descriptor
            shown = {
                "UUID": Variant("s", full_uuid(descriptor.type)),
                "Characteristic": Variant("o", path),
                "Value": Variant("ay", b""),
            }
            self._server.add(below, {DESCRIPTOR: shown})

    def close(self) -> None:
        """Take everything away: the link has ended."""
        for subscription in self._subscriptions.values():
            for client in subscription.clients.values():
                if client is not None:
                    client.close()
        for path in list(self._writers):
            self._close_writer(path)
        for path in {path.rsplit("/char", 1)[0] for path in self._attributes}:
            self._server.remove(path)
        for path in [each for each in self._server.objects if each.startswith(f"{self._device.path}/service")]:
            self._server.remove(path)
        self._attributes.clear()
        self._subscriptions.clear()

    async def client_gone(self, client: str) -> None:
        """Forget a client that left the bus."""
        for path in [path for path, held in self._subscriptions.items() if client in held.clients]:
            await self._unsubscribe(path, client)

    # Methods

    async def read(self, call: Call) -> Reply:
        """``ReadValue``."""
        attribute = self._attribute(call.path)
        options = call.arguments[0]
        assert isinstance(options, dict)
        offset = options["offset"].value if "offset" in options else 0
        value = bytes(await self._device.with_security(attribute.read_value))[offset:]
        kind = DESCRIPTOR if isinstance(attribute, DescriptorProxy) else CHARACTERISTIC
        self._server.change(call.path, kind, {"Value": Variant("ay", value)})
        return Reply("ay", (value,))

    async def write(self, call: Call) -> Reply | None:
        """``WriteValue``."""
        attribute = self._attribute(call.path)
        value, options = call.arguments
        assert isinstance(value, bytes)
        assert isinstance(options, dict)
        is_command = "type" in options and options["type"].value == "command"
        if isinstance(attribute, CharacteristicProxy):
            bits = int(attribute.properties)
            if not bits & 0x0C:
                raise DbusError("NotPermitted", "Write not permitted")
            is_command = is_command or not bits & 0x08
        else:
            is_command = False
        await self._device.with_security(lambda: attribute.write_value(value, with_response=not is_command))
        return None

    async def start_notify(self, call: Call) -> Reply | None:
        """``StartNotify``."""
        await self._subscribe(call.path, call.sender, None)
        self._server.change(call.path, CHARACTERISTIC, {"Notifying": Variant("b", True)})
        return None

    async def stop_notify(self, call: Call) -> Reply | None:
        """``StopNotify``."""
        held = self._subscriptions.get(call.path)
        if held is None or call.sender not in held.clients:
            raise DbusError("Failed", "No notify session started")
        await self._unsubscribe(call.path, call.sender)
        return None

    async def acquire_notify(self, call: Call) -> Reply:
        """``AcquireNotify``: values come through a socket."""
        if self._subscriptions.get(call.path) is not None:
            raise DbusError("NotPermitted", "Notify acquired")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            await self._subscribe(call.path, call.sender, ours)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        self._server.change(call.path, CHARACTERISTIC, {"NotifyAcquired": Variant("b", True)})
        return Reply("hq", (0, self._peer.connection.att_mtu), (theirs.detach(),))

    async def acquire_write(self, call: Call) -> Reply:
        """``AcquireWrite``: what is put into the socket is written without response."""
        attribute = self._attribute(call.path)
        if not isinstance(attribute, CharacteristicProxy) or not int(attribute.properties) & _WRITE_COMMAND:
            raise DbusError("NotSupported", "Operation is not supported")
        if call.path in self._writers:
            raise DbusError("NotPermitted", "Write acquired")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._writers[call.path] = ours

        def pass_on() -> None:
            data = ours.recv(_MOST_SOCKET_BYTES)
            if data:
                self._server.spawn(attribute.write_value(data, with_response=False))
            else:
                self._close_writer(call.path)

        asyncio.get_running_loop().add_reader(ours, pass_on)
        self._server.change(call.path, CHARACTERISTIC, {"WriteAcquired": Variant("b", True)})
        return Reply("hq", (0, self._peer.connection.att_mtu), (theirs.detach(),))

    def _close_writer(self, path: str) -> None:
        ours = self._writers.pop(path)
        asyncio.get_running_loop().remove_reader(ours)
        ours.close()
        self._server.change(path, CHARACTERISTIC, {"WriteAcquired": Variant("b", False)})

    def _attribute(self, path: str) -> Attribute:
        found = self._attributes.get(path)
        if found is None:
            raise DbusError("NotConnected", "Not Connected")
        return found

    # Subscriptions

    async def _subscribe(self, path: str, client: str, sink: socket.socket | None) -> None:
        proxy = self._attribute(path)
        if not isinstance(proxy, CharacteristicProxy) or not int(proxy.properties) & _NOTIFY_OR_INDICATE:
            raise DbusError("NotSupported", "Operation is not supported")
        held = self._subscriptions.get(path)
        if held is not None:
            held.clients.setdefault(client, sink)
            return

        def deliver(value: bytes) -> None:
            self._arrived(path, bytes(value))

        held = self._subscriptions[path] = _Subscription(deliver, {client: sink})
        try:
            await self._device.with_security(lambda: proxy.subscribe(deliver))
        except BaseException:
            self._subscriptions.pop(path, None)
            raise

    async def _unsubscribe(self, path: str, client: str) -> None:
        held = self._subscriptions[path]
        sink = held.clients.pop(client)
        if sink is not None:
            sink.close()
            self._server.change(path, CHARACTERISTIC, {"NotifyAcquired": Variant("b", False)})
        if held.clients:
            return
        del self._subscriptions[path]
        self._server.change(path, CHARACTERISTIC, {"Notifying": Variant("b", False)})
        proxy = self._attributes.get(path)
        if isinstance(proxy, CharacteristicProxy) and self._device.is_connected:
            # Where the link has ended, every subscription has with it.
            with contextlib.suppress(DbusError):
                await self._device.with_security(lambda: proxy.unsubscribe(held.deliver))

    def _arrived(self, path: str, value: bytes) -> None:
        """Pass one value on, unless a fault has it."""
        if self._faults.is_dropped():
            return
        loop = asyncio.get_running_loop()
        wait_s = self._faults.stalled_until - loop.time()
        if self._held or wait_s > 0:
            self._held.append((path, value))
            if len(self._held) == 1:
                loop.call_later(max(0.0, wait_s), self._let_go)
            return
        self._pass_on(path, value)

    def _let_go(self) -> None:
        held, self._held = self._held, []
        for path, value in held:
            self._pass_on(path, value)

    def _pass_on(self, path: str, value: bytes) -> None:
        held = self._subscriptions.get(path)
        if held is None:
            return
        if None in held.clients.values():
            self._server.announce(path, CHARACTERISTIC, {"Value": Variant("ay", value)})
        for sink in held.clients.values():
            if sink is not None:
                try:
                    sink.send(value)
                except OSError:  # full, or the client has gone: lost, as in bluetoothd
                    self._faults.n_dropped += 1


def att_error(error: Exception) -> DbusError:
    """Return what bluetoothd makes of an ATT error (``create_gatt_dbus_error`` of its gatt-client.c)."""
    code = int(getattr(error, "error_code", 0) or 0)
    known = {
        att.ErrorCode.READ_NOT_PERMITTED: ("NotPermitted", "Read not permitted"),
        att.ErrorCode.WRITE_NOT_PERMITTED: ("NotPermitted", "Write not permitted"),
        att.ErrorCode.INSUFFICIENT_AUTHENTICATION: ("NotPermitted", "Not paired"),
        att.ErrorCode.INSUFFICIENT_ENCRYPTION: ("NotPermitted", "Not paired"),
        att.ErrorCode.INSUFFICIENT_ENCRYPTION_KEY_SIZE: ("NotPermitted", "Not paired"),
        att.ErrorCode.INVALID_OFFSET: ("InvalidArguments", "Invalid offset"),
        att.ErrorCode.INVALID_ATTRIBUTE_LENGTH: ("InvalidArguments", "Invalid Length"),
        att.ErrorCode.INSUFFICIENT_AUTHORIZATION: ("NotAuthorized", "Operation Not Authorized"),
        att.ErrorCode.REQUEST_NOT_SUPPORTED: ("NotSupported", "Operation is not supported"),
    }
    name, text = known.get(att.ErrorCode(code), ("Failed", f"Operation failed with ATT error: 0x{code:02x}"))
    return DbusError(name, text)


def methods(gatt_of: Callable[[str], GattObjects]) -> dict[tuple[str, str], MethodEntry]:
    """Return the methods of GATT objects; `gatt_of` finds the owner of a path."""

    def entry(signature_in: str, signature_out: str, method: Callable[[GattObjects, Call], object]) -> MethodEntry:
        async def act(call: Call) -> Reply | None:
            return await method(gatt_of(call.path), call)  # type: ignore[misc,no-any-return]

        return MethodEntry(signature_in, signature_out, act)

    return {
        (CHARACTERISTIC, "ReadValue"): entry("a{sv}", "ay", GattObjects.read),
        (CHARACTERISTIC, "WriteValue"): entry("aya{sv}", "", GattObjects.write),
        (CHARACTERISTIC, "StartNotify"): entry("", "", GattObjects.start_notify),
        (CHARACTERISTIC, "StopNotify"): entry("", "", GattObjects.stop_notify),
        (CHARACTERISTIC, "AcquireNotify"): entry("a{sv}", "hq", GattObjects.acquire_notify),
        (CHARACTERISTIC, "AcquireWrite"): entry("a{sv}", "hq", GattObjects.acquire_write),
        (DESCRIPTOR, "ReadValue"): entry("a{sv}", "ay", GattObjects.read),
        (DESCRIPTOR, "WriteValue"): entry("aya{sv}", "", GattObjects.write),
    }
