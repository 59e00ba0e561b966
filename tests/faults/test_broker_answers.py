"""A broker that refuses, disconnects, stays silent or talks nonsense: nothing is lost and health knows why."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket

import pytest

from edge.errors import PublishFault
from edge.outbox.record import Lane
from edge.publishing.forwarder import ForwarderSettings
from edge.publishing.mqtt import MqttSettings, Protocol
from tests.fakes.contract import GAP, MEASUREMENT, alert, summary, validated
from tests.fakes.scripted_broker import CLOSE, GARBAGE, ScriptedBroker
from tests.fakes.uplink import uplink

LOG = "/alert/log"
SUMMARY = "/summary/1m"


def mqtt(broker, **changes):
    fields = {"port": broker.port, "client_id": "gw-7f3a", "protocol": Protocol.V5, "connect_timeout_s": 5.0}
    return MqttSettings(**(fields | changes))


def run(story):
    return asyncio.run(asyncio.wait_for(story, 60))


def ids(broker, topic_end):
    """Identifiers of the distinct messages on a topic, in the order of their first sending."""
    return list(dict.fromkeys(json.loads(payload)["id"] for payload in broker.payloads(topic_end)))


def test_everything_is_published_valid_and_then_gone(tmp_path):
    """Presence, birth, then the lanes; each message passes its schema; after the PUBACK nothing is left on disk."""

    async def story():
        async with ScriptedBroker() as broker, uplink(tmp_path / "o.db", mqtt(broker)) as up:
            await up.outbox.append(*up.encoder.alert(alert()))
            await up.outbox.append(up.encoder.summary(summary()))
            up.outbox.offer(up.encoder.measurement("heart_rate_bpm", MEASUREMENT, 0))
            await broker.until(lambda: len(broker.published) == 6)
            await up.stopped()
            return broker, await up.depth(), up.forwarder.stats()

    broker, depth, stats = run(story())

    assert [message.topic.removeprefix("vitaledge/v1/north/gw-7f3a/") for message in broker.published] == [
        "$state",
        "birth",
        "alert/asystole-1",
        "alert/log",
        "summary/1m",
        "reading/heart-rate",
        "$state",
    ]
    assert [broker.published[k].payload for k in (0, -1)] == [b"online", b"stopped"]
    bodies = [validated(message.payload) for message in broker.published[1:-1]]
    assert [body["seq"] for body in bodies[1:]] == sorted(body["seq"] for body in bodies[1:])
    assert all(message.qos == 1 for message in broker.published)
    assert depth == 0
    assert (stats.n_acknowledged, stats.is_connected, stats.reason) == (4, False, "stopped")


def test_a_stop_says_goodbye_so_that_no_last_will_is_sent(tmp_path):
    async def story():
        async with ScriptedBroker() as broker, uplink(tmp_path / "o.db", mqtt(broker)) as up:
            await broker.until(lambda: broker.published)
            await up.stopped()
            await broker.until(lambda: broker.n_goodbyes == 1)
            return broker

    broker = run(story())

    assert broker.published[-1].payload == b"stopped"
    (connect,) = broker.connects
    assert connect.will == ("vitaledge/v1/north/gw-7f3a/$state", b"offline")
    assert connect.properties["will_delay_s"] == 5


def test_version_5_properties_mirror_the_body(tmp_path):
    async def story():
        async with ScriptedBroker() as broker, uplink(tmp_path / "o.db", mqtt(broker)) as up:
            up.outbox.offer(up.encoder.measurement("heart_rate_bpm", MEASUREMENT, 0))
            await broker.until(lambda: len(broker.published) == 3)
            return broker.published[-1]

    message = run(story())

    body = validated(message.payload)
    assert message.properties["expiry_s"] == 15
    assert message.properties["content_type"] == "application/json"
    assert message.properties["user"] == {
        "schema": "reading/1",
        "boot": body["boot"],
        "seq": str(body["seq"]),
        "hist": "false",
    }


def test_a_late_message_is_history_and_does_not_expire(tmp_path):
    """After an outage the values still come, marked, so that nobody alarms on them; they are the same messages."""

    async def story():
        async with ScriptedBroker() as broker, uplink(tmp_path / "o.db", mqtt(broker)) as up:
            broker.answer = lambda message: None if "/reading/" in message.topic else 0
            up.outbox.offer(up.encoder.measurement("heart_rate_bpm", MEASUREMENT, 0))
            await broker.until(lambda: len(broker.published) == 3)
            up.clock.advance(16)  # beyond the validity of a reading
            broker.hang_up()
            await broker.until(lambda: len(broker.published) == 6)
            return broker.published[2], broker.published[5]

    timely, late = run(story())

    assert (timely.properties["user"]["hist"], late.properties["user"]["hist"]) == ("false", "true")
    assert (timely.properties.get("expiry_s"), late.properties.get("expiry_s")) == (15, None)
    before, after = validated(timely.payload), validated(late.payload)
    assert after["hist"] is True
    assert {key for key in before if before[key] != after[key]} == {"hist", "published_at"}


@pytest.mark.parametrize("code", [0x87, 0x97, 0x80])
def test_a_refused_alert_is_kept_and_tried_until_it_is_taken(tmp_path, code):
    """Not authorised, quota exceeded, unspecified: the row stays, health counts, everything else goes on."""

    async def story():
        async with ScriptedBroker() as broker, uplink(tmp_path / "o.db", mqtt(broker)) as up:
            broker.answer = lambda message: code if message.topic.endswith(LOG) else 0
            await up.outbox.append(*up.encoder.alert(alert()))
            await up.outbox.append(up.encoder.summary(summary()))
            await broker.until(lambda: len(broker.payloads(LOG)) >= 4 and broker.payloads(SUMMARY))
            refused = up.forwarder.stats()
            kept = (await up.outbox.pending(Lane.ALERT, 0, 10)).records
            broker.answer = lambda _: 0
            await up.until(lambda stats: stats.n_acknowledged == 3)
            return broker, refused, kept, await up.depth()

    broker, refused, kept, depth = run(story())

    assert refused.n_refused[f"0x{code:02x}"] >= 3
    assert refused.n_paused == 1
    assert [record.topic.endswith(LOG) for record in kept] == [True]
    assert len(ids(broker, LOG)) == 1
    assert depth == 0


def test_an_alert_that_nobody_heard_is_kept_and_tried_until_somebody_does(tmp_path):
    """0x10 is a success code; for an alert, a summary or a gap it is none."""
    heard = []

    async def story():
        async with ScriptedBroker() as broker, uplink(tmp_path / "o.db", mqtt(broker)) as up:
            broker.answer = lambda message: 0 if heard else 0x10
            await up.outbox.append(*up.encoder.alert(alert()))
            await up.outbox.append(up.encoder.summary(summary()))
            await up.outbox.append(up.encoder.gap(GAP))
            await broker.until(lambda: min(len(broker.payloads(end)) for end in (LOG, SUMMARY, "/gap")) >= 3)
            unheard = up.forwarder.stats()
            kept = [
                record.topic.rsplit("/", 2)[-1]
                for lane in (Lane.ALERT, Lane.SUMMARY)
                for record in (await up.outbox.pending(lane, 0, 10)).records
            ]
            heard.append(True)
            await up.until(lambda stats: stats.n_acknowledged == 4)
            return broker, unheard, kept, await up.depth()

    broker, unheard, kept, depth = run(story())

    assert kept == ["log", "1m", "gap"]  # the retained state is with the broker, for whoever comes later
    assert unheard.n_nobody >= 6
    assert depth == 0
    assert [len(ids(broker, end)) for end in (LOG, SUMMARY, "/gap")] == [1, 1, 1]


def test_a_reading_that_nobody_wanted_goes_when_it_has_expired(tmp_path):
    """Without a subscriber the readings do not pile up; they are counted."""

    async def story():
        async with ScriptedBroker() as broker, uplink(tmp_path / "o.db", mqtt(broker)) as up:
            broker.answer = lambda message: 0x10 if "/reading/" in message.topic else 0
            for k in range(20):
                up.outbox.offer(up.encoder.measurement("heart_rate_bpm", MEASUREMENT, k))
            await up.until(lambda stats: stats.n_unheard == 20)
            return await up.depth(), up.forwarder.stats()

    depth, stats = run(story())

    assert depth == 0
    assert stats.n_acknowledged == 0


def test_a_disconnect_in_the_middle_of_a_window_loses_nothing(tmp_path):
    """The broker hangs up again and again after a few messages; in the end it has every one, unchanged."""
    counter = itertools.count(1)

    async def story():
        async with ScriptedBroker() as broker, uplink(tmp_path / "o.db", mqtt(broker)) as up:
            broker.answer = lambda _: CLOSE if next(counter) % 13 == 0 else 0
            for k in range(60):
                await up.outbox.append(*up.encoder.alert(alert(k)))
            await up.until(lambda stats: stats.n_acknowledged == 120, timeout_s=40)
            return broker, await up.depth(), up.forwarder.stats()

    broker, depth, stats = run(story())

    assert depth == 0
    assert [json.loads(p)["alert_id"] for p in first_of_each(broker.payloads(LOG))] == [
        f"asystole-{k}" for k in range(60)
    ]
    assert stats.n_connects > 5
    # A reconnect repeats what was under way, never the whole backlog.
    assert len(broker.published) <= 120 + stats.n_connects * (20 + 2)


def first_of_each(payloads):
    return list({json.loads(payload)["id"]: payload for payload in payloads}.values())


def test_the_brokers_receive_maximum_is_honoured(tmp_path):
    """Five allowed: never a sixth unacknowledged on the wire, also right after a reconnect with a backlog."""

    async def story():
        async with (
            ScriptedBroker(receive_maximum=5, answer=lambda _: None) as broker,
            uplink(tmp_path / "o.db", mqtt(broker)) as up,
        ):
            for k in range(50):
                await up.outbox.append(*up.encoder.alert(alert(k)))
            await broker.until(lambda: len(broker.published) >= 5)
            broker.hang_up()
            await broker.until(lambda: len(broker.connects) == 2 and len(broker.published) >= 10)
            broker.answer = lambda _: 0
            broker.release()
            await up.until(lambda stats: stats.n_acknowledged == 100)
            return broker.peak_unacknowledged

    assert run(story()) == 5


def test_a_broker_that_allows_a_single_message_gets_them_one_by_one(tmp_path):
    """Presence and birth count as well."""

    async def story():
        async with (
            ScriptedBroker(receive_maximum=1) as broker,
            uplink(tmp_path / "o.db", mqtt(broker)) as up,
        ):
            await up.outbox.append(*up.encoder.alert(alert()))
            up.outbox.offer(up.encoder.measurement("heart_rate_bpm", MEASUREMENT, 0))
            await up.until(lambda stats: stats.n_acknowledged == 3)
            return broker

    broker = run(story())

    assert broker.peak_unacknowledged == 1
    assert [message.topic.rsplit("/", 1)[-1] for message in broker.published[:3]] == ["$state", "birth", "asystole-1"]


@pytest.mark.parametrize(
    ("protocol", "code"),
    [(Protocol.V5, 0x86), (Protocol.V5, 0x87), (Protocol.V311, 4), (Protocol.V311, 5)],
)
def test_refused_credentials_are_named_and_tried_again_slowly(tmp_path, protocol, code):
    """Refused is not connected; the reason is in the figures; when the broker's list is mended all arrives."""

    async def story():
        async with (
            ScriptedBroker(connack=lambda _: code) as broker,
            uplink(tmp_path / "o.db", mqtt(broker, protocol=protocol)) as up,
        ):
            await up.outbox.append(up.encoder.summary(summary()))
            await broker.until(lambda: len(broker.connects) >= 5)
            refused = up.forwarder.stats()
            waits_s = list(up.clock.slept_s)
            broker.connack = lambda _: 0
            await broker.until(lambda: broker.payloads(SUMMARY))
            return refused, waits_s

    refused, waits_s = run(story())

    assert refused.is_connected is False
    assert refused.fault is PublishFault.CREDENTIALS
    assert refused.n_sent == 0
    assert all(0 < wait_s <= 2.0**k for k, wait_s in enumerate(waits_s[:4]))


def test_a_broker_that_speaks_only_3_1_1_is_understood(tmp_path):
    """Its refusal of version 5 looks like none of version 5's own."""

    async def story():
        async with (
            ScriptedBroker(levels=(4,)) as broker,
            uplink(tmp_path / "o.db", mqtt(broker, protocol=Protocol.AUTO)) as up,
        ):
            await up.outbox.append(up.encoder.summary(summary()))
            await broker.until(lambda: broker.payloads(SUMMARY))
            return broker, up.forwarder.stats(), up.clock.slept_s

    broker, stats, slept_s = run(story())

    assert [connect.level for connect in broker.connects] == [5, 4]
    assert stats.protocol == "3.1.1"
    assert slept_s == []
    validated(broker.payloads(SUMMARY)[0])


def test_a_broker_that_hangs_up_on_version_5_is_tried_with_3_1_1(tmp_path):
    async def story():
        async with (
            ScriptedBroker(connack=lambda connect: CLOSE if connect.level == 5 else 0) as broker,
            uplink(tmp_path / "o.db", mqtt(broker, protocol=Protocol.AUTO)) as up,
        ):
            await up.outbox.append(up.encoder.summary(summary()))
            await broker.until(lambda: broker.payloads(SUMMARY))
            return [connect.level for connect in broker.connects]

    assert run(story()) == [5, 4]


def test_a_broker_that_died_during_the_handshake_is_asked_for_version_5_again(tmp_path):
    """It looked as if it did not understand; without version 5 its refusals would not be seen any more."""
    answers = iter([CLOSE, CLOSE])

    async def story():
        async with (
            ScriptedBroker(connack=lambda _: next(answers, 0)) as broker,
            uplink(tmp_path / "o.db", mqtt(broker, protocol=Protocol.AUTO)) as up,
        ):
            await up.until(lambda stats: stats.is_connected)
            return [connect.level for connect in broker.connects]

    assert run(story()) == [5, 4, 5]


def test_a_broker_that_never_answers_the_connect_is_unreachable(tmp_path):
    async def story():
        async with (
            ScriptedBroker(connack=lambda _: None) as broker,
            uplink(tmp_path / "o.db", mqtt(broker, connect_timeout_s=0.1)) as up,
        ):
            await broker.until(lambda: len(broker.connects) >= 2)
            return up.forwarder.stats()

    stats = run(story())

    assert stats.fault is PublishFault.UNREACHABLE
    assert stats.is_connected is False


def test_a_peer_that_falls_silent_is_noticed_by_the_keepalive(tmp_path):
    """A half-open connection: the peer takes everything and answers nothing, not even a ping."""

    async def story():
        async with ScriptedBroker() as broker, uplink(tmp_path / "o.db", mqtt(broker, keepalive_s=1)) as up:
            await broker.until(lambda: len(broker.published) == 2)
            broker.mute()
            await up.outbox.append(up.encoder.summary(summary()))
            await broker.until(lambda: len(broker.connects) == 2, timeout_s=20)
            broker.unmute()
            await up.until(lambda stats: stats.n_acknowledged == 1, timeout_s=20)
            return ids(broker, SUMMARY)

    assert len(run(story())) == 1


def test_what_the_connection_did_not_outlive_goes_again(tmp_path):
    """A broker that dies just after its acknowledgement may have lost the message; a repetition costs nothing."""

    async def story():
        settings = ForwarderSettings(settle_s=60.0, stop_timeout_s=1.0)
        async with (
            ScriptedBroker() as broker,
            uplink(tmp_path / "o.db", mqtt(broker), settings=settings) as up,
        ):
            await up.outbox.append(up.encoder.summary(summary()))
            await up.until(lambda stats: stats.n_acknowledged == 1 and stats.n_settling == 1)
            kept = await up.depth()
            broker.hang_up()
            await up.until(lambda stats: stats.n_acknowledged == 2)
            await up.stopped()  # an ordered stop on a living connection settles everything
            return broker, kept, await up.depth()

    broker, kept, depth = run(story())

    assert (kept, depth) == (1, 0)
    assert (len(broker.payloads(SUMMARY)), len(ids(broker, SUMMARY))) == (2, 1)


def test_acknowledged_records_leave_when_the_connection_has_outlived_them(tmp_path):
    async def story():
        settings = ForwarderSettings(settle_s=0.05, stop_timeout_s=1.0)
        async with (
            ScriptedBroker() as broker,
            uplink(tmp_path / "o.db", mqtt(broker), settings=settings) as up,
        ):
            await up.outbox.append(up.encoder.summary(summary()))
            await up.until(lambda stats: stats.n_acknowledged == 1 and stats.n_settling == 0)
            return await up.depth()

    assert run(story()) == 0


def test_nonsense_from_the_broker_costs_the_connection_and_nothing_else(tmp_path):
    """The network thread meets a packet that is none; a new connection delivers what was under way."""
    answers = iter([0, 0, GARBAGE])

    async def story():
        async with (
            ScriptedBroker(answer=lambda _: next(answers, 0)) as broker,
            uplink(tmp_path / "o.db", mqtt(broker)) as up,
        ):
            await up.outbox.append(up.encoder.summary(summary()))
            await up.until(lambda stats: stats.n_acknowledged == 1)
            return len(broker.connects), len(broker.payloads(SUMMARY)), ids(broker, SUMMARY)

    n_connects, n_sent, distinct = run(story())

    assert n_connects == 2
    assert (n_sent, len(distinct)) == (2, 1)


def test_an_acknowledgement_that_never_comes_does_not_hold_a_message_for_ever(tmp_path):
    """The broker answers pings and everything else, but not this message; a new connection delivers it."""
    forgotten = []

    def forget_one(message):
        if message.topic.endswith(SUMMARY) and not forgotten:
            forgotten.append(message)
            return None
        return 0

    async def story():
        settings = ForwarderSettings(ack_timeout_s=0.3, stop_timeout_s=1.0, settle_s=0.0)
        async with (
            ScriptedBroker(answer=forget_one) as broker,
            uplink(tmp_path / "o.db", mqtt(broker), settings=settings) as up,
        ):
            await up.outbox.append(up.encoder.summary(summary()))
            await up.until(lambda stats: stats.n_acknowledged == 1)
            return len(broker.connects), ids(broker, SUMMARY)

    n_connects, distinct = run(story())

    assert n_connects == 2
    assert len(distinct) == 1


def test_a_stop_does_not_wait_for_ever_for_acknowledgements(tmp_path):
    """The broker takes and never answers; the stop ends all the same and everything stays on disk."""

    async def story():
        async with ScriptedBroker(answer=lambda _: None) as broker:
            settings = ForwarderSettings(stop_timeout_s=0.2, settle_s=0.0)
            async with uplink(tmp_path / "o.db", mqtt(broker), settings=settings) as up:
                for k in range(30):
                    await up.outbox.append(*up.encoder.alert(alert(k)))
                await broker.until(lambda: len(broker.published) >= 20)
                await up.stopped()
                return await up.depth(), broker

    depth, broker = run(story())

    assert depth == 60
    assert broker.peak_unacknowledged == 20
    assert broker.n_goodbyes == 0  # "stopped" was one message too many, so the last will has to say it


def test_no_broker_at_all_keeps_everything_and_says_why(tmp_path):
    async def story():
        async with uplink(tmp_path / "o.db", MqttSettings(port=free_port())) as up:
            await up.outbox.append(*up.encoder.alert(alert()))
            await up.until(lambda stats: stats.n_failed_connects >= 8)
            return up.forwarder.stats(), up.clock.slept_s, await up.depth()

    stats, slept_s, depth = run(story())

    assert stats.fault is PublishFault.UNREACHABLE
    assert "refused" in stats.reason.lower()
    assert depth == 2
    assert all(0 < wait_s <= min(60, 2.0**k) for k, wait_s in enumerate(slept_s))


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
