"""Who decides: the rules, the models, or both; and that no model can hold up or hide an emergency."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.messages import BeatKind, ClassifiedBeat, Condition, Prediction, RhythmChange, Tick
from edge.monitoring.rhythm import RhythmRules
from tests.monitoring.hearts import S, beat, joined, quality, run, stream, train, ventricular
from tests.monitoring.test_irregularity import fibrillation


def codes(outputs):
    return [(out.code, out.is_active) for out in outputs if isinstance(out, Condition)]


def names(outputs):
    return [(out.label, out.at_ns / S) for out in outputs if isinstance(out, RhythmChange)]


def word(at_s, label, from_s=None):
    """Return what the rhythm model says at `at_s` of the signal since `from_s`."""
    return Prediction(
        at_ns=round(at_s * S),
        label=label,
        probabilities={} if label is None else {label: 0.9},  # silent about every label, as on a window with a hole
        bundle_sha256="r" * 64,
        absent=None if label else "uncertain",
        model="rhythm",
        sensor="chest",
        stream="ecg",
        evidence={} if from_s is None else {"from_ns": round(from_s * S)},
    )


def with_words(items, label, every_s=5, since_s=11):
    """Return `items` with the model's word after every fifth second."""
    out = []
    for item in items:
        out.append(item)
        at_s = item.at_ns / S if isinstance(item, Tick) else 0.5
        if at_s >= since_s and at_s % every_s == 0:
            out.append(word(at_s, label(at_s) if callable(label) else label, max(0, at_s - 60)))
    return out


def told_by_model(beats, kind, **probabilities):
    """Return beats as the model classified them."""
    return [
        ClassifiedBeat(
            beat=replace(each, kind=kind),
            source="model",
            probabilities=probabilities,
            bundle_sha256="b",
            window_sequence=number,
        )
        for number, each in enumerate(beats)
    ]


def pushed(rules, beats, until_s):
    """Return what the rules say of beats that a model has classified."""
    items = [(each.beat.at_ns, each) for each in beats] + [(each.beat.at_ns, each.beat) for each in beats]
    seconds = [
        (second * S + 1, item) for second in range(1, until_s) for item in (quality(second), Tick(at_ns=second * S))
    ]
    return [out for _, item in sorted([*items, *seconds], key=lambda pair: pair[0]) for out in rules.push(item)]


def test_irregular_intervals_and_the_model_together_are_fibrillation():
    """The alert names the model's decision, so that it can be explained."""
    items = with_words(stream(train(fibrillation(400)), 250), "A")

    outputs = run(RhythmRules(), items)

    assert codes(outputs) == [("atrial-fibrillation", True)]
    (condition,) = (out for out in outputs if isinstance(out, Condition))
    assert condition.evidence["decision"]["bundle_sha256"] == "r" * 64
    assert condition.evidence["decision"]["label"] == "A"
    assert [label for label, _ in names(outputs)][-1] == "AFIB"


def test_irregular_intervals_that_the_model_calls_otherwise_are_no_fibrillation():
    """Frequent atrial ectopy is as irregular; the model sees the P waves."""
    outputs = run(RhythmRules(), with_words(stream(train(fibrillation(400)), 250), "O"))

    assert codes(outputs) == []
    assert names(outputs)[-1][0] == "O"


def test_the_model_alone_raises_no_fibrillation():
    """The name says what the model sees; an alarm needs the intervals too."""
    outputs = run(RhythmRules(), with_words(stream(train([0.8] * 300), 230), "A"))

    assert codes(outputs) == []
    assert names(outputs)[-1][0] == "AFIB"


def test_without_a_word_of_the_model_the_intervals_decide():
    """It abstains, or it has fallen silent."""
    items = stream(train(fibrillation(400)), 250)

    abstains = run(RhythmRules(), with_words(items, None))
    silent = run(RhythmRules(), [*items[:60], word(20, "N"), *items[60:]])

    assert codes(abstains) == codes(silent) == [("atrial-fibrillation", True)]


def test_fibrillation_ends_when_the_model_has_long_seen_none():
    """The intervals stay irregular: five minutes of another opinion end it."""
    items = with_words(stream(train(fibrillation(900)), 600), lambda at_s: "A" if at_s < 200 else "O")

    outputs = run(RhythmRules(), items)

    assert codes(outputs) == [("atrial-fibrillation", True), ("atrial-fibrillation", False)]
    end = [out for out in outputs if isinstance(out, Condition)][1]
    assert 500 <= end.at_ns / S <= 505  # the first other word came 5 s after the last of fibrillation
    assert "model" in end.sentence


def test_a_name_is_dated_where_its_evidence_began():
    """All that was heard so far: from the start.  Later a mean has changed when half of it has: from the middle."""
    items = with_words(stream(train([0.8] * 300), 230), lambda at_s: "N" if at_s < 150 else "A")

    outputs = run(RhythmRules(), items)

    assert names(outputs) == [("N", 0.5), ("AFIB", 120.0)]


def test_an_uncertain_model_keeps_its_name_and_before_the_first_takes_the_likeliest():
    """A name needs no certainty; an alarm does."""
    unsure = replace(word(20, None, 0), probabilities={"N": 0.4, "A": 0.6})
    rules = RhythmRules()
    items = stream(train([0.8] * 60), 24)

    first = run(RhythmRules(), [*items, unsure])
    kept = run(rules, [*items, word(19, "O", 0), unsure])

    assert names(first)[-1][0] == "AFIB"
    assert names(kept)[-1][0] == "O"


def test_noise_by_the_model_is_named_so():
    assert names(run(RhythmRules(), with_words(stream(train([0.8] * 60), 45), "~")))[-1][0] == "NOISE"


def test_an_emergency_keeps_its_name_whatever_the_model_says():
    """Asystole and ventricular tachycardia come before any rhythm of the model."""
    beats = joined(train([0.8] * 20), train([0.4] * 9, start_s=17.0, make=ventricular))

    outputs = run(RhythmRules(), with_words(stream(beats, 40), "N"))

    assert ("ventricular-tachycardia", True) in codes(outputs)
    assert ("asystole", True) in codes(outputs)
    assert [label for label, _ in names(outputs)] == ["N", "VT", "ASYS"]


def test_asystole_never_waits_for_a_class():
    """The beats are known and none has a class: the model hangs.  Silence is alarmed all the same."""
    rules = RhythmRules()

    outputs = [out for item in stream(train([0.8] * 20), 40) for out in rules.push(item)]

    assert ("asystole", True) in codes(outputs)


def test_a_run_needs_beats_of_class_v():
    """Wide and odd, but the model is sure that they are conducted: no run, and no tachycardia."""
    beats = [
        *told_by_model(train([0.8] * 20), BeatKind.NORMAL, N=1.0),
        *told_by_model(train([0.4] * 7, start_s=17.0, make=ventricular), BeatKind.SUPRAVENTRICULAR, S=0.99, V=0.01),
    ]

    assert codes(pushed(RhythmRules(), beats, 21)) == []


def test_a_tachycardia_is_not_hidden_by_a_model_in_doubt():
    """Wide and odd, the model leans to another class: a tachycardia is alarmed, a run of four is not."""
    usual = told_by_model(train([0.8] * 20), BeatKind.NORMAL, N=1.0)
    doubtful = told_by_model(train([0.4] * 7, start_s=17.0, make=ventricular), BeatKind.SUPRAVENTRICULAR, S=0.7, V=0.2)
    after = told_by_model(train([0.8] * 9, start_s=19.0), BeatKind.NORMAL, N=1.0)

    assert codes(pushed(RhythmRules(), [*usual, *doubtful], 21)) == [("ventricular-tachycardia", True)]
    assert codes(pushed(RhythmRules(), [*usual, *doubtful[:4], *after], 24)) == []


@pytest.mark.parametrize("delay_s", [0.0, 1.9, 4.0])
def test_a_slow_or_silent_model_delays_a_tachycardia_and_never_hides_it(delay_s):
    """The classes of the run come late, those of a model that hangs all of 4 s; nobody has seen it end meanwhile."""
    beats = train([0.8] * 20 + [0.4] * 30)
    classified = told_by_model(beats[:20], BeatKind.NORMAL) + told_by_model(beats[20:], BeatKind.VENTRICULAR, V=0.9)
    items = [(each.at_ns, each) for each in beats]
    items += [(each.beat.at_ns + round(delay_s * S) + 1, each) for each in classified]
    items += [(k * S + 2, item) for k in range(1, 33) for item in (quality(k), Tick(at_ns=k * S))]

    rules, found = RhythmRules(), []
    for _, item in sorted(items, key=lambda pair: pair[0]):
        found += rules.push(item)

    assert ("ventricular-tachycardia", True) in codes(found)


def test_narrow_beats_that_the_model_calls_ventricular_count():
    """And the alert names the model's windows."""
    beats = [
        *told_by_model(train([0.8] * 20), BeatKind.NORMAL, N=1.0),
        *told_by_model(train([0.4] * 5, start_s=17.0, make=beat), BeatKind.VENTRICULAR, V=0.9),
    ]

    outputs = pushed(RhythmRules(), beats, 20)

    assert codes(outputs) == [("ventricular-tachycardia", True)]
    (condition,) = (out for out in outputs if isinstance(out, Condition))
    assert condition.evidence["decision"]["model"] == "beat"
    assert condition.evidence["decision"]["window_sequences"] == [0, 1, 2, 3, 4]
