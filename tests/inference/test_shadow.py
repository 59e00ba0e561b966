"""Two models on the same windows: one is acted on, the other only counted; the counts say whether to take it back."""

from __future__ import annotations

import threading

import pytest

from edge.clock import ManualClock
from edge.inference.lifecycle import InferenceWorker, InThread
from edge.inference.shadow import Agreement, Beside, ProbationSettings, agreement_from_json, probation_fault
from edge.messages import Prediction
from tests.inference.test_lifecycle import PATIENCE_S, window

S = 10**9


def prediction(label, at_s=0.0, stream="ecg"):
    return Prediction(
        at_ns=round(at_s * S), label=label, probabilities={}, bundle_sha256="", sensor="bed", stream=stream
    )


def agreement_of(counts, step_s=1.0):
    """Return the agreement over windows a second apart: {(label in use, label beside): how many}."""
    found, number = Agreement(), 0
    for (active, beside), n_windows in counts.items():
        for _ in range(n_windows):
            found.add(prediction(active or None, number * step_s), prediction(beside or None, number * step_s))
            number += 1
    return found


class Says:
    """Answers every window with a label of its own, at once."""

    def __init__(self, label):
        self.label = label
        self.resets = []

    def push(self, item):
        return [Prediction(at_ns=item.sequence, label=self.label, probabilities={}, bundle_sha256=self.label or "")]

    def reset(self, reason):
        self.resets.append(reason)

    def status(self):
        return f"says {self.label}"


# --- counting -----------------------------------------------------------------------------------------------


def test_shares_and_kappa_by_hand():
    """Ten windows: 6 N/N, 1 A/A, 1 N/A, 1 A/N, 1 of which one abstains."""
    found = agreement_of({("N", "N"): 6, ("A", "A"): 1, ("N", "A"): 1, ("A", "N"): 1, ("", "N"): 1})

    assert found.n_compared == 10
    assert found.n_decided == 9
    assert found.disagreement_ratio == pytest.approx(2 / 9)
    by_chance = (7 * 7 + 2 * 2) / 81
    assert found.kappa == pytest.approx((7 / 9 - by_chance) / (1 - by_chance))
    assert (found.abstention_ratio(0), found.abstention_ratio(1)) == (0.1, 0.0)
    assert found.duration_s == pytest.approx(9.0)


def test_nothing_compared_says_nothing():
    """None, not 0: a share of nothing is no share."""
    found = Agreement()

    assert (found.disagreement_ratio, found.kappa, found.abstention_ratio(0)) == (None, None, None)
    assert found.as_json()["disagreement_pct"] is None


def test_kappa_is_unknown_where_chance_explains_everything():
    """Two models that only ever said N agree, and that says nothing."""
    found = agreement_of({("N", "N"): 100})

    assert found.disagreement_ratio == 0.0
    assert found.kappa is None


def test_a_pause_is_no_time_of_comparison():
    found = Agreement()
    for at_s in (0, 1, 2, 1000, 1001):
        found.add(prediction("N", at_s), prediction("N", at_s))

    assert found.duration_s == pytest.approx(3.0)


def test_counts_and_names_stay_bounded():
    """Whatever a bundle calls its labels, and for however long it runs."""
    found = Agreement()
    for number in range(500):
        found.add(prediction("N", number, f"stream-{number}"), prediction("N", number, f"stream-{number}"))
    for number in range(500):
        found.add(prediction(f"label-{number}", number), prediction("N", number))

    assert len(found.counts) == 100
    assert len(found.recent) == 50
    assert len(found._last_ns) == 100


def test_figures_come_back_from_json():
    found = agreement_of({("N", "N"): 6, ("", "A"): 2, ("A", ""): 1})
    found.n_unpaired = 3

    again = agreement_from_json(found.as_json())

    assert again.counts == found.counts
    assert again.n_unpaired == 3
    assert again.duration_s == pytest.approx(found.duration_s, abs=36)


def test_two_comparisons_add_up():
    total = agreement_of({("N", "N"): 6}) + agreement_of({("N", "N"): 1, ("N", "A"): 1})

    assert total.counts == {("N", "N"): 7, ("N", "A"): 1}


# --- beside -------------------------------------------------------------------------------------------------


def test_only_the_model_in_use_is_heard():
    """A shadow decides nothing: not one answer of it comes out."""
    agreement = Agreement()
    stage = Beside(Says("N"), Says("A"), agreement)

    found = [answer for number in range(5) for answer in stage.push(window(number))]

    assert [answer.label for answer in found] == ["N"] * 5
    assert agreement.counts == {("N", "A"): 5}
    assert [(each.active, each.beside) for each in agreement.recent] == [("N", "A")] * 5
    assert stage.status() == "says N"


def test_both_forget_at_a_gap():
    first, second = Says("N"), Says("A")
    stage = Beside(first, second, Agreement())

    stage.reset("gap")

    assert first.resets == second.resets == ["gap"]


class Gate(Says):
    """Answers when it is let through."""

    def __init__(self, label):
        super().__init__(label)
        self.is_open = threading.Event()

    def push(self, item):
        assert self.is_open.wait(PATIENCE_S)
        return super().push(item)


def test_a_hung_shadow_holds_up_nobody():
    """The one in use answers as ever; what only one has answered is counted as such, and bounded."""
    clock, gate, agreement = ManualClock(), Gate("A"), Agreement()
    shadow = InferenceWorker(gate, clock, queue_size=1)
    stage = Beside(Says("N"), InThread(shadow), agreement)
    try:
        found = [answer for number in range(200) for answer in stage.push(window(number))]
    finally:
        gate.is_open.set()
        assert shadow.wait_idle(PATIENCE_S)
        stage.poll()
        shadow.stop()

    assert len(found) == 200
    assert 0 < agreement.n_compared <= 2
    assert agreement.n_compared + agreement.n_unpaired <= 200
    assert agreement.n_unpaired >= 200 - 64 - 2


def test_a_window_that_one_did_not_answer_is_not_compared():
    """A machine that is too slow for two models says nothing of either."""
    agreement = Agreement()
    silent = Says(None)
    silent.push = lambda item: [
        Prediction(at_ns=item.sequence, label=None, probabilities={}, bundle_sha256="", absent="late")
    ]

    for number in range(3):
        Beside(Says("N"), silent, agreement).push(window(number))

    assert (agreement.n_compared, agreement.n_unpaired) == (0, 3)


def test_answers_are_paired_whichever_comes_first():
    """Each in its own thread; the pairs are of the same window all the same."""
    clock, agreement = ManualClock(), Agreement()
    gates = [Gate("N"), Gate("A")]
    workers = [InferenceWorker(gate, clock, queue_size=8) for gate in gates]
    stage = Beside(InThread(workers[0]), InThread(workers[1]), agreement)
    found = [answer for number in range(3) for answer in stage.push(window(number))]
    for gate, worker in zip(reversed(gates), reversed(workers), strict=True):
        gate.is_open.set()
        assert worker.wait_idle(PATIENCE_S)
        found += stage.poll()
        assert worker.stop(PATIENCE_S)

    assert [answer.label for answer in found] == ["N"] * 3
    assert agreement.counts == {("N", "A"): 3}


# --- probation ----------------------------------------------------------------------------------------------

SETTINGS = ProbationSettings(min_duration_s=100.0, min_decided=100)


def test_a_promotion_that_agrees_stays():
    assert probation_fault(agreement_of({("N", "N"): 900, ("V", "N"): 100}), None, SETTINGS) == ""


def test_a_promotion_that_differs_widely_is_taken_back():
    why = probation_fault(agreement_of({("N", "N"): 600, ("V", "N"): 400}), None, SETTINGS)

    assert why == "it differs from the one before on 40 % of 1000 windows, more than 25 %"


def test_a_short_episode_takes_nothing_back():
    """In a run of beats that the old model never understood the new one is right to differ."""
    short = ProbationSettings(min_duration_s=100.0, min_decided=10)
    few = ProbationSettings(min_duration_s=10.0, min_decided=100)

    assert probation_fault(agreement_of({("V", "N"): 99}), None, short) == ""
    assert probation_fault(agreement_of({("V", "N"): 99}), None, few) == ""
    assert probation_fault(agreement_of({("V", "N"): 102}), None, short)


def test_who_saw_the_shadow_differ_and_promoted_meant_it():
    """The limit lies beyond what the shadow run had shown."""
    differs = agreement_of({("N", "N"): 600, ("V", "N"): 400})

    assert probation_fault(differs, 0.35, SETTINGS) == ""
    assert "more than 30 %" in probation_fault(differs, 0.20, SETTINGS)


def test_a_promotion_that_hardly_says_anything_is_taken_back():
    """Abstaining is no error, but a model that always abstains is none."""
    silent = agreement_of({("N", "N"): 300, ("", "N"): 600, ("", ""): 100})
    as_before = agreement_of({("N", "N"): 300, ("", ""): 700})

    why = probation_fault(silent, None, SETTINGS)

    assert why == "it abstains on 70 % of the windows, the one before on 10 %"
    assert probation_fault(as_before, None, SETTINGS) == ""


def test_a_promotion_that_abstains_on_everything_is_taken_back():
    """There is not one window with two labels, and it is noticed all the same."""
    assert "abstains on 100 %" in probation_fault(agreement_of({("", "N"): 1000}), None, SETTINGS)
