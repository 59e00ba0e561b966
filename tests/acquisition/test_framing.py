"""Frames survive any cut, any noise and any length; what is dropped is accounted for byte by byte."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.framing import (
    MAX_FRAME_BYTES,
    MAX_PAYLOAD_BYTES,
    Frame,
    FrameDecoder,
    FramingSettings,
    cobs_decode,
    cobs_encode,
    encode_frame,
)
from edge.messages import Chunk, Corrupt

payloads = st.binary(max_size=MAX_PAYLOAD_BYTES)
zeroish = st.lists(st.sampled_from([0, 1, 254, 255]), max_size=600).map(bytes)


def push(decoder, data, at_ns=0):
    return decoder.push(Chunk(data=data, received_at_ns=at_ns))


@given(st.binary(max_size=2000) | zeroish)
def test_stuffing_is_undone_and_holds_no_zero(data):
    """Invariant: any bytes come back, no zero is inside, the overhead is one byte per 254 begun."""
    stuffed = cobs_encode(data)

    assert b"\x00" not in stuffed
    assert cobs_decode(stuffed) == data
    assert len(stuffed) <= len(data) + max(1, -(-len(data) // 254))


@pytest.mark.parametrize("bad", ["05112233", "00", "02", "ff00"])
def test_impossible_stuffing_is_no_data(bad):
    """A code that points past the end, or a zero, gives None."""
    assert cobs_decode(bytes.fromhex(bad)) is None


@given(st.integers(0, 255), payloads, st.integers(0, 65535), st.integers(0, 255))
def test_frame_comes_back(packet_type, payload, sequence, version):
    """Invariant: build → decode → equal, whatever the header and payload."""
    line = encode_frame(packet_type, payload, sequence=sequence, version=version)

    (frame,) = push(FrameDecoder(), line, at_ns=5)

    assert frame == Frame(
        version=version,
        packet_type=packet_type,
        sequence=sequence,
        payload=payload,
        received_at_ns=5,
        offset=1,
        n_bytes=len(line) - 2,
    )


@given(st.lists(st.binary(max_size=300) | payloads.map(lambda p: encode_frame(2, p)), max_size=6), st.data())
def test_every_byte_is_accounted_for(pieces, data):
    """Invariant: delimiters + frames + dropped bytes = all bytes, in order and without overlap, however cut."""
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = FrameDecoder()
    out = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        out += push(decoder, stream[start:end])
    out += decoder.flush()

    at = 0
    for item in out:
        assert stream[at : item.offset].count(0) == item.offset - at
        at = item.offset + item.n_bytes
    assert stream[at:].count(0) == len(stream) - at
    whole = FrameDecoder()
    assert [*push(whole, stream), *whole.flush()] == out
    assert decoder.counters == whole.counters
    assert decoder.counters.n_dropped_bytes == sum(item.n_bytes for item in out if isinstance(item, Corrupt))


def test_frame_is_stamped_with_the_chunk_that_completed_it():
    """Half a frame waits; its time is that of the last byte."""
    line = encode_frame(2, b"abc")
    decoder = FrameDecoder()

    assert push(decoder, line[:5], at_ns=1) == []
    (frame,) = push(decoder, line[5:], at_ns=9)

    assert frame.received_at_ns == 9


def test_endless_garbage_is_dropped_in_bounded_pieces():
    """A megabyte without a delimiter never stays in memory, and the frame after it is read."""
    decoder = FrameDecoder()
    out = []
    for _ in range(256):
        out += push(decoder, b"\x07" * 4096)
        assert len(decoder._pending) <= MAX_FRAME_BYTES + 5

    *tail, frame = push(decoder, encode_frame(2, b"abc"))

    assert {item.reason for item in out + tail} == {"overlong"}
    assert sum(item.n_bytes for item in out + tail) == 1 << 20
    assert isinstance(frame, Frame)


def test_overlong_frame_is_dropped_even_if_its_checksum_is_right():
    """A frame full of zeros needs few codes: it is measured after unstuffing too."""
    for n_bytes, kind in ((MAX_FRAME_BYTES, Frame), (MAX_FRAME_BYTES + 1, Corrupt)):
        body = b"\x01\x02\x00\x00".ljust(n_bytes - 4, b"\x00")
        line = b"\x00" + cobs_encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\x00"

        (found,) = push(FrameDecoder(), line)

        assert isinstance(found, kind)


def test_delimiters_in_a_row_are_nothing():
    """A device may send zeros to keep the line awake."""
    assert push(FrameDecoder(), b"\x00" * 1000) == []


def test_half_frame_at_the_end_is_said():
    """The end of a capture is not silently shortened."""
    decoder = FrameDecoder()
    push(decoder, encode_frame(2, b"abcdef")[:7])

    assert decoder.flush() == [Corrupt(reason="truncated", offset=1, n_bytes=6)]
    assert decoder.flush() == []


def test_reset_counts_the_half_frame_and_starts_offsets_anew():
    """A new link starts at byte 0; what the old one left is in the counters."""
    decoder = FrameDecoder()
    push(decoder, b"\x05abc")

    decoder.reset("reconnected")

    (frame,) = push(decoder, encode_frame(2, b""))
    assert frame.offset == 1
    assert decoder.counters.n_corrupt == {"truncated": 1}
    assert decoder.counters.n_dropped_bytes == 4


@pytest.mark.parametrize(
    ("packet_type", "payload", "sequence", "version"),
    [(256, b"", 0, 1), (1, b"\x00" * 1009, 0, 1), (1, b"", 65536, 1), (1, b"", -1, 1), (1, b"", 0, 256)],
)
def test_frame_that_cannot_be_is_refused(packet_type, payload, sequence, version):
    """Misuse raises before anything is sent."""
    with pytest.raises(ValueError, match="expected"):
        encode_frame(packet_type, payload, sequence=sequence, version=version)


def test_settings_without_room_for_a_header_are_refused():
    """A decoder that could never decode is a mistake."""
    with pytest.raises(ValueError, match="max_frame_bytes"):
        FrameDecoder(FramingSettings(max_frame_bytes=7))
