"""Names of rhythms: each from where it began, the most urgent that fits, and none where nobody can tell."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from edge.messages import Condition, RhythmChange
from edge.monitoring.rhythm import RhythmRules
from tests.monitoring.hearts import S, beat, joined, run, stream, train, ventricular


def changes(outputs):
    return [out for out in outputs if isinstance(out, RhythmChange)]


def names(outputs):
    return [(out.label, round(out.at_ns / S, 1)) for out in changes(outputs)]


def test_a_normal_heart_is_named_once():
    """From its first beat on, with that beat's sample."""
    outputs = run(RhythmRules(), stream(train([0.8] * 300), 240))

    assert names(outputs) == [("N", 0.5)]
    assert changes(outputs)[0].sequence == 125


@pytest.mark.parametrize(("rr_s", "label"), [(0.45, "SVTA"), (1.4, "SBR")])
def test_slow_and_fast_rates_are_dated_back_to_their_first_beats(rr_s, label):
    """Known after eight intervals, dated where they began; normal again from where that is known."""
    start_s = 16.5 + rr_s
    end_s = start_s + 40 * rr_s + 0.8
    beats = joined(train([0.8] * 20), train([rr_s] * 40, start_s=start_s), train([0.8] * 120, start_s=end_s))

    outputs = run(RhythmRules(), stream(beats, 100))

    assert [label for label, _ in names(outputs)] == ["N", label, "N"]
    assert abs(changes(outputs)[1].at_ns / S - start_s) <= 4
    assert changes(outputs)[1].sequence == round(changes(outputs)[1].at_ns / S * 250)


def test_a_rate_at_its_limit_does_not_flap():
    """118 and 122 a minute in turns: named once."""
    intervals = [60 / (122 if (k // 20) % 2 else 118) for k in range(600)]

    outputs = run(RhythmRules(), stream(train(intervals), 290))

    assert len(changes(outputs)) <= 2


def test_an_asystole_is_dated_to_the_last_beat_and_ends_at_the_first():
    """What the record shows is when the heart stood still, not when that was noticed."""
    beats = joined(train([0.8] * 20), train([0.8] * 20, start_s=30.0))

    outputs = run(RhythmRules(), stream(beats, 44))

    assert names(outputs) == [("N", 0.5), ("ASYS", 16.5), ("N", 30.0)]


def test_an_unreadable_signal_is_named_noise():
    """Ten unusable seconds, dated to the first; the rhythm has a name again at the first certain beat."""
    beats = train([0.8] * 20) + train([0.8] * 40, start_s=45.3)

    outputs = run(RhythmRules(), stream(beats, 60, is_usable=lambda second: not 20 <= second <= 44))

    assert names(outputs) == [("N", 0.5), ("NOISE", 20.0), ("N", 45.3)]


def test_nine_unusable_seconds_keep_the_name():
    """A cough is no noise rhythm."""
    beats = train([0.8] * 20) + train([0.8] * 40, start_s=29.3)

    outputs = run(RhythmRules(), stream(beats, 60, is_usable=lambda second: not 20 <= second <= 28))

    assert names(outputs) == [("N", 0.5)]


def test_fibrillation_goes_on_after_an_interruption_where_it_is_seen_again():
    """Noise in the middle: not dated back across it."""
    source = random.Random(7)
    before = train([max(0.35, source.gauss(0.7, 0.15)) for _ in range(300)])
    until_s = before[-1].at_ns / S
    after = train([max(0.35, source.gauss(0.7, 0.15)) for _ in range(100)], start_s=until_s + 30.2)
    noise = range(int(until_s) + 2, int(until_s) + 30)

    outputs = run(RhythmRules(), stream(before + after, int(until_s) + 90, is_usable=lambda s: s not in noise))

    assert [label for label, _ in names(outputs)][-3:] == ["AFIB", "NOISE", "AFIB"]
    assert changes(outputs)[-1].at_ns >= after[0].at_ns


def restless(seed):
    """Return ten minutes of sinus, irregular stretches, runs, bigeminy, fast rates and pauses in random order."""
    source = random.Random(seed)
    parts = [train([0.8] * 3)]
    at_s = parts[0][-1].at_ns / S
    while at_s < 500:
        kind = source.choice(("sinus", "sinus", "irregular", "run", "bigeminy", "fast", "pause"))
        for k in range(source.randrange(2, 60)):
            intervals_s = {"irregular": max(0.3, source.gauss(0.7, 0.2)), "run": 0.4, "fast": 0.45, "pause": 1.6}
            at_s += intervals_s.get(kind, 0.8)
            is_wide = kind == "run" or (kind == "bigeminy" and k % 2)
            parts.append(train([], start_s=at_s, make=ventricular if is_wide else beat))
    return joined(*parts)


@pytest.mark.parametrize("seed", range(8))
def test_changes_never_go_back_in_time(seed):
    """Whatever the heart does, dates only go forward and no name follows itself."""
    bad = {50 * seed + 20 + k for k in range(15)}

    outputs = run(RhythmRules(), stream(restless(seed), 500, is_usable=lambda second: second not in bad))

    dates = [(out.at_ns, out.sequence) for out in changes(outputs)]
    labels = [out.label for out in changes(outputs)]
    assert dates == sorted(dates)
    assert all(one != other for one, other in pairwise(labels))
    assert len(set(labels)) >= 3


def test_an_interval_before_a_bad_second_still_counts():
    """The verdict on a second comes before its beats: a beat that precedes the bad second is a good beat."""
    beats = joined(train([0.8] * 20), train([0.8], start_s=16.5 + 3.3))

    outputs = run(RhythmRules(), stream(beats, 26, is_usable=lambda second: second <= 21))

    assert "pause" in {out.code for out in outputs if isinstance(out, Condition)}


def test_an_asystole_in_fibrillation_lasts_until_its_first_beat():
    """The fibrillation that goes on afterwards is not dated back into the silence."""
    source = random.Random(7)
    before = train([max(0.35, source.gauss(0.7, 0.15)) for _ in range(300)])
    last_s = before[-1].at_ns / S
    after = train([max(0.35, source.gauss(0.7, 0.15)) for _ in range(40)], start_s=last_s + 12.0)

    outputs = run(RhythmRules(), stream(joined(before, after), int(last_s) + 40))

    began = dict(names(outputs)[-2:])
    assert began["ASYS"] == pytest.approx(last_s, abs=0.1)
    assert began["AFIB"] == pytest.approx(last_s + 12.0, abs=0.1)
