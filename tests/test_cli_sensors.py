"""``vitaledge sensors`` as an operator meets it: a table of the links, and plain words when no service runs."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from edge.cli import main
from edge.cli.tables import duration_words
from edge.clock import SystemClock
from edge.links_file import LinkView, StreamView, links_path, write_links

S = 1_000_000_000
ECG = StreamView(name="ecg", nominal_rate_hz=250.0, true_rate_hz=250.01, drift_ppm=-40.0)
BED = LinkView(
    id="bed",
    driver="bridge_serial",
    link="/dev/ttyUSB0 at 115200 baud",
    state="connected",
    reason="data again",
    in_state_s=200,
    max_silence_s=5,
    data_age_s=0.24,
    n_connects=3,
    n_failures=2,
    n_silences=1,
    n_remedies={"resubscribe": 2, "power-cycle": 1},
    n_lost_samples=480,
    n_corrupt={"crc": 4, "cobs": 1},
    battery_pct=81,
    streams=(ECG, StreamView(name="ppg", nominal_rate_hz=100)),
)
FINGER = LinkView(
    id="finger",
    driver="nonin",
    link="usb:0403:6001 at 9600 baud",
    state="lost",
    reason="missing: there is no serial port usb:0403:6001; plug it in",
    in_state_s=40,
    max_silence_s=15,
)


@pytest.fixture
def outbox(tmp_path):
    return tmp_path / "outbox.db"


def written(outbox, *views: LinkView, age_s: float = 0) -> None:
    write_links(links_path(outbox), views, SystemClock().wall_ns() - int(age_s * S))


def sensors(outbox, *options: str) -> int:
    return main(["sensors", "--set", f"outbox.path={outbox}", *options])


def test_table_tells_state_age_losses_and_battery(outbox, capsys):
    """One row a sensor, the details below it, exit 0."""
    written(outbox, BED, FINGER, age_s=1.2)

    code = sensors(outbox)

    said = capsys.readouterr()
    lines = said.out.splitlines()
    row = next(line for line in lines if line.startswith("bed"))
    assert code == 0
    assert said.err == ""
    assert row.split("  ")[0] == "bed"
    assert [each.strip() for each in row.split("  ") if each.strip()] == [
        "bed",
        "bridge_serial",
        "connected",
        "3 min",
        "0.2 s old",
        "480",
        "5",
        "3",
        "2",
        "1",
        "81 %",
    ]
    assert any("written 1." in line for line in lines)
    assert "    tried: power-cycle 1 ×, resubscribe 2 ×" in lines
    assert "    dropped: cobs 1 ×, crc 4 ×" in lines
    assert "    ecg: 250.010 Hz measured, 250 Hz nominal, its clock 40 ppm fast" in lines
    assert "    ppg: 100 Hz, not measured yet" in lines


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [(-1, "0.0 s"), (9.96, "10 s"), (119, "119 s"), (7199, "120 min"), (9000, "2.5 h"), (2e5, "2.3 days")],
)
def test_durations_are_told_in_the_unit_that_says_enough(duration_s, words):
    """Nobody reads 200000 seconds."""
    assert duration_words(duration_s) == words


def test_bytes_that_we_read_too_late_are_told(outbox, capsys):
    """Another reason for losses than the cable: this machine."""
    written(outbox, replace(BED, n_dropped_bytes=77))

    sensors(outbox)

    assert "77 bytes were not read in time by this machine" in capsys.readouterr().out


def test_lost_link_tells_why_and_what_to_do(outbox, capsys):
    """The reason is the one that the service gave, with its remedy."""
    written(outbox, FINGER)

    assert sensors(outbox) == 0

    out = capsys.readouterr().out
    assert "lost" in out
    assert "none yet" in out
    assert "missing: there is no serial port usb:0403:6001; plug it in" in out


def test_data_that_is_overdue_is_marked(outbox, capsys):
    """Connected and late is not the same as connected."""
    late = LinkView(
        id="bed", driver="nonin", link="x", state="connected", reason="x", in_state_s=9, max_silence_s=5, is_late=True
    )
    written(outbox, late)

    sensors(outbox)

    assert "connected, late" in capsys.readouterr().out


def test_service_that_was_stopped_is_told_and_its_last_words_shown(outbox, capsys):
    """Exit 3: a table of old values must not pass for the present."""
    written(outbox, BED, age_s=200)

    code = sensors(outbox)

    said = capsys.readouterr()
    assert code == 3
    assert "the service is not running: it last wrote 3 min ago" in said.err
    assert "vitaledge run" in said.err
    assert "NOT RUNNING" in said.out.splitlines()[0]
    assert "bed" in said.out


def test_service_that_never_ran_is_told(outbox, capsys):
    """Exit 3, where the file would be, and how to start."""
    code = sensors(outbox)

    said = capsys.readouterr()
    assert code == 3
    assert str(links_path(outbox)) in said.err
    assert "vitaledge run" in said.err
    assert said.out == ""


def test_clock_that_was_set_back_is_named(outbox, capsys):
    """Otherwise the age would be below nothing."""
    written(outbox, BED, age_s=-3600)

    code = sensors(outbox)

    said = capsys.readouterr()
    assert code == 3
    assert "60 min ahead of the clock" in said.err
    assert "-" not in said.out.splitlines()[0].removeprefix(str(links_path(outbox)))


def test_service_without_a_sensor_says_so(outbox, capsys):
    """An empty table would look like a fault."""
    written(outbox)

    assert sensors(outbox) == 0

    assert "no sensor is configured" in capsys.readouterr().out


def test_json_has_everything_and_says_whether_the_service_runs(outbox, capsys):
    """For scripts: one object, numbers as numbers."""
    written(outbox, BED, age_s=1)

    code = sensors(outbox, "--json")
    body = json.loads(capsys.readouterr().out)

    assert code == 0
    assert body["running"] is True
    assert 1 <= body["age_s"] < 5
    assert body["sensors"][0]["n_remedies"] == {"resubscribe": 2, "power-cycle": 1}
    assert body["sensors"][0]["streams"][0]["drift_ppm"] == -40.0


@pytest.mark.parametrize(("age_s", "running"), [(100, False), (None, False)])
def test_json_of_a_service_that_does_not_run(outbox, capsys, age_s, running):
    """One object as well, exit 3."""
    if age_s is not None:
        written(outbox, BED, age_s=age_s)

    code = sensors(outbox, "--json")
    body = json.loads(capsys.readouterr().out)

    assert code == 3
    assert body["running"] is running
    assert isinstance(body["sensors"], list)


def test_damaged_file_does_not_claim_that_the_service_is_stopped(outbox, capsys):
    """What is not known is not guessed."""
    links_path(outbox).write_text("{")

    code = sensors(outbox, "--json")
    said = capsys.readouterr()

    assert code == 3
    assert json.loads(said.out)["running"] is None
    assert json.loads(said.out)["reason"] == "format"
    assert "not running" not in said.err


def test_file_of_another_user_asks_for_the_right_one(outbox, capsys):
    """The service keeps its state to itself."""
    written(outbox, BED)
    links_path(outbox).chmod(0)
    was = os.geteuid()
    if was == 0:  # root may read everything
        outbox.parent.chmod(0o711)
        os.seteuid(65534)
    try:
        code = sensors(outbox)
    finally:
        os.seteuid(was)

    assert code == 3
    assert "as the user of the service" in capsys.readouterr().err


def test_configuration_that_is_wrong_is_told(tmp_path, capsys):
    """Exit 2, as with every verb."""
    code = main(["sensors", "--config", str(tmp_path / "none.toml")])

    assert code == 2
    assert "none.toml" in capsys.readouterr().err
