"""Heart rate, oximetry and temperature as the profiles send them -> readings, with the device's own doubts.

Every function is given the parsed value and when it was taken.  What the device questions keeps its value and is marked;
what it marks as invalid, or as a demonstration, has no value but a reason.
"""

from __future__ import annotations

from edge.acquisition.gatt.heart_rate import HeartRate
from edge.acquisition.gatt.ieee11073 import Number
from edge.acquisition.gatt.profile_readings import Taken
from edge.acquisition.gatt.pulse_oximeter import ContinuousOximetry, DeviceStatus, MeasurementStatus, SpotOximetry
from edge.acquisition.gatt.thermometer import Temperature
from edge.messages import Reading, RrIntervals

SENSOR_OFF = DeviceStatus.UNCONNECTED_TO_USER | DeviceStatus.DISPLACED | DeviceStatus.DISCONNECTED
"""The probe is not where it can measure."""
DEVICE_ERROR = DeviceStatus.EQUIPMENT_MALFUNCTION | DeviceStatus.UNKNOWN_SENSOR | DeviceStatus.SENSOR_MALFUNCTION
"""The oximeter or its probe cannot measure."""
NOT_REAL = MeasurementStatus.DEMONSTRATION | MeasurementStatus.TESTING
"""Numbers of nobody."""
_LOWEST_NO_PULSE = 255
"""Oximeter modules say 127 % and 255 or 511 a minute without a finger, and some pass that on as numbers."""
_DOUBTFUL_SIGNAL = (
    DeviceStatus.INADEQUATE_SIGNAL
    | DeviceStatus.POOR_SIGNAL
    | DeviceStatus.LOW_PERFUSION
    | DeviceStatus.ERRATIC_SIGNAL
    | DeviceStatus.QUESTIONABLE_PULSE
    | DeviceStatus.INTERFERENCE
)
_DOUBTFUL_VALUE = (
    MeasurementStatus.EARLY_ESTIMATE | MeasurementStatus.CALIBRATION_ONGOING | MeasurementStatus.QUESTIONABLE
)


def heart_rate_items(measured: HeartRate, taken: Taken) -> list[Reading | RrIntervals]:
    """Return rate, energy and intervals; without skin contact no rate, and 0 is no reading, never an asystole."""
    absent = None
    if measured.is_contact is False:
        absent = "sensor-off"
    elif measured.heart_rate_bpm == 0:
        absent = "not-measured"
    out: list[Reading | RrIntervals] = [taken.reading("heart_rate_bpm", float(measured.heart_rate_bpm), absent)]
    if measured.energy_kj is not None:
        out.append(taken.reading("energy_kj", float(measured.energy_kj)))
    if measured.rr_1024 or measured.is_contact is False:
        out.append(
            RrIntervals(
                sensor=taken.sensor,
                intervals_ms=measured.rr_ms,
                received_at_ns=taken.at_ns,
                is_worn=measured.is_contact,
            )
        )
    return out


def oximetry_items(measured: ContinuousOximetry | SpotOximetry, taken: Taken) -> list[Reading]:
    """Return saturation, pulse rate and perfusion."""
    value_status = measured.measurement_status or MeasurementStatus(0)
    device_status = measured.device_status or DeviceStatus(0)
    absent = _absent(value_status, device_status)
    is_questionable = bool(device_status & _DOUBTFUL_SIGNAL or value_status & _DOUBTFUL_VALUE)
    given: list[tuple[str, Number, float | None]] = [
        ("spo2_pct", measured.spo2_pct, 100.0),
        ("pulse_rate_bpm", measured.pulse_rate_bpm, None),
    ]
    if measured.amplitude_pct is not None:
        given.append(("perfusion_index_pct", measured.amplitude_pct, None))
    saturation_pct = measured.spo2_pct.value
    if saturation_pct is None or saturation_pct > 100:
        given[1] = ("pulse_rate_bpm", measured.pulse_rate_bpm, _LOWEST_NO_PULSE - 1.0)
    return [
        taken.reading(measure, number.value, absent or _no_such_value(number, highest), is_questionable=is_questionable)
        for measure, number, highest in given
    ]


def temperature_items(measured: Temperature, taken: Taken, *, is_final: bool) -> list[Reading]:
    """Return the temperature; while the thermometer still settles there is none."""
    absent = measured.temperature.absent or (None if is_final else "measuring")
    return [taken.reading("body_temperature_c", measured.temperature_c, absent)]


def _absent(value_status: MeasurementStatus, device_status: DeviceStatus) -> str | None:
    """Return why an oximeter's values are not to be used, the cause before its effects."""
    if device_status & SENSOR_OFF:
        return "sensor-off"
    if device_status & DEVICE_ERROR:
        return "device-error"
    if value_status & (NOT_REAL | MeasurementStatus.UNAVAILABLE):
        return "not-measured"
    if device_status & DeviceStatus.NON_PULSATILE:
        return "signal-poor"
    return "invalid" if value_status & MeasurementStatus.INVALID else None


def _no_such_value(number: Number, highest: float | None) -> str | None:
    """Return why the number itself is none: oximeters send 0 without a finger."""
    if number.absent is not None or number.value is None:
        return number.absent
    if number.value <= 0:
        return "not-measured"
    return "out-of-range" if highest is not None and number.value > highest else None
