"""The arithmetic of the formats, against their description."""

from __future__ import annotations

import doctest

import pytest

from edge.acquisition import wfdb_format
from edge.acquisition.wfdb_format import converter_range, frames_held


@pytest.mark.parametrize(
    ("fmt", "n_bytes", "per_frame", "n_frames"),
    [
        ("16", 20, 1, 10), ("16", 19, 1, 9), ("16", 19, 2, 4), ("212", 3, 1, 2), ("212", 2, 1, 1), ("212", 1, 1, 0),
        ("310", 8, 3, 2), ("8", 5, 1, 5), ("24", 8, 1, 2), ("16", -4, 1, 0), ("516", 99, 1, None),
    ],
)  # fmt: skip
def test_frames_are_counted_whole(fmt, n_bytes, per_frame, n_frames):
    """A frame that is cut off does not count; a header longer than the file leaves none."""
    assert frames_held(fmt, n_bytes, per_frame) == n_frames


def test_negative_gain_turns_the_range_round():
    """An inverted lead still has its smallest value first."""
    assert converter_range(12, 0, -200.0, 0) == (-2047 / 200, 2048 / 200)


def test_examples_in_the_docstrings_hold():
    """The doctests pass."""
    assert doctest.testmod(wfdb_format).failed == 0
