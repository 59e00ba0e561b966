"""``vitaledge firmware check`` on a real pseudo-terminal."""

from __future__ import annotations

import json
import os
import threading
import tty

import pytest

import edge.cli.firmware as firmware_verb
from edge.acquisition.serial_port import SerialPort, SerialPortSettings
from edge.cli import main
from edge.cli.options import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_FAILED, EXIT_USAGE
from edge.clock import SystemClock
from tests.fakes.firmware_board import FirmwareBoard

SPEED = 20.0


class PtyBoard(threading.Thread):
    """A board behind a pseudo-terminal, in a thread, on the clock it is given."""

    def __init__(self, board, clock):
        super().__init__(daemon=True)
        self.board, self.clock = board, clock
        self.master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self.master, False)
        self.path, self.slave = os.ttyname(slave), slave  # held open, so that reading never ends
        self.is_stopping = threading.Event()

    def run(self):
        start_ns = self.clock.monotonic_ns()
        while not self.is_stopping.wait(0.001):
            try:
                data = os.read(self.master, 4096)
            except BlockingIOError:
                data = b""
            line = self.board.advance(self.clock.monotonic_ns() - start_ns)
            line += self.board.receive(data) if data else b""
            if line:
                os.write(self.master, line)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_stopping.set()
        self.join()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def fast_clock(monkeypatch):
    """Both sides live twenty times as fast."""
    clock = SystemClock(SPEED)
    monkeypatch.setattr(firmware_verb, "SystemClock", lambda: clock)
    return clock


class OneDelimiter(FirmwareBoard):
    def put(self, line):
        super().put(line[1:])


def test_a_good_board_passes_over_a_terminal(fast_clock, capsys, tmp_path):
    """Exit code 0, a line for each rule, and the report in a file."""
    report = tmp_path / "report.md"

    with PtyBoard(FirmwareBoard(), fast_clock) as board:
        code = main(["firmware", "check", board.path, "--duration", "40", "--report", str(report)])

    out = capsys.readouterr().out
    assert code == EXIT_DONE, out
    assert sum(line.startswith("R") for line in out.splitlines()) == 19
    assert "of 19 rules 19 passed" in out
    assert "# Conformance of fake, firmware 1.2.3" in report.read_text()


def test_a_broken_rule_gives_exit_code_1(fast_clock, capsys):
    """A build pipeline needs no more than the exit code, and JSON for the reason."""
    with PtyBoard(OneDelimiter(), fast_clock) as board:
        code = main(["firmware", "check", board.path, "--duration", "30", "--json"])

    found = json.loads(capsys.readouterr().out)
    assert code == EXIT_FAILED
    assert [each["rule"] for each in found["verdicts"] if each["outcome"] == "failed"] == [5]


def test_a_port_that_does_not_exist_gives_exit_code_3(capsys, tmp_path):
    """Not usable is not failed."""
    code = main(["firmware", "check", str(tmp_path / "nothing")])

    assert code == EXIT_ENVIRONMENT
    assert "no serial port" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_refused_before_the_check(capsys, tmp_path):
    """Nobody waits a minute for a report that is then lost."""
    code = main(["firmware", "check", "/dev/null", "--report", str(tmp_path / "no" / "report.md")])

    assert code == EXIT_USAGE
    assert "--report" in capsys.readouterr().err


def test_a_port_that_hangs_up_is_reported(fast_clock):
    """A device that goes away in the middle gives a report, not a traceback."""
    import asyncio

    from edge.firmware.firmware_check import FirmwareCheckSettings

    async def run():
        board = PtyBoard(FirmwareBoard(), fast_clock)
        board.start()
        port = SerialPort(SerialPortSettings(port=board.path), fast_clock)
        loop = asyncio.get_running_loop()

        def vanish():
            board.is_stopping.set()
            board.join()
            os.close(board.slave)
            os.close(board.master)

        loop.call_later(0.3, vanish)
        return await firmware_verb.check(port, fast_clock, FirmwareCheckSettings())

    report = asyncio.run(run())

    assert not report.has_passed
    assert any("went away" in failure.what for failure in report.verdicts[5].failures)
