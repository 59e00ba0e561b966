"""Bluetooth health profiles: values of GATT characteristics in, the vocabulary of `edge.messages` out.

Fed by the sensor supervision with what `ble` read and was notified of; one chunk is one value of the characteristic that
``channel`` names::

    plan = profile_plan(["heart_rate"])              # how `ble` finds the sensor, what it subscribes to and reads
    decoder = ProfileDecoder(ProfileSettings(sensor="strap", profiles=("heart_rate",)))

A device with several profiles has one decoder with all of them.  Every profile also reads who the device is, its battery
and its clock; a clock that is off is set where the device allows it.
"""

from __future__ import annotations

from collections import Counter

from edge.acquisition.decoder import DecoderCounters
from edge.acquisition.gatt import profile_plans as uuids
from edge.acquisition.gatt.battery import parse_battery
from edge.acquisition.gatt.current_time import CurrentTime, current_time_bytes, parse_current_time
from edge.acquisition.gatt.date_time import DateTime, date_time_bytes, parse_date_time
from edge.acquisition.gatt.device_identity import DeviceIdentity
from edge.acquisition.gatt.glucose_readers import GlucoseReaders
from edge.acquisition.gatt.profile_link import Answer, ProfileItem, ProfileLink, ProfileSettings, Reader
from edge.acquisition.gatt.profile_plans import profile_plan
from edge.acquisition.gatt.rejected import Rejected
from edge.acquisition.gatt.vital_readers import VitalReaders
from edge.messages import Chunk, Corrupt, Outgoing

__all__ = ["ProfileDecoder", "ProfileItem", "ProfileSettings", "profile_plan"]

_BASE_TAIL = uuids.BATTERY[8:]


class ProfileDecoder:
    """Decode the characteristics of one device with one or several health profiles.

    Corrupt reasons beyond those of `rejected.Rejected`:

    ``duplicate``
        a measurement that came already over this link; one that came over an earlier link, as meters send them after
        every connection, is counted and not told;
    ``other-user``
        a measurement of another person with the same device;
    ``records-refused``, ``unasked``
        the device does not give what it has stored; it answers what was not asked.

    Parameters
    ----------
    settings : ProfileSettings
        Which profiles, and when a device's word counts.
    """

    def __init__(self, settings: ProfileSettings) -> None:
        self._settings = settings
        self._n_frames = 0
        self._n_corrupt: Counter[str] = Counter()
        self._n_unknown: Counter[int] = Counter()
        self._offset = 0
        self._clock_channel: str | None = None
        self._link = ProfileLink(settings)
        self._identity = DeviceIdentity(settings.sensor)
        self._vitals = VitalReaders(self._link)
        self._glucose = GlucoseReaders(self._link)
        self._readers = self._table()

    def push(self, item: Chunk) -> list[ProfileItem]:
        """Return what the value in `item` says."""
        offset, self._offset = self._offset, self._offset + len(item.data)
        read = self._readers.get(item.channel)
        if read is None:
            self._n_unknown[_short_number(item.channel)] += 1
            return []
        out: list[ProfileItem] = []
        if item.channel not in uuids.DEVICE_INFORMATION:
            out += self._identity.news(item.received_at_ns)
        answer = read(item.data, item.received_at_ns, item.channel)
        if isinstance(answer, Rejected):
            self._n_corrupt[answer.reason] += 1
            return [*out, Corrupt(reason=answer.reason, offset=offset, n_bytes=len(item.data))]
        self._n_frames += 1
        return out + answer

    def flush(self) -> list[ProfileItem]:
        """Return nothing: every value is whole."""
        return []

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the decoder's shape; the caller counts why
        """Begin a new link: what was sent over the last one is known if it is sent again."""
        self._offset = 0
        self._clock_channel = None
        for each in (self._link, self._identity, self._vitals, self._glucose):
            each.forget()

    @property
    def counters(self) -> DecoderCounters:
        """What was seen so far; unknown types by the short number of their characteristic, 0 where it has none."""
        return DecoderCounters(
            n_frames=self._n_frames,
            n_corrupt=dict(self._n_corrupt + self._link.n_dropped),
            n_unknown_types=dict(self._n_unknown),
        )

    def greeting(self) -> list[Outgoing]:
        """Return what to write on every connect: meters are asked for what they have stored."""
        return self._glucose.greeting()

    def farewell(self) -> list[Outgoing]:
        """Return nothing: these sensors rest by themselves when nobody is subscribed."""
        return []

    def requests(self, now_ns: int) -> list[Outgoing]:
        """Return what is due at `now_ns`: the right time for a clock that is off, or the request for records again."""
        out = self._glucose.due(now_ns)
        moment = self._link.clock.setting(now_ns)
        if moment is None:
            return out
        if self._clock_channel == uuids.DATE_TIME:
            return [Outgoing(data=date_time_bytes(DateTime.at(moment)), channel=uuids.DATE_TIME), *out]
        return [Outgoing(data=current_time_bytes(CurrentTime.at(moment)), channel=uuids.CURRENT_TIME), *out]

    def _table(self) -> dict[str, Reader]:
        """Return who reads which characteristic of the configured profiles; others are not asked for."""
        every: dict[str, Reader] = {
            **self._vitals.table(),
            **self._glucose.table(),
            uuids.BATTERY: self._battery,
            uuids.CURRENT_TIME: self._current_time,
            uuids.DATE_TIME: self._date_time,
            **dict.fromkeys(uuids.DEVICE_INFORMATION, self._device_information),
        }
        plan = profile_plan(self._settings.profiles)
        return {uuid: every[uuid] for uuid in (*plan.subscribe, *plan.read)}

    def _device_information(self, data: bytes, _at_ns: int, channel: str) -> Answer:
        return self._identity.hear(channel, data) or []

    def _battery(self, data: bytes, at_ns: int, channel: str) -> Answer:
        level_pct = parse_battery(data)
        if isinstance(level_pct, Rejected):
            return level_pct
        was_low = self._link.conditions.is_active("battery-low", channel)
        limit_pct = self._settings.battery_restored_pct - 1 if was_low else self._settings.battery_low_pct
        is_low = level_pct <= limit_pct
        detail = str(level_pct) if is_low else ""
        return [
            *self._link.conditions.note("battery-low", channel, at_ns, is_active=is_low, detail=detail),
            self._link.now("battery", at_ns).reading("battery_pct", float(level_pct)),
        ]

    def _current_time(self, data: bytes, at_ns: int, channel: str) -> Answer:
        time = parse_current_time(data)
        if isinstance(time, Rejected):
            if time.reason == "time":  # a clock that shows no time of any day is to be set as well
                self._clock_channel = channel
                self._link.clock.hear(None, at_ns)
            return time
        self._clock_channel = channel
        self._link.clock.hear(time.moment, at_ns)
        return []

    def _date_time(self, data: bytes, at_ns: int, channel: str) -> Answer:
        """Read the clock of devices that have no current time service, such as A&D's cuffs and scales."""
        time = parse_date_time(data)
        if isinstance(time, Rejected):
            return time
        if self._clock_channel != uuids.CURRENT_TIME:  # which can do the same and more
            self._clock_channel = channel
            self._link.clock.hear(time.moment, at_ns)
        return []


def _short_number(channel: str) -> int:
    """Return the 16-bit number that the Bluetooth SIG assigned to `channel`, 0 where it has none."""
    head, digits = channel[:4], channel[4:8]
    if channel[8:] != _BASE_TAIL or head != "0000" or not all(digit in "0123456789abcdef" for digit in digits):
        return 0
    return int(digits, 16)
