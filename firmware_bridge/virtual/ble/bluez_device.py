"""One ``org.bluez.Device1``: found by scanning, connected, resolved, paired, forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from bumble import att, core, hci
from bumble.core import UUID, InvalidStateError, ProtocolError
from bumble.device import Connection, Peer
from bumble.hci import Address
from dbus_fast import Variant

from firmware_bridge.virtual.ble import bluez_gatt
from firmware_bridge.virtual.ble.bluez_gatt import GattObjects, att_error
from firmware_bridge.virtual.ble.links import LinkEndedError, connect, disconnect, discover_all, while_linked
from firmware_bridge.virtual.ble.object_server import Call, DbusError, MethodEntry, Reply

if TYPE_CHECKING:
    from firmware_bridge.virtual.ble.emulated_bluez import EmulatedBluez

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

DEVICE = "org.bluez.Device1"
BATTERY = "org.bluez.Battery1"
CONNECT_TIMEOUT_S = 20.0
"""The kernel gives up connecting after this time (``HCI_LE_CONN_TIMEOUT``)."""
_LINK_TIMEOUT_S = 5.0
_BATTERY_LEVEL = UUID.from_16_bits(0x2A19)
_OUR_MTU = 517
_WEAK = frozenset({att.ErrorCode.INSUFFICIENT_AUTHENTICATION, att.ErrorCode.INSUFFICIENT_ENCRYPTION})
_ABORTED = "le-connection-abort-by-local"
_LINK_ERRORS = (LinkEndedError, ProtocolError, hci.HCI_Error, InvalidStateError, core.TimeoutError, TimeoutError)


class EmulatedDevice:
    """A device that was heard.

    Parameters
    ----------
    bluez : EmulatedBluez
        The service.
    path : str
        Of its object.
    address : bumble.hci.Address
    """

    def __init__(self, bluez: EmulatedBluez, path: str, address: Address) -> None:
        self.bluez, self.path = bluez, path
        self.connection: Connection | None = None
        self._peer_address = address
        self._gatt: GattObjects | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._pairing = asyncio.Lock()
        self._expiry: asyncio.TimerHandle | None = None

    @staticmethod
    def methods(device_of: Callable[[str], EmulatedDevice]) -> dict[tuple[str, str], MethodEntry]:
        """Return the methods of devices and of what is below them; `device_of` finds the device of a path."""

        def entry(method: Callable[[EmulatedDevice, Call], Awaitable[Reply | None]]) -> MethodEntry:
            async def act(call: Call) -> Reply | None:
                return await method(device_of(call.path), call)

            return MethodEntry("", "", act)

        return {
            (DEVICE, "Connect"): entry(EmulatedDevice.connect),
            (DEVICE, "Disconnect"): entry(EmulatedDevice.disconnect),
            (DEVICE, "Pair"): entry(EmulatedDevice.pair),
            (DEVICE, "CancelPairing"): entry(EmulatedDevice.cancel_pairing),
            **bluez_gatt.methods(lambda path: device_of(path).gatt),
        }

    @property
    def address(self) -> str:
        """Upper case with colons."""
        return str(self._peer_address.to_string(False))

    @property
    def is_connected(self) -> bool:
        """Whether there is a link."""
        return self.connection is not None

    @property
    def is_connecting(self) -> bool:
        """Whether a link is being made."""
        return self._connecting is not None

    @property
    def gatt(self) -> GattObjects:
        """The attributes of the link.

        Raises
        ------
        DbusError
            While there are none.
        """
        if self._gatt is None:
            raise DbusError("NotConnected", "Not Connected")
        return self._gatt

    def show(self, advertised: dict[str, Variant], *, is_scanning: bool) -> None:
        """Show what was heard of the device."""
        server = self.bluez.server
        if self.path not in server.objects:
            server.add(self.path, {DEVICE: {**self._first_properties(advertised), **advertised}})
            return
        if not is_scanning:
            advertised = {name: value for name, value in advertised.items() if name != "RSSI"}
        if "Name" in advertised:
            advertised["Alias"] = advertised["Name"]
        held = server.objects[self.path][DEVICE]
        if self.is_connected:
            advertised.pop("UUIDs", None)
        changed = {name: value for name, value in advertised.items() if name == "RSSI" or held.get(name) != value}
        server.change(self.path, DEVICE, changed)

    def _first_properties(self, advertised: dict[str, Variant]) -> dict[str, Variant]:
        has_bond = self.bluez.has_bond(self.address)
        alias = advertised.get("Name") or Variant("s", self.address.replace(":", "-"))
        return {
            "Address": Variant("s", self.address),
            "AddressType": Variant("s", "public" if self._peer_address.is_public else "random"),
            "Alias": alias,
            "Paired": Variant("b", has_bond),
            "Bonded": Variant("b", has_bond),
            "Trusted": Variant("b", False),
            "Blocked": Variant("b", False),
            "LegacyPairing": Variant("b", False),
            "Connected": Variant("b", False),
            "UUIDs": Variant("as", []),
            "Adapter": Variant("o", self.bluez.path),
            "ServicesResolved": Variant("b", False),
        }

    def expire_after(self, duration_s: float, action: Callable[[EmulatedDevice], None]) -> None:
        """Plan to be forgotten, later than planned before."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_later(duration_s, action, self)

    def forget(self) -> None:
        """End everything that belongs to the device; its objects are taken away by the owner."""
        if self._expiry is not None:
            self._expiry.cancel()
        self.cancel_connect(_ABORTED)
        if self._gatt is not None:
            self._gatt.close()
            self._gatt = None
        if self.connection is not None:
            connection, self.connection = self.connection, None
            self.bluez.server.spawn(disconnect(connection))

    async def client_gone(self, client: str) -> None:
        """Forget a client that left the bus."""
        if self._gatt is not None:
            await self._gatt.client_gone(client)

    # Methods

    async def connect(self, call: Call) -> Reply | None:
        """``Connect``: returns when the link stands; services are resolved after that."""
        del call
        self.bluez.require_power()
        if self.is_connected:
            raise DbusError("AlreadyConnected", "Already Connected")
        if self._connecting is not None:
            raise DbusError("InProgress", "In Progress")
        if self.bluez.faults.connect_errors:
            raise DbusError(*self.bluez.faults.connect_errors.pop(0))
        self._connecting = asyncio.create_task(self._make_link())
        try:
            await asyncio.wait_for(asyncio.shield(self._connecting), CONNECT_TIMEOUT_S)
        except asyncio.CancelledError:
            if not self._connecting.cancelled():
                self._connecting.cancel()
                raise
            raise DbusError("Failed", _ABORTED) from None
        except _LINK_ERRORS as error:
            raise DbusError("Failed", _ABORTED) from error
        finally:
            self._connecting.cancel()
            self._connecting = None
            self.bluez.wanted.discard(self.address)
            await self.bluez.listen()
        return None

    def cancel_connect(self, why: str) -> None:
        """Give up making a link; the call that waits for it fails."""
        del why
        if self._connecting is not None:
            self._connecting.cancel()

    async def disconnect(self, call: Call) -> Reply | None:
        """``Disconnect``: also ends an attempt to connect."""
        del call
        if self._connecting is not None:
            self.cancel_connect(_ABORTED)
            return None
        if self.connection is None:
            raise DbusError("NotConnected", "Not Connected")
        await self.bluez.disconnect(self)
        return None

    async def pair(self, call: Call) -> Reply | None:
        """``Pair``: connects where that is needed; returns when bonded and resolved."""
        if self.bluez.has_bond(self.address):
            raise DbusError("AlreadyExists", "Already Exists")
        agent = self.bluez.agents.for_client(call.sender)
        if agent is None:
            raise DbusError("AuthenticationFailed", "Authentication Failed")
        if not self.is_connected:
            await self.connect(call)
        await self._bond(call.sender)
        return None

    async def cancel_pairing(self, call: Call) -> Reply | None:
        """``CancelPairing``."""
        del call
        if not self._pairing.locked():
            raise DbusError("DoesNotExist", "Does Not Exist")
        await self.bluez.disconnect(self)
        return None

    async def with_security(self, act: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run an ATT operation; where it wants an encrypted link, make one and try again, as bluetoothd does.

        Raises
        ------
        DbusError
            What bluetoothd makes of an ATT error or of a link that ended.
        """
        try:
            return await self._on_link(act)
        except att.ATT_Error as error:
            if error.error_code not in _WEAK or self.bluez.agents.for_client("") is None:
                raise att_error(error) from error
        await self._bond("")
        try:
            return await self._on_link(act)
        except att.ATT_Error as error:
            raise att_error(error) from error

    async def _on_link(self, act: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        if self.connection is None:
            raise DbusError("NotConnected", "Not Connected")
        try:
            return await while_linked(self.connection, act())
        except att.ATT_Error:
            raise
        except _LINK_ERRORS as error:
            raise DbusError("Failed", "Not connected") from error

    # The link

    async def _make_link(self) -> None:
        """Wait until the device is heard, then connect: several devices may be waited for at once."""
        bluez = self.bluez
        bluez.has_heard(self.address)  # before now does not count
        while True:
            bluez.wanted.add(self.address)
            bluez.heard.clear()
            await bluez.listen()
            while not bluez.has_heard(self.address):
                await bluez.heard.wait()
                bluez.heard.clear()
                await asyncio.sleep(0)
            async with bluez.connecting:
                try:
                    connection = await connect(bluez.central, self._peer_address, _LINK_TIMEOUT_S)
                    break
                except TimeoutError:  # it went silent again
                    continue
        self._linked(connection)

    def _linked(self, connection: Connection) -> None:
        self.connection = connection
        connection.on(Connection.EVENT_DISCONNECTION, self.link_ended)
        self.bluez.server.change(self.path, DEVICE, {"Connected": Variant("b", True)}, gone=("RSSI",))
        self.bluez.server.spawn(self._resolve(connection))

    async def _resolve(self, connection: Connection) -> None:
        """Exchange the MTU, encrypt with an old bond, find all attributes and show them."""
        peer = Peer(connection)
        try:
            if self.bluez.has_bond(self.address):
                await while_linked(connection, connection.encrypt())
            await while_linked(connection, peer.request_mtu(_OUR_MTU))
            await while_linked(connection, discover_all(peer))
        except _LINK_ERRORS:
            _log.info("emulated_bluez.unresolved path=%s", self.path)
            return
        if self.connection is not connection:
            return
        self._gatt = GattObjects(self, peer)
        uuids = self._gatt.show()
        self.bluez.server.change(
            self.path, DEVICE, {"UUIDs": Variant("as", uuids), "ServicesResolved": Variant("b", True)}
        )

        await self._show_battery(connection, peer)

    async def _show_battery(self, connection: Connection, peer: Peer) -> None:
        """Read the charge as bluetoothd's battery plugin does; a sensor that wants a bond for it shows none."""
        for proxy in peer.get_characteristics_by_uuid(_BATTERY_LEVEL):
            try:
                level = bytes(await while_linked(connection, proxy.read_value()))
            except (att.ATT_Error, *_LINK_ERRORS):
                return
            shown = {"Percentage": Variant("y", level[0]), "Source": Variant("s", "GATT Battery Service")}
            self.bluez.server.add_interface(self.path, BATTERY, shown)

    def link_ended(self, reason: int = 0) -> None:
        """Show that there is no link any more; a second time has no effect."""
        del reason
        if self.connection is None:
            return
        self.connection = None
        if self._gatt is not None:
            self._gatt.close()
            self._gatt = None
        server = self.bluez.server
        server.remove_interface(self.path, BATTERY)
        if server.value(self.path, DEVICE, "ServicesResolved"):
            server.change(self.path, DEVICE, {"ServicesResolved": Variant("b", False)})
        server.change(self.path, DEVICE, {"Connected": Variant("b", False)})

    async def _bond(self, client: str) -> None:
        """Pair and keep the keys.

        Raises
        ------
        DbusError
            ``AuthenticationFailed`` if the two do not come to terms.
        """
        async with self._pairing:
            connection = self.connection
            if connection is None:
                raise DbusError("NotConnected", "Not Connected")
            if connection.encryption:
                return
            agents = self.bluez.agents
            self.bluez.central.pairing_config_factory = lambda _: agents.pairing(agents.for_client(client), self.path)
            try:
                await while_linked(connection, connection.pair())
            except _LINK_ERRORS as error:
                raise DbusError("AuthenticationFailed", "Authentication Failed") from error
            properties = {"Paired": Variant("b", True), "Bonded": Variant("b", self.bluez.has_bond(self.address))}
            self.bluez.server.change(self.path, DEVICE, properties)
