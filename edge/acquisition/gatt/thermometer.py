"""Health Thermometer Service 0x1809: Temperature Measurement 0x2A1C, Intermediate Temperature 0x2A1E.

Flags (1 byte): 0 degrees Fahrenheit, else Celsius · 1 timestamp (7) · 2 place of the body (1).  Then the temperature
(FLOAT) and in this order what is flagged: a parser may assume neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from edge.acquisition.gatt.date_time import DATE_TIME_BYTES, DateTime, date_time_bytes, parse_date_time
from edge.acquisition.gatt.ieee11073 import FLOAT_BYTES, Number, float32, float32_bytes
from edge.acquisition.gatt.rejected import Rejected, length_is_wrong

_FAHRENHEIT, _TIME, _PLACE = 1, 2, 4
_KNOWN_FLAGS = 0x07
PLACES: Mapping[int, str] = MappingProxyType(
    {
        1: "armpit",
        2: "body",
        3: "ear",
        4: "finger",
        5: "gastro-intestinal tract",
        6: "mouth",
        7: "rectum",
        8: "toe",
        9: "tympanum",
    }
)
"""Where a temperature was taken, by the number on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """One temperature as the thermometer sent it."""

    temperature: Number
    is_fahrenheit: bool = False
    taken_at: DateTime | None = None
    place: int | None = None
    """Key of `PLACES`, or a number of a later revision."""

    @property
    def temperature_c(self) -> float | None:
        """The temperature in degrees Celsius; None where there is none."""
        if self.is_fahrenheit:
            return self.temperature.converted(Fraction(5, 9), Fraction(-32))
        return self.temperature.value


def parse_temperature(data: bytes) -> Temperature | Rejected:
    """Return the measurement in `data`.

    Examples
    --------
    >>> parse_temperature(bytes.fromhex("01 DA 03 00 FF")).temperature_c
    37.0
    """
    if not data:
        return Rejected("length")
    flags = data[0]
    at_time = 1 + FLOAT_BYTES
    at_place = at_time + (DATE_TIME_BYTES if flags & _TIME else 0)
    n_expected = at_place + (1 if flags & _PLACE else 0)
    if length_is_wrong(len(data), n_expected, has_unknown_flags=bool(flags & ~_KNOWN_FLAGS)):
        return Rejected("length")
    taken_at = parse_date_time(data[at_time:at_place]) if flags & _TIME else None
    if isinstance(taken_at, Rejected):
        return taken_at
    return Temperature(
        temperature=float32(data, 1),
        is_fahrenheit=bool(flags & _FAHRENHEIT),
        taken_at=taken_at,
        place=data[at_place] if flags & _PLACE else None,
    )


def temperature_bytes(measurement: Temperature) -> bytes:
    """Return `measurement` as a thermometer sends it."""
    flags = _FAHRENHEIT if measurement.is_fahrenheit else 0
    tail = b""
    if measurement.taken_at is not None:
        flags |= _TIME
        tail += date_time_bytes(measurement.taken_at)
    if measurement.place is not None:
        flags |= _PLACE
        tail += bytes([measurement.place])
    return bytes([flags]) + float32_bytes(measurement.temperature) + tail
