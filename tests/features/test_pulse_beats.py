"""PulseBeats finds every pulse once, at its foot, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.conditioning.ppg_quality import PpgQuality
from edge.features.pulse_beats import PulseBeats
from edge.messages import ChannelKind, Quality
from tests.features.pulse_signals import INFRARED, PPG, RED, blocks, feet_at, ppg, run, tangent_lag_s


def found_s(pulses) -> np.ndarray:
    return np.array([pulse.at_ns / 1e9 for pulse in pulses])


@pytest.mark.parametrize("rate_bpm", [30, 45, 60, 90, 120, 180, 240])
def test_every_rate_is_found(rate_bpm):
    """Pulses from 30 to 240 a minute are found once each, at their feet."""
    feet = feet_at(rate_bpm, 30.0)

    pulses = run(PulseBeats(), blocks(ppg(feet, 31.0, notch=0.2)))

    found = found_s(pulses)[-len(feet) + 3 :]
    offset = found - feet[-len(found) :] - tangent_lag_s(60.0 / rate_bpm)
    assert len(feet) - 2 <= len(pulses) <= len(feet)
    assert np.abs(offset).max() < 0.015


@pytest.mark.parametrize("rate_hz", [25.0, 50.0, 64.0, 100.0, 125.0, 250.0, 1000.0])
def test_every_sampling_rate_gives_the_same_feet(rate_hz):
    """From 25 to 1000 Hz the foot lies within a fraction of a sample of where it is."""
    feet = feet_at(72.0, 30.0)

    pulses = run(PulseBeats(), blocks(ppg(feet, 30.9, rate_hz), rate_hz))

    found = found_s(pulses)[1:]
    offset = found - feet[-len(found) :] - tangent_lag_s(60.0 / 72.0)
    assert len(found) >= len(feet) - 2
    assert np.abs(offset).max() < 0.01
    assert offset.std() < 0.003


@pytest.mark.parametrize("notch", [0.5, 0.7, 0.9])
def test_a_tall_dicrotic_wave_is_not_counted(notch):
    """A second wave of half the height, and of nearly all of it, does not double the rate."""
    feet = feet_at(60.0, 40.0)

    found = found_s(run(PulseBeats(), blocks(ppg(feet, 41.0, notch=notch))))

    assert np.abs(np.diff(found[found > 5.0]) - 1.0).max() < 0.02


def test_intervals_are_between_the_feet():
    """Each interval is the time to the pulse before; the first pulse has none."""
    feet = feet_at(75.0, 20.0)

    pulses = run(PulseBeats(), blocks(ppg(feet, 21.0)))

    assert pulses[0].interval_ms is None
    assert [pulse.interval_ms for pulse in pulses[2:]] == pytest.approx([800.0] * (len(pulses) - 2), abs=3.0)


def test_amplitude_and_baseline_are_in_the_unit_of_the_channel():
    """The rise and the raw level of the foot are reported."""
    feet = feet_at(75.0, 20.0)

    pulses = run(PulseBeats(), blocks(5000.0 + 100.0 * ppg(feet, 21.0, notch=0.0)))

    assert pulses[5].amplitude == pytest.approx(100.0, rel=0.1)
    assert pulses[5].baseline == pytest.approx(5000.0, rel=0.002)


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_a_change_of_amplitude_costs_a_few_seconds_at_most(factor):
    """When contact or perfusion changes, the pulses are found again within four seconds and never doubled."""
    feet = feet_at(75.0, 40.0)
    values = ppg(feet, 41.0)
    values[20 * 125 :] *= factor

    found = found_s(run(PulseBeats(), blocks(values)))

    after = found[found > 24.0]
    assert np.abs(np.diff(after) - 0.8).max() < 0.03
    assert len(after) >= np.sum(feet > 24.0) - 1


def test_an_artefact_is_recovered_from():
    """A second of tenfold swings does not hide the pulses that follow three seconds later."""
    feet = feet_at(75.0, 40.0)
    values = ppg(feet, 41.0)
    values[20 * 125 : 21 * 125] += 10.0 * np.sin(2 * np.pi * 2.0 * np.arange(125) / 125)

    found = found_s(run(PulseBeats(), blocks(values)))

    after = found[found > 24.0]
    assert np.abs(np.diff(after) - 0.8).max() < 0.03
    assert len(after) >= np.sum(feet > 24.0) - 1


@pytest.mark.parametrize(
    ("level", "rate_hz"), [(0.0, 125.0), (-918052.9521276106, 25.0), (-232644.89147623314, 1000.0)]
)
def test_a_flat_signal_has_no_pulses(level, rate_hz):
    """After a step nothing moves but the last bits of the filter: nothing is found (at these levels they do move)."""
    values = np.concatenate([np.full(round(rate_hz), 1.01 * level), np.full(round(40 * rate_hz), level)])

    pulses = run(PulseBeats(), blocks(values, rate_hz, block_s=1.0))

    assert all(pulse.at_ns < 3e9 for pulse in pulses)


def test_a_jump_of_the_sequence_starts_anew():
    """The first pulse after a hole has no interval."""
    values = ppg(feet_at(75.0, 20.0), 21.0)
    items = [*blocks(values), *blocks(values, sequence=100_000)]

    pulses = run(PulseBeats(), items)

    firsts = [pulse for pulse in pulses if pulse.interval_ms is None]
    assert [pulse.sequence > 90_000 for pulse in firsts] == [False, True]


def test_infrared_is_preferred_to_red():
    """Of several light channels the infrared one is used, unless the quality names another."""
    wave = ppg(feet_at(75.0, 20.0), 21.0)
    values = np.column_stack([wave, wave])
    named = Quality(
        sensor="finger",
        stream="ppg",
        at_ns=0,
        index=0.9,
        is_usable=True,
        reasons=(),
        channel="RED",
        kind=ChannelKind.PPG_RED,
    )

    own = run(PulseBeats(), blocks(values, channels=(RED, INFRARED)))
    told = run(PulseBeats(), [named, *blocks(values, channels=(RED, INFRARED))])

    assert {pulse.channel for pulse in own} == {"IR"}
    assert {pulse.channel for pulse in told} == {"RED"}


def test_unusable_signal_makes_the_pulse_suspect():
    """While the quality says no, pulses are marked and carry its index."""
    bad = Quality(
        sensor="finger",
        stream="ppg",
        at_ns=0,
        index=0.2,
        is_usable=False,
        reasons=("motion",),
        channel="PLETH",
        kind=ChannelKind.PPG,
    )

    pulses = run(PulseBeats(), [bad, *blocks(ppg(feet_at(75.0, 20.0), 21.0))])

    assert pulses
    assert all(pulse.is_noise_suspect and pulse.quality == 0.2 for pulse in pulses)


def test_a_pulse_is_told_within_a_second_and_a_half():
    """The delay from the foot to the message is at most 1.2 s once the detector has learned."""
    stage = PulseBeats()
    delays_s = []

    for item in blocks(ppg(feet_at(60.0, 40.0), 41.0)):
        delays_s += [(item.end_ns - pulse.at_ns) / 1e9 for pulse in stage.push(item) if item.start_ns > 6e9]

    assert max(delays_s) < 1.2
    assert PPG.kind is ChannelKind.PPG


@settings(max_examples=20)
@given(gain=st.floats(1e-3, 1e5), level=st.floats(-10.0, 10.0), rate_bpm=st.floats(40.0, 180.0))
def test_gain_and_level_do_not_matter(gain, level, rate_bpm):
    """The same wave in another unit, on another level, has the same feet."""
    wave = ppg(feet_at(rate_bpm, 15.0), 16.0)

    plain = run(PulseBeats(), blocks(wave))
    scaled = run(PulseBeats(), blocks(gain * (wave + level)))

    assert found_s(scaled) == pytest.approx(found_s(plain), abs=1e-4)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_irregular_pulse_is_found_beat_by_beat(seed):
    """However irregular the heart, every pulse of usual strength is found once."""
    rng = np.random.default_rng(seed)
    feet = 0.3 + np.cumsum(np.clip(rng.normal(0.8, 0.2, 30), 0.5, 1.6))

    found = found_s(run(PulseBeats(), blocks(ppg(feet, feet[-1] + 1.2))))

    nearest = np.abs(found[:, None] - feet[None, :]).min(axis=1)
    missed = np.abs(found[:, None] - feet[None, :]).min(axis=0) > 0.1
    assert nearest.max() < 0.1
    assert missed[1:].sum() == 0


def test_a_missing_sample_or_two_are_bridged_and_more_are_a_hole():
    """Two samples without a value change nothing to speak of; three start the detector anew."""
    values = ppg(feet_at(75.0, 30.0), 31.0)
    two, three = values.copy(), values.copy()
    two[1500:1502] = np.nan
    three[1500:1503] = np.nan

    whole = run(PulseBeats(), blocks(values))
    bridged = run(PulseBeats(), blocks(two, block_s=0.008))
    holed = run(PulseBeats(), blocks(three, block_s=0.008))

    assert found_s(bridged) == pytest.approx(found_s(whole), abs=0.02)
    assert sum(pulse.interval_ms is None for pulse in bridged) == 1
    assert sum(pulse.interval_ms is None for pulse in holed) == 2


def test_an_inverted_wave_has_the_same_feet():
    """Once the quality says that the wave stands upside down, it is turned."""
    values = ppg(feet_at(75.0, 40.0), 41.0)
    quality, upright, inverted = PpgQuality(), PulseBeats(), PulseBeats()
    found = []

    for block in blocks(-values):
        for verdict in quality.push(block):
            inverted.push(verdict)
        found += inverted.push(block)

    expected = found_s(run(upright, blocks(values)))
    after = np.array([at for at in found_s(found) if at > 12.0])
    assert len(after) > 30
    assert np.abs(after[:, None] - expected[None, :]).min(axis=1).max() < 0.002
