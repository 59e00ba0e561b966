"""Ventricular beats: tachycardia, runs, frequent beats; by the model's word or by shape."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.messages import Condition, Priority, RhythmChange
from edge.monitoring.rhythm import RhythmRules
from tests.monitoring.hearts import beat, classified, joined, run, stream, train, ventricular


def conditions(outputs):
    return [out for out in outputs if isinstance(out, Condition)]


def codes(outputs):
    return [(out.code, out.is_active) for out in conditions(outputs)]


def names(outputs):
    return [(out.label, round(out.sequence / 250, 1)) for out in outputs if isinstance(out, RhythmChange)]


def with_run(n_beats, rr_s, make=ventricular):
    """Sinus at 75/min, `n_beats` ventricular beats, sinus again."""
    start_s = 16.5 + 0.5
    end_s = start_s + (n_beats - 1) * rr_s + 0.9
    return joined(
        train([0.8] * 20), train([rr_s] * (n_beats - 1), start_s=start_s, make=make), train([0.8] * 200, start_s=end_s)
    )


@pytest.mark.parametrize("make", [ventricular, classified])
def test_five_fast_ventricular_beats_are_a_tachycardia(make):
    """High and latching at the fifth beat, onset at the first; over after five other beats."""
    outputs = run(RhythmRules(), stream(with_run(5, 0.4, make), 60))

    assert codes(outputs) == [("ventricular-tachycardia", True), ("ventricular-tachycardia", False)]
    first = conditions(outputs)[0]
    assert first.priority is Priority.HIGH
    assert first.is_latching
    assert first.onset_at_ns == 17_000_000_000
    assert first.at_ns == 18_600_000_000
    assert "150/min" in first.sentence


def test_a_tachycardia_is_named_from_its_first_beat_to_its_last():
    """The name VT begins at the first ventricular beat and ends at the first other one."""
    outputs = run(RhythmRules(), stream(with_run(8, 0.4), 60))

    assert names(outputs) == [("N", 0.5), ("VT", 17.0), ("N", 20.7)]


def test_a_tachycardia_ends_only_when_five_other_beats_follow_each_other():
    """Three sinus beats between ventricular ones do not end it."""
    beats = with_run(6, 0.4)[: 21 + 6]
    for k in range(8):
        make = ventricular if k % 4 == 3 else beat
        beats = joined(beats, train([], start_s=beats[-1].at_ns / 1e9 + 0.6, make=make))

    assert codes(run(RhythmRules(), stream(beats, 27))) == [("ventricular-tachycardia", True)]


def test_a_tachycardia_goes_on_when_it_has_become_the_usual_beat():
    """The detector's template follows the heart within seconds; wide and fast beats are still the tachycardia."""
    wide = train([0.33] * 97, start_s=9.0, make=ventricular)
    learnt = [replace(each, similarity=None if k < 40 else 0.98) for k, each in enumerate(wide) if k >= 30]
    beats = joined(train([0.8] * 10), wide[:30], learnt, train([0.8] * 12, start_s=41.8))

    outputs = run(RhythmRules(), stream(beats, 60))

    claims = [item for item in conditions(outputs) if item.code == "ventricular-tachycardia"]
    assert [claim.is_active for claim in claims] == [True, False]
    assert claims[1].at_ns > max(each.at_ns for each in beats if each.width_ms == 150.0)
    assert "VT" in [label for label, _ in names(outputs)]


def test_ventricular_beats_far_apart_are_no_run():
    """Two, two and a half seconds of nothing, one more."""
    beats = joined(
        with_run(2, 0.4)[: 21 + 2], train([], start_s=19.9, make=ventricular), train([0.8] * 20, start_s=20.7)
    )

    assert codes(run(RhythmRules(), stream(beats, 35))) == []


@pytest.mark.parametrize("n_beats", [3, 4])
def test_a_short_run_is_of_medium_priority(n_beats):
    """Three or four in a row: said when the run is over, so that it can still become a tachycardia."""
    outputs = run(RhythmRules(), stream(with_run(n_beats, 0.4), 120))

    assert codes(outputs) == [("ventricular-run", True), ("ventricular-run", False)]
    assert conditions(outputs)[0].priority is Priority.MEDIUM
    assert conditions(outputs)[0].evidence["n_beats"] == n_beats


def test_a_slow_run_by_shape_alone_is_not_told():
    """Ten wide strange beats at the rate of the sinus may be a change of posture."""
    assert codes(run(RhythmRules(), stream(with_run(10, 0.8), 60)))[:1] != [("ventricular-run", True)]


def test_a_slow_run_is_no_tachycardia():
    """Ten beats at 75/min that a model calls ventricular: a run, told while it goes on."""
    outputs = run(RhythmRules(), stream(with_run(10, 0.8, classified), 60))

    assert codes(outputs)[0] == ("ventricular-run", True)
    assert ("ventricular-tachycardia", True) not in codes(outputs)


def test_a_pair_is_nothing():
    """Two in a row are no run."""
    assert codes(run(RhythmRules(), stream(with_run(2, 0.4), 60))) == []


def test_a_run_cut_off_by_silence_is_not_lost():
    """Four ventricular beats, then nothing: the run is said, and then the asystole."""
    beats = with_run(4, 0.4)[: 21 + 4]

    outputs = run(RhythmRules(), stream(beats, 30))

    assert codes(outputs) == [("ventricular-run", True), ("asystole", True)]


@pytest.mark.parametrize(
    "fields",
    [
        {"width_ms": 150.0, "similarity": 0.95},
        {"width_ms": 90.0, "similarity": 0.3},
        {"width_ms": None, "similarity": 0.3},
        {"width_ms": 150.0, "similarity": None},
        {"width_ms": float("nan"), "similarity": float("nan")},
    ],
)
def test_a_wide_or_a_strange_beat_alone_is_not_ventricular(fields):
    """A bundle branch block is wide, an artefact strange; both together are needed."""
    shaped = lambda at_s, rr_s=None: replace(beat(at_s, rr_s), **fields)  # noqa: E731 - one expression is clearest here

    assert codes(run(RhythmRules(), stream(with_run(10, 0.5, shaped), 60))) == []


def test_wide_is_also_what_is_wider_than_the_usual_beat():
    """110 ms where 90 are usual, in a lead or a filter that shows every beat narrow."""
    shaped = lambda at_s, rr_s=None: replace(ventricular(at_s, rr_s), width_ms=110.0)  # noqa: E731 - as above

    assert ("ventricular-tachycardia", True) in codes(run(RhythmRules(), stream(with_run(6, 0.4, shaped), 60)))


def test_a_strange_beat_as_narrow_as_usual_is_not_ventricular():
    """100 ms where 90 are usual."""
    shaped = lambda at_s, rr_s=None: replace(ventricular(at_s, rr_s), width_ms=100.0)  # noqa: E731 - as above

    assert codes(run(RhythmRules(), stream(with_run(6, 0.4, shaped), 60))) == []


def test_suspect_beats_are_not_in_a_run():
    """Motion makes wide strange beats: they are no tachycardia."""
    doubtful = lambda at_s, rr_s=None: replace(ventricular(at_s, rr_s), is_noise_suspect=True)  # noqa: E731 - as above

    assert codes(run(RhythmRules(), stream(with_run(10, 0.4, doubtful), 60))) == []


def test_a_suspect_beat_does_not_break_a_run():
    """Two and three ventricular beats around one in doubt are five in a row."""
    beats = with_run(6, 0.4)
    beats[21 + 2] = replace(beats[21 + 2], is_noise_suspect=True)

    assert ("ventricular-tachycardia", True) in codes(run(RhythmRules(), stream(beats, 60)))


def test_frequent_ventricular_beats_are_told_once():
    """Every fifth beat ventricular: low, one condition, over when they are half as frequent."""
    beats = [ventricular(b.at_ns / 1e9, 0.8) if k % 5 == 4 and k < 300 else b for k, b in enumerate(train([0.8] * 500))]

    outputs = run(RhythmRules(), stream(beats, 390))

    assert codes(outputs) == [("frequent-ventricular-beats", True), ("frequent-ventricular-beats", False)]
    assert conditions(outputs)[0].priority is Priority.LOW


@pytest.mark.parametrize(("period", "label"), [(2, "B"), (3, "T")])
def test_bigeminy_and_trigeminy_get_their_names(period, label):
    """Every second or third beat ventricular, dated back to where the pattern began."""
    beats = [
        ventricular(b.at_ns / 1e9, 0.8) if 20 <= k < 50 and k % period == 0 else b
        for k, b in enumerate(train([0.8] * 80))
    ]

    outputs = run(RhythmRules(), stream(beats, 60))

    assert [name for name, _ in names(outputs)] == ["N", label, "N"]
    assert abs(names(outputs)[1][1] - (0.5 + 20 * 0.8)) <= period * 0.8


def irregular(intervals_s):
    """Sinus, then ventricular beats at `intervals_s`, then sinus."""
    start_s = 17.0
    end_s = start_s + sum(intervals_s) + 0.9
    return joined(
        train([0.8] * 20), train(intervals_s, start_s=start_s, make=ventricular), train([0.8] * 30, start_s=end_s)
    )


def test_wide_beats_at_any_time_are_no_tachycardia():
    """Motion makes wide, strange "beats" too, but not in one cycle: neither a tachycardia nor a run."""
    outputs = run(RhythmRules(), stream(irregular([0.25, 0.6, 0.3, 0.7, 0.35, 0.5]), 40))

    assert codes(outputs) == []
    assert names(outputs) == [("N", 0.5)]


def test_a_cycle_that_varies_by_half_is_a_tachycardia():
    """The annotated runs of real records do."""
    outputs = run(RhythmRules(), stream(irregular([0.4, 0.5, 0.35, 0.45]), 40))

    assert ("ventricular-tachycardia", True) in codes(outputs)


def test_very_many_ventricular_beats_are_a_tachycardia_whatever_their_intervals():
    """Nothing that goes on is met with silence."""
    outputs = run(RhythmRules(), stream(irregular([0.3, 0.6] * 8), 40))

    sentences = [out.sentence for out in conditions(outputs) if out.code == "ventricular-tachycardia" and out.is_active]
    assert len(sentences) == 1
    assert "15 wide beats" in sentences[0]


def test_odd_beats_beside_noise_are_neither_counted_nor_a_run():
    """A short run and many single odd beats, each within seconds of unusable signal: most likely the noise itself."""
    noisy = lambda second: second % 4 != 1  # noqa: E731 - every fourth second is unusable
    short = stream(with_run(4, 0.4), 60, is_usable=noisy)
    singles = [ventricular(b.at_ns / 1e9, 0.8) if k % 3 == 2 else b for k, b in enumerate(train([0.8] * 300))]

    assert "ventricular-run" not in dict(codes(run(RhythmRules(), short)))
    assert "frequent-ventricular-beats" not in dict(codes(run(RhythmRules(), stream(singles, 200, is_usable=noisy))))


def test_a_tachycardia_beside_noise_is_not_missed():
    """Five wide beats in a row at 150/min are a tachycardia even when the second before them was unusable."""
    outputs = run(RhythmRules(), stream(with_run(8, 0.4), 60, is_usable=lambda second: second != 16))

    assert ("ventricular-tachycardia", True) in codes(outputs)
