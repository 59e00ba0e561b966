"""A care centre as anybody would write it: plain paho, a persistent session, nothing of ours."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


class Subscriber:
    """What has arrived, in the order of arrival."""

    def __init__(self):
        self.messages: list[tuple[str, bytes, bool]] = []
        self.n_subscribed = 0
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def distinct(self, topic_end):
        """Bodies on topics with this end, repetitions left out by identifier."""
        found = {}
        for topic, payload, _ in self.messages:
            if topic.endswith(topic_end) and payload:
                body = json.loads(payload)
                found.setdefault(body["id"], body)
        return list(found.values())

    def states(self):
        """What ``$state`` said, in order."""
        return [payload.decode() for topic, payload, _ in self.messages if topic.endswith("/$state")]

    async def until(self, condition, timeout_s=30.0):
        """Return when `condition()` holds; looked at after every message and subscription."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def _on_message(self, client, userdata, message):
        self._loop.call_soon_threadsafe(self._take, (message.topic, bytes(message.payload), message.retain))

    def _take(self, message):
        self.messages.append(message)
        self._news.set()

    def _on_connect(self, client, userdata, flags, reason_code, properties):
        client.subscribe("vitaledge/v1/#", qos=1)

    def _on_subscribe(self, client, userdata, mid, reason_codes, properties):
        self._loop.call_soon_threadsafe(self._count)

    def _count(self):
        self.n_subscribed += 1
        self._news.set()


@asynccontextmanager
async def subscriber(port, client_id="care-centre", *, is_v5=True):
    """Subscribe to everything with a session that outlives the connection, and the broker if it can."""
    found = Subscriber()
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=paho.MQTTv5 if is_v5 else paho.MQTTv311,
        clean_session=None if is_v5 else False,
    )
    client.on_message = found._on_message
    client.on_connect = found._on_connect
    client.on_subscribe = found._on_subscribe
    client.reconnect_delay_set(min_delay=1, max_delay=1)
    if is_v5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        client.connect("127.0.0.1", port, clean_start=False, properties=properties)
    else:
        client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        await found.until(lambda: found.n_subscribed == 1)
        yield found
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
