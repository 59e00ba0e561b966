"""RR intervals -> the heart rate as a cardiac monitor shows it.

The averaging is the one that several makers of bedside monitors disclose: the mean of the last twelve RR intervals
without the longest and the shortest; the mean of the last four once the last three all exceed 1200 ms.
"""

from __future__ import annotations

from collections.abc import Sequence

_N_MEAN = 12
_N_SLOW = 4
_SLOW_MS = 1200.0
_FEWEST = 3
_FEWEST_TRIMMED = 5
# The interval that is running shows in the rate once it is this many times the mean: a sinus arrhythmia does not.
_PAUSE_RATIO = 2.0


def mean_interval_ms(rr_ms: Sequence[float]) -> float | None:
    """Return the RR interval that stands for the rate now; None with fewer than three."""
    if len(rr_ms) < _FEWEST:
        return None
    if min(rr_ms[-3:]) > _SLOW_MS:
        recent = rr_ms[-_N_SLOW:]
        return sum(recent) / len(recent)
    recent = rr_ms[-_N_MEAN:]
    if len(recent) < _FEWEST_TRIMMED:
        return sum(recent) / len(recent)
    return (sum(recent) - max(recent) - min(recent)) / (len(recent) - 2)


def heart_rate_bpm(rr_ms: Sequence[float], running_ms: float) -> float | None:
    """Return the heart rate in beats a minute; None with fewer than three intervals.

    Parameters
    ----------
    rr_ms : sequence of float
        RR intervals, oldest first.
    running_ms : float
        How long the present interval has certainly lasted; in a pause the rate falls with it.
    """
    mean_ms = mean_interval_ms(rr_ms)
    if mean_ms is None:
        return None
    if running_ms > _PAUSE_RATIO * mean_ms:
        mean_ms = running_ms
    return 60_000.0 / mean_ms
