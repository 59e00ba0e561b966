"""A device's own clock against ours: how old its time stamps are, and when it must be set.

A cuff or a meter stamps what it measured with a clock that somebody set once.  That the clock is wrong does not matter
as long as the device also says what it shows now: the age of a record is the difference of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

_NS_PER_S = 1_000_000_000


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
        self.is_wrong = False
        """Whether it is to be set."""

    def hear(self, moment: datetime | None, at_ns: int) -> None:
        """Take in that the device's clock shows `moment`; None where it says that it does not know."""
        self._is_heard = True
        if moment is not None:
            self._shown = [*self._shown[-1:], (moment, at_ns)]
        here = self._now()
        if here is not None:
            self.is_wrong = moment is None or abs((here - moment).total_seconds()) > self._tolerance_s

    def setting(self, at_ns: int) -> datetime | None:
        """Return the time to set the clock to; None when there is nothing to do.

        Once a link: a clock that stays wrong nevertheless cannot be set.
        """
        if not self.is_wrong or self._is_set:
            return None
        here = self._now()
        if here is None:
            return None
        self._is_set = True
        # Records may be stamped by the clock as it was before or as it is after: both are known from now on.
        self._shown = [*self._shown[-1:], (here, at_ns)]
        return here

    def age_s(self, stamp: datetime, at_ns: int) -> float | None:
        """Return how old a record is that arrived at `at_ns` stamped `stamp`; None where nothing can be said.

        A negative age is a stamp in the future, of a clock that was set back since.
        """
        ages = [(shown - stamp).total_seconds() + (at_ns - then_ns) / _NS_PER_S for shown, then_ns in self._shown]
        if not self._is_heard:
            # The last resort: a clock that somebody set by hand is right to the hour at best.
            here = self._now()
            ages = [] if here is None else [(here - stamp).total_seconds()]
        possible = [max(age, 0.0) for age in ages if age >= -self._tolerance_s]
        return min(possible or ages, default=None)

    def forget(self) -> None:
        """Know nothing: the link ended."""
        self._shown = []
        self._is_heard = self._is_set = self.is_wrong = False

    def _now(self) -> datetime | None:
        here = self._wall_time() if self._wall_time is not None else None
        return None if here is None else here.replace(tzinfo=None)
