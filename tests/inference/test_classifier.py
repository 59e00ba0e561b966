"""What the model says of a window, and when it says nothing."""

from __future__ import annotations

import dataclasses
import json
from typing import ClassVar

import numpy as np
import pytest

from edge.errors import ModelContractError, ModelFault
from edge.inference.card import SamplesInput
from edge.inference.classifier import Classifier, ClassifierSettings, NoModel
from edge.inference.golden import parse_golden
from edge.inference.interpreter import Interpreter
from edge.inference.trust import SignedBy
from edge.messages import Beat, Window
from tests.fakes.tiny_model import (
    FEATURES_CARD,
    INPUT,
    LOGITS_CARD,
    N_SAMPLES,
    OUTPUT_CARD,
    RATE_HZ,
    SAMPLES_INPUT,
    LinearRunner,
    card,
    golden_windows,
    two_input_model,
)

SHA256 = "ab" * 32
S = 10**9


def window(level=0.5, *, values=None, quality=0.9, rate_hz=RATE_HZ, **more):
    values = np.full((N_SAMPLES, 1), level) if values is None else values
    return Window(
        **{"sensor": "bed", "stream": "ecg", "start_ns": S, "sequence": 7} | more,
        values=values,
        rate_hz=rate_hz,
        quality=quality,
    )


def golden(**changes):
    windows = [found | changes for found in golden_windows()]
    return parse_golden(json.dumps(windows).encode(), card().inputs, 2)


@pytest.fixture
def runner():
    return LinearRunner()


@pytest.fixture
def classifier(runner):
    return Classifier(card(), SHA256, runner)


@pytest.mark.parametrize(("level", "label"), [(0.5, "N"), (-0.5, "AFIB")])
def test_the_likeliest_label_is_said_with_its_evidence(classifier, level, label):
    (prediction,) = classifier.push(window(level))

    assert (prediction.label, prediction.absent) == (label, None)
    assert prediction.at_ns == 10**9 + 2 * 10**9  # the end of the window
    assert prediction.bundle_sha256 == SHA256
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=2 / 256)
    assert prediction.evidence == {
        "model": "tiny 0.1.0",
        "bundle_sha256": SHA256,
        "window_s": 2.0,
        "window_sequence": 7,
        "quality": 0.9,
        "clipped_pct": 0.0,
        "energy": pytest.approx(0.0, abs=0.02),  # probabilities add up to 1, whose logarithm is 0
        "outside_ratio": None,
        "logits": prediction.evidence["logits"],
        "windows": [7],
        "from_ns": 10**9,
    }
    assert (prediction.model, prediction.sensor, prediction.stream, prediction.sequence) == ("rhythm", "bed", "ecg", 7)


@pytest.mark.parametrize(
    ("level", "label", "absent"),
    [(0.06, None, "uncertain"), (0.12, "N", None), (-0.12, None, "uncertain"), (-0.2, "AFIB", None)],
)
def test_a_label_below_its_own_threshold_is_not_said(classifier, level, label, absent):
    """Each label has its threshold (N 0.6, AFIB 0.7); the probabilities are told all the same."""
    (prediction,) = classifier.push(window(level))

    assert (prediction.label, prediction.absent) == (label, absent)
    assert set(prediction.probabilities) == {"N", "AFIB"}


@pytest.mark.parametrize(
    ("wrong", "absent"),
    [
        (window(quality=0.59), "low-quality"),
        (window(quality=float("nan")), "low-quality"),
        (window(float("nan")), "missing-samples"),
        (window(float("inf")), "missing-samples"),
        (window(rate_hz=250.0), "window-mismatch"),
        (window(values=np.zeros((N_SAMPLES + 1, 1))), "window-mismatch"),
        (window(values=np.zeros((N_SAMPLES, 2))), "window-mismatch"),
    ],
)
def test_a_window_that_cannot_be_judged_never_reaches_the_model(classifier, runner, wrong, absent):
    """The model would answer anything with confidence."""
    (prediction,) = classifier.push(wrong)

    assert (prediction.label, prediction.absent) == (None, absent)
    assert prediction.probabilities == {}
    assert runner.n_runs == 0


def test_one_missing_sample_is_enough_to_abstain(classifier):
    values = np.full((N_SAMPLES, 1), 0.5)
    values[17] = np.nan

    assert classifier.push(window(values=values))[0].absent == "missing-samples"


def test_quality_at_the_threshold_is_enough(runner):
    classifier = Classifier(card(), SHA256, runner, ClassifierSettings(min_quality=0.3))

    assert classifier.push(window(quality=0.3))[0].label == "N"


def test_values_beyond_the_range_are_told(classifier):
    """Half the window is far larger than anything the model has seen."""
    values = np.full((N_SAMPLES, 1), 0.5)
    values[::2] = 100.0

    assert classifier.push(window(values=values))[0].evidence["clipped_pct"] == 50.0


class TestNormalisation:
    @pytest.fixture
    def classifier(self, runner):
        return Classifier(card(inputs=[SAMPLES_INPUT | {"normalise": "z-score"}]), SHA256, runner)

    def test_gain_and_offset_do_not_matter(self, classifier):
        """The same shape at another gain and offset gets the same probabilities."""
        shape = np.random.default_rng(1).gamma(1.0, size=(N_SAMPLES, 1))

        answers = [
            classifier.push(window(values=gain * shape + offset))[0] for gain, offset in ((1, 0), (50, 7), (0.01, -3))
        ]

        assert answers[0].probabilities == answers[1].probabilities == answers[2].probabilities

    @pytest.mark.parametrize("level", [0.0, 0.1, 1e-300, 1e300, -7.3])
    def test_a_flat_line_is_not_blown_up_into_a_signal(self, classifier, level):
        assert classifier.push(window(level))[0].absent == "flat"

    def test_rounding_is_no_signal(self, classifier):
        """A filter's tail differs from a constant in the last digit only."""
        values = np.full((N_SAMPLES, 1), 0.1)
        values[::2] = np.nextafter(0.1, 1.0)

        assert classifier.push(window(values=values))[0].absent == "flat"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": [SAMPLES_INPUT | {"name": "x"}]}, "the inputs x, got window"),
        ({"inputs": [SAMPLES_INPUT, FEATURES_CARD]}, "the inputs features, window, got window"),
        ({"inputs": [SAMPLES_INPUT | {"n_samples": 51}]}, r"shape \(1, 51, 1\), got \(1, 50, 1\)"),
        ({"inputs": [SAMPLES_INPUT | {"channels": ["a", "b"]}]}, r"shape \(1, 50, 2\)"),
        ({"output": OUTPUT_CARD | {"name": "y"}}, "the output 'y', got 'probabilities'"),
        (
            {"output": OUTPUT_CARD | {"labels": ["A", "B", "C"], "thresholds": {"A": 0, "B": 0, "C": 0}, "codes": {}}},
            r"shape \(1, 3\), got \(1, 2\)",
        ),
    ],
)
def test_a_card_that_describes_another_model_is_refused(runner, changes, words):
    with pytest.raises(ModelContractError, match=words) as caught:
        Classifier(card(**changes), SHA256, runner)

    assert caught.value.reason is ModelFault.MISMATCH


def test_golden_answers_are_found_again(classifier):
    assert classifier.verify(golden()) == 0


def test_another_answer_to_a_golden_window_is_an_error(classifier):
    """This device would judge hearts otherwise than the one that was validated."""
    with pytest.raises(ModelContractError, match=r"golden case 0: expected \[0, 0\] within 8 steps") as caught:
        classifier.verify(golden(output=[0, 0]))

    assert caught.value.reason is ModelFault.GOLDEN


def test_a_flat_golden_window_proves_nothing(runner):
    """Normalised it would be no signal at all."""
    normalised = card(inputs=[SAMPLES_INPUT | {"normalise": "z-score"}])

    with pytest.raises(ModelContractError, match="golden case 0: expected a signal, got a flat line"):
        Classifier(normalised, SHA256, runner).verify(golden(inputs={INPUT: [[0.1]] * 50}))


def test_the_card_tells_what_windows_to_make(classifier):
    assert isinstance(classifier.card.samples, SamplesInput)
    assert (classifier.card.samples.rate_hz, classifier.card.samples.shape) == (25.0, (50, 1))


def test_small_differences_between_kernels_are_allowed(classifier):
    first, *_ = golden_windows()
    shifted = [max(value - 5, -128) for value in first["output"]]

    assert classifier.verify(golden(**first | {"output": shifted})) == 5


def test_the_model_names_itself_and_that_nobody_vouches_for_it(classifier):
    assert classifier.status() == "tiny 0.1.0 (unsigned, sha256 abababababab)"


def test_who_vouches_for_the_model_is_told(runner):
    signed = Classifier(card(), SHA256, runner, signed_by=SignedBy(key_id="00" * 8, owner="the ward"))

    assert signed.status() == "tiny 0.1.0 (signed by the ward, sha256 abababababab)"


def test_windows_for_another_model_are_none_of_its_business(classifier, runner):
    """One classifier sees all windows of a stream; beats are judged by another one."""
    assert classifier.push(window(model="beat")) == []
    assert runner.n_runs == 0


TENSOR = {"kind": "tensor", "name": INPUT, "shape": [N_SAMPLES, 1]}


@pytest.mark.parametrize(
    "inputs", [[TENSOR], [SAMPLES_INPUT, TENSOR | {"name": "b"}], [SAMPLES_INPUT, SAMPLES_INPUT | {"name": "b"}]]
)
def test_a_model_of_pictures_is_no_classifier_of_windows(runner, inputs):
    """An operator who configures one gets a reason, not a service that does not start."""
    with pytest.raises(ModelContractError, match="expected a model of one signal") as caught:
        Classifier(card(task="other", inputs=inputs), SHA256, runner)

    assert caught.value.reason is ModelFault.MISMATCH


class TestBeat:
    @pytest.fixture
    def classifier(self, runner):
        return Classifier(card(task="beat"), SHA256, runner)

    def test_a_prediction_is_about_the_beat_not_about_the_window(self, classifier):
        """The join with the beat goes by its instant."""
        beat = Beat(
            sensor="bed",
            stream="ecg",
            at_ns=S + 123,
            sequence=3,
            rr_ms=800.0,
            width_ms=90.0,
            similarity=1.0,
            quality=1.0,
        )

        (prediction,) = classifier.push(window(model="beat", beats=(beat,)))

        assert (prediction.at_ns, prediction.model) == (S + 123, "beat")


class TestNoise:
    def test_a_model_that_judges_noise_sees_noise(self, runner):
        """Its label "too noisy" would never be said otherwise."""
        classifier = Classifier(card(abstention={"judges_noise": True}), SHA256, runner)

        for quality in (0.0, float("nan")):
            (prediction,) = classifier.push(window(quality=quality))
            assert prediction.label == "N"

    def test_missing_samples_are_no_noise(self, runner):
        classifier = Classifier(card(abstention={"judges_noise": True}), SHA256, runner)

        assert classifier.push(window(float("nan"), quality=0.0))[0].absent == "missing-samples"


class TestFeatures:
    """Samples and named numbers, on a real model whose tensors are not in the order of the card."""

    FEATURES: ClassVar = {"f0": 1.0, "f1": 1.0, "f2": 1.0}  # scaled: 0

    @pytest.fixture
    def make(self):
        def make(**changes):
            given = {"inputs": [SAMPLES_INPUT, FEATURES_CARD], "output": LOGITS_CARD} | changes
            return Classifier(card(**given), SHA256, Interpreter(two_input_model()))

        return make

    def test_the_share_of_clipped_values_is_that_of_the_samples(self, make):
        """A number at the end of its range is no fault of the signal."""
        classifier = make(inputs=[FEATURES_CARD, SAMPLES_INPUT])

        (prediction,) = classifier.push(window(2.0, features=dict.fromkeys(self.FEATURES, 99.0)))

        assert prediction.evidence["clipped_pct"] == 0.0

    def test_each_number_counts_by_its_name(self, make):
        """Samples 0.02 each: 50 x 0.05 x 0.02 = 0.05; a feature at its end: 0.05 more, at the other end less."""
        classifier = make()

        def logit(features):
            answer = classifier.answer(window(2.0, features=features))
            return answer.logits[0]

        assert logit(self.FEATURES) == pytest.approx(5.0, abs=0.1)
        assert logit({"f0": 99.0, "f1": 99.0, "f2": 99.0}) == pytest.approx(5.15, abs=0.1)
        assert logit({"f2": 0.0, "f0": 0.0, "f1": 0.0, "more": 7.0}) == pytest.approx(4.85, abs=0.1)
        assert logit(dict.fromkeys(self.FEATURES, float("nan"))) == logit(self.FEATURES)

    def test_the_tensors_hold_what_was_measured(self, make):
        """Explanations replay them bit for bit."""
        answer = make().answer(window(0.5, features=self.FEATURES | {"f1": 10.0}))

        assert answer.inputs["features"].tolist() == [[0, 127, 0]]
        assert answer.inputs[INPUT].shape == (1, N_SAMPLES, 1)
        assert (
            answer.output.tolist() == make().answer(window(0.5, features=self.FEATURES | {"f1": 10.0})).output.tolist()
        )

    def test_a_window_without_a_feature_is_not_the_models(self, make):
        """It was made by another version of the stage; unknown would be NaN."""
        assert make().push(window(features={"f0": 1.0, "f1": 1.0}))[0].absent == "window-mismatch"

    @pytest.mark.parametrize(
        ("features", "absent"),
        [
            ({"f0": 11.0, "f1": 1.0, "f2": 1.0}, None),
            ({"f0": 11.0, "f1": -1.0, "f2": 1.0}, "unfamiliar"),
            ({"f0": 11.0, "f1": -1.0, "f2": float("nan")}, "unfamiliar"),
        ],
    )
    def test_a_patient_unlike_any_in_training_is_not_judged(self, make, features, absent):
        classifier = make(abstention={"max_outside": 1 / 3})

        (prediction,) = classifier.push(window(2.0, features=features))

        assert prediction.absent == absent
        assert (prediction.label is None) == (absent is not None)
        assert set(prediction.probabilities) == {"N", "AFIB"}
        assert prediction.evidence["outside_ratio"] in {1 / 3, 2 / 3}

    def test_low_energy_is_unfamiliar(self, make):
        """Logits of (5, -5) have an energy of 5.0; of (0.5, -0.5), 0.8."""
        classifier = make(abstention={"min_energy": 2.0})

        assert classifier.push(window(2.0, features=self.FEATURES))[0].label == "N"
        weak = classifier.push(window(0.2, features=self.FEATURES))[0]
        assert (weak.label, weak.absent) == (None, "unfamiliar")
        assert weak.evidence["energy"] == pytest.approx(0.81, abs=0.1)

    def test_bias_and_temperature_calibrate(self, make):
        """softmax((logits + bias) / temperature), by hand."""
        plain, tuned = make(), make(output=LOGITS_CARD | {"temperature": 2.0, "bias": {"AFIB": 0.5}})
        shown = window(0.5, features=self.FEATURES)
        first, second = plain.answer(shown).logits

        expected = 1 / (1 + np.exp((second + 0.5 - first) / 2))

        assert tuned.answer(shown).probabilities["N"] == pytest.approx(expected)


class TestAggregation:
    """Windows of 2 s, a decision over 4 s."""

    @pytest.fixture
    def classifier(self, runner):
        return Classifier(card(aggregation={"span_s": 4.0}), SHA256, runner)

    def labels(self, classifier, *levels, **more):
        windows = [
            window(level, start_ns=number * S, sequence=25 * number, **more) for number, level in enumerate(levels)
        ]
        return [classifier.push(each)[0] for each in windows]

    def test_one_strange_window_does_not_turn_the_decision(self, classifier):
        found = self.labels(classifier, 0.5, 0.5, -0.4)

        assert [each.label for each in found] == ["N", "N", "N"]
        assert [each.evidence["windows"] for each in found] == [[0], [0, 25], [0, 25, 50]]
        assert [each.evidence["from_ns"] for each in found] == [0, 0, 0]

    def test_only_the_last_seconds_count(self, classifier):
        found = self.labels(classifier, 0.5, 0.5, -0.5, -0.5, -0.5)

        assert found[-1].evidence["windows"] == [50, 75, 100]
        assert found[-1].label == "AFIB"

    def test_nothing_from_before_a_gap_is_counted(self, classifier):
        self.labels(classifier, 0.5, 0.5, 0.5)

        classifier.reset("gap")

        (after,) = classifier.push(window(-0.5, start_ns=3 * S, sequence=75))
        assert (after.label, after.evidence["windows"]) == ("AFIB", [75])

    def test_a_hole_that_nobody_announced_begins_anew(self, runner):
        """The window before ended at 2 s; of the nanosecond after it nothing is known."""
        classifier = Classifier(card(aggregation={"span_s": 60.0}), SHA256, runner)
        classifier.push(window(0.5, start_ns=0, sequence=0))

        (after,) = classifier.push(window(-0.5, start_ns=2 * S + 1, sequence=51))
        (next_to_it,) = classifier.push(window(-0.5, start_ns=4 * S + 1, sequence=101))

        assert after.evidence["windows"] == [51]
        assert next_to_it.evidence["windows"] == [51, 101]

    def test_time_that_runs_backwards_begins_anew(self, classifier):
        classifier.push(window(0.5, start_ns=5 * S, sequence=125))

        (after,) = classifier.push(window(-0.5, start_ns=4 * S, sequence=100))

        assert after.evidence["windows"] == [100]

    def test_each_stream_has_its_own(self, classifier):
        classifier.push(window(0.5, start_ns=0, sequence=0))

        (other,) = classifier.push(window(-0.5, start_ns=S, sequence=25, stream="ecg2"))

        assert other.evidence["windows"] == [25]

    def test_a_window_that_was_not_judged_is_not_counted(self, classifier):
        classifier.push(window(0.5, start_ns=0, sequence=0))
        classifier.push(window(0.5, start_ns=S, sequence=25, quality=0.1))

        (third,) = classifier.push(window(0.5, start_ns=2 * S, sequence=50))

        assert third.evidence["windows"] == [0, 50]

    def test_asking_for_an_explanation_changes_nothing(self, classifier):
        """Occlusion asks about a hundred windows that never were."""
        classifier.push(window(0.5, start_ns=0, sequence=0))

        classifier.answer(dataclasses.replace(window(-0.5), start_ns=S))

        assert classifier.push(window(0.5, start_ns=S, sequence=25))[0].evidence["windows"] == [0, 25]


def test_no_model_says_so():
    """Health tells the difference between a silent model and none."""
    none = NoModel()

    assert none.push(window()) == []
    none.reset("gap")
    assert none.status() == "no model configured"
