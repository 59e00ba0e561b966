"""The last few seconds of several signals, addressed by sample index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
"""Shape (n_samples, n_columns)."""


class History:
    """A buffer of consecutive rows that forgets the oldest.

    Parameters
    ----------
    n_columns : int
        Columns of every row.
    n_kept : int
        Rows that are certain to be still there.
    sequence : int
        Sample index of the first row to come.
    """

    def __init__(self, n_columns: int, n_kept: int, sequence: int) -> None:
        self._rows = np.zeros((2 * n_kept, n_columns))
        self._n_kept = n_kept
        self._n_rows = 0
        self._first = sequence

    @property
    def first(self) -> int:
        """Sample index of the oldest row."""
        return self._first

    @property
    def end(self) -> int:
        """Sample index just after the newest row."""
        return self._first + self._n_rows

    def append(self, rows: Rows) -> None:
        """Add `rows`, which follow those before without a hole; at most ``n_kept`` at once."""
        if self._n_rows + len(rows) > len(self._rows):
            n_kept = min(self._n_kept, self._n_rows)
            self._rows[:n_kept] = self._rows[self._n_rows - n_kept : self._n_rows]
            self._first += self._n_rows - n_kept
            self._n_rows = n_kept
        self._rows[self._n_rows : self._n_rows + len(rows)] = rows
        self._n_rows += len(rows)

    def rows(self, first: int, end: int) -> Rows:
        """Return a view of the rows ``first <= index < end``, cut to what is there."""
        low = max(0, first - self._first)
        return self._rows[low : max(low, min(end - self._first, self._n_rows))]
