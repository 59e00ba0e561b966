"""What a model learns from: inputs by name, labels, patients; in one form for every recipe, dataset and command."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edge.errors import EdgeError

UNLABELLED = -1
"""Label of an example whose class is not known."""

_INPUT = "input/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """A set of examples.

    Raises
    ------
    ValueError
        If the arrays are not of one length or a label names no class.
    """

    inputs: Mapping[str, NDArray[np.float32]]
    """By the name of the model's input, first axis the examples.  Features are raw (unscaled, NaN is unknown),
    samples are those of `edge.messages.Window.values`."""
    labels: NDArray[np.int64]
    """Index into `classes`; -1 is unlabelled."""
    classes: tuple[str, ...]
    groups: NDArray[np.str_]
    """The person (or recording) each example comes from: never on both sides of a split."""
    weights: NDArray[np.float32]
    """How much each example counts, 1 by default."""
    bags: NDArray[np.int64] | None = None
    """Examples of one record that are judged together by the mean of their logits; None where each stands alone."""

    def __post_init__(self) -> None:
        lengths = {f"input {name!r}": len(values) for name, values in self.inputs.items()}
        lengths |= {"groups": len(self.groups), "weights": len(self.weights)}
        if self.bags is not None:
            lengths["bags"] = len(self.bags)
        wrong = {name: length for name, length in lengths.items() if length != len(self.labels)}
        if wrong:
            raise ValueError(f"expected arrays of {len(self.labels)} examples, as there are labels, got {wrong}")
        if len(self.labels) and not (self.labels.min() >= UNLABELLED and self.labels.max() < len(self.classes)):
            given = f"{self.labels.min()} to {self.labels.max()}"
            raise ValueError(f"expected labels from -1 to {len(self.classes) - 1} for {self.classes}, got {given}")

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Examples:
        """Return the examples of a mask or of an array of indices, in that order."""
        return replace(
            self,
            inputs={name: values[which] for name, values in self.inputs.items()},
            labels=self.labels[which],
            groups=self.groups[which],
            weights=self.weights[which],
            bags=None if self.bags is None else self.bags[which],
        )

    def with_inputs(self, inputs: Mapping[str, NDArray[np.float32]]) -> Examples:
        """Return the same examples with other inputs: scaled, augmented."""
        return replace(self, inputs=dict(inputs))

    def labelled(self) -> Examples:
        """Return those whose class is known."""
        return self.select(self.labels != UNLABELLED)

    def counts(self) -> dict[str, int]:
        """Return how many examples each class has, in the order of `classes`."""
        found = Counter(self.labels.tolist())
        return {name: found[index] for index, name in enumerate(self.classes)}


def concatenate(parts: Sequence[Examples]) -> Examples:
    """Return `parts` one after another; the bags of different parts stay apart.

    Raises
    ------
    ValueError
        If there are none, or their classes or inputs differ.
    """
    if not parts:
        raise ValueError("expected at least one set of examples, got none")
    first = parts[0]
    for part in parts:
        if part.classes != first.classes or set(part.inputs) != set(first.inputs):
            expected, given = (f"{each.classes} from {sorted(each.inputs)}" for each in (first, part))
            raise ValueError(f"expected examples of {expected}, got {given}")
        if (part.bags is None) != (first.bags is None):
            raise ValueError("expected bags in all sets of examples or in none")
    bags: list[NDArray[np.int64]] = []
    for part in parts:
        if part.bags is not None:
            _, numbered = np.unique(part.bags, return_inverse=True)
            bags.append(numbered.astype(np.int64) + (bags[-1].max() + 1 if bags and len(bags[-1]) else 0))
    return Examples(
        inputs={name: np.concatenate([part.inputs[name] for part in parts]) for name in first.inputs},
        labels=np.concatenate([part.labels for part in parts]),
        classes=first.classes,
        groups=np.concatenate([part.groups for part in parts]),
        weights=np.concatenate([part.weights for part in parts]),
        bags=np.concatenate(bags) if bags else None,
    )


def spread_sample(examples: Examples, n_most: int, *, seed: int) -> Examples:
    """Return at most `n_most` examples in which rare classes and all patients are present.

    Each class gets an equal share, each patient of the class an equal share of that, as far as they have so many.
    """
    if len(examples) <= n_most:
        return examples
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(examples))
    # The rank of an example among those of its class and patient, then among those of its class: taking the lowest
    # ranks first goes round the patients, and round the classes.
    turn = _rank(np.stack([examples.labels[order], _codes(examples.groups)[order]]), np.zeros(len(order), np.int64))
    place = _rank(examples.labels[order][None], turn)
    chosen = np.sort(order[np.argsort(place, kind="stable")[:n_most]])
    return examples.select(chosen)


def save_examples(path: Path, examples: Examples) -> None:
    """Write `examples` to an ``.npz`` file."""
    meta = json.dumps({"classes": list(examples.classes)})
    arrays: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {
        f"{_INPUT}{name}": values for name, values in examples.inputs.items()
    }
    if examples.bags is not None:
        arrays["bags"] = examples.bags
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            meta=np.array(meta),
            labels=examples.labels,
            groups=np.asarray(examples.groups, dtype=np.str_),
            weights=examples.weights,
            **arrays,
        )
    partial.replace(path)  # a reader never sees half a file


def load_examples(path: Path) -> Examples:
    """Return what `save_examples` wrote.

    Raises
    ------
    EdgeError
        If the file is missing or no set of examples.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            names = [name for name in file.files if name.startswith(_INPUT)]
            return Examples(
                inputs={name.removeprefix(_INPUT): file[name] for name in names},
                labels=file["labels"],
                classes=tuple(json.loads(str(file["meta"]))["classes"]),
                groups=file["groups"],
                weights=file["weights"],
                bags=file["bags"] if "bags" in file.files else None,
            )
    except FileNotFoundError as error:
        raise EdgeError(f"{path}: no such file", hint="make it with: vitaledge-convert train") from error
    except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
        raise EdgeError(f"{path}: not a set of examples: {error}", hint="make it again with: train") from error


def _codes(groups: NDArray[np.str_]) -> NDArray[np.int64]:
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def _rank(keys: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each element's place among those with the same keys, by `order` and then as they stand."""
    arranged = np.lexsort((np.arange(keys.shape[1]), order, *keys))
    same = (keys[:, arranged][:, 1:] == keys[:, arranged][:, :-1]).all(axis=0)
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    within = np.arange(keys.shape[1]) - np.repeat(starts, np.diff(np.append(starts, keys.shape[1])))
    ranks = np.empty_like(within)
    ranks[arranged] = within
    return ranks
