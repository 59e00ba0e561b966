"""The beat detector on signals whose truth is known: shapes of the monitor standard, faults, and real records."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.conditioning.filters import FilterChain
from edge.conditioning.quality import SignalQuality
from edge.features.ecg_beats import EcgBeats
from edge.messages import Channel, ChannelKind, Quality
from tests.features.ecg_signals import blocks, ecg, hump, regular, triangle

DATA = Path(os.environ.get("VITALEDGE_DATA", Path(__file__).parents[3] / "shared" / "data"))


def detect(values, rate_hz=250.0, **kwargs):
    stage = EcgBeats()
    return [beat for item in blocks(values, rate_hz, **kwargs) for beat in stage.push(item)] + stage.flush()


def times_s(beats):
    return np.array([beat.at_ns / 1e9 for beat in beats])


def assert_same_beats(beats, truth_s, within_s=0.010):
    found = times_s(beats)
    assert len(found) == len(truth_s)
    assert np.abs(found - truth_s).max() < within_s


@pytest.mark.parametrize("rate_hz", [100.0, 125.0, 128.0, 130.0, 250.0, 360.0, 500.0, 1000.0])
def test_every_beat_is_found_at_its_peak_at_any_rate(rate_hz):
    """From 100 to 1000 Hz no beat is missed or invented, and each lies within 10 ms of its R peak."""
    truth = regular(72, 30)

    beats = detect(ecg(truth, 30, rate_hz), rate_hz)

    assert_same_beats(beats, truth)
    assert [beat.rr_ms for beat in beats[:1]] == [None]
    assert np.allclose([beat.rr_ms for beat in beats[1:]], 60_000 / 72, atol=1.1 * 1000 / rate_hz)


@pytest.mark.parametrize("rate_bpm", [30, 45, 80, 140, 200, 250, 300])
def test_rates_from_30_to_300(rate_bpm):
    """Slow and fast hearts are counted beat by beat; QRS and QT shorten with the rate as they do in life."""
    truth = regular(rate_bpm, 30)
    rr_s = 60 / rate_bpm
    qt_s = min(0.35, 0.6 * rr_s)

    beats = detect(ecg(truth, 30, qrs_s=min(0.1, 0.35 * rr_s), qt_s=qt_s, t_s=0.4 * qt_s))

    assert_same_beats(beats, truth)


@pytest.mark.parametrize("qrs_s", [0.04, 0.07, 0.1, 0.12, 0.16])
@pytest.mark.parametrize("qrs_mv", [0.5, -0.5, 1.0, -1.0, 5.0, -5.0])
def test_widths_and_amplitudes_of_the_standard(qrs_s, qrs_mv):
    """0.5 to 5 mV of either polarity and 40 to 120 ms (and a ventricular 160 ms) are all found."""
    truth = regular(80, 20)

    beats = detect(ecg(truth, 20, qrs_mv=qrs_mv, qrs_s=qrs_s, t_mv=0.1 * abs(qrs_mv)))

    assert_same_beats(beats, truth)
    assert np.allclose([beat.amplitude_mv for beat in beats[2:]], qrs_mv, rtol=0.25)


def test_a_tall_t_wave_is_not_counted():
    """A T wave of 1.2 mV and 180 ms behind a QRS complex of 1 mV and 100 ms, QT 350 ms (IEC 60601-2-27)."""
    truth = regular(80, 30)

    assert_same_beats(detect(ecg(truth, 30, t_mv=1.2)), truth)


def test_too_small_complexes_are_not_counted():
    """Below 0.15 mV a monitor must not count."""
    assert detect(ecg(regular(80, 30), 30, qrs_mv=0.1, t_mv=0.0)) == []


@pytest.mark.parametrize("noise_mv", [0.0, 0.005, 0.02])
def test_asystole_stays_free_of_beats(noise_mv):
    """When the heart stops, electrode noise and wander are not turned into beats however long it lasts."""
    truth = regular(75, 20)
    wander = 0.1 * np.sin(2 * np.pi * 0.2 * np.arange(60 * 250) / 250)

    beats = detect(ecg(truth[truth < 19], 60, noise_mv=noise_mv) + wander)

    assert len(beats) == len(truth[truth < 19])


def test_p_waves_without_a_complex_are_not_counted():
    """In a ventricular standstill the P waves go on; they are no beats for longer than an asystole alarm takes."""
    truth = regular(75, 20)
    time_s = np.arange(30 * 250) / 250
    values = ecg(truth[truth < 19], 30)
    for at_s in np.arange(0.34, 30, 0.8):
        values += 0.15 * hump(time_s, at_s, 0.09)

    found = times_s(detect(values))

    last_s = truth[truth < 19][-1]
    assert np.sum(found < last_s + 0.1) == np.sum(truth <= last_s)
    assert not np.any((found > last_s + 0.1) & (found < last_s + 6))


def test_a_tenfold_drop_of_the_amplitude_is_followed_within_three_seconds():
    """From 5 mV to 0.5 mV, as when a chest strap slips."""
    truth = regular(80, 40)
    time_s = np.arange(40 * 250) / 250

    beats = detect(ecg(truth, 40, qrs_mv=5.0, t_mv=0.5) * np.where(time_s < 20, 1.0, 0.1))

    after = times_s(beats)[times_s(beats) > 20]
    assert after[0] < 23
    assert len(after) == np.sum(truth >= after[0] - 0.01)


def test_a_large_artefact_blinds_for_no_more_than_three_seconds():
    """A burst of 10 mV is followed by the beats of 1 mV again."""
    truth = regular(80, 40)
    values = ecg(truth, 40)
    values[20 * 250 : 20 * 250 + 200] += 10 * np.random.default_rng(1).standard_normal(200)

    after = times_s(detect(values))

    after = after[after > 21]
    assert after[0] < 24
    assert np.abs(after[:, None] - truth).min(axis=1).max() < 0.015


def test_a_missed_beat_is_searched_back_and_flagged():
    """A beat of a seventh of the usual height is found late rather than never."""
    truth = regular(75, 30)
    values = ecg(truth, 30, qrs_mv=2.0, t_mv=0.1)
    small = truth[20]
    values -= 1.72 * triangle(np.arange(len(values)) / 250, small, 0.1)

    beats = detect(values)

    assert_same_beats(beats, truth, 0.012)
    assert [beat.is_late for beat in beats].index(True, 3) == 20


def test_beats_come_in_order_of_time_and_soon():
    """A beat is given out at most 0.8 s after its peak, 0.6 s in the mean, and never before an earlier one."""
    stage = EcgBeats()
    delays_s, last_ns = [], -1
    for item in blocks(ecg(regular(90, 60), 60)):
        for beat in stage.push(item):
            assert beat.at_ns > last_ns
            last_ns = beat.at_ns
            if not beat.is_late:
                delays_s.append((item.end_ns - beat.at_ns) / 1e9)

    assert np.mean(delays_s) < 0.6
    assert max(delays_s[3:]) < 0.8


def test_a_premature_wide_beat_is_described():
    """An early ventricular beat is premature, wide and unlike the others; the usual ones are none of it."""
    truth = regular(70, 40)
    early = truth[30] + 0.5
    usual = np.delete(truth, 31)
    values = ecg(usual, 40, qrs_s=0.08)
    values -= 1.3 * triangle(np.arange(len(values)) / 250, early, 0.18)

    beats = detect(values)
    k = int(np.argmin(np.abs(times_s(beats) - early)))
    others = [beat for j, beat in enumerate(beats) if j != k and j > 10]

    assert beats[k].is_premature
    assert beats[k].width_ms > 110
    assert beats[k].similarity < 0.5
    assert beats[k].amplitude_mv < 0
    assert not any(beat.is_premature for beat in others)
    assert all(60 <= beat.width_ms <= 95 for beat in others)
    assert all(beat.similarity > 0.9 for beat in others)


def test_a_change_of_the_rate_alone_is_not_premature():
    """From 60 to 100 bpm within ten beats: sinus acceleration."""
    rr_s = np.concatenate([np.full(20, 1.0), np.linspace(1.0, 0.6, 10), np.full(20, 0.6)])

    beats = detect(ecg(0.5 + np.cumsum(rr_s), 42))

    assert len(beats) == 50
    assert not any(beat.is_premature for beat in beats)


def test_no_interval_reaches_over_a_hole():
    """After lost samples, missing rows or a reset the first beat has no RR, and no beat is invented at the edge."""
    truth = regular(75, 40)
    items = blocks(ecg(truth, 40))
    values = items[100].values.copy()
    values[:] = np.nan
    items[100] = replace(items[100], values=values)
    stage = EcgBeats()
    beats = []
    for k, item in enumerate(items):
        if k == 150:
            beats += stage.flush()
            stage.reset("gap")
        if not 50 <= k < 60:
            beats += stage.push(item)

    without = [beat.at_ns / 1e9 for beat in beats if beat.rr_ms is None]
    assert len(without) == 4
    assert all(0 <= at - edge < 1.0 for at, edge in zip(without, [0, 12, 20.2, 30], strict=True))
    assert np.allclose([beat.rr_ms for beat in beats if beat.rr_ms is not None], 800, atol=5)


@pytest.mark.parametrize("bad_lead", [0, 1])
def test_the_lead_that_shows_the_beats_is_used(bad_lead):
    """With one lead of pure noise the beats come from the other, whichever column it is."""
    truth = regular(75, 60)
    good = ecg(truth, 60)
    noise = 0.25 * np.random.default_rng(2).standard_normal(len(good))
    values = np.stack([noise, good] if bad_lead == 0 else [good, noise], axis=1)

    beats = detect(values, names=("I", "II"))

    late = times_s(beats) > 10
    assert late.sum() == (truth > 10).sum()
    assert np.abs(times_s(beats)[late] - truth[truth > 10]).max() < 0.012


def test_a_lead_that_falls_off_hands_over():
    """The beats go on from the second lead within three seconds when the first has no value or goes flat."""
    truth = regular(75, 60)
    for dead in (np.nan, 0.0):
        first, second = ecg(truth, 60), 0.6 * ecg(truth, 60)
        first[30 * 250 :] = dead

        beats = times_s(detect(np.stack([first, second], axis=1), names=("I", "II")))

        after = beats[beats > 33]
        assert len(after) == (truth > 33).sum()


@pytest.mark.parametrize(("unit", "factor"), [("mV", 1.0), ("uV", 1000.0), ("V", 0.001)])
def test_amplitudes_are_in_millivolts_whatever_the_unit(unit, factor):
    """A device that sends microvolts is not a giant heart."""
    beats = detect(factor * ecg(regular(75, 20), 20), unit=unit)

    assert np.allclose([beat.amplitude_mv for beat in beats[2:]], 1.0, atol=0.25)


def test_channels_that_are_no_ecg_are_left_alone():
    """A stream of PPG gives no beats here; a stream with both uses the ECG."""
    ppg = Channel(name="PLETH", kind=ChannelKind.PPG, unit="1")
    values = ecg(regular(75, 20), 20)
    alone = [replace(item, channels=(ppg,)) for item in blocks(values)]
    both = [
        replace(item, channels=(ppg, *item.channels), values=np.hstack([100 * item.values, item.values]))
        for item in blocks(values)
    ]
    stage, mixed = EcgBeats(), EcgBeats()

    assert [beat for item in alone for beat in stage.push(item)] == []
    assert [b for item in both for b in mixed.push(item)] == [b for item in blocks(values) for b in stage.push(item)]


def test_quality_goes_with_the_beats():
    """What the quality stage said last is on every beat; below the limit it is a suspect."""
    stage = EcgBeats()
    beats = []
    for k, item in enumerate(blocks(ecg(regular(75, 20), 20))):
        if k == 50:
            poor = Quality(sensor="s", stream="ecg", at_ns=0, index=0.3, is_usable=False, reasons=("noise",))
            assert stage.push(poor) == []
        beats += stage.push(item)

    assert {(beat.quality, beat.is_noise_suspect) for beat in beats} == {(1.0, False), (0.3, True)}


def test_blocks_of_any_length_give_the_same_beats():
    """1, 7, 250 and 10 000 samples at a time, at a rate whose period is no whole number of nanoseconds."""
    values = ecg(regular(83, 30), 30, 360.0)

    runs = [detect(values, 360.0, block_s=n / 360.0) for n in (1, 7, 250, 10_000)]

    assert runs[1:] == runs[:1] * 3
    assert len(runs[0]) == len(regular(83, 30))


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # wfdb 4.3 under pandas 3
@pytest.mark.parametrize(("record", "most_errors"), [("119", 2)])
def test_a_real_record_with_bigeminy(record, most_errors):
    """The first five minutes of MIT-BIH 119, with ventricular bigeminy, beat by beat."""
    wfdb = pytest.importorskip("wfdb")
    path = DATA / "mitdb" / record
    if not path.with_suffix(".hea").exists():
        pytest.skip("no recordings: set VITALEDGE_DATA")
    end = 300 * 360
    values = wfdb.rdrecord(str(path), sampto=end).p_signal
    annotation = wfdb.rdann(str(path), "atr", sampto=end)
    truth = np.array([at for at, s in zip(annotation.sample, annotation.symbol, strict=True) if s in "NV"]) / 360.0

    found = times_s(detect(values, 360.0, names=("MLII", "V1")))

    distance = np.abs(found[:, None] - truth)
    n_errors = (distance.min(axis=1) > 0.15).sum() + (distance.min(axis=0) > 0.15).sum()
    assert n_errors <= most_errors


def test_a_lead_full_of_noise_is_left():
    """The strong lead drowns in noise: beats go on from the weak one, no noise is counted, and the quality agrees."""
    truth = regular(75, 60)
    rng = np.random.default_rng(4)
    values = np.stack([ecg(truth, 60, qrs_mv=0.4, t_mv=0.1, noise_mv=0.02), ecg(truth, 60, qrs_mv=1.5)], axis=1)
    values[20 * 250 :, 1] += rng.normal(0.0, 1.0, 40 * 250)
    stage, quality, beats = EcgBeats(), SignalQuality(), []

    for item in blocks(values, names=("I", "II")):
        quality.push(item)
        beats += stage.push(item)

    assert quality.usable_channels == {"I"}
    late_s = times_s(beats)[times_s(beats) > 24]
    expected = truth[(truth > 24) & (truth < 59)]
    assert len(late_s[late_s < 59]) == len(expected)
    assert np.abs(late_s[late_s < 59] - expected).max() < 0.015


@pytest.mark.parametrize("qrs_s", [0.04, 0.06, 0.08, 0.1, 0.12])
def test_the_width_of_a_complex_is_read(qrs_s):
    """Triangles of 40 to 120 ms read 8 to 14 ms too wide, which is what a 40 Hz low-pass adds."""
    beats = detect(ecg(regular(70, 30), 30, qrs_s=qrs_s))

    widths_ms = [beat.width_ms for beat in beats[3:]]

    assert 1000 * qrs_s + 2 <= np.median(widths_ms) <= 1000 * qrs_s + 18


def test_an_artefact_in_one_lead_is_no_beat_where_the_other_is_quiet():
    """Spikes as large as the complexes in the poorer lead, between the beats, while the better shows nothing there."""
    truth = regular(70, 60)
    time_s = np.arange(60 * 250) / 250
    spikes = sum(triangle(time_s, at_s + 0.45, 0.08) for at_s in truth[20::4])
    values = np.stack([ecg(truth, 60), ecg(truth, 60, t_mv=0.5) + spikes], axis=1)

    assert_same_beats(detect(values, names=("I", "II")), truth)


def test_steps_of_the_baseline_are_no_beats():
    """An electrode that moves shifts the level by a millivolt, again and again, and no beat is counted for it."""
    truth = regular(60, 60)
    time_s = np.arange(60 * 250) / 250
    steps = sum((-1.0) ** k * (time_s > at_s + 0.5) for k, at_s in enumerate(truth[20::5]))

    assert_same_beats(detect(ecg(truth, 60) + steps), truth)


def test_a_run_of_wide_beats_is_not_taken_for_noise():
    """Fifteen ventricular beats at 180 bpm, of another shape and early, out of a quiet rhythm: every one is found."""
    truth = regular(70, 60)
    run = 30.2 + np.arange(15) / 3
    usual = truth[(truth < 29.9) | (truth > run[-1] + 0.6)]
    values = ecg(usual, 60)
    time_s = np.arange(60 * 250) / 250
    for at_s in run:
        values -= 1.4 * hump(time_s, at_s, 0.2)

    assert_same_beats(detect(values), np.sort(np.concatenate([usual, run])), 0.11)


def test_the_pause_after_a_premature_beat_is_recognised():
    """A ventricular beat resets nothing: the two intervals together are two usual ones.  An atrial one does."""
    truth = regular(70, 60)
    rr_s = 60 / 70
    full = np.delete(truth, 30)
    full = np.sort(np.append(full, truth[30] - 0.3))
    short = np.concatenate([truth[:30], truth[30:] - 0.3])

    for beats_s, expected in ((full, True), (short, False)):
        beats = detect(ecg(beats_s, 60))
        after = beats[int(np.argmin(np.abs(times_s(beats) - (truth[30] - 0.3)))) + 1]
        assert after.is_after_compensatory_pause is expected
        assert sum(beat.is_after_compensatory_pause for beat in beats) == int(expected)
        assert after.rr_ms == pytest.approx(1000 * (rr_s + 0.3 * expected), abs=10)


def test_the_channels_that_show_clear_beats_are_named():
    """A lead whose complexes are too small to be counted, or drown in T waves, does not show the heart."""
    truth = regular(75, 30)
    for other in (ecg(truth, 30, qrs_mv=0.1, t_mv=0.02), ecg(truth, 30, qrs_mv=0.3, t_mv=0.9, noise_mv=0.05)):
        stage = EcgBeats()
        assert stage.clear_channels == frozenset()
        beats = [
            beat
            for item in blocks(np.stack([other, ecg(truth, 30)], axis=1), names=("I", "II"))
            for beat in stage.push(item)
        ]

        assert stage.clear_channels == {"II"}
        assert {beat.channel for beat in beats[9:]} == {"II"}


def test_a_verdict_holds_from_the_sample_it_names():
    """The same verdicts give the same beats, whether they come second by second or all before one long block."""
    truth = regular(75, 40)
    rng = np.random.default_rng(4)
    values = np.stack([ecg(truth, 40, qrs_mv=0.6), ecg(truth, 40, qrs_mv=1.5)], axis=1)
    values[20 * 250 :, 1] += rng.normal(0.0, 1.0, 20 * 250)
    verdicts = {
        k: Quality(sensor="s", stream="ecg", at_ns=0, index=k / 1e4, is_usable=True, reasons=(), sequence=k)
        for k in range(250, 40 * 250, 250)
    }

    runs = []
    for block_s in (0.04, 1.0, 40.0):
        stage, beats = EcgBeats(), []
        for item in blocks(values, block_s=block_s, names=("I", "II")):
            for k in range(item.sequence, item.sequence + item.n_samples):
                if k in verdicts:
                    stage.push(verdicts[k])
            beats += stage.push(item)
        runs.append(beats + stage.flush())

    assert runs[1:] == runs[:1] * 2
    assert {beat.quality for beat in runs[0]} > {0.25, 0.5}


def test_a_signal_that_is_filtered_already_is_not_filtered_again():
    """The chain's own filtered blocks give the same beats as the detector's filter."""
    items = blocks(ecg(regular(75, 30), 30))
    alone, fed, filters = EcgBeats(), EcgBeats(), FilterChain()

    beats = [beat for item in items for beat in alone.push(item)] + alone.flush()
    also = [beat for item in items for beat in fed.push(item, clean=filters.push(item)[0])] + fed.flush()

    assert also == beats


def test_a_lead_with_holes_makes_no_beats_of_them():
    """Ten seconds without one lead, and a level 3 mV away when it comes back, cost and add nothing."""
    truth = regular(75, 60)
    values = np.stack([ecg(truth, 60), ecg(truth, 60)], axis=1)
    values[20 * 250 : 30 * 250, 0] = np.nan
    values[30 * 250 :, 0] += 3.0

    assert_same_beats(detect(values, names=("I", "II")), truth)
