"""SIGKILL of a replay that publishes, again and again, with the same outbox: what was committed arrives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from collections import Counter

import pytest

from tests.fakes.bedside import running_broker
from tests.fakes.care_centre import CareCentre, Contract
from tests.fakes.record_files import real_recording
from tests.fakes.records import write_night

SPEED = 150
"""Times real time: a run of the whole record takes longer than any of the kills waits."""
PATIENCE_S = 60.0


def committed(outbox) -> dict[int, tuple[str, bytes]]:
    """Return what a killed run left on disk: number to topic and body, read as the next run will find it."""
    with contextlib.closing(sqlite3.connect(outbox)) as db:
        return {number: (topic, body) for number, topic, body in db.execute("SELECT id, topic, body FROM record")}


async def run(arguments, centre: CareCentre, kill_after: int | None) -> int:
    """Run a replay to its end, or kill it when it has been heard `kill_after` times; return its exit code."""
    n_before = len(centre.messages())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge", "replay", *arguments, stdout=asyncio.subprocess.DEVNULL
    )
    if kill_after is not None:
        await asyncio.to_thread(centre.wait_until, lambda messages: len(messages) >= n_before + kill_after)
        os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        return await process.wait()


def killed_replays(folder, record, n_kills: int, speed: float, *more: str):
    """Return what was on disk after each kill, what the last, whole run ended with, and the subscriber."""
    outbox = folder / "outbox.db"

    async def play():
        async with running_broker(folder / "broker") as broker:
            whole = [str(record), "--publish", "--set", f"outbox.path={outbox}", "--set", "mqtt.host=127.0.0.1"]
            whole += ["--set", f"mqtt.port={broker.port}", "--set", "mqtt.tls=false", "--set", "summary.period_s=10"]
            left: list[dict[int, tuple[str, bytes]]] = []
            codes = []
            with CareCentre(broker.port) as centre:
                for number in range(n_kills):
                    # The moment differs from kill to kill: during the start, early, late.
                    codes.append(await run([*whole, "--speed", str(speed), *more], centre, 3 + 37 * number % 101))
                    left.append(committed(outbox))
                codes.append(await run([*whole, "--speed", "max", *more], centre, None))
                await asyncio.to_thread(centre.wait_for, lambda heard: heard.payload == b"stopped")
            return codes, left, committed(outbox), centre

    return asyncio.run(play())


def check(n_kills: int, codes, left, rest, centre: CareCentre) -> None:
    heard = {message.sequence: message for message in centre.messages() if message.sequence is not None}

    assert codes == [-signal.SIGKILL] * n_kills + [0]
    assert rest == {}
    assert set(heard) == set(range(1, max(heard) + 1))
    for records in left:
        for number, (topic, body) in records.items():
            assert heard[number].topic == topic
            assert bool(heard[number].payload) == bool(body)
    ids = Counter({message.body["id"]: 0 for message in centre.messages() if message.body})
    for message in heard.values():
        ids[message.body.get("id", "")] += 1
    assert all(n <= 1 for identity, n in ids.items() if identity)
    contract = Contract()
    assert [each for message in centre.messages() for each in contract.faults(message)] == []


def test_three_kills_lose_no_committed_record(tmp_path):
    """Numbers 1 to the last are heard without a hole, and everything that a kill left on disk among them."""
    record = write_night(tmp_path / "night.csv", 300)

    codes, left, rest, centre = killed_replays(tmp_path, record, 3, SPEED)

    check(3, codes, left, rest, centre)
    assert {message.properties.get("boot") for message in centre.messages()} >= {"b-1", "b-2", "b-3", "b-4"}


@pytest.mark.long
def test_ten_kills_lose_no_committed_record(tmp_path):
    """The same ten times over."""
    record = write_night(tmp_path / "night.csv", 300)

    codes, left, rest, centre = killed_replays(tmp_path, record, 10, SPEED)

    check(10, codes, left, rest, centre)


@pytest.mark.long
def test_ten_kills_during_a_real_record_lose_nothing(tmp_path):
    """The same with half an hour of a real heart."""
    record = real_recording("mitdb/208")

    codes, left, rest, centre = killed_replays(tmp_path, record, 10, 600)

    check(10, codes, left, rest, centre)
