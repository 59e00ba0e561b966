"""Every beat gets one class, in order: the model's, or the rule's where the model is silent, abstains or is late."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge.messages import BeatKind, Gap, Prediction, Tick
from edge.monitoring.beat_classes import BeatClasses, BeatClassSettings
from tests.monitoring.hearts import S, beat, classified, train, ventricular

WAITING = BeatClassSettings(waits_for_model=True)


def answer(to, label, **probabilities):
    """Return what the beat model says of a beat."""
    return Prediction(
        at_ns=to.at_ns,
        label=label,
        probabilities=probabilities,
        bundle_sha256="b" * 64,
        absent=None if label else "uncertain",
        model="beat",
        sensor=to.sensor,
        stream=to.stream,
        sequence=7,
    )


def run(classes, *items):
    return [out for item in items for out in classes.push(item)]


def kinds(outputs):
    return [(out.beat.at_ns / S, out.beat.kind.value, out.source) for out in outputs]


def test_without_a_model_the_shape_decides_at_once():
    outputs = run(BeatClasses(), beat(1.0), ventricular(1.6, 0.6), classified(2.5, 0.9))

    assert kinds(outputs) == [(1.0, "N", "rule"), (1.6, "V", "rule"), (2.5, "V", "sensor")]


def test_the_model_decides_where_it_has_an_opinion():
    """Its class, its probabilities and its window go with the beat; until it speaks the beat waits."""
    first, second = beat(1.0), ventricular(1.6, 0.6)
    classes = BeatClasses(WAITING)

    before = run(classes, first, second)
    after = run(classes, answer(first, "S", S=0.9, N=0.1), answer(second, "N", N=0.8))

    assert before == []
    assert kinds(after) == [(1.0, "S", "model"), (1.6, "N", "model")]
    assert after[0].probabilities == {"S": 0.9, "N": 0.1}
    assert (after[0].bundle_sha256, after[0].window_sequence) == ("b" * 64, 7)


def test_where_the_model_abstains_the_shape_decides():
    first, second = beat(1.0), ventricular(1.6, 0.6)

    outputs = run(BeatClasses(WAITING), first, second, answer(first, None, N=0.4, V=0.3), answer(second, None))

    assert kinds(outputs) == [(1.0, "N", "rule"), (1.6, "V", "rule")]


def test_a_silent_model_is_waited_for_four_seconds():
    classes = BeatClasses(WAITING)

    early = run(classes, ventricular(1.0), Tick(at_ns=round(4.9 * S)))
    late = run(classes, Tick(at_ns=5 * S))

    assert early == []
    assert kinds(late) == [(1.0, "V", "rule")]


def test_an_answer_to_a_later_beat_settles_those_before_it():
    """The model was not shown the first beat: its samples were missing."""
    first, second = beat(1.0), beat(1.8)

    outputs = run(BeatClasses(WAITING), first, second, answer(second, "S"))

    assert kinds(outputs) == [(1.0, "N", "rule"), (1.8, "S", "model")]


def test_an_answer_is_for_its_own_beat_whatever_the_order():
    """A sensor whose clock steps back: the model's word on one beat is not given to the other."""
    first, second = beat(5.0), beat(4.0)

    outputs = run(BeatClasses(WAITING), first, second, answer(second, "V"))

    assert kinds(outputs) == [(5.0, "N", "rule"), (4.0, "V", "model")]


def test_an_answer_that_comes_too_late_changes_nothing():
    first = beat(1.0)

    outputs = run(BeatClasses(WAITING), first, Tick(at_ns=9 * S), answer(first, "V"))

    assert kinds(outputs) == [(1.0, "N", "rule")]


def test_an_answer_of_another_model_or_stream_settles_nothing():
    first = beat(1.0)
    others = (replace(answer(first, "V"), model="rhythm"), replace(answer(first, "V"), sensor="other"))

    assert run(BeatClasses(WAITING), first, *others) == []


def test_a_label_that_is_no_class_of_beats_is_no_opinion():
    first = ventricular(1.0)

    assert kinds(run(BeatClasses(WAITING), first, answer(first, "AFIB"))) == [(1.0, "V", "rule")]


def test_a_gap_and_the_end_settle_what_waits():
    hole = Gap(sensor="chest", stream="ecg", start_ns=2 * S, end_ns=3 * S, n_missing=1, reason="lost")
    classes = BeatClasses(WAITING)

    assert kinds(run(classes, beat(1.0), hole)) == [(1.0, "N", "rule")]
    assert run(classes, beat(4.0)) == []
    assert kinds(classes.flush()) == [(4.0, "N", "rule")]


def test_more_beats_than_may_wait_push_the_oldest_out_with_a_class():
    classes = BeatClasses(BeatClassSettings(waits_for_model=True, most_waiting=3))

    outputs = run(classes, *train([0.3] * 9))

    assert len(outputs) == 7
    assert len(classes.flush()) == 3


def test_a_beat_a_fifth_wider_than_usual_is_wide():
    """110 ms against 90 ms, unlike the dominant beat; before the usual width is known it is not."""
    odd = replace(ventricular(20.0), width_ms=110.0)

    assert kinds(run(BeatClasses(), odd)) == [(20.0, "N", "rule")]
    assert kinds(run(BeatClasses(), *train([0.8] * 8), odd))[-1] == (20.0, "V", "rule")


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["beat", "answer", "tick", "gap"])), max_size=40))
def test_every_beat_comes_out_once_and_in_order(steps):
    """Whatever the model answers, and when."""
    classes, given_at, out, at_s = BeatClasses(WAITING), [], [], 0.0
    for number, what in steps:
        at_s += 0.5 * number
        if what == "beat":
            given_at.append(beat(at_s := at_s + 0.3))
            out += classes.push(given_at[-1])
        elif what == "answer" and given_at:
            out += classes.push(answer(given_at[-1 - number % len(given_at)], "NSVF"[number % 4]))
        elif what == "tick":
            out += classes.push(Tick(at_ns=round(at_s * S)))
        elif what == "gap":
            out += classes.push(Gap(sensor="chest", stream="ecg", start_ns=0, end_ns=0, n_missing=0, reason="x"))
    out += classes.flush()

    assert [each.beat.at_ns for each in out] == [each.at_ns for each in given_at]
    assert all(isinstance(each.beat.kind, BeatKind) for each in out)
