"""When to ask a device for its stored records, and whether what comes was asked for."""

from __future__ import annotations

from edge.acquisition.gatt.record_access import REPORT, RecordResponse, RecordResult
from edge.acquisition.gatt.rejected import Rejected

_NS_PER_S = 1_000_000_000
_ANSWER_NS = 30 * _NS_PER_S
"""A procedure without a record or an answer for this long has failed (Glucose Profile 1.0.1, section 5.6)."""
_MOST_REQUESTS = 3
_FINE = (RecordResult.SUCCESS, RecordResult.NO_RECORDS)


class RecordRequests:
    """The one request for records that is made on every link, again where it failed."""

    def __init__(self) -> None:
        self._n_asked = 0
        self._is_running = False
        self._heard_at_ns: int | None = None

    def begin(self) -> None:
        """Count the request that is written on connecting."""
        self._n_asked = 1
        self._is_running = True
        self._heard_at_ns = None

    def hear_record(self, at_ns: int) -> bool:
        """Return whether a record that came at `at_ns` answers the request; the wait for more begins there."""
        is_late = self._heard_at_ns is not None and at_ns - self._heard_at_ns > _ANSWER_NS
        if not self._is_running or is_late:
            return False
        self._heard_at_ns = at_ns
        return True

    def hear_response(self, response: RecordResponse, at_ns: int) -> Rejected | None:
        """Take in how the request went; return why no records will come, where the device will not give them."""
        if response.request != REPORT:
            return Rejected("unasked")
        self._heard_at_ns = at_ns
        if response.result is RecordResult.NOT_COMPLETED and self._n_asked < _MOST_REQUESTS:
            return None  # still running: asked again when the time is over
        self._is_running = False
        return None if response.result in _FINE else Rejected("records-refused")

    def is_due(self, now_ns: int) -> bool:
        """Return whether to ask again at `now_ns`, and count that as done."""
        if not self._is_running:
            return False
        if self._heard_at_ns is None:
            self._heard_at_ns = now_ns
        if now_ns - self._heard_at_ns < _ANSWER_NS:
            return False
        self._heard_at_ns = now_ns
        if self._n_asked >= _MOST_REQUESTS:
            self._is_running = False
            return False
        self._n_asked += 1
        return True

    def forget(self) -> None:
        """Nothing was asked: the link ended."""
        self._n_asked = 0
        self._is_running = False
        self._heard_at_ns = None
