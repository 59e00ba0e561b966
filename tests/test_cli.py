"""The command line as a stranger meets it: every mistake is told in words, with what to do, and a fixed exit code."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys

import numpy as np
import pytest

from edge.cli import edge_errors, main
from edge.errors import OutboxError
from edge.outbox.retention import RetentionSettings
from edge.outbox.store import Store
from tests.fakes.outbox_records import gap_entry, stamp
from tests.fakes.record_files import write_wfdb16
from tests.fakes.records import write_night


@pytest.fixture
def night(tmp_path):
    return write_night(tmp_path / "night.csv", 30)


def told(capsys) -> str:
    """Return what was said on stderr, after making sure that it is no traceback and names our program."""
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.startswith(("vitaledge: ", "usage: "))
    return said


def written(path, text: str) -> str:
    path.write_text(text)
    return str(path)


# --- configuration ----------------------------------------------------------------------------------------


def test_unknown_key_is_told_with_file_line_and_the_nearest_key(tmp_path, capsys):
    """Exit 2; the line is the one of the key."""
    path = written(tmp_path / "c.toml", '[gateway]\nid = "gw-1"\n\n[mqtt]\nhots = "broker"\n')

    code = main(["run", "--config", path, "--check"])

    said = told(capsys)
    assert code == 2
    assert f"{path}:5" in said
    assert "mqtt.hots" in said
    assert "host" in said.replace("hots", "")


def test_all_mistakes_of_a_configuration_are_told_at_once(tmp_path, capsys):
    """One start shows every line to be mended."""
    text = '[gateway]\nid = "Bed 4"\n[mqtt]\nport = 99999\nkeepalive_s = "x"\n[[sensor]]\nid = "bed"\ndriver = "usb"\n'

    code = main(["run", "--config", written(tmp_path / "c.toml", text), "--check"])

    said = told(capsys)
    assert code == 2
    assert all(key in said for key in ("gateway.id", "mqtt.port", "mqtt.keepalive_s", "sensor[0].driver"))
    assert len(said.splitlines()) >= 4


def test_missing_configuration_file_is_told(tmp_path, capsys):
    """Exit 2 and the path; the built-in configuration does not silently take its place."""
    code = main(["run", "--config", str(tmp_path / "none.toml"), "--check"])

    assert code == 2
    assert "none.toml" in told(capsys)


def test_template_is_a_configuration_that_passes_the_check(tmp_path, capsys):
    """`config init` into a file, then `run --check` on that file."""
    assert main(["config", "init"]) == 0
    path = written(tmp_path / "c.toml", capsys.readouterr().out)

    code = main(["run", "--config", path, "--check"])

    assert code == 0
    assert "sha256" in capsys.readouterr().out


def test_template_does_not_overwrite_a_file(tmp_path, capsys):
    """Exit 2 and the file as it was."""
    path = written(tmp_path / "c.toml", "precious")

    code = main(["config", "init", path])

    assert code == 2
    assert path in told(capsys)
    assert (tmp_path / "c.toml").read_text() == "precious"


def test_password_file_that_is_missing_is_told_before_anything_runs(tmp_path, night, capsys):
    """Exit 2, the key and the path."""
    password = f'mqtt.password={{ file = "{tmp_path}/none" }}'
    settings = ["mqtt.host=127.0.0.1", "mqtt.username=gw", password, f"outbox.path={tmp_path}/o.db"]

    code = main(["replay", str(night), "--publish", *(part for each in settings for part in ("--set", each))])

    said = told(capsys)
    assert code == 2
    assert "mqtt.password" in said


# --- recordings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(500)),
        ("empty.csv", b""),
        ("words.csv", b"to be or not to be\nthat is the question\n"),
        ("record.hea", b"this is no header\n"),
        ("night.edf", b"0       " + bytes(100)),
    ],
)
def test_file_that_is_no_recording_is_told(tmp_path, capsys, name, content):
    """Exit 2, the name of the file, one object with --json."""
    (tmp_path / name).write_bytes(content)

    code = main(["replay", str(tmp_path / name), "--json"])

    captured = capsys.readouterr()
    assert code == 2
    assert "Traceback" not in captured.err
    assert name.partition(".")[0] in captured.err
    assert json.loads(captured.out)["kind"] == "RecordingError"


def test_recording_that_is_not_there_is_told(tmp_path, capsys):
    """Exit 2 and the path."""
    code = main(["replay", str(tmp_path / "mitdb" / "100")])

    assert code == 2
    assert "100" in told(capsys)


def test_truncated_recording_is_replayed_and_what_is_missing_is_said(tmp_path, capsys):
    """A record whose file ends early gives what is there, exit 0, and counts the rest."""
    values = np.tile(np.sin(np.arange(250)) * 100, 20).astype(int)[:, np.newaxis]
    base = write_wfdb16(tmp_path, "cut", values, names=["II"], rate="250", n_frames=10_000)

    code = main(["replay", str(base), "--json"])

    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert report["gaps"] >= 1
    assert report["missing_samples"] >= 5_000


def test_csv_with_a_damaged_row_is_told_and_counted(tmp_path, capsys):
    """Text in the middle of the numbers ends nothing silently."""
    path = write_night(tmp_path / "night.csv", 20)
    lines = path.read_text().splitlines()
    lines[2500] = "10.0,what"
    path.write_text("\n".join(lines) + "\n")

    code = main(["replay", str(path), "--json"])

    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert sum(report["losses"].values()) >= 1


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--columns", "II"], "--columns"),
        (["--columns", "II=heart"], "heart"),
        (["--columns", "LEAD9=ecg"], "LEAD9"),
        (["--speed", "fast"], "--speed"),
        (["--speed", "0"], "--speed"),
        (["--speed", "-1"], "--speed"),
        (["--speed", "nan"], "--speed"),
        (["--rate", "-5"], "rate"),
        (["--rate", "0"], "rate"),
        (["--rate", "nan"], "rate"),
        (["--rate", "ten"], "--rate"),
        (["--block-samples", "0"], "--block-samples"),
    ],
)
def test_wrong_option_of_a_replay_is_told(night, capsys, options, name):
    """Exit 2 and the option or the value that is wrong."""
    with contextlib.ExitStack() as stack:
        usage = stack.enter_context(pytest.raises(SystemExit)) if "ten" in options else None
        code = main(["replay", str(night), *options])
    code = usage.value.code if usage is not None else code

    assert code == 2
    assert name in told(capsys)


@pytest.mark.parametrize(("option", "name"), [("--annotate", "below"), ("--numerics", "below.csv")])
def test_place_that_cannot_be_written_is_told_before_the_replay(night, capsys, option, name):
    """Exit 2 at once, not after an hour of replay."""
    code = main(["replay", str(night), option, str(night / name)])

    assert code == 2
    assert name in told(capsys)


def test_publishing_to_no_broker_is_told(night, tmp_path, capsys):
    """Exit 3: nothing was delivered, everything waits, and which option is missing."""
    code = main(["replay", str(night), "--publish", "--set", f"outbox.path={tmp_path}/o.db"])

    said = capsys.readouterr().err
    assert code == 3
    assert "no broker is configured" in said
    assert "mqtt.host" in said


def test_publishing_to_a_dead_port_is_told(night, tmp_path, capsys):
    """Exit 3, where it tried, and one object on stdout that counts what waits."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        settings = ["mqtt.host=127.0.0.1", f"mqtt.port={port}", "mqtt.tls=false", f"outbox.path={tmp_path}/o.db"]
        options = [part for each in settings for part in ("--set", each)]

        code = main(["replay", str(night), "--publish", "--json", *options])

    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert code == 3
    assert f"127.0.0.1:{port}" in captured.err
    assert "waits in the outbox" in captured.err
    assert sum(report["delivery"]["waiting"].values()) == report["delivery"]["committed"] > 0


def test_outbox_that_another_process_has_is_told(night, tmp_path, capsys):
    """Exit 3: two processes never share an outbox."""
    held = Store(tmp_path / "o.db", RetentionSettings(), gap_entry, stamp())
    try:
        code = main(["replay", str(night), "--publish", "--set", f"outbox.path={tmp_path}/o.db"])
    finally:
        held.close()

    assert code == 3
    assert "o.db" in told(capsys)


def test_service_without_a_place_for_its_outbox_is_told(tmp_path):
    """Exit 3: the durable store is the one thing that a service cannot do without."""
    (tmp_path / "file").write_text("")

    done = subprocess.run(
        [sys.executable, "-m", "edge", "run", "--set", f"outbox.path={tmp_path}/file/o.db"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )

    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "o.db" in done.stderr  # the outbox's thread logs meanwhile, so the lines may be interleaved
    assert "what to do: choose another [outbox] path" in done.stderr


def test_errors_of_tasks_are_found_in_their_groups():
    """What a task group wraps is told like any other error, unless something unforeseen is among it."""
    first, second = OutboxError("disk"), OutboxError("full")
    nested = ExceptionGroup("outer", [first, ExceptionGroup("inner", [second])])

    assert edge_errors(nested) == [first, second]
    assert edge_errors(ExceptionGroup("outer", [first, ZeroDivisionError()])) == []
    assert edge_errors(ExceptionGroup("outer", [first, ExceptionGroup("inner", [ZeroDivisionError()])])) == []


# --- demo and simulate ------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["demo", "simulate"])
@pytest.mark.parametrize("speed", ["0", "-2", "nan", "inf"])
def test_impossible_speed_is_told(verb, speed, capsys):
    """Exit 2 instead of a division by nothing."""
    code = main([verb, "quiet" if verb == "simulate" else "demo", "--speed", speed])

    assert code == 2
    assert "--speed" in told(capsys)


def test_demo_of_a_story_without_an_end_is_told(tmp_path, capsys):
    """A demo must end by itself."""
    path = written(tmp_path / "s.toml", 'title = "For ever"\n[[step]]\nat_s = 0\nrhythm = "sinus"\n')

    code = main(["demo", path])

    assert code == 2
    assert "duration" in told(capsys)


@pytest.mark.parametrize("verb", ["demo", "simulate"])
def test_scenario_that_does_not_exist_is_told(verb, tmp_path, capsys):
    """Exit 2 and the names that there are."""
    code = main([verb, str(tmp_path / "none.toml")])

    assert code == 2
    assert "none.toml" in told(capsys)


def test_simulate_where_a_file_stands_is_told(tmp_path, capsys):
    """Exit 3: a file is not replaced by a link to a pty."""
    path = written(tmp_path / "port", "precious")

    code = main(["simulate", "quiet", "--serial", path])

    assert code == 3
    assert path in told(capsys)
    assert (tmp_path / "port").read_text() == "precious"


# --- everywhere -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["config", "init", "--json"],
        ["config", "show", "--json"],
        ["config", "schema", "--json"],
        ["run", "--check", "--json"],
    ],
)
def test_json_is_one_object(arguments, capsys):
    """Whatever the command, stdout is one JSON object and nothing else."""
    assert main(arguments) == 0

    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_migrated_configuration_as_json(tmp_path, capsys):
    """The rewritten text stands in the object."""
    path = written(tmp_path / "c.toml", '[gateway]\nid = "gw-1"\n')

    assert main(["config", "migrate", path, "--json"]) == 0

    assert "gw-1" in json.loads(capsys.readouterr().out)["toml"]


def test_error_with_json_is_one_object_too(tmp_path, capsys):
    """A program that called us need not read prose."""
    code = main(["run", "--check", "--json", "--config", written(tmp_path / "c.toml", "nonsense = 1\n")])

    body = json.loads(capsys.readouterr().out)
    assert code == 2
    assert body["kind"] == "ConfigError"
    assert "nonsense" in body["error"]


def test_no_command_is_wrong_usage(capsys):
    """Exit 2 with the usage."""
    with pytest.raises(SystemExit) as stopped:
        main([])

    assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_program_starts_as_a_module_and_asks_nothing(tmp_path):
    """Without a terminal, with stdin closed, nothing waits for an answer."""
    done = subprocess.run(
        [sys.executable, "-m", "edge", "config", "show", "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0
    assert isinstance(json.loads(done.stdout), dict)
