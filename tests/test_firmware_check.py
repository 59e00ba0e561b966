"""The conformance check: a good board passes every rule, and a board that breaks one rule fails that one alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.acquisition.packets import (
    CommandCode,
    CommandResult,
)
from edge.firmware.firmware_check import FirmwareCheck, FirmwareCheckSettings
from edge.firmware.firmware_report import as_json, as_markdown, as_text
from edge.firmware.firmware_rules import RULES, Outcome
from edge.messages import Chunk
from firmware_bridge.virtual.device import VirtualSensor
from firmware_bridge.virtual.scenario import Scenario
from tests.fakes.broken_boards import BROKEN, KeepsItsBootId, NoDeviceId, SpecialNumber, WrongChecksum
from tests.fakes.firmware_board import FirmwareBoard

S = 1_000_000_000
BORN_NS = 5_000 * S  # the host's clock has an arbitrary zero
STEP_NS = 20_000_000


def checked(board, *, duration_s=30.0, at=()):
    """Return the report on `board`; `at` are (instant in s, action) pairs."""
    check, now_ns, due = FirmwareCheck(FirmwareCheckSettings(duration_s=duration_s)), 0, sorted(at, key=lambda x: x[0])

    def hear(data):
        if data:
            check.push(Chunk(data=data, received_at_ns=BORN_NS + now_ns))

    while not check.is_done:
        now_ns += STEP_NS
        while due and now_ns >= due[0][0] * S:
            due.pop(0)[1]()
        hear(board.advance(now_ns))
        for line in check.advance(BORN_NS + now_ns):
            hear(board.receive(line))
    return check.report(link="memory", vitaledge_version="0")


def outcomes(report):
    return {verdict.rule: verdict.outcome for verdict in report.verdicts}


def failed(report):
    return [verdict.rule for verdict in report.verdicts if verdict.outcome is Outcome.FAILED]


def failure(report):
    """Return what was said of the only rule that failed."""
    (verdict,) = (each for each in report.verdicts if each.outcome is Outcome.FAILED)
    return verdict.detail


def test_a_good_board_passes_every_rule():
    """Nothing failed and nothing was left out, so every later failure in this file is the doing of its one fault."""
    board = FirmwareBoard()

    report = checked(board, duration_s=40.0, at=[(30, board.restart)])

    assert report.has_passed
    assert set(outcomes(report).values()) == {Outcome.PASSED}, as_text(report)
    assert len(report.verdicts) == len(RULES) == 19
    assert not [verdict.not_shown for verdict in report.verdicts if verdict.not_shown]


def test_the_virtual_sensor_passes():
    """The sensor that this repository offers keeps to its own protocol."""
    report = checked(VirtualSensor(Scenario()))

    assert not failed(report)
    assert [rule for rule, outcome in outcomes(report).items() if outcome is Outcome.NOT_SHOWN] == [18]


@pytest.mark.parametrize(("rule", "board"), BROKEN, ids=lambda each: each if isinstance(each, int) else each.__name__)
def test_a_broken_rule_is_the_only_one_that_fails(rule, board):
    """A board that breaks one rule fails that rule and no other."""
    report = checked(board())

    assert failed(report) == [rule], as_text(report)
    assert not report.has_passed


def test_a_restart_with_the_same_boot_id_breaks_rule_9():
    """Whoever restarts must say so, or the host takes the new counters for old ones; nothing else is held against it."""
    board = KeepsItsBootId()

    report = checked(board, duration_s=40.0, at=[(30, board.restart)])

    assert failed(report) == [9]
    assert "kept boot_id 7" in failure(report)
    assert report.n_restarts == 1


def test_a_frame_counter_that_survives_a_restart_breaks_rule_7():
    """The counter begins with 0 at every boot."""

    class CountsOn(FirmwareBoard):
        def restart(self):
            number = self.frame_number
            super_hello, self.say_hello = self.say_hello, lambda: None
            super().restart()
            self.frame_number, self.say_hello = number, super_hello
            self.say_hello()

    board = CountsOn()

    report = checked(board, duration_s=40.0, at=[(30, board.restart)])

    assert failed(report) == [7]


class Deaf(FirmwareBoard):
    """A transmitter alone, as a strap with one wire."""

    hello_period_s = 10
    next_hello_ns = 10 * S

    def receive(self, data):
        return b""

    def advance(self, now_ns):
        line = b""
        if now_ns >= self.next_hello_ns:
            self.next_hello_ns += self.hello_period_s * S
            self.say_hello()
            line = self.take_line()
        return line + super().advance(now_ns)


def test_a_device_that_cannot_receive_passes_with_what_it_can_show():
    """R19 allows it; what would need an answer is not shown, and says why."""
    report = checked(Deaf(), duration_s=40.0)

    assert not failed(report)
    assert outcomes(report)[19] is Outcome.PASSED
    assert outcomes(report)[15] is outcomes(report)[14] is Outcome.NOT_SHOWN


def test_a_device_that_neither_answers_nor_says_hello_breaks_rule_19():
    """Its hello every 10 s is all that lets a host read a device that cannot receive."""

    class Rare(Deaf):
        hello_period_s = 19

    report = checked(Rare(), duration_s=40.0)

    assert failed(report) == [19]


def test_a_silent_port_fails_with_one_plain_reason():
    """Nothing on the line is no device: rule 9 says so, and everything else was not shown."""

    class Silent:
        def advance(self, now_ns):
            return b""

        def receive(self, data):
            return b""

    report = checked(Silent())

    assert failed(report) == [9]
    assert failure(report) == "no hello within 12 s, asked every second"
    assert not report.has_passed
    assert "FAILED" in as_text(report)


def test_what_a_boot_loader_says_is_passed_over():
    """Text before the first frame is told in a note and breaks no rule."""

    class Talks(FirmwareBoard):
        def say_hello(self):
            if not self.frame_number:
                self.put(b"ets Jul 29 2019 12:21:46\r\nrst:0x1 (POWERON_RESET)\r\n")
            super().say_hello()

    report = checked(Talks())

    assert not failed(report)
    assert "51 bytes before the first frame were passed over" in report.notes[0]


def test_a_device_without_a_store_says_so_and_passes():
    """`not-supported` is an answer that rule 14 knows."""

    class StoresNothing(FirmwareBoard):
        def acknowledge(self, command, result, value):
            is_wanted = command.code == CommandCode.BACKFILL and result == CommandResult.DONE
            super().acknowledge(command, CommandResult.NOT_SUPPORTED if is_wanted else result, value)

        def send_stored(self, stream, start, count):
            """Has none."""

    report = checked(StoresNothing())

    assert not failed(report)
    assert outcomes(report)[14] is Outcome.PASSED


def test_a_port_that_goes_away_is_held_against_the_device():
    """A device that vanishes when it is sent garbage has not survived it."""
    check = FirmwareCheck()
    check.advance(0)

    check.hang_up("the port was disconnected")

    report = check.report(link="memory", vitaledge_version="0")
    assert check.is_done
    assert failed(report) == [6]


def test_bytes_that_the_host_lost_are_not_held_against_the_device():
    """Missing frames after an overflow of our own buffer break no rule; a note says so."""
    check, board = FirmwareCheck(), FirmwareBoard()
    check.advance(0)
    check.push(Chunk(data=board.advance(S), received_at_ns=S))
    board.advance(2 * S)

    check.lose(500)

    check.push(Chunk(data=board.advance(3 * S), received_at_ns=3 * S))
    report = check.report(link="memory", vitaledge_version="0")
    assert not failed(report)
    assert report.n_lost_frames == 0
    assert "lost 500 bytes" in report.notes[0]


def test_drift_and_rates_are_measured():
    """A crystal that is 500 ppm fast and a stream that is 2 % fast are within the rules, and said."""

    class Fast(FirmwareBoard):
        def __init__(self):
            super().__init__()
            self.streams[1].rate_hz = 102

        def ticks(self, at_ns=None):
            return round(super().ticks(at_ns) * 1.0005)

        def stream_descriptor(self, stream):
            descriptor = super().stream_descriptor(stream)
            return replace(descriptor, rate_mhz=100_000) if stream.name == "ppg" else descriptor

    report = checked(Fast())

    assert not failed(report)
    assert report.clock.drift_ppm == pytest.approx(500, abs=report.clock.uncertainty_ppm)
    assert report.streams[1].true_rate_hz == pytest.approx(102, abs=0.2)


def test_lost_samples_are_counted_and_break_no_rule():
    """A device that drops samples and counts them does as rule 11 asks; the report has the share."""

    class Drops(FirmwareBoard):
        def sample(self, stream, n_samples):
            if stream.name == "ppg" and stream.sequence % 100 == 0:
                stream.sequence += n_samples
                return
            super().sample(stream, n_samples)

    report = checked(Drops())

    assert not failed(report)
    assert report.streams[1].loss_pct == pytest.approx(10, abs=1)
    assert report.streams[0].n_lost_samples == 0


def test_a_failure_shows_the_bytes_and_where_they_lie():
    """The firmware engineer finds the frame in a capture by its offset, and the usual mistakes by their name."""
    report = checked(WrongChecksum())

    (found,) = report.verdicts[2].failures
    assert found.what == "wrong CRC: stored big-endian"
    assert found.n_times > 10
    assert found.evidence.startswith("byte ")
    assert found.evidence in as_text(report)


def test_the_markdown_names_the_device_and_every_rule():
    """What is attached to a pull request can be read without the terminal it came from."""
    text = as_markdown(checked(SpecialNumber()))

    assert "# Conformance of fake, firmware 1.2.3" in text
    assert "| device | board-1 |" in text
    assert "| protocol | version 1 |" in text
    assert all(f"| R{rule} | " in text for rule in RULES)
    assert "127 % cannot be spo2_pct" in text


def test_the_json_has_the_same_verdicts():
    """A pipeline of a vendor reads the outcome without parsing text."""
    found = as_json(checked(NoDeviceId()))

    assert found["has_passed"] is False
    assert [each["rule"] for each in found["verdicts"] if each["outcome"] == "failed"] == [9]


def test_any_bytes_at_all_end_in_a_report():
    """Whatever a device says, the check comes to an end and never raises."""

    class Babbles(FirmwareBoard):
        def put(self, line):
            k = len(line) * 7919 + self.frame_number
            super().put(bytes((k * (j + 3)) % 251 for j in range(len(line))) + line[: len(line) // 2] + b"\0")

    report = checked(Babbles())

    assert not report.has_passed
    assert as_markdown(report)
