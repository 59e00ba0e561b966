"""Golden vectors: inputs with the answers that the model must give here too."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.inference.card_inputs import FeaturesInput, SamplesInput, TensorInput
from edge.inference.quantization import INT8_MAX, INT8_MIN

GOLDEN_TOLERANCE_LSB = 8
"""Largest difference between a golden output and ours, in steps of the output.  Default: kernels of different runtimes
differed by at most 6 over 2400 comparisons."""

_LARGEST = 1e300
_SPACES = frozenset(" \t\n\r")
"""White space of JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """One input and what the model answered to it where it was made."""

    inputs: Mapping[str, NDArray[np.float64]]
    """By name of the input, each of the shape of one example; as measured, before normalising and scaling."""
    output: NDArray[np.int8]
    """The int8 output, shape (n_labels,)."""


def golden_json(cases: Sequence[GoldenCase]) -> bytes:
    """Return the contents of ``golden.json``; NaN, an unknown feature, is null."""
    rows = [
        {
            "inputs": {name: _without_nan(values.tolist()) for name, values in case.inputs.items()},
            "output": case.output.tolist(),
        }
        for case in cases
    ]
    return b"[\n" + b",\n".join(json.dumps(row, separators=(",", ":")).encode() for row in rows) + b"\n]\n"


def parse_golden(
    content: bytes, inputs: Sequence[SamplesInput | FeaturesInput | TensorInput], n_labels: int
) -> tuple[GoldenCase, ...]:
    """Return the cases in ``golden.json``.

    Raises
    ------
    ValueError
        If there is none, or one does not fit the card.
    """
    cases = tuple(_case(number, row, inputs, n_labels) for number, row in enumerate(_rows(content.decode())))
    if not cases:
        raise ValueError("expected a list of at least one golden case")
    return cases


def _rows(text: str) -> Iterator[object]:
    """Yield the elements of a JSON list, parsed one by one: as Python objects all of them take ten times their text."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    at = _behind(text, 0, "[")
    is_end = text.startswith("]", at)
    while not is_end:
        row, at = decoder.raw_decode(text, at)
        yield row
        at = _behind(text, at)
        is_end = text.startswith("]", at)
        at = at if is_end else _behind(text, at, ",")
    if _behind(text, at, "]") != len(text):
        raise ValueError("expected nothing behind the list of golden cases")


def _behind(text: str, at: int, expected: str = "") -> int:
    """Return where the next value begins, behind what is expected and the white space after it."""
    if not text.startswith(expected, at):
        raise ValueError(f"expected a list of golden cases with {expected!r} at {at}, got {text[at : at + 10]!r}")
    at += len(expected)
    while text[at : at + 1] in _SPACES:
        at += 1
    return at


def _case(
    number: int, row: object, inputs: Sequence[SamplesInput | FeaturesInput | TensorInput], n_labels: int
) -> GoldenCase:
    if not isinstance(row, dict) or set(row) != {"inputs", "output"} or not isinstance(row["inputs"], dict):
        raise ValueError(f"case {number}: expected inputs and output")
    names = {each.name for each in inputs}
    if set(row["inputs"]) != names:
        raise ValueError(f"case {number}: expected the inputs {sorted(names)}, got {sorted(row['inputs'])}")
    found = {}
    for each in inputs:
        given = row["inputs"][each.name]
        may_be_unknown = isinstance(each, FeaturesInput)
        values = np.array(_with_nan(given), dtype=object)
        if values.shape != each.shape or not all(_is_number(value) for value in values.flat):
            raise ValueError(f"case {number}: {each.name}: expected numbers of shape {each.shape}, got {values.shape}")
        found[each.name] = values.astype(np.float64)
        if not may_be_unknown and not np.isfinite(found[each.name]).all():
            raise ValueError(f"case {number}: {each.name}: expected numbers, got an unknown one")
    output = row["output"]
    if not isinstance(output, list) or len(output) != n_labels or not all(_is_int8(value) for value in output):
        raise ValueError(f"case {number}: expected {n_labels} int8 outputs, got {output!r:.80}")
    return GoldenCase(inputs=found, output=np.array(output, dtype=np.int8))


def _is_number(value: object) -> bool:
    """Return whether a value is a number that float64 holds with room to spare, or unknown."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) < _LARGEST or (isinstance(value, float) and math.isnan(value))


def _is_int8(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and INT8_MIN <= value <= INT8_MAX


def _refuse_constant(name: str) -> float:
    raise ValueError(f"expected numbers, got {name}")


def _without_nan(values: object) -> object:
    if isinstance(values, list):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and math.isnan(values) else values


def _with_nan(values: object) -> object:
    if isinstance(values, list):
        return [_with_nan(value) for value in values]
    return math.nan if values is None else values
