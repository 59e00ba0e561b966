"""Frames in a byte stream without delimiters, with a toy device: ``7E``, a length, so many bytes, their sum."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.devices.scanner import (
    MAX_GARBAGE_BYTES,
    NOTHING_HERE,
    FrameScanner,
    RawFrame,
    Rejected,
    share_of_frames,
)
from edge.messages import Chunk, Corrupt


def toy(data, at, is_end):
    if data[at] != 0x7E:
        return NOTHING_HERE
    if len(data) < at + 2:
        return 0
    end = at + 3 + data[at + 1] % 8
    if len(data) < end:
        return 0
    return end - at if sum(data[at : end - 1]) & 0xFF == data[end - 1] else Rejected("sum", end - at)


def toy_frame(payload):
    body = bytes((0x7E, len(payload))) + payload
    return body + bytes((sum(body) & 0xFF,))


def scan(data, at_ns=0):
    scanner = FrameScanner(toy)
    return [*scanner.push(Chunk(data=data, received_at_ns=at_ns)), *scanner.flush()]


lines = st.lists(
    st.one_of(st.binary(max_size=7).map(toy_frame), st.binary(max_size=20), st.just(b"\x7e"), st.just(b"\x7e\x07")),
    max_size=12,
).map(b"".join)


@given(lines)
def test_every_byte_is_a_frame_or_dropped(line):
    """Nothing is lost silently, nothing counts twice, and the order is that of the stream."""
    at = 0
    for item in scan(line):
        n_bytes = len(item.data) if isinstance(item, RawFrame) else item.n_bytes
        assert item.offset == at
        assert not isinstance(item, RawFrame) or item.data == line[at : at + n_bytes]
        at += n_bytes

    assert at == len(line)


@given(lines, st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_pieces_do_not_matter(line, sizes):
    """However the bytes are cut."""
    scanner, at, k, pieces = FrameScanner(toy), 0, 0, []
    while at < len(line):
        piece = line[at : at + sizes[k % len(sizes)]]
        at, k = at + len(piece), k + 1
        pieces += scanner.push(Chunk(data=piece, received_at_ns=0))

    assert pieces + scanner.flush() == scan(line)


@given(lines, st.binary(max_size=7))
def test_good_frame_at_the_end_is_found_or_part_of_another(line, payload):
    """Whatever stands before it."""
    frame = toy_frame(payload)

    found = [item for item in scan(line + frame) if isinstance(item, RawFrame)]

    assert any(item.offset + len(item.data) > len(line) for item in found)


def test_bad_frame_hides_no_good_one():
    """A false start that claims seven bytes, with a frame inside them."""
    good = toy_frame(b"ab")

    found = scan(b"\x7e\x07" + good + b"xyz")

    assert [item.data for item in found if isinstance(item, RawFrame)] == [good]


def test_two_bad_frames_are_two():
    """Each is counted; the bytes inside one are not."""
    bad = toy_frame(b"abc")[:-1] + b"\x00"

    assert [item.reason for item in scan(bad + bad)] == ["sum", "sum"]


def test_endless_noise_is_told_in_pieces():
    """Not only when it ends."""
    scanner = FrameScanner(toy)

    told = scanner.push(Chunk(data=b"\x55" * (3 * MAX_GARBAGE_BYTES + 1), received_at_ns=0))

    assert [item.n_bytes for item in told] == [MAX_GARBAGE_BYTES] * 3
    assert scanner.n_corrupt == {"no-start": 3}


def test_frame_is_dated_by_its_last_byte():
    """Not by the chunk that made it sure, nor by the first half's."""
    scanner = FrameScanner(toy)
    frame = toy_frame(b"abcd")

    scanner.push(Chunk(data=frame[:3], received_at_ns=1))
    found = scanner.push(Chunk(data=frame[3:] + frame[:2], received_at_ns=2))
    found += scanner.push(Chunk(data=frame[2:], received_at_ns=3))

    assert [item.received_at_ns for item in found] == [2, 3]


def test_skipped_bytes_are_told_to_the_next_frame():
    """Its decoder decides what they cost."""
    found = scan(toy_frame(b"a") + b"\x01\x02\x03" + toy_frame(b"b"))

    assert [item.n_skipped for item in found if isinstance(item, RawFrame)] == [0, 3]
    assert [item for item in found if isinstance(item, Corrupt)] == [Corrupt(reason="no-start", offset=4, n_bytes=3)]


def test_share_of_frames_forgives_both_ends():
    """Listening begins and ends in the middle of a frame."""
    line = toy_frame(b"abcdefg") * 10

    assert share_of_frames(line[4:-4], toy) == 1.0
    assert share_of_frames(line[:10], toy) == 0.0
    assert share_of_frames(b"", toy) == 0.0
