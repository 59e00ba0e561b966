"""Another rate: right values at right times, nothing invented at the ends."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.conditioning.resample import Resampler, ResampleSettings, ratio
from tests.conformance.case import block

PAIRS = [(360.0, 250.0), (130.0, 250.0), (125.0, 250.0), (250.0, 100.0), (300.0, 250.0), (1000.0, 250.0)]


def resampled(values, from_hz, to_hz, sizes=(77,), sequence=0):
    stage = Resampler(ResampleSettings(rate_hz=to_hz))
    out, at, k = [], 0, 0
    while at < len(values):
        size = sizes[k % len(sizes)]
        part = values[at : at + size, None].copy()
        start_ns = round((sequence + at) * 1e9 / from_hz)
        out += stage.push(block(part, rate_hz=from_hz, sequence=sequence + at, start_ns=start_ns))
        at += size
        k += 1
    return out


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_a_sine_keeps_its_values_at_its_times(from_hz, to_hz):
    """At every output's own time stamp the value is that of the sine: the delay is taken out."""
    out = resampled(np.sin(2 * np.pi * 7 * np.arange(3000) / from_hz), from_hz, to_hz)

    values = np.concatenate([o.values[:, 0] for o in out])
    times_s = np.concatenate([o.start_ns / 1e9 + np.arange(o.n_samples) / to_hz for o in out])

    assert {o.rate_hz for o in out} == {to_hz}
    assert np.abs(values - np.sin(2 * np.pi * 7 * times_s)).max() < 0.003
    assert len(values) > 0.9 * 3000 * to_hz / from_hz - 50


def test_what_the_lower_rate_cannot_hold_is_taken_out():
    """100 Hz of a 360 Hz stream would appear as 25 Hz at 125 Hz; less than 1 % of it is left."""
    out = resampled(np.sin(2 * np.pi * 100 * np.arange(3000) / 360.0), 360.0, 125.0)

    assert max(np.abs(o.values).max() for o in out) < 0.01


def test_a_constant_stays_exactly_constant():
    """Every phase of the filter has unit gain: no ripple on an offset."""
    out = resampled(np.full(2000, 1.25), 360.0, 250.0)

    assert max(np.abs(o.values - 1.25).max() for o in out) < 1e-12


@given(st.lists(st.integers(1, 300), min_size=1, max_size=10), st.integers(0, 5000))
def test_pieces_equal_the_whole_bit_for_bit(sizes, sequence):
    """Any split gives the same bits, wherever the stream begins."""
    values = np.random.default_rng(0).standard_normal(600)

    whole = resampled(values, 360.0, 250.0, sizes=(600,), sequence=sequence)
    pieces = resampled(values, 360.0, 250.0, sizes=sizes, sequence=sequence)

    def canonical(out):
        return out[0].sequence, np.concatenate([o.values for o in out]).tobytes()

    assert canonical(pieces) == canonical(whole)
    assert all(o.sequence == out.sequence + out.n_samples for out, o in itertools.pairwise(pieces))


def test_the_same_rate_passes_untouched():
    """No filter where none is needed."""
    item = block(np.ones((10, 1)))

    assert Resampler(ResampleSettings(rate_hz=250.0)).push(item) == [item]


def test_a_missing_sample_spoils_only_its_surroundings():
    """NaN reaches half a filter length and no further."""
    values = np.zeros(2000)
    values[1000] = np.nan

    out = resampled(values, 360.0, 250.0)

    joined = np.concatenate([o.values[:, 0] for o in out])
    missing = (np.flatnonzero(np.isnan(joined)) + out[0].sequence) / 250.0
    assert np.abs(missing - 1000 / 360.0).max() < 16 / 360.0
    assert 15 < len(missing) < 25


def test_a_hole_is_not_bridged():
    """After a jump of the sequence the outputs begin anew, inside the new stretch."""
    stage = Resampler(ResampleSettings(rate_hz=125.0))
    before = stage.push(block(np.zeros((500, 1))))
    after = stage.push(block(np.ones((500, 1)), sequence=600, start_ns=2_400_000_000))

    assert before[-1].sequence + before[-1].n_samples <= 250
    assert after[0].sequence >= 300
    assert after[0].start_ns == after[0].sequence * 8_000_000
    assert np.abs(after[0].values - 1).max() < 1e-12


@pytest.mark.parametrize(
    ("from_hz", "to_hz", "expected"),
    [(130, 250, Fraction(25, 13)), (360, 250, Fraction(25, 36)), (90, 30, Fraction(1, 3)), (127.9, 250, None)],
)
def test_the_ratio_is_exact_or_refused(from_hz, to_hz, expected):
    """Rates are never truncated to a near ratio."""
    if expected is None:
        with pytest.raises(ValueError, match="simple ratio"):
            ratio(from_hz, to_hz)
    else:
        assert ratio(from_hz, to_hz) == expected


def test_another_rate_without_a_reset_is_refused():
    """A filter designed for one ratio must not run at another."""
    stage = Resampler(ResampleSettings(rate_hz=100.0))
    stage.push(block(np.zeros((10, 1))))

    with pytest.raises(ValueError, match="500"):
        stage.push(block(np.zeros((10, 1)), rate_hz=500.0, sequence=10))
