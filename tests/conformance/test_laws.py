"""The three laws that every stage obeys: chunk law, gap law, no-crash law (edge/stage.py)."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from tests.conformance.case import StageCase


def all_cases() -> list[StageCase]:
    modules = sorted(path.stem for path in Path(__file__).parent.glob("cases_*.py"))
    return [case for name in modules for case in importlib.import_module(f"tests.conformance.{name}").CASES]


CASES = all_cases()
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
SPLITS = {"one": [10**9], "single": [1], "prime": [7], "uneven": [333, 1, 1000, 40], "large": [10_000]}


def run(stage, items):
    outputs = []
    for item in items:
        outputs += stage.push(item)
    if callable(getattr(stage, "flush", None)):
        outputs += stage.flush()
    return outputs


@each_case
def test_stage_has_something_to_say(case):
    """A law about empty outputs would prove nothing."""
    assert case.canonical(run(case.make(), case.stream(np.random.default_rng(1))))


@pytest.mark.parametrize("sizes", SPLITS.values(), ids=SPLITS.keys())
@pytest.mark.parametrize("case", [c for c in CASES if c.resplit], ids=lambda case: case.name)
def test_chunk_law(case, sizes):
    """Any split of the input gives the same output."""
    items = case.stream(np.random.default_rng(2))

    whole = case.canonical(run(case.make(), items))
    split = case.canonical(run(case.make(), case.resplit(items, sizes)))

    assert split == whole


@each_case
def test_gap_law(case):
    """After a reset the stage answers exactly as a fresh one."""
    before = case.stream(np.random.default_rng(3))
    after = case.stream(np.random.default_rng(4))
    used = case.make()
    for item in before:
        used.push(item)

    used.reset("gap")

    assert case.canonical(run(used, after)) == case.canonical(run(case.make(), after))


@each_case
@pytest.mark.parametrize("seed", range(5))
def test_no_crash_law(case, seed):
    """Impossible input gives values or nothing, never an exception, and a valid stream afterwards still works."""
    rng = np.random.default_rng(seed)
    stage = case.make()

    with np.errstate(all="ignore"):
        run(stage, case.hostile(rng))
    stage.reset("after hostile input")

    assert case.canonical(run(stage, case.stream(np.random.default_rng(5)))) == case.canonical(
        run(case.make(), case.stream(np.random.default_rng(5)))
    )


@each_case
def test_inputs_are_not_modified(case):
    """A stage never changes the message it was given."""
    items = case.stream(np.random.default_rng(6))
    copies = [item.values.copy() if hasattr(item, "values") else None for item in items]

    run(case.make(), items)

    assert all(copy is None or np.array_equal(copy, item.values) for copy, item in zip(copies, items, strict=True))
