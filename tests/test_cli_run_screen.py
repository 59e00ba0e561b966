"""``vitaledge run --screen`` as a person sees it: on a terminal, with a sensor on a serial line."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from edge.__main__ import main

pytest.importorskip("rich")

RATE = re.compile(r"HR +\d+ /min")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
GUARD_S = 60.0
"""A screen that never shows the rate ends the test; none waits for it to pass."""


def configuration(folder) -> str:
    path = folder / "bed.toml"
    path.write_text(
        f'[[sensor]]\nid = "bed"\ndriver = "bridge_serial"\nport = "{folder / "port"}"\n'
        f'[[subject]]\nid = "p-9c1e"\nsensors = ["bed"]\n[outbox]\npath = "{folder / "outbox.db"}"\n'
    )
    return str(path)


def test_first_frame_of_a_sensor_is_on_the_screen(tmp_path):
    """The person, the link and a heart rate are drawn; the log goes to its file and not over the picture."""
    vitaledge = [sys.executable, "-m", "edge"]
    sensor = subprocess.Popen([*vitaledge, "simulate", "--serial", str(tmp_path / "port")], stdout=subprocess.DEVNULL)
    master, slave = pty.openpty()
    service = subprocess.Popen(
        [*vitaledge, "run", "--config", configuration(tmp_path), "--screen"],
        stdout=slave, stderr=slave, env=os.environ | {"COLUMNS": "120", "LINES": "40", "TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    drawn, until_s = "", time.monotonic() + GUARD_S
    with contextlib.suppress(OSError):  # the far end of the terminal is gone
        while RATE.search(_CONTROL.sub("", drawn)) is None and time.monotonic() < until_s:
            drawn = (drawn + os.read(master, 65536).decode(errors="replace"))[-20_000:]
        service.send_signal(signal.SIGINT)
        while os.read(master, 65536):
            pass
    os.close(master)
    sensor.send_signal(signal.SIGINT)

    assert service.wait(30) == 0
    assert sensor.wait(30) == 0
    assert "p-9c1e" in drawn
    assert RATE.search(_CONTROL.sub("", drawn))
    assert "sensor.connected" in (tmp_path / "run.log").read_text()


def test_screen_without_a_terminal_is_refused(tmp_path, capsys):
    """Whoever writes it into a unit file is told at once."""
    assert main(["run", "--config", configuration(tmp_path), "--screen"]) == 2

    assert "--screen needs a terminal" in capsys.readouterr().err
