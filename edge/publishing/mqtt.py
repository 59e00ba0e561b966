"""One connection to an MQTT broker: the only file that imports paho.

A connection is opened once and used until it ends; `forwarder` then makes a new one, because a paho client
that reconnects puts everything it still holds on the wire at once, whatever window was agreed (measured:
20 allowed, 5 000 sent).  paho's callbacks run in its network thread while it holds its own locks, so they do
one thing: append to a deque and wake the event loop.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import PublishError, PublishFault

_log = logging.getLogger(__name__)


class Protocol(StrEnum):
    """Version of MQTT."""

    V5 = "5"
    V311 = "3.1.1"
    AUTO = "auto"
    """5, and 3.1.1 if the broker does not speak it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How the broker is recognised, and we by it; at least TLS 1.2, host name checked."""

    ca_file: str | None = None
    """Certificates to trust; None for those of the system."""
    cert_file: str | None = None
    """Our certificate chain, where the broker asks for one."""
    key_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """Which broker, and as whom."""

    host: str = "127.0.0.1"
    port: int = 1883
    client_id: str = "vitaledge"
    protocol: Protocol = Protocol.AUTO
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsSettings | None = None
    keepalive_s: int = 10
    """Silence after which the broker is asked; paho notices a dead peer after twice this (measured 10.0 s at 5)."""
    connect_timeout_s: float = 5.0
    """Longest wait for the TCP and TLS handshakes, and again for the broker's answer."""
    will_delay_s: int = 5
    """How long the broker waits before it says ``offline`` (MQTT 5); a short drop of the link is nobody's alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is handed to the broker."""

    topic: str
    payload: bytes
    qos: int = 1
    is_retained: bool = False
    expiry_s: float | None = None
    """MQTT 5 only: the broker drops the message after this."""
    user_properties: Mapping[str, str] = field(default_factory=dict)
    """MQTT 5 only; the body says the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The broker accepted us."""

    protocol: Protocol
    receive_maximum: int
    """How many unacknowledged messages the broker allows; 65535 where it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The broker answered one message."""

    packet_id: int
    reason_code: int
    """0 success, 0x10 nobody subscribed, from 0x80 on a refusal; always 0 with MQTT 3.1.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The connection is over; nothing follows."""

    reason: str
    fault: PublishFault


Event = Connected | Acknowledged | Closed

_FAULTS = {
    0x84: PublishFault.PROTOCOL,
    0x86: PublishFault.CREDENTIALS,
    0x87: PublishFault.CREDENTIALS,
    0x8A: PublishFault.CREDENTIALS,
    0x8C: PublishFault.CREDENTIALS,
}
_HINTS = {
    PublishFault.CREDENTIALS: "see [mqtt] username, password and certificate, and the broker's access list",
    PublishFault.PROTOCOL: 'set [mqtt] protocol = "3.1.1" or "auto"',
    PublishFault.UNREACHABLE: "see [mqtt] host and port, and whether the broker runs",
    PublishFault.OTHER: "see the broker's log",
}


class MqttConnection:
    """One connection, from CONNECT to its end.

    Parameters
    ----------
    settings : MqttSettings
        Broker and identity; ``protocol`` is ignored in favour of `protocol`.
    protocol : Protocol
        ``V5`` or ``V311``.
    will : Message
        What the broker publishes if we vanish.
    wake : callable
        Called in the event loop whenever `take` has something.
    """

    def __init__(self, settings: MqttSettings, protocol: Protocol, will: Message, wake: Callable[[], None]) -> None:
        if protocol is Protocol.AUTO:
            raise ValueError("expected protocol 5 or 3.1.1; auto is the forwarder's choice")
        self._settings = settings
        self._protocol = protocol
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._events: collections.deque[Event] = collections.deque()
        self._settled = asyncio.Event()
        self._is_closed = False
        self._is_answered = False
        self._is_given_up = threading.Event()
        self._client = self._new_client(will)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    async def open(self) -> Connected:
        """Return what the broker agreed to.

        Raises
        ------
        PublishError
            With the reason: unreachable, refused credentials, other protocol.
        """
        self._thread.start()
        try:
            async with asyncio.timeout(2 * self._settings.connect_timeout_s):
                await self._settled.wait()
        except TimeoutError:
            self.abandon()
            raise self._error("the broker does not answer", PublishFault.UNREACHABLE) from None
        first = self._events.popleft()
        if isinstance(first, Connected):
            return first
        self.abandon()
        assert isinstance(first, Closed)  # nothing can be acknowledged before the broker accepted us
        raise self._error(first.reason, first.fault)

    def publish(self, message: Message) -> int:
        """Hand `message` over and return its packet identifier, by which `Acknowledged` names it.

        Raises
        ------
        ValueError
            If the topic or the size cannot be sent with MQTT at all.
        """
        properties = None
        if self._protocol is Protocol.V5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho leaves it unannotated
            if message.payload:
                properties.PayloadFormatIndicator = 1
                properties.ContentType = "application/json" if message.payload[:1] == b"{" else "text/plain"
            if message.expiry_s is not None:
                properties.MessageExpiryInterval = max(1, round(message.expiry_s))
            if message.user_properties:
                properties.UserProperty = list(message.user_properties.items())
        info = self._client.publish(
            message.topic, message.payload, message.qos, message.is_retained, properties=properties
        )
        if info.rc not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN}:
            raise ValueError(f"{message.topic}: {paho.error_string(info.rc)}")
        return info.mid

    def take(self) -> list[Event]:
        """Return what happened since the last call, in order."""
        events = []
        while self._events:
            events.append(self._events.popleft())
        return events

    async def close(self, timeout_s: float = 2.0) -> None:
        """Say good-bye, so that no last will is sent, and end the thread within about `timeout_s`."""
        self._client.disconnect()
        await asyncio.to_thread(self._thread.join, timeout_s)
        self.abandon()

    def abandon(self) -> None:
        """End the connection at once without a word; the broker will send our last will."""
        self._is_given_up.set()
        # loop_stop() would wait for ever for unacknowledged messages; a socket that is shut ends the loop.
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):  # it may have ended by itself
                sock.shutdown(socket.SHUT_RDWR)

    def _new_client(self, will: Message) -> paho.Client:
        settings = self._settings
        is_v5 = self._protocol is Protocol.V5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=None if is_v5 else True,
            protocol=MQTTProtocolVersion.MQTTv5 if is_v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = settings.connect_timeout_s
        client.suppress_exceptions = True  # an exception in a callback would end the thread and leave is_connected true
        client.max_inflight_messages_set(0)  # the window is the forwarder's; paho's own is not kept over reconnects
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password)
        if settings.tls is not None:
            client.tls_set_context(_tls_context(settings.tls))
        properties = None
        if is_v5:
            properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call] # paho leaves it unannotated
            properties.WillDelayInterval = settings.will_delay_s
            properties.PayloadFormatIndicator = 1
        client.will_set(will.topic, will.payload, will.qos, will.is_retained, properties)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_socket_open = _without_delay
        # With this set, publish() leaves the writing to the network thread instead of writing from ours.
        client.on_socket_register_write = _leave_to_the_thread
        return client

    def _run(self) -> None:
        """Connect, serve until the end and say that it ended, whatever ended it: the network thread."""
        reason, fault = "the connection ended", PublishFault.OTHER
        try:
            properties = None
            if self._protocol is Protocol.V5:
                properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho leaves it unannotated
                # A will is delayed only as long as its session lives.
                properties.SessionExpiryInterval = self._settings.will_delay_s
            self._client.connect(
                self._settings.host,
                self._settings.port,
                keepalive=self._settings.keepalive_s,
                clean_start=self._protocol is Protocol.V5 or paho.MQTT_CLEAN_START_FIRST_ONLY,
                properties=properties,
            )
            # loop_forever() without loop_start() would not be woken by publish() and would send once a second.
            while not self._is_given_up.is_set() and self._client.loop() == MQTTErrorCode.MQTT_ERR_SUCCESS:
                pass
            self.abandon()
            if not self._is_answered:
                # Brokers that do not know our version often just hang up.
                reason, fault = "the broker closed the connection without an answer", PublishFault.PROTOCOL
        except ssl.SSLError as error:
            reason, fault = f"TLS: {error}", PublishFault.CREDENTIALS
        except OSError as error:
            reason, fault = str(error), PublishFault.UNREACHABLE
        except Exception as error:  # noqa: BLE001 - end of the thread: a packet that paho cannot parse must not go unnoticed
            reason, fault = f"the broker sent something unreadable: {error!r}", PublishFault.PROTOCOL
        finally:
            self._post(Closed(reason=reason, fault=fault))

    def _on_connect(
        self,
        _client: paho.Client,
        _userdata: object,
        _flags: object,
        reason_code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._is_answered = True
        if reason_code.is_failure:
            fault = _FAULTS.get(reason_code.value, PublishFault.OTHER)
            self._post(Closed(reason=f"the broker refused: {reason_code}", fault=fault))
            return
        receive_maximum = getattr(properties, "ReceiveMaximum", 65_535)
        self._post(Connected(protocol=self._protocol, receive_maximum=int(receive_maximum)))

    def _on_disconnect(
        self, _client: paho.Client, _userdata: object, _flags: object, reason_code: ReasonCode, _properties: object
    ) -> None:
        if self._is_answered:
            self._post(Closed(reason=f"disconnected: {reason_code}", fault=PublishFault.UNREACHABLE))

    def _on_publish(
        self, _client: paho.Client, _userdata: object, packet_id: int, reason_code: ReasonCode, _properties: object
    ) -> None:
        self._post(Acknowledged(packet_id=packet_id, reason_code=reason_code.value))

    def _post(self, event: Event) -> None:
        if self._is_closed:
            return
        self._is_closed = isinstance(event, Closed)
        self._events.append(event)
        with contextlib.suppress(RuntimeError):  # the loop is gone; nobody is left to wake
            self._loop.call_soon_threadsafe(self._announce)

    def _announce(self) -> None:
        self._settled.set()
        self._wake()

    def _error(self, reason: str, fault: PublishFault) -> PublishError:
        where = f"{self._settings.host}:{self._settings.port}"
        return PublishError(f"{where}: {reason}", reason=fault, hint=_HINTS[fault])


def _leave_to_the_thread(*_: object) -> None:
    """Do nothing: the network thread sees by itself that there is something to write."""


def _without_delay(_client: paho.Client, _userdata: object, sock: paho.SocketLike) -> None:
    """Send small packets at once: an alert must not wait until what went before is acknowledged (Nagle)."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _tls_context(tls: TlsSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except OSError as error:  # ssl.SSLError is one
        raise PublishError(
            f"the certificates cannot be used: {error}", reason=PublishFault.CREDENTIALS, hint="see [mqtt] tls"
        ) from error
    return context
