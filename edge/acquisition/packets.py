"""Payloads of frames to typed packets and back (``firmware_bridge/PROTOCOL.md``, R10–R19).

The byte tables are in `packet_layouts`, the packets in `packet_types`; all names are offered here.  Fed by `bridge` with
frames from `framing`; used the other way round by virtual sensors::

    line = packet_line(Hello(...), sequence=0)             # bytes for the line, framed
    packet_type, payload = encode_packet(packet)           # the payload alone
    packet = decode_packet(frame)                          # Packet | Corrupt; never raises

Extension rule: bytes after the last known field of a payload, of a stream record or of a channel record are
ignored, so that a later minor version may append fields; a packet type that is not known is an `UnknownPacket`.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.acquisition.framing import MAX_PAYLOAD_BYTES, VERSION, Frame, encode_frame
from edge.acquisition.packet_layouts import (
    CHANNEL_RECORD,
    COMMAND,
    COMMAND_ACK,
    EVENT,
    HELLO,
    MAX_CHANNELS,
    MAX_EVENT_TEXT_BYTES,
    MAX_STREAMS,
    READING,
    SAMPLES,
    STREAM_RECORD,
    TICK_RATE_HZ,
    TIME_REQUEST,
    TIME_RESPONSE,
    Layout,
    readable,
    text_field,
)
from edge.acquisition.packet_types import (
    ABSENT_REASONS,
    CHANNEL_KINDS,
    CONDITIONS,
    MEASURES,
    READING_STATUSES,
    UNITS,
    WHOLE_DEVICE,
    ChannelDescriptor,
    Command,
    CommandAck,
    CommandCode,
    CommandResult,
    EventPacket,
    Hello,
    Packet,
    PacketType,
    ReadingPacket,
    SamplesPacket,
    StreamDescriptor,
    TimeRequest,
    TimeResponse,
    UnknownPacket,
    pack_counts,
    unpack_counts,
)
from edge.messages import Corrupt

__all__ = [
    "ABSENT_REASONS",
    "CHANNEL_KINDS",
    "CONDITIONS",
    "MAX_CHANNELS",
    "MAX_EVENT_TEXT_BYTES",
    "MAX_STREAMS",
    "MEASURES",
    "READING_STATUSES",
    "TICK_RATE_HZ",
    "UNITS",
    "WHOLE_DEVICE",
    "ChannelDescriptor",
    "Command",
    "CommandAck",
    "CommandCode",
    "CommandResult",
    "EventPacket",
    "Hello",
    "Packet",
    "PacketType",
    "ReadingPacket",
    "SamplesPacket",
    "StreamDescriptor",
    "TimeRequest",
    "TimeResponse",
    "UnknownPacket",
    "decode_packet",
    "encode_packet",
    "pack_counts",
    "packet_line",
    "unpack_counts",
]

_IS_RUNNING = 0x01
_IS_BACKFILL = 0x01


def packet_line(packet: Packet, *, sequence: int, version: int = VERSION) -> bytes:
    """Return `packet` framed for the line; `sequence` counts the sender's frames, modulo 65536."""
    packet_type, payload = encode_packet(packet)
    return encode_frame(packet_type, payload, sequence=sequence, version=version)


def encode_packet(packet: Packet) -> tuple[int, bytes]:
    """Return the packet type and payload of `packet`.

    Raises
    ------
    ValueError
        If a number does not fit its field, a text is too long, or the payload would not fit a frame.
    """
    packet_type, payload = _encode(packet)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"expected at most {MAX_PAYLOAD_BYTES} payload bytes, got {len(payload)}: {packet_type!r}")
    return packet_type, payload


def _encode(packet: Packet) -> tuple[int, bytes]:  # noqa: PLR0911  one branch per packet type
    match packet:
        case Hello():
            return PacketType.HELLO, _encode_hello(packet)
        case SamplesPacket():
            return PacketType.SAMPLES, _encode_samples(packet)
        case ReadingPacket(ticks=ticks, measure_code=code, mantissa=mantissa, exponent=exponent):
            rest = (packet.status_code, packet.absent_code, 0, packet.valid_for_s, 0)
            return PacketType.READING, READING.pack(ticks, code, mantissa, exponent, *rest)
        case EventPacket(ticks=ticks, condition_code=code, stream_id=stream_id, is_active=is_active, value=value):
            text = text_field(packet.text, MAX_EVENT_TEXT_BYTES)
            return PacketType.EVENT, EVENT.pack(ticks, code, stream_id, int(is_active), value, len(text)) + text
        case TimeRequest():
            return PacketType.TIME_REQUEST, TIME_REQUEST.pack(packet.host_ns)
        case TimeResponse(host_ns=host_ns, received_ticks=received, sent_ticks=sent):
            return PacketType.TIME_RESPONSE, TIME_RESPONSE.pack(host_ns, received, sent)
        case Command(command_id=command_id, code=code, stream_id=stream_id, argument=argument, count=count):
            return PacketType.COMMAND, COMMAND.pack(command_id, code, stream_id, argument, count)
        case CommandAck(command_id=command_id, code=code, result_code=result, value=value):
            return PacketType.COMMAND_ACK, COMMAND_ACK.pack(command_id, code, result, value)
        case UnknownPacket(packet_type=packet_type, payload=payload):
            return packet_type, payload


def _encode_hello(hello: Hello) -> bytes:
    out = [
        HELLO.pack(
            hello.boot_id,
            hello.tick_rate_hz,
            hello.ticks,
            *(text_field(text, 16) for text in (hello.device_id, hello.model, hello.firmware)),
            len(hello.streams),
            STREAM_RECORD.n_bytes,
            CHANNEL_RECORD.n_bytes,
            0,
        )
    ]
    for stream in hello.streams:
        flags = _IS_RUNNING if stream.is_running else 0
        name = text_field(stream.name, 12)
        out.append(STREAM_RECORD.pack(stream.stream_id, len(stream.channels), flags, 0, stream.rate_mhz, name))
        for channel in stream.channels:
            out.append(  # noqa: PERF401  a comprehension of this size is harder to read
                CHANNEL_RECORD.pack(
                    channel.kind_code,
                    channel.unit_code,
                    channel.resolution_bits,
                    0,
                    channel.gain_numerator,
                    channel.gain_denominator,
                    channel.offset_counts,
                    channel.minimum_counts,
                    channel.maximum_counts,
                    text_field(channel.name, 12),
                )
            )
    return b"".join(out)


def _encode_samples(packet: SamplesPacket) -> bytes:
    n_samples = packet.n_samples
    if n_samples * packet.n_channels * packet.bytes_per_value != len(packet.data):
        raise ValueError(f"expected whole samples, got {len(packet.data)} bytes for {packet.n_channels} channels")
    flags = _IS_BACKFILL if packet.is_backfill else 0
    head = (packet.stream_id, flags, n_samples, packet.sequence, packet.ticks, packet.n_channels)
    return SAMPLES.pack(*head, packet.bytes_per_value) + packet.data


def decode_packet(frame: Frame) -> Packet | Corrupt:
    """Return the packet in `frame`, or why it is none.

    Returns
    -------
    Packet or Corrupt
        `UnknownPacket` for a type that is not known.  `Corrupt` reasons: ``version`` (another protocol version),
        ``length`` (payload shorter than its fields), ``value`` (a field outside its range).
    """
    if frame.version != VERSION:
        return Corrupt(reason="version", offset=frame.offset, n_bytes=frame.n_bytes)
    known = _DECODERS.get(frame.packet_type)
    if known is None:
        return UnknownPacket(packet_type=frame.packet_type, payload=frame.payload)
    layout, decode = known
    if len(frame.payload) < layout.n_bytes:
        return Corrupt(reason="length", offset=frame.offset, n_bytes=frame.n_bytes)
    found = decode(frame.payload)
    if isinstance(found, str):
        return Corrupt(reason=found, offset=frame.offset, n_bytes=frame.n_bytes)
    return found


def _decode_hello(data: bytes) -> Hello | str:
    boot_id, tick_rate_hz, ticks, n_streams, stream_bytes, channel_bytes, _ = HELLO.unpack(data)
    device_id, model, firmware = HELLO.text(data)
    if not (TICK_RATE_HZ[0] <= tick_rate_hz <= TICK_RATE_HZ[1] and n_streams <= MAX_STREAMS):
        return "value"
    if stream_bytes < STREAM_RECORD.n_bytes or channel_bytes < CHANNEL_RECORD.n_bytes:
        return "value"
    streams = _decode_streams(data, n_streams, stream_bytes, channel_bytes)
    if isinstance(streams, str):
        return streams
    return Hello(
        boot_id=boot_id,
        tick_rate_hz=tick_rate_hz,
        ticks=ticks,
        device_id=device_id,
        model=model,
        firmware=firmware,
        streams=streams,
    )


def _decode_streams(
    data: bytes, n_streams: int, stream_bytes: int, channel_bytes: int
) -> tuple[StreamDescriptor, ...] | str:
    streams: dict[int, StreamDescriptor] = {}
    at = HELLO.n_bytes
    for _ in range(n_streams):
        if len(data) < at + stream_bytes:
            return "length"
        stream_id, n_channels, flags, _, rate_mhz = STREAM_RECORD.unpack(data, at)
        (name,) = STREAM_RECORD.text(data, at)
        at += stream_bytes
        if len(data) < at + n_channels * channel_bytes:
            return "length"
        channels = [_decode_channel(data, at + k * channel_bytes) for k in range(n_channels)]
        at += n_channels * channel_bytes
        valid = tuple(channel for channel in channels if channel is not None)
        if stream_id == WHOLE_DEVICE or not name or not rate_mhz or not 1 <= len(valid) == n_channels <= MAX_CHANNELS:
            return "value"
        is_running = bool(flags & _IS_RUNNING)
        streams[stream_id] = StreamDescriptor(
            stream_id=stream_id, name=name, rate_mhz=rate_mhz, channels=valid, is_running=is_running
        )
    if not len(streams) == len({stream.name for stream in streams.values()}) == n_streams:
        return "value"
    return tuple(streams.values())


def _decode_channel(data: bytes, at: int) -> ChannelDescriptor | None:
    kind, unit, bits, _, numerator, denominator, offset, minimum, maximum = CHANNEL_RECORD.unpack(data, at)
    if not (numerator and denominator and minimum < maximum):
        return None
    (name,) = CHANNEL_RECORD.text(data, at)
    return ChannelDescriptor(
        name=name,
        kind_code=kind,
        unit_code=unit,
        resolution_bits=bits,
        gain_numerator=numerator,
        gain_denominator=denominator,
        offset_counts=offset,
        minimum_counts=minimum,
        maximum_counts=maximum,
    )


def _decode_samples(data: bytes) -> SamplesPacket | str:
    stream_id, flags, n_samples, sequence, ticks, n_channels, bytes_per_value = SAMPLES.unpack(data)
    if not (n_samples and 1 <= n_channels <= MAX_CHANNELS and bytes_per_value in {2, 3}):
        return "value"
    n_bytes = n_samples * n_channels * bytes_per_value
    if len(data) < SAMPLES.n_bytes + n_bytes:
        return "length"
    return SamplesPacket(
        stream_id=stream_id,
        sequence=sequence,
        ticks=ticks,
        n_channels=n_channels,
        bytes_per_value=bytes_per_value,
        data=data[SAMPLES.n_bytes : SAMPLES.n_bytes + n_bytes],
        is_backfill=bool(flags & _IS_BACKFILL),
    )


def _decode_reading(data: bytes) -> ReadingPacket | str:
    ticks, measure, mantissa, exponent, status, absent, _, valid_for_s, _ = READING.unpack(data)
    return ReadingPacket(
        ticks=ticks,
        measure_code=measure,
        mantissa=mantissa,
        exponent=exponent,
        status_code=status,
        absent_code=absent,
        valid_for_s=valid_for_s,
    )


def _decode_event(data: bytes) -> EventPacket | str:
    ticks, condition, stream_id, is_active, value, text_bytes = EVENT.unpack(data)
    if text_bytes > MAX_EVENT_TEXT_BYTES or is_active > 1:
        return "value"
    if len(data) < EVENT.n_bytes + text_bytes:
        return "length"
    return EventPacket(
        ticks=ticks,
        condition_code=condition,
        stream_id=stream_id,
        is_active=bool(is_active),
        value=value,
        text=readable(data[EVENT.n_bytes : EVENT.n_bytes + text_bytes]),
    )


def _decode_time_request(data: bytes) -> TimeRequest | str:
    return TimeRequest(host_ns=TIME_REQUEST.unpack(data)[0])


def _decode_time_response(data: bytes) -> TimeResponse | str:
    host_ns, received, sent = TIME_RESPONSE.unpack(data)
    return TimeResponse(host_ns=host_ns, received_ticks=received, sent_ticks=sent)


def _decode_command(data: bytes) -> Command | str:
    command_id, code, stream_id, argument, count = COMMAND.unpack(data)
    return Command(command_id=command_id, code=code, stream_id=stream_id, argument=argument, count=count)


def _decode_command_ack(data: bytes) -> CommandAck | str:
    command_id, code, result, value = COMMAND_ACK.unpack(data)
    return CommandAck(command_id=command_id, code=code, result_code=result, value=value)


_DECODERS: dict[int, tuple[Layout, Callable[[bytes], Packet | str]]] = {
    PacketType.HELLO: (HELLO, _decode_hello),
    PacketType.SAMPLES: (SAMPLES, _decode_samples),
    PacketType.READING: (READING, _decode_reading),
    PacketType.EVENT: (EVENT, _decode_event),
    PacketType.TIME_RESPONSE: (TIME_RESPONSE, _decode_time_response),
    PacketType.COMMAND_ACK: (COMMAND_ACK, _decode_command_ack),
    PacketType.TIME_REQUEST: (TIME_REQUEST, _decode_time_request),
    PacketType.COMMAND: (COMMAND, _decode_command),
}
