"""A tree of D-Bus objects with properties: ObjectManager, Properties and Introspectable over one bus connection.

Objects come and go while clients look on, so they are plain data here: path, interface, property.  What a method does
is looked up in a table that the owner of the tree fills.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

from dbus_fast import BusType, Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus

_log = logging.getLogger(__name__)

OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
PROPERTIES = "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
PEER = "org.freedesktop.DBus.Peer"
_DBUS = "org.freedesktop.DBus"
_FILE_KEPT_S = 0.5
"""A file handed over is closed here after the message has surely been written."""

Properties = dict[str, Variant]
Interfaces = dict[str, Properties]


class DbusError(Exception):
    """What a method answers instead of a result; a name without dots is one of ``org.bluez.Error``."""

    def __init__(self, name: str, text: str = "") -> None:
        super().__init__(text)
        self.name = name if "." in name else f"org.bluez.Error.{name}"
        self.text = text


@dataclass(frozen=True, slots=True)
class Reply:
    """What a method returns: a signature, the values, and files to hand over."""

    signature: str = ""
    body: tuple[object, ...] = ()
    files: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A method call that arrived."""

    sender: str
    path: str
    arguments: tuple[object, ...]


Method = Callable[[Call], Awaitable[Reply | None]]
Setter = Callable[[str, object], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """One method of an interface."""

    signature_in: str
    signature_out: str
    act: Method


class ObjectServer:
    """Objects under one bus name.

    Parameters
    ----------
    name : str
        The well-known name.
    on_client_gone : callable
        Called with the unique name of every client that leaves the bus.
    """

    def __init__(self, name: str, on_client_gone: Callable[[str], Coroutine[object, object, None]]) -> None:
        self.objects: dict[str, Interfaces] = {}
        self.methods: dict[tuple[str, str], MethodEntry] = {}
        self.setters: dict[tuple[str, str], Setter] = {}
        self.on_interfaces: Callable[[str, str, Sequence[str], bool], None] | None = None
        """Told of objects of a client that is watched: client, path, interfaces, whether they came or went."""
        self._name, self._on_client_gone = name, on_client_gone
        self._bus: MessageBus | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._files: set[int] = set()

    async def start(self, address: str) -> None:
        """Connect to the bus at `address` and take the name."""
        bus = await MessageBus(bus_address=address, bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
        self._bus = bus
        bus.add_message_handler(self._handle)
        rule = f"type='signal',sender='{_DBUS}',interface='{_DBUS}',member='NameOwnerChanged'"
        await self.call(_DBUS, "/org/freedesktop/DBus", _DBUS, "AddMatch", "s", rule)
        await self.own_name()

    async def own_name(self) -> None:
        """Take the well-known name, as the service does when it starts."""
        assert self._bus is not None
        await self._bus.request_name(self._name)

    async def give_up_name(self) -> None:
        """Let the well-known name go, as happens when the service ends."""
        assert self._bus is not None
        await self._bus.release_name(self._name)

    async def close(self) -> None:
        """Leave the bus."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for file in list(self._files):
            self._close_file(file)
        if self._bus is not None:
            self._bus.disconnect()
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
            self._bus = None

    async def watch(self, client: str) -> None:
        """Hear of the objects that a client offers, by `on_interfaces`."""
        rule = f"type='signal',sender='{client}',interface='{OBJECT_MANAGER}'"
        await self.call(_DBUS, "/org/freedesktop/DBus", _DBUS, "AddMatch", "s", rule)

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run `work` beside everything else; it is cancelled when the server closes."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def call(
        self, destination: str, path: str, interface: str, member: str, signature: str, *body: object
    ) -> list[Any]:
        """Call a method of somebody else.

        Raises
        ------
        DbusError
            If that is what comes back.
        """
        assert self._bus is not None
        message = Message(
            destination=destination, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        reply = await self._bus.call(message)
        assert reply is not None
        if reply.message_type is MessageType.ERROR:
            raise DbusError(reply.error_name or "Failed", str(reply.body[0]) if reply.body else "")
        return list(reply.body)

    # The tree

    def add(self, path: str, interfaces: Interfaces) -> None:
        """Put an object into the tree and tell everybody."""
        self.objects[path] = interfaces
        self._signal("/", OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", path, interfaces)

    def remove(self, path: str) -> None:
        """Take an object and everything below it away, the deepest first."""
        gone = [each for each in self.objects if each == path or each.startswith(f"{path}/")]
        for each in sorted(gone, reverse=True):
            interfaces = [*self.objects.pop(each)]
            self._signal("/", OBJECT_MANAGER, "InterfacesRemoved", "oas", each, interfaces)

    def change(self, path: str, interface: str, properties: Mapping[str, Variant], gone: Sequence[str] = ()) -> None:
        """Change properties of an object that may be gone already, and tell everybody."""
        held = self.objects.get(path, {}).get(interface)
        if held is None:
            return
        gone = [name for name in gone if held.pop(name, None) is not None]
        held.update(properties)
        if properties or gone:
            self._signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", interface, dict(properties), gone)

    def announce(self, path: str, interface: str, properties: Mapping[str, Variant]) -> None:
        """Tell everybody of a value without keeping it."""
        self._signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", interface, dict(properties), [])

    def add_interface(self, path: str, interface: str, properties: Properties) -> None:
        """Give an object one more interface."""
        if path in self.objects:
            self.objects[path][interface] = properties
            self._signal("/", OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", path, {interface: properties})

    def remove_interface(self, path: str, interface: str) -> None:
        """Take one interface of an object away."""
        if self.objects.get(path, {}).pop(interface, None) is not None:
            self._signal("/", OBJECT_MANAGER, "InterfacesRemoved", "oas", path, [interface])

    def value(self, path: str, interface: str, name: str) -> object:
        """Return a property's value, None where there is none."""
        held = self.objects.get(path, {}).get(interface, {}).get(name)
        return None if held is None else held.value

    # Messages

    def _signal(self, path: str, interface: str, member: str, signature: str, *body: object) -> None:
        if self._bus is not None:
            self._send(Message.new_signal(path, interface, member, signature, list(body)))

    def _send(self, message: Message) -> None:
        assert self._bus is not None
        self._bus.send(message)

    def _handle(self, message: Message) -> bool | None:
        if message.message_type is MessageType.SIGNAL:
            if message.member == "NameOwnerChanged" and message.sender == _DBUS and not message.body[2]:
                self.spawn(self._on_client_gone(message.body[0]))
            elif message.interface == OBJECT_MANAGER and self.on_interfaces is not None:
                has_come = message.member == "InterfacesAdded"
                self.on_interfaces(message.sender or "", message.body[0], list(message.body[1]), has_come)
            return None
        if message.message_type is not MessageType.METHOD_CALL or message.interface == PEER:
            return None
        self.spawn(self._answer(message))
        return True

    async def _answer(self, message: Message) -> None:
        files: tuple[int, ...] = ()
        try:
            reply = await self._result(message) or Reply()
            files = reply.files
            answer = Message.new_method_return(message, reply.signature, list(reply.body), list(files))
        except DbusError as error:
            answer = Message.new_error(message, error.name, error.text)
        except Exception as error:  # noqa: BLE001 - a client must get an answer whatever goes wrong here
            _log.exception("object_server.failed path=%s member=%s", message.path, message.member)
            answer = Message.new_error(message, "org.bluez.Error.Failed", repr(error))
        if not message.flags & MessageFlag.NO_REPLY_EXPECTED:
            self._send(answer)
        for file in files:
            self._files.add(file)
            asyncio.get_running_loop().call_later(_FILE_KEPT_S, self._close_file, file)

    async def _result(self, message: Message) -> Reply | None:
        path, interface, member = message.path or "", message.interface or "", message.member or ""
        if interface == OBJECT_MANAGER and member == "GetManagedObjects" and path == "/":
            return Reply("a{oa{sa{sv}}}", (self.objects,))
        if interface == INTROSPECTABLE and member == "Introspect":
            return Reply("s", (self._described(path),))
        if path not in self.objects:
            text = f'Method "{member}" with signature "{message.signature}" on interface "{interface}" doesn\'t exist\n'
            raise DbusError(f"{_DBUS}.Error.UnknownObject", text)
        if interface == PROPERTIES:
            return await self._property(path, member, list(message.body))
        entry = self.methods.get((interface, member))
        if entry is None or interface not in self.objects[path]:
            text = f'Method "{member}" with signature "{message.signature}" on interface "{interface}" doesn\'t exist\n'
            raise DbusError(f"{_DBUS}.Error.UnknownMethod", text)
        if message.signature != entry.signature_in:
            raise DbusError(f"{_DBUS}.Error.InvalidArgs", "Argument list does not match")
        return await entry.act(Call(message.sender or "", path, tuple(message.body)))

    async def _property(self, path: str, member: str, body: list[Any]) -> Reply | None:
        held = self.objects[path].get(body[0])
        if held is None:
            raise DbusError(f"{_DBUS}.Error.InvalidArgs", f"No such interface '{body[0]}'")
        if member == "GetAll":
            return Reply("a{sv}", (held,))
        if body[1] not in held and (body[0], body[1]) not in self.setters:
            raise DbusError(f"{_DBUS}.Error.InvalidArgs", f"No such property '{body[1]}'")
        if member == "Get":
            return Reply("v", (held[body[1]],))
        setter = self.setters.get((body[0], body[1]))
        if setter is None:
            raise DbusError(f"{_DBUS}.Error.PropertyReadOnly", f"Property '{body[1]}' is not writable")
        await setter(path, body[2].value)
        return None

    def _described(self, path: str) -> str:
        """Return the introspection of an object as XML."""
        stem = path.rstrip("/") + "/"
        children = sorted({each[len(stem) :].split("/")[0] for each in self.objects if each.startswith(stem)})
        lines = [
            '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"',
            ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">',
            "<node>",
        ]
        for interface, properties in self.objects.get(path, {}).items():
            lines.append(f"<interface name={quoteattr(interface)}>")
            for (owner, member), entry in self.methods.items():
                if owner == interface:
                    lines.append(f"<method name={quoteattr(member)}>")
                    lines += [f'<arg type={quoteattr(kind)} direction="in"/>' for kind in _split(entry.signature_in)]
                    lines += [f'<arg type={quoteattr(kind)} direction="out"/>' for kind in _split(entry.signature_out)]
                    lines.append("</method>")
            for name, value in properties.items():
                access = "readwrite" if (interface, name) in self.setters else "read"
                lines.append(f'<property name={quoteattr(name)} type={quoteattr(value.signature)} access="{access}"/>')
            lines.append("</interface>")
        lines += [_STANDARD, *(f"<node name={quoteattr(child)}/>" for child in children), "</node>"]
        return "\n".join(lines)

    def _close_file(self, file: int) -> None:
        if file in self._files:
            self._files.discard(file)
            os.close(file)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("object_server.task_failed", exc_info=task.exception())


_STANDARD = (
    f'<interface name="{INTROSPECTABLE}"><method name="Introspect"><arg type="s" direction="out"/></method></interface>'
    f'<interface name="{PROPERTIES}">'
    '<method name="Get"><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="v" direction="out"/>'
    "</method>"
    '<method name="Set"><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="v" direction="in"/>'
    "</method>"
    '<method name="GetAll"><arg type="s" direction="in"/><arg type="a{sv}" direction="out"/></method>'
    "</interface>"
)


def _split(signature: str) -> list[str]:
    """Return the complete types in a signature.

    Examples
    --------
    >>> _split("aya{sv}o")
    ['ay', 'a{sv}', 'o']
    """
    types: list[str] = []
    depth, current = 0, ""
    for letter in signature:
        current += letter
        depth += letter in "({"
        depth -= letter in ")}"
        if depth == 0 and letter != "a":
            types.append(current)
            current = ""
    return types
