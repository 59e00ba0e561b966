"""A decoder of Bluetooth profiles on a table: what to say to it, and what of its answers matters."""

from __future__ import annotations

from datetime import datetime, timedelta

from edge.acquisition.gatt import profile_plans as uuids
from edge.acquisition.gatt.blood_pressure import BloodPressure, PressureStatus, blood_pressure_bytes
from edge.acquisition.gatt.cgm import (
    CgmRecord,
    CgmStatus,
    cgm_bytes,
)
from edge.acquisition.gatt.current_time import CurrentTime, current_time_bytes
from edge.acquisition.gatt.date_time import DateTime
from edge.acquisition.gatt.glucose import Glucose, GlucoseStatus, glucose_bytes
from edge.acquisition.gatt.heart_rate import HeartRate, heart_rate_bytes
from edge.acquisition.gatt.ieee11073 import Number
from edge.acquisition.gatt.profiles import ProfileDecoder, ProfileSettings
from edge.acquisition.gatt.pulse_oximeter import (
    ContinuousOximetry,
    DeviceStatus,
    MeasurementStatus,
    SpotOximetry,
    continuous_oximetry_bytes,
    spot_oximetry_bytes,
)
from edge.messages import (
    Chunk,
    Corrupt,
    Reading,
    ReadingStatus,
    SensorStatus,
)

S = 1_000_000_000
NOON = datetime.fromisoformat("2025-03-14T12:00:00")
VALID, QUESTIONABLE, INVALID = ReadingStatus.VALID, ReadingStatus.QUESTIONABLE, ReadingStatus.INVALID


class Rig:
    """A decoder whose wall clock shows noon at second 0."""

    def __init__(self, *profiles, **settings):
        self.at_s = 0.0
        settings = {"wall_time": lambda: NOON + timedelta(seconds=self.at_s)} | settings
        self.decoder = ProfileDecoder(ProfileSettings(sensor="s", profiles=profiles, **settings))

    def say(self, channel, data, at_s=None):
        self.at_s = self.at_s if at_s is None else at_s
        return self.decoder.push(Chunk(data=data, received_at_ns=round(self.at_s * S), channel=channel))

    def requests(self, at_s):
        self.at_s = at_s
        return self.decoder.requests(round(at_s * S))


def readings(items):
    return {item.measure: item for item in items if isinstance(item, Reading)}


def changes(items):
    return [(item.condition, item.is_active, item.detail) for item in items if isinstance(item, SensorStatus)]


def shown(items):
    """Value or reason, and status, by measure."""
    return {
        measure: (item.absent if item.value is None else item.value, item.status)
        for measure, item in readings(items).items()
    }


def reasons(items):
    return [item.reason for item in items if isinstance(item, Corrupt)]


def at(moment):
    return DateTime.at(moment)


def strap(rig, at_s=None, **fields):
    measured = HeartRate(**({"heart_rate_bpm": 60} | fields))
    return rig.say(uuids.HEART_RATE, heart_rate_bytes(measured), at_s)


def oximeter(rig, at_s=None, *, device=None, measurement=None, **fields):
    measured = ContinuousOximetry(
        **({"spo2_pct": Number(97), "pulse_rate_bpm": Number(80)} | fields),
        device_status=None if device is None else DeviceStatus(device),
        measurement_status=None if measurement is None else MeasurementStatus(measurement),
    )
    return rig.say(uuids.OXIMETRY_CONTINUOUS, continuous_oximetry_bytes(measured), at_s)


def spot(rig, at_s=None, *, measurement=None, **fields):
    status = None if measurement is None else MeasurementStatus(measurement)
    measured = SpotOximetry(
        **({"spo2_pct": Number(95), "pulse_rate_bpm": Number(80)} | fields), measurement_status=status
    )
    return rig.say(uuids.OXIMETRY_SPOT, spot_oximetry_bytes(measured), at_s)


def cuff(rig, at_s=None, channel=uuids.BLOOD_PRESSURE, *, status=None, **fields):
    measured = BloodPressure(
        **({"systolic": Number(120), "diastolic": Number(80), "mean": Number(93)} | fields),
        status=None if status is None else PressureStatus(status),
    )
    return rig.say(channel, blood_pressure_bytes(measured), at_s)


def tell_time(rig, moment, at_s=None):
    return rig.say(uuids.CURRENT_TIME, current_time_bytes(CurrentTime.at(moment)), at_s)


def meter(rig, sequence, at_s=None, *, age_min=0, status=None, **fields):
    record = Glucose(
        sequence=sequence,
        base_time=at(NOON - timedelta(minutes=age_min)),
        **({"concentration": Number(120, -5), "sample_type": 1, "sample_location": 1} | fields),
        status=None if status is None else GlucoseStatus(status),
    )
    return rig.say(uuids.GLUCOSE, glucose_bytes(record), at_s)


def cgm(rig, *offsets_min, at_s=None, mg_dl=108, status=0, has_crc=False):
    octets = CgmStatus(status)
    records = tuple(
        CgmRecord(
            glucose_mg_dl=Number(mg_dl),
            offset_min=offset_min,
            status_octet=octets & 0xFF or None,
            calibration_octet=octets >> 8 & 0xFF or None,
            warning_octet=octets >> 16 or None,
            has_crc=has_crc,
        )
        for offset_min in offsets_min
    )
    return rig.say(uuids.CGM, cgm_bytes(records), at_s)
