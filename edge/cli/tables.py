"""Text that several verbs print: columns that line up, and times in words."""

from __future__ import annotations

from collections.abc import Sequence

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86_400


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return one line for each row, each column as wide as its widest cell.

    Examples
    --------
    >>> aligned([("id", "state"), ("finger", "lost")])
    ['id      state', 'finger  lost']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def duration_words(duration_s: float) -> str:
    """Return a duration in the one unit that says enough.

    Examples
    --------
    >>> [duration_words(each) for each in (0.24, 12.4, 200, 8000, 200_000)]
    ['0.2 s', '12 s', '3 min', '2.2 h', '2.3 days']
    """
    if duration_s < 9.95:
        return f"{max(0.0, duration_s):.1f} s"
    if duration_s < 2 * _MINUTE_S:
        return f"{duration_s:.0f} s"
    if duration_s < 2 * _HOUR_S:
        return f"{duration_s / _MINUTE_S:.0f} min"
    if duration_s < 2 * _DAY_S:
        return f"{duration_s / _HOUR_S:.1f} h"
    return f"{duration_s / _DAY_S:.1f} days"
