"""Asystole, extreme rates and pauses: found in time, never from noise, never hidden by it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.messages import Condition, Gap, Priority, SensorIdentity, SensorStatus
from edge.monitoring.rates import AsystoleRule, RateSettings
from edge.monitoring.rhythm import RhythmRules
from edge.monitoring.usable_time import UsableTime
from tests.monitoring.hearts import S, beat, joined, quality, run, stream, train


def conditions(outputs, code=None):
    return [out for out in outputs if isinstance(out, Condition) and code in {None, out.code}]


def summary(outputs):
    return [(out.code, out.is_active, out.at_ns / S) for out in conditions(outputs)]


def status(condition, *, on, at_s, sensor="chest"):
    return SensorStatus(sensor=sensor, stream="ecg", condition=condition, is_active=on, at_ns=round(at_s * S))


def test_a_regular_heart_raises_nothing():
    """Ten minutes of 75/min."""
    outputs = run(RhythmRules(), stream(train([0.8] * 740), 590))

    assert conditions(outputs) == []


@pytest.mark.parametrize("last_s", [20.05, 20.5, 20.95])
def test_asystole_is_noticed_within_six_seconds(last_s):
    """No beat for 4 s while the ECG is readable: high, latching, at the latest 6 s after the last beat."""
    beats = train([0.75] * 25, start_s=last_s - 25 * 0.75)

    outputs = conditions(run(RhythmRules(), stream(beats, 40)))

    assert [out.code for out in outputs] == ["asystole"]
    assert outputs[0].priority is Priority.HIGH
    assert outputs[0].is_latching
    assert outputs[0].onset_at_ns == beats[-1].at_ns
    assert last_s + 4 <= outputs[0].at_ns / S <= last_s + 6
    assert "No heart beat for" in outputs[0].sentence


def test_asystole_ends_after_five_beats():
    """One escape beat is not a rhythm."""
    beats = joined(train([0.8] * 20), train([], start_s=30.0), train([0.8] * 30, start_s=40.0))

    outputs = conditions(run(RhythmRules(), stream(beats, 60)), "asystole")

    assert [out.is_active for out in outputs] == [True, False]
    assert outputs[1].at_ns == round((40.0 + 4 * 0.8) * S)


@pytest.mark.parametrize("silence_s", [4.0, 4.3, 4.9])
def test_an_asystole_that_a_beat_ends_before_a_tick_is_alarmed_all_the_same(silence_s):
    """Four seconds are four seconds, wherever the ticks fall; it is no pause and no slow rate as well."""
    beats = joined(train([0.8] * 20, start_s=0.9), train([0.8] * 40, start_s=16.9 + silence_s))

    outputs = conditions(run(RhythmRules(), stream(beats, 45)))

    assert [(out.code, out.is_active) for out in outputs] == [("asystole", True), ("asystole", False)]


def test_an_interval_just_under_four_seconds_is_no_asystole():
    """3.9 s is a pause."""
    beats = joined(train([0.8] * 20), train([0.8] * 20, start_s=16.5 + 3.9))

    outputs = run(RhythmRules(), stream(beats, 40))

    assert {out.code for out in conditions(outputs)} == {"pause"}


def test_a_detached_lead_never_raises_asystole():
    """No beats, because there is no ECG: half an hour of lead off is silent here."""
    beats = train([0.8] * 20)

    outputs = run(RhythmRules(), stream(beats, 1800, is_usable=lambda second: second < 18))

    assert conditions(outputs) == []


def test_a_lead_off_report_of_the_sensor_counts_even_if_the_signal_looks_usable():
    """The device knows about its electrodes; a clean line from a loose lead is no asystole."""
    rules = RhythmRules()
    items = stream(train([0.8] * 20), 60)
    items.insert(40, status("lead-off", on=True, at_s=16.0))

    assert conditions(run(rules, items)) == []


@pytest.mark.parametrize("how", ["reported back", "restarted"])
def test_a_sensor_that_no_longer_reports_lead_off_is_trusted_again(how):
    """By its word, or because it restarted and does not repeat it: an asystole is seen afterwards."""
    identity = lambda boot_id, at_s: SensorIdentity(  # noqa: E731 - used in this test alone
        sensor="chest", device_id="", model="", firmware="", boot_id=boot_id, streams=(), at_ns=at_s * S
    )
    back = status("lead-off", on=False, at_s=30) if how == "reported back" else identity(2, 30)
    rules = RhythmRules()
    run(rules, [identity(1, 0), *stream(train([0.8] * 20), 17), status("lead-off", on=True, at_s=17)])

    off = run(rules, stream([], 30, start_s=17))
    again = run(rules, [back, *stream([], 40, start_s=30)])

    assert conditions(off) == []
    assert [code for code, _, _ in summary(again)] == ["asystole"]
    assert summary(again)[0][2] <= 36


def test_beats_of_another_sensor_are_not_mixed_in():
    """Two ECGs of one heart: the intervals of one of them, not those between their beats."""
    beats = train([0.8] * 100)
    others = [replace(item, sensor="arm", at_ns=item.at_ns + S // 5) for item in beats]
    mixed = sorted([*beats, *others], key=lambda item: item.at_ns)

    assert conditions(run(RhythmRules(), stream(mixed, 80))) == []


def test_asystole_is_noticed_after_lead_off_has_ended():
    """The heart stopped while the lead was off: noticed within 6 s of a readable signal."""
    outputs = run(RhythmRules(), stream(train([0.8] * 20), 60, is_usable=lambda second: not 18 <= second <= 40))

    assert [code for code, _, _ in summary(outputs)] == ["asystole"]
    assert summary(outputs)[0][2] <= 46


def test_a_flickering_signal_does_not_hide_asystole():
    """Three seconds readable, one not, again and again: the readable ones add up."""
    outputs = run(RhythmRules(), stream(train([0.8] * 20), 60, is_usable=lambda second: second < 18 or second % 4))

    assert [code for code, _, _ in summary(outputs)] == ["asystole"]
    assert summary(outputs)[0][2] <= 24


def test_silence_before_a_long_unusable_stretch_is_forgotten():
    """Three silent seconds, five unusable ones in which the heart may have beaten, then beats within three seconds."""
    beats = [*train([0.8] * 20), *train([0.8] * 20, start_s=27.9)]
    beats[21] = replace(beats[21], rr_ms=None)

    outputs = run(RhythmRules(), stream(beats, 42, is_usable=lambda second: not 20 <= second <= 24))

    assert conditions(outputs) == []


def test_seconds_without_any_verdict_are_unusable():
    """The quality index itself is missing for a while: an interval across it is not whole."""
    beats = joined(train([0.8] * 20), train([0.8] * 20, start_s=16.5 + 3.5))
    items = [
        item for item in stream(beats, 40) if not (type(item).__name__ == "Quality" and 17.5 < item.at_ns / S < 20)
    ]

    assert conditions(run(RhythmRules(), items)) == []


def test_an_interval_across_a_gap_counts_nowhere():
    """Even if the detector gives one."""
    rules = RhythmRules()
    before = stream(train([0.8] * 20), 17)
    gap = Gap(sensor="chest", stream="ecg", start_ns=17 * S, end_ns=19 * S, n_missing=500, reason="link")
    after = stream(joined(train([0.8] * 20), train([0.8] * 40, start_s=19.9))[21:], 50, start_s=17)

    assert conditions(run(rules, [*before, gap, *after])) == []


def test_spikes_in_an_unusable_signal_do_not_stop_the_clock_of_asystole():
    """What the detector finds in noise is no heart beat."""
    noise = [replace(beat(17.5 + 0.8 * k, 0.8), is_noise_suspect=True) for k in range(50)]
    usable = lambda second: second < 18 or second % 4 != 0  # noqa: E731 - one expression is clearest here
    suspects = [item for item in noise if not usable(-(-item.at_ns // S))]

    outputs = run(RhythmRules(), stream([*train([0.8] * 20), *suspects], 60, is_usable=usable))

    assert "asystole" in {out.code for out in conditions(outputs)}


def test_suspect_beats_in_a_usable_signal_do_stop_the_clock():
    """A detector that distrusts its beats while the signal is fine must not make an asystole."""
    suspects = [replace(beat(17.3 + 0.8 * k, 0.8), is_noise_suspect=True) for k in range(100)]

    outputs = run(RhythmRules(), stream([*train([0.8] * 20), *suspects], 60))

    assert conditions(outputs, "asystole") == []


def test_a_heart_that_never_beat_is_an_asystole_too():
    """No beat at all in a readable signal, with time for the detector to learn."""
    outputs = run(RhythmRules(), stream([], 30))

    assert [code for code, _, _ in summary(outputs)] == ["asystole"]
    assert summary(outputs)[0][2] <= 12


def test_a_gap_in_the_samples_is_no_asystole():
    """Ten seconds without samples, beats on both sides."""
    rules = RhythmRules()
    before = stream(train([0.8] * 20), 17)
    gap = Gap(sensor="chest", stream="ecg", start_ns=17 * S, end_ns=27 * S, n_missing=2500, reason="link")
    after = stream(train([0.8] * 40, start_s=27.9), 50, start_s=28)

    assert conditions(run(rules, [*before, gap, *after])) == []


def test_extreme_bradycardia_over_five_beats():
    """35/min: high and latching, with the rate in the sentence."""
    beats = joined(train([0.8] * 20), train([60 / 35] * 20, start_s=17.5))

    outputs = conditions(run(RhythmRules(), stream(beats, 45)))

    assert [(out.code, out.is_active) for out in outputs] == [("extreme-bradycardia", True)]
    assert outputs[0].at_ns / S <= 17.5 + 4 * 60 / 35 + 1
    assert outputs[0].is_latching
    assert outputs[0].sentence.startswith("Heart rate 3")


def test_bradycardia_does_not_wait_for_a_beat_that_does_not_come():
    """Elapsed time counts: three long intervals and the silence after them are enough."""
    beats = joined(train([0.8] * 20), train([1.9] * 3, start_s=18.4))

    outputs = conditions(run(RhythmRules(), stream(beats, 40)))

    assert outputs[0].code == "extreme-bradycardia"
    assert outputs[0].at_ns < beats[-1].at_ns + 3 * S


@pytest.mark.parametrize("rate_bpm", [41, 45, 60])
def test_a_slow_heart_that_is_not_extreme_raises_nothing(rate_bpm):
    """At 41/min nobody is called at high priority."""
    assert conditions(run(RhythmRules(), stream(train([60 / rate_bpm] * 60), 60))) == []


def test_one_long_pause_is_no_bradycardia():
    """The mean over five beats is below 40/min, the heart is not slow."""
    beats = joined(train([0.8] * 20), train([0.8] * 20, start_s=16.5 + 3.8))

    outputs = run(RhythmRules(), stream(beats, 40))

    assert [out.code for out in conditions(outputs) if out.is_active] == ["pause"]


def test_bradycardia_ends_after_ten_seconds_of_a_normal_rate():
    """Not at the first quick beat."""
    beats = joined(train([1.8] * 10), train([0.8] * 40, start_s=0.5 + 18 + 0.8))

    outputs = conditions(run(RhythmRules(), stream(beats, 50)), "extreme-bradycardia")

    assert [out.is_active for out in outputs] == [True, False]
    assert 28 <= outputs[1].at_ns / S <= 34


def test_extreme_tachycardia_over_seventeen_beats():
    """150/min: noticed at the seventeenth beat, onset at the first."""
    beats = joined(train([0.8] * 20), train([0.4] * 60, start_s=17.3))

    outputs = conditions(run(RhythmRules(), stream(beats, 40)))

    assert [(out.code, out.is_active) for out in outputs] == [("extreme-tachycardia", True)]
    assert outputs[0].onset_at_ns >= round(16.5 * S)
    assert outputs[0].at_ns / S <= 17.3 + 17 * 0.4 + 1


def test_sixteen_quick_beats_are_not_enough():
    """A short burst is no extreme tachycardia."""
    beats = joined(train([0.8] * 20), train([0.42] * 12, start_s=17.3), train([0.8] * 20, start_s=17.3 + 12 * 0.42 + 1))

    assert conditions(run(RhythmRules(), stream(beats, 40)), "extreme-tachycardia") == []


def test_suspect_beats_count_in_no_rate():
    """150/min of what may be noise is no tachycardia."""
    beats = [replace(item, is_noise_suspect=True) for item in train([0.4] * 100)]

    outputs = run(RhythmRules(), stream([beat(0.2), *beats], 40))

    assert conditions(outputs) == []


def test_a_suspect_beat_does_not_hide_a_tachycardia():
    """One doubtful beat in every ten: the other intervals still add up."""
    beats = [replace(item, is_noise_suspect=k % 10 == 9) for k, item in enumerate(train([0.4] * 100))]

    outputs = run(RhythmRules(), stream(beats, 40))

    assert [out.code for out in conditions(outputs)] == ["extreme-tachycardia"]


def test_an_interval_across_an_unusable_second_counts_nowhere():
    """Beats may be missing in it: no pause, no bradycardia from a second of motion."""
    beats = joined(train([0.8] * 20), train([0.8] * 20, start_s=16.5 + 3.5))

    outputs = run(RhythmRules(), stream(beats, 40, is_usable=lambda second: not 18 <= second <= 20))

    assert conditions(outputs) == []


def test_a_pause_is_shown_and_ends_by_itself():
    """Medium, not latching, over after ten seconds without another."""
    beats = joined(train([0.8] * 20), train([0.8] * 40, start_s=16.5 + 3.2))

    outputs = conditions(run(RhythmRules(), stream(beats, 45)))

    assert [(out.code, out.is_active) for out in outputs] == [("pause", True), ("pause", False)]
    assert outputs[0].priority is Priority.MEDIUM
    assert outputs[0].sentence == "Pause of 3.2 s between two heart beats."


def test_an_unusable_signal_ends_nothing():
    """Asystole, then the electrode comes off: the alarm stands until beats are seen."""
    outputs = run(RhythmRules(), stream(train([0.8] * 20), 300, is_usable=lambda second: second < 30))

    assert [(out.code, out.is_active) for out in conditions(outputs)] == [("asystole", True)]


def test_a_second_ecg_takes_over():
    """The chest lead is off for good: an asystole on the arm lead is seen."""
    rules = RhythmRules()
    run(rules, stream(train([0.8] * 20), 17))
    items = []
    for second in range(18, 80):
        items += [quality(second, is_usable=False, reason="lead-off"), quality(second, sensor="arm")]
        items += [item for item in stream([], second, start_s=second - 1) if type(item).__name__ == "Tick"]

    outputs = run(rules, items)

    assert "asystole" in {out.code for out in conditions(outputs)}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, -800.0])
def test_impossible_intervals_are_ignored(bad):
    """An interval that cannot be is no interval."""
    beats = [replace(item, rr_ms=bad) for item in train([0.8] * 60)]

    assert conditions(run(RhythmRules(), stream(beats, 45))) == []


@pytest.mark.parametrize(("largest_mv", "noticed_s"), [(0.1, 4.0), (0.3, 4.0), (0.6, 7.0)])
def test_an_asystole_under_artefacts_is_late_but_not_lost(largest_mv, noticed_s):
    """Waves as large as beats in which no beat was found count half: 7 or 8 s instead of 4, never silence."""
    usable = UsableTime(restart_ns=4 * S)
    rule = AsystoleRule(RateSettings(latency_s=0.0), usable)
    for second in range(1, 11):
        usable.add(second * S, is_usable=True)
        rule.second(second * S, 1.0)
        rule.beat(beat(second), 1000.0)
    found = []

    for second in range(11, 25):
        usable.add(second * S, is_usable=True)
        rule.second(second * S, largest_mv)
        found += rule.time_passed(second * S)

    assert [item.at_ns / S - 10 for item in found] == [noticed_s]
