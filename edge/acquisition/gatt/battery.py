"""Battery Service 0x180F: Battery Level 0x2A19, one byte, 0–100 %."""

from __future__ import annotations

from edge.acquisition.gatt.rejected import Rejected

_FULL_PCT = 100


def parse_battery(data: bytes) -> int | Rejected:
    """Return the level in `data`, in percent.

    Examples
    --------
    >>> parse_battery(bytes([100])), parse_battery(bytes([101]))
    (100, Rejected(reason='value'))
    """
    if len(data) != 1:
        return Rejected("length")
    return data[0] if data[0] <= _FULL_PCT else Rejected("value")


def battery_bytes(level_pct: int) -> bytes:
    """Return `level_pct` as a device sends it."""
    return bytes([level_pct])
