"""The monitoring band: what passes, what does not, and what a bad sample may not do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from edge.conditioning.filters import FilterChain, FilterSettings, delay_ms, design
from edge.messages import Channel, ChannelKind
from tests.conformance.case import block

RATE_HZ = 250.0
MONITOR = FilterSettings()


def filtered(values, settings=MONITOR, sizes=(50,)):
    stage = FilterChain(settings)
    out, at, k = [], 0, 0
    while at < len(values):
        size = sizes[k % len(sizes)]
        out += stage.push(block(values[at : at + size, None].copy(), sequence=at, rate_hz=RATE_HZ))
        at += size
        k += 1
    return np.concatenate([o.values[:, 0] for o in out])


def gain(settings, at_hz, rate_hz=RATE_HZ):
    return float(np.abs(signal.sosfreqz(design(settings, rate_hz), worN=[at_hz], fs=rate_hz)[1][0]))


@pytest.mark.parametrize("rate_hz", [125.0, 250.0, 360.0, 500.0, 1000.0])
def test_edges_of_the_band_are_3_db_down(rate_hz):
    """The band means what it says at every rate."""
    for edge_hz in (0.5, 40.0):
        assert gain(FilterSettings(), edge_hz, rate_hz) == pytest.approx(0.7071, abs=0.003)


def test_a_rate_too_low_for_the_upper_edge_keeps_the_lower_one():
    """A 64 Hz stream has no 40 Hz to cut; its wander is still taken out."""
    assert gain(FilterSettings(), 0.5, 64.0) == pytest.approx(0.7071, abs=0.003)
    assert gain(FilterSettings(), 25.0, 64.0) == pytest.approx(1.0, abs=0.01)


def test_the_notch_takes_the_mains_out_and_little_else():
    """50 Hz is gone, 45 Hz keeps 90 % of what the band leaves of it."""
    notch = FilterSettings(mains_hz=50.0)

    assert gain(notch, 50.0) < 1e-6
    assert gain(notch, 45.0) / gain(FilterSettings(), 45.0) > 0.9


def test_a_mains_frequency_beyond_half_the_rate_is_skipped():
    """A stream at 100 Hz cannot contain 60 Hz: no notch, no error."""
    assert len(design(FilterSettings(mains_hz=60.0), 100.0)) == len(design(FilterSettings(), 100.0))


def test_an_offset_does_not_ring():
    """An electrode offset of 300 mV leaves nothing behind, from the first sample on."""
    assert np.abs(filtered(np.full(1000, 300.0))).max() < 1e-6


def test_delay_of_a_qrs_complex_is_seven_milliseconds():
    """The group delay at 10 Hz is the published one of the design: 6.6 ms at 250 Hz."""
    assert delay_ms(FilterSettings(), 250.0) == pytest.approx(6.6, abs=0.1)


def test_a_step_has_faded_after_the_settling_time():
    """The stated settling time is the time to 1 %."""
    values = np.zeros(1500)
    values[250:] = 1.0
    stage = FilterChain()

    out = filtered(values)

    assert stage.settling_s == pytest.approx(1.64)
    assert np.abs(out[250 + round(stage.settling_s * RATE_HZ) :]).max() < 0.012
    assert np.abs(out[250 + round(0.7 * stage.settling_s * RATE_HZ) :]).max() > 0.02


@given(st.lists(st.integers(1, 400), min_size=1, max_size=20), st.integers(0, 2**32 - 1))
def test_pieces_equal_the_whole_bit_for_bit(sizes, seed):
    """With holes of every length in the signal, any split gives the same bits."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(700).cumsum()
    for at in rng.integers(0, 700, 5):
        values[at : at + int(rng.integers(1, 6))] = np.nan

    whole = filtered(values, sizes=(700,))
    pieces = filtered(values, sizes=sizes)

    assert pieces.tobytes() == whole.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_bad_sample_is_missing_and_does_not_stay(bad):
    """One impossible sample gives NaN where it was, and the samples after it are as if it had been held."""
    values = np.sin(2 * np.pi * 5 * np.arange(1000) / RATE_HZ)
    broken = values.copy()
    broken[400] = bad

    out, clean = filtered(broken), filtered(values)

    assert np.isnan(out[400])
    assert np.isfinite(np.delete(out, 400)).all()
    assert np.array_equal(out[:400], clean[:400])
    assert np.abs(out[401:] - clean[401:]).max() < 0.15
    assert np.abs(out[900:] - clean[900:]).max() < 1e-3


def test_after_a_long_hole_the_filter_starts_anew():
    """An electrode that comes back 200 mV elsewhere does not ring for seconds."""
    values = np.concatenate([np.zeros(300), np.full(10, np.nan), np.full(500, 200.0)])

    assert np.nanmax(np.abs(filtered(values))) < 1e-6


def test_one_lead_with_a_hole_leaves_the_other_alone():
    """Channels are independent."""
    values = np.random.default_rng(1).standard_normal((500, 2))
    channels = tuple(Channel(name=name, kind=ChannelKind.ECG, unit="mV") for name in "ab")
    broken = values.copy()
    broken[200:260, 0] = np.nan

    clean = FilterChain().push(block(values.copy(), channels=channels))[0].values
    out = FilterChain().push(block(broken, channels=channels))[0].values

    assert np.array_equal(out[:, 1], clean[:, 1])


def test_a_jump_of_the_sequence_starts_anew():
    """Samples from before a loss do not reach those after it."""
    stage = FilterChain()
    stage.push(block(np.full((100, 1), 5.0)))

    (out,) = stage.push(block(np.full((100, 1), -5.0), sequence=200))

    assert np.abs(out.values).max() < 1e-9


def test_another_rate_without_a_reset_is_refused():
    """A filter designed for one rate must not run at another; after a reset it is designed anew."""
    stage = FilterChain()
    stage.push(block(np.zeros((10, 1))))
    other = block(np.zeros((10, 1)), rate_hz=500.0, sequence=10)

    with pytest.raises(ValueError, match="500"):
        stage.push(other)
    stage.reset("rate")

    assert stage.push(other)[0].rate_hz == 500.0


def test_times_and_names_are_kept():
    """Only the values change."""
    item = replace(block(np.ones((10, 1))), start_ns=123, sequence=7, is_backfill=True)

    (out,) = FilterChain().push(item)

    assert replace(out, values=item.values) == replace(item, values=item.values)


@pytest.mark.parametrize("settings", [{"band_hz": (40.0, 0.5)}, {"order": 0}, {"mains_hz": -1.0}, {"notch_q": 0.0}])
def test_senseless_settings_are_refused(settings):
    """A filter that cannot be designed is refused when it is described."""
    with pytest.raises(ValueError, match="expected"):
        FilterSettings(**settings)
