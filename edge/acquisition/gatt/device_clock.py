"""A device's own clock against ours: how old its time stamps are, and when it must be set.

A cuff or a meter stamps what it measured with a clock that somebody set once.  That the clock is wrong does not matter
as long as the device also says what it shows now: the age of a record is the difference of the two.  Where it does not
say, a record is at least as old as the newest one on the link is newer, and history when our own clock puts it well
into the past month.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

_NS_PER_S = 1_000_000_000
_HAND_SET_S = 2 * 3600.0
"""A clock that nobody but a person sets is right to this: it misses the change to summer time."""
_UNSET_S = 31 * 86400.0
"""A clock that is further off was never set, and its stamps say nothing."""


class DeviceClock:
    """The clock of one device on one link.

    Parameters
    ----------
    wall_time : callable or None
        Gives the local time here, None where it is not known for certain; None to ask nobody.
    tolerance_s : float
        A clock that is off by more is to be set; a time stamp no further than this in the future is one of now.
    """

    def __init__(self, wall_time: Callable[[], datetime | None] | None, tolerance_s: float) -> None:
        self._wall_time = wall_time
        self._tolerance_s = tolerance_s
        self._shown: list[tuple[datetime, int]] = []  # what it showed, and when that was here
        self._is_heard = False
        self._is_set = False
        self._is_wrong = False
        self._newest: tuple[datetime, int] | None = None  # stamp of the newest record, and when it came
        self._previous: tuple[datetime, int] | None = None  # of the last record

    def hear(self, moment: datetime | None, at_ns: int) -> None:
        """Take in that the device's clock shows `moment`; None where it says that it does not know."""
        self._is_heard = True
        if moment is not None:
            self._shown = [*self._shown[-1:], (moment, at_ns)]
        here = self._now()
        if here is not None:
            self._is_wrong = moment is None or abs((here - moment).total_seconds()) > self._tolerance_s

    def setting(self, at_ns: int) -> datetime | None:
        """Return the time to set the clock to; None when there is nothing to do.

        Once a link: a clock that stays wrong nevertheless cannot be set.
        """
        if not self._is_wrong or self._is_set:
            return None
        here = self._now()
        if here is None:
            return None
        self._is_set = True
        # Records may be stamped by the clock as it was before or as it is after: both are known from now on.
        self._shown = [*self._shown[-1:], (here, at_ns)]
        return here

    def hear_stamp(self, stamp: datetime, at_ns: int) -> float | None:
        """Return how old a record is that arrived at `at_ns` stamped `stamp`; None where nothing can be said.

        A negative age is a stamp in the future, of a clock that was set back since.
        """
        behind_s = self._behind_s(stamp, at_ns)
        ages = [(shown - stamp).total_seconds() + (at_ns - then_ns) / _NS_PER_S for shown, then_ns in self._shown]
        if ages:
            possible = [max(age, 0.0) for age in ages if age >= -self._tolerance_s]
            return min(possible or ages)
        here_s = self._age_here_s(stamp)
        if here_s is not None and _HAND_SET_S < here_s <= _UNSET_S:
            return here_s
        if behind_s > self._tolerance_s:
            return behind_s
        return None if here_s is None or abs(here_s) > _HAND_SET_S else 0.0

    def _behind_s(self, stamp: datetime, at_ns: int) -> float:
        """Return how much older a record is at least, by the newest stamp on this link."""
        newest, previous = self._newest, self._previous
        self._previous = (stamp, at_ns)
        behind_s = 0.0 if newest is None else (newest[0] - stamp).total_seconds() + (at_ns - newest[1]) / _NS_PER_S
        if previous is not None and stamp > previous[0]:
            # Two in step with our clock are two of now, though an earlier one was ahead: the clock was set back.
            step_s = (stamp - previous[0]).total_seconds() - (at_ns - previous[1]) / _NS_PER_S
            behind_s = 0.0 if abs(step_s) <= self._tolerance_s else behind_s
        if behind_s <= 0.0:
            self._newest = (stamp, at_ns)
        return max(behind_s, 0.0)

    def _age_here_s(self, stamp: datetime) -> float | None:
        """Return the age by our own clock, for a device that says nothing of its own."""
        here = None if self._is_heard else self._now()
        return None if here is None else (here - stamp).total_seconds()

    def forget(self) -> None:
        """Know nothing: the link ended."""
        self._shown = []
        self._newest = self._previous = None
        self._is_heard = self._is_set = self._is_wrong = False

    def _now(self) -> datetime | None:
        here = self._wall_time() if self._wall_time is not None else None
        return None if here is None else here.replace(tzinfo=None)
