"""PulseLowPass is the Bessel filter it says, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from edge.conditioning.ppg_low_pass import LOW_PASS_HZ, PulseLowPass


@pytest.mark.parametrize("rate_hz", [25.0, 64.0, 125.0, 1000.0, 4000.0])
def test_it_gives_what_second_order_sections_give(rate_hz):
    """However it is computed, it is the same filter, also for light on a level of 100,000 counts."""
    rng = np.random.default_rng(0)
    values = 1e5 + 1000.0 * rng.standard_normal((2000, 2))
    sos = signal.bessel(4, min(LOW_PASS_HZ, 0.4 * rate_hz), "lowpass", norm="mag", fs=rate_hz, output="sos")
    expected, _ = signal.sosfilt(sos, values, axis=0, zi=signal.sosfilt_zi(sos)[:, :, None] * values[0])

    filtered = PulseLowPass(rate_hz).run(values)

    assert np.abs(filtered - expected).max() < 1e-5


def test_blocks_do_not_matter():
    """Row by row and at once are the same to the last bit."""
    values = np.random.default_rng(1).standard_normal((500, 2))
    stage = PulseLowPass(125.0)

    parts = np.concatenate([stage.run(values[at : at + 7]) for at in range(0, 500, 7)])

    assert np.array_equal(parts, PulseLowPass(125.0).run(values))


@pytest.mark.parametrize("frequency_hz", [0.5, 1.0, 2.0, 4.0])
def test_everything_it_passes_is_late_by_the_same_time(frequency_hz):
    """The delay is that at 2 Hz within 2 ms from 0.5 to 4 Hz, so that the shape of a pulse is kept."""
    rate_hz = 125.0
    time_s = np.arange(2000) / rate_hz
    stage = PulseLowPass(rate_hz)

    filtered = stage.run(np.sin(2 * np.pi * frequency_hz * time_s)[:, None])[1000:, 0]

    wave = np.exp(-2j * np.pi * frequency_hz * time_s[1000:])
    delay_s = -np.angle(np.sum(filtered * wave) * 1j) / (2 * np.pi * frequency_hz)
    assert delay_s == pytest.approx(stage.delay_samples / rate_hz, abs=0.002)


def test_a_column_can_start_anew():
    """After missing samples a column is settled on its next value; the other one goes on."""
    stage = PulseLowPass(100.0)
    stage.run(np.full((50, 2), 5.0))

    stage.restart(1, 80.0)

    assert stage.run(np.array([[5.0, 80.0]])) == pytest.approx(np.array([[5.0, 80.0]]))
