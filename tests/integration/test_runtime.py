"""The whole service: virtual sensors on real ptys, a real mosquitto, and a care centre of plain paho."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from edge.links_file import links_path, read_links
from edge.messages import Alert, AlertState, Gap
from tests.fakes.bedside import bedside, config, fault, running_broker, step, story
from tests.fakes.care_centre import CareCentre, Contract

HOLE_S = (110, 130)
NIGHT = story(
    step(30, "asystole"),
    step(45, "sinus", 72),
    fault("lead-off", 75, 15),
    fault("disconnect", HOLE_S[0], HOLE_S[1] - HOLE_S[0]),
)
OVER = {AlertState.CLOSED, AlertState.CLEARED_UNACKNOWLEDGED}


def over(condition: str):
    """Return a test for the end of an alert."""
    return lambda finding: (
        isinstance(finding, Alert) and finding.condition.startswith(condition) and finding.state in OVER
    )


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A night with an asystole, a lead off and a cable pulled for 20 s, and what a subscriber heard of it."""
    folder = tmp_path_factory.mktemp("night")

    async def play():
        async with running_broker(folder / "broker") as broker:
            settings = config(folder, {"bed": "p-9c1e"}, port=broker.port, period_s=30)
            with CareCentre(broker.port) as centre:
                async with bedside(settings, {"bed": NIGHT}, speed_ratio=20) as gateway:
                    await gateway.found(over("link-lost"))
                    back_s = gateway.story_s
                    await gateway.found(lambda finding: is_rate(finding) and gateway.at_s(finding.at_ns) > back_s)
                    shutil.copy(folder / "links.json", folder / "links-at-the-end.json")
                await asyncio.to_thread(centre.wait_for, lambda heard: heard.payload == b"stopped")
            return gateway, centre

    return asyncio.run(play())


def is_rate(finding) -> bool:
    rate = getattr(finding, "measurements", {}).get("heart_rate_bpm")
    return rate is not None and rate.value is not None


def test_everything_published_is_as_the_contract_says(night):
    """Schema, letters of the topic, QoS, retained or not, mirrored properties: message by message."""
    _, centre = night
    contract = Contract()

    faults = [each for message in centre.messages() for each in contract.faults(message)]

    assert faults == []


def test_every_kind_of_message_is_heard(night):
    """Nothing that the contract promises of this issue is missing."""
    _, centre = night

    kinds = {message.path.split("/")[0] for message in centre.messages()}

    assert kinds == {"$state", "birth", "health", "reading", "summary", "sensor", "gap", "alert"}
    assert len(centre.messages("alert/log")) > 0


def test_presence_goes_from_online_to_stopped(night):
    """The first word is online, the last is stopped, and both stay for whoever comes later."""
    _, centre = night

    states = [message.payload for message in centre.messages("$state")]

    assert states == [b"online", b"stopped"]
    assert centre.retained()["$state"] == b"stopped"
    assert centre.messages()[-1].payload == b"stopped"


def test_birth_says_what_the_sensor_can_send(night):
    """After the hello, birth is published again with streams, channels, units and rates."""
    _, centre = night

    (sensor,) = centre.messages("birth")[-1].body["sensors"]

    assert sensor["id"] == "bed"
    streams = {stream["name"]: stream for stream in sensor["streams"]}
    assert streams["ecg"]["rate_hz"] == 250
    assert all(channel["unit"] for stream in streams.values() for channel in stream["channels"])


def test_each_alert_is_shown_while_it_is_open_and_cleared_when_it_ends(night):
    """The retained state follows the log; an ended alert leaves nothing behind, a latched one stays."""
    gateway, centre = night
    last: dict[str, dict] = {}
    for message in centre.messages("alert/log"):
        last[message.body["alert_id"]] = message.body

    shown = {path for path in centre.retained() if path.startswith("alert/")}

    assert shown == {f"alert/{name}" for name, body in last.items() if body["state"] != "closed"}
    ended = {body["condition"]["code"].split(":")[0]: body["state"] for body in last.values()}
    assert ended["asystole"] == "cleared_unacknowledged"
    assert ended["lead-off"] == ended["link-lost"] == "closed"
    assert len(centre.messages("alert/log")) == len(gateway.of(Alert))


def test_the_log_of_an_alert_has_every_revision_in_order(night):
    """A care centre that missed the state can rebuild it from the log."""
    _, centre = night
    revisions: dict[str, list[int]] = {}
    for message in centre.messages("alert/log"):
        revisions.setdefault(message.body["alert_id"], []).append(message.body["revision"])

    assert all(found == list(range(1, len(found) + 1)) for found in revisions.values())


def test_no_record_is_missing_between_the_first_and_the_last(night):
    """Numbers of the outbox, heard by the subscriber, have no hole."""
    gateway, centre = night

    heard = centre.sequences()

    assert heard == set(range(1, max(heard) + 1))
    assert gateway.delivery.view().n_waiting_total == 0


def test_pulled_cable_is_one_gap_and_one_technical_alert(night):
    """The hole is announced with its length once the sensor is back, the alert while it lasts."""
    gateway, centre = night
    holes = [gap for gap in gateway.of(Gap) if gap.stream == "ecg" and (gap.n_missing or 0) > 15 * 250]
    raised = [a for a in gateway.of(Alert) if a.condition == "link-lost:bed" and a.state is AlertState.RAISED]

    assert len(holes) == len(raised) == 1
    start_s, end_s = gateway.at_s(holes[0].start_ns), gateway.at_s(holes[0].end_ns)
    assert start_s == pytest.approx(HOLE_S[0], abs=2)
    assert end_s >= HOLE_S[1]
    assert holes[0].n_missing == pytest.approx((end_s - start_s) * 250, abs=50)
    assert HOLE_S[0] < gateway.at_s(raised[0].at_ns) < HOLE_S[1]
    published = [gap.body["n_missing"] for gap in centre.messages("gap") if gap.body["stream"] == "bed/ecg"]
    assert holes[0].n_missing in published


def test_no_stale_heart_rate_is_published_while_the_cable_is_out(night):
    """Five seconds into the hole the value is absent with a reason, and none is measured until the cable is back."""
    gateway, centre = night
    start_ns = gateway.wall_ns_at(HOLE_S[0] + 5)
    end_ns = gateway.wall_ns_at(HOLE_S[1])
    inside = [
        message.body
        for message in centre.messages("reading/heart-rate")
        if start_ns <= gateway.ns_of(message.body["measured_at"]) < end_ns
    ]

    assert len(inside) > 0
    assert [body["value"] for body in inside] == [None] * len(inside)
    assert all(body["absent"] and not body["quality"]["valid"] for body in inside)


def test_states_of_the_link_tell_the_story(night):
    """Connecting, connected, lost with a reason, connected again, stopped."""
    _, centre = night

    states = [message.body["state"] for message in centre.messages("sensor/bed/status")]

    assert states[:3] == ["connecting", "connected", "lost"]
    assert states[-2:] == ["connected", "stopped"]
    assert all(message.body["reason"] for message in centre.messages("sensor/bed/status"))


def test_killed_service_is_said_to_be_offline(tmp_path):
    """SIGKILL leaves the last word to the broker: the will."""

    async def play():
        async with running_broker(tmp_path / "broker") as broker:
            (tmp_path / "c.toml").write_text(
                f'[gateway]\nid = "gw-test"\nsite = "ward-3"\n[outbox]\npath = "{tmp_path}/outbox.db"\n'
                f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\ntls = false\n'
            )
            with CareCentre(broker.port) as centre:
                service = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "edge", "run", "--config", str(tmp_path / "c.toml")
                )
                await asyncio.to_thread(centre.wait_for, lambda heard: heard.payload == b"online")
                os.kill(service.pid, signal.SIGKILL)
                await service.wait()
                return await asyncio.to_thread(centre.wait_for, lambda heard: heard.payload == b"offline")

    will = asyncio.run(play())

    assert will.path == "$state"
    assert will.is_retained
    assert will.qos == 1


def test_the_links_file_says_what_the_link_was_doing(night):
    """What ``vitaledge sensors`` reads: the state, the pulled cable, and the measured clock of the sensor."""
    gateway, _ = night

    folder = Path(gateway.config.outbox.path).parent
    (view,) = read_links(folder / "links-at-the-end.json").links

    assert (view.id, view.driver, view.state) == ("bed", "bridge_serial", "connected")
    assert view.n_connects >= 2
    assert view.data_age_s is not None
    ecg = next(stream for stream in view.streams if stream.name == "ecg")
    assert ecg.true_rate_hz == pytest.approx(ecg.nominal_rate_hz, rel=0.01)
    assert not links_path(folder / "outbox.db").exists()  # the service has stopped, and nobody keeps it
