"""A care centre of plain paho: one subscription, everything it heard, and whether that is what the contract says."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import jsonschema
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.publishing.schemas import STATES, all_schemas, schema_name, strict

TOPIC = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)*(/\$state)?")
RETAINED = re.compile(r"(\$state|birth|alert/(?!log$)[^/]+|sensor/[^/]+/status)")
"""What the contract has retained, below the gateway's prefix."""
PREFIX_PARTS = 4
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Heard:
    """One message as it came off the wire."""

    topic: str
    payload: bytes
    qos: int
    is_retained: bool
    expiry_s: int | None
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The topic below ``{root}/v1/{site}/{gateway}/``."""
        return "/".join(self.topic.split("/")[PREFIX_PARTS:])

    @cached_property
    def body(self) -> dict:
        """The JSON object; empty for ``$state`` and for what clears a retained message."""
        return json.loads(self.payload) if self.payload[:1] == b"{" else {}

    @property
    def sequence(self) -> int | None:
        """Number in the outbox, from the user properties: an empty message has it too."""
        return int(self.properties["seq"]) if "seq" in self.properties else None


class CareCentre:
    """Hears everything, with a session that the broker keeps while the subscriber or the broker is away."""

    def __init__(self, port: int, client_id: str = "care-centre", username: str | None = None) -> None:
        self._port = port
        self._messages: list[Heard] = []
        self._changed = threading.Condition()
        self._is_subscribed = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5
        )
        if username is not None:
            self._client.username_pw_set(username, "right")
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._is_subscribed.set()
        self._client.on_message = self._on_message

    def __enter__(self) -> Self:
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        session.ReceiveMaximum = 65_535
        self._client.connect("127.0.0.1", self._port, keepalive=15, clean_start=False, properties=session)
        self._client.loop_start()
        assert self._is_subscribed.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def messages(self, path: str = "") -> list[Heard]:
        """Return what came so far, in order; `path` is the start of the topic below the prefix."""
        with self._changed:
            return [message for message in self._messages if message.path.startswith(path)]

    def wait_for(self, is_it: Callable[[Heard], bool], timeout_s: float = PATIENCE_S) -> Heard:
        """Return the first message, heard already or still to come, of which `is_it` is true."""
        n_seen = 0
        with self._changed:
            while True:
                for message in self._messages[n_seen:]:
                    if is_it(message):
                        return message
                n_seen = len(self._messages)
                if not self._changed.wait(timeout_s):
                    paths = sorted({message.path for message in self._messages})
                    raise AssertionError(f"not heard; last was {self._messages[-1:]}, in all {paths}")

    def wait_until(self, are_they: Callable[[list[Heard]], bool], timeout_s: float = PATIENCE_S) -> None:
        """Return once `are_they` is true of everything heard."""
        with self._changed:
            assert self._changed.wait_for(lambda: are_they(self._messages), timeout_s), self._messages[-1:]

    def retained(self) -> dict[str, bytes]:
        """Return what the broker would give a newcomer, worked out from what was heard."""
        kept: dict[str, bytes] = {}
        for message in self.messages():
            if message.is_retained:
                kept[message.path] = message.payload
        return {path: payload for path, payload in kept.items() if payload}

    def sequences(self, epoch: str | None = None) -> set[int]:
        """Return the outbox numbers heard, repetitions once."""
        return {
            message.sequence
            for message in self.messages()
            if message.sequence is not None and (epoch is None or message.body.get("epoch", epoch) == epoch)
        }

    def _on_connect(self, client, _userdata, _flags, reason_code, _properties) -> None:
        if not reason_code.is_failure:
            # Retain as published: what is not retained could not be told from what is, otherwise.
            client.subscribe("vitaledge/v1/#", options=SubscribeOptions(qos=1, retainAsPublished=True))

    def _on_message(self, _client, _userdata, message: paho.MQTTMessage) -> None:
        properties = message.properties
        heard = Heard(
            topic=message.topic,
            payload=bytes(message.payload),
            qos=message.qos,
            is_retained=message.retain,
            expiry_s=getattr(properties, "MessageExpiryInterval", None),
            properties=dict(getattr(properties, "UserProperty", [])),
        )
        with self._changed:
            self._messages.append(heard)
            self._changed.notify_all()


class Contract:
    """The published contract, applied to one message at a time."""

    def __init__(self) -> None:
        self._validators = {
            name: jsonschema.Draft202012Validator(
                strict(schema), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
            )
            for name, schema in all_schemas().items()
        }

    def faults(self, message: Heard) -> list[str]:
        """Return everything about `message` that is not as the contract says."""
        faults = [] if TOPIC.fullmatch(message.topic) else [f"letters of {message.topic}"]
        if message.qos != 1:
            faults.append(f"{message.path}: QoS {message.qos}")
        if message.is_retained != bool(RETAINED.fullmatch(message.path)):
            faults.append(f"{message.path}: retained is {message.is_retained}")
        if message.path == "$state":
            return faults if message.payload.decode() in STATES else [*faults, f"$state {message.payload!r}"]
        if not message.payload:
            is_alert = message.path.startswith("alert/") and message.path != "alert/log"
            return faults if is_alert else [*faults, f"{message.path}: empty"]
        return faults + self._body_faults(message)

    def _body_faults(self, message: Heard) -> list[str]:
        body = message.body
        validator = self._validators[schema_name(body["schema"])]
        faults = [f"{message.path}: {error.json_path}: {error.message}" for error in validator.iter_errors(body)]
        if message.path != "birth":
            mirror = {
                "schema": body["schema"],
                "boot": f"b-{body['boot'].removeprefix('b-')}",
                "seq": str(body["seq"]),
                "hist": str(body["hist"]).lower(),
            }
            if message.properties != mirror:
                faults.append(f"{message.path}: properties {message.properties}, body says {mirror}")
        if body["subject"] is not None and body["subject"] in message.topic:
            faults.append(f"{message.topic}: names the person")
        return faults
