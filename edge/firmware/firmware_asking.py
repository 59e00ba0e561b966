"""What the check says to a device under test, and what came of each command.  Used by `firmware_probes`; pure.

A probe is a generator: it writes lines, then yields what it waits for, and is sent whether that came in time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass

from edge.acquisition.framing import SEQUENCE_RANGE, encode_frame
from edge.acquisition.packets import (
    WHOLE_DEVICE,
    Command,
    CommandAck,
    CommandCode,
    CommandResult,
    Hello,
    TimeRequest,
    encode_packet,
)
from edge.acquisition.unrolling import NS_PER_S
from edge.firmware.firmware_watch import FirmwareWatch, Heard

ANSWER_TIMEOUT_S = 2.0
"""A command that is not acknowledged by then is not acknowledged: 20 times what a frame of 1 KiB takes at 115200 baud."""
_TRIES = 3
"""Of a request whose answer may have been in a frame that broke."""
FIRST_COMMAND_ID = 1000
"""So that an acknowledgement left over from an earlier host is not taken for one of ours."""


@dataclass(frozen=True, slots=True)
class Until:
    """What a probe waits for."""

    is_done: Callable[[], bool]
    timeout_s: float = ANSWER_TIMEOUT_S


Probe = Generator[Until, bool, bool]
"""Yields what it waits for, is sent whether it came, returns whether the device still answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one command."""

    ack: CommandAck | None
    heard: Heard | None

    @property
    def result(self) -> int | None:
        """A `CommandResult`; None where no acknowledgement came."""
        return None if self.ack is None else self.ack.result_code


class Asker:
    """Builds the host's lines and finds what the device answered.

    Parameters
    ----------
    watch : FirmwareWatch
        Hears the device.
    """

    def __init__(self, watch: FirmwareWatch) -> None:
        self.watch = watch
        self.ledger = watch.ledger
        self.now_ns = 0
        self.waiting: list[bytes] = []
        """Lines to be written, each by itself."""
        self._sequence = 0
        self._next_id = FIRST_COMMAND_ID
        self._asked: dict[int, tuple[int, int]] = {}  # code and instant of every command that must be acknowledged
        self._excused: set[int] = set()
        self._must_not: dict[int, tuple[int, str]] = {}  # rule and words for commands that must not be read

    def write(self, data: bytes) -> None:
        """Have bytes written as they are."""
        self.waiting.append(data)

    def line(self, packet: Command | TimeRequest, *, extra: bytes = b"", version: int = 1) -> bytes:
        """Return a frame with the next number, `extra` bytes after its last field."""
        packet_type, payload = encode_packet(packet)
        return encode_frame(packet_type, payload + extra, sequence=self._take_number(), version=version)

    def unknown_line(self, packet_type: int, payload: bytes) -> bytes:
        """Return a frame of a type that no device knows."""
        return encode_frame(packet_type, payload, sequence=self._take_number())

    def command(self, code: int, *, stream_id: int = WHOLE_DEVICE, argument: int = 0, count: int = 0) -> Command:
        """Return a command with the next id, which must be acknowledged."""
        command = self._command(code, stream_id, argument, count)
        self._asked[command.command_id] = (code, self.now_ns)
        return command

    def forbidden(self, rule: int, what: str) -> Command:
        """Return a command that is going to be spoilt: an acknowledgement breaks `rule`."""
        command = self._command(CommandCode.IDENTIFY, WHOLE_DEVICE, 0, 0)
        self._must_not[command.command_id] = (rule, what)
        return command

    def excuse(self, command: Command) -> None:
        """Do not hold it against R19 if `command` is not acknowledged: it is held against another rule."""
        self._excused.add(command.command_id)

    def ask_time(self, later_ns: int = 0) -> TimeRequest:
        """Return a time request that must be answered."""
        request = TimeRequest(host_ns=self.now_ns + later_ns)
        self.watch.asked_at_ns[request.host_ns] = self.now_ns
        return request

    def answer(self, command: Command) -> Answer:
        """Return what the device has answered to `command` so far."""
        for heard, ack in self.watch.of_type(CommandAck):
            if ack.command_id == command.command_id:
                return Answer(ack=ack, heard=heard)
        return Answer(ack=None, heard=None)

    def has_answer(self, command: Command) -> Callable[[], bool]:
        """Return what to wait for after `command`."""
        return lambda: self.answer(command).ack is not None

    def hello_after(self, n: int) -> Callable[[], bool]:
        """Return what to wait for: a hello later than frame number `n`."""
        return lambda: bool(self.watch.of_type(Hello, since=n))

    def try_command(
        self, code: int, *, stream_id: int = WHOLE_DEVICE, argument: int = 0, count: int = 0
    ) -> CommandProbe:
        """Send a command and wait for what comes of it."""
        command = self.command(code, stream_id=stream_id, argument=argument, count=count)
        self.write(self.line(command))
        yield Until(self.has_answer(command))
        return self.answer(command)

    def try_identify(self, rule: int, failure: str, shown: str) -> Probe:
        """Ask who is there; no answer breaks `rule`.  Then ask again for a while; return whether it came back."""
        for _ in range(_TRIES):
            asked_at_ns = self.now_ns
            command = self.command(CommandCode.IDENTIFY)
            self.write(self.line(command))
            if (yield Until(self.has_answer(command))):
                self.ledger.show(rule, shown)
                return True
            self.excuse(command)
            if not self.watch.frames.had_trouble(asked_at_ns, self.now_ns):
                break
        self.ledger.fail(rule, failure)
        return (yield from self.is_alive(_TRIES))

    def is_alive(self, n_attempts: int) -> Probe:
        """Return whether the device answers one of some requests."""
        for _ in range(n_attempts):
            command = self.command(CommandCode.IDENTIFY)
            self.write(self.line(command))
            if (yield Until(self.has_answer(command))):
                return True
            self.excuse(command)
        return False

    def judge(self) -> None:
        """Judge every acknowledgement, and every answer that did not come (R19)."""
        answered: Counter[int] = Counter()
        for _, ack in self.watch.of_type(CommandAck):
            answered[ack.command_id] += 1
            self._judge_ack(ack)
        for command_id, (code, asked_at_ns) in self._asked.items():
            if answered[command_id] > 1:
                self.ledger.fail(19, "a command was acknowledged more than once")
            elif answered[command_id]:
                self._judge_hello(code, asked_at_ns)
            elif command_id not in self._excused and self.is_overdue(asked_at_ns):
                self.ledger.fail(19, f"a command was not acknowledged (code {code})")
        n_late = sum(map(self.is_overdue, self.watch.asked_at_ns.values()))
        if n_late:
            self.ledger.fail(19, f"{n_late} time requests were not answered")
        elif self.watch.time_answers:
            n_times = len(self.watch.time_answers)
            self.ledger.show(19, f"{n_times} time requests and {len(answered)} commands were answered")

    def is_overdue(self, asked_at_ns: int) -> bool:
        """Whether what was asked then should have been answered, and no broken frame can have held the answer."""
        end_ns = asked_at_ns + round(ANSWER_TIMEOUT_S * NS_PER_S)
        return end_ns < self.now_ns and not self.watch.frames.had_trouble(asked_at_ns, end_ns)

    def _judge_hello(self, code: int, asked_at_ns: int) -> None:
        end_ns = asked_at_ns + round(ANSWER_TIMEOUT_S * NS_PER_S)
        if code != CommandCode.IDENTIFY or not self.is_overdue(asked_at_ns):
            return
        if any(asked_at_ns <= heard.at_ns <= end_ns for heard, _ in self.watch.of_type(Hello)):
            self.ledger.show(9, "a hello came for every identify")
        else:
            self.ledger.fail(9, "identify was acknowledged without a hello")

    def _judge_ack(self, ack: CommandAck) -> None:
        if ack.command_id in self._must_not:
            self.ledger.fail(*self._must_not[ack.command_id])
        elif ack.command_id in self._asked:
            code, _ = self._asked[ack.command_id]
            if ack.code != code:
                self.ledger.fail(19, f"command {code} was acknowledged as {ack.code}")
            elif ack.result_code not in set(CommandResult):
                self.ledger.fail(19, f"result code {ack.result_code} is not in the protocol")
        elif ack.command_id >= FIRST_COMMAND_ID:
            self.ledger.fail(19, f"an acknowledgement of command {ack.command_id}, which was never sent")

    def _command(self, code: int, stream_id: int, argument: int, count: int) -> Command:
        command = Command(command_id=self._next_id, code=code, stream_id=stream_id, argument=argument, count=count)
        self._next_id += 1
        return command

    def _take_number(self) -> int:
        number, self._sequence = self._sequence, (self._sequence + 1) % SEQUENCE_RANGE
        return number


CommandProbe = Generator[Until, bool, Answer]
"""Waits for the answer to one command and returns it."""
