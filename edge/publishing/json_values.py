"""Values of the runtime -> values that JSON knows: no NaN, no nanoseconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from edge.messages import Json

_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


def wall_time(wall_ns: int) -> str:
    """Return nanoseconds since 1970 as RFC 3339 in UTC with milliseconds.

    Examples
    --------
    >>> wall_time(1_500_000_000)
    '1970-01-01T00:00:01.500Z'
    """
    at = _EPOCH_START + timedelta(milliseconds=wall_ns // 1_000_000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def finite(value: float | None) -> float | None:
    """Return `value`, or None for NaN and infinities, which JSON does not know."""
    return value if value is not None and math.isfinite(value) else None


def clean(value: Any) -> Json:
    """Return `value` with every number that is not finite replaced by None and every other type by its text."""
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return finite(value)
    return str(value)
