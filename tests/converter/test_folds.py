"""Patients are divided, never examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.examples import Examples
from converter.folds import ValidationSettings, group_folds, stop_split


def examples_of(labels, groups, n_classes=3):
    return Examples(
        inputs={"x": np.zeros((len(labels), 1), np.float32)},
        labels=np.array(labels, np.int64),
        classes=tuple("NSV"[:n_classes]),
        groups=np.array(groups),
        weights=np.ones(len(labels), np.float32),
    )


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 9)), min_size=30, max_size=200), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_every_patient_is_in_exactly_one_fold(rows, n_folds):
    """Whatever the labels: no patient on both sides, every example held out once, no fold empty."""
    groups = [str(group) for _, group in rows] + [str(k) for k in range(10)]
    examples = examples_of([label for label, _ in rows] + [0] * 10, groups)

    masks = group_folds(examples, n_folds, seed=1)

    assert np.array_equal(np.sum(masks, axis=0), np.ones(len(examples)))
    for mask in masks:
        assert mask.any()
        assert not set(examples.groups[mask]) & set(examples.groups[~mask])


def test_rare_classes_are_spread_over_the_folds():
    """Four of twenty patients have the class: each of four folds gets one of them."""
    labels, groups = [], []
    for k in range(20):
        labels += [0] * 50 + ([2] * 10 if k < 4 else [])
        groups += [f"p{k}"] * (60 if k < 4 else 50)
    examples = examples_of(labels, groups)

    for mask in group_folds(examples, 4, seed=3):
        assert (examples.labels[mask] == 2).sum() == 10


def test_equal_seeds_give_equal_folds():
    examples = examples_of([0, 1, 2] * 20, [f"p{k}" for k in range(60)])

    first, second, other = (group_folds(examples, 3, seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_fewer_patients_than_folds_are_refused():
    with pytest.raises(ValueError, match="at least 5 groups"):
        group_folds(examples_of([0, 1], ["a", "b"]), 5, seed=1)


def test_the_stop_split_takes_about_its_share_of_patients():
    examples = examples_of([0, 1] * 50, [f"p{k}" for k in range(100)])

    held = stop_split(examples, 0.2, seed=1)

    assert held.mean() == pytest.approx(0.2, abs=0.05)
    assert stop_split(examples, 0.0, seed=1) is None


@pytest.mark.parametrize("wrong", [{"n_folds": 1}, {"stop_ratio": 1.0}, {"target_error": 0.0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        ValidationSettings(**wrong)
