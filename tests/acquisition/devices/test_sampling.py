"""Samples that come one at a time, gathered into blocks."""

from __future__ import annotations

import pytest

from edge.acquisition.devices.sampling import SampleStream, SampleStreamSettings
from edge.messages import Channel, ChannelKind, Gap

PLETH = Channel(name="PLETH", kind=ChannelKind.PPG, unit="1")


@pytest.fixture
def stream():
    return SampleStream(
        SampleStreamSettings(sensor="s", stream="pleth", channels=(PLETH,), rate_hz=100.0, block_samples=4)
    )


def add(stream, n_samples, *, at_ns=0):
    return [block for k in range(n_samples) for block in stream.add((float(k),), at_ns + k * 10_000_000)]


def test_block_is_full_or_closed(stream):
    """Four samples a block, wherever the frames were cut."""
    blocks = add(stream, 10) + stream.close()

    assert [(block.sequence, len(block.values)) for block in blocks] == [(0, 4), (4, 4), (8, 2)]
    assert [block.received_at_ns for block in blocks] == [30_000_000, 70_000_000, 90_000_000]
    assert [block.device_time_ns for block in blocks] == [0, 40_000_000, 80_000_000]
    assert stream.close() == []


def test_lost_samples_are_a_step_in_the_sequence(stream):
    """Counted, and never put into a block."""
    blocks = add(stream, 2) + stream.skip(5) + add(stream, 1) + stream.close()

    assert [(block.sequence, len(block.values)) for block in blocks] == [(0, 2), (7, 1)]
    assert blocks[1].device_time_ns == 70_000_000
    assert stream.n_lost_samples == 5


@pytest.mark.parametrize("n_samples", [0, -3])
def test_nothing_lost_is_no_step(stream, n_samples):
    """And ends no block."""
    add(stream, 2)

    assert stream.skip(n_samples) == []
    assert stream.sequence == 2


def test_what_is_missing_before_the_first_sample_is_no_loss(stream):
    """Nobody listened yet."""
    stream.skip(5)

    assert stream.n_lost_samples == 0


def test_gap_of_unknown_size_begins_the_clock_anew(stream):
    """The sequence goes on without a step that nobody counted; the time is that of the next arrival."""
    found = add(stream, 2) + stream.gap("stalled", 5_000_000_000) + add(stream, 4, at_ns=5_000_000_000)

    gap = next(item for item in found if isinstance(item, Gap))
    assert (gap.start_ns, gap.end_ns, gap.n_missing, gap.reason) == (10_000_000, 5_000_000_000, None, "stalled")
    assert (found[-1].sequence, found[-1].device_time_ns) == (2, 5_000_000_000)


def test_gap_before_the_first_sample_is_none(stream):
    """There is nothing to interrupt."""
    assert stream.gap("stalled", 1) == []


def test_gap_never_ends_before_it_starts(stream):
    """Arrivals may go back."""
    add(stream, 2, at_ns=1_000_000_000)

    gap = stream.gap("stalled", 0)[-1]

    assert gap.end_ns == gap.start_ns
