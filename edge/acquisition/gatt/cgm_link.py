"""A continuous glucose sensor on one link: which of its records are current, and what to ask it for.

A record carries the minutes since the session began.  What the sensor sends by itself is of now; what it sends because
it was asked for stored records is as old as the session is longer, which its status tells.
"""

from __future__ import annotations

from datetime import timedelta

from edge.acquisition.gatt.cgm import (
    CgmFeatures,
    CgmRecord,
    CgmSessionStart,
    CgmState,
    parse_cgm_features,
    parse_cgm_session_start,
    parse_cgm_state,
)
from edge.acquisition.gatt.record_access import REPORT_LAST, report_from
from edge.acquisition.gatt.rejected import Rejected

_NS_PER_S = 1_000_000_000
_S_PER_MIN = 60


class CgmLink:
    """What one link has told of the session."""

    def __init__(self) -> None:
        self._latest_min: int | None = None  # of all links
        self._features: CgmFeatures | None = None
        self._session: CgmSessionStart | None = None
        self._now: tuple[int, int] | None = None  # minutes of the session, and when that was here

    def request(self) -> bytes:
        """Return which stored records to ask for: the last, so that there is a value; later what was missed."""
        return REPORT_LAST if self._latest_min is None else report_from(self._latest_min + 1)

    def hear_features(self, data: bytes) -> Rejected | None:
        """Take in what the sensor can do; return why that was refused."""
        features = parse_cgm_features(data)
        if isinstance(features, Rejected):
            return features
        self._features = features
        return None

    def hear_session_start(self, data: bytes) -> Rejected | None:
        """Take in when the session began; return why that was refused."""
        start = parse_cgm_session_start(data)
        if isinstance(start, Rejected):
            return start
        self._session = start
        return None

    def hear_state(self, data: bytes, at_ns: int) -> CgmState | Rejected:
        """Return how far the session is, and what its sensor says of itself."""
        state = parse_cgm_state(data)
        if not isinstance(state, Rejected):
            self._now = (state.offset_min, at_ns)
        return state

    def refusal(self, record: CgmRecord) -> Rejected | None:
        """Return why `record` is not to be believed: it lacks the check sum that this sensor always sends."""
        is_promised = self._features is not None and bool(self._features & CgmFeatures.CRC)
        return Rejected("crc") if is_promised and not record.has_crc else None

    def key(self, record: CgmRecord) -> tuple[object, ...]:
        """Return what no other record has."""
        return ("cgm", self._session, record)

    def device_time(self, record: CgmRecord) -> str | None:
        """Return what the sensor's clock showed at `record`; None where the beginning of the session is not known."""
        began = None if self._session is None else self._session.started_at.moment
        if began is None:
            return None
        try:
            return (began + timedelta(minutes=record.offset_min)).isoformat()
        except OverflowError:  # near the year 9999
            return None

    def age_s(self, record: CgmRecord, at_ns: int, *, is_asked: bool) -> float | None:
        """Return how old `record` is; None where that is not known.

        Parameters
        ----------
        record : CgmRecord
            Came at `at_ns`.
        is_asked : bool
            Whether it may be a stored one.
        """
        # The latest, not the largest: a new session begins at 0 again.
        self._latest_min = record.offset_min
        if not is_asked:
            self._now = (record.offset_min, at_ns)
            return 0.0
        if self._now is None:
            return None
        now_min, then_ns = self._now
        return max(0.0, (now_min - record.offset_min) * _S_PER_MIN + (at_ns - then_ns) / _NS_PER_S)

    def forget(self) -> None:
        """Know nothing but how far the records go: the link ended."""
        self._features = None
        self._session = None
        self._now = None
