"""Measurements as bytes, held against the vectors of the specifications and of real captures."""

from __future__ import annotations

from datetime import datetime

import pytest

from firmware_bridge.virtual.ble import encoding

MOMENT = datetime(2012, 12, 5, 11, 50, 27)  # noqa: DTZ001 - the clock of a sensor knows no zone


@pytest.mark.parametrize(
    ("value", "exponent", "expected"),
    [
        (2, 0, "0200"),
        (2.0, -1, "14f0"),
        (2.0, -2, "c8e0"),
        (20, 1, "0210"),
        (1234, 0, "d204"),
        (-1234, 0, "2e0b"),
        (18.9, -1, "bdf0"),
        (None, 0, "ff07"),
        (2045, 0, "fd07"),
    ],
)
def test_short_medical_floats(value, exponent, expected):
    """The exponent is signed and sits above a signed mantissa; the reserved words are never made of a number."""
    assert encoding.sfloat(value, exponent).hex() == expected


@pytest.mark.parametrize("value", [2046, 2047, -2046, 1e9])
def test_what_does_not_fit_is_refused(value):
    """A number never becomes one of the words that mean "no number"."""
    with pytest.raises(ValueError, match="expected at most"):
        encoding.sfloat(value)


def test_long_medical_floats():
    """A byte of exponent above three of mantissa."""
    made = [encoding.medical_float(*each).hex() for each in ((2.0, -1), (20, 1), (-1234, 0), (37.6, -2), (None, -2))]

    assert made == ["140000ff", "02000001", "2efbff00", "b00e00fe", "ffff7f00"]


def test_heart_rates():
    """Contact, energy and intervals as flagged; more than 255 /min takes two bytes."""
    made = (
        encoding.heart_rate(85),
        encoding.heart_rate(85, [33 / 1024], is_in_contact=True, energy_kj=50),
        encoding.heart_rate(257, [1 / 1024, 258 / 1024, 99.0], is_in_contact=True, energy_kj=306),
        encoding.heart_rate(None, is_in_contact=False),
    )

    assert [each.hex() for each in made] == ["0055", "1e5532002100", "1f01013201010002 01ffff".replace(" ", ""), "0400"]


def test_a_spot_check_with_everything():
    """Timestamp, then measurement status, then the status of the sensor."""
    made = encoding.oximeter_spot(95, 80, moment=datetime(2025, 3, 14, 9, 30), measurement_status=0x80)  # noqa: DTZ001

    assert made.hex() == "035f005000e907030e091e008000"


def test_a_temperature_with_time_and_site():
    """The vector of the Nordic SDK."""
    assert encoding.temperature(37.6, moment=MOMENT, site=4).hex() == "06b00e00fedc070c050b321b04"


def test_a_pressure_without_a_value_still_says_why():
    """No number three times, and the status."""
    made = encoding.blood_pressure(None, None, None, status=0x0002)

    assert made.hex() == "10ff07ff07ff070200"
