"""What a device under test says, judged as it comes: hello and fields (R9, R10), readings (R17), events (R18).

Used by `firmware_check`, whose `firmware_probes` ask the questions; pure.  Frames are judged by `firmware_frames`, samples
by `firmware_streams`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

from edge.acquisition.framing import Frame
from edge.acquisition.packets import (
    ABSENT_REASONS,
    MEASURES,
    READING_STATUSES,
    WHOLE_DEVICE,
    Command,
    EventPacket,
    Hello,
    Packet,
    PacketType,
    ReadingPacket,
    SamplesPacket,
    TimeRequest,
    TimeResponse,
    UnknownPacket,
    decode_packet,
)
from edge.acquisition.unrolling import NS_PER_S, unroll
from edge.firmware.firmware_fields import field_faults, special_number
from edge.firmware.firmware_frames import FrameWatch
from edge.firmware.firmware_rules import Ledger
from edge.firmware.firmware_streams import StreamWatch
from edge.messages import Chunk, Corrupt

_DEFAULT_VALID_FOR_S = 15.0
_READING_SLACK_S = 1.0
"""A reading that is due every so often may be late by the line and the device's other work."""
_EVENT_PATIENCE_S = 1.0
"""Conditions follow their hello within this time."""
_BACK_S = 5.0
"""Counters that go back by more are a restart (R9)."""

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One packet, and its place among all frames."""

    packet: Packet
    n: int
    """Frames heard up to and with it."""
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAnswer:
    """An answer to a time request, ticks unrolled."""

    asked_at_ns: int
    heard_at_ns: int
    received_ticks: int
    sent_ticks: int


class FirmwareWatch:
    """Listens to the device and keeps the ledger.

    Parameters
    ----------
    ledger : Ledger
        Told what was seen.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.frames = FrameWatch(ledger)
        self.heard: list[Heard] = []
        """Everything but samples, in order."""
        self.hello: Hello | None = None
        self.streams: dict[int, StreamWatch] = {}
        self.n_by_type: Counter[str] = Counter()
        self.n_restarts = 0
        self.asked_at_ns: dict[int, int] = {}
        """When each time request was made, by what was sent in it; each is taken out by its answer."""
        self.time_answers: list[TimeAnswer] = []
        self.ticks_heard: list[tuple[int, int]] = []
        """The clock in every hello, unrolled, and when it came."""
        self._anchor = (0, 0)  # ticks, unrolled, and when the host heard them
        self._readings: dict[int, tuple[ReadingPacket, int]] = {}
        self._n_repeated: Counter[str] = Counter()
        self._conditions: dict[tuple[int, int], bool] = {}
        self._owed: dict[tuple[int, int], None] = {}
        self._owed_since_ns = 0

    def push(self, chunk: Chunk) -> None:
        """Take what came over the line."""
        for frame in self.frames.push(chunk):
            packet = decode_packet(frame)
            if isinstance(packet, Hello) and self._is_restart(packet, frame):
                self._restart(packet, frame)
            self.frames.judge_sequence(frame)
            if isinstance(packet, Corrupt):
                words = (
                    "a payload shorter than its fields" if packet.reason == "length" else "a field outside its range"
                )
                self._fail(10, f"{words} in type 0x{frame.packet_type:02x}", frame)
            else:
                self._hear(packet, frame)

    def of_type(self, kind: type[P], since: int = 0) -> list[tuple[Heard, P]]:
        """Return the packets of one kind that came after the first `since` frames; samples are not kept."""
        return [(each, each.packet) for each in self.heard if each.n > since and isinstance(each.packet, kind)]

    def settle(self, now_ns: int) -> None:
        """Look for what should have come by now."""
        if self._owed and now_ns - self._owed_since_ns > _EVENT_PATIENCE_S * NS_PER_S:
            is_excused = self.frames.had_trouble(self._owed_since_ns, now_ns)
            for condition, stream_id in () if is_excused else self._owed:
                self.ledger.fail(18, f"condition {condition} of {_whose(stream_id)} was not repeated after a hello")
            self._owed.clear()

    def judge(self, now_ns: int) -> None:
        """Give the verdicts that need the whole run."""
        self.settle(now_ns)
        self.frames.judge()
        for reading, at_ns in self._readings.values():
            self._judge_age(reading, now_ns - at_ns)
        if not self._readings:
            self.ledger.miss(17, "the device sent no reading")
        for reading, _ in self._readings.values():
            name = MEASURES[reading.measure_code][0]
            self.ledger.show(17, f"{name} came {1 + self._n_repeated[name]} times, in time")
        if not self._conditions:
            self.ledger.miss(18, "no condition held; take an electrode off while the check runs")
        if not self.n_restarts:
            self.ledger.miss(9, "whether boot_id differs after a restart; restart the device while the check runs")
        if self.hello is not None:
            self.ledger.show(10, "fields are as the tables say")

    def _fail(self, rule: int, what: str, frame: Frame) -> None:
        self.ledger.fail(rule, what, self.frames.evidence(frame))

    def _hear(self, packet: Packet, frame: Frame) -> None:
        self.n_by_type[_type_name(frame.packet_type)] += 1
        for fault in field_faults(frame.packet_type, frame.payload):
            self._fail(10, fault, frame)
        if not isinstance(packet, SamplesPacket):
            self.heard.append(Heard(packet=packet, n=self.frames.n_frames, at_ns=frame.received_at_ns))
        match packet:
            case Hello():
                self._hear_hello(packet, frame)
            case SamplesPacket():
                self._hear_samples(packet, frame)
            case ReadingPacket():
                self._hear_reading(packet, frame)
            case EventPacket():
                self._hear_event(packet, frame)
            case TimeResponse():
                self._hear_time(packet, frame)
            case UnknownPacket(packet_type=packet_type) if packet_type & 0x80:
                self._fail(16, f"a host's packet type 0x{packet_type:02x} from the device: does the line echo?", frame)
            case TimeRequest() | Command():
                self._fail(16, "a host's packet from the device: does the line echo?", frame)

    def _is_restart(self, hello: Hello, frame: Frame) -> bool:
        known = self.hello
        if known is None:
            return False
        if (known.device_id, known.boot_id) != (hello.device_id, hello.boot_id):
            return True
        near = self._near(frame.received_at_ns)
        back_s = (near - unroll(hello.ticks, near)) / known.tick_rate_hz
        return frame.sequence == 0 and back_s > _BACK_S

    def _restart(self, hello: Hello, frame: Frame) -> None:
        """Begin anew with every counter, and say whether the device told it as R9 asks."""
        self.n_restarts += 1
        if self.hello is not None and self.hello.boot_id == hello.boot_id:
            self._fail(9, f"the device restarted and kept boot_id {hello.boot_id}", frame)
        else:
            self.ledger.show(9, "after a restart boot_id was another one")
        if self.frames.goes_on_with(frame):
            self._fail(7, "the frame counter did not begin with 0 after a restart", frame)
        self.frames.forget()
        self.hello = None
        self.streams.clear()
        self.time_answers.clear()
        self.asked_at_ns.clear()
        self.ticks_heard.clear()
        self._owed.clear()
        self._conditions.clear()

    def _hear_hello(self, hello: Hello, frame: Frame) -> None:
        first = self.hello is None
        at_ns = frame.received_at_ns
        ticks = hello.ticks if first else unroll(hello.ticks, self._near(at_ns))
        if first or abs(ticks - self._near(at_ns)) < _BACK_S * hello.tick_rate_hz:
            self._anchor = (ticks, at_ns)
        if self.hello is not None and self.hello.tick_rate_hz != hello.tick_rate_hz:
            self._fail(12, "the tick rate changed within one boot", frame)
            return
        self.hello = hello
        self.ticks_heard.append((ticks, at_ns))
        if not hello.device_id:
            self._fail(9, "device_id is empty", frame)
        for descriptor in hello.streams:
            if descriptor.stream_id in self.streams:
                self.streams[descriptor.stream_id].describe(descriptor)
            else:
                self.streams[descriptor.stream_id] = StreamWatch(descriptor, hello.tick_rate_hz, self.ledger)
        self._owed = {key: None for key, is_active in self._conditions.items() if is_active}
        self._owed_since_ns = at_ns

    def _hear_samples(self, packet: SamplesPacket, frame: Frame) -> None:
        if self.hello is None:
            return  # the host drops them too (R9); the check asks for a hello first
        stream = self.streams.get(packet.stream_id)
        if stream is None:
            self._fail(10, f"samples of stream {packet.stream_id}, which is not in the hello", frame)
        elif packet.n_channels != len(stream.descriptor.channels):
            self._fail(10, f"{stream.descriptor.name}: {packet.n_channels} channels, not those of the hello", frame)
        else:
            ticks = unroll(packet.ticks, self._near(frame.received_at_ns))
            stream.take(packet, ticks, frame.received_at_ns, self.frames.evidence(frame))

    def _hear_reading(self, reading: ReadingPacket, frame: Frame) -> None:
        code, at_ns = reading.measure_code, frame.received_at_ns
        if code not in MEASURES:
            self._fail(17, f"measure {code} has no name in the protocol", frame)
            return
        if reading.absent_code not in ABSENT_REASONS or reading.status_code not in READING_STATUSES:
            self._fail(17, f"{MEASURES[code][0]}: a status or absent code that the protocol does not list", frame)
        if why := special_number(reading):
            self._fail(17, why, frame)
        if code in self._readings:
            before, before_at_ns = self._readings[code]
            self._judge_age(before, at_ns - before_at_ns)
            self._n_repeated[MEASURES[code][0]] += 1
        self._readings[code] = (reading, at_ns)

    def _judge_age(self, reading: ReadingPacket, age_ns: int) -> None:
        valid_for_s = reading.valid_for_s or _DEFAULT_VALID_FOR_S
        if age_ns > (valid_for_s + _READING_SLACK_S) * NS_PER_S:
            name = MEASURES[reading.measure_code][0]
            self.ledger.fail(17, f"{name} was not repeated within the {valid_for_s:g} s for which it is valid")

    def _hear_event(self, event: EventPacket, frame: Frame) -> None:
        key = (event.condition_code, event.stream_id)
        if event.stream_id != WHOLE_DEVICE and self.hello is not None and event.stream_id not in self.streams:
            self._fail(18, f"an event of stream {event.stream_id}, which is not in the hello", frame)
        if key in self._owed:
            del self._owed[key]
            self.ledger.show(18, "conditions that hold are repeated after a hello")
        self._conditions[key] = event.is_active

    def _hear_time(self, answer: TimeResponse, frame: Frame) -> None:
        asked_at_ns = self.asked_at_ns.pop(answer.host_ns, None)
        if asked_at_ns is None:
            self._fail(19, "an answer to a time request that was never made, or a second one", frame)
            return
        if self.hello is None:
            return
        near = self._near(frame.received_at_ns)
        received = unroll(answer.received_ticks, near)
        self.time_answers.append(
            TimeAnswer(
                asked_at_ns=asked_at_ns,
                heard_at_ns=frame.received_at_ns,
                received_ticks=received,
                sent_ticks=unroll(answer.sent_ticks, near),
            )
        )
        if self.time_answers[-1].sent_ticks < received:
            self._fail(19, "a time request was answered before it was received, by the device's own ticks", frame)

    def _near(self, at_ns: int) -> int:
        """Return about where the device's clock is, unrolled."""
        ticks, anchored_at_ns = self._anchor
        rate_hz = self.hello.tick_rate_hz if self.hello else 0
        return ticks + (at_ns - anchored_at_ns) * rate_hz // NS_PER_S


def _type_name(packet_type: int) -> str:
    return PacketType(packet_type).name.lower() if packet_type in set(PacketType) else f"0x{packet_type:02x}"


def _whose(stream_id: int) -> str:
    return "the device" if stream_id == WHOLE_DEVICE else f"stream {stream_id}"
