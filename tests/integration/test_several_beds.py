"""One gateway, two persons and a sensor that belongs to nobody: nothing of one is ever said of another."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from edge.messages import Alert
from tests.fakes.bedside import PATIENCE_S, bedside, config, fault, running_broker, step, story
from tests.fakes.care_centre import CareCentre, Contract, Heard

ROUNDS_S = range(30, 1800, 60)
"""Each thing happens again and again: a machine too busy for the first may hear the next."""
STORIES = {
    "left": story(*(part for at in ROUNDS_S for part in (step(at, "asystole"), step(at + 15, "sinus", 60))), seed=1),
    "right": story(*(fault("disconnect", at, 25) for at in ROUNDS_S), seed=2),
    "spare": story(step(1, "sinus-tachycardia", 150), seed=3),
}


def is_told(heard: list[Heard]) -> bool:
    """Whether all was said that the tests below ask for."""
    alerts = {
        (message.body["subject"], message.body["condition"]["code"])
        for message in heard
        if message.body and message.path == "alert/log"
    }
    rates = Counter(
        message.body["subject"]
        for message in heard
        if message.path == "reading/heart-rate" and message.body["value"] is not None
    )
    racing = any(subject is None and is_fast(code) for subject, code in alerts)
    summaries = any(message.path.startswith("summary/") and message.body["subject"] is None for message in heard)
    asked = {("p-1111", "asystole"), ("p-2222", "link-lost:right")}
    return alerts >= asked and racing and summaries and all(rates[who] >= 3 for who in ("p-1111", "p-2222", None))


def is_fast(code: str) -> bool:
    return "heart_rate" in code or "tachy" in code


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """What the subscriber heard of all three, and the last health."""
    folder = tmp_path_factory.mktemp("ward")

    async def play():
        async with running_broker(folder / "broker") as broker:
            settings = config(folder, {"left": "p-1111", "right": "p-2222", "spare": None}, port=broker.port)
            with CareCentre(broker.port) as centre:
                async with bedside(settings, STORIES, speed_ratio=4) as gateway:
                    await asyncio.to_thread(centre.wait_until, is_told, PATIENCE_S)
                await asyncio.to_thread(centre.wait_for, lambda heard: heard.payload == b"stopped")
            return gateway, centre

    return asyncio.run(play())


def said_of(centre: CareCentre, subject: str | None, path: str) -> list[dict]:
    return [message.body for message in centre.messages(path) if message.body and message.body["subject"] == subject]


def conditions(centre: CareCentre, subject: str | None) -> set[str]:
    codes = {body["condition"]["code"] for body in said_of(centre, subject, "alert/log")}
    # As the machine may be: its clock, and whether a model has its answer in two seconds of a story told so fast.
    return {code for code in codes if code != "clock-unsynchronised" and not code.startswith("model-late")}


def test_alerts_are_those_of_the_person(ward):
    """The asystole of the one, the pulled cable of the other, the racing heart of the unassigned sensor."""
    _, centre = ward

    assert conditions(centre, "p-1111") >= {"asystole"}
    assert not any(code.startswith("link-lost") for code in conditions(centre, "p-1111"))
    # The frame that the pulled cable tears may be announced too, if many bytes of it are lost.
    assert {"link-lost:right"} <= conditions(centre, "p-2222") <= {"link-lost:right", "data-corrupt"}
    assert any(is_fast(code) for code in conditions(centre, None))
    assert "asystole" not in conditions(centre, None)


def test_readings_are_those_of_the_person(ward):
    """Rates are far apart; none is ever said of the wrong one, and each names its sensor."""
    _, centre = ward
    limits = {"p-1111": (0, 100), "p-2222": (0, 100), None: (110, 170)}

    for subject, (low, high) in limits.items():
        bodies = [body for body in said_of(centre, subject, "reading/heart-rate") if body["value"] is not None]
        assert len(bodies) >= 2
        settled = [body["value"] for body in bodies[1:]]
        assert all(low <= value <= high for value in settled), (subject, settled)
        assert {body["device"] for body in bodies} == {{"p-1111": "left", "p-2222": "right", None: "spare"}[subject]}


def test_the_unassigned_sensor_is_named(ward):
    """Health lists it; its data has no subject; summaries and alerts of it exist all the same."""
    gateway, centre = ward

    last = centre.messages("health")[-1].body

    assert last["metrics"]["unassigned_sensors"] == ["spare"]
    assert {sensor["id"] for sensor in centre.messages("birth")[-1].body["sensors"]} == {"left", "right", "spare"}
    assert said_of(centre, None, "summary/") != []
    assert len(gateway.runtime.unassigned) == 1


def test_everything_is_as_the_contract_says_and_complete(ward):
    """No pseudonym in a topic, every schema valid, no number missing, no alert mixed up between log and state."""
    gateway, centre = ward
    contract = Contract()

    assert [each for message in centre.messages() for each in contract.faults(message)] == []
    assert centre.sequences() == set(range(1, max(centre.sequences()) + 1))
    subjects = {}
    for message in centre.messages("alert/"):
        if message.body:
            subjects.setdefault(message.body["alert_id"], set()).add(message.body["subject"])
    assert all(len(who) == 1 for who in subjects.values())
    assert len(gateway.of(Alert)) == len(centre.messages("alert/log"))


def test_counters_run_for_each_person_without_holes(ward):
    """`stream_seq` of one topic and subject has no hole: a receiver can tell a loss."""
    _, centre = ward
    counters: dict[tuple, list[int]] = {}
    for message in centre.messages():
        if message.body and message.path != "birth":
            key = (message.topic, message.body["subject"])
            counters.setdefault(key, []).append(message.body["stream_seq"])

    assert all(sorted(found) == list(range(len(found))) for found in counters.values())
