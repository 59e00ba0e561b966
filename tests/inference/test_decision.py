"""From logits to a label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inference.card import OutputCard
from edge.inference.decision import Calibration, energy, logits_of, probabilities
from edge.inference.quantization import Quantization

LOGITS = st.lists(st.floats(-80, 80), min_size=3, max_size=3)
LABELS = ("N", "A", "O")


def output(**changes):
    return OutputCard(**{"name": "o", "labels": LABELS, "thresholds": dict.fromkeys(LABELS, 0.5)} | changes)


@given(LOGITS, st.floats(0.1, 10), LOGITS)
def test_one_by_one_is_the_same_as_all_at_once(logits, temperature, bias):
    """Invariant: what training calibrates in numpy is what the runtime computes in plain floats."""
    single = Calibration(output(temperature=temperature, bias=dict(zip(LABELS, bias, strict=True))))

    together = probabilities([logits], temperature=temperature, bias=bias)[0]

    assert list(single.probabilities(logits).values()) == pytest.approx(together, abs=1e-12)
    assert single.energy(logits) == pytest.approx(float(energy(logits)), abs=1e-12)


@given(LOGITS, st.floats(0.1, 10), st.floats(-50, 50))
def test_probabilities_add_up_to_one_and_a_shift_changes_nothing(logits, temperature, shift):
    """Invariant: softmax knows differences only."""
    found = probabilities(logits, temperature=temperature)

    assert found.sum() == pytest.approx(1)
    assert probabilities(np.add(logits, shift), temperature=temperature) == pytest.approx(found, abs=1e-9)


@given(LOGITS)
def test_energy_lies_just_above_the_largest_logit(logits):
    """Invariant: between the largest logit and that plus the logarithm of their number."""
    assert max(logits) <= float(energy(logits)) <= max(logits) + np.log(3) + 1e-12


def test_a_higher_temperature_is_more_modest_and_keeps_the_order():
    sharp, soft = probabilities([3.0, 1.0, 0.0]), probabilities([3.0, 1.0, 0.0], temperature=3.0)

    assert sharp.max() > soft.max()
    assert sharp.argsort().tolist() == soft.argsort().tolist()


def test_an_output_of_probabilities_gives_the_same_probabilities_back():
    """softmax(log(p)) is p; what int8 shows as 0 stays half a step."""
    quantization = Quantization(scale=1 / 256, zero_point=-128)
    shares = np.array([[100, -50, -106]], dtype=np.int8)  # 228/256, 78/256 … do not add up to 1 here

    logits = logits_of(shares, quantization, "softmax")

    real = (shares.astype(float) + 128) / 256
    assert probabilities(logits) == pytest.approx(real / real.sum())
    assert logits_of(np.array([-128], dtype=np.int8), quantization, "softmax") == pytest.approx(np.log(1 / 512))


def test_logits_are_taken_as_they_are():
    quantization = Quantization(scale=0.5, zero_point=3)

    assert logits_of(np.array([3, 5, -128], dtype=np.int8), quantization, "none").tolist() == [0.0, 1.0, -65.5]


@pytest.mark.parametrize(
    ("shares", "label", "is_certain"),
    [
        ({"N": 0.5, "A": 0.3, "O": 0.2}, "N", True),
        ({"N": 0.49, "A": 0.31, "O": 0.2}, "N", False),
        ({"N": 0.4, "A": 0.4, "O": 0.2}, "N", False),
        ({"N": 0.1, "A": 0.2, "O": 0.7}, "O", True),
    ],
)
def test_the_likeliest_label_has_to_reach_its_threshold(shares, label, is_certain):
    """Of two equals it is the first, on every machine."""
    assert Calibration(output()).verdict(shares) == (label, is_certain)
