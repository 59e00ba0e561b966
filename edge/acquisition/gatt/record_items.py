"""Cuff pressure, weight and glucose as the profiles send them -> readings, with the device's own doubts."""

from __future__ import annotations

from edge.acquisition.gatt.blood_pressure import BloodPressure, PressureStatus
from edge.acquisition.gatt.cgm import CgmRecord, CgmStatus
from edge.acquisition.gatt.glucose import Glucose, GlucoseStatus
from edge.acquisition.gatt.ieee11073 import Number
from edge.acquisition.gatt.profile_readings import Taken
from edge.acquisition.gatt.weight import Weight
from edge.messages import Reading

_DOUBTFUL_PRESSURE = (
    PressureStatus.BODY_MOVED | PressureStatus.CUFF_LOOSE | PressureStatus.IRREGULAR_PULSE | PressureStatus.BAD_POSITION
)
_PULSE_OUT_OF_RANGE = PressureStatus.PULSE_TOO_HIGH | PressureStatus.PULSE_TOO_LOW
METER_ERROR = GlucoseStatus.SENSOR_MALFUNCTION | GlucoseStatus.DEVICE_FAULT
"""The meter cannot measure."""
_NO_GLUCOSE = (
    GlucoseStatus.SAMPLE_INSUFFICIENT
    | GlucoseStatus.STRIP_INSERTION_ERROR
    | GlucoseStatus.STRIP_TYPE_INCORRECT
    | GlucoseStatus.READ_INTERRUPTED
)
_GLUCOSE_RANGE = GlucoseStatus.RESULT_TOO_HIGH | GlucoseStatus.RESULT_TOO_LOW
_DOUBTFUL_GLUCOSE = GlucoseStatus.TEMPERATURE_TOO_HIGH | GlucoseStatus.TEMPERATURE_TOO_LOW
CGM_ERROR = CgmStatus.SENSOR_TYPE_INCORRECT | CgmStatus.SENSOR_MALFUNCTION | CgmStatus.DEVICE_FAULT
"""The continuous sensor cannot measure."""
_CGM_RANGE = CgmStatus.BELOW_RANGE | CgmStatus.ABOVE_RANGE
_DOUBTFUL_CGM = CgmStatus.CALIBRATION_REQUIRED | CgmStatus.TEMPERATURE_TOO_HIGH | CgmStatus.TEMPERATURE_TOO_LOW


def blood_pressure_items(measured: BloodPressure, taken: Taken, *, is_final: bool) -> list[Reading]:
    """Return the pressures and the pulse rate; while the cuff is still inflated there are none.

    An irregular pulse puts the pressures in doubt too: cuffs are validated in regular rhythm.
    """
    if not is_final:
        return [taken.reading(measure, None, "measuring") for measure in ("systolic_mmhg", "diastolic_mmhg")]
    status = measured.status or PressureStatus(0)
    is_questionable = bool(status & _DOUBTFUL_PRESSURE)
    given = [("systolic_mmhg", measured.systolic), ("diastolic_mmhg", measured.diastolic)]
    if measured.mean.value is not None:  # many cuffs know none, and say NaN
        given.append(("mean_pressure_mmhg", measured.mean))
    out = [
        taken.reading(measure, measured.mmhg(number), number.absent, is_questionable=is_questionable)
        for measure, number in given
    ]
    pulse = measured.pulse_rate_bpm
    if pulse is not None:
        absent = pulse.absent or (None if pulse.mantissa > 0 else "not-measured")
        is_questionable = is_questionable or bool(status & _PULSE_OUT_OF_RANGE)
        out.append(taken.reading("pulse_rate_bpm", pulse.value, absent, is_questionable=is_questionable))
    return out


def weight_items(measured: Weight, taken: Taken) -> list[Reading]:
    """Return mass, height and body mass index."""
    out = [taken.reading("body_mass_kg", measured.mass_kg)]
    others = (("height_m", measured.height_m), ("bmi_kg_m2", measured.bmi_kg_m2))
    return out + [taken.reading(measure, value) for measure, value in others if value is not None]


def glucose_items(record: Glucose, taken: Taken) -> list[Reading]:
    """Return the glucose concentration; a test of the meter with control solution is nobody's."""
    status = record.status or GlucoseStatus(0)
    number = record.concentration
    if number is None and not status:
        return []  # a record of something else, such as a meal
    absent = "not-measured" if number is None else _no_concentration(number)
    if status & METER_ERROR:
        absent = "device-error"
    elif record.is_control or status & _NO_GLUCOSE:
        absent = "not-measured"
    elif status & _GLUCOSE_RANGE:
        absent = "out-of-range"
    is_questionable = bool(status & _DOUBTFUL_GLUCOSE)
    return [taken.reading("glucose_mmol_l", record.glucose_mmol_l, absent, is_questionable=is_questionable)]


def cgm_items(record: CgmRecord, taken: Taken) -> list[Reading]:
    """Return the glucose concentration of one record of a continuous sensor."""
    status = record.status
    absent = _no_concentration(record.glucose_mg_dl)
    if status & CGM_ERROR:
        absent = "device-error"
    elif status & CgmStatus.SESSION_STOPPED:
        absent = "not-measured"
    elif status & _CGM_RANGE:
        absent = "out-of-range"
    return [
        taken.reading("glucose_mmol_l", record.glucose_mmol_l, absent, is_questionable=bool(status & _DOUBTFUL_CGM))
    ]


def _no_concentration(number: Number) -> str | None:
    """Return why a concentration is none; blood without glucose is a meter without blood."""
    return number.absent or (None if number.mantissa > 0 else "not-measured")
