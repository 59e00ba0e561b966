"""Values that the virtual sensor computes itself: oximeter, thermometer and cuff, as reading packets."""

from __future__ import annotations

from collections.abc import Sequence

from edge.acquisition.packets import ABSENT_REASONS, MEASURES, READING_STATUSES, ReadingPacket
from edge.messages import ReadingStatus
from firmware_bridge.virtual.line import NS_PER_S
from firmware_bridge.virtual.scenario import Fault, FaultKind, SensorSettings
from firmware_bridge.virtual.source import Source

_MEASURE_CODES = {measure: code for code, (measure, _) in MEASURES.items()}
_STATUS_CODES = {status: code for code, status in READING_STATUSES.items()}
_ABSENT_CODES = {reason: code for code, reason in ABSENT_REASONS.items()}
SPO2_LIMIT_PCT = 100
LIGHT_VALID_S = 15


def light_readings(source: Source, faults: Sequence[Fault], at_ns: int, ticks: int) -> list[ReadingPacket]:
    """Return saturation, pulse rate and breathing rate; without a finger or a pulse they say why they are absent."""
    at_s = at_ns / NS_PER_S
    vitals = source.vitals_at(at_s)
    active = {(fault.kind, fault.target) for fault in faults if fault.is_active(at_s)}
    is_moving = any(kind is FaultKind.MOTION for kind, _ in active)
    no_finger = "sensor-off" if (FaultKind.LEAD_OFF, "ppg") in active else None
    if (FaultKind.SATURATION, "ppg") in active:
        no_finger = "out-of-range"
    # Breathing is measured through the ECG electrodes.
    no_electrode = "sensor-off" if (FaultKind.LEAD_OFF, "ecg") in active else None
    spo2_pct = None if vitals.spo2_pct is None else min(SPO2_LIMIT_PCT, vitals.spo2_pct)
    given = (
        ("spo2_pct", spo2_pct, no_finger),
        ("pulse_rate_bpm", vitals.pulse_rate_bpm, no_finger),
        ("respiratory_rate_bpm", vitals.respiratory_rate_bpm, no_electrode),
    )
    return [
        _reading(measure, value, ticks, absent=absent, is_questionable=is_moving, valid_for_s=LIGHT_VALID_S)
        for measure, value, absent in given
    ]


def temperature_reading(source: Source, settings: SensorSettings, at_ns: int, ticks: int) -> ReadingPacket:
    """Return the body temperature to a tenth of a degree."""
    value = source.vitals_at(at_ns / NS_PER_S).temperature_c
    return _reading(
        "body_temperature_c", value, ticks, exponent=-1, valid_for_s=round(3 * settings.temperature_period_s)
    )


def cuff_readings(source: Source, settings: SensorSettings, at_ns: int, ticks: int) -> list[ReadingPacket]:
    """Return systolic, diastolic and mean pressure of one inflation."""
    vitals = source.vitals_at(at_ns / NS_PER_S)
    given = (
        ("systolic_mmhg", vitals.systolic_mmhg),
        ("diastolic_mmhg", vitals.diastolic_mmhg),
        ("mean_pressure_mmhg", vitals.mean_mmhg),
    )
    valid_for_s = min(0xFFFF, round(2 * settings.cuff_period_s))
    return [_reading(measure, value, ticks, valid_for_s=valid_for_s) for measure, value in given]


def _reading(
    measure: str,
    value: float | None,
    ticks: int,
    *,
    exponent: int = 0,
    absent: str | None = None,
    is_questionable: bool = False,
    valid_for_s: int,
) -> ReadingPacket:
    # No value without a reason: an empty field on a screen must say why it is empty.
    if value is None and absent is None:
        absent = "signal-poor"
    status = ReadingStatus.QUESTIONABLE if is_questionable else ReadingStatus.VALID
    if absent is not None:
        status = ReadingStatus.INVALID
    return ReadingPacket(
        ticks=ticks,
        measure_code=_MEASURE_CODES[measure],
        mantissa=0 if value is None or absent is not None else round(value * 10**-exponent),
        exponent=exponent,
        status_code=_STATUS_CODES[status],
        absent_code=_ABSENT_CODES[absent or ""],
        valid_for_s=valid_for_s,
    )
