"""Advertisement monitors of the emulated BlueZ: the way in which a program listens without asking for answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence

from firmware_bridge.virtual.ble.bluez_properties import MONITOR_MANAGER
from firmware_bridge.virtual.ble.object_server import (
    OBJECT_MANAGER,
    Call,
    DbusError,
    MethodEntry,
    ObjectServer,
    Reply,
)

_log = logging.getLogger(__name__)

MONITOR = "org.bluez.AdvertisementMonitor1"


class Monitors:
    """Who has registered monitors.  Their patterns are not looked at: a monitor hears everything.

    Parameters
    ----------
    server : ObjectServer
        Through which clients are asked for their monitors.
    require_power : callable
        Raises what is answered while the adapter is off.
    changed : callable
        Awaited when the radio may have to listen, or may stop.
    """

    def __init__(
        self,
        server: ObjectServer,
        require_power: Callable[[], None],
        changed: Callable[[], Coroutine[object, object, None]],
    ) -> None:
        self._server, self._require_power, self._changed = server, require_power, changed
        self._roots: set[tuple[str, str]] = set()
        self._active: set[tuple[str, str]] = set()
        server.on_interfaces = self._objects_changed

    def __bool__(self) -> bool:
        return bool(self._active)

    def methods(self) -> dict[tuple[str, str], MethodEntry]:
        """Return the methods of AdvertisementMonitorManager1."""
        return {
            (MONITOR_MANAGER, "RegisterMonitor"): MethodEntry("o", "", self._register),
            (MONITOR_MANAGER, "UnregisterMonitor"): MethodEntry("o", "", self._unregister),
        }

    def clear(self) -> None:
        """Stop listening for all: the adapter went off."""
        self._active.clear()

    def client_gone(self, client: str) -> bool:
        """Forget a client that left the bus; return whether it had monitors."""
        gone = {each for each in self._active if each[0] == client}
        self._active -= gone
        self._roots = {each for each in self._roots if each[0] != client}
        return bool(gone)

    async def _register(self, call: Call) -> Reply | None:
        """Remember where a client will have its monitors; most put them there only after this was answered."""
        self._require_power()
        root = str(call.arguments[0])
        if (call.sender, root) in self._roots:
            raise DbusError("AlreadyExists", "Already Exists")
        await self._server.watch(call.sender)
        self._roots.add((call.sender, root))
        self._server.spawn(self._look(call.sender, root))
        return None

    async def _look(self, client: str, root: str) -> None:
        try:
            (objects,) = await self._server.call(client, root, OBJECT_MANAGER, "GetManagedObjects", "")
        except DbusError as error:
            _log.info("emulated_bluez.no_monitors client=%s error=%s", client, error.name)
            return
        for path, interfaces in objects.items():
            self._objects_changed(client, path, list(interfaces), True)

    def _objects_changed(self, client: str, path: str, interfaces: Sequence[str], has_come: bool) -> None:
        if MONITOR not in interfaces or not any(
            client == owner and path.startswith(root) for owner, root in self._roots
        ):
            return
        if has_come:
            self._server.spawn(self._activate(client, path))
        else:
            self._active.discard((client, path))
            self._server.spawn(self._changed())

    async def _activate(self, client: str, path: str) -> None:
        try:
            await self._server.call(client, path, MONITOR, "Activate", "")
        except DbusError as error:
            _log.info("emulated_bluez.monitor_refused client=%s error=%s", client, error.name)
            return
        self._active.add((client, path))
        await self._changed()

    async def _unregister(self, call: Call) -> Reply | None:
        root = str(call.arguments[0])
        if (call.sender, root) not in self._roots:
            raise DbusError("DoesNotExist", "Does Not Exist")
        self._roots.discard((call.sender, root))
        self._active = {each for each in self._active if each[0] != call.sender or not each[1].startswith(root)}
        await self._changed()
        return None
