"""Raw inputs of any kind in, the model's answer out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inference.golden import GoldenCase
from edge.inference.predictor import Predictor, z_score
from tests.fakes.tiny_model import (
    FEATURES_CARD,
    FEATURES_INPUT,
    INPUT,
    N_SAMPLES,
    SAMPLES_INPUT,
    FeatureRunner,
    LinearRunner,
    card,
    linear_answer,
)

SIGNAL = 0.5 + 0.1 * np.sin(np.arange(N_SAMPLES))[:, np.newaxis]
KNOWN = {"f0": 1.0, "f1": 10.0, "f2": 0.0}


@pytest.fixture
def predictor():
    return Predictor(card(inputs=[FEATURES_CARD, SAMPLES_INPUT]), FeatureRunner())


def test_the_answer_holds_what_the_model_saw_and_said(predictor):
    answer = predictor.answer({INPUT: SIGNAL, FEATURES_INPUT: KNOWN})

    assert answer.inputs[FEATURES_INPUT].tolist() == [[0, 127, -127]]
    assert answer.inputs[INPUT].shape == (1, N_SAMPLES, 1)
    assert np.array_equal(answer.output, linear_answer(answer.inputs[INPUT])[0])
    assert answer.clipped_pct(INPUT) == 0.0
    assert answer.clipped_pct(FEATURES_INPUT) == pytest.approx(100 / 3)


def test_the_same_inputs_give_the_same_bytes(predictor):
    """An explanation is worth something only where the decision can be made again."""
    first, second = (predictor.answer({INPUT: SIGNAL, FEATURES_INPUT: KNOWN}) for _ in range(2))

    assert first.output.tobytes() == second.output.tobytes()
    assert first.logits == second.logits
    assert first.probabilities == second.probabilities


def test_a_model_of_pictures_is_asked_in_the_same_way():
    """The seed of this project was a picture model; nothing here knows of hearts."""
    picture = card(task="other", inputs=[{"kind": "tensor", "name": INPUT, "shape": [N_SAMPLES, 1]}])

    answer = Predictor(picture, LinearRunner()).answer({INPUT: SIGNAL})

    assert max(answer.probabilities, key=answer.probabilities.get) == "N"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({INPUT: SIGNAL}, KeyError),
        ({INPUT: SIGNAL, FEATURES_INPUT: {"f0": 1.0}}, KeyError),
        ({INPUT: SIGNAL, FEATURES_INPUT: np.zeros(3)}, TypeError),
        ({INPUT: SIGNAL[1:], FEATURES_INPUT: KNOWN}, ValueError),
        ({INPUT: SIGNAL[:, 0], FEATURES_INPUT: KNOWN}, ValueError),
        ({INPUT: KNOWN, FEATURES_INPUT: KNOWN}, ValueError),
        ({INPUT: SIGNAL * np.nan, FEATURES_INPUT: KNOWN}, ValueError),
    ],
    ids=["no-features", "a-feature-less", "features-without-names", "short", "flattened", "names", "nan"],
)
def test_other_inputs_are_misuse(predictor, given, fault):
    with pytest.raises(fault):
        predictor.answer(given)


def test_the_share_outside_of_training_counts_every_feature(predictor):
    assert predictor.outside_ratio({"f0": -1.0, "f1": 11.0, "f2": np.nan}) == pytest.approx(2 / 3)
    assert Predictor(card(), LinearRunner()).outside_ratio({}) is None


def test_golden_features_find_their_names(predictor):
    """In the file they stand in the order of the card, as in training."""
    inputs = {INPUT: SIGNAL, FEATURES_INPUT: np.array([1.0, np.nan, 0.0])}
    answer = predictor.answer({INPUT: SIGNAL, FEATURES_INPUT: KNOWN | {"f1": float("nan")}})

    assert predictor.verify([GoldenCase(inputs=inputs, output=answer.output)]) == 0


SAMPLES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60)


@given(SAMPLES)
def test_a_normalised_signal_has_mean_zero_and_deviation_one(samples):
    """Invariant: or there was nothing to normalise."""
    values = np.array(samples)[:, np.newaxis]

    scaled = z_score(values)

    if scaled is None:
        assert values.std() <= 1e-8 * np.abs(values).max() or values.std() < 1e-150
    else:
        assert scaled.mean() == pytest.approx(0, abs=1e-6)
        assert scaled.std() == pytest.approx(1, abs=1e-6)
        assert values[:, 0].tolist() == samples  # what was given is left as it was


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_no_finite_signal_gives_anything_but_finite_values(samples):
    """Invariant: overflow on the way is no signal, not infinity."""
    scaled = z_score(np.array(samples)[:, np.newaxis])

    assert scaled is None or np.isfinite(scaled).all()


def test_each_channel_is_normalised_by_itself():
    values = np.column_stack([np.arange(10.0), 1000 * np.arange(10.0) ** 2])

    scaled = z_score(values)

    assert scaled.std(axis=0) == pytest.approx([1, 1])
    assert z_score(np.column_stack([np.arange(10.0), np.ones(10)])) is None
