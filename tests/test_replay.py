"""A recording through the pipeline: the chunk law from end to end, and what a replay that publishes leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3

import pytest

from edge.cli import main
from edge.clock import SystemClock
from edge.delivery import Delivery
from edge.errors import RecordingError
from edge.messages import Alert, Beat, Gap, Summary, Vitals
from edge.pipeline import PipelineSettings
from edge.replay import Replay, replay
from tests.fakes.bedside import config
from tests.fakes.record_files import real_recording
from tests.fakes.records import write_night

BLOCKS = (1, 7, 250, 10_000)


@pytest.fixture(scope="module", params=[1, 3], ids=["ecg", "ecg-ppg-resp"])
def night(request, tmp_path_factory):
    """A CSV record with one stream, or with three, and a hole."""
    path = tmp_path_factory.mktemp("record") / "night.csv"
    return write_night(path, 120, n_streams=request.param, hole_s=(40.3, 43.1))


def scored(record, folder, n_samples: int, capsys) -> tuple[bytes, bytes, dict]:
    """Return annotations, numerics and the JSON of one replay at the command line."""
    out = folder / str(n_samples)
    options = ["--annotate", str(out), "--numerics", str(out / "n.csv"), "--block-samples", str(n_samples), "--json"]

    assert main(["replay", str(record), *options]) == 0

    report = json.loads(capsys.readouterr().out)
    name = record.name.removesuffix(".csv")
    return (out / f"{name}.vte").read_bytes(), (out / "n.csv").read_bytes(), report


def test_any_block_size_gives_the_same_files_and_alerts(night, tmp_path, capsys):
    """Annotations and numerics are identical byte by byte; so is what the report counts."""
    results = [scored(night, tmp_path, n_samples, capsys) for n_samples in BLOCKS]

    for marks, numerics, report in results[1:]:
        assert marks == results[0][0]
        assert numerics == results[0][1]
        untimed = {key: value for key, value in report.items() if key not in {"processing_s", "times_real_time"}}
        assert untimed == {key: results[0][2][key] for key in untimed}
    assert results[0][2]["beats"] > 100
    assert results[0][2]["gaps"] >= 1
    assert results[0][2]["n_alerts"] >= 2


def test_any_block_size_gives_the_same_findings(night):
    """Not only in files: every alert, beat, gap, vital sign and summary, in the same order, with the same numbers."""

    def found(n_samples: int) -> list:
        kinds = (Alert, Beat, Gap, Vitals, Summary)
        return [each for each in replay(night, block_samples=n_samples) if isinstance(each, kinds)]

    reference = found(BLOCKS[0])

    for n_samples in BLOCKS[1:]:
        assert found(n_samples) == reference


def test_real_record_gives_the_same_in_any_blocks(tmp_path, capsys):
    """The law on a real heart: two leads, an hour of noise and ectopic beats cut down to what a test can wait for."""
    record = real_recording("mitdb/208")

    results = [scored(record, tmp_path, n_samples, capsys) for n_samples in (7, 10_000)]

    assert results[0][:2] == results[1][:2]
    assert results[0][2]["alerts"] == results[1][2]["alerts"]


def test_python_and_command_line_find_the_same_alerts(night, tmp_path, capsys):
    """One interface for people, one for programs, one pipeline."""
    _, _, report = scored(night, tmp_path, 250, capsys)

    findings = list(replay(night, settings=PipelineSettings()))

    assert sum(isinstance(each, Beat) for each in findings) == report["beats"]
    raised = {(each.id, each.episode): each.condition for each in findings if isinstance(each, Alert)}
    assert sorted(raised.values()) == sorted(name for name, n in report["alerts"].items() for _ in range(n))


def test_replay_without_a_broker_keeps_everything(tmp_path):
    """Published into the outbox alone: nothing is confirmed, nothing is lost, and it ends without waiting."""
    record = write_night(tmp_path / "night.csv", 60)
    settings = config(tmp_path, {})

    report = asyncio.run(Replay(record, config=settings).publish(lambda _: None))

    assert report.delivery.n_confirmed == 0
    assert report.delivery.n_waiting_total == report.delivery.n_committed > 0


def test_replay_leaves_the_memory_of_the_live_bed_alone(tmp_path):
    """What the service remembers of its open alerts is not what a replay with the same outbox left open."""
    record = write_night(tmp_path / "night.csv", 60)
    settings = config(tmp_path, {"bed": "p-9c1e"})

    asyncio.run(Replay(record, config=settings).publish(lambda _: None))

    assert asyncio.run(_memory(settings, "alerts/p-9c1e")) is None


async def _memory(settings, key: str) -> bytes | None:
    delivery = Delivery(settings, SystemClock(), mqtt=None, broker="none")
    await delivery.start(lambda: ((), {}))
    return await delivery.load_state(key)


def test_published_replay_leaves_no_alert_open(tmp_path):
    """The last revision of every alert in the outbox says closed; the recording's end ended it if nothing else did."""
    record = write_night(tmp_path / "night.csv", 60)
    settings = config(tmp_path, {})

    asyncio.run(Replay(record, config=settings).publish(lambda _: None))

    with contextlib.closing(sqlite3.connect(settings.outbox.path)) as db:
        rows = db.execute("SELECT body FROM record WHERE topic LIKE '%alert/log' ORDER BY id").fetchall()
    last = {body["alert_id"]: body for body in map(json.loads, (row[0] for row in rows))}
    assert {body["state"] for body in last.values()} == {"closed"}
    assert "end-of-recording" in {body["evidence"].get("ended_by") for body in last.values()}


def test_file_that_is_no_recording_is_an_error(tmp_path):
    """The error names the file."""
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(1000))

    with pytest.raises(RecordingError, match="photo"):
        list(replay(tmp_path / "photo.jpg"))
