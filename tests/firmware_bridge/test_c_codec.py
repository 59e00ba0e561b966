"""The C library and the runtime's codec speak one wire: the same bytes out, the same frames and the same losses in."""

from __future__ import annotations

import ctypes as c
import json
import re
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition import packets
from edge.acquisition.framing import Frame, FrameDecoder, FramingSettings, cobs_decode, cobs_encode, encode_frame
from edge.acquisition.packets import decode_packet, packet_line
from edge.messages import Chunk, Corrupt
from tests.firmware_bridge import c_library as lib

VECTORS = lib.FOLDER / "vectors"
PACKETS = json.loads((VECTORS / "packets.json").read_text())
SCENARIOS = json.loads((VECTORS / "scenarios.json").read_text())

counts32 = st.integers(0, 2**32 - 1)
signed32 = st.integers(-(2**31), 2**31 - 1)
bytes8 = st.integers(0, 255)
shorts = st.integers(0, 65535)


def words(most, least=0):
    letters = st.characters(blacklist_categories=("Cs", "Cc"))
    whole = st.text(letters, min_size=least, max_size=most)
    return whole.filter(lambda text: len(text.encode()) <= most and text.isprintable())


channels = st.builds(
    packets.ChannelDescriptor,
    name=words(12),
    kind_code=bytes8,
    unit_code=bytes8,
    resolution_bits=bytes8,
    gain_numerator=signed32.filter(bool),
    gain_denominator=counts32.filter(bool),
    offset_counts=signed32,
    minimum_counts=st.integers(-(2**31), 0),
    maximum_counts=st.integers(1, 2**31 - 1),
)
streams = st.builds(
    packets.StreamDescriptor,
    stream_id=st.integers(0, 254),
    name=words(12, 1),
    rate_mhz=counts32.filter(bool),
    channels=st.lists(channels, min_size=1, max_size=4).map(tuple),
    is_running=st.booleans(),
)
hellos = st.builds(
    packets.Hello,
    boot_id=counts32,
    tick_rate_hz=st.integers(1000, 1_000_000),
    ticks=counts32,
    device_id=words(16),
    model=words(16),
    firmware=words(16),
    streams=st.lists(streams, max_size=4, unique_by=(lambda it: it.stream_id, lambda it: it.name)).map(tuple),
)
readings = st.builds(
    packets.ReadingPacket,
    ticks=counts32,
    measure_code=counts32,
    mantissa=signed32,
    exponent=st.integers(-128, 127),
    status_code=bytes8,
    absent_code=bytes8,
    valid_for_s=shorts,
)
events = st.builds(
    packets.EventPacket,
    ticks=counts32,
    condition_code=shorts,
    is_active=st.booleans(),
    stream_id=bytes8,
    value=signed32,
    text=words(64),
)
times = st.builds(packets.TimeResponse, host_ns=st.integers(0, 2**64 - 1), received_ticks=counts32, sent_ticks=counts32)
acks = st.builds(packets.CommandAck, command_id=shorts, code=bytes8, result_code=bytes8, value=counts32)


@st.composite
def blocks(draw):
    width = draw(st.sampled_from([2, 3]))
    n_channels = draw(st.integers(1, 4))
    limit = 1 << (8 * width - 1)
    row = st.lists(st.integers(-limit, limit - 1), min_size=n_channels, max_size=n_channels)
    counts = np.array(draw(st.lists(row, min_size=1, max_size=20)), dtype=np.int32)
    return packets.SamplesPacket(
        stream_id=draw(st.integers(0, 254)),
        sequence=draw(counts32),
        ticks=draw(counts32),
        n_channels=n_channels,
        bytes_per_value=width,
        data=packets.pack_counts(counts, width),
        is_backfill=draw(st.booleans()),
    )


def c_stream(stream):
    of_stream = [
        lib.Channel(
            each.name.encode(), each.kind_code, each.unit_code, each.resolution_bits, each.gain_numerator,
            each.gain_denominator, each.offset_counts, each.minimum_counts, each.maximum_counts,
        )
        for each in stream.channels
    ]  # fmt: skip
    held = (lib.Channel * len(of_stream))(*of_stream)
    return lib.Stream(stream.name.encode(), held, len(of_stream), stream.stream_id, stream.is_running, stream.rate_mhz)


def c_line(packet, sequence):
    """What the C library puts on the line for a packet of Python's."""
    writer = lib.Writer()
    match packet:
        case packets.Hello():
            held = (lib.Stream * max(1, len(packet.streams)))(*map(c_stream, packet.streams))
            texts = (text.encode() for text in (packet.device_id, packet.model, packet.firmware))
            hello = lib.Hello(packet.boot_id, packet.tick_rate_hz, packet.ticks, *texts, held, len(packet.streams))
            return writer.write("hello", sequence, c.byref(hello))
        case packets.SamplesPacket(bytes_per_value=width):
            head = lib.Samples(
                packet.sequence, packet.ticks, packet.n_samples, packet.stream_id, packet.n_channels, width,
                packet.is_backfill,
            )  # fmt: skip
            values = packet.counts().ravel().tolist()
            line = writer.write("samples32", sequence, c.byref(head), (c.c_int32 * len(values))(*values))
            if width == 2:
                shorts_of = (c.c_int16 * len(values))(*values)
                assert lib.Writer().write("samples16", sequence, c.byref(head), shorts_of) == line
            return line
        case packets.ReadingPacket():
            reading = lib.Reading(
                packet.ticks, packet.measure_code, packet.mantissa, packet.exponent, packet.status_code,
                packet.absent_code, packet.valid_for_s,
            )  # fmt: skip
            return writer.write("reading", sequence, c.byref(reading))
        case packets.EventPacket():
            event = lib.Event(
                packet.ticks, packet.value, packet.text.encode(), packet.condition_code, packet.stream_id,
                packet.is_active,
            )  # fmt: skip
            return writer.write("event", sequence, c.byref(event))
        case packets.TimeResponse():
            host_ns = lib.array(packet.host_ns.to_bytes(8, "little"))
            response = lib.TimeResponse(host_ns, packet.received_ticks, packet.sent_ticks)
            return writer.write("time_response", sequence, c.byref(response))
        case packets.CommandAck():
            ack = lib.CommandAck(packet.value, packet.command_id, packet.code, packet.result_code)
            return writer.write("command_ack", sequence, c.byref(ack))
    raise AssertionError(packet)


def read_in_python(line):
    (frame,) = FrameDecoder().push(Chunk(data=line, received_at_ns=0))
    return frame


@pytest.mark.parametrize("vector", PACKETS, ids=lambda vector: vector["name"])
def test_c_writes_and_reads_the_golden_bytes(vector):
    """Each golden packet of the device comes out of C byte for byte; each line is read by C as its payload."""
    line = bytes.fromhex(vector["line"])
    packet = decode_packet(read_in_python(line))

    assert lib.Reader().push(line) == [(1, vector["type"], 5, bytes.fromhex(vector["payload"]))]
    assert lib.Writer().frame(vector["type"], 5, bytes.fromhex(vector["payload"])) == line
    if vector["type"] < 0x80:
        assert c_line(packet, 5) == line


@given(hellos | readings | events | times | acks | blocks(), shorts)
def test_what_c_writes_python_reads(packet, sequence):
    """Invariant: any packet a device can send has the same bytes from C as from Python, and Python reads it back."""
    line = c_line(packet, sequence)

    assert line == packet_line(packet, sequence=sequence)
    assert decode_packet(read_in_python(line)) == packet


@given(st.integers(0, 65535), bytes8, bytes8, counts32, counts32, st.binary(max_size=20))
def test_command_of_python_is_read_by_c(command_id, code, stream_id, argument, count, later_fields):
    """Invariant: the fields arrive as they were sent, with the fields of a later version ignored (R15)."""
    command = packets.Command(command_id=command_id, code=code, stream_id=stream_id, argument=argument, count=count)
    packet_type, payload = packets.encode_packet(command)
    payload += later_fields
    ((version, found_type, _, found),) = lib.Reader().push(encode_frame(packet_type, payload))
    frame = lib.Frame(version, found_type, 0, lib.array(found), len(found))
    heard = lib.Command()

    status = lib.loaded().fb_packet_read_command(c.byref(frame), c.byref(heard))

    assert status == lib.OK
    assert (heard.command_id, heard.code, heard.stream_id) == (command_id, code, stream_id)
    assert (heard.argument, heard.count) == (argument, count)


@given(st.integers(0, 2**64 - 1))
def test_time_request_of_python_is_read_by_c(host_ns):
    """Invariant: the eight bytes to echo arrive."""
    packet_type, payload = packets.encode_packet(packets.TimeRequest(host_ns=host_ns))
    frame = lib.Frame(1, packet_type, 0, lib.array(payload), len(payload))
    heard = (lib.u8 * 8)()

    status = lib.loaded().fb_packet_read_time_request(c.byref(frame), heard)

    assert status == lib.OK
    assert int.from_bytes(bytes(heard), "little") == host_ns


few = st.sampled_from([0, 1, 2, 3, 5, 9, 254, 255])
pieces = st.one_of(
    st.binary(max_size=80),
    st.lists(few, max_size=300).map(bytes),
    st.binary(max_size=300).map(lambda payload: encode_frame(2, payload, sequence=7)),
    st.binary(max_size=60).map(lambda payload: encode_frame(0x82, payload)[:-3]),
    st.integers(0, 900).map(lambda n: encode_frame(1, b"\x00" * n)),
)


@given(st.lists(pieces, max_size=8).map(b"".join), st.integers(8, 400))
def test_any_bytes_are_the_same_to_both_decoders(stream, capacity):
    """Invariant: same frames, same reasons in the same order, same counters, whatever the bytes and the buffer."""
    theirs = FrameDecoder(FramingSettings(max_frame_bytes=capacity))
    ours = lib.Reader(capacity)
    expected = [
        item.reason if isinstance(item, Corrupt) else (item.version, item.packet_type, item.sequence, item.payload)
        for item in theirs.push(Chunk(data=stream, received_at_ns=0))
    ]

    found = ours.push(stream)

    assert found == expected
    left = [item.reason for item in theirs.flush() if isinstance(item, Corrupt)]
    assert [reason for reason in (ours.reset(),) if reason] == left
    assert Counter(item for item in [*found, *left] if isinstance(item, str)) == theirs.counters.n_corrupt


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_every_scenario_has_the_same_frames(scenario):
    """The bytes of every fault of the protocol, through both decoders."""
    stream = b"".join(bytes.fromhex(step["hex"]) for step in scenario["chunks"] if "hex" in step)
    expected = FrameDecoder().push(Chunk(data=stream, received_at_ns=0))

    found = lib.Reader().push(stream)

    assert [item for item in found if isinstance(item, tuple)] == [
        (item.version, item.packet_type, item.sequence, item.payload) for item in expected if isinstance(item, Frame)
    ]
    assert [item for item in found if isinstance(item, str)] == [
        item.reason for item in expected if isinstance(item, Corrupt)
    ]


@given(st.binary(max_size=800) | st.lists(few, max_size=800).map(bytes))
def test_stuffing_and_checksum_are_those_of_python(data):
    """Invariant: COBS both ways, on good and impossible input, and the CRC give what Python gives."""
    library, out, length = lib.loaded(), (lib.u8 * 1000)(), lib.size()

    assert library.fb_crc32_iso_hdlc(data, len(data)) == zlib.crc32(data)
    assert library.fb_cobs_encode(lib.array(data), lib.size(len(data)), out, lib.size(1000), c.byref(length)) == lib.OK
    assert bytes(out[: length.value]) == cobs_encode(data)
    status = library.fb_cobs_decode(lib.array(data), lib.size(len(data)), out, lib.size(1000), c.byref(length))
    assert (bytes(out[: length.value]) if status == lib.OK else None) == cobs_decode(data)


def test_codes_are_those_of_the_host():
    """Every number in fb_codes.h is the one that the runtime reads by the same name."""
    text = (lib.FOLDER / "include" / "fb_codes.h").read_text()
    found = {name: int(number, 0) for name, number in re.findall(r"#define (FB_\w+) (\w+?)u", text)}

    def numbers(prefix):
        return {name.removeprefix(prefix): number for name, number in found.items() if name.startswith(prefix)}

    def upper(table):
        return {str(word).upper().replace("-", "_"): code for code, word in table.items()}

    types = {name: number for name, number in numbers("FB_TYPE_").items() if name != "HOST_BIT"}
    assert types == {each.name: each.value for each in packets.PacketType}
    assert numbers("FB_KIND_") == upper(packets.CHANNEL_KINDS)
    assert numbers("FB_MEASURE_") == upper({code: name for code, (name, _) in packets.MEASURES.items()})
    assert numbers("FB_READING_") == upper({code: each.value for code, each in packets.READING_STATUSES.items()})
    absent = {code: word or "none" for code, word in packets.ABSENT_REASONS.items()}
    assert numbers("FB_ABSENT_") == upper(absent)
    assert numbers("FB_CONDITION_") == upper(packets.CONDITIONS)
    assert numbers("FB_COMMAND_") == {each.name: each.value for each in packets.CommandCode}
    assert numbers("FB_RESULT_") == {each.name: each.value for each in packets.CommandResult}
    assert sorted(numbers("FB_UNIT_").values()) == sorted(packets.UNITS)
    assert found["FB_WHOLE_DEVICE"] == packets.WHOLE_DEVICE
