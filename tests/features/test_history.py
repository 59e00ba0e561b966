"""The buffer behind the detector."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.features.history import History


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(-(10**9), 10**9))
def test_the_last_rows_are_always_there(sizes, sequence):
    """Whatever was appended, the newest rows that were promised are found under their index, and nothing else."""
    history = History(1, 20, sequence)
    written = np.empty((0, 1))
    for size in sizes:
        rows = np.arange(len(written), len(written) + size, dtype=float)[:, None]
        history.append(rows)
        written = np.concatenate([written, rows])

        assert history.end == sequence + len(written)
        assert np.array_equal(history.rows(history.end - 20, history.end), written[-20:])
        assert np.array_equal(history.rows(history.end - 5, history.end + 5), written[-5:])
        assert len(history.rows(sequence - 100, sequence)) == 0
