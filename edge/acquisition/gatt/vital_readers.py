"""The profiles of one value at a time: heart rate, oximeter, thermometer, cuff and scale."""

from __future__ import annotations

from collections.abc import Mapping

from edge.acquisition.gatt import profile_plans as uuids
from edge.acquisition.gatt.blood_pressure import UNKNOWN_USER, parse_blood_pressure, parse_pressure_features
from edge.acquisition.gatt.body_sensor_location import parse_body_sensor_location
from edge.acquisition.gatt.date_time import DateTime
from edge.acquisition.gatt.heart_rate import parse_heart_rate
from edge.acquisition.gatt.profile_link import Answer, ProfileItem, ProfileLink, Reader
from edge.acquisition.gatt.pulse_oximeter import (
    ContinuousOximetry,
    DeviceStatus,
    MeasurementStatus,
    SpotOximetry,
    parse_continuous_oximetry,
    parse_oximeter_features,
    parse_spot_oximetry,
)
from edge.acquisition.gatt.record_items import blood_pressure_items, weight_items
from edge.acquisition.gatt.rejected import Rejected
from edge.acquisition.gatt.thermometer import parse_temperature
from edge.acquisition.gatt.vital_items import (
    DEVICE_ERROR,
    NOT_REAL,
    SENSOR_OFF,
    heart_rate_items,
    oximetry_items,
    temperature_items,
)
from edge.acquisition.gatt.weight import parse_weight

_PATCH_PERIOD_NS = 60_000_000_000
"""Two temperatures within this time come from a thermometer that is worn, not from one that is held to the forehead."""


class VitalReaders:
    """Readers of these profiles' characteristics.

    Parameters
    ----------
    link : ProfileLink
        What is known of the device.
    """

    def __init__(self, link: ProfileLink) -> None:
        self._link = link
        self._place = ""
        self._temperature_at_ns: int | None = None
        self._heard: set[str] = set()  # characteristics that gave a whole measurement on this link

    def table(self) -> Mapping[str, Reader]:
        """Return who reads which characteristic."""
        return {
            uuids.HEART_RATE: self._heart_rate,
            uuids.BODY_SENSOR_LOCATION: self._body_sensor_location,
            uuids.OXIMETRY_CONTINUOUS: self._continuous_oximetry,
            uuids.OXIMETRY_SPOT: self._spot_oximetry,
            uuids.OXIMETER_FEATURES: _oximeter_features,
            uuids.TEMPERATURE: self._temperature,
            uuids.INTERMEDIATE_TEMPERATURE: self._temperature,
            uuids.BLOOD_PRESSURE: self._blood_pressure,
            uuids.INTERMEDIATE_PRESSURE: self._blood_pressure,
            uuids.PRESSURE_FEATURES: _pressure_features,
            uuids.WEIGHT: self._weight,
        }

    def forget(self) -> None:
        """Begin a new link."""
        self._place = ""
        self._temperature_at_ns = None
        self._heard = set()

    def _heart_rate(self, data: bytes, at_ns: int, channel: str) -> Answer:
        measured = parse_heart_rate(data)
        if isinstance(measured, Rejected):
            return measured
        link = self._link
        if link.is_again(channel, data, at_ns, link.settings.rr_repeat_s) and measured.rr_1024:
            return Rejected("duplicate")
        out: list[ProfileItem] = []
        if measured.is_contact is not None:
            detail = "no skin contact" + (f" at the {self._place}" if self._place else "")
            is_off = not measured.is_contact
            out += link.conditions.note("sensor-off", channel, at_ns, is_active=is_off, detail=detail if is_off else "")
        return [*out, *heart_rate_items(measured, link.now("heart_rate", at_ns))]

    def _body_sensor_location(self, data: bytes, _at_ns: int, _channel: str) -> Answer:
        place = parse_body_sensor_location(data)
        if isinstance(place, Rejected):
            return place
        self._place = place.text if place else ""
        return []

    def _continuous_oximetry(self, data: bytes, at_ns: int, channel: str) -> Answer:
        measured = parse_continuous_oximetry(data)
        if isinstance(measured, Rejected):
            return measured
        if (measured.measurement_status or MeasurementStatus(0)) & MeasurementStatus.FROM_STORAGE:
            taken = self._link.aged("continuous_oximetry", None, at_ns, None, is_asked=True)
            return [*oximetry_items(measured, taken)]
        self._heard.add(channel)
        taken = self._link.now("continuous_oximetry", at_ns)
        return [*self._oximeter_state(measured, at_ns, channel), *oximetry_items(measured, taken)]

    def _spot_oximetry(self, data: bytes, at_ns: int, channel: str) -> Answer:
        measured = parse_spot_oximetry(data)
        if isinstance(measured, Rejected):
            return measured
        repeat = self._repeat(data, channel, measured.taken_at, at_ns)
        if repeat is not None:
            return repeat
        is_stored = bool((measured.measurement_status or MeasurementStatus(0)) & MeasurementStatus.FROM_STORAGE)
        stamp = measured.taken_at.moment if measured.taken_at is not None and measured.is_clock_set else None
        # Beside continuous values a spot check must not outlive them: the probe may be off in a second.
        kind = "continuous_oximetry" if uuids.OXIMETRY_CONTINUOUS in self._heard else "spot"
        taken = self._link.taken(kind, stamp, at_ns, is_asked=is_stored)
        if is_stored and not taken.is_stored:
            taken = self._link.aged(kind, None, at_ns, taken.device_time, is_asked=True)
        state = [] if taken.is_stored else self._oximeter_state(measured, at_ns, channel)
        return [*state, *oximetry_items(measured, taken)]

    def _oximeter_state(
        self, measured: ContinuousOximetry | SpotOximetry, at_ns: int, channel: str
    ) -> list[ProfileItem]:
        """Return what changed; an oximeter that sends a number and no status has its probe on."""
        device = measured.device_status
        out: list[ProfileItem] = []
        if device is not None or measured.spo2_pct.value is not None:
            device = device or DeviceStatus(0)
            for condition, bits in (("sensor-off", SENSOR_OFF), ("device-error", DEVICE_ERROR)):
                out += self._link.conditions.note(
                    condition, channel, at_ns, is_active=bool(device & bits), detail=_words(device & bits)
                )
        status = measured.measurement_status or MeasurementStatus(0)
        is_spoken_of = bool(status & NOT_REAL) or self._link.conditions.is_active("demonstration", channel)
        if is_spoken_of:
            detail = _words(status & NOT_REAL)
            out += self._link.conditions.note(
                "demonstration", channel, at_ns, is_active=bool(status & NOT_REAL), detail=detail
            )
        return out

    def _temperature(self, data: bytes, at_ns: int, channel: str) -> Answer:
        measured = parse_temperature(data)
        if isinstance(measured, Rejected):
            return measured
        if channel == uuids.INTERMEDIATE_TEMPERATURE:
            if uuids.TEMPERATURE in self._heard:
                return []  # the last temperature stands until there is another
            return [*temperature_items(measured, self._link.now("spot", at_ns), is_final=False)]
        stamp = measured.taken_at.moment if measured.taken_at is not None else None
        repeat = None if stamp is None else self._link.repeat((channel, data))
        if repeat is not None:
            return repeat
        self._heard.add(channel)
        before_ns, self._temperature_at_ns = self._temperature_at_ns, at_ns
        is_patch = before_ns is not None and 0 <= at_ns - before_ns <= _PATCH_PERIOD_NS
        taken = self._link.taken("patch" if is_patch else "spot", stamp, at_ns)
        return [*temperature_items(measured, taken, is_final=True)]

    def _blood_pressure(self, data: bytes, at_ns: int, channel: str) -> Answer:
        measured = parse_blood_pressure(data)
        if isinstance(measured, Rejected):
            return measured
        if self._is_of_another(measured.user):
            return Rejected("other-user")
        if channel == uuids.INTERMEDIATE_PRESSURE:
            if uuids.BLOOD_PRESSURE in self._heard:
                return []
            return [*blood_pressure_items(measured, self._link.now("spot", at_ns), is_final=False)]
        repeat = self._repeat(data, channel, measured.taken_at, at_ns)
        if repeat is not None:
            return repeat
        self._heard.add(channel)
        stamp = measured.taken_at.moment if measured.taken_at is not None else None
        return [*blood_pressure_items(measured, self._link.taken("spot", stamp, at_ns), is_final=True)]

    def _weight(self, data: bytes, at_ns: int, channel: str) -> Answer:
        measured = parse_weight(data)
        if isinstance(measured, Rejected):
            return measured
        if self._is_of_another(measured.user):
            return Rejected("other-user")
        repeat = self._repeat(data, channel, measured.taken_at, at_ns)
        if repeat is not None:
            return repeat
        stamp = measured.taken_at.moment if measured.taken_at is not None else None
        return [*weight_items(measured, self._link.taken("weight", stamp, at_ns))]

    def _is_of_another(self, user: int | None) -> bool:
        own = self._link.settings.user
        return own is not None and user is not None and user not in {own, UNKNOWN_USER}

    def _repeat(self, data: bytes, channel: str, taken_at: DateTime | None, at_ns: int) -> Answer | None:
        """Return the answer to a measurement that came before, None to a new one."""
        if taken_at is not None and taken_at.moment is not None:
            return self._link.repeat((channel, data))
        is_again = self._link.is_again(channel, data, at_ns, self._link.settings.repeat_s)
        return Rejected("duplicate") if is_again else None


def _oximeter_features(data: bytes, _at_ns: int, _channel: str) -> Answer:
    features = parse_oximeter_features(data)
    return features if isinstance(features, Rejected) else []


def _pressure_features(data: bytes, _at_ns: int, _channel: str) -> Answer:
    features = parse_pressure_features(data)
    return features if isinstance(features, Rejected) else []


def _words(status: DeviceStatus | MeasurementStatus) -> str:
    return ", ".join(flag.name.lower().replace("_", " ") for flag in status if flag.name)
