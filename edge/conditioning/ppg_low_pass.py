"""The low-pass in front of everything that looks at the shape of a pulse wave in light.

A Bessel filter of order 4 at 7 Hz: the pulse has its energy below 5 Hz and the harmonics that shape its foot a little
above, and a Bessel filter delays all of them by the same time, so that the shape is kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Columns = NDArray[np.float64]
"""Shape (n_samples, n_columns)."""

LOW_PASS_HZ = 7.0
"""−3 dB edge."""
LARGEST_VALUE = 1e9
"""Nothing a converter gives reaches this; beyond it a filter would overflow."""

_ORDER = 4
_MOST_RATE_HZ = 1000.0
"""Largest rate for a single section."""
_HIGHEST_EDGE = 0.4
"""The edge as a share of the sampling rate, where the rate is below 17.5 Hz."""


class PulseLowPass:
    """Low-pass several columns, continuing from block to block.

    Starts settled on the first row.  Up to 1000 Hz it runs as one section of order 4 with ``lfilter``, which costs a fifth
    of ``sosfilt`` for short blocks (4 us instead of 20 us for 25 samples) and differs from it by less than 1e-5 on a level
    of 100,000; above, where that form loses precision, as two sections of order 2.

    Parameters
    ----------
    rate_hz : float
        Sampling rate.
    """

    def __init__(self, rate_hz: float) -> None:
        edge_hz = min(LOW_PASS_HZ, _HIGHEST_EDGE * rate_hz)
        sos = np.asarray(signal.bessel(_ORDER, edge_hz, "lowpass", norm="mag", fs=rate_hz, output="sos"))
        if rate_hz <= _MOST_RATE_HZ:
            numerator, denominator = signal.bessel(_ORDER, edge_hz, "lowpass", norm="mag", fs=rate_hz)
            self._sections = [(np.asarray(numerator), np.asarray(denominator))]
            unit_states = [np.asarray(signal.lfilter_zi(numerator, denominator), dtype=np.float64)]
        else:
            self._sections = [(section[:3].copy(), section[3:].copy()) for section in sos]
            unit_states = list(np.asarray(signal.sosfilt_zi(sos), dtype=np.float64))
        self._unit_states = [state[:, None] for state in unit_states]
        self._states: list[Columns] | None = None
        self.delay_samples = _delay_samples(sos, rate_hz)
        """By how much the output is late."""

    def run(self, values: Columns) -> Columns:
        """Return `values`, finite and at least one row, low-passed: same shape."""
        if self._states is None:
            self._states = [state * values[0] for state in self._unit_states]
        for k, (numerator, denominator) in enumerate(self._sections):
            values, self._states[k] = signal.lfilter(numerator, denominator, values, axis=0, zi=self._states[k])
        return values

    def restart(self, column: int, value: float) -> None:
        """Settle one column on `value`, as after missing samples."""
        if self._states is not None:
            for state, unit_state in zip(self._states, self._unit_states, strict=True):
                state[:, column] = unit_state[:, 0] * value


def _delay_samples(sos: NDArray[np.float64], rate_hz: float) -> float:
    """Return the group delay at 2 Hz, in the middle of what makes an upstroke."""
    step_hz = 0.01
    _, response = signal.sosfreqz(sos, worN=[2.0 - step_hz, 2.0 + step_hz], fs=rate_hz)
    return float(np.angle(response[0] / response[1])) / (2 * np.pi * 2 * step_hz) * rate_hz
