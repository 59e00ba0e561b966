"""The pulse rate at the wrist, while the body rests and while it moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.features.wrist_rate import WristRate, WristRateSettings
from edge.messages import Channel, ChannelKind, Estimate, SampleBlock, Tick
from firmware_bridge.virtual.patient import CHANNELS, VirtualPatient
from firmware_bridge.virtual.scenario import Activity as Doing
from firmware_bridge.virtual.scenario import PatientSettings, Posture, Scenario, Step

S = 1_000_000_000
LIGHT = (Channel(name="BVP", kind=ChannelKind.PPG, unit="1"),)
AXES = tuple(
    Channel(name=kind.value, kind=kind, unit="m/s2")
    for kind in (ChannelKind.ACCELERATION_X, ChannelKind.ACCELERATION_Y, ChannelKind.ACCELERATION_Z)
)


def pulse(rate_bpm: np.ndarray, rate_hz: float, seed: int = 1) -> np.ndarray:
    """Return light with a pulse of the given momentary rate: a wave with its harmonic, slow drift and noise."""
    angle = 2 * np.pi * np.cumsum(rate_bpm / 60.0 / rate_hz)
    time_s = np.arange(len(rate_bpm)) / rate_hz
    noise = 0.1 * np.random.default_rng(seed).standard_normal(len(rate_bpm))
    return 40 * (np.sin(angle) + 0.35 * np.sin(2 * angle + 1.0) + noise + np.sin(2 * np.pi * 0.1 * time_s)) + 500.0


def steps(cadence_hz: float, n_samples: int, rate_hz: float) -> np.ndarray:
    """Return m/s2 of a swinging arm: stride, step and their harmonics, unequal on the axes."""
    angle = 2 * np.pi * cadence_hz * np.arange(n_samples) / rate_hz
    swing, step, double = np.sin(angle / 2), np.sin(angle + 0.4), np.sin(2 * angle + 1.1)
    gravity = np.tile([0.0, 9.8, 0.0], (n_samples, 1))
    return gravity + np.column_stack([3 * swing + step, 0.5 * swing + 2.5 * step + double, swing + step + 0.5 * double])


def stream(
    values: np.ndarray, rate_hz: float, channels: tuple[Channel, ...], *, block_s: float = 0.2, name: str = "ppg"
) -> list[SampleBlock]:
    """Cut `values` into blocks."""
    values = values.reshape(len(values), -1)
    n_block = max(1, round(block_s * rate_hz))
    return [
        SampleBlock(
            sensor="wrist", stream=name, channels=channels, values=values[at : at + n_block].copy(), rate_hz=rate_hz,
            start_ns=round(at * 1e9 / rate_hz), sequence=at,
        )
        for at in range(0, len(values), n_block)
    ]  # fmt: skip


def in_time(*streams: list[SampleBlock], lateness_s: float = 0.0) -> list[Any]:
    """Interleave blocks by their end, the later streams late by `lateness_s`, with a tick every second."""
    timed: list[tuple[float, int, Any]] = []
    for k, blocks in enumerate(streams):
        timed += [(block.end_ns + k * lateness_s * S, 0, block) for block in blocks]
    last_s = int(max(blocks[-1].end_ns for blocks in streams) / S)
    timed += [(second * S, 1, Tick(at_ns=second * S)) for second in range(1, last_s + 1)]
    return [item for _, _, item in sorted(timed, key=lambda entry: entry[:2])]


def run(items: list[Any], stage: WristRate | None = None) -> list[Estimate]:
    stage = stage or WristRate()
    return [estimate for item in items for estimate in stage.push(item)]


def walk(pulse_bpm: float, cadence_hz: float, *, artefact: float, seconds: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return light at 64 Hz and acceleration at 32 Hz of somebody who starts walking after 20 s."""
    n = seconds * 64
    acc = steps(cadence_hz, n, 64.0)
    is_walking = np.arange(n) >= 20 * 64
    acc = np.where(is_walking[:, None], acc, [0.0, 9.8, 0.0])
    light = pulse(np.full(n, pulse_bpm), 64.0)
    moved = acc @ [0.5, 1.0, -0.4]
    return light + artefact * 40 * (moved - moved.mean()) / moved.std() * is_walking, acc[::2]


@pytest.mark.parametrize("rate_hz", [25.0, 31.25, 64.0, 125.0])
@pytest.mark.parametrize("rate_bpm", [40.0, 72.0, 135.0, 190.0])
def test_pulse_rate_at_rest(rate_hz, rate_bpm):
    """Without motion the rate is right within a beat a minute at any sampling rate, once the window is full."""
    light = pulse(np.full(round(30 * rate_hz), rate_bpm), rate_hz)

    out = run(in_time(stream(light, rate_hz, LIGHT)))

    assert [estimate.absent for estimate in out[:6]] == ["settling"] * 6
    assert [estimate.value for estimate in out[12:]] == pytest.approx([rate_bpm] * 18, abs=1.0)
    assert {estimate.method for estimate in out} == {"spectral"}
    assert {(estimate.measure, estimate.unit) for estimate in out} == {("pulse_rate_bpm", "/min")}


def test_walking_does_not_hide_the_pulse():
    """Steps larger than the pulse in the light: with acceleration the pulse, without it the steps."""
    light, acc = walk(72.0, 1.9, artefact=1.2)
    with_acc = run(in_time(stream(light, 64.0, LIGHT), stream(acc, 32.0, AXES, name="acc")))
    without = run(in_time(stream(light, 64.0, LIGHT)))

    errors = [abs(estimate.value - 72.0) for estimate in with_acc[30:] if estimate.value is not None]
    assert len(errors) >= 20
    assert max(errors) < 3.0
    assert {estimate.method for estimate in with_acc[7:]} == {"spectral-motion"}
    assert without[-1].value is None or abs(without[-1].value - 72.0) > 20.0


def test_steps_at_the_rate_of_the_pulse_are_not_called_the_pulse_for_long():
    """Where cadence and pulse coincide nothing can be known: confidence sinks and the reason is motion."""
    light, acc = walk(108.0, 1.8, artefact=3.0, seconds=120)

    out = run(in_time(stream(light, 64.0, LIGHT), stream(acc, 32.0, AXES, name="acc")))

    assert out[18].value == pytest.approx(108.0, abs=1.0)
    assert {estimate.absent for estimate in out[-30:]} == {"motion"}
    assert [estimate.value for estimate in out[-30:]] == [None] * 30


def test_steps_without_a_pulse_are_no_pulse():
    """A loose sensor that shows nothing but the steps gives no rate."""
    acc = steps(1.8, 64 * 60, 64.0)
    light = 500.0 + 40 * (acc @ [0.5, 1.0, -0.4]) + np.random.default_rng(1).standard_normal(len(acc))

    out = run(in_time(stream(light, 64.0, LIGHT), stream(acc[::2], 32.0, AXES, name="acc")))

    assert {estimate.value for estimate in out} == {None}


def test_rising_pulse_is_followed():
    """A rise of 1 bpm a second is followed with the lag of half a window."""
    n = 100 * 64
    truth_bpm = np.interp(np.arange(n) / 64, [20, 80], [70.0, 130.0])

    out = run(in_time(stream(pulse(truth_bpm, 64.0), 64.0, LIGHT)))

    for estimate in out[12:]:
        end = round(estimate.at_ns / S * 64)
        assert estimate.value == pytest.approx(truth_bpm[max(0, end - 512) : end].mean(), abs=3.0)


def test_noise_is_no_pulse():
    """Light without any rhythm gives no value, and says why."""
    noise = np.random.default_rng(3).standard_normal(64 * 120)

    out = run(in_time(stream(noise, 64.0, LIGHT)))

    assert np.mean([estimate.value is not None for estimate in out]) < 0.02
    assert out[-1].absent == "noise"


@pytest.mark.parametrize("level", [0.0, 512.3, -1e6])
def test_constant_light_is_no_signal(level):
    """A dead photodiode has no pulse, whatever is left of its level by the filter's arithmetic."""
    out = run(in_time(stream(np.full(64 * 20, level), 64.0, LIGHT)))

    assert {estimate.absent for estimate in out[8:]} == {"no-signal"}


def test_a_stream_that_ends_has_no_signal():
    """The last value is never held: two seconds later there is none."""
    light = pulse(np.full(64 * 30, 70.0), 64.0)
    items = in_time(stream(light, 64.0, LIGHT)) + [Tick(at_ns=second * S) for second in range(31, 41)]

    out = run(items)

    assert out[29].value is not None
    assert [estimate.absent for estimate in out[-6:]] == ["no-signal"] * 6


def test_a_short_hole_costs_little():
    """A second lost in transmission leaves a value; its samples count as missing, not as light."""
    blocks = stream(pulse(np.full(64 * 40, 70.0), 64.0), 64.0, LIGHT)
    kept = [block for block in blocks if not 25 * S <= block.start_ns < 26 * S]

    out = run(in_time(kept))

    assert [estimate.value for estimate in out[12:]] == pytest.approx([70.0] * len(out[12:]), abs=1.5)


def test_a_long_hole_starts_the_window_anew():
    """After half a minute without light nothing is said until the window is full again."""
    blocks = stream(pulse(np.full(64 * 80, 70.0), 64.0), 64.0, LIGHT)

    out = run(in_time([block for block in blocks if not 20 * S <= block.start_ns < 50 * S]))

    absent = {estimate.at_ns // S: estimate.absent for estimate in out}
    assert {absent[second] for second in range(24, 56)} == {"no-signal"}
    assert absent[60] is None


@pytest.mark.parametrize("lateness_s", [0.3, 0.7])
def test_late_acceleration_changes_nothing(lateness_s):
    """How the streams are interleaved within a second does not show in the answer."""
    light, acc = walk(75.0, 1.7, artefact=1.0, seconds=30)
    streams = stream(light, 64.0, LIGHT), stream(acc, 32.0, AXES, name="acc", block_s=0.3)

    on_time = run(in_time(*streams))
    late = run(in_time(*streams, lateness_s=lateness_s))
    late_light = run(in_time(*streams[::-1], lateness_s=lateness_s))

    assert late == on_time
    assert late_light == on_time[len(on_time) - len(late_light) :]  # it is first heard of a tick later


def test_acceleration_of_another_sensor_is_not_used():
    """Another sensor's motion says nothing of this one's light."""
    light, acc = walk(75.0, 1.7, artefact=1.0, seconds=20)
    foreign = [replace(block, sensor="chest") for block in stream(acc, 32.0, AXES, name="acc")]

    out = run(in_time(stream(light, 64.0, LIGHT), foreign))

    assert {estimate.method for estimate in out} == {"spectral"}


def test_lost_acceleration_does_not_turn_steps_into_a_pulse():
    """While the acceleration is lost nothing is said for a minute; then the light counts alone."""
    light, acc = walk(72.0, 1.9, artefact=1.0, seconds=130)
    motion = [block for block in stream(acc, 32.0, AXES, name="acc") if block.start_ns < 40 * S]

    out = run(in_time(stream(light, 64.0, LIGHT), motion))

    absent = {estimate.at_ns // S: estimate.absent for estimate in out}
    assert {absent[second] for second in range(44, 100)} == {"motion-unknown"}
    assert out[-1].method == "spectral"
    assert "motion-unknown" not in {absent[second] for second in range(110, 129)}


def test_acceleration_in_raw_counts_is_scaled_by_gravity():
    """An unknown unit of acceleration is as good as a known one."""
    light, acc = walk(72.0, 1.9, artefact=1.2)
    raw = tuple(replace(channel, unit="1") for channel in AXES)

    known = run(in_time(stream(light, 64.0, LIGHT), stream(acc, 32.0, AXES, name="acc")))
    unknown = run(in_time(stream(light, 64.0, LIGHT), stream(acc * 417.0, 32.0, raw, name="acc")))

    pairs = [(a.value, b.value) for a, b in zip(known, unknown, strict=True) if a.value and b.value]
    assert len(pairs) > 40
    assert [a for a, _ in pairs] == pytest.approx([b for _, b in pairs], abs=2.0)


def test_green_light_comes_first():
    """Of several lights in one stream the green one is taken."""
    n = 64 * 20
    both = np.column_stack([pulse(np.full(n, 110.0), 64.0), pulse(np.full(n, 70.0), 64.0)])
    channels = (Channel(name="RED", kind=ChannelKind.PPG_RED, unit="1"), *LIGHT)

    out = run(in_time(stream(both, 64.0, channels)))

    assert out[-1].value == pytest.approx(70.0, abs=1.0)


def test_backfill_is_history():
    """Light that was stored while the link was down is not analysed."""
    blocks = stream(pulse(np.full(64 * 20, 70.0), 64.0), 64.0, LIGHT)

    assert run(in_time([replace(block, is_backfill=True) for block in blocks])) == []


def test_impossible_settings_are_refused():
    """Rates outside the spectra, or a window shorter than two beats, are an error of whoever configures."""
    with pytest.raises(ValueError, match="window_s"):
        WristRateSettings(window_s=1.0)
    with pytest.raises(ValueError, match="range_bpm"):
        WristRateSettings(belief=replace(WristRateSettings().belief, range_bpm=(30, 300)))


@pytest.mark.parametrize(
    ("heart_rate_bpm", "motion_light_ratio", "least_coverage"),
    [(70.0, 0.05, 0.9), (140.0, 0.05, 0.9), (108.0, 0.05, 0.0), (70.0, 0.1, 0.0), (54.0, 0.1, 0.0), (54.0, 0.2, 0.0)],
)
def test_the_virtual_patient_walks(heart_rate_bpm, motion_light_ratio, least_coverage):
    """Steps of the pulse's size leave the pulse; larger ones, or at its rate, leave no wrong value."""
    scenario = Scenario(
        patient=PatientSettings(seed=2, motion_light_ratio=motion_light_ratio),
        steps=(
            Step(at_s=0.0, posture=Posture.STANDING, heart_rate_bpm=heart_rate_bpm, step_rate_hz=1.8),
            Step(at_s=20.0, activity=Doing.WALKING),
        ),
    )
    signals = VirtualPatient(scenario).take(120.0)
    light = stream(signals.ppg, signals.ppg_rate_hz, CHANNELS["ppg"])
    motion = stream(signals.acceleration_mps2, signals.acceleration_rate_hz, CHANNELS["acceleration"], name="acc")
    onset_s = np.array([pulse.onset_s for pulse in signals.truth.pulses])

    out = [estimate for estimate in run(in_time(light, motion)) if estimate.at_ns > 30 * S]

    given = [estimate for estimate in out if estimate.value is not None]
    assert len(given) >= least_coverage * len(out)
    for estimate in given:
        is_inside = (onset_s <= estimate.at_ns / S) & (onset_s > estimate.at_ns / S - 8.0)
        assert estimate.value == pytest.approx(60.0 / np.diff(onset_s[is_inside]).mean(), abs=5.0)


@settings(max_examples=15, deadline=None)
@given(rate_bpm=st.floats(35.0, 210.0), harmonic=st.floats(0.0, 0.9), size=st.sampled_from([1e-3, 1.0, 1e5]))
def test_neither_size_nor_shape_of_the_wave_matters(rate_bpm, harmonic, size):
    """Any wave whose first harmonic is the largest gives its rate, in any unit."""
    angle = 2 * np.pi * rate_bpm / 60.0 * np.arange(64 * 16) / 64.0
    light = size * (np.sin(angle) + harmonic * np.sin(2 * angle + 1.0))

    out = run(in_time(stream(light, 64.0, LIGHT)))

    assert out[-1].value == pytest.approx(rate_bpm, abs=1.5)
