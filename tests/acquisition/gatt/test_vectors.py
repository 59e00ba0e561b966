"""Every vector of the table is read as the table says, and written back; whatever else comes is refused by name."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.gatt.ieee11073 import float32, sfloat
from edge.acquisition.gatt.rejected import Rejected
from tests.acquisition.gatt.vectors import CODECS, VALID, VALUES, VECTORS, Vector, told

NUMBERS = [vector for vector in VECTORS if vector.name in {"sfloat", "float"}]
REASONS = {"length", "value", "time", "crc", "text"}


def named(vector: Vector) -> str:
    return f"{vector.name}-{vector.data.hex() or 'nothing'}"


@pytest.mark.parametrize("vector", VALUES, ids=named)
def test_value_is_read_as_the_table_says(vector):
    """Each field, its unit and its absence."""
    read = CODECS[vector.name].parse(vector.data)

    assert told(vector.name, read) == vector.expected


@pytest.mark.parametrize("vector", NUMBERS, ids=named)
def test_number_is_read_as_the_table_says(vector):
    """With as many digits as the device sent."""
    number = sfloat(vector.data) if vector.name == "sfloat" else float32(vector.data)

    assert str(number) == vector.expected


@pytest.mark.parametrize("vector", VALID, ids=named)
def test_value_is_written_back(vector):
    """What was read from an encoder's bytes is what was encoded; the bytes are no longer than the device's."""
    codec = CODECS[vector.name]
    read = codec.parse(vector.data)

    written = codec.encode(read)

    assert codec.parse(written) == read
    assert len(written) <= len(vector.data)


@pytest.mark.parametrize("vector", VALID, ids=named)
def test_shortened_value_is_refused(vector):
    """Every value cut at every length, unless what is left is a whole value by its own flags."""
    codec = CODECS[vector.name]
    lengths_that_stand = {
        "2A24": range(100),  # a text may have any length
        "2A29": range(100),
        "2A37": range(2, 100, 1),  # fewer intervals
        "2A60": range(2, 4),  # the supported status bits are not read
        "2AA7": (6,),  # fewer records
    }.get(vector.name, ())

    for n_bytes in range(len(vector.data)):
        read = codec.parse(vector.data[:n_bytes])
        if n_bytes not in lengths_that_stand:
            assert read == Rejected("length"), n_bytes


def test_heart_rate_with_fewer_bytes_loses_whole_intervals_only():
    """Cut inside an interval it is refused; cut between two it is a shorter value."""
    data = bytes.fromhex("16 3C 00 04 F8 03 00 04")
    codec = CODECS["2A37"]

    kept = [codec.parse(data[:n_bytes]) for n_bytes in range(len(data) + 1)]

    assert [None if isinstance(read, Rejected) else len(read.rr_1024) for read in kept] == [
        *[None] * 4,
        1,
        None,
        2,
        None,
        3,
    ]


@pytest.mark.parametrize("name", ["2A35", "2A37", "2A5F", "2A1C", "2A9D", "2A18"])
def test_bytes_behind_the_value_are_refused_unless_a_new_flag_may_explain_them(name):
    """A later revision of a profile adds its fields behind those of today, with a flag that is reserved today."""
    plain = next(vector.data for vector in VALID if vector.name == name and not vector.data[0] & 0x10)
    codec = CODECS[name]

    assert codec.parse(plain + b"\x00") == Rejected("length")
    assert not isinstance(codec.parse(bytes([plain[0] | 0x80]) + plain[1:] + b"\x00"), Rejected)


@pytest.mark.parametrize("name", CODECS)
@given(data=st.binary(max_size=40))
def test_any_bytes_are_a_value_or_refused_by_name(name, data):
    """Invariant: never an exception, and what is read can be written and read again."""
    judge(name, data)


@pytest.mark.long
def test_a_million_mutated_values_are_values_or_refused_by_name():
    """Fixed seed: valid values with bits turned, bytes cut, doubled and swapped, over every parser."""
    rng = random.Random(20_250_314)
    seeds = [(vector.name, vector.data) for vector in VALID]
    n_read = n_refused = 0
    for k in range(1_000_000):
        name, data = seeds[k % len(seeds)]
        if judge(name, mutated(rng, data)):
            n_read += 1
        else:
            n_refused += 1

    assert n_read > 100_000
    assert n_refused > 100_000


def mutated(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        fate = rng.randrange(6)
        if not out or fate == 0:
            out += rng.randbytes(rng.randrange(1, 5))
        elif fate == 1:
            del out[rng.randrange(len(out)) :]
        elif fate == 2:
            at = rng.randrange(len(out))
            out[at:at] = out[at : at + rng.randrange(1, 4)]
        elif fate == 3:
            out[rng.randrange(len(out))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        else:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def judge(name: str, data: bytes) -> bool:
    """Return whether `data` was read; hold what was read against the invariants."""
    codec = CODECS[name]
    read = codec.parse(data)
    if isinstance(read, Rejected):
        assert read.reason in REASONS
        return False
    assert codec.parse(codec.encode(read)) == read
    assert told(name, read) is not None
    return True
