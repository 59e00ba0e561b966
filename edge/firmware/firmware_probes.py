"""The questions put to a device under test, one generator each (`firmware_asking.Probe`).  Used by `firmware_check`; pure.

Ordered from the gentle to the rude, so that a device that hangs has shown what it can before.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from edge.acquisition.framing import MAX_PAYLOAD_BYTES
from edge.acquisition.packets import (
    WHOLE_DEVICE,
    Command,
    CommandAck,
    CommandCode,
    CommandResult,
    Hello,
    TimeResponse,
)
from edge.firmware.firmware_asking import Answer, Asker, Probe, Until
from edge.firmware.firmware_streams import StreamWatch

UNKNOWN_COMMAND = 200
_PIECE_BYTES = 256
"""Garbage goes out in pieces of this size, so that a slow line takes each within the port's write timeout."""
_HALF_FRAME_SILENCE_S = 1.5
_STOPPED_S = 2.0
_DRAIN_S = 0.4
"""What a device had queued when it was stopped may still come for so long."""
_START_TIMEOUT_S = 6.0
_RATE_SEEN_S = 2.5
_BACKFILL_S = 1.0
"""Of a stream that is asked for again."""
_BACKFILL_AGE_S = 2.0
_BACKFILL_TIMEOUT_S = 6.0
_LIVE_AFTER_BACKFILL_S = 1.5
"""A pause of the live samples is only seen when it has lasted."""


def order(asker: Asker) -> Probe:
    """R19: time requests and commands in one piece of line are answered in the order in which they came."""
    n = asker.watch.frames.n_frames
    first, second = asker.ask_time(), asker.ask_time(1)
    identify, unknown = asker.command(CommandCode.IDENTIFY), asker.command(UNKNOWN_COMMAND)
    asker.write(b"".join(asker.line(each) for each in (first, identify, second, unknown)))
    yield Until(asker.has_answer(unknown))
    came: list[int] = []
    for heard in asker.watch.heard:
        if heard.n > n and isinstance(heard.packet, TimeResponse):
            came.append(heard.packet.host_ns)
        elif heard.n > n and isinstance(heard.packet, CommandAck):
            came.append(heard.packet.command_id)
    asked = [first.host_ns, identify.command_id, second.host_ns, unknown.command_id]
    expected = [each for each in asked if each in came]
    if [each for each in came if each in asked][: len(expected)] != expected:
        asker.ledger.fail(19, "answers came in another order than the requests")
    elif len(expected) == len(asked):
        asker.ledger.show(19, "answers came in the order of the requests")
    return True


def refusals(asker: Asker) -> Probe:
    """R19: an unknown command and an unknown stream are refused with the right word."""
    answer = yield from asker.try_command(UNKNOWN_COMMAND)
    _expect_result(asker, answer, {CommandResult.UNKNOWN_COMMAND}, "an unknown command")
    known = set(asker.watch.streams)
    stranger = next(stream_id for stream_id in range(WHOLE_DEVICE) if stream_id not in known)
    answer = yield from asker.try_command(CommandCode.BACKFILL, stream_id=stranger, count=1)
    refused = {CommandResult.UNKNOWN_STREAM, CommandResult.NOT_SUPPORTED}
    _expect_result(asker, answer, refused, "back-fill of an unknown stream")
    return True


def trailing_bytes(asker: Asker) -> Probe:
    """R15: a later version's command has more fields."""
    command = asker.command(CommandCode.IDENTIFY)
    asker.write(asker.line(command, extra=bytes.fromhex("a55a00ff01")))
    return (yield from _judge_spoken(asker, command, 15, "a command with 5 bytes after its last field"))


def unknown_types(asker: Asker) -> Probe:
    """R16: types of the future and of experiments are skipped."""
    for packet_type in (0x83, 0xC5):
        asker.write(asker.unknown_line(packet_type, bytes(range(20))))
    return (
        yield from asker.try_identify(16, "no answer after unknown packet types", "unknown packet types were skipped")
    )


def other_version(asker: Asker) -> Probe:
    """R2: a frame of another version is not read."""
    command = asker.forbidden(2, "a command of version 2 was obeyed")
    asker.write(asker.line(command, version=2))
    return (
        yield from asker.try_identify(2, "no answer after a frame of version 2", "a command of version 2 was not read")
    )


def wrong_checksum(asker: Asker) -> Probe:
    """R3: a frame with a wrong checksum is not read."""
    line = bytearray(asker.line(asker.forbidden(3, "a command with a wrong checksum was obeyed")))
    line[-2] ^= 0x55 if line[-2] != 0x55 else 0x33  # the last byte before the delimiter; never made a zero
    asker.write(bytes(line))
    return (
        yield from asker.try_identify(
            3, "no answer after a frame with a wrong checksum", "a command with a wrong checksum was not read"
        )
    )


def delimiters(asker: Asker) -> Probe:
    """R5: delimiters in a row keep a line awake."""
    asker.write(bytes(64))
    return (
        yield from asker.try_identify(
            5, "no answer after 64 delimiters in a row", "64 delimiters in a row were ignored"
        )
    )


def byte_by_byte(asker: Asker) -> Probe:
    """R1: nothing depends on how bytes are grouped."""
    command = asker.command(CommandCode.IDENTIFY)
    for byte in asker.line(command):
        asker.write(bytes((byte,)))
        yield Until(_never, 0.01)
    return (yield from _judge_spoken(asker, command, 1, "a command that came a byte at a time"))


def longest_frame(asker: Asker) -> Probe:
    """R4: a frame of the greatest length may be too long for the device, and does not harm it."""
    yield from _pour(asker, asker.unknown_line(0xFE, b"\x5a" * MAX_PAYLOAD_BYTES))
    return (
        yield from asker.try_identify(4, "no answer after a frame of 1016 bytes", "a frame of 1016 bytes was survived")
    )


def garbage(asker: Asker) -> Probe:
    """R6: garbage with and without delimiters, and more of it than any frame has."""
    mixed = bytes((37 * k * k + 11 * k) % 256 for k in range(400))
    endless = bytes(1 + (73 * k) % 255 for k in range(3000))
    for what, data in (("garbage", mixed), ("3000 bytes without a delimiter", endless)):
        yield from _pour(asker, data)
        if not (yield from asker.try_identify(6, f"no answer after {what}", f"{what} was survived")):
            return False
    return True


def half_frame(asker: Asker) -> Probe:
    """R6: half a frame, then silence, then a whole one."""
    line = asker.line(asker.forbidden(6, "half a command was obeyed"))
    asker.write(line[: len(line) // 2])
    yield Until(_never, _HALF_FRAME_SILENCE_S)
    return (yield from asker.try_identify(6, "no answer after half a frame and silence", "half a frame was survived"))


def stop_and_start(asker: Asker) -> Probe:
    """R9, R11, R19: a stopped stream is silent, said by a hello, and goes on counting."""
    stream = _running(asker)
    if stream is None:
        asker.ledger.miss(11, "whether a stopped stream goes on counting: no stream is running")
        return True
    name, stream_id = stream.descriptor.name, stream.descriptor.stream_id
    n = asker.watch.frames.n_frames
    stream.expect_pause()
    answer = yield from asker.try_command(CommandCode.STOP, stream_id=stream_id)
    if answer.result != CommandResult.DONE:
        asker.ledger.miss(11, f"whether a stopped stream goes on counting: stop was answered with {_word(answer)}")
        return True
    yield Until(_never, _DRAIN_S)
    _expect_hello(asker, n, stream_id, is_running=False)
    n_packets = stream.n_packets
    yield Until(_never, _STOPPED_S)
    if stream.n_packets > n_packets:
        asker.ledger.fail(19, f"{name}: stop was acknowledged, and samples went on coming")
    stream.expect_pause()
    n, n_packets = asker.watch.frames.n_frames, stream.n_packets
    answer = yield from asker.try_command(CommandCode.START, stream_id=stream_id)
    if answer.result != CommandResult.DONE:
        asker.ledger.fail(19, f"{name}: start after stop was answered with {_word(answer)}")
        return True
    if not (yield Until(lambda: stream.n_packets > n_packets + 1, _START_TIMEOUT_S)):
        asker.ledger.fail(19, f"{name}: start was acknowledged, and no samples came")
        return True
    _expect_hello(asker, n, stream_id, is_running=True)
    asker.ledger.show(11, "a stopped stream went on counting")
    return True


def rates(asker: Asker) -> Probe:
    """R19: a changed rate is acknowledged, then said by a hello, then used; it is set back afterwards."""
    stream = _running(asker)
    if stream is None:
        return True
    name, stream_id, rate_mhz = stream.descriptor.name, stream.descriptor.stream_id, stream.descriptor.rate_mhz
    for wanted_mhz in (rate_mhz // 2, rate_mhz):
        n = asker.watch.frames.n_frames
        answer = yield from asker.try_command(CommandCode.SET_RATE, stream_id=stream_id, argument=wanted_mhz)
        if answer.ack is None or answer.heard is None or answer.result != CommandResult.DONE:
            asker.ledger.miss(19, f"a changed rate: set-rate of {name} was answered with {_word(answer)}")
            return True
        if answer.ack.value == stream.descriptor.rate_mhz and not _changed(asker, n):
            asker.ledger.miss(19, f"a changed rate: {name} stays at {answer.ack.value / 1000:g} Hz")
            return True
        yield Until(asker.hello_after(answer.heard.n))
        said = [
            each
            for _, hello in asker.watch.of_type(Hello, since=answer.heard.n)
            for each in hello.streams
            if each.stream_id == stream_id
        ]
        if not said or said[0].rate_mhz != answer.ack.value:
            asker.ledger.fail(19, f"{name}: a changed rate was acknowledged and not said by a hello after it")
        else:
            asker.ledger.show(19, "a changed rate was acknowledged, then said by a hello")
        yield Until(_never, _RATE_SEEN_S)
    return True


def backfill(asker: Asker) -> Probe:
    """R14: samples of the last seconds, asked for again."""
    stream = _running(asker)
    if stream is None or stream.last is None:
        asker.ledger.miss(14, "no stream is running")
        return True
    name, rate_hz = stream.descriptor.name, stream.descriptor.rate_mhz / 1000
    count = max(1, round(_BACKFILL_S * rate_hz))
    start = max(0, stream.last.sequence - round(_BACKFILL_AGE_S * rate_hz))
    asked_at_ns = asker.now_ns
    usual_s = stream.live_gap_s(asked_at_ns - 2_000_000_000, asked_at_ns)
    stream.asked_range = (start, start + count)
    answer = yield from asker.try_command(
        CommandCode.BACKFILL, stream_id=stream.descriptor.stream_id, argument=start % (1 << 32), count=count
    )
    if answer.result == CommandResult.NOT_SUPPORTED:
        asker.ledger.show(14, "it stores nothing and says so (not-supported)")
        return True
    if answer.result != CommandResult.DONE:
        asker.ledger.miss(14, f"back-fill of {name} was answered with {_word(answer)}")
        return True
    yield Until(lambda: stream.n_backfilled_samples >= count, _BACKFILL_TIMEOUT_S)
    if not stream.n_backfilled_samples:
        asker.ledger.miss(
            14, f"the device has nothing of {count} samples of {name} that it sent {_BACKFILL_AGE_S:g} s ago"
        )
        return True
    yield Until(_never, _LIVE_AFTER_BACKFILL_S)
    asker.ledger.show(14, f"{stream.n_backfilled_samples} of {count} samples came again, flagged, as they were")
    if stream.live_gap_s(asked_at_ns, asker.now_ns) > max(1.0, 3 * usual_s):
        asker.ledger.fail(14, f"{name}: live samples paused for the back-fill")
    return True


PROBES: tuple[tuple[str, Callable[[Asker], Probe]], ...] = (
    ("requests in a row", order),
    ("unknown command and stream", refusals),
    ("bytes after the last field", trailing_bytes),
    ("unknown packet types", unknown_types),
    ("back-fill", backfill),
    ("stop and start", stop_and_start),
    ("a changed rate", rates),
    ("a frame of another version", other_version),
    ("a wrong checksum", wrong_checksum),
    ("delimiters in a row", delimiters),
    ("a command byte by byte", byte_by_byte),
    ("the longest frame", longest_frame),
    ("garbage", garbage),
    ("half a frame", half_frame),
)
"""Every question by name, in order."""


def _judge_spoken(asker: Asker, command: Command, rule: int, what: str) -> Probe:
    """Wait for the answer to a command that was said in an unusual way; return whether the device still answers."""
    asked_at_ns = asker.now_ns
    if (yield Until(asker.has_answer(command))):
        asker.ledger.show(rule, f"{what} was answered")
        return True
    asker.excuse(command)
    if asker.watch.frames.had_trouble(asked_at_ns, asker.now_ns):
        asker.ledger.miss(rule, f"{what}: the answer may have been in a broken frame")
    else:
        asker.ledger.fail(rule, f"{what} was not answered")
    return (yield from asker.is_alive(3))


def _running(asker: Asker) -> StreamWatch | None:
    """Return the fastest stream that is being sent: it shows most in the time there is."""
    running = [stream for stream in asker.watch.streams.values() if stream.descriptor.is_running and stream.last]
    return max(running, key=lambda stream: stream.descriptor.rate_mhz, default=None)


def _changed(asker: Asker, n: int) -> bool:
    """Whether a hello came since frame `n`, as it does when a rate was changed at once."""
    return bool(asker.watch.of_type(Hello, since=n))


def _expect_hello(asker: Asker, n: int, stream_id: int, *, is_running: bool) -> None:
    said = [
        each.is_running
        for _, hello in asker.watch.of_type(Hello, since=n)
        for each in hello.streams
        if each.stream_id == stream_id
    ]
    what = "started" if is_running else "stopped"
    if (not said or said[-1] != is_running) and asker.watch.frames.had_trouble(
        asker.now_ns - 5_000_000_000, asker.now_ns
    ):
        asker.ledger.miss(9, f"a hello that said that a stream was {what}: it may have been in a broken frame")
    elif not said or said[-1] != is_running:
        asker.ledger.fail(9, f"no hello said that a stream was {what}")
    else:
        asker.ledger.show(9, f"a hello said that a stream was {what}")


def _expect_result(asker: Asker, answer: Answer, expected: set[CommandResult], what: str) -> None:
    words = " or ".join(each.name.lower().replace("_", "-") for each in sorted(expected))
    if answer.ack is None:
        return  # counted as a command that was not acknowledged
    if answer.result in expected:
        asker.ledger.show(19, f"{what} was answered with {_word(answer)}")
    else:
        asker.ledger.fail(19, f"{what} was answered with {_word(answer)} instead of {words}")


def _word(answer: Answer) -> str:
    if answer.result is None:
        return "nothing"
    known = {each.value: each.name.lower().replace("_", "-") for each in CommandResult}
    return known.get(answer.result, f"result {answer.result}")


def _pour(asker: Asker, data: bytes) -> Generator[Until, bool, None]:
    for at in range(0, len(data), _PIECE_BYTES):
        asker.write(data[at : at + _PIECE_BYTES])
        yield Until(_never, 0.03)


def _never() -> bool:
    return False
