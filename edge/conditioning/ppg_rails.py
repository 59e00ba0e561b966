"""One second of light -> the share of its samples that stand at the end of the converter's range."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.messages import Channel

Column = NDArray[np.float64]

_HELD_RATIO = 0.25
"""An extreme held exactly for a larger share of a second is a rail: between two pulses an upright wave always moves."""
_FEWEST_STEPS = 50.0
"""In a signal of fewer steps of its converter extremes are held at rest too."""


def clipped_ratio(raw: Column, channel: Channel) -> float:
    """Return the share of samples at a rail: a known one, or an extreme that is held exactly for long.

    Parameters
    ----------
    raw : numpy.ndarray
        One second, shape (n_samples,), finite.
    channel : Channel
        Its range and step, where they are known.
    """
    low, high = float(raw.min()), float(raw.max())
    margin = 0.5 * (channel.resolution or 0.0)
    n_clipped = 0
    if channel.minimum is not None and low <= channel.minimum + margin:
        n_clipped += int(np.count_nonzero(raw <= channel.minimum + margin))
    if channel.maximum is not None and high >= channel.maximum - margin:
        n_clipped += int(np.count_nonzero(raw >= channel.maximum - margin))
    if n_clipped:
        return n_clipped / len(raw)
    n_run = max(2, round(_HELD_RATIO * len(raw)))
    for extreme in (low, high):
        is_held = raw == extreme
        n_held = int(np.count_nonzero(is_held))
        if n_held >= n_run and high - low > _FEWEST_STEPS * _smallest_step(raw) and _longest_run(is_held) >= n_run:
            n_clipped += n_held
    return n_clipped / len(raw)


def _smallest_step(raw: Column) -> float:
    """Return the smallest difference between two values: the converter's step, as far as it shows."""
    steps = np.diff(np.unique(raw))
    return float(steps.min()) if len(steps) else 0.0


def _longest_run(is_set: NDArray[np.bool_]) -> int:
    """Return the length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_set, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
