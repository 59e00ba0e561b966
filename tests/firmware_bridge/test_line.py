"""The line between sensor and host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.virtual.line import FaultyLine
from firmware_bridge.virtual.scenario import Fault, FaultKind

S = 1_000_000_000


def fault(kind, at_s=0.0, duration_s=100.0, **parameters):
    return Fault(kind=FaultKind(kind), at_s=at_s, duration_s=duration_s, parameters=parameters)


def numbered(n):
    return [b"\x00" + bytes([k, k, k, k]) + b"\x00" for k in range(1, n + 1)]


def sent(frames, *faults, seed=1, period_ns=S // 10):
    line = FaultyLine(faults, seed)
    for k, frame in enumerate(frames):
        line.send(frame, k * period_ns)
    return line


@given(
    st.lists(st.sampled_from(["frame-loss", "corruption", "duplicate", "jitter", "disconnect"]), max_size=4),
    st.integers(0, 100),
)
def test_every_frame_has_a_fate(kinds, seed):
    """Invariant: a frame is delivered or counted as lost or disconnected; a doubled one is delivered twice."""
    line = sent(numbered(50), *(fault(kind, at_s=1.0, duration_s=2.0) for kind in kinds), seed=seed)

    n_bytes = len(line.collect(10 * S))

    counts = line.counts
    if not counts.get("corrupted"):  # damage changes lengths
        n_delivered = 50 - counts.get("lost", 0) - counts.get("disconnected", 0)
        n_least = 6 * (n_delivered + counts.get("duplicated", 0))
        assert n_bytes == n_least
    assert counts["sent"] == 50


def test_a_good_line_is_a_wire():
    """Without faults every byte arrives at once and unchanged."""
    frames = numbered(20)

    assert sent(frames).collect(19 * S // 10) == b"".join(frames)


def test_nothing_arrives_before_it_was_sent():
    """Collecting early gives what was sent by then."""
    frames = numbered(20)

    assert sent(frames).collect(9 * S // 10) == b"".join(frames[:10])


def test_what_is_under_way_when_the_cable_is_pulled_is_lost():
    """A late frame does not jump over a missing cable."""
    line = sent(numbered(10), fault("jitter", max_delay_s=20.0), fault("disconnect", at_s=1.5, duration_s=50.0))

    got = line.collect(200 * S)

    assert len(got) // 6 + line.counts["disconnected"] == 10
    assert line.counts["disconnected"] > 5


def test_certain_corruption_spares_no_frame():
    """With probability one nothing arrives unchanged."""
    frames = numbered(100)
    line = FaultyLine([fault("corruption", probability=1.0)], 1)

    for frame in frames:
        line.send(frame, 0)
        assert line.collect(0) != frame


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_probability_means_what_it_says(probability):
    """Zero loses nothing, one loses all."""
    line = sent(numbered(40), fault("frame-loss", probability=probability))

    assert len(line.collect(100 * S)) == 6 * 40 * (1 - probability)


def test_the_seed_decides():
    """The same seed loses the same frames, another one others."""
    lossy = fault("frame-loss", probability=0.5)

    one, same, other = (sent(numbered(60), lossy, seed=seed).collect(10 * S) for seed in (1, 1, 2))

    assert one == same
    assert one != other
