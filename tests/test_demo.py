"""The demo as a stranger runs it: to its end, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.demo import phase_reports
from edge.publishing.broker import _program
from firmware_bridge.virtual.scenario_file import parse_scenario
from tests.fakes.bedside import fault, step, story
from tests.test_app import S, alert

SHORT = story(step(20, "asystole"), step(35, "sinus", 72), fault("disconnect", 50, 12), duration_s=90)
PATIENCE_S = 90


def demo(folder: Path, *options: str, text: str = SHORT) -> subprocess.Popen:
    """Start a demo whose temporary files are all below `folder`."""
    (folder / "short.toml").write_text(text)
    (folder / "tmp").mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "edge", "demo", str(folder / "short.toml"), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder / "tmp")},
    )


def left_behind(folder: Path) -> list[str]:
    """Return files of the demo, and processes that name its folder."""
    found = [str(path) for path in (folder / "tmp").iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if str(folder).encode() in arguments:
            found.append(arguments.replace(b"\0", b" ").decode())
    return found


def test_demo_runs_to_its_end_and_everything_is_heard(tmp_path):
    """What was made durable was confirmed by the broker and heard by the subscriber, to the last record."""
    process = demo(tmp_path, "--speed", "60", "--json")
    out, errors = process.communicate(timeout=PATIENCE_S)

    report = json.loads(out)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert not report["interrupted"]
    assert report["beats_found"] > 0  # at this speed a busy machine loses frames; what is found is tested slower
    assert [phase["at_s"] for phase in report["phases"]] == [0, 20, 35]
    if _program("mosquitto") is None:
        pytest.skip("no mosquitto: the delivery cannot be judged")
    assert set(report["delivery"]["waiting"].values()) == {0}
    assert report["delivery"]["confirmed"] == report["delivery"]["committed"] == report["heard"]
    assert left_behind(tmp_path) == []


def test_interrupted_demo_ends_with_its_table_and_takes_everything_along(tmp_path):
    """Ctrl-C: the table, exit 0, no broker, no link, no folder left."""
    process = demo(tmp_path, "--speed", "10", "--plain", text=story(duration_s=100_000))
    assert process.stdout.readline().strip()
    process.send_signal(signal.SIGINT)

    out, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "records made durable" in out
    assert "Not a medical device" in out
    assert left_behind(tmp_path) == []


def test_alerts_are_reported_under_the_step_in_which_they_were_raised():
    """The seconds count from the beginning of the step; a step that was not reached is not reported."""
    scenario = parse_scenario(story(step(20, "asystole"), step(35, "sinus", 72), duration_s=60))
    raised = [alert("asystole")]  # at 2 s of the monotonic clock

    reports = phase_reports(scenario, raised, started_ns=-22 * S, until_s=30.0)

    assert [(each.at_s, len(each.raised)) for each in reports] == [(0, 0), (20, 1)]
    assert reports[1].raised[0][0] == pytest.approx(4.0)
