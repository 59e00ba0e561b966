"""Vital signs: the rate of a cardiac monitor, and no value rather than a wrong one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.features.vitals import VitalsStage
from edge.messages import Beat, ChannelKind, Estimate, Gap, Quality, Reading, ReadingStatus, SensorStatus, Tick

S = 10**9


def beat(at_s, rr_ms, *, sensor="chest", **kwargs):
    at_ns = round(at_s * S)
    return Beat(
        sensor=sensor, stream="ecg", at_ns=at_ns, sequence=at_ns // 4_000_000, rr_ms=rr_ms, quality=1.0, **kwargs
    )


def verdict(at_s, *, index=0.9, reasons=(), sensor="chest"):
    return Quality(
        sensor=sensor, stream="ecg", at_ns=round(at_s * S), index=index, is_usable=index >= 0.6, reasons=reasons
    )


def spo2(at_s, value=97.0, **kwargs):
    return Reading(
        sensor="finger",
        measure="spo2_pct",
        value=value,
        unit="%",
        measured_at_ns=round(at_s * S),
        **{"status": ReadingStatus.VALID, **kwargs},
    )


def live(beats_s, until_s, *, bad=(), extra=(), stage=None, first_s=1):
    """One `Vitals` a second; beats are reported 0.5 s late, seconds in `bad` are unusable with that reason."""
    stage = stage or VitalsStage()
    bad = dict(bad)
    events = []
    for k, at in enumerate(beats_s):
        rr_ms = 1000 * (at - beats_s[k - 1]) if k else None
        events.append((at + 0.5, 0, beat(at, rr_ms)))
    for second in range(first_s, until_s + 1):
        reasons = bad.get(second, ())
        if reasons != "none":
            events.append((second, 1, verdict(second, index=0.2 if reasons else 0.9, reasons=reasons)))
        events.append((second, 2, Tick(at_ns=second * S)))
    events += [(at, 0, item) for at, item in extra]
    out = {}
    for _, _, item in sorted(events, key=lambda event: event[:2]):
        for vitals in stage.push(item):
            out[vitals.at_ns // S] = vitals
    return out


def rate(vitals):
    return vitals.measurements["heart_rate_bpm"].value


def absent(vitals, measure="heart_rate_bpm"):
    return vitals.measurements[measure].absent


@pytest.mark.parametrize("bpm", [30, 60, 75, 150, 300])
def test_a_steady_rate_is_shown_within_one(bpm):
    """From 30 to 300 bpm."""
    out = live(list(np.arange(0.3, 40, 60 / bpm)), 40)

    assert rate(out[40]) == pytest.approx(bpm, abs=1)
    assert out[40].measurements["heart_rate_bpm"].source == "chest/ecg"


@pytest.mark.parametrize(("before", "after"), [(80, 120), (80, 40)])
def test_a_step_of_the_rate_shows_within_ten_seconds(before, after):
    """80 to 120 and 80 to 40 bpm, the steps that makers of monitors disclose."""
    steady = np.arange(0.3, 30, 60 / before)
    then = np.arange(steady[-1] + 60 / after, 60, 60 / after)

    out = live([*steady, *then], 55)

    assert rate(out[30]) == pytest.approx(before, abs=2)
    assert rate(out[41]) == pytest.approx(after, abs=2)


def test_one_premature_beat_hardly_moves_the_rate():
    """The longest and the shortest interval are left out."""
    beats = list(np.arange(0.3, 40, 0.8))
    beats[40] -= 0.35

    out = live(beats, 38)

    assert all(abs(rate(out[k]) - 75) < 1 for k in range(30, 39))


def test_in_a_pause_the_rate_falls_and_then_there_is_none():
    """The last value is never held: it sinks with the running interval, and after four seconds it is gone."""
    out = live(list(np.arange(0.3, 30, 0.75)), 40)

    assert rate(out[30]) == pytest.approx(80, abs=1)
    assert rate(out[33]) < 40
    assert rate(out[34]) is None
    assert {absent(out[k]) for k in range(35, 41)} == {"no-beats"}


def test_a_bad_signal_takes_the_values_away_and_says_why():
    """Two bad seconds withhold every value with the signal's reason; one alone does not."""
    beats = list(np.arange(0.3, 40, 0.8))
    out = live(beats, 40, bad={20: ("motion",), 30: ("lead-off",), 31: ("lead-off",), 32: ("lead-off",)})

    assert rate(out[20]) == pytest.approx(75, abs=1)
    assert [rate(out[k]) for k in (31, 32)] == [None, None]
    assert {absent(out[31], m) for m in ("heart_rate_bpm", "rmssd_ms", "sdnn_ms")} == {"lead-off"}
    assert rate(out[38]) == pytest.approx(75, abs=1)


def test_beats_of_a_bad_second_do_not_count():
    """What the detector saw in a bad second may be noise: it is in no rate, even once the signal is good again."""
    beats = list(np.arange(0.3, 40, 0.8))
    bad = (21, 23, 25)
    # One false beat in the first half of each bad second, reported before the verdict on it.
    noise = [second - 0.8 for second in bad]

    out = live(sorted([*beats, *noise]), 38, bad=dict.fromkeys(bad, ("noise",)))

    assert rate(out[28]) == pytest.approx(75, abs=1)


def test_without_any_signal_there_is_no_value():
    """A cable pulled: no verdicts come, the value is gone within three seconds, and coverage falls."""
    out = live(list(np.arange(0.3, 30, 0.8)), 60, bad=dict.fromkeys(range(31, 61), "none"))

    assert rate(out[30]) is not None
    assert absent(out[33]) == "no-signal"
    assert out[33].quality is None
    assert out[33].reasons == ("no-signal",)
    assert out[30].coverage_pct == pytest.approx(100, abs=4)
    assert out[60].coverage_pct == pytest.approx(50, abs=3)


def test_after_a_hole_the_old_beats_are_not_averaged_in():
    """The rate after ten seconds without a cable is that of the new beats alone, once there are enough."""
    before, after = np.arange(0.3, 20, 0.5), np.arange(30.4, 45, 1.0)
    gap = Gap(sensor="chest", stream="ecg", start_ns=20 * S, end_ns=30 * S, n_missing=2500, reason="link-lost")

    out = live([*before, *after], 44, bad=dict.fromkeys(range(21, 31), "none"), extra=[(30.1, gap)])

    assert [absent(out[k]) for k in (31, 32)] == ["no-signal", "no-signal"]
    assert rate(out[36]) == pytest.approx(60, abs=1)


def test_a_reported_electrode_blanks_at_once():
    """The device's word comes before any verdict on the signal."""
    off = SensorStatus(sensor="chest", stream=None, condition="lead-off", is_active=True, at_ns=20 * S)
    on = SensorStatus(sensor="chest", stream="ecg", condition="lead-off", is_active=False, at_ns=25 * S)

    out = live(list(np.arange(0.3, 40, 0.8)), 35, extra=[(19.9, off), (24.9, on)])

    assert [absent(out[k]) for k in (19, 20, 24, 25)] == [None, "lead-off", "lead-off", None]


def test_readings_pass_until_they_are_stale():
    """A device's value is shown for as long as the device says, then it is stale: not held, not dropped silently."""
    out = live([], 40, extra=[(5.0, spo2(5.0, valid_for_s=15.0))], bad=dict.fromkeys(range(1, 41), "none"))

    assert "spo2_pct" not in out[4].measurements
    assert out[20].measurements["spo2_pct"].value == 97.0
    assert (out[21].measurements["spo2_pct"].value, absent(out[21], "spo2_pct")) == (None, "stale")


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (spo2(1, status=ReadingStatus.INVALID), "invalid"),
        (spo2(1, value=None, status=ReadingStatus.INVALID, absent="no-finger"), "no-finger"),
        (spo2(1, value=None, absent="no-finger"), "no-finger"),
        (spo2(1, value=float("nan")), "not-a-number"),
    ],
)
def test_an_invalid_reading_replaces_the_value_before_it(reading, expected):
    """A probe pulled off must not leave the last saturation standing."""
    out = live([], 3, extra=[(0.5, spo2(0.5)), (1.0, reading)], bad=dict.fromkeys(range(1, 4), "none"))

    assert out[2].measurements["spo2_pct"].value is None
    assert absent(out[2], "spo2_pct") == expected


def test_a_questionable_reading_is_shown_as_such():
    """The value stays, its quality says half."""
    out = live([], 2, extra=[(0.5, spo2(0.5, status=ReadingStatus.QUESTIONABLE))])

    assert out[1].measurements["spo2_pct"].quality == 0.5


def test_an_older_reading_does_not_replace_a_newer_one():
    """Back-filled history comes late."""
    out = live([], 3, extra=[(1.0, spo2(1.0, value=90.0)), (1.5, spo2(0.2, value=99.0))])

    assert out[2].measurements["spo2_pct"].value == 90.0


def test_the_second_ecg_takes_over_when_the_first_is_lost():
    """With two ECG streams the one shown is kept while it is usable."""
    stage = VitalsStage()
    shown = []
    for second in range(1, 31):
        for at in (second - 0.9, second - 0.4):
            stage.push(beat(at, 500.0))
            stage.push(beat(at, 1000.0, sensor="bed"))
        stage.push(verdict(second, index=0.9 if second < 15 else 0.1, reasons=() if second < 15 else ("noise",)))
        stage.push(verdict(second, sensor="bed"))
        (vitals,) = stage.push(Tick(at_ns=second * S))
        shown.append(vitals.measurements["heart_rate_bpm"])

    assert (shown[12].source, shown[12].value) == ("chest/ecg", pytest.approx(120))
    assert (shown[25].source, shown[25].value) == ("bed/ecg", pytest.approx(60))


def test_variability_needs_its_window():
    """RMSSD comes after most of a minute, SDNN after most of five; before, they say that coverage is missing."""
    out = live(list(np.arange(0.3, 300, 0.8) + 0.01 * np.tile([0, 1], 188)[: len(np.arange(0.3, 300, 0.8))]), 299)

    assert (out[40].measurements["rmssd_ms"].value, absent(out[40], "rmssd_ms")) == (None, "coverage")
    assert out[60].measurements["rmssd_ms"].value == pytest.approx(20, abs=0.5)
    assert out[200].measurements["sdnn_ms"].value is None
    assert out[299].measurements["sdnn_ms"].value == pytest.approx(10, abs=0.5)


def test_nothing_known_is_no_value_and_no_coverage():
    """Before anything came there is nothing to show, and that is said."""
    (vitals,) = VitalsStage().push(Tick(at_ns=S))

    assert (vitals.measurements, vitals.coverage_pct, vitals.quality) == ({}, 0.0, None)


def test_a_signal_that_stops_is_no_slowing_heart():
    """Until the silence is noticed the rate stays what it was; a falling one would be invented."""
    stage = VitalsStage()
    for k in range(36):
        stage.push(beat(0.0 + 0.83 * k, 830 if k else None))  # 72/min, the last at 29.05 s
    for k in range(30):
        stage.push(verdict(1.17 + k))  # the last verdict at 30.17 s

    shown = [rate(stage.push(Tick(at_ns=round(at_s * S)))[0]) for at_s in (30.7, 31.7, 32.7, 33.7)]

    assert all(value is None or value == pytest.approx(72.3, abs=0.5) for value in shown)
    assert shown[-1] is None


def pulse_rate(at_s, value=71.0, **kwargs):
    fields = {
        "sensor": "finger",
        "stream": "ppg",
        "measure": "pulse_rate_bpm",
        "unit": "/min",
        "quality": 0.9,
        "method": "pulses",
        **kwargs,
    }
    return Estimate(value=value, at_ns=round(at_s * S), **fields)


def test_a_value_computed_from_samples_is_shown_with_its_way():
    """The runtime's own pulse rate is a vital sign like any other, and goes when its stage falls silent."""
    out = live([], 12, extra=[(k + 0.9, pulse_rate(k + 0.9)) for k in range(3)])

    assert out[3].measurements["pulse_rate_bpm"].value == 71
    assert out[3].measurements["pulse_rate_bpm"].method == "pulses"
    assert absent(out[12], "pulse_rate_bpm") == "stale"


def test_the_device_s_own_value_stands_while_it_has_one():
    """An oximeter's pulse rate comes before ours; when it has none, ours takes its place."""
    own = Reading(
        sensor="finger",
        measure="pulse_rate_bpm",
        value=68.0,
        unit="/min",
        measured_at_ns=S,
        status=ReadingStatus.VALID,
        valid_for_s=4.0,
    )
    out = live([], 8, extra=[(1.0, own), *((k + 0.5, pulse_rate(k + 0.5)) for k in range(8))])

    assert out[3].measurements["pulse_rate_bpm"].value == 68
    assert out[7].measurements["pulse_rate_bpm"].value == 71


def test_an_uncalibrated_saturation_is_not_shown_beside_a_calibrated_one():
    """Two saturations would be read as two opinions; alone, the uncalibrated one is there under its own name."""
    rough = pulse_rate(0.9, 91.0, measure="spo2_uncalibrated_pct", unit="%", method="uncalibrated")

    alone = live([], 1, extra=[(0.9, rough)])
    beside = live([], 1, extra=[(0.9, rough), (0.9, spo2(0.9, 97.0))])

    assert alone[1].measurements["spo2_uncalibrated_pct"].value == 91
    assert absent(beside[1], "spo2_uncalibrated_pct") == "calibrated-elsewhere"


def test_a_person_without_an_ecg_has_coverage_and_quality_of_another_stream():
    """A wrist wearable alone: how well its light is seen is what coverage says."""
    stage = VitalsStage()
    for second in range(1, 11):
        index = 0.9 if second % 2 else 0.1
        stage.push(replace(verdict(second, index=index), stream="ppg", kind=ChannelKind.PPG))

    (vitals,) = stage.push(Tick(at_ns=10 * S))

    assert (vitals.coverage_pct, vitals.quality) == (50.0, 0.1)
    assert "heart_rate_bpm" not in vitals.measurements


def test_a_poor_light_signal_does_not_touch_the_heart_rate():
    """Each vital sign is judged by its own signal."""
    stage = VitalsStage()
    for second in range(1, 21):
        for at in (second - 0.9, second - 0.4):
            stage.push(beat(at, 500.0))
        stage.push(verdict(second))
        stage.push(replace(verdict(second, index=0.0, reasons=("motion",)), stream="ppg", kind=ChannelKind.PPG))
    (vitals,) = stage.push(Tick(at_ns=20 * S))

    assert rate(vitals) == pytest.approx(120)
    assert (vitals.quality, vitals.reasons) == (0.9, ())


def test_a_doubtful_beat_is_no_pause():
    """At 200/min a bad second makes six beats doubtful: the rate must not sink as if the heart had waited for them."""
    stage, shown = VitalsStage(), []
    for second in range(1, 25):
        for at in second - 1 + 0.3 * np.arange(1, 4):
            stage.push(beat(float(at), 300.0, is_noise_suspect=14 < at < 16))
        stage.push(verdict(second, index=0.5 if second == 15 else 0.9))
        (vitals,) = stage.push(Tick(at_ns=second * S))
        shown.append(rate(vitals))

    assert shown[12:18] == pytest.approx([200] * 6)


def test_waves_without_beats_give_no_rate():
    """What a detector counts in fibrillation or in a shaken cable is no heart rate, usable as the signal may be."""
    stage = VitalsStage()
    for second in range(1, 41):
        for at in (second - 0.9, second - 0.4):
            stage.push(beat(at, 500.0))
        stage.push(verdict(second, index=0.6, reasons=("motion", "waves") if second > 20 else ()))
        (vitals,) = stage.push(Tick(at_ns=second * S))

    assert (rate(vitals), absent(vitals)) == (None, "waves")
