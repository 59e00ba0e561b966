"""One photoplethysmogram channel -> its upstrokes: every rise of the blood volume, from a minimum to a maximum.

::

    values ─▶ low-pass (Bessel) ─▶ minima and maxima ─▶ rises that belong together ─▶ Upstroke

A Bessel filter delays everything it passes by the same time, so that the shape of the wave, and with it the foot, is
kept.  Wander needs no filter: within one upstroke it is small, and no other part of the wave is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from edge.features.history import History

Column = NDArray[np.float64]
"""Shape (n_samples,)."""

LOW_PASS_HZ = 7.0
"""−3 dB edge: the pulse has its energy below 5 Hz, and the harmonics that shape the foot a little above."""
_ORDER = 4
_HIGHEST_EDGE = 0.4
"""The edge as a share of the sampling rate, where the rate is below 17.5 Hz; nobody samples that slowly on purpose."""
KEPT_S = 6.0
"""How long the filtered signal is remembered: the longest pulse (2 s at 30 /min) and search-back with room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstroke:
    """One rise, in samples of the filtered signal."""

    foot: int
    """Sample index of the minimum it begins with."""
    peak: int
    """Sample index of the maximum it ends with."""
    height: float
    """From minimum to maximum, in the channel's unit."""
    slope: float
    """Steepest rise, in the channel's unit per second."""
    steepest: int
    """Sample index just after the steepest step."""

    @property
    def strength(self) -> float:
        """How much of a pulse it is: systole is both the highest and the steepest rise of a cycle."""
        return float(np.sqrt(self.height * self.slope))


class Upstrokes:
    """Find the upstrokes of one channel.

    Parameters
    ----------
    rate_hz : float
        Sampling rate.
    sequence : int
        Sample index of the first sample to come.
    join_s : float
        Rises whose maxima are closer than this, with a dip smaller than either between them, are one.
    """

    def __init__(self, rate_hz: float, sequence: int, join_s: float) -> None:
        edge_hz = min(LOW_PASS_HZ, _HIGHEST_EDGE * rate_hz)
        self._sos = np.asarray(signal.bessel(_ORDER, edge_hz, "lowpass", norm="mag", fs=rate_hz, output="sos"))
        self._unit_state = np.asarray(signal.sosfilt_zi(self._sos), dtype=np.float64)
        self._state: NDArray[np.float64] | None = None
        self._rate_hz = rate_hz
        self._n_join = round(join_s * rate_hz)
        self._signal = History(1, round(KEPT_S * rate_hz) + 1, sequence)
        self._is_rising: bool | None = None
        self._minimum: int | None = None
        self._held: Upstroke | None = None
        self.delay_samples = _delay_samples(self._sos, rate_hz)
        """By how much the filtered signal is late."""

    @property
    def end(self) -> int:
        """Sample index that comes next."""
        return self._signal.end

    def find(self, values: Column) -> list[Upstroke]:
        """Return the upstrokes that `values`, which follow those before without a hole, made certain."""
        if self._state is None:
            self._state = self._unit_state * values[0]
        filtered, self._state = signal.sosfilt(self._sos, values, zi=self._state)
        first = self._signal.end
        self._signal.append(np.asarray(filtered, dtype=np.float64)[:, None])
        out: list[Upstroke] = []
        for at, is_rising in self._turns(first):
            if is_rising:
                self._minimum = at
            elif self._minimum is not None:
                out += self._rise(self._minimum, at)
        if self._held is not None and self._is_over(self._held):
            out.append(self._held)
            self._held = None
        return out

    def flush(self) -> list[Upstroke]:
        """Return the upstroke that is still held back."""
        held, self._held = self._held, None
        return [] if held is None else [held]

    def level(self, at: int) -> float:
        """Return the filtered signal at a sample index that is not older than `KEPT_S`."""
        rows = self._signal.rows(at, at + 1)
        return float(rows[0, 0]) if len(rows) else 0.0

    def foot_offset(self, upstroke: Upstroke) -> float:
        """Return where the foot is, in samples from ``upstroke.steepest``: at most zero.

        Where the steepest tangent meets the level of the minimum ("intersecting tangents"): a long flat diastole has
        its minimum anywhere, the tangent does not move with it.
        """
        step = upstroke.slope / self._rate_hz
        if not step > 0:
            return float(upstroke.foot - upstroke.steepest)
        rise = self.level(upstroke.steepest) - 0.5 * step - self.level(upstroke.foot)
        return max(-0.5 - rise / step, float(upstroke.foot - upstroke.steepest))

    def _turns(self, first: int) -> list[tuple[int, bool]]:
        """Return where the new samples turn, and whether they rise after it."""
        low = max(first - 1, self._signal.first)
        is_rising = np.diff(self._signal.rows(low, self._signal.end)[:, 0]) > 0
        if len(is_rising) == 0:
            return []
        before = bool(is_rising[0]) if self._is_rising is None else self._is_rising
        self._is_rising = bool(is_rising[-1])
        is_turn = np.empty(len(is_rising), dtype=bool)
        is_turn[0] = is_rising[0] != before
        np.not_equal(is_rising[1:], is_rising[:-1], out=is_turn[1:])
        return [(low + int(k), bool(is_rising[k])) for k in np.flatnonzero(is_turn)]

    def _rise(self, minimum: int, maximum: int) -> list[Upstroke]:
        """Return the upstroke before, if the new one does not belong to it."""
        rise = self._upstroke(minimum, maximum)
        held = self._held
        if held is None or maximum - held.peak > self._n_join:
            self._held = rise
            return [] if held is None else [held]
        dip = self.level(held.peak) - self.level(minimum)
        if dip < min(held.height, rise.height):
            self._held = self._upstroke(held.foot, maximum) if dip < rise.height else held
            return []
        # Two separate waves so close together: the stronger one is kept, the other is a ripple on it.
        self._held = max(held, rise, key=lambda upstroke: upstroke.strength)
        return []

    def _is_over(self, held: Upstroke) -> bool:
        return self._signal.end - 1 - held.peak > self._n_join

    def _upstroke(self, minimum: int, maximum: int) -> Upstroke:
        curve = self._signal.rows(minimum, maximum + 1)[:, 0]
        steps = np.diff(curve)
        if len(steps) == 0:
            return Upstroke(foot=minimum, peak=maximum, height=0.0, slope=0.0, steepest=maximum)
        k = int(steps.argmax())
        return Upstroke(
            foot=minimum,
            peak=maximum,
            height=max(0.0, float(curve[-1] - curve[0])),
            slope=max(0.0, float(steps[k])) * self._rate_hz,
            steepest=maximum - len(steps) + k + 1,
        )


def _delay_samples(sos: NDArray[np.float64], rate_hz: float) -> float:
    """Return the group delay at 2 Hz, in the middle of what makes an upstroke."""
    step_hz = 0.01
    _, response = signal.sosfreqz(sos, worN=[2.0 - step_hz, 2.0 + step_hz], fs=rate_hz)
    return float(np.angle(response[0] / response[1])) / (2 * np.pi * 2 * step_hz) * rate_hz
