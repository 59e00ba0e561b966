"""Decimal numbers of medical devices: SFLOAT (16 bit) and FLOAT (32 bit) of IEEE 11073-20601.

======  =============================  =============================  =========================================
type    exponent                       mantissa                       special words
======  =============================  =============================  =========================================
SFLOAT  bits 12–15, two's complement   bits 0–11, two's complement    07FF NaN, 0800 NRes, 07FE +INF, 0802 −INF,
                                                                      0801 reserved
FLOAT   bits 24–31, two's complement   bits 0–23, two's complement    007FFFFF, 00800000, 007FFFFE, 00800002,
                                                                      00800001
======  =============================  =============================  =========================================

The value is mantissa × 10 ^ exponent; on the wire the word is little-endian.  The special words are compared as a whole:
17FF is the ordinary number 20470.  Neither field is biased: libraries that subtract 8 or 128 from the exponent are wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType

SFLOAT_BYTES = 2
FLOAT_BYTES = 4


class Special(StrEnum):
    """What stands in place of a number."""

    NAN = "nan"
    NRES = "not-at-this-resolution"
    PLUS_INFINITY = "plus-infinity"
    MINUS_INFINITY = "minus-infinity"
    RESERVED = "reserved"


_ABSENT: Mapping[Special, str] = MappingProxyType(
    {
        Special.NAN: "not-a-number",
        Special.NRES: "device-error",
        Special.PLUS_INFINITY: "out-of-range",
        Special.MINUS_INFINITY: "out-of-range",
        Special.RESERVED: "device-error",
    }
)


@dataclass(frozen=True, slots=True)
class Number:
    """One decimal number as a device sent it; the exponent carries its precision.

    Examples
    --------
    >>> Number(189, -1).value, str(Number(200, -2))
    (18.9, '2.00')
    """

    mantissa: int
    exponent: int = 0
    special: Special | None = None
    """What stands in its place; then mantissa and exponent are 0."""

    @classmethod
    def of(cls, value: float, n_decimals: int = 0) -> Number:
        """Return `value` rounded to `n_decimals`, as a device with that resolution would send it.

        Raises
        ------
        ValueError
            If `value` is not finite.
        """
        if not abs(value) < float("inf"):
            raise ValueError(f"expected a finite value, got {value}")
        return cls(int(Decimal(repr(value)).scaleb(n_decimals).to_integral_value()), -n_decimals)

    @classmethod
    def none(cls, special: Special = Special.NAN) -> Number:
        """Return the number that is none."""
        return cls(0, 0, special)

    @property
    def value(self) -> float | None:
        """The number rounded once to a float; None for a special one.

        Divided by a power of ten, not multiplied by its inverse, which is rounded itself: 189 × 0.1 is 18.900000000000002.
        """
        if self.special is not None:
            return None
        power: int = 10 ** abs(self.exponent)
        return self.mantissa / power if self.exponent < 0 else float(self.mantissa * power)

    def converted(self, factor: Fraction, offset: Fraction = Fraction(0)) -> float | None:
        """Return the number + `offset`, times `factor`, rounded once; None for a special one."""
        if self.special is not None:
            return None
        power = Fraction(10) ** self.exponent
        return float((self.mantissa * power + offset) * factor)

    @property
    def absent(self) -> str | None:
        """Why there is no value; None exactly when there is one."""
        return None if self.special is None else _ABSENT[self.special]

    def __str__(self) -> str:
        """Return the number with the digits that the device sent."""
        return self.special.value if self.special else f"{Decimal(self.mantissa).scaleb(self.exponent):f}"


@dataclass(frozen=True, slots=True)
class _Format:
    n_mantissa_bits: int
    n_exponent_bits: int

    def read(self, word: int) -> Number:
        special = self._specials().get(word)
        if special is not None:
            return Number.none(special)
        mantissa = _signed(word & ((1 << self.n_mantissa_bits) - 1), self.n_mantissa_bits)
        return Number(mantissa, _signed(word >> self.n_mantissa_bits, self.n_exponent_bits))

    def word(self, number: Number) -> int:
        for word, special in self._specials().items():
            if number.special is special:
                return word
        most, furthest = 1 << (self.n_mantissa_bits - 1), 1 << (self.n_exponent_bits - 1)
        word = (number.exponent % (2 * furthest)) << self.n_mantissa_bits | number.mantissa % (2 * most)
        is_held = -most <= number.mantissa < most and -furthest <= number.exponent < furthest
        if not is_held or word in self._specials():
            raise ValueError(
                f"expected a mantissa of {self.n_mantissa_bits} bits and an exponent of {self.n_exponent_bits} that are "
                f"no special word, got {number.mantissa} and {number.exponent}"
            )
        return word

    def _specials(self) -> dict[int, Special]:
        lowest = 1 << (self.n_mantissa_bits - 1)
        return {
            lowest - 1: Special.NAN,
            lowest: Special.NRES,
            lowest - 2: Special.PLUS_INFINITY,
            lowest + 2: Special.MINUS_INFINITY,
            lowest + 1: Special.RESERVED,
        }


def _signed(field: int, n_bits: int) -> int:
    return field - (1 << n_bits) if field >> (n_bits - 1) else field


_SFLOAT = _Format(12, 4)
_FLOAT = _Format(24, 8)


def sfloat(data: bytes, at: int = 0) -> Number:
    """Return the SFLOAT in the two bytes from `at`; the caller has checked that they are there.

    Examples
    --------
    >>> str(sfloat(bytes.fromhex("BD F0"))), str(sfloat(bytes.fromhex("FF 07")))
    ('18.9', 'nan')
    """
    return _SFLOAT.read(int.from_bytes(data[at : at + SFLOAT_BYTES], "little"))


def sfloat_bytes(number: Number) -> bytes:
    """Return `number` as SFLOAT.

    Raises
    ------
    ValueError
        If it has more digits than 12 bits hold.
    """
    return _SFLOAT.word(number).to_bytes(SFLOAT_BYTES, "little")


def float32(data: bytes, at: int = 0) -> Number:
    """Return the FLOAT in the four bytes from `at`; the caller has checked that they are there.

    Examples
    --------
    >>> str(float32(bytes.fromhex("B0 0E 00 FE")))
    '37.60'
    """
    return _FLOAT.read(int.from_bytes(data[at : at + FLOAT_BYTES], "little"))


def float32_bytes(number: Number) -> bytes:
    """Return `number` as FLOAT.

    Raises
    ------
    ValueError
        If it has more digits than 24 bits hold.
    """
    return _FLOAT.word(number).to_bytes(FLOAT_BYTES, "little")
