"""Bytes of our own sensor protocol in, the vocabulary of `edge.messages` out (``firmware_bridge/PROTOCOL.md``).

Fed by the sensor supervision with what a transport read; what it wants to say is asked for and written back::

    decoder = BridgeDecoder(BridgeSettings(sensor="bed"))
    write(decoder.greeting())                        # on every connect; `sensor` does all this
    for item in decoder.push(chunk):                 # DeviceBlock, Reading, SensorStatus, ...
        pipeline.push(item)
    write(decoder.requests(now_ns))                  # a few times a second; often nothing

`reset` between two links does not lose count: nothing is read until the device says hello again, and if it is the same
device in the same boot its counters go on, so that the loss is exact and stored samples are asked for and filled in.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from edge.acquisition.bridge_requests import BridgeRequests
from edge.acquisition.bridge_streams import BridgeStream
from edge.acquisition.bridge_values import TimePair, reading, status
from edge.acquisition.decoder import DecoderCounters
from edge.acquisition.framing import SEQUENCE_RANGE, Frame, FrameDecoder
from edge.acquisition.packets import (
    WHOLE_DEVICE,
    Command,
    CommandAck,
    CommandCode,
    EventPacket,
    Hello,
    Packet,
    ReadingPacket,
    SamplesPacket,
    TimeRequest,
    TimeResponse,
    UnknownPacket,
    decode_packet,
)
from edge.acquisition.unrolling import NS_PER_S, DeviceClock
from edge.messages import (
    Chunk,
    Corrupt,
    DeviceBlock,
    Gap,
    Outgoing,
    Reading,
    SensorIdentity,
    SensorStatus,
    StreamInfo,
)

_RECENT_FRAMES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSettings:
    """How one bridge sensor is read."""

    sensor: str
    """Id of the sensor in the configuration; stands in everything that comes out."""
    backfill_interval_s: float = 1.0
    """Between two requests for samples that were lost and that the device may have stored."""
    time_sync_interval_s: float = 10.0
    """Between two time requests: six points in the minute over which `timeline` looks."""
    hello_retry_s: float = 1.0
    """Between two requests for a hello while none has come."""
    repeat_window_s: float = 5.0
    """A frame or block this much older than the newest can be a late repeat; an older one means that the device
    restarted.  Relays repeat within a second."""
    max_missing_ranges: int = 256
    """Losses remembered per stream, so that stored samples can fill them."""


BridgeItem = DeviceBlock | Reading | SensorStatus | SensorIdentity | Gap | Corrupt | TimePair | CommandAck


class BridgeDecoder:
    """Decode the bytes of one bridge device.

    Corrupt reasons beyond those of `framing.FrameDecoder` and `packets.decode_packet`:

    ``duplicate``
        a frame or samples that had already come;
    ``no-hello``
        samples or times before the device said what they mean;
    ``unknown-stream``, ``channels``
        samples that contradict the hello;
    ``unknown-measure``
        a reading of something that has no name here;
    ``unasked``
        an answer to a time request that was never made;
    ``direction``
        a host's packet sent by a device, as when the line echoes.
    """

    def __init__(self, settings: BridgeSettings) -> None:
        self._settings = settings
        self._framing = FrameDecoder()
        self._n_corrupt: Counter[str] = Counter()
        self._n_unknown_types: Counter[int] = Counter()
        self._n_lost_frames = 0
        self._n_lost_samples = 0
        self._n_backfilled_samples = 0
        self._n_device_resets = 0
        self._requests = BridgeRequests(
            hello_retry_s=settings.hello_retry_s,
            time_sync_interval_s=settings.time_sync_interval_s,
            backfill_interval_s=settings.backfill_interval_s,
            max_losses=settings.max_missing_ranges,
        )
        self._remembered: tuple[Hello, DeviceClock, dict[int, BridgeStream]] | None = None
        self._hello: Hello | None = None
        self._clock: DeviceClock | None = None
        self._streams: dict[int, BridgeStream] = {}
        self._recent: dict[int, Frame] = {}  # by frame sequence, oldest first
        self._newest_frame: int | None = None

    def _forget(self) -> None:
        self._hello = None
        self._clock = None
        self._streams = {}
        self._recent = {}
        self._newest_frame = None
        self._requests.forget_device()

    def push(self, item: Chunk) -> list[BridgeItem]:
        """Return what `item` completed, in stream order."""
        out: list[BridgeItem] = []
        for found in self._framing.push(item):
            if isinstance(found, Corrupt):
                out.append(found)
            else:
                out += self._frame(found)
        return out

    def flush(self) -> list[BridgeItem]:
        """Return the half frame at the end of the stream as dropped, if there is one."""
        return [item for item in self._framing.flush() if isinstance(item, Corrupt)]

    def reset(self, reason: str) -> None:
        """Begin a new link: nothing is read until a hello; the same boot of the same device then goes on counting."""
        self._framing.reset(reason)
        if self._hello is not None and self._clock is not None:
            self._remembered = (self._hello, self._clock, self._streams)
        self._forget()

    @property
    def counters(self) -> DecoderCounters:
        """What was seen so far."""
        framing = self._framing.counters
        return DecoderCounters(
            n_frames=framing.n_frames,
            n_corrupt=dict(self._n_corrupt + Counter(framing.n_corrupt)),
            n_unknown_types=dict(self._n_unknown_types),
            n_lost_frames=self._n_lost_frames,
            n_lost_samples=self._n_lost_samples,
            n_backfilled_samples=self._n_backfilled_samples,
            n_device_resets=self._n_device_resets,
        )

    def greeting(self) -> list[Outgoing]:
        """Return what to write on every connect: who are you?"""
        return [Outgoing(data=self.command(CommandCode.IDENTIFY))]

    def requests(self, now_ns: int) -> list[Outgoing]:
        """Return what is due at `now_ns`: a request for a hello, the device's clock or lost samples; often nothing."""
        line = self._requests.due(now_ns, has_hello=self._hello is not None)
        return [Outgoing(data=line)] if line else []

    def farewell(self) -> list[Outgoing]:
        """Return nothing: a bridge device goes on counting and storing while nobody listens."""
        return []

    def command(self, code: CommandCode, *, stream: str | None = None, argument: int = 0, count: int = 0) -> bytes:
        """Return a command to write; its `CommandAck` carries the id of the latest call modulo 65536.

        Raises
        ------
        ValueError
            If the device has no stream of that name, or has not said so yet.
        """
        stream_id = WHOLE_DEVICE
        if stream is not None:
            ids = {known.name: stream_id for stream_id, known in self._streams.items()}
            if stream not in ids:
                raise ValueError(f"expected one of the streams {sorted(ids)}, got {stream!r}")
            stream_id = ids[stream]
        return self._requests.command(code, stream_id, argument, count)

    def _frame(self, frame: Frame) -> list[BridgeItem]:
        if self._is_copy(frame, self._recent.get(frame.sequence)):
            return [self._corrupt("duplicate", frame)]
        previous, self._newest_frame = self._newest_frame, frame.sequence
        self._recent.pop(frame.sequence, None)  # so that insertion order is age
        self._recent[frame.sequence] = frame
        if len(self._recent) > _RECENT_FRAMES:
            del self._recent[next(iter(self._recent))]
        packet = decode_packet(frame)
        if previous is not None and not (isinstance(packet, Hello) and self._is_another_boot(packet)):
            step = (frame.sequence - previous) % SEQUENCE_RANGE
            if step < SEQUENCE_RANGE // 2:  # else it counted back: a restart or a late frame, and nothing is lost
                self._n_lost_frames += max(0, step - 1)
        if isinstance(packet, Corrupt):
            self._n_corrupt[packet.reason] += 1
            return [packet]
        return self._packet(packet, frame)

    def _is_copy(self, frame: Frame, other: Frame | None) -> bool:
        """Whether a relay sent `other` again; a restarted device may send equal frames, but not that soon."""
        if other is None or (frame.packet_type, frame.payload) != (other.packet_type, other.payload):
            return False
        return frame.received_at_ns - other.received_at_ns <= self._settings.repeat_window_s * NS_PER_S

    def _packet(self, packet: Packet, frame: Frame) -> list[BridgeItem]:  # noqa: PLR0911  one branch per packet type
        match packet:
            case Hello():
                return self._hear_hello(packet, frame)
            case SamplesPacket():
                return self._samples(packet, frame)
            case ReadingPacket():
                found = reading(packet, self._settings.sensor, self._host_ns(packet.ticks, frame))
                return [found or self._corrupt("unknown-measure", frame)]
            case EventPacket():
                known = self._streams.get(packet.stream_id)
                name = known.name if known else None
                return [status(packet, self._settings.sensor, name, self._host_ns(packet.ticks, frame))]
            case TimeResponse():
                return [self._time_pair(packet, frame)]
            case CommandAck():
                self._requests.hear_ack(packet)
                return [packet]
            case UnknownPacket(packet_type=packet_type):
                self._n_unknown_types[packet_type] += 1
                return []
            case TimeRequest() | Command():
                return [self._corrupt("direction", frame)]

    def _hear_hello(self, hello: Hello, frame: Frame) -> list[BridgeItem]:
        out: list[BridgeItem] = []
        known = self._hello
        if known is None or self._is_another_boot(hello):
            if known is not None:
                out += self._device_reset(frame)
            self._meet(hello, frame)
        elif known.tick_rate_hz != hello.tick_rate_hz:
            return [self._corrupt("value", frame)]  # a clock cannot change its rate within one boot
        if self._clock is not None:
            self._clock.observe(self._clock.unroll(hello.ticks, frame.received_at_ns), frame.received_at_ns)
        self._hello = hello
        for descriptor in hello.streams:
            stream = self._streams.get(descriptor.stream_id)
            if stream is not None and stream.name == descriptor.name:
                stream.describe(descriptor)
            else:
                self._streams[descriptor.stream_id] = BridgeStream(
                    self._settings.sensor,
                    descriptor,
                    repeat_window_s=self._settings.repeat_window_s,
                    max_missing_ranges=self._settings.max_missing_ranges,
                )
        if known is None or replace(known, ticks=0) != replace(hello, ticks=0):
            out.append(self._identity(hello, frame))
        return out

    def _meet(self, hello: Hello, frame: Frame) -> None:
        """Take up the counters where the last link left them, or begin anew."""
        self._clock = DeviceClock(hello.tick_rate_hz, hello.ticks, frame.received_at_ns)
        if self._remembered is None:
            return
        known, clock, streams = self._remembered
        self._remembered = None
        same = (known.device_id, known.boot_id, known.tick_rate_hz)
        if same == (hello.device_id, hello.boot_id, hello.tick_rate_hz):
            self._clock, self._streams = clock, streams

    def _is_another_boot(self, hello: Hello) -> bool:
        known = self._hello
        return known is None or (known.device_id, known.boot_id) != (hello.device_id, hello.boot_id)

    def _identity(self, hello: Hello, frame: Frame) -> SensorIdentity:
        streams = [self._streams[descriptor.stream_id] for descriptor in hello.streams]
        return SensorIdentity(
            sensor=self._settings.sensor,
            device_id=hello.device_id,
            model=hello.model,
            firmware=hello.firmware,
            boot_id=hello.boot_id,
            streams=tuple(
                StreamInfo(name=stream.name, channels=stream.channels, nominal_rate_hz=stream.rate_hz)
                for stream in streams
            ),
            at_ns=frame.received_at_ns,
        )

    def _device_reset(self, frame: Frame) -> list[BridgeItem]:
        """Close every stream with a gap of unknown size and forget the old boot, identity included."""
        self._n_device_resets += 1
        gaps: list[BridgeItem] = [
            Gap(
                sensor=self._settings.sensor,
                stream=stream.name,
                start_ns=min(stream.received_at_ns, frame.received_at_ns),
                end_ns=frame.received_at_ns,
                n_missing=None,
                reason="device-reset",
            )
            for stream in self._streams.values()
            if stream.received_at_ns is not None
        ]
        self._hello = None
        self._clock = None
        self._streams = {}
        self._requests.forget_device()
        self._recent.clear()
        self._newest_frame = None
        return gaps

    def _samples(self, packet: SamplesPacket, frame: Frame) -> list[BridgeItem]:
        if self._clock is None:
            return [self._corrupt("no-hello", frame)]
        stream = self._streams.get(packet.stream_id)
        if stream is None:
            return [self._corrupt("unknown-stream", frame)]
        if packet.n_channels != len(stream.channels):
            return [self._corrupt("channels", frame)]
        outcome = stream.take(packet, frame.received_at_ns, self._clock)
        if outcome.is_from_another_boot:
            return [*self._device_reset(frame), self._corrupt("no-hello", frame)]
        if outcome.n_lost_samples:
            self._n_lost_samples += outcome.n_lost_samples
            start = outcome.blocks[0].sequence - outcome.n_lost_samples
            self._requests.hear_loss(packet.stream_id, start, outcome.n_lost_samples)
        self._n_backfilled_samples += sum(len(block.values) for block in outcome.blocks if block.is_backfill)
        out: list[BridgeItem] = list(outcome.blocks)
        if outcome.n_repeated_samples:
            out.append(self._corrupt("duplicate", frame))
        return out

    def _time_pair(self, packet: TimeResponse, frame: Frame) -> TimePair | Corrupt:
        if self._clock is None:
            return self._corrupt("no-hello", frame)
        if not self._requests.hear_time(packet.host_ns):
            return self._corrupt("unasked", frame)
        received = self._clock.unroll(packet.received_ticks, frame.received_at_ns)
        sent = self._clock.unroll(packet.sent_ticks, frame.received_at_ns)
        self._clock.observe(sent, frame.received_at_ns)
        return TimePair(
            sensor=self._settings.sensor,
            host_sent_ns=packet.host_ns,
            host_received_ns=frame.received_at_ns,
            device_received_ns=self._clock.device_ns(received),
            device_sent_ns=self._clock.device_ns(sent),
        )

    def _host_ns(self, ticks: int, frame: Frame) -> int:
        """Return when the device's `ticks` was; the arrival where the device's clock is not known."""
        if self._clock is None:
            return frame.received_at_ns
        return self._clock.host_ns(self._clock.unroll(ticks, frame.received_at_ns), frame.received_at_ns)

    def _corrupt(self, reason: str, frame: Frame) -> Corrupt:
        self._n_corrupt[reason] += 1
        return Corrupt(reason=reason, offset=frame.offset, n_bytes=frame.n_bytes)
