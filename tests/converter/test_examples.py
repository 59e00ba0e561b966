"""The one form in which examples travel between datasets, recipes and commands."""

from __future__ import annotations

import numpy as np
import pytest

from converter.examples import Examples, concatenate, load_examples, save_examples, spread_sample
from edge.errors import EdgeError


def examples_of(labels, groups, *, bags=None, classes=("N", "S", "V")):
    n = len(labels)
    return Examples(
        inputs={
            "beat": np.arange(n * 6, dtype=np.float32).reshape(n, 3, 2),
            "context": np.full((n, 2), np.nan, np.float32),
        },
        labels=np.array(labels, np.int64),
        classes=classes,
        groups=np.array(groups, dtype=np.str_),
        weights=np.ones(n, np.float32),
        bags=None if bags is None else np.array(bags, np.int64),
    )


def test_arrays_of_different_length_are_refused():
    """A label that belongs to nothing would shift all the others."""
    good = examples_of([0, 1], ["a", "b"])

    with pytest.raises(ValueError, match="expected arrays of 3 examples"):
        Examples(
            inputs=good.inputs,
            labels=np.array([0, 1, 2]),
            classes=good.classes,
            groups=good.groups,
            weights=good.weights,
        )


@pytest.mark.parametrize("label", [-2, 3])
def test_a_label_without_a_class_is_refused(label):
    with pytest.raises(ValueError, match="expected labels from -1 to 2"):
        examples_of([0, label], ["a", "b"])


def test_selection_keeps_every_array_in_step():
    examples = examples_of([0, 1, 2], ["a", "b", "c"], bags=[5, 5, 7])

    chosen = examples.select(np.array([2, 0]))

    assert chosen.labels.tolist() == [2, 0]
    assert chosen.groups.tolist() == ["c", "a"]
    assert chosen.bags.tolist() == [7, 5]
    assert np.array_equal(chosen.inputs["beat"], examples.inputs["beat"][[2, 0]])


def test_the_unlabelled_are_counted_nowhere():
    examples = examples_of([0, -1, 2], ["a", "b", "c"])

    assert examples.counts() == {"N": 1, "S": 0, "V": 1}
    assert len(examples.labelled()) == 2


def test_bags_of_different_parts_stay_apart():
    """Record 0 of one folder and record 0 of another are two records."""
    joined = concatenate(
        [examples_of([0, 1], list("ab"), bags=[3, 3]), examples_of([0, 1, 1], list("cde"), bags=[3, 4, 3])]
    )

    assert joined.bags.tolist() == [0, 0, 1, 2, 1]


def test_parts_of_different_kinds_do_not_join():
    with pytest.raises(ValueError, match="expected examples of"):
        concatenate([examples_of([0], ["a"]), examples_of([0], ["a"], classes=("N", "A", "O"))])


@pytest.mark.parametrize("bags", [None, [4, 4, 9]])
def test_examples_come_back_from_the_disk_as_they_went(tmp_path, bags):
    examples = examples_of([0, -1, 2], ["a", "b", "ü"], bags=bags)

    save_examples(tmp_path / "deep" / "examples.npz", examples)
    back = load_examples(tmp_path / "deep" / "examples.npz")

    assert back.classes == examples.classes
    for name in examples.inputs:
        assert np.array_equal(back.inputs[name], examples.inputs[name], equal_nan=True)
    assert back.labels.tolist() == [0, -1, 2]
    assert back.groups.tolist() == ["a", "b", "ü"]
    assert (back.bags is None) == (bags is None)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["examples.npz"]


def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 no archive")

    for name in ("bad.npz", "missing.npz"):
        with pytest.raises(EdgeError) as caught:
            load_examples(tmp_path / name)
        assert caught.value.hint


def test_a_small_sample_holds_rare_classes_and_all_patients():
    """960 normal beats of 8 patients and 40 ventricular ones of 2: both classes get half, each patient his share."""
    labels = [0] * 960 + [2] * 40
    groups = [f"p{k % 8}" for k in range(960)] + ["p0", "p9"] * 20

    sample = spread_sample(examples_of(labels, groups), 64, seed=1)

    assert sample.counts() == {"N": 32, "S": 0, "V": 32}
    assert {name: int((sample.groups[sample.labels == 0] == name).sum()) for name in set(groups)} == {
        **{f"p{k}": 4 for k in range(8)},
        "p9": 0,
    }
    assert sample.inputs["beat"].shape == (64, 3, 2)
