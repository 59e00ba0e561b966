"""Packets come back from their bytes; any other bytes are a packet, skipped, or dropped by reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition import packet_layouts
from edge.acquisition.framing import VERSION, Frame, FrameDecoder
from edge.acquisition.packets import (
    ChannelDescriptor,
    Command,
    CommandAck,
    EventPacket,
    Hello,
    PacketType,
    ReadingPacket,
    SamplesPacket,
    StreamDescriptor,
    TimeRequest,
    TimeResponse,
    UnknownPacket,
    decode_packet,
    encode_packet,
    pack_counts,
    packet_line,
)
from edge.messages import Chunk, Corrupt

u8, u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
i32 = st.integers(-(1 << 31), (1 << 31) - 1)


def words(max_bytes, min_size=0):
    letters = st.characters(min_codepoint=32, max_codepoint=0x2FF).filter(str.isprintable)
    return st.text(letters, min_size=min_size, max_size=max_bytes).filter(lambda text: len(text.encode()) <= max_bytes)


channels = st.builds(
    ChannelDescriptor,
    name=words(12),
    kind_code=u8,
    unit_code=u8,
    resolution_bits=u8,
    gain_numerator=i32.filter(bool),
    gain_denominator=u32.filter(bool),
    offset_counts=i32,
    minimum_counts=st.integers(-(1 << 31), -1),
    maximum_counts=st.integers(0, (1 << 31) - 1),
)
streams = st.builds(
    StreamDescriptor,
    stream_id=st.integers(0, 254),
    name=words(12, min_size=1),
    rate_mhz=u32.filter(bool),
    channels=st.lists(channels, min_size=1, max_size=3).map(tuple),
    is_running=st.booleans(),
)
hellos = st.builds(
    Hello,
    boot_id=u32,
    tick_rate_hz=st.integers(1000, 1_000_000),
    ticks=u32,
    device_id=words(16),
    model=words(16),
    firmware=words(16),
    streams=st.lists(streams, max_size=4, unique_by=(lambda stream: stream.stream_id, lambda stream: stream.name)).map(
        tuple
    ),
)


@st.composite
def sample_packets(draw):
    n_channels, bytes_per_value = draw(st.integers(1, 16)), draw(st.sampled_from([2, 3]))
    n_samples = draw(st.integers(1, 990 // (n_channels * bytes_per_value)))
    return SamplesPacket(
        stream_id=draw(u8),
        sequence=draw(u32),
        ticks=draw(u32),
        n_channels=n_channels,
        bytes_per_value=bytes_per_value,
        data=draw(st.binary(min_size=1, max_size=16)).ljust(n_samples * n_channels * bytes_per_value, b"\x81")[
            : n_samples * n_channels * bytes_per_value
        ],
        is_backfill=draw(st.booleans()),
    )


anything = st.one_of(
    hellos,
    sample_packets(),
    st.builds(
        ReadingPacket,
        ticks=u32,
        measure_code=u32,
        mantissa=i32,
        exponent=st.integers(-128, 127),
        status_code=u8,
        absent_code=u8,
        valid_for_s=u16,
    ),
    st.builds(
        EventPacket, ticks=u32, condition_code=u16, is_active=st.booleans(), stream_id=u8, value=i32, text=words(64)
    ),
    st.builds(TimeRequest, host_ns=u64),
    st.builds(TimeResponse, host_ns=u64, received_ticks=u32, sent_ticks=u32),
    st.builds(Command, command_id=u16, code=u8, stream_id=u8, argument=u32, count=u32),
    st.builds(CommandAck, command_id=u16, code=u8, result_code=u8, value=u32),
    st.builds(UnknownPacket, packet_type=st.sampled_from([0, 7, 0x40, 0x80, 0xFF]), payload=st.binary(max_size=99)),
)


def frame_of(packet_type, payload, version=VERSION):
    return Frame(
        version=version, packet_type=packet_type, sequence=0, payload=payload, received_at_ns=0, offset=3, n_bytes=9
    )


@given(anything, u16)
def test_packet_comes_back_from_the_line(packet, sequence):
    """Invariant: build → encode → decode → equal."""
    (frame,) = FrameDecoder().push(Chunk(data=packet_line(packet, sequence=sequence), received_at_ns=0))

    assert decode_packet(frame) == packet
    assert frame.sequence == sequence


@given(st.sampled_from([*PacketType, 99]), st.binary(max_size=300))
def test_any_payload_is_a_packet_or_corrupt(packet_type, payload):
    """Invariant: no bytes raise; what is taken can be said again, and means the same."""
    found = decode_packet(frame_of(packet_type, payload))

    if isinstance(found, Corrupt):
        assert found.reason in {"length", "value"}
        assert (found.offset, found.n_bytes) == (3, 9)
    elif not isinstance(found, Hello | EventPacket):  # their text is cleaned on the way in
        assert decode_packet(frame_of(*encode_packet(found))) == found


@given(hellos, st.data())
def test_damaged_hello_is_never_half_a_hello(hello, data):
    """Invariant: a hello cut short anywhere is dropped, not read with fewer streams."""
    payload = encode_packet(hello)[1]
    n_bytes = data.draw(st.integers(0, len(payload) - 1))

    assert decode_packet(frame_of(PacketType.HELLO, payload[:n_bytes])).reason == "length"


@given(anything.filter(lambda packet: not isinstance(packet, UnknownPacket)), st.binary(min_size=1, max_size=20))
def test_trailing_fields_are_ignored(packet, extra):
    """Invariant: whatever a later version appends, the known fields read the same."""
    packet_type, payload = encode_packet(packet)

    assert decode_packet(frame_of(packet_type, payload + extra)) == packet


@given(anything, st.integers(0, 255).filter(lambda version: version != VERSION))
def test_other_version_is_dropped(packet, version):
    """A frame of another version is never read as this one."""
    assert decode_packet(frame_of(*encode_packet(packet), version=version)).reason == "version"


@pytest.mark.parametrize(("bytes_per_value", "limit"), [(2, 1 << 15), (3, 1 << 23)])
def test_counts_keep_their_sign(bytes_per_value, limit):
    """Both ends of the range, minus one and plus one come back from two and three bytes."""
    counts = np.array([[-limit, limit - 1], [-1, 1], [0, 256]])

    packet = SamplesPacket(
        stream_id=0,
        sequence=0,
        ticks=0,
        n_channels=2,
        bytes_per_value=bytes_per_value,
        data=pack_counts(counts, bytes_per_value),
    )

    assert packet.n_samples == 3
    assert packet.counts().tolist() == counts.tolist()
    assert packet.counts().dtype == np.int32


@pytest.mark.parametrize(("counts", "bytes_per_value"), [(32768, 2), (-32769, 2), (1 << 23, 3), (0, 4)])
def test_counts_that_do_not_fit_are_refused(counts, bytes_per_value):
    """Wrapping a count silently would invent a value."""
    with pytest.raises(ValueError, match="expected"):
        pack_counts(np.array([[counts]]), bytes_per_value)


CHANNEL = ChannelDescriptor(
    name="II", kind_code=1, unit_code=1, resolution_bits=12, gain_numerator=1, gain_denominator=200
)
STREAM = StreamDescriptor(stream_id=0, name="ecg", rate_mhz=250_000, channels=(CHANNEL,))
HELLO = Hello(boot_id=1, tick_rate_hz=32768, ticks=0, device_id="a", model="b", firmware="c", streams=(STREAM, STREAM))


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (4, (999).to_bytes(4, "little")),  # tick rate
        (4, (1_000_001).to_bytes(4, "little")),
        (60, b"\x11"),  # streams
        (61, b"\x13"),  # stream record shorter than its fields
        (62, b"\x23"),  # channel record shorter than its fields
        (64, b"\xff"),  # stream id that means the whole device
        (65, b"\x00"),  # no channel
        (68, bytes(4)),  # rate
        (72, bytes(12)),  # stream name
        (88, bytes(4)),  # gain numerator
        (92, bytes(4)),  # gain denominator
        (100, (0x7FFF).to_bytes(4, "little")),  # smallest count not below the largest
    ],
)
def test_hello_with_an_impossible_field_is_dropped(offset, value):
    """A gain of zero, a rate of zero and the like would only hurt later."""
    payload = bytearray(encode_packet(replace(HELLO, streams=(STREAM,)))[1])
    assert isinstance(decode_packet(frame_of(PacketType.HELLO, bytes(payload))), Hello)

    payload[offset : offset + len(value)] = value

    assert decode_packet(frame_of(PacketType.HELLO, bytes(payload))).reason in {"value", "length"}


def test_two_streams_with_one_id_are_dropped():
    """Which of the two a block belongs to could not be told."""
    assert decode_packet(frame_of(*encode_packet(HELLO))).reason == "value"


def test_unprintable_text_is_replaced():
    """Control characters of a device never reach a log or a terminal."""
    payload = bytearray(encode_packet(replace(HELLO, streams=()))[1])
    payload[12:16] = b"\x1b[2J"

    assert decode_packet(frame_of(PacketType.HELLO, bytes(payload))).device_id == "\ufffd[2J"


@pytest.mark.parametrize(
    "packet",
    [
        replace(HELLO, device_id="seventeen letters"),
        replace(HELLO, model="a\x00b"),
        replace(HELLO, boot_id=1 << 32),
        ReadingPacket(ticks=-1, measure_code=1, mantissa=0),
        EventPacket(ticks=0, condition_code=1, is_active=True, text="x" * 65),
        SamplesPacket(stream_id=0, sequence=0, ticks=0, n_channels=2, bytes_per_value=2, data=bytes(6)),
        SamplesPacket(stream_id=0, sequence=0, ticks=0, n_channels=1, bytes_per_value=2, data=bytes(1000)),
    ],
    ids=[
        "long text",
        "zero in text",
        "u32",
        "negative ticks",
        "long event text",
        "half a sample",
        "longer than a frame",
    ],
)
def test_packet_that_cannot_be_sent_is_refused(packet):
    """Misuse raises before anything is sent."""
    with pytest.raises(ValueError, match="expected"):
        encode_packet(packet)


def test_layouts_have_no_padding():
    """The C struct and ours agree only without padding."""
    sizes = {
        name: getattr(packet_layouts, name).n_bytes
        for name in ("HELLO", "STREAM_RECORD", "CHANNEL_RECORD", "SAMPLES", "READING", "EVENT", "COMMAND")
    }

    assert sizes == {
        "HELLO": 64,
        "STREAM_RECORD": 20,
        "CHANNEL_RECORD": 36,
        "SAMPLES": 14,
        "READING": 20,
        "EVENT": 13,
        "COMMAND": 12,
    }


SAMPLES = SamplesPacket(stream_id=0, sequence=0, ticks=0, n_channels=1, bytes_per_value=2, data=bytes(8))
EVENT = EventPacket(ticks=0, condition_code=1, is_active=True, text="RA")


@pytest.mark.parametrize(
    ("packet", "offset", "value", "reason"),
    [
        (SAMPLES, 2, 5, "length"),  # more samples than bytes
        (SAMPLES, 2, 0, "value"),  # none
        (SAMPLES, 12, 0, "value"),  # no channel
        (SAMPLES, 12, 17, "value"),  # too many
        (SAMPLES, 13, 4, "value"),  # 32-bit counts do not exist in this version
        (EVENT, 7, 2, "value"),  # neither active nor over
        (EVENT, 12, 3, "length"),  # more text than bytes
        (EVENT, 12, 65, "value"),
    ],
)
def test_field_that_contradicts_its_packet_is_dropped(packet, offset, value, reason):
    """Counts of what follows are checked before anything is read."""
    packet_type, payload = encode_packet(packet)
    damaged = payload[:offset] + bytes([value]) + payload[offset + 1 :]

    assert decode_packet(frame_of(packet_type, damaged)).reason == reason
