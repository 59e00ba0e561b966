"""CSV files -> examples: numbers with a label a row.

Columns are named by the header.  ``label`` is the class; ``patient`` keeps the rows of one person together (each row
is a person of its own where it is missing); ``weight`` is how much a row counts.  All other columns are numbers; an
empty cell or ``nan`` is unknown.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from converter.examples import UNLABELLED, Examples
from edge.errors import EdgeError

LABEL, PATIENT, WEIGHT = "label", "patient", "weight"
INPUT = "features"
"""Name of the input."""


def table_examples(path: Path, *, classes: Sequence[str] = (), columns: Sequence[str] = ()) -> Examples:
    """Return the rows of a table; the input is ``features``.

    Parameters
    ----------
    path : Path
        CSV file with a header line.
    classes : sequence of str
        In their order; those that occur, sorted, by default.  A row with an empty or another label is unlabelled.
    columns : sequence of str
        Columns of numbers, in their order; all but label, patient and weight by default.

    Raises
    ------
    EdgeError
        If the file cannot be read, a column is missing or a cell is no number; the line is named.
    """
    rows = _rows(path)
    names = tuple(columns) or table_columns(path)
    labels = [row[LABEL].strip() for row in rows]
    found = tuple(classes) or tuple(sorted({label for label in labels if label}))
    values = [[_number(path, line, name, row.get(name)) for name in names] for line, row in enumerate(rows, start=2)]
    patients = [(row.get(PATIENT) or "").strip() or f"row {line}" for line, row in enumerate(rows, start=2)]
    weights = [_number(path, line, WEIGHT, row[WEIGHT]) if row.get(WEIGHT) else 1.0 for line, row in enumerate(rows, 2)]
    return Examples(
        inputs={INPUT: np.array(values, dtype=np.float32).reshape(len(rows), len(names))},
        labels=np.array([found.index(label) if label in found else UNLABELLED for label in labels], dtype=np.int64),
        classes=found,
        groups=np.array(patients),
        weights=np.array(weights, dtype=np.float32),
    )


def table_columns(path: Path) -> tuple[str, ...]:
    """Return the columns of numbers of a table."""
    return tuple(name for name in _rows(path)[0] if name not in {LABEL, PATIENT, WEIGHT})


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [{name: cell or "" for name, cell in row.items() if name} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EdgeError(f"{path}: cannot be read: {error}") from error
    if not rows or LABEL not in rows[0]:
        raise EdgeError(
            f"{path}: expected rows and a column {LABEL!r} in the header", hint="name,…,label in the first line"
        )
    return rows


def _number(path: Path, line: int, name: str, cell: str | None) -> float:
    if cell is None:
        raise EdgeError(f"{path}:{line}: has no column {name!r}")
    text = cell.strip()
    if not text:
        return float("nan")
    try:
        return float(text)
    except ValueError as error:
        raise EdgeError(f"{path}:{line}: {name}: expected a number, got {text!r}") from error
