"""Two ways to compute the same model are compared example by example."""

from __future__ import annotations

import numpy as np
import pytest

from converter.comparison import bag_means, difference


def test_agreement_and_the_worst_example_are_found():
    first = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
    second = first.copy()
    second[1] = [0.2, 1.0]
    second[2] = [0.0, 1.0]

    found = difference(first, second)

    assert (found.agreement, found.exact, found.largest, found.worst) == (0.75, 0.5, 2.0, 2)


def test_the_bias_of_the_card_takes_part_in_the_decision():
    """What is likeliest is judged as at the bed, with the biases."""
    first, second = np.array([[1.0, 0.9]]), np.array([[1.0, 1.1]])

    assert difference(first, second).agreement == 0.0
    assert difference(first, second, bias=[0.0, 5.0]).agreement == 1.0


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="two equal shapes"):
        difference(np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="two equal shapes"):
        difference(np.zeros((0, 3)), np.zeros((0, 3)))


def test_a_bag_is_the_mean_of_its_examples():
    means, first = bag_means(np.array([[4.0], [1.0], [2.0]]), np.array([9, 3, 9]))

    assert means.tolist() == [[1.0], [3.0]]
    assert first.tolist() == [1, 0]
