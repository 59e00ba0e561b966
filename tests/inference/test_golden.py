"""Golden cases as a file and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inference.card import FeatureCard, FeaturesInput, SamplesInput, TensorInput
from edge.inference.golden import GoldenCase, golden_json, parse_golden

INPUTS = (
    SamplesInput(name="samples", n_samples=3, channels=("ecg", "difference"), rate_hz=125.0, unit="mV"),
    FeaturesInput(name="features", features=tuple(FeatureCard(name=n, knots=(0.0, 1.0)) for n in "ab")),
    TensorInput(name="picture", shape=(2, 1, 3)),
)
NUMBERS = st.floats(-1e299, 1e299)


@st.composite
def cases(draw):
    def array(shape, values):
        n_values = int(np.prod(shape))
        return np.array(draw(st.lists(values, min_size=n_values, max_size=n_values))).reshape(shape)

    return GoldenCase(
        inputs={
            "samples": array((3, 2), NUMBERS),
            "features": array((2,), NUMBERS | st.just(float("nan"))),
            "picture": array((2, 1, 3), NUMBERS),
        },
        output=np.array(draw(st.lists(st.integers(-128, 127), min_size=4, max_size=4)), dtype=np.int8),
    )


@given(st.lists(cases(), min_size=1, max_size=3), st.sampled_from([None, 2]))
def test_what_is_written_comes_back_to_the_bit(before, indent):
    """Invariant: any cases, written compactly or by hand with spaces, are read as they were."""
    content = json.dumps(json.loads(golden_json(before)), indent=indent).encode() if indent else golden_json(before)

    after = parse_golden(content, INPUTS, 4)

    assert len(after) == len(before)
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one.output, other.output)
        assert all(np.array_equal(one.inputs[name], other.inputs[name], equal_nan=True) for name in one.inputs)


@given(st.text(alphabet='[]{}",:0 \n', max_size=12).map(str.encode) | st.binary(max_size=12))
def test_no_text_is_more_than_an_error(content):
    """Invariant: what is no file of golden cases raises ValueError and nothing else."""
    with pytest.raises(ValueError, match=r"."):
        parse_golden(content, INPUTS, 4)


@pytest.mark.parametrize("content", ["[{}", "[1]", "[,]", "[{} {}]", "[{},]", "[] x", "[[]]", "x[]", '{"a": []}'])
def test_what_is_no_list_of_cases_is_refused(content):
    with pytest.raises(ValueError, match=r"expect|Expect"):
        parse_golden(content.encode(), INPUTS, 4)
