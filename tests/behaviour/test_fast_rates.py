"""The fastest rhythms that a monitor must count."""

import pytest

from firmware_bridge.virtual import monitor_waveforms as waveforms
from firmware_bridge.virtual.monitor_waveforms import Complex
from tests.behaviour.monitor import watch


def test_300_a_minute_is_shown_nearly_all_the_time():
    """At the upper end of the range two beats in half a minute are lost: their seconds are off, the others are exact."""
    shape = Complex(qrs_ms=80.0, t_ms=100.0, qt_ms=190.0)

    rates = watch(waveforms.regular(300.0, 40.0, shape=shape)).rates(12, 39)

    assert sum(rate == pytest.approx(300.0, abs=1.0) for rate in rates) >= 26


@pytest.mark.parametrize("qrs_mv", [0.5, 1.0, 5.0])
def test_wide_beats_at_200_a_minute(qrs_mv):
    """Beats of 120 ms that leave no rest between them are neither motion nor noise."""
    shape = Complex(qrs_mv=qrs_mv, qrs_ms=120.0, t_mv=0.2 * qrs_mv, t_ms=120.0, qt_ms=270.0)

    rates = watch(waveforms.regular(200.0, 30.0, shape=shape)).rates(12, 28)

    assert rates == pytest.approx([200.0] * 17, abs=1.0)
