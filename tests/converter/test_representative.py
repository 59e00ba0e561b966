"""The examples that set the ranges are of every kind, and no outlier is among them."""

from __future__ import annotations

import numpy as np
import pytest

from converter.examples import Examples
from converter.representative import outliers, stratified_sample


def examples(labels, groups, sizes, features=None):
    """Return windows of the given amplitudes."""
    shape = np.sin(np.arange(10))[None, :, None] / np.abs(np.sin(np.arange(10))).max()
    samples = (np.asarray(sizes, dtype=np.float32)[:, None, None] * shape).astype(np.float32)
    inputs = {"samples": samples}
    if features is not None:
        inputs["features"] = np.asarray(features, dtype=np.float32)
    return Examples(
        inputs=inputs,
        labels=np.asarray(labels, dtype=np.int64),
        classes=("N", "S", "V"),
        groups=np.asarray(groups, dtype=np.str_),
        weights=np.ones(len(labels), dtype=np.float32),
    )


def test_a_rare_class_and_every_patient_are_among_few():
    """One S beat of one patient among a thousand N of another is taken."""
    labels = [0] * 1000 + [2] * 50 + [1]
    groups = ["a"] * 990 + ["b"] * 10 + ["a"] * 49 + ["c"] + ["d"]

    chosen = stratified_sample(examples(labels, groups, np.ones(len(labels))), 9, seed=1)

    assert len(set(chosen.tolist())) == 9
    assert {labels[index] for index in chosen} == {0, 1, 2}
    assert {groups[index] for index in chosen} == {"a", "b", "c", "d"}


def test_small_and_large_signals_are_taken_alike():
    """Of a patient whose beats are mostly small, the few large ones set the range too."""
    sizes = np.concatenate([np.full(60, 0.5), np.full(30, 1.0), np.full(30, 1.5)])
    found = examples([0] * 120, ["a"] * 120, sizes)

    chosen = sizes[stratified_sample(found, 12, seed=0)]

    assert set(chosen) == {0.5, 1.0, 1.5}


def test_a_window_fifty_times_too_large_or_unknown_is_never_taken():
    """An artefact, a NaN and an infinity are left out even when everything is asked for."""
    sizes = np.ones(40)
    sizes[3] = 50.0
    found = examples([0] * 40, ["a"] * 40, sizes)
    found.inputs["samples"][5, 2] = np.nan
    found.inputs["samples"][7, 9] = np.inf

    chosen = stratified_sample(found, 1000, seed=0)

    assert sorted(set(range(40)) - set(chosen.tolist())) == [3, 5, 7]


def test_raw_features_do_not_make_an_example_an_outlier():
    """Features are unscaled here: unknown ones and large ones are usual."""
    features = np.ones((30, 2))
    features[4] = np.nan
    features[5] = 1e6

    chosen = stratified_sample(examples([0] * 30, ["a"] * 30, np.ones(30), features), 30, seed=0)

    assert sorted(chosen.tolist()) == list(range(30))


def test_the_seed_decides():
    found = examples([0] * 100, ["a"] * 100, np.linspace(1, 2, 100))

    first, again, other = (stratified_sample(found, 10, seed=seed).tolist() for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_nothing_usable_is_refused():
    with pytest.raises(ValueError, match="finite"):
        stratified_sample(examples([0], ["a"], [1.0]).select(np.array([], dtype=np.int64)), 1, seed=0)
    with pytest.raises(ValueError, match="n >= 1"):
        stratified_sample(examples([0], ["a"], [1.0]), 0, seed=0)


def test_an_outlier_does_not_hide_behind_another():
    """Nine usual values, one of 5 and one of 1000: the 1000 does not make the 5 look usual."""
    values = np.array([[1.0]] * 18 + [[5.0], [1000.0]], dtype=np.float32)

    assert outliers({"x": values}).tolist() == [False] * 18 + [True, True]


def test_a_flat_input_has_no_outliers():
    assert not outliers({"x": np.zeros((5, 3), dtype=np.float32)}).any()
