"""PpgQuality says once a second whether a pulse can be trusted, and why not."""

from __future__ import annotations

import numpy as np
import pytest

from edge.conditioning.ppg_quality import PpgQuality, PpgQualitySettings
from edge.messages import Activity, ActivityLevel, Channel, ChannelKind, SensorStatus
from tests.features.pulse_signals import INFRARED, PPG, RED, blocks, feet_at, ppg, run

RATE_HZ = 100.0


def clean(duration_s: float = 30.0, rate_bpm: float = 75.0) -> np.ndarray:
    return ppg(feet_at(rate_bpm, duration_s), duration_s, RATE_HZ)


def light(pulse: np.ndarray, perfusion: float = 0.02) -> np.ndarray:
    return 100_000.0 * (1.0 + perfusion * pulse)


def verdicts(values: np.ndarray, channels: tuple[Channel, ...] = (PPG,), before: tuple = ()):
    return run(PpgQuality(), [*before, *blocks(values, RATE_HZ, channels=channels)])


def activity(level: ActivityLevel, at_s: float) -> Activity:
    return Activity(sensor="finger", stream="acc", at_ns=round(at_s * 1e9), level=level, intensity_mps2=2.0)


@pytest.mark.parametrize("rate_bpm", [28, 35, 60, 100, 150, 240])
def test_a_clean_pulse_is_usable_without_reasons(rate_bpm):
    """At every rate a clean wave is trusted once the start is over; there is one verdict a second."""
    found = verdicts(clean(rate_bpm=rate_bpm))

    assert [quality.at_ns for quality in found] == [second * 10**9 for second in range(1, 31)]
    assert all(quality.is_usable and not quality.reasons for quality in found[5:])
    assert {(quality.kind, quality.channel) for quality in found} == {(ChannelKind.PPG, "PLETH")}


def test_the_start_is_settling():
    """Nothing is trusted before two pulses could have been compared."""
    found = verdicts(clean())

    assert not found[0].is_usable
    assert "settling" in found[0].reasons


def test_an_irregular_heart_is_no_noise():
    """Fibrillation takes the regularity away, not the shape of the wave: it stays usable."""
    rng = np.random.default_rng(5)
    feet = 0.3 + np.cumsum(np.clip(rng.normal(0.75, 0.19, 80), 0.4, 1.4))

    found = verdicts(ppg(feet, 60.0, RATE_HZ))

    assert np.mean([quality.is_usable for quality in found[5:]]) > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_not_a_pulse(seed):
    """Noise in the very band of the pulse is not trusted."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(6000))
    frequency_hz = np.fft.rfftfreq(6000, 1 / RATE_HZ)
    spectrum[(frequency_hz < 0.5) | (frequency_hz > 6.0)] = 0

    found = verdicts(np.fft.irfft(spectrum))

    assert np.mean([quality.is_usable for quality in found]) < 0.1
    assert any("noise" in quality.reasons or "motion" in quality.reasons for quality in found)


@pytest.mark.parametrize("frequency_hz", [0.9, 1.4, 2.0, 2.6])
def test_shaking_that_repeats_itself_is_not_a_pulse(frequency_hz):
    """A swing that comes and goes at one frequency repeats itself like a pulse, but rises as slowly as it falls."""
    time_s = np.arange(6000) / RATE_HZ
    is_on = (time_s % 30) > 15
    shaking = np.sin(2 * np.pi * frequency_hz * time_s) * (1.5 + np.sin(2 * np.pi * 0.11 * time_s)) * is_on

    found = verdicts(clean(60.0) + shaking)

    during = [quality for quality in found if quality.at_ns / 1e9 % 30 > 20]
    assert np.mean([quality.is_usable for quality in during]) < 0.1
    assert all(quality.is_usable for quality in found if 7 < quality.at_ns / 1e9 < 15)


def test_a_regular_wave_stays_usable_when_its_amplitude_jumps():
    """A probe that is pressed on better is no motion."""
    wave = clean(60.0)
    wave[3000:] *= 4.0

    found = verdicts(wave)

    assert all(quality.is_usable for quality in found[36:])


def test_a_flat_line_is_flat():
    """A constant is no signal."""
    found = verdicts(np.full(1000, 5.0))

    assert all(quality.index == 0 and quality.reasons == ("flat",) for quality in found)


def test_a_known_rail_is_saturation():
    """Light at the end of the converter's range is named."""
    rail = Channel(name="PLETH", kind=ChannelKind.PPG, unit="1", minimum=0.0, maximum=1.0)

    found = verdicts(np.clip(3.0 * clean(), 0.0, 1.0), (rail,))

    assert all("saturated" in quality.reasons for quality in found[5:])
    assert not any(quality.is_usable for quality in found[5:])


def test_a_held_extreme_is_saturation_where_the_rail_is_unknown():
    """A wave cut off at the top for long is clipped, whatever the range is called."""
    wave = clean()
    wave[1500:1580] = wave.max() * 1.2

    found = verdicts(wave)

    assert "saturated" in found[15].reasons


@pytest.mark.parametrize("condition", ["lead-off", "probe-off", "sensor-off"])
def test_a_device_report_holds_until_it_is_withdrawn(condition):
    """A probe that the device calls off is off, whatever it is called, also over a reset."""
    stage = PpgQuality()
    off = SensorStatus(sensor="finger", stream="ppg", condition=condition, is_active=True, at_ns=0)
    on = SensorStatus(sensor="finger", stream="ppg", condition=condition, is_active=False, at_ns=0)
    values = blocks(clean(), RATE_HZ)

    during = run(stage, [off, *values[:50]])
    stage.reset("gap")
    still = run(stage, values[50:100])
    after = run(stage, [on, *values[100:]])

    assert all(quality.reasons == ("lead-off",) for quality in during + still)
    assert after[-1].is_usable


def test_a_report_about_another_stream_does_not_count():
    """A loose electrode of the same sensor says nothing of its light."""
    off = SensorStatus(sensor="finger", stream="ecg", condition="lead-off", is_active=True, at_ns=0)

    assert verdicts(clean(), before=(off,))[-1].is_usable


def test_missing_samples_are_lead_off_and_the_window_starts_anew():
    """After a second without values the wave is learned again."""
    values = clean()
    values[1500:1510] = np.nan

    found = verdicts(values)

    assert found[15].reasons == ("lead-off",)
    assert "settling" in found[16].reasons
    assert found[22].is_usable


def test_the_wave_upside_down_is_said_and_trusted():
    """Transmission recorded as light falls with the blood: that is named and costs nothing."""
    found = verdicts(-clean())

    assert all("inverted" in quality.reasons for quality in found[10:])
    assert all(quality.is_usable for quality in found[10:])
    assert not any("inverted" in quality.reasons for quality in verdicts(clean()))


def with_activity(levels: list[ActivityLevel], *, lag_s: float) -> list:
    """The verdicts on a slightly noisy wave, with the activity of every second told `lag_s` after it."""
    stage = PpgQuality()
    found = []
    told = 0
    noise = 0.4 * np.random.default_rng(0).standard_normal(3000)
    for item in blocks(clean() + noise, RATE_HZ):
        while told < len(levels) and told + 1 + lag_s <= item.start_ns / 1e9:
            stage.push(activity(levels[told], told + 1.0))
            told += 1
        found += stage.push(item)
    return found


def test_walking_is_never_trusted_and_moving_less():
    """Steps look like pulses, so a regular wave is no proof while walking."""
    still = with_activity([ActivityLevel.STILL] * 30, lag_s=0.0)
    moved = with_activity([ActivityLevel.WALKING] * 15 + [ActivityLevel.MOVING] * 15, lag_s=0.0)

    assert not any(quality.is_usable for quality in moved[2:16])
    assert "motion" in moved[10].reasons
    assert np.mean([quality.index for quality in moved[21:]]) < np.mean([quality.index for quality in still[21:]])


def test_movement_counts_the_same_whenever_within_a_second_it_is_told():
    """Streams reach the pipeline interleaved; the verdicts do not depend on it."""
    levels = [
        ActivityLevel.STILL,
        ActivityLevel.WALKING,
        ActivityLevel.MOVING,
        ActivityLevel.STILL,
        ActivityLevel.STILL,
    ] * 6

    assert with_activity(levels, lag_s=0.0) == with_activity(levels, lag_s=0.8)


@pytest.mark.parametrize(
    ("perfusion", "is_usable", "is_named"), [(0.02, True, False), (0.002, True, True), (2e-4, False, True)]
)
def test_low_perfusion_is_named_and_no_perfusion_is_not_trusted(perfusion, is_usable, is_named):
    """Below 0.3 % the pulse is weak, below 0.05 % there is none to speak of."""
    found = verdicts(light(clean(), perfusion), (INFRARED,))

    assert found[-1].is_usable is is_usable
    assert ("low-perfusion" in found[-1].reasons) is is_named


def test_a_normalised_wave_has_no_perfusion():
    """A plain channel may be anything between 0 and 1: its level is not judged."""
    assert not any("low-perfusion" in quality.reasons for quality in verdicts(1000.0 + clean(), (PPG,)))


def test_the_better_colour_is_named():
    """When infrared is noise and red is not, red is the channel."""
    noise = np.random.default_rng(0).standard_normal(3000)

    found = verdicts(np.column_stack([light(clean()), light(noise, 0.005)]), (RED, INFRARED))

    assert {quality.channel for quality in found[5:]} == {"RED"}
    assert found[-1].is_usable
    assert found[-1].kind is ChannelKind.PPG_RED


def test_a_stream_without_light_is_not_judged():
    """Other channels are none of its business."""
    assert verdicts(clean(), (Channel(name="II", kind=ChannelKind.ECG, unit="mV"),)) == []


@pytest.mark.parametrize("rate_hz", [25.0, 64.0, 250.0, 1000.0])
def test_the_sampling_rate_does_not_matter(rate_hz):
    """From 25 to 1000 Hz the verdict on the same wave is the same."""
    found = run(PpgQuality(), blocks(ppg(feet_at(75.0, 20.0), 20.0, rate_hz), rate_hz))

    assert all(quality.is_usable for quality in found[5:])


def test_impossible_settings_are_refused():
    """A limit of zero would trust everything."""
    with pytest.raises(ValueError, match="min_quality"):
        PpgQualitySettings(min_quality=0.0)
