"""What bleak does not do with bluetoothd: bonding with an agent, forgetting a device, switching an adapter off and on.

The only file that imports dbus-fast.  Every operation opens a D-Bus connection of its own and closes it again, so
that nothing can leak and a cancelled operation is over when its connection is: bluetoothd drops a pairing whose caller
has gone.

Notes
-----
`Device1.Pair` asks the agent that the *same* D-Bus connection registered, else the system's default agent, else it
fails with AuthenticationFailed.  bleak registers none; hence agent and `Pair` share one connection here, and neither a
desktop's agent nor ``bluetoothctl`` is disturbed.  A kernel without the cryptography that bonding needs lets `Pair`
appear to succeed; only ``Bonded`` tells.

References
----------
.. [1] BlueZ ``doc/agent-api.txt``, ``doc/device-api.txt``, ``doc/adapter-api.txt``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from edge.acquisition.waiting import within
from edge.clock import NS_PER_S, Clock

log = logging.getLogger(__name__)

_BLUEZ = "org.bluez"
_ADAPTER1, _DEVICE1, _AGENT1 = "org.bluez.Adapter1", "org.bluez.Device1", "org.bluez.Agent1"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_AGENT_PATH = "/org/vitaledge/agent"

_CALL_TIMEOUT_S = 10.0
"""For everything that does not wait for a peer; switching an adapter on takes a USB controller up to 2 s."""
_PAIR_TIMEOUT_S = 40.0
"""The Security Manager gives up after 30 s without an answer (Core 5.4, Vol 3 Part H, 3.4)."""
_OFF_S = 2.0
"""How long an adapter stays off: a wearable notices a lost link after its supervision timeout, 2 s on most."""
_POLL_S = 0.1

Objects = dict[str, dict[str, dict[str, Any]]]
"""Object path -> interface -> property -> value."""


class BluezError(Exception):
    """bluetoothd or the bus declined; `ble_errors` knows what the name means."""

    def __init__(self, dbus_error: str, details: str) -> None:
        super().__init__(dbus_error, details)
        self.dbus_error = dbus_error


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterState:
    """One Bluetooth adapter of this machine."""

    name: str
    """``hci0``."""
    address: str
    is_powered: bool
    can_be_central: bool
    """Whether it speaks Bluetooth Low Energy to sensors; an adapter of before 2010 does not."""


class Bluez:
    """bluetoothd, as far as one adapter needs it.

    Parameters
    ----------
    clock : Clock
        Time limits and the pause with the adapter off.
    adapter : str or None
        ``hci0``; None for the first powered one, as bleak chooses.
    """

    def __init__(self, clock: Clock, adapter: str | None = None) -> None:
        self._clock = clock
        self._adapter = adapter

    async def adapters(self) -> list[AdapterState]:
        """Return every adapter of this machine, by name.

        Raises
        ------
        BluezError
            If bluetoothd does not run or does not let us.
        OSError
            If there is no system bus.
        """
        async with _connected() as bus:
            return _adapters(await self._objects(bus))

    async def is_bonded(self, address: str) -> bool:
        """Tell whether keys of the device at `address` are stored; False for a device that is not known."""
        async with _connected() as bus:
            _, device = await self._device(bus, address)
        return bool(device.get("Bonded", device.get("Paired", False)))

    async def bond(self, address: str, passkey: int | None = None) -> str:
        """Bond with the device at `address`, unless that was done before; return its address, which may be another now.

        Parameters
        ----------
        address : str
            Of a device that bluetoothd knows, connected or in range.
        passkey : int or None
            The six digits printed on the device or its manual; None for a device without.

        Raises
        ------
        BluezError
            ``AuthenticationFailed`` and the like as bluetoothd says it, and where it says that it succeeded and
            stored no keys.
        TimeoutError
            If the device does not answer.
        """
        async with _connected() as bus:
            path, device = await self._device(bus, address)
            if not path:
                raise BluezError("org.bluez.Error.DoesNotExist", f"{_BLUEZ} knows no such device")
            if device.get("Bonded"):
                return address
            agent = _Agent(bus, path, passkey)
            manager = ("/org/bluez", "org.bluez.AgentManager1")
            await self._call(bus, *manager, "RegisterAgent", "os", [_AGENT_PATH, agent.capability])
            try:
                if not device.get("Paired"):
                    await self._call(bus, path, _DEVICE1, "Pair", timeout_s=_PAIR_TIMEOUT_S)
                _, device = await self._device(bus, address, path)
                if not device.get("Bonded"):
                    raise BluezError("org.bluez.Error.AuthenticationFailed", "paired, but not bonded: no keys stored")
                trusted = [_DEVICE1, "Trusted", Variant("b", True)]
                await self._call(bus, path, _PROPERTIES, "Set", "ssv", trusted)
            finally:
                agent.leave()  # bluetoothd unregisters it when the connection closes
            return str(device.get("Address", address))

    async def forget(self, address: str) -> bool:
        """Let bluetoothd forget the device at `address`, so that it is discovered anew; return whether it did.

        Keys are kept: a bonded device is only disconnected, because losing the bond would need a person to renew it.
        """
        async with _connected() as bus:
            path, device = await self._device(bus, address)
            if not path:
                return False
            if device.get("Bonded") or device.get("Paired"):
                with suppress(BluezError):
                    await self._call(bus, path, _DEVICE1, "Disconnect")
                return False
            await self._call(bus, path.rsplit("/", 1)[0], _ADAPTER1, "RemoveDevice", "o", [path])
            return True

    async def drop(self, address: str) -> None:
        """End the link to the device at `address`, if there is one: a `Connect` given up may have come through."""
        async with _connected() as bus:
            path, device = await self._device(bus, address)
            if device.get("Connected"):
                await self._call(bus, path, _DEVICE1, "Disconnect")

    async def power_cycle(self) -> None:
        """Switch the adapter off, wait 2 s, and switch it on.

        Raises
        ------
        BluezError
            If there is no such adapter (``adapter 'hci1' not found``), or it stays off, as a blocked one does.
        """
        async with _connected() as bus:
            name = self._chosen(_adapters(await self._objects(bus)))
            path = f"/org/bluez/{name}"
            try:
                await self._power(bus, path, is_on=False)
                await self._clock.sleep(_OFF_S)
            finally:
                await self._power(bus, path, is_on=True)

    async def _power(self, bus: MessageBus, path: str, *, is_on: bool) -> None:
        await self._call(bus, path, _PROPERTIES, "Set", "ssv", [_ADAPTER1, "Powered", Variant("b", is_on)])
        end_ns = self._clock.monotonic_ns() + int(_CALL_TIMEOUT_S * NS_PER_S)
        while (await self._objects(bus)).get(path, {}).get(_ADAPTER1, {}).get("Powered") is not is_on:
            if self._clock.monotonic_ns() > end_ns:
                raise BluezError("org.bluez.Error.NotReady", f"the adapter does not switch {'on' if is_on else 'off'}")
            await self._clock.sleep(_POLL_S)

    def _chosen(self, adapters: list[AdapterState]) -> str:
        """Return the name of our adapter: the one asked for, else the first one on, else the first."""
        usable = [each for each in adapters if each.can_be_central and self._adapter in (None, each.name)]
        if not usable:
            raise BluezError("org.bluez.Error.NotReady", f"adapter '{self._adapter or 'any'}' not found")
        return min(usable, key=lambda each: (not each.is_powered, each.name)).name

    async def _device(self, bus: MessageBus, address: str, path: str = "") -> tuple[str, dict[str, Any]]:
        """Return object path and properties of a device on our adapter; ``("", {})`` for an unknown one."""
        for each, interfaces in (await self._objects(bus)).items():
            device = interfaces.get(_DEVICE1, {})
            is_it = each == path if path else str(device.get("Address", "")).upper() == address.upper()
            if is_it and self._adapter in (None, each.split("/")[3]):
                return each, device
        return "", {}

    async def _objects(self, bus: MessageBus) -> Objects:
        manager = "org.freedesktop.DBus.ObjectManager"
        objects: dict[str, dict[str, dict[str, Variant]]] = await self._call(bus, "/", manager, "GetManagedObjects")
        return {
            path: {name: {key: value.value for key, value in each.items()} for name, each in interfaces.items()}
            for path, interfaces in objects.items()
        }

    async def _call(
        self,
        bus: MessageBus,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
        timeout_s: float = _CALL_TIMEOUT_S,
    ) -> Any:
        """Return the first value of bluetoothd's answer, None if it has none."""
        message = Message(
            destination=_BLUEZ, path=path, interface=interface, member=member, signature=signature, body=body or []
        )
        reply = await within(self._clock, timeout_s, bus.call(message), f"bluez-{member}")
        if reply.message_type is MessageType.ERROR:
            raise BluezError(reply.error_name or "", " ".join(str(each) for each in reply.body))
        return reply.body[0] if reply.body else None


class _Agent:
    """Answers bluetoothd's questions about the one device that is being bonded, and declines all others."""

    def __init__(self, bus: MessageBus, device: str, passkey: int | None) -> None:
        # A keyboard without a display: the device cannot choose to compare numbers, which nobody here could look at.
        self.capability = "NoInputNoOutput" if passkey is None else "KeyboardOnly"
        self._bus = bus
        self._device = device
        self._answers: dict[str, tuple[str, list[Any]]] = {
            "RequestConfirmation": ("", []),
            "RequestAuthorization": ("", []),
            "AuthorizeService": ("", []),
        }
        if passkey is not None:
            self._answers["RequestPasskey"] = ("u", [passkey])
            self._answers["RequestPinCode"] = ("s", [f"{passkey:06d}"])
        bus.add_message_handler(self._answer)

    def leave(self) -> None:
        """Answer no more."""
        self._bus.remove_message_handler(self._answer)

    def _answer(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL or message.interface != _AGENT1:
            return None
        log.debug("bluez.agent asked=%s", message.member)
        if message.member in {"Release", "Cancel"}:
            return Message.new_method_return(message)
        is_ours = bool(message.body) and message.body[0] == self._device
        if not is_ours or message.member not in self._answers:
            return Message.new_error(message, "org.bluez.Error.Rejected", "nobody here can answer that")
        return Message.new_method_return(message, *self._answers[message.member])


@asynccontextmanager
async def _connected() -> AsyncIterator[MessageBus]:
    """Lend a D-Bus connection; it is closed whatever happens, also when connecting failed half way."""
    bus = MessageBus(bus_type=BusType.SYSTEM)
    try:
        yield await bus.connect()
    finally:
        bus.disconnect()


def _adapters(objects: Objects) -> list[AdapterState]:
    return [
        AdapterState(
            name=path.rsplit("/", 1)[1],
            address=str(adapter.get("Address", "")),
            is_powered=bool(adapter.get("Powered")),
            can_be_central="central" in adapter.get("Roles", ["central"]),
        )
        for path, interfaces in sorted(objects.items())
        if (adapter := interfaces.get(_ADAPTER1)) is not None
    ]
