"""Date Time, the seven bytes that stand inside many characteristics, and in 0x2A08.

===== ======= ===========================================
bytes field   values
===== ======= ===========================================
0–1   year    uint16: 1582–9999, 0 unknown
2     month   1–12, 0 unknown
3     day     1–31, 0 unknown
4–6   time    hour 0–23, minute 0–59, second 0–59
===== ======= ===========================================

It is what the device's own clock shows: no zone, and as right as it was set.
"""

from __future__ import annotations

import calendar
import struct
from dataclasses import dataclass
from datetime import datetime

from edge.acquisition.gatt.rejected import Rejected

DATE_TIME_BYTES = 7
_FIRST_YEAR, _LAST_YEAR = 1582, 9999
_LAYOUT = struct.Struct("<H5B")
_A_LEAP_YEAR = 2000


@dataclass(frozen=True, slots=True)
class DateTime:
    """A date and time of day; 0 for a year, month or day that the device does not know."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int

    @classmethod
    def at(cls, moment: datetime) -> DateTime:
        """Return what a clock shows at `moment`, to the second below."""
        return cls(moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)

    @property
    def moment(self) -> datetime | None:
        """The same without a zone; None where part of the date is unknown."""
        if 0 in (self.year, self.month, self.day):
            return None
        return datetime(self.year, self.month, self.day, self.hour, self.minute, self.second)  # noqa: DTZ001 - it has none

    @property
    def text(self) -> str | None:
        """``2025-03-14T09:30:00``; None where part of the date is unknown."""
        moment = self.moment
        return None if moment is None else moment.isoformat()


def parse_date_time(data: bytes) -> DateTime | Rejected:
    """Return the date and time in seven bytes.

    Examples
    --------
    >>> parse_date_time(bytes.fromhex("E9 07 03 0E 09 1E 00")).text
    '2025-03-14T09:30:00'
    """
    if len(data) != DATE_TIME_BYTES:
        return Rejected("length")
    when = DateTime(*_LAYOUT.unpack(data))
    return when if _is_possible(when) else Rejected("time")


def date_time_bytes(when: DateTime) -> bytes:
    """Return `when` as a device sends it."""
    return _LAYOUT.pack(when.year, when.month, when.day, when.hour, when.minute, when.second)


def _is_possible(when: DateTime) -> bool:
    if when.year and not _FIRST_YEAR <= when.year <= _LAST_YEAR:
        return False
    if when.month > 12 or when.hour > 23 or when.minute > 59 or when.second > 59:
        return False
    most_days = calendar.monthrange(when.year or _A_LEAP_YEAR, when.month)[1] if when.month else 31
    return when.day <= most_days
