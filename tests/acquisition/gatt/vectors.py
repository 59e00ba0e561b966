"""The table of vectors (vectors.txt), and every parser and encoder by the characteristic that it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.acquisition.gatt import (
    battery,
    blood_pressure,
    body_sensor_location,
    cgm,
    current_time,
    date_time,
    device_information,
    glucose,
    heart_rate,
    pulse_oximeter,
    record_access,
    thermometer,
    weight,
)
from edge.acquisition.gatt.rejected import Rejected


@dataclass(frozen=True)
class Codec:
    parse: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


CODECS = {
    "2A08": Codec(date_time.parse_date_time, date_time.date_time_bytes),
    "2A18": Codec(glucose.parse_glucose, glucose.glucose_bytes),
    "2A19": Codec(battery.parse_battery, battery.battery_bytes),
    "2A1C": Codec(thermometer.parse_temperature, thermometer.temperature_bytes),
    "2A23": Codec(device_information.parse_system_id, device_information.system_id_bytes),
    "2A24": Codec(device_information.parse_text, device_information.text_bytes),
    "2A25": Codec(device_information.parse_text, device_information.text_bytes),
    "2A29": Codec(device_information.parse_text, device_information.text_bytes),
    "2A2B": Codec(current_time.parse_current_time, current_time.current_time_bytes),
    "2A35": Codec(blood_pressure.parse_blood_pressure, blood_pressure.blood_pressure_bytes),
    "2A37": Codec(heart_rate.parse_heart_rate, heart_rate.heart_rate_bytes),
    "2A38": Codec(body_sensor_location.parse_body_sensor_location, body_sensor_location.body_sensor_location_bytes),
    "2A49": Codec(blood_pressure.parse_pressure_features, blood_pressure.pressure_features_bytes),
    "2A52": Codec(record_access.parse_record_response, record_access.record_response_bytes),
    "2A5E": Codec(pulse_oximeter.parse_spot_oximetry, pulse_oximeter.spot_oximetry_bytes),
    "2A5F": Codec(pulse_oximeter.parse_continuous_oximetry, pulse_oximeter.continuous_oximetry_bytes),
    "2A60": Codec(pulse_oximeter.parse_oximeter_features, pulse_oximeter.oximeter_features_bytes),
    "2A9D": Codec(weight.parse_weight, weight.weight_bytes),
    "2AA7": Codec(cgm.parse_cgm, cgm.cgm_bytes),
    "2AA8": Codec(cgm.parse_cgm_features, cgm.cgm_features_bytes),
    "2AA9": Codec(cgm.parse_cgm_state, cgm.cgm_state_bytes),
    "2AAA": Codec(cgm.parse_cgm_session_start, cgm.cgm_session_start_bytes),
}


@dataclass(frozen=True)
class Vector:
    name: str
    """Number of the characteristic, or the type of a number."""
    data: bytes
    expected: str


def read_vectors() -> list[Vector]:
    found = []
    for line in Path(__file__).with_name("vectors.txt").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, data, expected = (part.strip() for part in line.split("|"))
        found.append(Vector(name, b"" if data == "(nothing)" else bytes.fromhex(data), expected))
    return found


VECTORS = read_vectors()
VALUES = [vector for vector in VECTORS if vector.name in CODECS]
"""Whole values of characteristics."""
VALID = [vector for vector in VALUES if not vector.expected.startswith("rejected")]


def told(name: str, value: Any) -> str:  # noqa: PLR0911, PLR0912, C901 - one line per characteristic
    """Say what was read in the words of the table."""
    if isinstance(value, Rejected):
        return f"rejected: {value.reason}"
    match value:
        case str():
            return value
        case body_sensor_location.BodySensorLocation():
            return value.text
        case heart_rate.HeartRate():
            return _fields(
                rate=value.heart_rate_bpm,
                contact=None if value.is_contact is None else "yes" if value.is_contact else "no",
                energy_kj=value.energy_kj,
                rr_ms=",".join(f"{rr:.3f}" for rr in value.rr_ms) or None,
            )
        case pulse_oximeter.ContinuousOximetry() | pulse_oximeter.SpotOximetry():
            return _oximetry(value)
        case thermometer.Temperature():
            return _fields(
                temperature=value.temperature,
                temperature_c=value.temperature_c,
                at=value.taken_at and value.taken_at.text,
                place=thermometer.PLACES.get(value.place),
            )
        case blood_pressure.BloodPressure():
            return _fields(
                pressures=f"{value.systolic}/{value.diastolic}/{value.mean}",
                systolic_mmhg=value.mmhg(value.systolic),
                at=value.taken_at and value.taken_at.text,
                pulse=value.pulse_rate_bpm,
                user=value.user,
                status=None if value.status is None else f"{value.status:04x}",
            )
        case weight.Weight():
            return _fields(
                mass_kg="none" if value.mass_kg is None else value.mass_kg,
                at=value.taken_at and value.taken_at.text,
                user=value.user,
                bmi=value.bmi_kg_m2,
                height_m=value.height_m,
            )
        case glucose.Glucose():
            return _glucose(value)
        case tuple():
            return "; ".join(map(_cgm_record, value))
        case cgm.CgmState():
            return f"{value.offset_min}min status={value.status:06x}"
        case cgm.CgmSessionStart():
            return _fields(at=value.started_at.text, zone=value.zone_quarters, dst=value.dst_quarters)
        case record_access.RecordResponse():
            return f"{value.request} {value.result.name.lower()}"
        case current_time.CurrentTime():
            moment = value.moment.isoformat() if value.moment else "unknown"
            return f"{moment} " + _fields(day=value.day_of_week, reason=int(value.adjust_reason) or None)
        case date_time.DateTime():
            return value.text or "unknown"
        case cgm.CgmFeatures():
            return f"{value:06x}"
        case blood_pressure.PressureFeatures() | pulse_oximeter.OximeterFeatures():
            return f"{value:04x}"
        case int():
            return str(value)
    raise AssertionError(f"no words for {name} {value}")


def _fields(**fields: Any) -> str:
    return " ".join(f"{name}={field}" for name, field in fields.items() if field is not None)


def _oximetry(value: Any) -> str:
    def pair(name: str) -> str | None:
        numbers = getattr(value, name, None)
        return numbers and f"{numbers[0]}/{numbers[1]}"

    return _fields(
        spo2=value.spo2_pct,
        pulse=value.pulse_rate_bpm,
        fast=pair("fast"),
        slow=pair("slow"),
        at=getattr(value, "taken_at", None) and value.taken_at.text,
        status=None if value.measurement_status is None else f"{value.measurement_status:04x}",
        device=None if value.device_status is None else f"{value.device_status:06x}",
        amplitude=value.amplitude_pct,
        clock=None if getattr(value, "is_clock_set", True) else "unset",
    )


def _glucose(value: glucose.Glucose) -> str:
    return _fields(
        sequence=value.sequence,
        at=value.shown_at and value.shown_at.isoformat(),
        concentration=value.concentration,
        glucose_mmol_l=None if value.glucose_mmol_l is None else f"{value.glucose_mmol_l:.3f}",
        type=value.sample_type,
        location=value.sample_location,
        status=None if value.status is None else f"{value.status:04x}",
    ) + (" context" if value.has_context else "")


def _cgm_record(record: cgm.CgmRecord) -> str:
    text = f"{record.glucose_mg_dl}@{record.offset_min}min " + _fields(
        status=f"{record.status:06x}" if record.status else None,
        trend=record.trend_mg_dl_min,
        quality=record.quality_pct,
    )
    return f"{text.strip()}{' crc' if record.has_crc else ''}"
