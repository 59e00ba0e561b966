"""Windows for the rhythm model: where they lie, which lead they show, and what their evidence says of known rhythms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from edge.features.rhythm_windows import FEATURES, STAGE, RhythmWindows, RhythmWindowsSettings
from edge.messages import Beat, Channel, ChannelKind, Quality
from tests.conformance.case import ECG_CHANNEL, block
from tests.features.average_beats import train, waves

S = 10**9
RATE_HZ = 125.0
SECOND = Channel(name="V1", kind=ChannelKind.ECG, unit="mV")


def beat(at_s, rr_s=None, **more):
    fields = {"quality": 0.9, "similarity": 0.99, "width_ms": 80.0, "amplitude_mv": 1.0, "channel": "II"} | more
    rr_ms = None if rr_s is None else 1000.0 * rr_s
    return Beat(sensor="s", stream="ecg", at_ns=round(at_s * S), sequence=round(at_s * 250), rr_ms=rr_ms, **fields)


def verdict(at_s, index=0.9, reasons=(), channel="II"):
    is_usable = index >= 0.5
    return Quality(
        sensor="s",
        stream="ecg",
        at_ns=round(at_s * S),
        index=index,
        is_usable=is_usable,
        reasons=reasons,
        channel=channel,
    )


def feed(stage, values, first=0, channels=(ECG_CHANNEL,)):
    """Push `values` from sample `first` on in pieces of 0.2 s."""
    out = []
    for at in range(0, len(values), 25):
        part = values[at : at + 25].copy()
        start_ns = round((first + at) * S / RATE_HZ)
        out += stage.push(block(part, rate_hz=RATE_HZ, sequence=first + at, start_ns=start_ns, channels=channels))
    return out


def ramp(seconds, first=0):
    return np.arange(first, first + round(seconds * RATE_HZ), dtype=float)[:, None]


def last_window(rr_s, *, seconds=32.0, has_p=True, kinds=None):
    """Return the window that ends with a stretch of beats `rr_s` apart, with or without P waves."""
    at_s = 0.8 + np.concatenate([[0.0], np.cumsum(rr_s)])
    at_s = at_s[at_s < seconds - 0.6]
    values = train(waves(p_mv=0.14 if has_p else 0.0), at_s, seconds, RATE_HZ, seed=3)[:, None]
    stage = RhythmWindows()
    previous = None
    for k, moment in enumerate(at_s):
        more = {} if kinds is None else kinds(k)
        stage.push(beat(moment, None if previous is None else moment - previous, **more))
        previous = moment
    for second in range(1, int(seconds) + 1):
        stage.push(verdict(second))
    return (feed(stage, values) + stage.flush())[-1]


def test_windows_of_ten_seconds_come_every_five():
    """Counted from the first sample of the stretch, each with the samples of its time."""
    out = feed(RhythmWindows(), ramp(26, first=310), first=310)

    assert [w.sequence - 310 for w in out] == [0, 625, 1250, 1875]
    assert [w.start_ns for w in out] == [round((310 + k * 625) * S / RATE_HZ) for k in range(4)]
    assert all(np.array_equal(w.values[:, 0], np.arange(w.sequence, w.sequence + 1250)) for w in out)
    assert all(w.model == "rhythm" and w.values.shape == (1250, 1) and tuple(w.features) == FEATURES for w in out)


def test_a_window_waits_a_second_for_its_last_beats():
    """It comes a second after its end, with exactly the beats of its time."""
    stage = RhythmWindows()
    early = feed(stage, ramp(10.8))
    for at_s in (0.5, 9.9, 10.1):
        stage.push(beat(at_s))

    (window,) = feed(stage, ramp(0.2, first=1350), first=1350)

    assert early == []
    assert [b.at_ns / S for b in window.beats] == [0.5, 9.9]


def test_nothing_after_a_window_counts_in_it():
    """Two streams that part after 21 s give the same windows up to 20 s."""
    rng = np.random.default_rng(1)
    common = rng.standard_normal((21 * 125, 1))
    outs = []
    for seed in (2, 3):
        stage = RhythmWindows()
        for k in range(1, 40):
            stage.push(beat(0.7 * k + (0.01 * seed * k if 0.7 * k > 20 else 0.0), 0.7))
            stage.push(verdict(k, index=0.9 if k <= 20 else 0.1 * seed))
        rest = np.random.default_rng(seed).standard_normal((9 * 125, 1))
        outs.append(feed(stage, np.concatenate([common, rest])))

    first, second = outs
    assert [str(w.features) for w in first[:3]] == [str(w.features) for w in second[:3]]
    assert all(np.array_equal(a.values, b.values) for a, b in zip(first[:3], second[:3], strict=True))
    assert str(first[3].features) != str(second[3].features)


def test_the_end_of_a_stretch_gives_a_last_window():
    """It ends with the stretch, and is given once."""
    stage = RhythmWindows()
    before = feed(stage, ramp(18))

    after = stage.flush()

    assert [w.sequence for w in before] == [0, 625]
    assert [w.sequence for w in after] == [1000]
    assert stage.flush() == []


def test_a_stretch_that_ends_with_a_window_gives_no_second_one():
    """What a window has shown is not shown again."""
    stage = RhythmWindows(RhythmWindowsSettings(beat_wait_s=0.0))

    assert len(feed(stage, ramp(10))) == 1
    assert stage.flush() == []


@pytest.mark.parametrize("seconds", [5.0, 8.8])
def test_a_short_stretch_gives_one_window_with_zeros_before_it(seconds):
    """A record shorter than a window still gets an answer."""
    stage = RhythmWindows()
    values = ramp(seconds) + 1.0
    feed(stage, values)

    (window,) = stage.flush()

    n_missing = 1250 - len(values)
    assert window.values.shape == (1250, 1)
    assert not window.values[:n_missing].any()
    assert np.array_equal(window.values[n_missing:], values)
    assert window.start_ns == -round(n_missing * S / RATE_HZ)
    assert window.features["signal_s"] == pytest.approx(seconds)


def test_less_than_five_seconds_give_no_window():
    """A handful of beats is the least that a rhythm can be told from."""
    stage = RhythmWindows()
    feed(stage, ramp(4.9))

    assert stage.flush() == []


def test_a_hole_ends_a_stretch():
    """After a jump of the sequence the evidence begins anew; what was seen before it is given out."""
    stage = RhythmWindows()

    out = feed(stage, ramp(13)) + feed(stage, ramp(12, first=5000), first=5000)

    assert [w.sequence for w in out] == [0, 375, 5000]
    assert out[2].features["signal_s"] == pytest.approx(10.0)


def test_a_lead_with_a_missing_sample_is_passed_over():
    """The other lead is shown; where both miss one there is no window."""
    values = np.stack([ramp(31)[:, 0], -ramp(31)[:, 0]], axis=1)
    values[700, 0] = np.nan  # the windows from 0 and from 625
    values[2000, :] = np.nan  # those from 1250 and from 1875
    stage = RhythmWindows()
    for k in range(1, 31):
        stage.push(beat(float(k), 1.0))

    out = feed(stage, values, channels=(ECG_CHANNEL, SECOND))

    assert [(w.sequence, w.channel) for w in out] == [(0, "V1"), (625, "V1"), (2500, "II")]
    assert out[0].values[1, 0] == -1.0


def test_the_lead_of_most_beats_is_shown():
    """The detector's lead wins over the one that the last verdict names, which wins over the first."""
    values = np.stack([ramp(11)[:, 0], -ramp(11)[:, 0]], axis=1)
    of_verdict, of_beats = RhythmWindows(), RhythmWindows()
    of_verdict.push(verdict(5, channel="V1"))
    of_beats.push(verdict(5, channel="II"))
    for k in range(1, 8):
        of_beats.push(beat(float(k), 1.0, channel="V1" if k > 2 else "II"))

    assert [w.channel for w in feed(of_verdict, values, channels=(ECG_CHANNEL, SECOND))] == ["V1"]
    assert [w.channel for w in feed(of_beats, values, channels=(ECG_CHANNEL, SECOND))] == ["V1"]


def test_values_are_in_millivolts():
    """Whatever the unit of the channel."""
    (window,) = feed(RhythmWindows(), 1000.0 * ramp(11), channels=(replace(ECG_CHANNEL, unit="uV"),))

    assert window.values[100, 0] == pytest.approx(100.0)


def test_the_quality_of_a_window_is_that_of_its_worst_second():
    """The evidence reaches further back, and leaves out the seconds in which the index was settling."""
    stage = RhythmWindows()
    for k in range(1, 21):
        stage.push(verdict(k, index=0.1 if k <= 2 else 0.3 if k == 4 else 0.9, reasons=("settling",) if k <= 2 else ()))

    out = feed(stage, ramp(21))

    assert [w.quality for w in out] == [0.1, 0.9, 0.9]
    assert out[2].features["unusable_share"] == pytest.approx(1 / 18)
    assert out[2].features["quality_mean"] == pytest.approx((17 * 0.9 + 0.3) / 18)


def test_fibrillation_reads_irregular_at_every_scale():
    """Random intervals without P waves against a regular rhythm with them."""
    rng = np.random.default_rng(4)
    fibrillation = last_window(rng.uniform(0.45, 1.1, 80), has_p=False).features
    sinus = last_window(0.8 + 0.01 * rng.standard_normal(80)).features

    assert fibrillation["rmssd_ratio"] > 0.2 > 4 * sinus["rmssd_ratio"]
    assert fibrillation["filtered_rmssd_ratio"] > 0.1 > sinus["filtered_rmssd_ratio"]
    assert fibrillation["lorenz_irregularity"] > 0.5 > 5 * sinus["lorenz_irregularity"]
    assert fibrillation["sample_entropy"] > sinus["sample_entropy"] + 1.0
    assert sinus["heart_rate_bpm"] == pytest.approx(75.0, abs=1.0)


def test_p_waves_are_found_where_there_are_some():
    """Amplitude over that of the R wave, place, and agreement of the single beats with the average."""
    rr_s = 0.85 + 0.02 * np.random.default_rng(5).standard_normal(80)
    having, lacking = last_window(rr_s).features, last_window(rr_s, has_p=False).features

    assert having["p_amplitude_ratio"] > 3 * abs(lacking["p_amplitude_ratio"])
    assert having["p_consistency"] > 0.8 > 1.6 * lacking["p_consistency"]
    assert 100 <= having["p_to_r_ms"] <= 240


def test_ectopy_in_a_pattern_is_not_taken_for_chaos():
    """Bigeminy alternates, and its pairs of differences gather in few places."""
    pattern = last_window(np.tile([0.55, 1.05], 30)).features
    chaos = last_window(np.random.default_rng(6).uniform(0.45, 1.1, 80)).features

    assert pattern["alternation_share"] > 0.9 > chaos["alternation_share"]
    assert pattern["compensated_share"] > 0.4 > chaos["compensated_share"]
    assert pattern["rr_autocorrelation_2"] > 0.9 > 2 * chaos["rr_autocorrelation_2"]
    assert pattern["lorenz_irregularity"] < 0.2 < chaos["lorenz_irregularity"]


def test_doubtful_beats_are_no_evidence():
    """Intervals next to a noise suspect are left out, and the share of suspects is told."""
    found = last_window(np.full(80, 0.8), kinds=lambda k: {"is_noise_suspect": k % 2 == 1}).features

    assert found["n_intervals"] == 0
    assert math.isnan(found["rmssd_ratio"])
    assert found["noise_suspect_share"] == pytest.approx(0.5, abs=0.02)
    assert found["all_rmssd_ratio"] == pytest.approx(0.0, abs=0.01)


def test_without_beats_the_figures_of_beats_are_unknown():
    """Nothing is made up for a flat line: no beats, no intervals, no waves."""
    (window,) = feed(RhythmWindows(), np.zeros((11 * 125, 1)))

    known = {name for name, value in window.features.items() if not math.isnan(value)}
    assert known == {"signal_s", "n_intervals", "evidence_s", "n_beats"}


def test_a_reset_forgets_everything():
    """Beats, verdicts and samples from before it are gone."""
    stage = RhythmWindows()
    feed(stage, ramp(9))
    stage.push(beat(8.0, 1.0))
    stage.push(verdict(8.0, index=0.1))

    stage.reset("gap")

    assert stage.flush() == []
    (window,) = feed(stage, ramp(11))
    assert window.beats == ()
    assert window.quality == 1.0


def test_another_rate_is_refused():
    """A model trained at one rate is never fed with another."""
    with pytest.raises(ValueError, match=r"expected blocks at 125\.0 Hz, got 250\.0 Hz"):
        RhythmWindows().push(block(ramp(1)))


@pytest.mark.parametrize("wrong", [{"hop_s": 0.0}, {"evidence_s": 5.0}, {"least_s": 11.0}, {"rate_hz": 0.0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    """A hop of nothing, or evidence shorter than a window."""
    with pytest.raises(ValueError, match="expected"):
        RhythmWindowsSettings(**wrong)


def test_the_stage_says_what_it_is():
    """Its name with the version, and every setting."""
    said = RhythmWindows(RhythmWindowsSettings(hop_s=2.5)).describe()

    assert said["stage"] == STAGE
    assert said["hop_s"] == 2.5
    assert said["rate_hz"] == 125.0
