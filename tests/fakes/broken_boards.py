"""Boards that break one rule of PROTOCOL.md each, and nothing else: what the conformance check is held against."""

from __future__ import annotations

import zlib
from dataclasses import replace

from edge.acquisition.framing import FrameDecoder, cobs_decode, cobs_encode, encode_frame
from edge.acquisition.packets import (
    CommandCode,
    CommandResult,
    EventPacket,
    PacketType,
    ReadingPacket,
    TimeRequest,
    UnknownPacket,
    decode_packet,
)
from edge.messages import Corrupt
from tests.fakes.firmware_board import FirmwareBoard

S = 1_000_000_000
BORN_NS = 5_000 * S  # the host's clock has an arbitrary zero
STEP_NS = 20_000_000


class Recoded(FirmwareBoard):
    """Changes frames after they were made, every `every`th of them."""

    every = 17

    def put(self, line):
        if self.frame_number % self.every == self.every - 1 and self.frame_number > 20:
            line = self.spoilt(line)
        super().put(line)


class NotCobs(Recoded):
    def spoilt(self, line):
        return b"\0\xfe" + line[2:]


class NeedsWholeFrames(FirmwareBoard):
    """Reads each piece of line as if it were one whole frame, as a driver with an idle-line interrupt may."""

    def receive(self, data):
        self.decoder = FrameDecoder()
        return super().receive(data)


class OtherVersion(FirmwareBoard):
    def framed(self, packet_type, payload):
        version = 2 if packet_type == PacketType.READING else 1
        return encode_frame(packet_type, payload, sequence=self.frame_number, version=version)


class ReadsAnyVersion(FirmwareBoard):
    def hear(self, item):
        super().hear(item if isinstance(item, Corrupt) else replace(item, version=1))


class WrongChecksum(FirmwareBoard):
    def framed(self, packet_type, payload):
        line = super().framed(packet_type, payload)
        if packet_type != PacketType.READING:
            return line
        body = cobs_decode(line[1:-1])[:-4]
        return b"\0" + cobs_encode(body + zlib.crc32(body).to_bytes(4, "big")) + b"\0"


class IgnoresChecksums(FirmwareBoard):
    def receive(self, data):
        body = cobs_decode(data.strip(b"\0"))
        if body and len(body) == 20 and body[:2] == b"\x01\x82":
            data = encode_frame(body[1], body[4:-4], sequence=0)
        return super().receive(data)


class ShortFrames(Recoded):
    def spoilt(self, line):
        return b"\0\x03\x01\x02\0"


class DiesOfLongFrames(FirmwareBoard):
    is_dead = False

    def receive(self, data):
        self.is_dead |= len(data.strip(b"\0")) > 200 and data.startswith(b"\0\x04\x01\xfe")
        return b"" if self.is_dead else super().receive(data)


class OneDelimiter(FirmwareBoard):
    def put(self, line):
        super().put(line[1:])


class StumblesOverDelimiters(FirmwareBoard):
    is_dead = False

    def receive(self, data):
        self.is_dead |= bytes(16) in data
        return b"" if self.is_dead else super().receive(data)


class HangsAfterGarbage(FirmwareBoard):
    n_broken = 0

    def hear(self, item):
        self.n_broken += isinstance(item, Corrupt) and item.reason == "overlong"
        if not self.n_broken:
            super().hear(item)


class WaitsForTheRestOfAFrame(FirmwareBoard):
    """Ends a frame at its second delimiter only, so that half a frame swallows the next."""

    pending = b""

    def receive(self, data):
        if data.count(0) == 1 and len(data) < 20 and data != b"\0":  # half a frame
            self.pending = data
            return b""
        if self.pending:
            return b""
        return super().receive(data)


class DoesNotCountFrames(FirmwareBoard):
    def count_frame(self, packet_type):
        pass


class CountsFramesByType(FirmwareBoard):
    def count_frame(self, packet_type):
        if packet_type == PacketType.SAMPLES:
            super().count_frame(packet_type)


class SendsFramesTwice(Recoded):
    def spoilt(self, line):
        return line + line


class SendsSamplesTwice(FirmwareBoard):
    def sample(self, stream, n_samples):
        super().sample(stream, n_samples)
        if stream.is_running and stream.stored[-1].sequence % 1000 == 0:
            self.say(stream.stored[-1])


class NoHelloWhenAsked(FirmwareBoard):
    n_hellos = 0

    def say_hello(self):
        self.n_hellos += 1
        if self.n_hellos != 3:
            super().say_hello()


class NoHelloAfterStop(FirmwareBoard):
    def switch(self, stream, is_running):
        stream.is_running = is_running


class KeepsItsBootId(FirmwareBoard):
    def restart(self):
        self.boot_id -= 1
        super().restart()


class NoDeviceId(FirmwareBoard):
    def hello(self):
        return replace(super().hello(), device_id="")


class BigEndianField(FirmwareBoard):
    def send(self, packet_type, payload):
        if packet_type == PacketType.SAMPLES and self.frame_number % 50 == 0:
            payload = payload[:2] + payload[2:4][::-1] + payload[4:]  # number of samples
        super().send(packet_type, payload)


class ReservedBytes(FirmwareBoard):
    def send(self, packet_type, payload):
        if packet_type == PacketType.READING:
            payload = payload[:15] + b"\x01" + payload[16:]
        super().send(packet_type, payload)


class TextWithRubbish(FirmwareBoard):
    def send(self, packet_type, payload):
        if packet_type == PacketType.HELLO:
            payload = payload[:40] + b"\xcc" * 4 + payload[44:]  # behind the end of the model's name
        super().send(packet_type, payload)


class StrangeStream(FirmwareBoard):
    def samples_packet(self, stream, first, n_samples):
        packet = super().samples_packet(stream, first, n_samples)
        return replace(packet, stream_id=9) if stream.name == "ppg" and first % 1000 == 0 else packet


class StopsCounting(FirmwareBoard):
    """A stopped stream does not take samples at all, and goes on with the next number."""

    def sample(self, stream, n_samples):
        if not stream.is_running:
            stream.begun_ns = stream.begun_ns + round(n_samples * S / stream.rate_hz)
            return
        super().sample(stream, n_samples)


class LeavesSamplesOut(FirmwareBoard):
    n_taken = 0

    def sample(self, stream, n_samples):
        self.n_taken += 1
        if stream.name == "ecg" and self.n_taken % 40 == 0:  # a buffer was full
            stream.begun_ns += round(n_samples * S / stream.rate_hz)
            return
        super().sample(stream, n_samples)


class CountsPackets(FirmwareBoard):
    n_packets = 0

    def samples_packet(self, stream, first, n_samples):
        self.n_packets += 1
        packet = super().samples_packet(stream, first, n_samples)
        return packet if stream.name == "ppg" else replace(packet, sequence=self.n_packets)

    def send_stored(self, stream, start, count):
        """Stores nothing."""


class TicksStep(FirmwareBoard):
    def ticks(self, at_ns=None):
        at_ns = self.now_ns if at_ns is None else at_ns
        return super().ticks(at_ns) + (300_000 if at_ns > 16 * S else 0)


class TicksStandStill(FirmwareBoard):
    """Milliseconds said to be microseconds."""

    def ticks(self, at_ns=None):
        return super().ticks(at_ns) // 1000


class TicksOfSending(FirmwareBoard):
    def sample_ticks(self, stream, sequence, n_samples):
        return self.ticks(stream.time_ns(sequence + n_samples - 1))


class OutOfLimits(FirmwareBoard):
    def samples_packet(self, stream, first, n_samples):
        packet = super().samples_packet(stream, first, n_samples)
        return replace(packet, data=(2048).to_bytes(2, "little") + packet.data[2:]) if first % 500 == 0 else packet


class OtherRate(FirmwareBoard):
    def stream_descriptor(self, stream):
        descriptor = super().stream_descriptor(stream)
        return replace(descriptor, rate_mhz=128_000) if stream.name == "ppg" else descriptor


class BackfillUnflagged(FirmwareBoard):
    """Sends what it stored without the flag; the host must take it for samples that came twice (R8)."""

    def stored_packet(self, stream, first, n_samples):
        return self.samples_packet(stream, first, n_samples)


class BackfillRenumbered(FirmwareBoard):
    def stored_packet(self, stream, first, n_samples):
        packet = super().stored_packet(stream, first, n_samples)
        return replace(packet, sequence=stream.sequence)


class BackfillOtherTicks(FirmwareBoard):
    def stored_packet(self, stream, first, n_samples):
        return replace(super().stored_packet(stream, first, n_samples), ticks=self.ticks())


class BackfillOtherValues(FirmwareBoard):
    def stored_packet(self, stream, first, n_samples):
        packet = super().stored_packet(stream, first, n_samples)
        return replace(packet, data=packet.data[2:] + packet.data[:2])


class BackfillUnasked(FirmwareBoard):
    def sample(self, stream, n_samples):
        super().sample(stream, n_samples)
        if stream.sequence == 2 * n_samples:
            self.due.append(self.stored_packet(stream, 0, n_samples))


class BackfillInsteadOfLive(FirmwareBoard):
    """Live packets are stored while stored ones are sent."""

    held = ()
    until_ns = 0

    def send_stored(self, stream, start, count):
        super().send_stored(stream, start, count)
        self.until_ns = self.now_ns + 2 * S

    def sample(self, stream, n_samples):
        if self.now_ns < self.until_ns:
            stream.sequence += n_samples
            return
        super().sample(stream, n_samples)


class RefusesLongerCommands(FirmwareBoard):
    def hear(self, item):
        if isinstance(item, Corrupt) or item.packet_type != PacketType.COMMAND or len(item.payload) == 12:
            super().hear(item)


class DiesOfUnknownTypes(FirmwareBoard):
    is_dead = False

    def hear(self, item):
        self.is_dead |= not isinstance(item, Corrupt) and isinstance(decode_packet(item), UnknownPacket)
        if not self.is_dead:
            super().hear(item)


class Echoes(FirmwareBoard):
    def hear(self, item):
        if not isinstance(item, Corrupt) and isinstance(decode_packet(item), TimeRequest):
            self.send(item.packet_type, item.payload)
        super().hear(item)


class SpecialNumber(FirmwareBoard):
    def reading(self):
        return ReadingPacket(ticks=self.ticks(), measure_code=150456, mantissa=127)


class RareReading(FirmwareBoard):
    def reading_period_s(self):
        return 18


class ReadingOnce(FirmwareBoard):
    def reading_period_s(self):
        return 1000


class UnknownMeasure(FirmwareBoard):
    def reading(self):
        return ReadingPacket(ticks=self.ticks(), measure_code=1, mantissa=1)


class ConditionOnce(FirmwareBoard):
    n_said = 0

    def say_condition(self):
        self.n_said += 1
        if self.n_said == 1:
            super().say_condition()


class ConditionOfNobody(FirmwareBoard):
    def say_condition(self):
        self.say(EventPacket(ticks=self.ticks(), condition_code=1, stream_id=77, is_active=True))


class AcknowledgesTwice(FirmwareBoard):
    def acknowledge(self, command, result, value):
        super().acknowledge(command, result, value)
        super().acknowledge(command, result, value)


class UnknownCommandDone(FirmwareBoard):
    def acknowledge(self, command, result, value):
        super().acknowledge(command, CommandResult.DONE, value)


class IgnoresUnknownCommands(FirmwareBoard):
    def obey(self, command):
        if command.code in set(CommandCode):
            super().obey(command)


class AnswersTimeTwice(FirmwareBoard):
    def answer_time(self, request):
        super().answer_time(request)
        super().answer_time(request)


class ForgetsTimes(FirmwareBoard):
    n_asked = 0

    def answer_time(self, request):
        self.n_asked += 1
        if self.n_asked % 5:
            super().answer_time(request)


class AnswersTimeLater(FirmwareBoard):
    """Commands are obeyed at once, times are answered when there is time."""

    waiting = ()

    def answer_time(self, request):
        self.waiting = (*self.waiting, request)

    def take_line(self):
        waiting, self.waiting = self.waiting, ()
        for request in waiting:
            super().answer_time(request)
        return super().take_line()


class RateWithoutHello(FirmwareBoard):
    """Changes the rate first and says so afterwards: the hello comes before the acknowledgement."""

    def obey(self, command):
        if command.code == CommandCode.SET_RATE:
            self.set_rate(self.streams[0], command.argument // 1000)
            self.acknowledge(command, CommandResult.DONE, command.argument)
        else:
            super().obey(command)


class GoesOnAfterStop(FirmwareBoard):
    def sample(self, stream, n_samples):
        was_running, stream.is_running = stream.is_running, True
        super().sample(stream, n_samples)
        stream.is_running = was_running


BROKEN = [
    (1, NotCobs),
    (1, NeedsWholeFrames),
    (2, OtherVersion),
    (2, ReadsAnyVersion),
    (3, WrongChecksum),
    (3, IgnoresChecksums),
    (4, ShortFrames),
    (4, DiesOfLongFrames),
    (5, OneDelimiter),
    (5, StumblesOverDelimiters),
    (6, HangsAfterGarbage),
    (6, WaitsForTheRestOfAFrame),
    (7, DoesNotCountFrames),
    (7, CountsFramesByType),
    (8, SendsFramesTwice),
    (8, SendsSamplesTwice),
    (8, BackfillUnflagged),
    (9, NoHelloWhenAsked),
    (9, NoHelloAfterStop),
    (9, NoDeviceId),
    (10, BigEndianField),
    (10, ReservedBytes),
    (10, TextWithRubbish),
    (10, StrangeStream),
    (11, StopsCounting),
    (11, LeavesSamplesOut),
    (11, CountsPackets),
    (12, TicksStep),
    (12, TicksStandStill),
    (12, TicksOfSending),
    (13, OutOfLimits),
    (13, OtherRate),
    (14, BackfillRenumbered),
    (14, BackfillOtherTicks),
    (14, BackfillOtherValues),
    (14, BackfillUnasked),
    (14, BackfillInsteadOfLive),
    (15, RefusesLongerCommands),
    (16, DiesOfUnknownTypes),
    (16, Echoes),
    (17, SpecialNumber),
    (17, RareReading),
    (17, ReadingOnce),
    (17, UnknownMeasure),
    (18, ConditionOnce),
    (18, ConditionOfNobody),
    (19, AcknowledgesTwice),
    (19, UnknownCommandDone),
    (19, IgnoresUnknownCommands),
    (19, AnswersTimeTwice),
    (19, ForgetsTimes),
    (19, AnswersTimeLater),
    (19, RateWithoutHello),
    (19, GoesOnAfterStop),
]
