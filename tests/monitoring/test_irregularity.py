"""Atrial fibrillation from irregular intervals: found with evidence, not mistaken for ectopy or breathing."""

from __future__ import annotations

import math
import random

import pytest

from edge.messages import Condition, Priority, RhythmChange
from edge.monitoring.rhythm import RhythmRules
from tests.monitoring.hearts import S, joined, run, stream, train, ventricular


def fibrillation(n, seed=1, mean_s=0.7):
    """Independent intervals, as fibrillation conducts them."""
    source = random.Random(seed)
    return [max(0.35, source.gauss(mean_s, 0.15)) for _ in range(n)]


def breathing(n, depth_s=0.06):
    """Respiratory sinus arrhythmia: four beats a breath."""
    return [0.85 + depth_s * math.sin(2 * math.pi * k / 4.6) for k in range(n)]


def conditions(outputs):
    return [out for out in outputs if isinstance(out, Condition) and out.code == "atrial-fibrillation"]


def names(outputs):
    return [(out.label, out.at_ns / S) for out in outputs if isinstance(out, RhythmChange)]


@pytest.mark.parametrize("seed", range(5))
def test_fibrillation_is_suspected_after_a_minute_of_evidence(seed):
    """Low priority, not latching; told not before 60 s, named from near its beginning."""
    beats = joined(train([0.8] * 150), train(fibrillation(400, seed), start_s=121.2))

    outputs = run(RhythmRules(), stream(beats, 360))

    assert [out.is_active for out in conditions(outputs)] == [True]
    assert conditions(outputs)[0].priority is Priority.LOW
    assert 121.2 + 60 <= conditions(outputs)[0].at_ns / S <= 121.2 + 130
    assert [name for name, _ in names(outputs)] == ["N", "AFIB"]
    assert abs(names(outputs)[1][1] - 121.2) < 30


def test_the_condition_ends_after_five_minutes_of_a_regular_rhythm():
    """The name returns sooner."""
    start_s = 0.5 + sum(fibrillation(300)) + 0.8
    beats = joined(train(fibrillation(300)), train([0.8] * 700, start_s=start_s))

    outputs = run(RhythmRules(), stream(beats, 780))

    assert [out.is_active for out in conditions(outputs)] == [True, False]
    assert conditions(outputs)[1].at_ns / S >= start_s + 300
    assert [name for name, _ in names(outputs)][-2:] == ["AFIB", "N"]
    assert abs(names(outputs)[-1][1] - start_s) < 40


@pytest.mark.parametrize(
    "intervals",
    [
        [0.8] * 600,
        breathing(600),
        [0.8 + 0.0005 * k for k in range(300)] + [0.95 - 0.0005 * k for k in range(300)],
        [0.8, 0.8, 0.8, 0.5, 1.1] * 120,
        [0.5, 1.0] * 300,
    ],
    ids=["regular", "breathing", "slow change", "premature beats", "bigeminy"],
)
def test_other_variability_is_no_fibrillation(intervals):
    """Breathing, exercise, premature beats and bigeminy, even where no beat is known to be ventricular."""
    outputs = run(RhythmRules(), stream(train(intervals), 480))

    assert conditions(outputs) == []


def test_intervals_next_to_ventricular_beats_say_nothing():
    """Ventricular beats at random times in a regular rhythm: the veto keeps them out."""
    source = random.Random(3)
    beats = train([0.8])
    while len(beats) < 700:
        if source.random() < 0.3:
            early_s = source.uniform(0.4, 0.7)
            beats = joined(beats, train([], start_s=beats[-1].at_ns / S + early_s, make=ventricular))
            beats = joined(beats, train([], start_s=beats[-1].at_ns / S + 1.6 - early_s))
        else:
            beats = joined(beats, train([], start_s=beats[-1].at_ns / S + 0.8))

    outputs = run(RhythmRules(), stream(beats, 480))

    assert conditions(outputs) == []


def test_less_than_a_minute_of_fibrillation_is_not_told():
    """Twenty seconds in between."""
    beats = joined(train([0.8] * 150), train(fibrillation(28), start_s=121.2), train([0.8] * 200, start_s=121.2 + 21.5))

    assert conditions(run(RhythmRules(), stream(beats, 300))) == []


def test_an_unusable_signal_gives_no_evidence():
    """Irregular beats in noise are no fibrillation, however long."""
    outputs = run(RhythmRules(), stream(train(fibrillation(600)), 400, is_usable=lambda second: second < 5))

    assert conditions(outputs) == []
