"""Decimal numbers of medical devices: exact both ways, and never a number where the device sent none."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.gatt.ieee11073 import Number, Special, float32, float32_bytes, sfloat, sfloat_bytes


def test_every_sfloat_word_comes_back():
    """All 65536 words: what is read is written as the same word."""
    for word in range(1 << 16):
        data = word.to_bytes(2, "little")
        assert sfloat_bytes(sfloat(data)) == data


@given(st.binary(min_size=4, max_size=4))
def test_every_float_word_comes_back(data):
    """Invariant: what is read is written as the same word."""
    assert float32_bytes(float32(data)) == data


@given(st.integers(-2048, 2047), st.integers(-8, 7))
def test_value_is_the_nearest_float(mantissa, exponent):
    """Invariant: rounded once: 189 and -1 give 18.9, not 18.900000000000002."""
    assert Number(mantissa, exponent).value == float(Fraction(mantissa) * Fraction(10) ** exponent)


def test_tenths_print_as_tenths():
    """0.1 steps from 0.0 to 99.9 print with one decimal, as multiplying by a power of ten would not."""
    assert [repr(Number(k, -1).value) for k in range(1000)] == [f"{k // 10}.{k % 10}" for k in range(1000)]


@pytest.mark.parametrize(
    ("special", "absent"),
    [
        (Special.NAN, "not-a-number"),
        (Special.NRES, "device-error"),
        (Special.PLUS_INFINITY, "out-of-range"),
        (Special.MINUS_INFINITY, "out-of-range"),
        (Special.RESERVED, "device-error"),
    ],
)
def test_special_words_have_no_value_but_a_reason(special, absent):
    """Both types, there and back."""
    for write, read in ((sfloat_bytes, sfloat), (float32_bytes, float32)):
        number = read(write(Number.none(special)))
        assert (number.value, number.absent, number.special) == (None, absent, special)


@pytest.mark.parametrize(
    "number", [Number(2048), Number(-2049), Number(1, 8), Number(1, -9), Number(2047), Number(-2047)]
)
def test_number_that_does_not_fit_is_misuse(number):
    """Too many digits, too far a point, or a mantissa that would be read as a special word."""
    with pytest.raises(ValueError, match="mantissa of 12 bits"):
        sfloat_bytes(number)


def test_number_of_a_resolution():
    """As a device with one decimal would send 36.65 and -0.04."""
    assert Number.of(36.6, 1) == Number(366, -1)
    assert Number.of(98) == Number(98, 0)
    assert str(Number.of(-0.04, 1)) == "0.0"
    with pytest.raises(ValueError, match="finite"):
        Number.of(float("nan"))
