"""An MQTT broker on the loopback that answers as it is told, packet by packet: wrong, late, or never.

It runs in the test's own event loop and knows no MQTT library, so that a misunderstanding shared with the
runtime's library cannot hide.  ``until`` waits for a condition; nothing here sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

CONNECT, CONNACK, PUBLISH, PUBACK, PINGREQ, DISCONNECT = 1, 2, 3, 4, 12, 14
CLOSE = -1
"""Answer that hangs up."""
GARBAGE = -2
"""Answer that is no MQTT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A PUBLISH as it was on the wire."""

    connection: int
    topic: str
    payload: bytes
    qos: int
    is_retained: bool
    is_duplicate: bool
    packet_id: int
    properties: dict


@dataclass(slots=True)
class Connect:
    """A CONNECT as it was on the wire."""

    level: int
    flags: int
    keepalive_s: int
    client_id: str
    will: tuple[str, bytes] | None
    properties: dict = field(default_factory=dict)


@dataclass
class ScriptedBroker:
    """Answers by script; change the fields while it runs."""

    connack: Callable[[Connect], int | None] = lambda _: 0
    """Reason code for a CONNECT; None says nothing at all, `CLOSE` hangs up."""
    answer: Callable[[Published], int | None] = lambda _: 0
    """Reason code for a PUBLISH; None holds the acknowledgement back."""
    receive_maximum: int | None = None
    levels: tuple[int, ...] = (4, 5)
    """Protocol levels that it speaks: 4 is MQTT 3.1.1."""
    port: int = 0
    connects: list[Connect] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    n_goodbyes: int = 0
    """DISCONNECT packets received."""
    peak_unacknowledged: int = 0

    def __post_init__(self):
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task] = set()
        self._held: list[tuple[asyncio.StreamWriter, Published]] = []
        self._server = None
        self._is_mute = False
        self._unacknowledged: dict[asyncio.StreamWriter, set[int]] = {}

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def until(self, condition, timeout_s=10.0):
        """Return when `condition()` holds; it is looked at after every packet."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def payloads(self, topic_end=""):
        """What was published, without repetitions on the wire, on topics with this end."""
        return [p.payload for p in self.published if p.topic.endswith(topic_end)]

    def release(self, code=0):
        """Acknowledge everything held back."""
        for writer, message in self._held:
            self._unacknowledged[writer].discard(message.packet_id)
            self._acknowledge(writer, message, code)
        self._held.clear()

    def mute(self):
        """Take everything and answer nothing any more."""
        self._is_mute = True

    def unmute(self):
        """Answer again."""
        self._is_mute = False

    def hang_up(self):
        """Break every connection."""
        for task in self._tasks:
            task.cancel()

    async def _accepted(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self._unacknowledged[writer] = set()
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._served(reader, writer, self._unacknowledged[writer]):
                    self._news.set()
        except asyncio.CancelledError:
            pass  # hang_up, or the end of the test
        finally:
            self._tasks.discard(task)
            self._held = [(held, message) for held, message in self._held if held is not writer]
            writer.close()
            self._news.set()

    async def _served(self, reader, writer, unacknowledged):
        kind, flags, body = await packet(reader)
        if self._is_mute:
            if kind == CONNECT:
                self.connects.append(decoded_connect(body))
            return True
        if kind == CONNECT:
            return self._welcomed(writer, body)
        if kind == PUBLISH:
            message = self._decoded(flags, body)
            self.published.append(message)
            unacknowledged.add(message.packet_id)
            self.peak_unacknowledged = max(self.peak_unacknowledged, len(unacknowledged))
            code = self.answer(message)
            if code == CLOSE:
                return False
            if code == GARBAGE:
                writer.write(b"\xff\xff\xff\xff\xff\xff" + b"\xff" * 120)
                return True
            if code is None:
                self._held.append((writer, message))
            else:
                unacknowledged.discard(message.packet_id)
                self._acknowledge(writer, message, code)
        elif kind == PINGREQ:
            writer.write(b"\xd0\x00")
        elif kind == DISCONNECT:
            self.n_goodbyes += 1
            return False
        return True

    def _welcomed(self, writer, body):
        connect = decoded_connect(body)
        self.connects.append(connect)
        code = self.connack(connect)
        if code is None:
            return True
        if code == CLOSE:
            return False
        if connect.level not in self.levels:
            writer.write(b"\x20\x02\x00\x01")  # MQTT 3.1.1: unacceptable protocol version
            return False
        if connect.level == 4:
            writer.write(bytes([0x20, 2, 0, code]))
        else:
            properties = b"" if self.receive_maximum is None else b"\x21" + struct.pack("!H", self.receive_maximum)
            writer.write(bytes([0x20, 3 + len(properties), 0, code, len(properties)]) + properties)
        return code == 0

    def _acknowledge(self, writer, message, code):
        packet_id = struct.pack("!H", message.packet_id)
        if self.connects[-1].level == 4:
            writer.write(b"\x40\x02" + packet_id)
        else:
            writer.write(b"\x40\x04" + packet_id + bytes([code, 0]))

    def _decoded(self, flags, body):
        topic, at = text(body, 0)
        qos = flags >> 1 & 3
        packet_id = 0
        if qos:
            (packet_id,) = struct.unpack_from("!H", body, at)
            at += 2
        properties = {}
        if self.connects[-1].level == 5:
            properties, at = decoded_properties(body, at)
        return Published(
            connection=len(self.connects),
            topic=topic,
            payload=body[at:],
            qos=qos,
            is_retained=bool(flags & 1),
            is_duplicate=bool(flags & 8),
            packet_id=packet_id,
            properties=properties,
        )


async def packet(reader):
    """Read one control packet: type, flags, body."""
    (first,) = await reader.readexactly(1)
    length = shift = 0
    while True:
        (byte,) = await reader.readexactly(1)
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return first >> 4, first & 0x0F, await reader.readexactly(length)


def text(body, at):
    (length,) = struct.unpack_from("!H", body, at)
    return body[at + 2 : at + 2 + length].decode(), at + 2 + length


def variable(body, at):
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at


# Property identifiers of MQTT 5.0 §2.2.2.2 that a client may send here: name and encoding.
PROPERTIES = {
    0x01: ("payload_format", "byte"),
    0x02: ("expiry_s", "four"),
    0x03: ("content_type", "text"),
    0x11: ("session_expiry_s", "four"),
    0x18: ("will_delay_s", "four"),
    0x21: ("receive_maximum", "two"),
    0x26: ("user", "pair"),
}


def decoded_properties(body, at):
    length, at = variable(body, at)
    end = at + length
    found = {}
    while at < end:
        name, kind = PROPERTIES[body[at]]
        at += 1
        if kind == "byte":
            found[name], at = body[at], at + 1
        elif kind == "two":
            found[name], at = struct.unpack_from("!H", body, at)[0], at + 2
        elif kind == "four":
            found[name], at = struct.unpack_from("!I", body, at)[0], at + 4
        elif kind == "text":
            found[name], at = text(body, at)
        else:
            key, at = text(body, at)
            value, at = text(body, at)
            found.setdefault(name, {})[key] = value
    return found, end


def decoded_connect(body):
    _, at = text(body, 0)
    level, flags = body[at], body[at + 1]
    (keepalive_s,) = struct.unpack_from("!H", body, at + 2)
    at += 4
    properties = {}
    if level == 5:
        properties, at = decoded_properties(body, at)
    client_id, at = text(body, at)
    will = None
    if flags & 0x04:
        if level == 5:
            more, at = decoded_properties(body, at)
            properties |= more
        topic, at = text(body, at)
        (length,) = struct.unpack_from("!H", body, at)
        will = (topic, body[at + 2 : at + 2 + length])
    return Connect(
        level=level, flags=flags, keepalive_s=keepalive_s, client_id=client_id, will=will, properties=properties
    )
