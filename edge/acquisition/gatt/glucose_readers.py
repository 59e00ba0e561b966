"""The profiles of stored records: glucose meters and continuous glucose sensors, and asking them for what they have."""

from __future__ import annotations

from collections.abc import Mapping

from edge.acquisition.gatt import profile_plans as uuids
from edge.acquisition.gatt.cgm import CgmRecord, CgmStatus, parse_cgm
from edge.acquisition.gatt.cgm_link import CgmLink
from edge.acquisition.gatt.glucose import GlucoseStatus, parse_glucose
from edge.acquisition.gatt.profile_link import Answer, ProfileItem, ProfileLink, Reader
from edge.acquisition.gatt.record_access import REPORT_ALL, parse_record_response
from edge.acquisition.gatt.record_items import CGM_ERROR, METER_ERROR, cgm_items, glucose_items
from edge.acquisition.gatt.record_requests import RecordRequests
from edge.acquisition.gatt.rejected import Rejected
from edge.messages import Outgoing, SensorStatus


class GlucoseReaders:
    """Readers of these profiles' characteristics, and what is asked of them.

    Parameters
    ----------
    link : ProfileLink
        What is known of the device.
    """

    def __init__(self, link: ProfileLink) -> None:
        self._link = link
        self._requests = RecordRequests()
        self._cgm = CgmLink()

    def table(self) -> Mapping[str, Reader]:
        """Return who reads which characteristic."""
        return {
            uuids.GLUCOSE: self._glucose,
            uuids.GLUCOSE_CONTEXT: _context,
            uuids.CGM: self._records,
            uuids.CGM_FEATURES: lambda data, _at_ns, _channel: self._cgm.hear_features(data) or [],
            uuids.CGM_SESSION_START: lambda data, _at_ns, _channel: self._cgm.hear_session_start(data) or [],
            uuids.CGM_STATUS: self._state,
            uuids.RECORD_ACCESS: self._response,
        }

    def greeting(self) -> list[Outgoing]:
        """Return the request for stored records, which begins every link."""
        request = self._request()
        if request:
            self._requests.begin()
        return request

    def due(self, now_ns: int) -> list[Outgoing]:
        """Return the request again, where it went unanswered."""
        return self._request() if self._requests.is_due(now_ns) else []

    def forget(self) -> None:
        """Begin a new link."""
        self._requests.forget()
        self._cgm.forget()

    def _request(self) -> list[Outgoing]:
        profiles = self._link.settings.profiles
        if "cgm" in profiles:
            return [Outgoing(data=self._cgm.request(), channel=uuids.RECORD_ACCESS)]
        return [Outgoing(data=REPORT_ALL, channel=uuids.RECORD_ACCESS)] if "glucose" in profiles else []

    def _glucose(self, data: bytes, at_ns: int, channel: str) -> Answer:
        record = parse_glucose(data)
        if isinstance(record, Rejected):
            return record
        is_asked = self._requests.hear_record(at_ns)
        repeat = self._link.repeat((channel, record.sequence, record.base_time))
        if repeat is not None:
            return repeat
        taken = self._link.taken("spot", record.shown_at, at_ns, is_asked=is_asked)
        out: list[ProfileItem] = []
        if not taken.is_stored:
            status = record.status or GlucoseStatus(0)
            out += self._conditions(
                channel, at_ns, is_broken=bool(status & METER_ERROR), is_low=bool(status & GlucoseStatus.BATTERY_LOW)
            )
        return [*out, *glucose_items(record, taken)]

    def _records(self, data: bytes, at_ns: int, channel: str) -> Answer:
        records = parse_cgm(data)
        if isinstance(records, Rejected):
            return records
        refused = next(filter(None, map(self._cgm.refusal, records)), None)
        if refused is not None:
            return refused
        is_asked = self._requests.hear_record(at_ns)
        out: list[ProfileItem] = []
        n_repeated = 0
        for record in records:
            answer = self._record(record, at_ns, channel, is_asked=is_asked)
            if isinstance(answer, Rejected):
                n_repeated += 1
            else:
                out += answer
        return Rejected("duplicate") if n_repeated == len(records) else out

    def _record(self, record: CgmRecord, at_ns: int, channel: str, *, is_asked: bool) -> Answer:
        repeat = self._link.repeat(self._cgm.key(record))
        if repeat is not None:
            return repeat
        age_s = self._cgm.age_s(record, at_ns, is_asked=is_asked)
        taken = self._link.aged("cgm", age_s, at_ns, self._cgm.device_time(record), is_asked=is_asked)
        state = [] if taken.is_stored else self._cgm_conditions(record.status, channel, at_ns)
        return [*state, *cgm_items(record, taken)]

    def _state(self, data: bytes, at_ns: int, channel: str) -> Answer:
        state = self._cgm.hear_state(data, at_ns)
        return state if isinstance(state, Rejected) else [*self._cgm_conditions(state.status, channel, at_ns)]

    def _cgm_conditions(self, status: CgmStatus, channel: str, at_ns: int) -> list[SensorStatus]:
        # Status and records speak of one thing: the later word counts, whichever it is.
        source = uuids.CGM if channel == uuids.CGM_STATUS else channel
        is_stopped = bool(status & CgmStatus.SESSION_STOPPED)
        out = self._conditions(
            source, at_ns, is_broken=bool(status & CGM_ERROR), is_low=bool(status & CgmStatus.BATTERY_LOW)
        )
        return out + self._link.conditions.note("session-stopped", source, at_ns, is_active=is_stopped)

    def _conditions(self, source: str, at_ns: int, *, is_broken: bool, is_low: bool) -> list[SensorStatus]:
        conditions = self._link.conditions
        return [
            *conditions.note("device-error", source, at_ns, is_active=is_broken),
            *conditions.note("battery-low", source, at_ns, is_active=is_low),
        ]

    def _response(self, data: bytes, at_ns: int, _channel: str) -> Answer:
        response = parse_record_response(data)
        if isinstance(response, Rejected):
            return response
        return self._requests.hear_response(response, at_ns) or []


def _context(_data: bytes, _at_ns: int, _channel: str) -> Answer:
    """Read nothing: meals and medication are no measurements."""
    return []
