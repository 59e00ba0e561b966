"""Breaths are found at every rate, depth and sampling rate, and the heart is not one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.features.breaths import BreathDetector, BreathSettings
from edge.messages import Channel, ChannelKind, Quality
from tests.features.respiration_signals import OHM, S, blocks, breathing, heart, noise, run


def rate_bpm(breaths, from_s=20.0):
    at_s = np.array([item.at_ns / S for item in breaths if item.at_ns >= from_s * S])
    return 60.0 * (len(at_s) - 1) / (at_s[-1] - at_s[0])


@pytest.mark.parametrize("bpm", [4, 6, 10, 15, 25, 40, 50, 60])
def test_the_rate_is_right_from_4_to_60(bpm):
    """Within 2 % with noise of 0.01 Ohm."""
    values = breathing(bpm, 120) + noise(120)

    breaths = run(BreathDetector(), blocks(values))

    assert rate_bpm(breaths) == pytest.approx(bpm, rel=0.02)


@pytest.mark.parametrize("sampling_hz", [5, 6.25, 10, 12.5, 50, 62.5, 125, 250, 500])
def test_every_sampling_rate_gives_the_same_breaths(sampling_hz):
    """Their number over a minute differs by one at most, their instants by 0.2 s."""
    expected = run(BreathDetector(), blocks(breathing(15, 80, 25.0)))

    found = run(BreathDetector(), blocks(breathing(15, 80, sampling_hz), sampling_hz))

    late = [min(abs(item.at_ns - other.at_ns) for other in expected) / S for item in found]
    assert abs(len(found) - len(expected)) <= 1
    assert max(late) <= 0.2


def test_a_breath_is_told_within_a_second_and_a_half_of_its_beginning():
    """Apnoea counts from here, so a slow breath must not wait for its peak."""
    values = breathing(6, 120, pause=0.4)
    detector = BreathDetector()

    found = [(block.end_ns, out) for block in blocks(values) for out in detector.push(block)]
    late = [(end_ns - out.at_ns) / S for end_ns, out in found if end_ns > 7 * S]  # before, it learns

    assert len(late) >= 9
    assert max(late) <= 1.5


def test_the_beginning_of_inspiration_is_found():
    """After a long expiratory pause with noise it is at the rise, not anywhere in the pause."""
    values = breathing(6, 120, pause=0.4) + noise(120)

    breaths = run(BreathDetector(), blocks(values))

    offsets = np.array([(item.at_ns / S + 5) % 10 - 5 for item in breaths[1:]])  # a breath begins every 10 s
    assert np.abs(offsets).max() <= 0.7


@pytest.mark.parametrize("depth", [0.3, 3.0])
def test_breathing_that_becomes_shallow_or_deep_is_followed_at_once(depth):
    """From one breath to the next at 30 % or 300 % of the depth, nothing is lost."""
    values = np.concatenate([breathing(15, 60), depth * breathing(15, 60)]) + noise(120)

    breaths = run(BreathDetector(), blocks(values))

    intervals = np.diff([item.at_ns / S for item in breaths])
    assert intervals.max() < 6.0
    assert rate_bpm(breaths) == pytest.approx(15, abs=0.5)


def test_breathing_that_became_a_fifth_is_found_after_a_pause():
    """Another posture, another gain: before it would be called an apnoea, and from then on every breath."""
    values = np.concatenate([breathing(15, 60), 0.2 * breathing(15, 60)]) + noise(120)

    breaths = run(BreathDetector(), blocks(values))

    small = [item.at_ns / S for item in breaths if item.at_ns > 62 * S]
    assert small[0] < 79
    assert np.diff(small).max() < 6


@pytest.mark.parametrize("heart_bpm", [50, 72, 100])
def test_the_heart_on_a_breath_is_no_breath(heart_bpm):
    """A cardiac wave of a fifth of the breath's swing leaves the rate as it is."""
    values = breathing(10, 120, pause=0.3) + heart(heart_bpm, 120, swing=0.3) + noise(120)

    breaths = run(BreathDetector(), blocks(values))

    assert rate_bpm(breaths) == pytest.approx(10, abs=0.4)


def test_a_still_chest_with_noise_and_heart_has_no_breaths():
    """After breathing, 40 s of cardiac wave at 8 % of the usual swing and noise: nothing is told."""
    values = np.concatenate([breathing(15, 60), np.full(1000, breathing(15, 60)[-1])])
    values = values + heart(70, 100, swing=0.13) + noise(100)

    breaths = run(BreathDetector(), blocks(values))

    assert not [item for item in breaths if item.at_ns > 62 * S]


def test_a_chest_that_never_moved_has_no_breaths():
    """Noise alone is below the threshold that noise itself sets."""
    for unit in ("Ohm", "1"):
        channel = Channel(name="R", kind=ChannelKind.RESPIRATION, unit=unit)

        assert run(BreathDetector(), blocks(noise(120), channel=channel)) == []


def test_wander_of_the_baseline_does_not_matter():
    """A drift of ten swings a minute and a step are no breaths."""
    values = breathing(12, 120) + np.linspace(0, 30, 3000)

    breaths = run(BreathDetector(), blocks(values))

    assert rate_bpm(breaths) == pytest.approx(12, abs=0.4)


def test_a_hole_interrupts_the_intervals():
    """The breath after missing samples has none, the next one has."""
    values = breathing(15, 60)
    detector = BreathDetector()
    run(detector, blocks(values))

    breaths = run(detector, blocks(values, start_s=70.0))

    assert breaths[0].interval_s is None
    assert all(item.interval_s is not None for item in breaths[1:])


def test_the_first_inspiration_of_a_stretch_is_a_breath():
    """Who breathes once in 12 s is not kept waiting for a whole breath after every hole."""
    values = breathing(5, 120, pause=0.5)[8 * 25 :]  # it begins in the pause

    breaths = run(BreathDetector(), blocks(values))

    assert breaths[0].at_ns / S == pytest.approx(4.3, abs=1.5)
    assert breaths[0].interval_s is None


def test_missing_samples_inside_a_block_interrupt_too():
    """NaN is no value: no breath is made of it, and the interval over it is unknown."""
    values = breathing(15, 120)
    values[1500:1600] = np.nan

    breaths = run(BreathDetector(), blocks(values))

    assert next(item.interval_s for item in breaths if 60 * S < item.at_ns < 75 * S) is None
    assert rate_bpm([item for item in breaths if item.at_ns > 66 * S]) == pytest.approx(15, abs=0.5)


def test_the_quality_of_the_second_goes_with_the_breath():
    """The index of the last verdict on the stream; a verdict on an ECG is not about it."""
    detector = BreathDetector()
    verdict = Quality(
        sensor="chest", stream="respiration", at_ns=0, index=0.7, is_usable=True, reasons=(), kind=ChannelKind.RESPIRATION
    )  # fmt: skip
    other = Quality(sensor="chest", stream="ecg", at_ns=0, index=0.1, is_usable=False, reasons=("lead-off",))

    breaths = run(detector, [verdict, other, *blocks(breathing(15, 60))])

    assert {item.quality for item in breaths} == {0.7}


def test_after_a_lost_lead_the_usual_swing_is_learned_anew():
    """The electrode sits elsewhere: breaths of a fiftieth of the swing are found within half a minute."""
    detector = BreathDetector()
    off = Quality(
        sensor="chest", stream="respiration", at_ns=60 * S, index=0.0, is_usable=False, reasons=("lead-off",),
        kind=ChannelKind.RESPIRATION,
    )  # fmt: skip
    run(detector, blocks(breathing(15, 60, swing=5.0)))

    breaths = run(detector, [off, *blocks(breathing(15, 60, swing=0.1), start_s=60.0)])

    assert rate_bpm(breaths, from_s=75) == pytest.approx(15, abs=0.5)


@settings(max_examples=25, deadline=None)
@given(
    bpm=st.floats(5, 45),
    scale=st.floats(1e-3, 1e3),
    offset=st.floats(-1e3, 1e3),
    sampling_hz=st.sampled_from([10.0, 25.0, 128.0]),
)
def test_neither_gain_nor_offset_changes_the_count(bpm, scale, offset, sampling_hz):
    """The unit of an arbitrary channel means nothing."""
    channel = Channel(name="R", kind=ChannelKind.RESPIRATION, unit="1")
    values = offset + scale * breathing(bpm, 60, sampling_hz)

    breaths = run(BreathDetector(), blocks(values, sampling_hz, channel=channel))

    assert rate_bpm(breaths, from_s=10) == pytest.approx(bpm, rel=0.06)


def test_impossible_settings_are_refused():
    """A threshold of the whole swing would find nothing."""
    with pytest.raises(ValueError, match="swing_ratio"):
        BreathSettings(swing_ratio=1.0)


def test_a_block_without_a_respiration_channel_is_ignored():
    """An ECG is not breathed."""
    ecg = Channel(name="II", kind=ChannelKind.ECG, unit="mV")

    assert OHM.kind is ChannelKind.RESPIRATION
    assert run(BreathDetector(), blocks(breathing(15, 60), channel=ecg)) == []
