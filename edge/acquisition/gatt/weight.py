"""Weight Scale Service 0x181D: Weight Measurement 0x2A9D.

Flags (1 byte): 0 pounds and inches, else kilograms and metres · 1 timestamp (7) · 2 user (1) · 3 body mass index and
height (2 + 2).  Then the mass in 0.005 kg or 0.01 lb (uint16; FFFF: did not succeed) and in this order what is flagged;
the index is in 0.1 kg/m², the height in 0.001 m or 0.1 in.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from edge.acquisition.gatt.date_time import DATE_TIME_BYTES, DateTime, date_time_bytes, parse_date_time
from edge.acquisition.gatt.rejected import Rejected, length_is_wrong

_IMPERIAL, _TIME, _USER, _HEIGHT = 1, 2, 4, 8
_KNOWN_FLAGS = 0x0F
_N_HEAD = 3
NOT_MEASURED = 0xFFFF
UNKNOWN_USER = 0xFF
_KG_PER_STEP = Fraction(5, 1000)
_KG_PER_IMPERIAL_STEP = Fraction(1, 100) * Fraction("0.45359237")
_M_PER_STEP = Fraction(1, 1000)
_M_PER_IMPERIAL_STEP = Fraction(1, 10) * Fraction("0.0254")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One weighing as the scale sent it, in its own steps."""

    mass_steps: int
    """0.005 kg or 0.01 lb each; 65535: the weighing did not succeed."""
    is_imperial: bool = False
    taken_at: DateTime | None = None
    user: int | None = None
    """Number of the user of a scale that several use; 255 is unknown."""
    bmi_tenths: int | None = None
    height_steps: int | None = None
    """0.001 m or 0.1 in each; there exactly when `bmi_tenths` is."""

    @property
    def mass_kg(self) -> float | None:
        """Body mass; None where the weighing did not succeed."""
        if self.mass_steps == NOT_MEASURED:
            return None
        return float(self.mass_steps * (_KG_PER_IMPERIAL_STEP if self.is_imperial else _KG_PER_STEP))

    @property
    def bmi_kg_m2(self) -> float | None:
        """Body mass index; None where the scale does not know it, as it says with 0."""
        return self.bmi_tenths / 10 if self.bmi_tenths else None

    @property
    def height_m(self) -> float | None:
        """Body height as it was entered; None where it was not."""
        if not self.height_steps:
            return None
        return float(self.height_steps * (_M_PER_IMPERIAL_STEP if self.is_imperial else _M_PER_STEP))


def parse_weight(data: bytes) -> Weight | Rejected:
    """Return the weighing in `data`.

    Examples
    --------
    >>> parse_weight(bytes.fromhex("00 B0 36")).mass_kg
    70.0
    """
    if not data:
        return Rejected("length")
    flags = data[0]
    at_user = _N_HEAD + (DATE_TIME_BYTES if flags & _TIME else 0)
    at_bmi = at_user + (1 if flags & _USER else 0)
    n_expected = at_bmi + (4 if flags & _HEIGHT else 0)
    if length_is_wrong(len(data), n_expected, has_unknown_flags=bool(flags & ~_KNOWN_FLAGS)):
        return Rejected("length")
    taken_at = parse_date_time(data[_N_HEAD:at_user]) if flags & _TIME else None
    if isinstance(taken_at, Rejected):
        return taken_at
    return Weight(
        mass_steps=int.from_bytes(data[1:3], "little"),
        is_imperial=bool(flags & _IMPERIAL),
        taken_at=taken_at,
        user=data[at_user] if flags & _USER else None,
        bmi_tenths=int.from_bytes(data[at_bmi : at_bmi + 2], "little") if flags & _HEIGHT else None,
        height_steps=int.from_bytes(data[at_bmi + 2 : at_bmi + 4], "little") if flags & _HEIGHT else None,
    )


def weight_bytes(measurement: Weight) -> bytes:
    """Return `measurement` as a scale sends it.

    Raises
    ------
    ValueError
        If only one of body mass index and height is given.
    """
    if (measurement.bmi_tenths is None) != (measurement.height_steps is None):
        raise ValueError("expected body mass index and height together or neither")
    flags = _IMPERIAL if measurement.is_imperial else 0
    tail = b""
    if measurement.taken_at is not None:
        flags |= _TIME
        tail += date_time_bytes(measurement.taken_at)
    if measurement.user is not None:
        flags |= _USER
        tail += bytes([measurement.user])
    if measurement.bmi_tenths is not None and measurement.height_steps is not None:
        flags |= _HEIGHT
        tail += measurement.bmi_tenths.to_bytes(2, "little") + measurement.height_steps.to_bytes(2, "little")
    return bytes([flags]) + measurement.mass_steps.to_bytes(2, "little") + tail
