"""Blocks on a fixed grid: the same blocks for any chunking, and every missing sample announced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.conditioning.reblock import Reblock, ReblockSettings
from edge.messages import Channel, ChannelKind, Gap, SampleBlock

TWO = (
    Channel(name="I", kind=ChannelKind.ECG, unit="mV"),
    Channel(name="II", kind=ChannelKind.ECG, unit="mV"),
)


def block(values, *, sequence=0, rate_hz=100.0, start_ns=None):
    values = np.asarray(values, dtype=float)
    return SampleBlock(
        sensor="s",
        stream="ecg",
        channels=TWO,
        values=np.repeat(values[:, None], 2, axis=1) if values.ndim == 1 else values,
        rate_hz=rate_hz,
        start_ns=round(sequence * 1e9 / rate_hz) if start_ns is None else start_ns,
        sequence=sequence,
    )


def run(stage, items):
    return [out for item in items for out in stage.push(item)] + stage.flush()


def test_blocks_end_on_multiples_of_the_block_length():
    """A stream that begins inside a cell of the grid has a short first block, then whole ones."""
    out = run(Reblock(), [block(np.arange(50), sequence=13)])

    assert [(o.sequence, o.n_samples) for o in out] == [(13, 7), (20, 20), (40, 20), (60, 3)]
    assert [o.start_ns for o in out] == [130_000_000, 200_000_000, 400_000_000, 600_000_000]


@given(st.lists(st.integers(1, 70), min_size=1, max_size=30), st.integers(0, 1000))
def test_any_chunking_gives_the_same_blocks_and_times(sizes, sequence):
    """Blocks, gaps and their times do not depend on where the link cut, at a rate whose period is no whole number."""
    values = np.arange(600.0)
    values[200:230] = np.nan
    whole = [block(values, sequence=sequence, rate_hz=360.0)]
    cuts = np.minimum(np.cumsum([0, *sizes, 600]), 600)
    pieces = [
        block(values[a:b], sequence=sequence + a, rate_hz=360.0)
        for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)
    ]

    def canonical(items):
        return [
            o if isinstance(o, Gap) else (o.sequence, o.start_ns, o.values.tobytes()) for o in run(Reblock(), items)
        ]

    assert canonical(pieces) == canonical(whole)


def test_rows_without_any_value_become_one_gap_with_times():
    """Missing rows are cut out; what stood before is given out first, and the sequence jumps over them."""
    values = np.arange(100.0)
    values[30:45] = np.nan
    values[40] = np.inf

    out = run(Reblock(), [block(values)])

    gaps = [o for o in out if isinstance(o, Gap)]
    assert gaps == [
        Gap(
            sensor="s",
            stream="ecg",
            start_ns=300_000_000,
            end_ns=450_000_000,
            n_missing=15,
            reason="missing-samples",
        )
    ]
    assert [type(o).__name__ for o in out].index("Gap") == 2
    assert [(o.sequence, o.n_samples) for o in out if isinstance(o, SampleBlock)] == [
        (0, 20),
        (20, 10),
        (45, 15),
        (60, 20),
        (80, 20),
    ]


def test_a_row_with_one_value_stays():
    """A lead that came off does not take the other lead's samples with it; an infinity counts as missing."""
    values = np.ones((20, 2))
    values[5:9, 0] = np.nan
    values[7, 0] = -np.inf

    (out,) = run(Reblock(), [block(values)])

    assert np.isnan(out.values[5:9, 0]).all()
    assert (out.values[:, 1] == 1).all()


def test_a_long_hole_is_reported_while_it_lasts():
    """Whoever waits for a gap's end would learn of a detached electrode only when it is back."""
    stage = Reblock(ReblockSettings(block_s=0.2, gap_report_s=1.0))

    out = stage.push(block(np.full(250, np.nan)))

    assert [(o.reason, o.n_missing, o.start_ns) for o in out] == [
        ("missing-samples", 100, 0),
        ("missing-samples", 100, 1_000_000_000),
    ]
    assert [o.n_missing for o in stage.flush()] == [50]


def test_a_jump_of_the_sequence_ends_the_block():
    """Samples from before and after a loss never share a block."""
    out = run(Reblock(), [block(np.zeros(30)), block(np.ones(30), sequence=55)])

    assert [(o.sequence, o.n_samples) for o in out] == [(0, 20), (20, 10), (55, 5), (60, 20), (80, 5)]
    assert out[2].start_ns == 550_000_000


def test_a_correction_of_the_clock_moves_the_block_it_begins_in():
    """A block that starts 50 us later than the samples before suggest keeps its own time; rounding does not count."""
    first, second = block(np.zeros(20)), block(np.zeros(20), sequence=20, start_ns=200_050_000)
    rounded = block(np.zeros(20), sequence=40, start_ns=400_050_001)

    out = run(Reblock(), [first, second, rounded])

    assert [o.start_ns for o in out] == [0, 200_050_000, 400_050_000]


def test_another_format_is_announced_and_starts_anew():
    """A sensor that comes back with another rate gives a gap, never a block of mixed rates."""
    stage = Reblock()
    stage.push(block(np.zeros(10)))

    out = stage.push(block(np.zeros(50), sequence=10, rate_hz=250.0, start_ns=500_000_000))

    assert [type(o).__name__ for o in out] == ["SampleBlock", "Gap", "SampleBlock"]
    assert out[1].reason == "format-change"
    assert (out[1].start_ns, out[1].end_ns, out[1].n_missing) == (100_000_000, 500_000_000, None)
    assert (out[0].rate_hz, out[2].rate_hz) == (100.0, 250.0)


def test_a_block_longer_than_the_report_is_refused():
    """Settings that make no sense are refused at construction."""
    with pytest.raises(ValueError, match="block_s"):
        ReblockSettings(block_s=20.0)


def test_the_output_may_be_kept():
    """A block given out does not change when later samples come."""
    stage = Reblock()
    (first,) = stage.push(block(np.arange(20)))
    before = first.values.copy()

    stage.push(replace(block(np.full(20, -1.0), sequence=20)))

    assert np.array_equal(first.values, before)
