"""What the model says of a window, and when it says nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import TypeAdapter

from edge.errors import ModelContractError
from edge.inference.card import GoldenWindow
from edge.inference.classifier import Classifier, ClassifierSettings, NoModel
from edge.messages import Window
from tests.fakes.tiny_model import INPUT, N_SAMPLES, RATE_HZ, LinearRunner, card, golden_windows

SHA256 = "ab" * 32


def window(level=0.5, *, values=None, quality=0.9, rate_hz=RATE_HZ):
    values = np.full((N_SAMPLES, 1), level) if values is None else values
    return Window(
        sensor="bed", stream="ecg", values=values, rate_hz=rate_hz, start_ns=10**9, sequence=7, quality=quality
    )


def golden(**changes):
    windows = [found | changes for found in golden_windows()]
    return TypeAdapter(tuple[GoldenWindow, ...]).validate_json(json.dumps(windows))


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
        "window_s": 2.0,
        "window_sequence": 7,
        "quality": 0.9,
        "clipped_pct": 0.0,
    }


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
        return Classifier(
            card(
                input={
                    "name": INPUT,
                    "n_samples": N_SAMPLES,
                    "channels": ["ecg"],
                    "rate_hz": RATE_HZ,
                    "unit": "mV",
                    "normalise": "z-score",
                }
            ),
            SHA256,
            runner,
        )

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
        (
            {"input": {"name": "x", "n_samples": 50, "channels": ["ecg"], "rate_hz": 25, "unit": "mV"}},
            "the input 'x', got 'window'",
        ),
        (
            {"input": {"name": INPUT, "n_samples": 51, "channels": ["ecg"], "rate_hz": 25, "unit": "mV"}},
            r"shape \(1, 51, 1\), got \(1, 50, 1\)",
        ),
        (
            {"input": {"name": INPUT, "n_samples": 50, "channels": ["a", "b"], "rate_hz": 25, "unit": "mV"}},
            r"shape \(1, 50, 2\)",
        ),
        (
            {"output": {"name": "probabilities", "labels": ["A", "B", "C"], "thresholds": {"A": 0, "B": 0, "C": 0}}},
            r"shape \(1, 3\), got \(1, 2\)",
        ),
    ],
)
def test_a_card_that_describes_another_model_is_refused(runner, changes, words):
    with pytest.raises(ModelContractError, match=words):
        Classifier(card(**changes), SHA256, runner)


def test_golden_answers_are_found_again(classifier):
    assert classifier.verify(golden()) == 0


def test_another_answer_to_a_golden_window_is_an_error(classifier):
    """This device would judge hearts otherwise than the one that was validated."""
    with pytest.raises(ModelContractError, match=r"golden window 0: expected \[0, 0\] within 8 steps"):
        classifier.verify(golden(output=[0, 0]))


def test_a_flat_golden_window_proves_nothing(runner):
    """Normalised it would be no signal at all."""
    normalised = {
        "name": INPUT,
        "n_samples": 50,
        "channels": ["ecg"],
        "rate_hz": 25,
        "unit": "mV",
        "normalise": "z-score",
    }

    with pytest.raises(ModelContractError, match="golden window 0: expected a signal, got a flat line"):
        Classifier(card(input=normalised), SHA256, runner).verify(golden(values=[[0.1]] * 50))


def test_the_card_tells_what_windows_to_make(classifier):
    assert (classifier.card.input.rate_hz, classifier.card.input.shape) == (25.0, (1, 50, 1))


def test_small_differences_between_kernels_are_allowed(classifier):
    first, *_ = golden_windows()
    shifted = [max(value - 5, -128) for value in first["output"]]

    assert classifier.verify(golden(**first | {"output": shifted})) == 5


def test_the_model_names_itself_and_that_nobody_vouches_for_it(classifier):
    assert classifier.status() == "tiny 0.1.0 (unsigned, sha256 abababababab)"


def test_no_model_says_so():
    """Health tells the difference between a silent model and none."""
    none = NoModel()

    assert none.push(window()) == []
    none.reset("gap")
    assert none.status() == "no model configured"
