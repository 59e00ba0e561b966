"""Quality: what is withheld, why, and what must not be."""

from __future__ import annotations

import numpy as np
import pytest

from edge.conditioning.quality import SignalQuality
from edge.messages import Channel, ChannelKind, SensorStatus
from firmware_bridge.virtual.noise_stress import StressSchedule, stress, surrogate
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Premature, Scenario
from tests.conformance.case import block, ecg_like

RATE = 250


def channel(name="II", **limits):
    return Channel(name=name, kind=ChannelKind.ECG, unit="mV", **limits)


LEAD_II = channel()


def judge(values, channels=(LEAD_II,), statuses=()):
    """Verdicts on `values`, shape (n,) or (n, k); `statuses` are (second, SensorStatus)."""
    values = values[:, None] if values.ndim == 1 else values
    stage = SignalQuality()
    out = []
    for second in range(len(values) // RATE):
        for at, status in statuses:
            if at == second:
                stage.push(status)
        part = values[second * RATE : (second + 1) * RATE].copy()
        out += stage.push(block(part, channels=channels, sequence=second * RATE, start_ns=second * 10**9))
    return out


def clean(seconds=20, seed=1):
    return ecg_like(np.random.default_rng(seed), seconds * RATE)[:, 0]


def lead_off(*, is_active, detail=""):
    return SensorStatus(sensor="s", stream="ecg", condition="lead-off", is_active=is_active, at_ns=0, detail=detail)


def test_a_clean_ecg_is_usable_after_settling():
    """Two seconds settle, then every second is clean, without a reason, and at its own time."""
    out = judge(clean())

    assert [q.reasons for q in out[:2]] == [("settling",), ("settling",)]
    assert not any(q.is_usable for q in out[:2])
    assert all(q.is_usable and not q.reasons and q.index > 0.8 for q in out[2:])
    assert [(q.at_ns, q.sequence) for q in out[:2]] == [(10**9, RATE), (2 * 10**9, 2 * RATE)]


@pytest.mark.parametrize("level", [0.0, 3.3])
def test_an_input_without_any_life_is_flat(level):
    """A constant is no heart that stands still: a live electrode always has noise."""
    values = np.concatenate([clean(5), np.full(5 * RATE, level)])

    out = judge(values)

    assert all(q.reasons == ("flat",) and q.index == 0.0 for q in out[6:])


@pytest.mark.parametrize("noise_mv", [0.005, 0.01, 0.02])
def test_asystole_with_electrode_noise_stays_usable(noise_mv):
    """No QRS complexes, a little wander and noise: this must not be called lead-off, flat or noisy, even for long."""
    rng = np.random.default_rng(2)
    n = 60 * RATE
    still = noise_mv * rng.standard_normal(n) + 0.03 * np.sin(2 * np.pi * 0.25 * np.arange(n) / RATE)

    out = judge(np.concatenate([clean(10), still]))

    assert all(q.is_usable for q in out[2:])


def test_asystole_seen_through_a_coarse_converter_stays_usable():
    """Noise of a few steps is life; a single flickering step is not."""
    rng = np.random.default_rng(3)
    coarse = np.round(0.008 * rng.standard_normal(20 * RATE) / 0.005) * 0.005
    flicker = np.where(rng.random(20 * RATE) < 0.1, 0.005, 0.0)
    channels = (channel(resolution=0.005),)

    assert all(q.is_usable for q in judge(coarse, channels)[2:])
    assert all(q.reasons == ("flat",) for q in judge(flicker, channels)[2:])


def test_a_known_rail_is_saturation():
    """At the converter's largest value nothing can be seen."""
    values = np.concatenate([clean(5), np.full(5 * RATE, 5.0)])

    out = judge(values, (channel(minimum=-5.0, maximum=5.0),))

    assert all(q.reasons == ("saturated",) for q in out[6:])


def test_a_clipped_signal_is_saturation_without_known_limits():
    """A swing that stands at one extreme for long runs is clipped, whatever the converter's range."""
    n = np.arange(10 * RATE)
    values = np.clip(3 * np.sin(2 * np.pi * n / RATE), -2.0, 2.0)

    out = judge(values)

    assert all("saturated" in q.reasons and not q.is_usable for q in out[3:])


def test_a_clipped_qrs_peak_still_counts():
    """A tall R wave that touches the rail for 8 ms a beat is usable."""
    values = np.minimum(clean(), 0.8)

    out = judge(values, (channel(minimum=-0.8, maximum=0.8),))

    assert all(q.is_usable for q in out[2:])


@pytest.mark.parametrize("mains_hz", [50.0, 60.0])
def test_strong_mains_is_named(mains_hz):
    """3 mV of hum under 1 mV complexes is withheld and named; 0.3 mV is not, because the detector does not see it."""
    hum = np.sin(2 * np.pi * mains_hz * np.arange(20 * RATE) / RATE)

    strong, weak = judge(clean() + 3.0 * hum), judge(clean() + 0.3 * hum)

    assert all("mains" in q.reasons and not q.is_usable for q in strong[3:])
    assert all(q.is_usable for q in weak[2:])


def test_muscle_noise_is_named_and_recovers():
    """Broad noise as large as the complexes is withheld while it lasts, and only then."""
    values = clean(40)
    values[10 * RATE : 20 * RATE] += 0.6 * np.random.default_rng(4).standard_normal(10 * RATE)

    out = judge(values)

    assert all("noise" in q.reasons and not q.is_usable for q in out[10:20])
    assert all(q.is_usable for q in out[22:])


def test_violent_wander_is_named():
    """A swing of 20 mV within a second is withheld; the usual wander of 1 mV is not."""
    slow = np.sin(2 * np.pi * 0.5 * np.arange(20 * RATE) / RATE)

    assert all("baseline" in q.reasons and not q.is_usable for q in judge(clean() + 10.0 * slow)[3:])
    assert all(q.is_usable for q in judge(clean() + 0.5 * slow)[2:])


def test_the_better_lead_counts_and_is_named():
    """One lead off and one clean: the stream is usable through the clean one."""
    values = np.stack([clean(), clean()], axis=1)
    values[5 * RATE : 10 * RATE, 0] = np.nan

    out = judge(values, (channel("I"), channel("V1")))

    assert all(q.channel == "V1" and q.is_usable for q in out[5:10])


def test_a_lead_that_comes_back_settles_first():
    """The second after a hole in a lead is not trusted yet."""
    values = clean()
    values[5 * RATE : 7 * RATE] = np.nan

    out = judge(values)

    assert [q.reasons for q in out[5:8]] == [("lead-off",), ("lead-off",), ("settling",)]
    assert all(q.is_usable for q in out[9:])


def test_the_device_is_believed_until_it_withdraws():
    """A reported lead-off blanks the stream from then on, over a reset too, until it is withdrawn."""
    stage = SignalQuality()
    values = clean(12)
    stage.push(lead_off(is_active=True))
    out = []
    for second in range(12):
        if second == 4:
            stage.reset("gap")
        if second == 6:
            stage.push(lead_off(is_active=False))
        part = values[second * RATE : (second + 1) * RATE, None].copy()
        out += stage.push(block(part, sequence=second * RATE, start_ns=second * 10**9))

    assert all(q.reasons == ("lead-off",) and q.index == 0.0 for q in out[:6])
    assert all(q.is_usable for q in out[6:])


def test_a_report_about_one_electrode_leaves_the_other_lead():
    """A detail that names a channel concerns only that channel."""
    values = np.stack([clean(), clean()], axis=1)

    out = judge(values, (channel("I"), channel("II")), [(0, lead_off(is_active=True, detail="I"))])

    assert all(q.channel == "II" and q.is_usable for q in out[2:])


def test_a_lost_block_starts_settling_again():
    """After a jump of the sequence the filters are fresh, and so is the doubt."""
    stage = SignalQuality()
    values = clean(20)
    out = []
    for second in [*range(6), *range(8, 14)]:
        part = values[second * RATE : (second + 1) * RATE, None].copy()
        out += stage.push(block(part, sequence=second * RATE, start_ns=second * 10**9))

    assert [q.at_ns // 10**9 for q in out if "settling" in q.reasons] == [1, 2, 9, 10]


def in_band(seconds, low_hz=5.0, high_hz=16.0, seed=5):
    """Noise where the QRS complex has its energy, root mean square 1."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(seconds * RATE))
    hz = np.fft.rfftfreq(seconds * RATE, 1 / RATE)
    noise = np.fft.irfft(np.where((hz >= low_hz) & (hz <= high_hz), spectrum, 0.0), seconds * RATE)
    return noise / noise.std()


def test_motion_inside_the_qrs_band_is_withheld():
    """Waves of 5-16 Hz as large as a third of the complexes look like beats to a detector: mostly named motion."""
    values = clean(40)
    values[10 * RATE : 20 * RATE] += 0.2 * in_band(10)

    out = judge(values)

    assert not any(q.is_usable for q in out[11:20])
    assert sum("motion" in q.reasons for q in out[11:20]) >= 6
    assert all(q.is_usable for q in out[24:])


def test_the_index_falls_as_the_noise_grows():
    """Six decibels more of noise never give a better index, and at 0 dB hardly a second is left."""
    lead = VirtualPatient(Scenario.simple(seed=2)).take(90.0)
    ecg, beats = lead.ecg_mv[:, 0], [round(beat.at_s * RATE) for beat in lead.truth.beats]
    always = StressSchedule(clean_s=0.0, rest_s=0.0)
    noise = surrogate("ma", len(ecg), RATE)

    means, shares = [], []
    for snr_db in (24.0, 12.0, 6.0, 0.0):
        out = judge(stress(ecg, beats, noise, RATE, snr_db=snr_db, schedule=always))[2:]
        means.append(np.mean([q.index for q in out]))
        shares.append(np.mean([q.is_usable for q in out]))

    assert means == sorted(means, reverse=True)
    assert shares[0] == 1.0
    assert shares[-1] < 0.1


@pytest.mark.parametrize(
    "state",
    [
        {"rhythm": "ventricular-tachycardia", "heart_rate_bpm": 180.0},
        {"rhythm": "ventricular-tachycardia", "heart_rate_bpm": 240.0},
        {"rhythm": "ventricular-fibrillation"},
        {"rhythm": "atrial-fibrillation", "heart_rate_bpm": 110.0},
        {"rhythm": "supraventricular-tachycardia", "heart_rate_bpm": 200.0},
        {"rhythm": "paced", "heart_rate_bpm": 110.0},
        {"rhythm": "paced", "heart_rate_bpm": 150.0},
        {"rhythm": "ventricular-escape"},
        {"rhythm": "sinus-bradycardia", "heart_rate_bpm": 30.0},
        {"rhythm": "sinus", "premature": Premature.BIGEMINY},
        {"rhythm": "asystole"},
    ],
    ids=lambda state: "-".join(str(value) for value in state.values()),
)
def test_a_sick_heart_is_no_noise(state):
    """Whatever the heart does, its lead stays usable: an alarm must not be lost to the signal quality."""
    ecg = VirtualPatient(Scenario.simple(seed=1, **state)).take(40.0).ecg_mv

    out = judge(ecg[:, 0])

    assert all(q.is_usable for q in out[6:])


def test_small_complexes_are_usable():
    """Low voltage (0.3 mV) with the noise of a good electrode."""
    noise = 0.01 * np.random.default_rng(3).standard_normal(20 * RATE)

    out = judge(0.3 * clean() + noise)

    assert all(q.is_usable for q in out[2:])


def test_atrial_waves_without_ventricles_stay_usable():
    """P waves alone (ventricular standstill) are an asystole that must be alarmed."""
    time_s = np.arange(30 * RATE) / RATE
    waves = 0.12 * np.exp(-0.5 * (((time_s % 0.8) - 0.4) / 0.03) ** 2)
    noise = 0.008 * np.random.default_rng(3).standard_normal(30 * RATE)

    out = judge(np.concatenate([clean(10), waves + noise]))

    assert all(q.is_usable for q in out[2:])


def test_a_lead_without_beats_beside_one_with_them_is_doubted():
    """Noise of a floating electrode is small and steady, and shows nothing of the heart."""
    rng = np.random.default_rng(6)
    values = np.stack([0.03 * rng.standard_normal(20 * RATE), clean()], axis=1)
    stage = SignalQuality()

    for second in range(20):
        part = values[second * RATE : (second + 1) * RATE].copy()
        stage.push(block(part, channels=(channel("I"), channel("V1")), sequence=second * RATE, start_ns=second * 10**9))

    assert stage.usable_channels == {"V1"}


def test_when_no_lead_shows_beats_none_is_doubted():
    """Asystole is the same in all leads."""
    rng = np.random.default_rng(6)
    still = 0.02 * rng.standard_normal((20 * RATE, 2))
    values = np.concatenate([np.stack([clean(10), clean(10)], axis=1), still])

    out = judge(values, (channel("I"), channel("V1")))

    assert all(q.is_usable for q in out[2:])


def test_channels_are_named_for_every_second_of_a_long_block():
    """A block of several seconds says from which sample on which channels could be trusted."""
    values = np.stack([clean(), clean()], axis=1)
    values[5 * RATE : 12 * RATE, 0] = np.nan
    stage = SignalQuality()

    out = stage.push(block(values, channels=(channel("I"), channel("V1"))))

    assert [verdict.sequence for verdict in stage.verdicts] == [q.sequence for q in out]
    assert stage.verdicts[4].names == {"I", "V1"}
    assert stage.verdicts[8].names == {"V1"}
    assert stage.verdicts[-1].names == stage.usable_channels == {"I", "V1"}


def test_the_unit_of_the_channel_counts():
    """The same signal in microvolts has the same quality."""
    microvolts = Channel(name="II", kind=ChannelKind.ECG, unit="uV")

    volts_like, millivolts = judge(1000.0 * clean(), (microvolts,)), judge(clean())

    assert [q.index for q in volts_like] == pytest.approx([q.index for q in millivolts])
