"""A plain subscriber, as a care centre would begin: paho, one subscription, a count of what it heard.

The demo uses it to show that what left the gateway arrived.  paho calls back in its own thread; a callback only counts
and appends, under a lock of its own.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.messages import Json
from edge.publishing.mqtt import MqttSettings, Protocol

_CONNECT_TIMEOUT_S = 5.0


class Listener:
    """Hears everything below one topic prefix.

    Parameters
    ----------
    settings : MqttSettings
        The broker; the client identifier is used as it is, so it must differ from the gateway's.
    prefix : str
        Topic prefix, without the wildcard.
    """

    def __init__(self, settings: MqttSettings, prefix: str) -> None:
        self._prefix = prefix
        self._lock = threading.Lock()
        self._is_subscribed = threading.Event()
        self._counts: Counter[str] = Counter()
        self._sequences: set[str] = set()
        self._alert_states: dict[str, str] = {}
        version = MQTTProtocolVersion.MQTTv311 if settings.protocol is Protocol.V311 else MQTTProtocolVersion.MQTTv5
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=settings.client_id, protocol=version)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.suppress_exceptions = True  # an error in a callback must not end the network thread unseen
        self._host, self._port = settings.host, settings.port

    def start(self) -> bool:
        """Connect and subscribe; return whether that succeeded within seconds."""
        try:
            self._client.connect(self._host, self._port, keepalive=15)
        except OSError:
            return False
        self._client.loop_start()
        return self._is_subscribed.wait(_CONNECT_TIMEOUT_S)

    def stop(self) -> None:
        """Disconnect in order."""
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def n_heard(self) -> int:
        """Different records of the outbox heard: a repetition (QoS 1 may repeat) counts once.

        The empty message that clears an alert has no body to carry its number; MQTT 5 carries it beside, and with
        3.1.1 each one counts.
        """
        with self._lock:
            return len(self._sequences)

    def counts(self) -> Mapping[str, int]:
        """Return how many messages came, by the first part of the topic below the prefix."""
        with self._lock:
            return dict(self._counts)

    def open_alerts(self) -> Mapping[str, str]:
        """Return the state of every retained alert that is not closed, by identifier."""
        with self._lock:
            return dict(self._alert_states)

    def _on_connect(
        self,
        client: paho.Client,
        _userdata: object,
        _flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if not reason_code.is_failure:
            client.subscribe(f"{self._prefix}#", qos=1)

    def _on_subscribe(
        self,
        _client: paho.Client,
        _userdata: object,
        _mid: int,
        reason_codes: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        if not any(code.is_failure for code in reason_codes):
            self._is_subscribed.set()

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        path = message.topic.removeprefix(self._prefix)
        body = _decoded(message.payload)
        with self._lock:
            self._counts[path.split("/")[0]] += 1
            sequence = _sequence(message, body)
            if sequence is None and not message.payload:
                sequence = f"cleared-{self._counts['alert']}"
            if sequence is not None:
                self._sequences.add(sequence)
            if path.startswith("alert/") and path != "alert/log":
                self._note_alert(path.removeprefix("alert/"), body)

    def _note_alert(self, alert: str, body: Mapping[str, Json]) -> None:
        if body:
            self._alert_states[alert] = str(body.get("state"))
        else:  # an empty retained message: the alert is closed
            self._alert_states.pop(alert, None)


def _sequence(message: paho.MQTTMessage, body: Mapping[str, Json]) -> str | None:
    """Return the record's number in its outbox; None for what did not pass one, such as ``birth``."""
    pairs = getattr(message.properties, "UserProperty", ())  # paho has the attribute only where the message had one
    beside: dict[str, str] = dict(pairs)
    number = beside.get("seq", body.get("seq"))
    return None if number is None else str(number)


def _decoded(payload: bytes | bytearray) -> dict[str, Json]:
    """Return a JSON object; an empty one for anything else, such as the plain words of ``$state``."""
    try:
        body = json.loads(payload) if payload[:1] == b"{" else {}
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
