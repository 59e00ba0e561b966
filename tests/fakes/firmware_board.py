"""A board as small as a conformant one can be, in memory, and made to be broken: one method for everything it does."""

from __future__ import annotations

from dataclasses import replace

from edge.acquisition.framing import Frame, FrameDecoder, encode_frame
from edge.acquisition.packets import (
    WHOLE_DEVICE,
    ChannelDescriptor,
    Command,
    CommandAck,
    CommandCode,
    CommandResult,
    EventPacket,
    Hello,
    ReadingPacket,
    SamplesPacket,
    StreamDescriptor,
    TimeRequest,
    TimeResponse,
    decode_packet,
    encode_packet,
)
from edge.messages import Chunk, Corrupt

NS_PER_S = 1_000_000_000
TICK_RATE_HZ = 1_000_000
PACKET_S = 0.1
CHANNEL = ChannelDescriptor(
    name="II", kind_code=1, unit_code=2, resolution_bits=12, gain_numerator=5, gain_denominator=1,
    minimum_counts=-2048, maximum_counts=2047,
)  # fmt: skip


class Stream:
    """One stream: a saw-tooth with a true rate of its own."""

    def __init__(self, stream_id, name, rate_hz):
        self.stream_id, self.name, self.rate_hz, self.is_running = stream_id, name, rate_hz, True
        self.sequence = 0  # of the next sample
        self.begun_ns, self.begun_sequence = 0, 0  # when the rate was last set
        self.stored = []

    def time_ns(self, sequence):
        return self.begun_ns + round((sequence - self.begun_sequence) * NS_PER_S / self.rate_hz)


class FirmwareBoard:
    """What a conformant device does; a test overrides one method."""

    def __init__(self):
        self.now_ns = 0
        self.boot_id, self.boot_ns = 7, 0
        self.frame_number = 0
        self.streams = [Stream(1, "ecg", 250), Stream(2, "ppg", 100)]
        self.decoder = FrameDecoder()
        self.line = b""
        self.due = []
        self.next_reading_ns = 0
        self.has_said_hello = False
        self.is_lead_off = True

    # -- the caller's side

    def advance(self, now_ns):
        self.now_ns = now_ns
        if not self.has_said_hello:
            self.has_said_hello = True
            self.say_hello()
        for stream in self.streams:
            n_samples = max(1, round(PACKET_S * stream.rate_hz))
            while stream.time_ns(stream.sequence + n_samples - 1) <= now_ns:
                self.sample(stream, n_samples)
        if now_ns >= self.next_reading_ns:
            self.next_reading_ns += self.reading_period_s() * NS_PER_S
            self.say(self.reading())
        if self.due:
            self.say(self.due.pop(0))
        return self.take_line()

    def receive(self, data):
        for item in self.decoder.push(Chunk(data=data, received_at_ns=self.now_ns)):
            self.hear(item)
        return self.take_line()

    def take_line(self):
        line, self.line = self.line, b""
        return line

    # -- what can be broken

    def hear(self, item):
        if isinstance(item, Corrupt):
            return
        packet = decode_packet(item)
        if isinstance(packet, TimeRequest):
            self.answer_time(packet)
        elif isinstance(packet, Command):
            self.obey(packet)

    def answer_time(self, request):
        self.say(TimeResponse(host_ns=request.host_ns, received_ticks=self.ticks(), sent_ticks=self.ticks()))

    def ticks(self, at_ns=None):
        at_ns = self.now_ns if at_ns is None else at_ns
        return (at_ns - self.boot_ns) * TICK_RATE_HZ // NS_PER_S % (1 << 32)

    def sample_ticks(self, stream, sequence, n_samples):
        return self.ticks(stream.time_ns(sequence))

    def reading_period_s(self):
        return 1

    def reading(self):
        return ReadingPacket(ticks=self.ticks(), measure_code=147842, mantissa=72)

    def sample(self, stream, n_samples):
        first, stream.sequence = stream.sequence, stream.sequence + n_samples
        packet = self.samples_packet(stream, first, n_samples)
        stream.stored = [*stream.stored[-300:], packet]
        if stream.is_running:
            self.say(packet)

    def samples_packet(self, stream, first, n_samples):
        counts = [(first + k) % 1000 for k in range(n_samples)]
        return SamplesPacket(
            stream_id=stream.stream_id,
            sequence=first,
            ticks=self.sample_ticks(stream, first, n_samples),
            n_channels=1,
            bytes_per_value=2,
            data=b"".join(count.to_bytes(2, "little") for count in counts),
        )

    def stream_descriptor(self, stream):
        return StreamDescriptor(
            stream_id=stream.stream_id, name=stream.name, rate_mhz=stream.rate_hz * 1000, channels=(CHANNEL,),
            is_running=stream.is_running,
        )  # fmt: skip

    def hello(self):
        return Hello(
            boot_id=self.boot_id, tick_rate_hz=TICK_RATE_HZ, ticks=self.ticks(), device_id="board-1", model="fake",
            firmware="1.2.3", streams=tuple(self.stream_descriptor(stream) for stream in self.streams),
        )  # fmt: skip

    def say_hello(self):
        self.say(self.hello())
        if self.is_lead_off:
            self.say_condition()

    def say_condition(self):
        self.say(EventPacket(ticks=self.ticks(), condition_code=1, stream_id=1, is_active=True))

    def obey(self, command):
        result, value = CommandResult.DONE, 0
        stream = next((each for each in self.streams if each.stream_id == command.stream_id), None)
        after = []
        if command.code not in set(CommandCode):
            result = CommandResult.UNKNOWN_COMMAND
        elif command.code == CommandCode.IDENTIFY:
            after = [self.say_hello]
        elif stream is None:
            result = CommandResult.UNKNOWN_STREAM
        elif command.code in {CommandCode.START, CommandCode.STOP}:
            after = [lambda: self.switch(stream, command.code == CommandCode.START)]
        elif command.code == CommandCode.SET_RATE:
            value = command.argument
            after = [lambda: self.set_rate(stream, command.argument // 1000)]
        else:
            after = [lambda: self.send_stored(stream, command.argument, command.count)]
        self.acknowledge(command, result, value)
        for action in after:
            action()

    def acknowledge(self, command, result, value):
        self.say(CommandAck(command_id=command.command_id, code=command.code, result_code=result, value=value))

    def switch(self, stream, is_running):
        stream.is_running = is_running
        self.say_hello()

    def set_rate(self, stream, rate_hz):
        stream.begun_ns, stream.begun_sequence = stream.time_ns(stream.sequence), stream.sequence
        stream.rate_hz = rate_hz
        self.say_hello()

    def send_stored(self, stream, start, count):
        for packet in stream.stored:
            low, high = max(start, packet.sequence), min(start + count, packet.sequence + packet.n_samples)
            if low < high:
                self.due.append(self.stored_packet(stream, low, high - low))

    def stored_packet(self, stream, first, n_samples):
        return replace(self.samples_packet(stream, first, n_samples), is_backfill=True)

    def say(self, packet):
        self.send(*encode_packet(packet))

    def send(self, packet_type, payload):
        self.put(self.framed(packet_type, payload))
        self.count_frame(packet_type)

    def framed(self, packet_type, payload):
        return encode_frame(packet_type, payload, sequence=self.frame_number)

    def count_frame(self, packet_type):
        self.frame_number = (self.frame_number + 1) % 65536

    def put(self, line):
        self.line += line

    def restart(self):
        """Begin again as after power-on."""
        self.boot_id, self.boot_ns, self.frame_number = self.boot_id + 1, self.now_ns, 0
        self.decoder, self.due = FrameDecoder(), []
        for stream in self.streams:
            stream.begun_ns, stream.begun_sequence, stream.sequence, stream.stored = self.now_ns, 0, 0, []
        self.say_hello()


__all__ = ["CHANNEL", "PACKET_S", "TICK_RATE_HZ", "WHOLE_DEVICE", "FirmwareBoard", "Frame", "Stream"]
