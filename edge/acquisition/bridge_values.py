"""Readings, events and clock pairs of a bridge device in the vocabulary of `edge.messages`.  Used by `bridge`."""

from __future__ import annotations

from dataclasses import dataclass

from edge.acquisition.packets import (
    ABSENT_REASONS,
    CONDITIONS,
    MEASURES,
    READING_STATUSES,
    EventPacket,
    ReadingPacket,
)
from edge.messages import Reading, ReadingStatus, SensorStatus

DEFAULT_VALID_FOR_S = 15.0
"""Used where a reading says 0; the default of `messages.Reading`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePair:
    """The device's clock seen twice between two looks at our own (PROTOCOL.md, time sync)."""

    sensor: str
    host_sent_ns: int
    host_received_ns: int
    device_received_ns: int
    device_sent_ns: int

    @property
    def round_trip_ns(self) -> int:
        """Time on the way, both ways together."""
        return (self.host_received_ns - self.host_sent_ns) - (self.device_sent_ns - self.device_received_ns)

    @property
    def offset_ns(self) -> int:
        """Host minus device time, right to half of `round_trip_ns` (RFC 5905, section 8)."""
        host_ns = self.host_sent_ns + self.host_received_ns
        return (host_ns - self.device_received_ns - self.device_sent_ns) // 2


def reading(packet: ReadingPacket, sensor: str, measured_at_ns: int) -> Reading | None:
    """Return the device's value or its reason for having none; None for a measure that has no name here."""
    if packet.measure_code not in MEASURES:
        return None
    measure, unit = MEASURES[packet.measure_code]
    status_of_value = READING_STATUSES.get(packet.status_code, ReadingStatus.INVALID)
    absent = ABSENT_REASONS.get(packet.absent_code, f"device-reason-{packet.absent_code}") or None
    if absent is None and status_of_value is ReadingStatus.INVALID:
        absent = "invalid"
    return Reading(
        sensor=sensor,
        measure=measure,
        value=None if absent else decimal(packet.mantissa, packet.exponent),
        unit=unit,
        measured_at_ns=measured_at_ns,
        status=ReadingStatus.INVALID if absent else status_of_value,
        absent=absent,
        valid_for_s=float(packet.valid_for_s or DEFAULT_VALID_FOR_S),
    )


def status(packet: EventPacket, sensor: str, stream: str | None, at_ns: int) -> SensorStatus:
    """Return the device's condition; one without a name here keeps its number, so that no alarm is lost."""
    return SensorStatus(
        sensor=sensor,
        stream=stream,
        condition=CONDITIONS.get(packet.condition_code, f"device-condition-{packet.condition_code}"),
        is_active=packet.is_active,
        at_ns=at_ns,
        detail=packet.text or (str(packet.value) if packet.value else ""),
    )


def decimal(mantissa: int, exponent: int) -> float:
    """Return mantissa × 10 ^ exponent, rounded once."""
    return float(mantissa * 10**exponent) if exponent >= 0 else mantissa / 10**-exponent
