"""Which records a device has sent before.

A meter that is asked for all it has stored sends the same records after every connection, and a device that got no
confirmation sends its last one again.  A record is known by what no two share: its number and its time stamp.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum


class Repeat(Enum):
    """Whether a record was seen."""

    NEW = "new"
    SAME_LINK = "same-link"
    """Sent twice over one link."""
    EARLIER_LINK = "earlier-link"
    """Sent again after a connection, as asked."""


class Repeats:
    """The latest records of one sensor, over all its links.

    Parameters
    ----------
    n_kept : int
        Records remembered; the memory of a glucose meter holds about 500 to 2000.
    """

    def __init__(self, n_kept: int = 4096) -> None:
        self._n_kept = n_kept
        self._links: dict[Hashable, int] = {}  # record -> link over which it came last, oldest first
        self._link = 0

    def hear(self, record: Hashable) -> Repeat:
        """Remember `record` and return whether it is new."""
        link = self._links.pop(record, None)
        self._links[record] = self._link
        if len(self._links) > self._n_kept:
            del self._links[next(iter(self._links))]
        if link is None:
            return Repeat.NEW
        return Repeat.SAME_LINK if link == self._link else Repeat.EARLIER_LINK

    def next_link(self) -> None:
        """Count the records that come from now on to another link."""
        self._link += 1
