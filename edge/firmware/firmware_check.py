"""Whether a device keeps to ``firmware_bridge/PROTOCOL.md``: listens, asks, and reports on every rule.

Pure: the caller owns the clock and the line, `edge.cli.firmware` for a serial port, a test for a device in memory::

    check = FirmwareCheck()
    while not check.is_done:
        for line in check.advance(now_ns):      # bytes to write, each by itself
            write(line)
        check.push(Chunk(...))                  # whatever came
    print(as_text(check.report(link=..., vitaledge_version=...)))

Parts: `firmware_watch` hears, with `firmware_frames`, `firmware_fields` and `firmware_streams`; `firmware_probes` asks
through `firmware_asking`; `firmware_rules` keeps the ledger; `firmware_clock` measures; `firmware_report` writes.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from edge.acquisition.framing import VERSION
from edge.acquisition.packets import CommandCode, Hello
from edge.acquisition.unrolling import NS_PER_S
from edge.firmware.firmware_asking import ANSWER_TIMEOUT_S, Asker, Until
from edge.firmware.firmware_clock import ClockLine, clock_line
from edge.firmware.firmware_probes import PROBES
from edge.firmware.firmware_report import CheckReport
from edge.firmware.firmware_rules import Ledger
from edge.firmware.firmware_streams import RATE_SHARE
from edge.firmware.firmware_watch import FirmwareWatch
from edge.messages import Chunk

_HELLO_TRIES = 12
"""Once a second: a device that cannot receive says hello every 10 s (R19), a boot loader takes 1 to 2 s."""
_SAMPLES_TIMEOUT_S = 5.0
_TIME_PERIOD_S = 0.5
_HELLO_PERIOD_S = 10.0
_DEAF_HELLO_S = 10.0
_CLOCK_STEP_S = 0.5
"""Ticks in a hello further from the device's own clock than this are not that clock: a frame may wait in line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareCheckSettings:
    """How long the device is listened to."""

    duration_s: float = 60.0
    """In all; the questions take up to 30 s of it and are asked whatever it says.  Readings are repeated every 15 s
    (R17), and drift is measured to 20 ppm in a minute over a line that delays by 1 ms."""


class FirmwareCheck:
    """Checks one device.

    Parameters
    ----------
    settings : FirmwareCheckSettings
        How long.
    """

    def __init__(self, settings: FirmwareCheckSettings = FirmwareCheckSettings()) -> None:
        self._settings = settings
        self._ledger = Ledger()
        self._watch = FirmwareWatch(self._ledger)
        self._asker = Asker(self._watch)
        self._script = self._whole()
        self._until: Until | None = None
        self._since_ns = 0
        self._started_at_ns: int | None = None
        self._is_done = False
        self._doing = "listening"
        self._notes: list[str] = []

    @property
    def is_done(self) -> bool:
        """Whether everything was asked."""
        return self._is_done

    @property
    def doing(self) -> str:
        """What is being asked, in words."""
        return self._doing

    def push(self, chunk: Chunk) -> None:
        """Take bytes of the device."""
        self._watch.push(chunk)

    def lose(self, n_bytes: int) -> None:
        """Note that the host itself dropped bytes; what is missing then is not held against the device."""
        self._watch.frames.lose(self._asker.now_ns)
        self._notes.append(f"this computer was too slow and lost {n_bytes} bytes")

    def hang_up(self, why: str) -> None:
        """Note that the line went away before the end: a device that vanishes has not survived what it was asked."""
        self._ledger.fail(6, f"the port went away during: {self._doing}", why)
        self._is_done = True

    def advance(self, now_ns: int) -> list[bytes]:
        """Return what is to be written at `now_ns`, each by itself; to be called some 50 times a second."""
        if self._started_at_ns is None:
            self._started_at_ns = now_ns
        self._asker.now_ns = now_ns
        self._watch.settle(now_ns)
        while not self._is_done:
            has_come = self._until is not None and self._until.is_done()
            if self._until is not None and not has_come and now_ns - self._since_ns < self._until.timeout_s * NS_PER_S:
                break
            try:
                # A generator that has not begun takes nothing but None.
                self._until = next(self._script) if self._until is None else self._script.send(has_come)
                self._since_ns = now_ns
            except StopIteration:
                self._is_done = True
        lines, self._asker.waiting = self._asker.waiting, []
        return lines

    def report(self, *, link: str, vitaledge_version: str) -> CheckReport:
        """Return what was found; to be called once, at the end."""
        watch, frames = self._watch, self._watch.frames
        now_ns = self._asker.now_ns
        watch.judge(now_ns)
        self._asker.judge()
        clock = self._judge_clock()
        for stream in watch.streams.values():
            stream.judge(clock.ticks_per_s if clock else None, clock.ticks_at_zero if clock else None)
        if frames.n_bytes_before_first_frame:
            self._notes.append(
                f"{frames.n_bytes_before_first_frame} bytes before the first frame were passed over: "
                "half a frame, or what a boot loader says"
            )
        hello = watch.hello
        return CheckReport(
            device_id=hello.device_id if hello else "",
            model=hello.model if hello else "",
            firmware=hello.firmware if hello else "",
            protocol_version=VERSION,
            vitaledge_version=vitaledge_version,
            link=link,
            duration_s=(now_ns - (self._started_at_ns or now_ns)) / NS_PER_S,
            verdicts=self._ledger.verdicts(),
            streams=tuple(stream.summary() for stream in watch.streams.values()),
            clock=clock,
            n_bytes=frames.n_bytes,
            n_frames=frames.n_frames,
            n_frames_by_type=dict(watch.n_by_type),
            n_lost_frames=frames.n_lost_frames,
            n_dropped=dict(frames.n_dropped),
            longest_frame_bytes=frames.longest_frame_bytes,
            n_restarts=watch.n_restarts,
            notes=tuple(self._notes),
        )

    def _whole(self) -> Generator[Until, bool, None]:
        """Everything, in order."""
        can_receive = yield from self._meet()
        if self._watch.hello is None:
            self._ledger.fail(9, f"no hello within {_HELLO_TRIES} s, asked every second")
            return
        if can_receive:
            yield Until(
                lambda: all(s.last for s in self._watch.streams.values() if s.descriptor.is_running), _SAMPLES_TIMEOUT_S
            )
            yield from self._clock_requests(3.0)  # back-fill needs something to ask for
            can_receive = yield from self._questions()
            if not can_receive:
                self._doing = "listening"
                yield Until(lambda: False, max(0.0, self._left_s()))
                return
        self._doing = "listening"
        if can_receive:
            yield from self._clock_requests(max(0.0, self._left_s() - ANSWER_TIMEOUT_S))
            yield Until(lambda: not self._watch.asked_at_ns, ANSWER_TIMEOUT_S + 0.1)
            return
        yield Until(lambda: False, max(self._left_s(), 2 * _DEAF_HELLO_S + 5))
        self._judge_deaf()

    def _meet(self) -> Generator[Until, bool, bool]:
        """Ask for a hello as the host does, once a second; return whether the device answers."""
        self._doing = "asking for a hello"
        yield Until(lambda: False, 0.3)  # what was on the line before
        commands = []
        for _ in range(_HELLO_TRIES):
            commands.append(self._asker.command(CommandCode.IDENTIFY))
            self._asker.excuse(commands[-1])  # a device that boots when its port is opened hears nothing at first
            self._asker.write(self._asker.line(commands[-1]))
            is_answered = self._asker.has_answer(commands[-1])
            if (yield Until(lambda: self._watch.hello is not None and is_answered(), 1.0)):  # noqa: B023 - used at once
                return True
        return any(self._asker.answer(command).ack for command in commands)

    def _questions(self) -> Generator[Until, bool, bool]:
        """Ask everything; return whether the device still answers."""
        for name, probe in PROBES:
            self._doing = name
            n_restarts = self._watch.n_restarts
            is_alive = yield from probe(self._asker)
            if self._watch.n_restarts > n_restarts:
                self._notes.append(f"the device restarted during: {name}")
            if not is_alive:
                self._notes.append(f"the device stopped answering during: {name}; nothing more was asked")
                return False
        return True

    def _clock_requests(self, duration_s: float) -> Generator[Until, bool, None]:
        """Ask for the clock and, now and then, for a hello."""
        end_ns = self._asker.now_ns + round(duration_s * NS_PER_S)
        hello_at_ns = self._asker.now_ns
        while self._asker.now_ns < end_ns:
            self._asker.write(self._asker.line(self._asker.ask_time()))
            if self._asker.now_ns >= hello_at_ns:
                hello_at_ns += round(_HELLO_PERIOD_S * NS_PER_S)
                self._asker.write(self._asker.line(self._asker.command(CommandCode.IDENTIFY)))
            yield Until(lambda: False, _TIME_PERIOD_S)

    def _left_s(self) -> float:
        spent_ns = self._asker.now_ns - (self._started_at_ns or 0)
        return self._settings.duration_s - spent_ns / NS_PER_S

    def _judge_deaf(self) -> None:
        at_ns = [heard.at_ns for heard, _ in self._watch.of_type(Hello)]
        longest_s = (
            max(after - before for before, after in zip([*at_ns, 0], [*at_ns[1:], self._asker.now_ns], strict=False))
            / NS_PER_S
        )
        if longest_s <= _DEAF_HELLO_S + 1:
            self._ledger.show(
                19, f"it answers nothing, and says hello every {longest_s:.0f} s as a device that cannot receive"
            )
        else:
            self._ledger.fail(
                19, "it answers nothing, and does not say hello every 10 s as a device that cannot receive"
            )

    def _judge_clock(self) -> ClockLine | None:
        hello = self._watch.hello
        clock = clock_line(self._watch.time_answers, self._watch.ticks_heard, hello.tick_rate_hz) if hello else None
        if hello is None or clock is None:
            self._ledger.miss(12, "the clock's drift: too few answers")
            return None
        share = clock.ticks_per_s / hello.tick_rate_hz
        if abs(share - 1) > RATE_SHARE:
            self._ledger.fail(12, f"says {hello.tick_rate_hz} ticks a second and counts {clock.ticks_per_s:.0f}")
            return clock
        self._ledger.show(12, f"the clock drifts by {clock.drift_ppm:+.0f} ppm (± {clock.uncertainty_ppm:.0f})")
        off_s = max(
            (abs(ticks - clock.ticks(at_ns)) / clock.ticks_per_s for ticks, at_ns in self._watch.ticks_heard), default=0
        )
        if off_s > _CLOCK_STEP_S:
            self._ledger.fail(12, "ticks in a hello are not those of time responses", f"{off_s:.2f} s apart")
        return clock
