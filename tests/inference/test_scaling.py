"""Features on −1 to 1: the same numbers in training and at the bed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inference.card import FeatureCard
from edge.inference.scaling import FeatureScaler, knots_of, scale_features, scale_matrix

RATIO = FeatureCard(name="rr_ratio", knots=(0.5, 1.0, 2.0))
KNOTS = (
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40, unique=True)
    .map(sorted)
    .filter(lambda knots: np.diff(knots).min() >= 1e-6)
)


@pytest.mark.parametrize(
    ("value", "scaled"),
    [
        (0.5, -1.0),
        (0.75, -0.5),
        (1.0, 0.0),
        (1.5, 0.5),
        (2.0, 1.0),
        (-7.0, -1.0),
        (99.0, 1.0),
        (math.inf, 1.0),
        (-math.inf, -1.0),
        (math.nan, 0.0),
    ],
)
def test_a_feature_takes_its_place_among_the_knots(value, scaled):
    """Beyond the knots it stays at the end; unknown is the middle."""
    assert scale_features({"rr_ratio": value}, [RATIO]).tolist() == [scaled]
    assert scale_matrix([[value]], [RATIO.knots]).tolist() == [[scaled]]


@given(st.data())
def test_training_and_serving_scale_to_the_same_bits(data):
    """Invariant: one example at a time gives exactly the float32 values of the whole matrix."""
    features = [FeatureCard(name=str(n), knots=tuple(data.draw(KNOTS))) for n in range(3)]
    values = st.one_of(st.floats(), *(st.sampled_from(each.knots) for each in features), st.floats(-1e6, 1e6))
    rows = [[data.draw(values) for _ in features] for _ in range(4)]

    matrix = scale_matrix(rows, [each.knots for each in features])

    scaler = FeatureScaler(features)
    for row, scaled in zip(rows, matrix, strict=True):
        single = scaler.scale({each.name: value for each, value in zip(features, row, strict=True)})
        assert single.dtype == np.float32
        assert single.tobytes() == scaled.tobytes()


@given(KNOTS, st.lists(st.floats(allow_nan=False), min_size=2, max_size=20))
def test_order_is_kept_and_nothing_leaves_the_range(knots, values):
    """Invariant: a larger value never scales to a smaller one."""
    scaled = scale_matrix(np.sort(values)[:, np.newaxis], [knots])[:, 0]

    assert np.all(np.diff(scaled) >= 0)
    assert np.all(np.abs(scaled) <= 1)


def test_the_training_population_fills_the_range_evenly():
    """A tenth of any population lies in each tenth of the range, however skewed it is."""
    population = np.random.default_rng(3).lognormal(0, 1.5, 20_000)

    scaled = scale_matrix(population[:, np.newaxis], [knots_of(population)])[:, 0]

    shares, _ = np.histogram(scaled, bins=10, range=(-1, 1))
    assert shares / population.size == pytest.approx(np.full(10, 0.1), abs=0.02)


def test_knots_leave_out_what_repeats_and_what_is_unknown():
    """A count that is mostly 0 still has knots that ascend."""
    knots = knots_of([0.0] * 90 + [1.0] * 8 + [2.0, 5.0] + [math.nan, math.inf])

    assert knots[0] == 0.0
    assert knots[-1] == 5.0
    FeatureCard(name="count", knots=knots)


@pytest.mark.parametrize("population", [[], [math.nan], [3.0, 3.0, math.nan]])
def test_a_feature_that_never_changes_has_no_knots(population):
    """It says nothing; the model is better off without it."""
    with pytest.raises(ValueError, match="two different values"):
        knots_of(population)


def test_what_lies_outside_of_training_is_counted():
    """Unknown is not outside: there is no value that could be."""
    features = [RATIO, FeatureCard(name="pr_ms", knots=(100.0, 250.0)), FeatureCard(name="x", knots=(0.0, 1.0))]

    n = FeatureScaler(features).n_outside({"rr_ratio": 0.49, "pr_ms": 250.0, "x": math.nan})

    assert n == 1


def test_a_feature_that_is_left_out_is_misuse():
    """Unknown has a value of its own, so an absent name is a fault of the program."""
    with pytest.raises(KeyError, match="rr_ratio"):
        scale_features({"rr": 1.0}, [RATIO])


def test_another_number_of_columns_is_misuse():
    with pytest.raises(ValueError, match=r"expected shape \(n, 1\), got \(1, 2\)"):
        scale_matrix([[1.0, 2.0]], [RATIO.knots])
