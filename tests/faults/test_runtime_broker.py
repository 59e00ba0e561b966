"""The broker is killed under a running gateway, refuses it, or has nobody to hear: nothing important is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
from collections import Counter

import pytest

from edge.config_sections import Mqtt, SecretReference
from edge.errors import PublishFault
from edge.messages import Alert, AlertState, Summary
from edge.publishing.broker import _program
from tests.fakes.bedside import bedside, config, fault, mosquitto, running_broker, step, story
from tests.fakes.care_centre import CareCentre

OUTAGE_S = 60
SPEED = 20
NIGHT = story(step(40, "asystole"), step(60, "sinus", 72), fault("lead-off", 70, 15))


def begun(condition: str):
    return lambda finding: (
        isinstance(finding, Alert) and finding.condition.startswith(condition) and finding.state is AlertState.RAISED
    )


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    """A broker that hangs as an asystole is raised and is then killed, away for a minute of the story, and back.

    It hangs first so that alerts are under way: sent and not acknowledged.  Who forgets on sending loses those.
    """
    folder = tmp_path_factory.mktemp("outage")

    async def play():
        first = await mosquitto(folder / "broker")
        settings = config(folder, {"bed": "p-9c1e"}, port=first.port, period_s=10)
        with CareCentre(first.port) as centre:
            async with bedside(settings, {"bed": NIGHT}, speed_ratio=SPEED) as gateway:
                await gateway.found(lambda finding: gateway.story_s > 35)
                os.kill(first.pid, signal.SIGSTOP)
                alert = await gateway.found(begun("asystole"))
                await gateway.found(lambda finding: isinstance(finding, Summary) and finding.end_ns > alert.at_ns)
                await gateway.found(lambda finding: gateway.story_s > gateway.at_s(alert.at_ns) + 15)
                n_under_way = gateway.delivery.view().uplink.n_in_flight
                os.kill(first.pid, signal.SIGKILL)
                await first.stop()
                killed_s = gateway.story_s
                await gateway.found(lambda finding: gateway.story_s > killed_s + OUTAGE_S)
                n_kept = gateway.delivery.view().n_waiting
                second = await mosquitto(folder / "broker", first.port)
                # A story that goes on until the alert of the outage has arrived, and a summary of afterwards.
                back_s = gateway.story_s
                await asyncio.to_thread(centre.wait_for, lambda heard: is_of(heard, "lead-off", "closed"))
                await gateway.found(lambda f: isinstance(f, Summary) and gateway.at_s(f.start_ns) > back_s)
            await asyncio.to_thread(centre.wait_for, lambda heard: heard.payload == b"stopped")
        await second.stop()
        assert n_under_way >= 4
        return gateway, centre, n_kept

    return asyncio.run(play())


def is_of(heard, condition: str, state: str) -> bool:
    if heard.path != "alert/log":
        return False
    return heard.body["condition"]["code"].startswith(condition) and heard.body["state"] == state


def test_no_record_is_lost_while_the_broker_is_away(outage):
    """What the subscriber has in the end is every number of the outbox, without a hole."""
    gateway, centre, n_kept = outage

    heard = centre.sequences()

    assert n_kept["alert"] >= 4
    assert n_kept["summary"] >= 4
    assert gateway.delivery.view().n_waiting_total == 0
    assert heard == set(range(1, max(heard) + 1))
    assert max(heard) == gateway.delivery.view().n_committed


def test_every_alert_and_summary_of_the_outage_arrives(outage):
    """Counted in the pipeline and at the subscriber, by what they are and not by number."""
    gateway, centre, _ = outage
    found = Counter((alert.id, alert.revision) for alert in gateway.of(Alert))

    heard = {(each.body["alert_id"], each.body["revision"]) for each in centre.messages("alert/log")}

    assert heard == set(found)
    starts = {each.body["start_at"] for each in centre.messages("summary/")}
    assert len(starts) == len(gateway.of(Summary))


def test_what_is_sent_twice_is_the_same_record(outage):
    """A repetition has the id of the first; one id never names two records."""
    _, centre, _ = outage
    records: dict[str, set[tuple[int, str]]] = {}
    for each in centre.messages():
        if each.body and each.path != "birth":
            records.setdefault(each.body["id"], set()).add((each.body["seq"], each.topic))

    assert all(len(what) == 1 for what in records.values())


def test_the_retained_states_are_right_after_the_outage(outage):
    """An alert that ended while the broker was away is not shown as open by the broker afterwards."""
    _, centre, _ = outage
    last = {each.body["alert_id"]: each.body["state"] for each in centre.messages("alert/log")}

    shown = {path.removeprefix("alert/") for path in centre.retained() if path.startswith("alert/")}

    assert shown == {name for name, state in last.items() if state != "closed"}


def test_broker_that_refuses_the_password_gets_nothing_and_nothing_is_lost(tmp_path, caplog):
    """Everything stays in the outbox; health and log say that it is the credentials."""

    async def play():
        async with guarded_broker(tmp_path) as port:
            (tmp_path / "password").write_text("wrong\n")
            mqtt = Mqtt(
                host="127.0.0.1",
                port=port,
                tls=False,
                username="gateway",
                password=SecretReference(file=str(tmp_path / "password")),
            )
            settings = config(tmp_path, {"bed": "p-9c1e"}, period_s=10, mqtt=mqtt)
            async with bedside(settings, {"bed": story()}, speed_ratio=SPEED) as gateway:
                await gateway.found(lambda finding: isinstance(finding, Summary))
                return gateway, gateway.runtime.health(), gateway.delivery.view()

    with caplog.at_level("WARNING"):
        gateway, health, view = asyncio.run(play())

    assert view.uplink.fault is PublishFault.CREDENTIALS
    assert health["delivery"]["uplink"]["fault"] == "credentials"
    assert "reason=credentials" in caplog.text
    assert "wrong" not in caplog.text + str(health)
    with contextlib.closing(sqlite3.connect(gateway.config.outbox.path)) as db:
        (n_kept,) = db.execute("SELECT count(*) FROM record").fetchone()
    assert n_kept == gateway.delivery.view().n_committed > 0


def test_gateway_connects_once_the_password_is_right(tmp_path):
    """The same broker takes the right one: the refusal above was not for another reason."""

    async def play():
        async with guarded_broker(tmp_path) as port:
            (tmp_path / "password").write_text("right\n")
            mqtt = Mqtt(
                host="127.0.0.1",
                port=port,
                tls=False,
                username="gateway",
                password=SecretReference(file=str(tmp_path / "password")),
            )
            settings = config(tmp_path, {}, mqtt=mqtt)
            with CareCentre(port, username="gateway") as centre:
                async with bedside(settings, {}, speed_ratio=1):
                    return await asyncio.to_thread(centre.wait_for, lambda heard: heard.path == "birth")

    assert asyncio.run(play()).is_retained


@contextlib.asynccontextmanager
async def guarded_broker(folder):
    """Give the port of a mosquitto that wants a password."""
    async with running_broker(folder / "broker") as open_broker:
        port = open_broker.port
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("no mosquitto_passwd on this machine")
    conf = folder / "broker" / "mosquitto" / "mosquitto.conf"
    users = folder / "users"
    writing = await asyncio.create_subprocess_exec("mosquitto_passwd", "-b", "-c", str(users), "gateway", "right")
    assert await writing.wait() == 0
    text = conf.read_text().replace("allow_anonymous true", f"allow_anonymous false\npassword_file {users}")
    conf.write_text(text)
    process = await asyncio.create_subprocess_exec(
        _program("mosquitto"), "-c", str(conf), stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(10):
        while b" running" not in await process.stderr.readline():
            pass
    try:
        yield port
    finally:
        process.terminate()
        await process.communicate()
