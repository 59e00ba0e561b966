"""A quiet chest is a good signal, a dead electrode is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.conditioning.respiration_quality import RespirationQuality, RespirationQualitySettings
from edge.messages import Activity, ActivityLevel, ChannelKind, SensorStatus
from tests.features.respiration_signals import OHM, S, blocks, breathing, digital, heart, noise, run


def status(condition, *, on, at_s=0.0, sensor="chest", stream="ecg"):
    return SensorStatus(sensor=sensor, stream=stream, condition=condition, is_active=on, at_ns=round(at_s * S))


def activity(at_s, level):
    return Activity(sensor="chest", stream="acc", at_ns=round(at_s * S), level=level, intensity_mps2=2.0)


def judged(values, rate_hz=25.0):
    """Return the verdicts after the start has settled."""
    return run(RespirationQuality(), blocks(digital(values), rate_hz))[6:]


def test_one_verdict_a_second_on_the_respiration():
    """At the end of every second of the sample grid, of kind respiration, clean."""
    verdicts = judged(breathing(15, 60) + noise(60))

    assert [verdict.at_ns for verdict in verdicts] == [second * S for second in range(7, 61)]
    assert {verdict.kind for verdict in verdicts} == {ChannelKind.RESPIRATION}
    assert all(verdict.is_usable for verdict in verdicts)
    assert {verdict.reasons for verdict in verdicts} == {()}


def test_a_start_and_a_hole_settle_first():
    """Six seconds in which no breath could be found yet are not usable."""
    stage = RespirationQuality()

    start = run(stage, blocks(breathing(15, 20)))
    after = run(stage, blocks(breathing(15, 20), start_s=30.0))

    for verdicts in (start, after):
        assert [verdict.is_usable for verdict in verdicts] == [False] * 6 + [True] * 14
        assert {verdict.reasons for verdict in verdicts[:6]} == {("settling",)}


def test_a_chest_that_stands_still_is_a_good_signal():
    """A minute of apnoea after breathing, with the heart and the noise of an electrode: usable in every second."""
    values = np.concatenate([breathing(15, 60), np.full(1500, breathing(15, 60)[-1])]) + heart(70, 120) + noise(120)

    assert all(verdict.is_usable for verdict in judged(values))


def test_a_chest_that_never_moved_is_a_good_signal():
    """Noise of a few steps of the converter is a living electrode."""
    assert all(verdict.is_usable for verdict in judged(noise(60, sigma=0.002)))


def test_a_line_within_one_step_of_the_converter_is_flat():
    """After eight seconds, long before an apnoea would be certain; movement makes it good again."""
    still = np.full(500, 0.25) + OHM.resolution * (np.arange(500) % 2)
    values = np.concatenate([breathing(15, 40), still, breathing(15, 40)])

    verdicts = judged(values)

    flat = [verdict.at_ns // S for verdict in verdicts if verdict.reasons == ("flat",)]
    assert 48 <= flat[0] <= 49
    assert flat[-1] <= 61
    assert not any(verdict.is_usable for verdict in verdicts if 50 <= verdict.at_ns // S < 60)
    assert verdicts[-1].is_usable


def test_an_expiratory_pause_on_a_coarse_converter_is_not_flat():
    """Five seconds without any movement are a pause at 6/min."""
    values = np.round(breathing(6, 120, pause=0.5) / 0.1) * 0.1

    assert all(verdict.is_usable for verdict in judged(values))


@pytest.mark.parametrize("stream", ["ecg", "respiration", None])
def test_a_lead_off_report_of_the_sensor_counts(stream):
    """The electrodes are those of the ECG; the report holds until it is withdrawn, over a reset too."""
    stage = RespirationQuality()
    values = breathing(15, 30)
    run(stage, [status("lead-off", on=True, stream=stream)])

    off = run(stage, blocks(values))
    stage.reset("gap")
    still_off = run(stage, blocks(values, start_s=40.0))
    run(stage, [status("lead-off", on=False, stream=stream)])
    on = run(stage, blocks(values, start_s=70.0))[6:]

    assert {verdict.reasons for verdict in off + still_off} == {("lead-off",)}
    assert not any(verdict.is_usable for verdict in off + still_off)
    assert all(verdict.is_usable for verdict in on)


def test_a_report_of_another_sensor_does_not_count():
    """The finger's probe is off, the chest breathes."""
    stage = RespirationQuality()

    verdicts = run(stage, [status("lead-off", on=True, sensor="finger"), *blocks(breathing(15, 30))])[6:]

    assert all(verdict.is_usable for verdict in verdicts)


def test_missing_samples_are_a_lost_lead():
    """NaN in a second makes it unusable, and the seconds in which the breaths are learned again."""
    values = breathing(15, 40)
    values[500] = np.nan

    verdicts = run(RespirationQuality(), blocks(values))[6:]

    unusable = [(verdict.at_ns // S, verdict.reasons) for verdict in verdicts if not verdict.is_usable]
    assert unusable == [(21, ("lead-off",)), *((second, ("settling",)) for second in range(22, 28))]


def test_a_rail_is_saturation():
    """Held at the end of the converter's range."""
    values = np.concatenate([breathing(15, 40), np.full(500, 99.0)])

    verdicts = judged(values)

    assert verdicts[-1].reasons == ("saturated",)
    assert not verdicts[-1].is_usable


def test_breaths_with_clipped_tops_are_usable():
    """They can still be counted."""
    assert all(verdict.is_usable for verdict in judged(breathing(15, 60, swing=17.0)))


@pytest.mark.parametrize(("level", "is_usable"), [("still", True), ("moving", False), ("walking", False)])
def test_motion_makes_it_unusable(level, is_usable):
    """What the accelerometer calls movement moves the chest's impedance."""
    parts = blocks(breathing(15, 30), block_s=1.0)
    items = [item for k, part in enumerate(parts) for item in (part, activity(k + 1.0, ActivityLevel(level)))]

    verdicts = run(RespirationQuality(), items)[6:]

    assert {verdict.is_usable for verdict in verdicts} == {is_usable}
    assert {verdict.reasons for verdict in verdicts} == {() if is_usable else ("motion",)}


def test_noise_as_large_as_a_breath_is_noise():
    """White noise of the breath's own size."""
    values = breathing(15, 60, 100.0) + noise(60, 100.0, sigma=1.5)

    verdicts = run(RespirationQuality(), blocks(values, 100.0))[10:]

    assert not any(verdict.is_usable for verdict in verdicts)
    assert all("noise" in verdict.reasons for verdict in verdicts)


def test_a_jump_of_the_baseline_is_motion():
    """Many breaths' swing within a second."""
    values = np.concatenate([breathing(15, 60), 20.0 + breathing(15, 60)])

    verdicts = run(RespirationQuality(), blocks(values, channel=replace(OHM, maximum=100.0)))[6:]

    assert [verdict.at_ns // S for verdict in verdicts if not verdict.is_usable] in ([60], [61])


def test_impossible_settings_are_refused():
    """A minimum of 0 would show everything."""
    with pytest.raises(ValueError, match="min_quality"):
        RespirationQualitySettings(min_quality=0.0)
