"""An explanation names what the decision really rests on, in figures, in time and in words."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.inference.card import ModelCard
from edge.inference.classifier import Classifier
from edge.inference.explain import explain
from edge.inference.explain_words import RULE_WORDS, rule_sentences
from edge.inference.explained_classifier import ExplainedClassifier, quick_contributions
from edge.inference.occlusion import beat_parts, effects, rhythm_parts, rhythm_stretches, without
from edge.inference.predictor import Answer
from edge.inference.reproduce import deciding_windows, decisions, reproduce
from edge.messages import Window
from edge.monitoring import alarms
from tests.fakes.alert_records import S, beat, beat_card, beat_classifier, beat_window, record
from tests.fakes.tiny_model import N_SAMPLES, RATE_HZ, card

R = 20
"""Sample of the R peak in a window of `beat_window`."""


class WeightedModel:
    """Answers with a sum of samples and features, each times a weight that the test knows."""

    def __init__(self, features=(), samples=(), card_changes=None) -> None:
        self.card: ModelCard = card(**(card_changes or beat_card()))
        self.features = dict(features)
        self.samples = dict(samples)
        self.n_asked = 0

    def answer(self, window: Window) -> Answer:
        self.n_asked += 1
        known = {name: 0.0 if math.isnan(value) else value for name, value in window.features.items()}
        total = sum(weight * known[name] for name, weight in self.features.items())
        total += sum(weight * float(window.values[at, 0]) for at, weight in self.samples.items())
        return Answer(output=np.zeros(2, np.int8), logits=(0.0, total), probabilities={}, inputs={})


def strongest(explanation) -> str:
    return explanation.contributions[0].name


def rhythm_card(**changes):
    return (
        beat_card(
            task="rhythm", output=beat_card()["output"] | {"labels": ["N", "A"], "thresholds": {"N": 0.5, "A": 0.5}}
        )
        | changes
    )


def rhythm_window(start_s, **more):
    given = {"model": "rhythm", "beats": tuple(beat(start_s + at) for at in (0.4, 1.2)), "start_ns": round(start_s * S)}
    return beat_window(start_s, sequence=round(start_s * RATE_HZ), **given | more)


# --- occlusion --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "group"), [("rr_to_level", "timing"), ("qrs_likeness", "qrs"), ("p_likeness", "p")])
def test_the_question_that_a_model_asks_is_found(name, group):
    """A model that looks at one feature only: all else changes nothing."""
    model = WeightedModel(features={name: -0.1})

    found = explain(model, [beat_window(3.0, early=0.4, like=-0.5, p=-0.5)], "V")
    others = [each.drop for each in found.contributions if each.name != group]

    assert others == [0.0] * 4
    assert next(each for each in found.contributions if each.name == group).drop != 0.0


@pytest.mark.parametrize(
    ("at", "group"), [(R - 8, "p"), (R, "qrs"), (R + 9, "t"), (2, "rest"), (N_SAMPLES - 2, "rest")]
)
def test_the_wave_that_a_model_looks_at_is_found(at, group):
    """A bump in one wave, and a model that sees it."""
    values = np.zeros((N_SAMPLES, 1))
    values[at] = 1.0
    model = WeightedModel(samples={at: 0.2})

    found = explain(model, [beat_window(3.0, values=values)], "V")

    assert strongest(found) == group
    assert found.contributions[0].drop > 0.5
    assert [each.drop for each in found.contributions[1:]] == [0.0] * 4


def test_the_fall_is_that_of_the_logarithm_of_the_calibrated_probability():
    """With bias and temperature of the card: ln p with it less ln p without it."""
    output = beat_card()["output"] | {"temperature": 2.0, "bias": {"V": 0.5}}
    model = WeightedModel(features={"rr_to_level": -4.0}, card_changes=beat_card(output=output))

    found = explain(model, [beat_window(3.0, early=-1.0)], "V")

    with_it, without_it = (1 / (1 + math.exp(-(total + 0.5) / 2)) for total in (4.0, 0.0))
    assert found.probability == pytest.approx(with_it)
    assert found.contributions[0].drop == pytest.approx(math.log(with_it / without_it))
    assert found.contributions[0].probability_without == pytest.approx(without_it)


def test_what_speaks_against_has_the_other_sign():
    """And comes last."""
    model = WeightedModel(features={"rr_to_level": 0.05, "p_likeness": -0.05})

    found = explain(model, [beat_window(3.0)], "V")

    assert found.contributions[0].drop > 0 > found.contributions[-1].drop
    assert found.contributions[-1].name == "p"


def test_a_beat_without_its_odd_part_is_the_usual_beat():
    """Where the window has the difference from the usual beat, that is taken off and nothing else."""
    usual, odd = np.sin(np.arange(N_SAMPLES)), np.zeros(N_SAMPLES)
    odd[15:30] = 1.0
    window = beat_window(3.0, values=np.stack([usual + odd, odd], axis=1))

    values = without(window, [(10, 35)], []).values

    assert np.allclose(values[:, 0], usual)
    assert not values[:, 1].any()


def test_without_a_usual_beat_a_straight_line_stands_in():
    """From one end to the other, no step at either."""
    window = beat_window(3.0, values=np.r_[np.zeros(20), np.full(10, 5.0), np.ones(20)][:, np.newaxis])

    values = without(window, [(20, 30)], []).values[:, 0]

    assert np.array_equal(values[:20], np.zeros(20))
    assert np.array_equal(values[30:], np.ones(20))
    assert np.all(np.diff(values[22:28]) > 0)
    assert 0 < values[22] < values[27] < 1


def test_features_become_unknown_and_the_window_itself_is_left_alone():
    """The same window is asked again and again."""
    window = beat_window(3.0)

    changed = without(window, [(0, N_SAMPLES)], ["qrs_likeness"])

    assert math.isnan(changed.features["qrs_likeness"])
    assert changed.features["rr_to_level"] == window.features["rr_to_level"] == 1.0
    assert changed.values is not window.values


@pytest.mark.parametrize("stretch", [(-5, 3), (48, 80), (10, 10), (20, 5), (0, N_SAMPLES), (60, 70)])
def test_stretches_that_reach_over_the_edge_are_cut(stretch):
    """A wave may lie partly outside the window."""
    window = beat_window(3.0, values=np.arange(50.0)[:, np.newaxis])

    assert np.isfinite(without(window, [stretch], []).values).all()


def test_a_card_without_waves_is_explained_by_its_features_alone():
    """Somebody else's model of beats."""
    model = WeightedModel(features={"p_likeness": 1.0}, card_changes=beat_card(preprocessing={"stage": "other/1"}))

    assert {part.name for part in beat_parts(model.card, beat_window(3.0))} == {"timing", "qrs", "p"}


def test_every_second_of_a_rhythm_is_taken_from_every_window_that_shows_it():
    """Windows overlap by half; the last second lies in the last only."""
    windows = [rhythm_window(0.0), rhythm_window(1.0)]

    parts = rhythm_stretches(windows)

    assert [(part.start_ns // S, sorted(part.samples.items())) for part in parts] == [
        (0, [(0, ((0, 25),))]),
        (1, [(0, ((25, 50),)), (25, ((0, 25),))]),
        (2, [(25, ((25, 50),))]),
    ]


def test_the_second_that_a_rhythm_is_called_by_is_shaded():
    """A model that sees a bump at one instant, wherever it lies in the window."""
    first, second = np.zeros((N_SAMPLES, 1)), np.zeros((N_SAMPLES, 1))
    first[37] = second[12] = 1.0
    model = WeightedModel(samples={37: 0.2, 12: 0.2}, card_changes=rhythm_card())

    found = explain(model, [rhythm_window(0.0, values=first), rhythm_window(1.0, values=second)], "A")

    assert found.highlights[0].start_ns == S
    assert found.highlights[0].weight == 1.0
    assert found.n_windows == 2


def test_what_lies_before_each_beat_is_asked_for_in_a_rhythm():
    """The P waves of all beats together."""
    values = np.zeros((N_SAMPLES, 1))
    values[[6, 26]] = 1.0  # 0.16 s before either R peak
    model = WeightedModel(samples={6: 0.1, 26: 0.1}, card_changes=rhythm_card())

    found = explain(model, [rhythm_window(0.0, values=values)], "A")

    assert strongest(found) == "atria"
    assert {part.name for part in rhythm_parts(model.card, [rhythm_window(0.0)])} >= {"atria"}


def test_a_model_that_answers_nothing_explains_nothing():
    """A flat line has nothing to normalise."""

    class Silent(WeightedModel):
        def answer(self, window):
            return None

    assert explain(Silent(), [beat_window(3.0)], "V") is None
    assert explain(WeightedModel(), [], "V") is None
    assert effects(Silent(), [beat_window(3.0)], "V", []) == []


def test_an_unknown_label_is_refused():
    """It would explain a decision that was never made."""
    with pytest.raises(ValueError, match="N, V"):
        explain(WeightedModel(), [beat_window(3.0)], "AFIB")


# --- the int8 model ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept():
    return record()


def test_the_int8_model_itself_is_asked(kept):
    """Early, unlike and without a P wave: each of the three carried the run."""
    found = explain(beat_classifier(), kept.windows, "V", bundle_sha256="ab" * 32)

    assert {each.name for each in found.contributions if each.drop > 0.05} == {"p", "qrs", "timing"}
    assert found.n_windows == 3
    assert found.probability == pytest.approx(kept.predictions[0].probabilities["V"])


def test_the_same_question_gets_the_same_answer(kept):
    """To the last bit, from a fresh interpreter."""
    first = explain(beat_classifier(), kept.windows, "V")
    second = explain(beat_classifier(), kept.windows, "V")

    assert first == second


def test_a_run_is_explained_in_tens_of_inferences(kept):
    """A gateway has other things to do."""
    model = WeightedModel()

    explain(model, kept.windows, "V")
    n_run = model.n_asked
    quick_contributions(model, kept.windows[0], "V")

    assert n_run <= 3 * 8
    assert model.n_asked - n_run <= 6


def test_a_kept_decision_comes_out_again_bit_for_bit(kept):
    """Every int8 output, every label and every probability."""
    sequences = [window.sequence for window in kept.windows]

    found = reproduce(beat_classifier(), kept.windows, kept.predictions, sequences)

    assert found.is_exact
    assert (found.n_compared, found.n_decisions) == (3, 3)


def test_another_answer_is_noticed(kept):
    """One step of one output of one window."""
    before = kept.predictions[1]
    other = replace(before, evidence={**before.evidence, "logits": [before.evidence["logits"][0] + 1, 1]})
    sequences = [window.sequence for window in kept.windows]

    found = reproduce(beat_classifier(), kept.windows, (kept.predictions[0], other, kept.predictions[2]), sequences)

    assert not found.is_exact
    assert (found.n_same, found.largest_lsb) == (2, 1)


def test_a_probability_that_differs_in_its_last_bit_is_noticed(kept):
    """The same bytes of the model, but calibrated otherwise."""
    before = kept.predictions[1]
    shares = {**before.probabilities, "V": math.nextafter(before.probabilities["V"], 1.0)}
    predictions = (kept.predictions[0], replace(before, probabilities=shares), kept.predictions[2])
    sequences = [window.sequence for window in kept.windows]

    found = reproduce(beat_classifier(), kept.windows, predictions, sequences)

    assert not found.is_exact
    assert (found.n_same, found.n_decisions_same) == (3, 2)


def test_another_window_is_noticed(kept):
    """The same model, but something else shown to it."""
    changed = replace(kept.windows[0], features={**kept.windows[0].features, "rr_to_level": 1.2, "p_likeness": 1.0})
    sequences = [window.sequence for window in kept.windows]

    found = reproduce(beat_classifier(), (changed, *kept.windows[1:]), kept.predictions, sequences)

    assert not found.is_exact


def test_a_mean_over_windows_comes_out_again():
    """The rhythm's decision rests on the windows that its prediction names; others before them do not count."""
    changes = rhythm_card(aggregation={"span_s": 4.0})
    first = Classifier(card(**changes), "ab" * 32, beat_classifier()._predictor._runner)
    windows = [rhythm_window(float(k), early=0.4 + 0.2 * k, like=0.3 * k) for k in range(6)]
    predictions = [each for window in windows for each in first.push(window)]

    named = [window.sequence for window in windows[3:]]
    assert decisions("rhythm", named) == [windows[-1].sequence]
    assert decisions("beat", named) == named
    deciding = deciding_windows(windows, predictions, decisions("rhythm", named))
    again = Classifier(card(**changes), "ab" * 32, beat_classifier()._predictor._runner)

    assert deciding == windows[3:]
    assert reproduce(again, deciding, predictions, [windows[-1].sequence]).is_exact


def test_answers_that_were_not_kept_are_not_called_reproduced(kept):
    """Nothing compared is nothing proven."""
    assert not reproduce(beat_classifier(), kept.windows, (), [kept.windows[0].sequence]).is_exact


def test_a_remarkable_answer_says_at_once_what_it_rests_on(kept):
    """A normal beat costs nothing extra, and no answer is changed."""
    plain, explained = beat_classifier(), beat_classifier()
    stage = ExplainedClassifier(explained, explained)

    (odd,) = stage.push(kept.windows[0])
    (normal,) = stage.push(beat_window(3.0))

    assert set(odd.evidence["contributions"]) == {"p", "qrs", "timing", "t", "rest"}
    assert "contributions" not in normal.evidence
    (before,) = plain.push(kept.windows[0])
    assert replace(odd, evidence={}) == replace(before, evidence={})
    assert stage.status() == plain.status()
    json.dumps(odd.evidence)


# --- words ------------------------------------------------------------------------------------------------


def test_a_run_is_told_to_a_nurse(kept):
    """What the model says, why, the figures, the rule of thumb, how sure, what it cannot know, what to do."""
    sentences = explain(beat_classifier(), kept.windows, "V").sentences

    text = " ".join(sentences)
    assert sentences[0].startswith("The model calls these 3 beats ventricular")
    assert "98 %" in text
    assert "320 ms early, after 60 % of this patient's usual interval (typical: 100 %)" in text
    assert "its QRS complex is unlike this patient's usual one: 10 % alike (typical: 97 %)" in text
    assert "early: yes" in text
    assert "wide: not known" in text
    assert "of 100 beats" in text
    assert "one lead" in text
    assert sentences[-1].startswith("Look at the patient first")


def test_a_rhythm_is_told_with_its_span():
    """And with the rule that people go by."""
    model = WeightedModel(features={"p_likeness": -1.0}, card_changes=rhythm_card())

    sentences = explain(model, [rhythm_window(0.0, p=-0.5), rhythm_window(1.0, p=-0.5)], "A").sentences

    assert sentences[0].startswith("The model calls the last 3 s atrial fibrillation")
    assert any("irregularly without a pattern" in each for each in sentences)


def test_a_decision_that_no_part_carried_says_so():
    """Instead of naming the least small one."""
    sentences = explain(WeightedModel(), [beat_window(3.0)], "V").sentences

    assert any("No single part carried it" in each for each in sentences)


def test_only_figures_that_stand_out_are_told():
    """A typical value is no reason."""
    model = WeightedModel(features={"rr_to_level": -0.05, "qrs_likeness": -0.05})

    found = explain(model, [beat_window(3.0, early=-3.0, like=0.97)], "V")

    assert [fact.feature for fact in found.facts] == ["rr_to_level"]


def test_a_figure_that_speaks_against_is_not_told_as_a_reason():
    """It stands out and belongs to the strongest question, and yet without it the decision would be firmer."""
    samples, features = beat_card()["inputs"]
    more = [*features["features"], {"name": "next_rr_to_median", "knots": [0.4, 1.0, 1.6]}]
    card_changes = beat_card(inputs=[samples, features | {"features": more}])
    model = WeightedModel({"rr_to_level": -0.5, "next_rr_to_median": -0.1}, card_changes=card_changes)
    window = beat_window(3.0, early=-3.0)

    found = explain(model, [replace(window, features={**window.features, "next_rr_to_median": 1.6})], "V")

    assert strongest(found) == "timing"
    assert [fact.feature for fact in found.facts] == ["rr_to_level"]


def test_a_rule_without_a_model_is_told():
    """With its value and limit where it has them."""
    told = rule_sentences("heart rate", {"value": 155.1, "limit": 140.0, "unit": "/min"})

    assert told[0] == "A fixed rule raised this alert, no model was asked: heart rate."
    assert told[1] == "Measured: 155.1/min; the limit is 140/min."
    assert rule_sentences("", {"value": True, "limit": None})[0].endswith("see the alert itself.")


def test_rule_and_model_are_told_apart(kept):
    """A run is raised by a rule that counts what the model called ventricular; fibrillation needs both."""
    run = explain(beat_classifier(), kept.windows, "V", condition="ventricular-run").sentences
    model = WeightedModel(features={"p_likeness": -1.0}, card_changes=rhythm_card())
    rhythm = explain(model, [rhythm_window(0.0)], "A", condition="atrial-fibrillation").sentences

    assert any("three or more ventricular beats in a row. The model only said which" in each for each in run)
    assert any("needed two that agree" in each for each in rhythm)


def test_every_rule_has_words():
    """None of the conditions that the rules claim is told by its code."""
    sources = [path.read_text() for path in Path(alarms.__file__).parent.glob("*.py")]
    codes = {code for source in sources for code in re.findall(r'Claim\(\s*"([a-z-]+)"', source)}

    assert codes - set(RULE_WORDS) == set()
    assert "asystole" in codes


def test_an_explanation_is_json(kept):
    """For `--json` and for whoever stores it."""
    found = explain(beat_classifier(), kept.windows, "V").as_json()

    back = json.loads(json.dumps(found))
    assert back["label"] == "V"
    assert back["contributions"][0]["drop"] > 0
    assert len(back["highlights"]) == 9
