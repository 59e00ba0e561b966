"""Noise at a defined signal-to-noise ratio."""

from __future__ import annotations

import numpy as np
import pytest

from edge.messages import Channel, ChannelKind, StreamInfo
from firmware_bridge.virtual.noise_stress import (
    SURROGATES,
    StressedSource,
    StressSchedule,
    at_rate,
    ecg_stream,
    noise_gain,
    noise_rms,
    qrs_amplitude,
    stress,
    stress_gains,
    surrogate,
)
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Scenario

RATE = 250.0
MINUTE = round(60 * RATE)


def beating(minutes=10, height=1.2):
    """Triangular complexes of `height` once a second on slow wander, and where they are."""
    n = minutes * MINUTE
    beats = np.arange(125, n - 125, 250)
    lead = 0.5 * np.sin(2 * np.pi * 0.2 * np.arange(n) / RATE)
    for offset in range(-5, 6):
        lead[beats + offset] += height * (1 - abs(offset) / 5)
    return lead, beats


def white(minutes=10, rms=1.0, seed=1):
    return rms * np.random.default_rng(seed).standard_normal(minutes * MINUTE)


def test_amplitude_is_that_of_the_complexes_and_not_of_the_wander():
    """Peak to peak within 50 ms of a beat."""
    lead, beats = beating()

    assert qrs_amplitude(lead, beats, RATE) == pytest.approx(1.2, rel=0.05)


def test_a_few_odd_beats_do_not_move_the_amplitude():
    """The mean is trimmed: 2 % of the beats, ten times as tall, are left out."""
    lead, beats = beating()
    for beat in beats[:300:50]:
        lead[beat - 5 : beat + 6] *= 10

    assert qrs_amplitude(lead, beats, RATE) == pytest.approx(1.2, rel=0.05)


def test_the_rms_of_noise_is_that_within_single_seconds():
    """An offset that moves slowly is no noise; a loud burst of some seconds is trimmed away."""
    noise = white(rms=0.5) + 3.0 * np.sin(2 * np.pi * np.arange(10 * MINUTE) / (10 * MINUTE))
    noise[1000:2000] *= 50

    assert noise_rms(noise, RATE) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("snr_db", [24.0, 12.0, 0.0, -6.0])
def test_the_noise_that_was_added_has_the_ratio_asked_for(snr_db):
    """Signal power is an eighth of the amplitude squared, noise power the square of its RMS."""
    lead, beats = beating()

    added = stress(lead, beats, white(rms=7.0), RATE, snr_db=snr_db) - lead

    noisy = added[5 * MINUTE : 7 * MINUTE]
    assert 10 * np.log10(1.2**2 / 8 / noisy.var()) == pytest.approx(snr_db, abs=0.5)


def test_noise_comes_after_five_minutes_and_rests_every_other_two():
    """5 min clean, 2 noisy, 2 clean, and so on."""
    lead, beats = beating(minutes=12)

    added = stress(lead, beats, white(12), RATE, snr_db=6.0) - lead

    loud = [bool(added[minute * MINUTE : (minute + 1) * MINUTE].any()) for minute in range(12)]
    assert loud == [False] * 5 + [True, True, False, False, True, True, False]


def test_every_lead_gets_its_own_gain_and_its_own_noise():
    """Two leads of different height under two noises of different loudness meet the same ratio."""
    (small, beats), (tall, _) = beating(height=0.5), beating(height=2.0)
    leads = np.stack([small, tall], axis=1)
    noise = np.stack([white(rms=1.0, seed=1), white(rms=9.0, seed=2)], axis=1)

    added = stress(leads, beats, noise, RATE, snr_db=6.0) - leads

    spread = added[5 * MINUTE : 7 * MINUTE].std(axis=0)
    assert spread[1] / spread[0] == pytest.approx(4.0, rel=0.05)


def test_short_noise_is_repeated():
    """A minute of noise serves a longer record."""
    lead, beats = beating()

    added = stress(lead, beats, white(1), RATE, snr_db=6.0) - lead

    assert np.allclose(added[5 * MINUTE : 6 * MINUTE], added[6 * MINUTE : 7 * MINUTE])


def test_what_cannot_be_measured_is_refused():
    """No beat, no noise, noise without movement."""
    lead, beats = beating(minutes=1)

    with pytest.raises(ValueError, match="at least one beat"):
        stress(lead, [], white(1), RATE, snr_db=6.0)
    with pytest.raises(ValueError, match="noise that moves"):
        stress(lead, beats, white(1)[:100], RATE, snr_db=6.0)
    with pytest.raises(ValueError, match="noise that moves"):
        stress(lead, beats, np.zeros(MINUTE), RATE, snr_db=6.0)


@pytest.mark.parametrize("kind", SURROGATES)
def test_surrogates_are_reproducible_and_differ_by_seed(kind):
    """The same seed gives the same noise."""
    first, again, other = (surrogate(kind, 5000, RATE, seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("kind", "low_hz", "high_hz"), [("bw", 0.0, 1.0), ("em", 0.0, 12.0), ("ma", 10.0, 70.0)])
def test_surrogates_lie_in_their_band(kind, low_hz, high_hz):
    """Nine tenths of the power are where the name says."""
    noise = surrogate(kind, 60 * 250, RATE)

    power = np.abs(np.fft.rfft(noise)) ** 2
    hz = np.fft.rfftfreq(len(noise), 1 / RATE)

    assert power[(hz >= low_hz) & (hz <= high_hz)].sum() > 0.9 * power.sum()


def test_an_unknown_surrogate_is_refused():
    """The error names those there are."""
    with pytest.raises(ValueError, match="bw, em, ma"):
        surrogate("hum", 100, RATE)


def test_noise_at_another_rate_keeps_its_size():
    """360 Hz noise under a 250 Hz record."""
    noise = surrogate("bw", 360 * 60, 360.0)[:, None]

    resampled = at_rate(noise, 360.0, 250.0)

    assert resampled.shape == (250 * 60, 1)
    assert resampled.std() == pytest.approx(noise.std(), rel=0.02)


@pytest.mark.parametrize("sizes", [[50], [1000, 1, 333]])
def test_a_stressed_source_adds_the_noise_as_it_is_read(sizes):
    """However it is read, the ECG gets the noise of its schedule, and the other streams stay as they are."""
    noise, gains = np.ones((700, 1)), np.array([0.5, 2.0])
    schedule = StressSchedule(clean_s=2.0, noisy_s=1.0, rest_s=1.0)
    clean = VirtualPatient(Scenario.simple(seed=3))
    noisy = StressedSource(VirtualPatient(Scenario.simple(seed=3)), "ecg", noise, gains, schedule)

    parts = [noisy.read("ecg", sizes[k % len(sizes)]) for k in range(1250 // sizes[0])]
    added = np.concatenate(parts)[:1000] - clean.read("ecg", 1000)

    expected = np.where((np.arange(1000)[:, None] >= 500) & (np.arange(1000)[:, None] < 750), gains, 0.0)
    assert np.allclose(added, expected)
    assert np.array_equal(noisy.read("ppg", 100), clean.read("ppg", 100))
    assert noisy.streams == clean.streams


def test_a_stressed_source_stays_inside_the_converter():
    """Noise beyond the rails is clipped, as the converter would."""
    noisy = StressedSource(
        VirtualPatient(Scenario.simple()), "ecg", np.ones((10, 1)), np.array([99.0, 99.0]), StressSchedule(clean_s=0.0)
    )

    assert (noisy.read("ecg", 100) == noisy.streams[0].channels[0].maximum).all()


def test_the_ecg_of_a_source_is_found():
    """The first stream that is all ECG; a source without one has none."""
    assert ecg_stream(VirtualPatient(Scenario.simple())).name == "ecg"

    class Light:
        streams = (
            StreamInfo(
                name="ppg",
                channels=(Channel(name="RED", kind=ChannelKind.PPG_RED, unit="1"),),
                nominal_rate_hz=100.0,
            ),
        )

    assert ecg_stream(Light()) is None


def test_gains_follow_the_ratio():
    """6 dB less signal-to-noise ratio is twice the noise."""
    lead, beats = beating()
    gains = [stress_gains(lead[:, None], beats, white()[:, None], RATE, snr_db=snr)[0] for snr in (6.0, 0.0)]

    assert gains[1] / gains[0] == pytest.approx(10 ** (6 / 20))
    assert noise_gain(8.0**0.5, 1.0, 0.0) == pytest.approx(1.0)
