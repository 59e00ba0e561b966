"""Drains the outbox to the broker: alerts first, and a record leaves the disk only when the far end has it.

One task does everything in turn: acknowledgements, removals, reading ahead, sending, waiting.  The rules are in
`window`; here are the connection, the clock and the outbox.

Order at the start of a connection: ``$state`` online, birth, then the lanes.  Order of a stop: what is under way
gets a moment to be acknowledged, then ``$state`` stopped, then DISCONNECT; what is unacknowledged stays on disk.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import random
from collections.abc import Callable, Sequence

from edge.clock import Clock
from edge.errors import PublishError, PublishFault
from edge.outbox.record import Lane, Record, age_s
from edge.outbox.writer import OutboxWriter
from edge.publishing.mqtt import Acknowledged, Closed, Connected, Message, MqttConnection, MqttSettings, Protocol
from edge.publishing.payloads import Announcement, schema_of, seal
from edge.publishing.topics import Topics
from edge.publishing.uplink import ForwarderSettings, ForwarderStats
from edge.publishing.window import Outcome, Window, backoff_s, judge

__all__ = ["Forwarder", "ForwarderSettings", "ForwarderStats"]

_log = logging.getLogger(__name__)
_MAX_SETTLING = 2_000


class Forwarder:
    """The uplink of one gateway.

    Parameters
    ----------
    outbox : OutboxWriter
        Open; its commits wake the forwarder.
    mqtt : MqttSettings
        The broker.
    topics : Topics
        Where ``$state`` is.
    clock : Clock
        For back-off and ages.
    announcements : callable
        What to publish retained on every connect, the birth; called anew each time.
    settings : ForwarderSettings
        Patience and window.
    jitter : random.Random
        For the back-off; not for secrets.
    """

    def __init__(
        self,
        outbox: OutboxWriter,
        mqtt: MqttSettings,
        topics: Topics,
        clock: Clock,
        *,
        announcements: Callable[[], Sequence[Announcement]] = tuple,
        settings: ForwarderSettings | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        self._outbox = outbox
        self._mqtt = mqtt
        self._topics = topics
        self._clock = clock
        self._announcements = announcements
        self._settings = settings or ForwarderSettings()
        self._jitter = jitter or random.Random()
        self._window = Window(self._settings.window, self._jitter.random)
        self._protocol = Protocol.V5 if mqtt.protocol is Protocol.AUTO else mqtt.protocol
        self._wake = asyncio.Event()
        self._is_stopping = asyncio.Event()
        self._is_announcement_due = False
        self._announcing: collections.deque[Announcement] = collections.deque()
        self._link = Closed(reason="not started", fault=PublishFault.OTHER)
        self._is_connected = False
        self._is_overdue = False
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._settling: collections.deque[Record] = collections.deque()
        self._settle_timers: collections.deque[asyncio.TimerHandle] = collections.deque()
        self._on_change: Callable[[], None] | None = None
        self._counts: collections.Counter[str] = collections.Counter()
        self._refused: collections.Counter[str] = collections.Counter()

    async def run(self) -> None:
        """Forward until `stop`; a broker that is away or refuses is tried again for ever."""
        self._outbox.on_commit(self._news)
        n_failures = 0
        try:
            while not self._is_stopping.is_set():
                try:
                    connection, agreed = await self._connected()
                except PublishError as error:
                    self._note_failure(error)
                    if self._is_other_protocol_next(error):
                        continue
                    wait_s = self._backoff_s(n_failures)
                    n_failures += 1
                    await self._pause(wait_s, self._is_stopping)
                    continue
                try:
                    began_ns = self._clock.monotonic_ns()
                    await self._serve(connection, agreed)
                finally:
                    self._is_connected = False
                    self._forget_timers()
                    await connection.close(self._settings.stop_timeout_s)
                # A connection that did not last counts as a failure, lest a broker that drops us is hammered.
                is_lasting = self._clock.monotonic_ns() - began_ns > self._settings.reconnect_last_s * 1e9
                n_failures = 0 if is_lasting else n_failures + 1
                await self._pause(self._backoff_s(n_failures - 1) if n_failures else 0.0, self._is_stopping)
        finally:
            self._outbox.on_commit(None)

    def stop(self) -> None:
        """Ask `run` to end in order; it returns within a few `stop_timeout_s`."""
        self._is_stopping.set()
        self._wake.set()

    def announce(self) -> None:
        """Publish the announcements again, because what they say has changed; on the next connect they go anyway."""
        self._is_announcement_due = True
        self._wake.set()

    def on_change(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called in the event loop after acknowledgements and when the connection comes or goes."""
        self._on_change = callback

    def stats(self) -> ForwarderStats:
        """Return the uplink's figures."""
        return ForwarderStats(
            is_connected=self._is_connected,
            reason="" if self._is_connected else self._link.reason,
            fault=None if self._is_connected else self._link.fault,
            protocol=self._protocol.value if self._is_connected else None,
            delivery=self._settings.delivery,
            n_sent=self._counts["sent"],
            n_acknowledged=self._counts["acknowledged"],
            n_unheard=self._counts["unheard"],
            n_nobody=self._counts["nobody"],
            n_refused=dict(self._refused),
            n_in_flight=self._window.n_in_flight if self._is_connected else 0,
            n_settling=len(self._settling),
            n_paused=self._window.n_paused,
            n_connects=self._counts["connects"],
            n_failed_connects=self._counts["failed-connects"],
        )

    async def _connected(self) -> tuple[MqttConnection, Connected]:
        will = Message(topic=self._topics.state, payload=b"offline", is_retained=True)
        connection = MqttConnection(self._mqtt, self._protocol, will, self._wake.set)
        try:
            agreed = await connection.open()
        except BaseException:
            connection.abandon()
            raise
        self._counts["connects"] += 1
        self._is_connected = True
        self._changed()
        _log.info("mqtt.connected host=%s port=%d protocol=%s", self._mqtt.host, self._mqtt.port, agreed.protocol)
        return connection, agreed

    async def _serve(self, connection: MqttConnection, agreed: Connected) -> None:
        """Forward until the connection ends or a stop is asked for."""
        self._window.begin(agreed.receive_maximum)
        self._announcing = collections.deque([self._state_of(b"online")])
        self._is_announcement_due = True
        while not self._is_stopping.is_set():
            self._wake.clear()  # before looking, so that nothing that happens meanwhile is missed
            if not self._handle(connection):
                return
            if self._is_announcement_due:
                self._is_announcement_due = False
                self._announcing.extend(self._announcements())
            self._announce(connection)
            await self._read_ahead()
            if not self._announcing:  # who we are comes before what we have to say
                self._send(connection)
            await self._until_news()
        await self._end_in_order(connection)

    def _state_of(self, state: bytes) -> Announcement:
        return Announcement(topic=self._topics.state, body=state)

    def _announce(self, connection: MqttConnection) -> None:
        while self._announcing and not self._window.is_full:
            message = self._announcing.popleft()
            self._publish(connection, Message(topic=message.topic, payload=message.body, is_retained=True), None)

    def _handle(self, connection: MqttConnection) -> bool:
        """Draw the consequences of what the broker said; return whether the connection still stands."""
        delivered: list[Record] = []
        is_open = True
        for event in connection.take():
            if isinstance(event, Acknowledged):
                if (timer := self._timers.pop(event.packet_id, None)) is not None:
                    timer.cancel()
                delivered += self._settled(event)
            elif isinstance(event, Closed):
                self._link = event
                is_open = False
        if is_open and self._is_overdue:
            self._link = Closed(reason="the broker does not acknowledge", fault=PublishFault.UNREACHABLE)
            is_open = False
        if not is_open:
            _log.warning("mqtt.disconnected reason=%s", self._link.reason)
        if delivered:
            self._settle_later(delivered)
        self._changed()
        return is_open

    def _settle_later(self, delivered: list[Record]) -> None:
        """Have the records removed when the connection has outlived their acknowledgement."""
        self._settling.extend(delivered)
        self._settle(len(self._settling) - _MAX_SETTLING)
        if self._settings.settle_s:
            loop = asyncio.get_running_loop()
            self._settle_timers.append(loop.call_later(self._settings.settle_s, self._settle_next, len(delivered)))
            return
        self._settle(len(delivered))

    def _settle_next(self, n_records: int) -> None:
        self._settle_timers.popleft()
        self._settle(n_records)
        self._changed()

    def _settle(self, n_records: int) -> None:
        """Remove the oldest `n_records` that were acknowledged, or what is left of them."""
        settled = [self._settling.popleft() for _ in range(min(n_records, len(self._settling)))]
        self._window.forget(settled)
        self._outbox.remove(settled)

    def _settled(self, event: Acknowledged) -> list[Record]:
        """Return the record that may be removed now, if any."""
        record = self._window.record_of(event.packet_id)
        now_ns = self._clock.monotonic_ns()
        if record is None:
            self._window.settle(event.packet_id, Outcome.DELIVERED, now_ns)
            if event.reason_code >= 0x80:
                self._refused[f"0x{event.reason_code:02x}"] += 1
                _log.warning("mqtt.announcement_refused code=0x%02x", event.reason_code)
            return []
        is_expired = record.expiry_s is not None and self._age_s(record) >= record.expiry_s
        outcome = judge(record, event.reason_code, is_expired=is_expired, rule=self._settings.delivery)
        self._window.settle(event.packet_id, outcome, now_ns)
        match outcome:
            case Outcome.DELIVERED:
                self._counts["acknowledged"] += 1
            case Outcome.UNHEARD | Outcome.NOBODY:
                self._counts[outcome] += 1
            case Outcome.REFUSED:
                self._refused[f"0x{event.reason_code:02x}"] += 1
                _log.warning("mqtt.refused topic=%s code=0x%02x", record.topic, event.reason_code)
        return [record] if outcome in {Outcome.DELIVERED, Outcome.UNHEARD} else []

    async def _read_ahead(self) -> None:
        for lane in Lane:
            after_sequence = self._window.wanted(lane)
            if after_sequence is not None:
                self._window.absorb(lane, await self._outbox.pending(lane, after_sequence, self._window.n_ready))

    def _send(self, connection: MqttConnection) -> None:
        while (record := self._window.next(self._clock.monotonic_ns())) is not None:
            self._publish(connection, self._message(record), record)
            self._counts["sent"] += 1

    def _publish(self, connection: MqttConnection, message: Message, record: Record | None) -> None:
        packet_id = connection.publish(message)
        self._window.sent(packet_id, record)
        loop = asyncio.get_running_loop()
        self._timers[packet_id] = loop.call_later(self._settings.ack_timeout_s, self._overdue)

    def _overdue(self) -> None:
        self._is_overdue = True
        self._wake.set()

    def _forget_timers(self) -> None:
        for timer in (*self._timers.values(), *self._settle_timers):
            timer.cancel()
        self._timers.clear()
        self._settle_timers.clear()
        self._settling.clear()  # what the connection did not outlive goes again
        self._is_overdue = False

    def _message(self, record: Record) -> Message:
        record_age_s = self._age_s(record)
        is_expired = record.expiry_s is not None and record_age_s >= record.expiry_s
        is_history = is_expired or record_age_s > self._settings.hist_after_s
        # History must not expire on its way: it is marked, and the one who reads it wants it all.
        expiry_s = None if record.expiry_s is None or is_history else record.expiry_s - record_age_s
        return Message(
            topic=record.topic,
            payload=seal(
                record,
                gateway=self._topics.gateway,
                published_ns=self._clock.wall_ns(),
                is_history=is_history,
            ),
            qos=record.qos,
            is_retained=record.is_retained,
            expiry_s=expiry_s,
            user_properties={
                "schema": schema_of(record),
                "boot": f"b-{record.stamp.boot}",
                "seq": str(record.sequence),
                "hist": str(is_history).lower(),
            },
        )

    def _age_s(self, record: Record) -> float:
        return age_s(record.stamp, self._outbox.stamp())

    async def _end_in_order(self, connection: MqttConnection) -> None:
        """Wait a moment for what is under way, say ``stopped``, and wait for that too."""
        await self._until_settled(connection)
        self._link = Closed(reason="stopped", fault=PublishFault.OTHER)
        if self._window.is_full:  # one message more than allowed would be our fault; let the last will speak
            connection.abandon()
            return
        self._announcing = collections.deque([self._state_of(b"stopped")])
        self._announce(connection)
        await self._until_settled(connection)
        if not self._window.n_in_flight:  # the broker has answered all that came after
            self._settle(len(self._settling))

    async def _until_settled(self, connection: MqttConnection) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.stop_timeout_s):
                while self._handle(connection) and self._window.n_in_flight:
                    self._wake.clear()
                    await self._wake.wait()

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def _news(self) -> None:
        self._window.news()
        self._wake.set()

    async def _until_news(self) -> None:
        retry_ns = self._window.next_retry_ns()
        if retry_ns is None:
            await self._wake.wait()
        else:
            await self._pause((retry_ns - self._clock.monotonic_ns()) / 1e9, self._wake)

    async def _pause(self, duration_s: float, interruption: asyncio.Event) -> None:
        """Return after `duration_s` of the given clock, or when `interruption` is set."""
        if interruption.is_set():
            return
        sleeper = asyncio.create_task(self._clock.sleep(max(0.0, duration_s)), name="forwarder-pause")
        waker = asyncio.create_task(interruption.wait(), name="forwarder-wake")
        try:
            await asyncio.wait({sleeper, waker}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            waker.cancel()

    def _backoff_s(self, n_failures: int) -> float:
        settings = self._settings
        return backoff_s(n_failures, settings.reconnect_first_s, settings.reconnect_last_s, self._jitter.random())

    def _note_failure(self, error: PublishError) -> None:
        self._counts["failed-connects"] += 1
        self._link = Closed(reason=str(error), fault=error.reason)
        _log.warning("mqtt.unavailable reason=%s error=%s", error.reason, error)
        self._changed()

    def _is_other_protocol_next(self, error: PublishError) -> bool:
        """Choose the version of the next attempt; return whether to make it at once.

        3.1.1 is tried once after a broker did not understand 5; if that fails for whatever reason, 5 is next again:
        a broker that died during the handshake looks as if it had not understood.
        """
        if self._mqtt.protocol is not Protocol.AUTO:
            return False
        is_other = self._protocol is Protocol.V5 and error.reason is PublishFault.PROTOCOL
        self._protocol = Protocol.V311 if is_other else Protocol.V5
        return is_other
