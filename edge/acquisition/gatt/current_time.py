"""Current Time Service 0x1805: Current Time 0x2A2B, read to know a device's clock and written to set it.

===== =================================================================================================
bytes field
===== =================================================================================================
0–6   date and time, see `date_time`
7     day of the week: 1 Monday … 7 Sunday, 0 unknown
8     1/256 s
9     why the clock was last changed: 0 by hand · 1 external reference · 2 time zone · 3 daylight saving
===== =================================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag

from edge.acquisition.gatt.date_time import DATE_TIME_BYTES, DateTime, date_time_bytes, parse_date_time
from edge.acquisition.gatt.rejected import Rejected

CURRENT_TIME_BYTES = DATE_TIME_BYTES + 3
_SUNDAY = 7
_FRACTIONS = 256
_US_PER_S = 1_000_000


class AdjustReason(IntFlag):
    """Why a clock was changed."""

    BY_HAND = 1
    EXTERNAL_REFERENCE = 1 << 1
    TIME_ZONE = 1 << 2
    DAYLIGHT_SAVING = 1 << 3


_NO_REASON = AdjustReason(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentTime:
    """What a device's clock shows."""

    date_time: DateTime
    day_of_week: int = 0
    """1 Monday … 7 Sunday, 0 unknown."""
    fractions_256: int = 0
    adjust_reason: AdjustReason = _NO_REASON

    @classmethod
    def at(cls, moment: datetime) -> CurrentTime:
        """Return what a device is told when it is `moment`."""
        return cls(
            date_time=DateTime.at(moment),
            day_of_week=moment.isoweekday(),
            fractions_256=moment.microsecond * _FRACTIONS // _US_PER_S,
            adjust_reason=AdjustReason.EXTERNAL_REFERENCE,
        )

    @property
    def moment(self) -> datetime | None:
        """The same without a zone; None where part of the date is unknown."""
        moment = self.date_time.moment
        return None if moment is None else moment.replace(microsecond=self.fractions_256 * _US_PER_S // _FRACTIONS)


def parse_current_time(data: bytes) -> CurrentTime | Rejected:
    """Return the time in `data`.

    Examples
    --------
    >>> parse_current_time(bytes.fromhex("E9 07 03 0E 09 1E 00 05 80 00")).moment.isoformat()
    '2025-03-14T09:30:00.500000'
    """
    if len(data) != CURRENT_TIME_BYTES:
        return Rejected("length")
    date_time = parse_date_time(data[:DATE_TIME_BYTES])
    if isinstance(date_time, Rejected):
        return date_time
    day, fractions, reason = data[DATE_TIME_BYTES:]
    if day > _SUNDAY:
        return Rejected("value")
    return CurrentTime(
        date_time=date_time, day_of_week=day, fractions_256=fractions, adjust_reason=AdjustReason(reason)
    )


def current_time_bytes(time: CurrentTime) -> bytes:
    """Return `time` as it is sent, and as it is written to set a clock."""
    return date_time_bytes(time.date_time) + bytes([time.day_of_week, time.fractions_256, time.adjust_reason])
