"""One photoplethysmogram channel -> its upstrokes: every rise of the blood volume, from a minimum to a maximum.

::

    values ─▶ low-pass ─▶ minima and maxima ─▶ rises that belong together ─▶ Upstroke

Wander needs no filter: within one upstroke it is small, and no other part of the wave is looked at.  An upstroke depends on
the samples alone, never on how they were cut into blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.ppg_low_pass import PulseLowPass
from edge.features.history import History

Column = NDArray[np.float64]
"""Shape (n_samples,)."""

LONGEST_RISE_S = 2.0
"""What rises for longer is no pulse; only its end is looked at."""
_ROUNDING_RATIO = 1e-8
"""A rise below this share of the level is the filter's rounding, which moves even a constant (1e-10 at 1000 Hz)."""
_PIECE_S = 2.0
_KEPT_S = _PIECE_S + 2 * LONGEST_RISE_S
"""The filtered signal is remembered for so long: two rises that are joined, seen from the end of a piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstroke:
    """One rise, in sample indices of the filtered signal."""

    begin: int
    """The minimum it begins with."""
    peak: int
    """The maximum it ends with."""
    steepest: int
    """Just after the steepest step."""
    foot: float
    """Where the steepest tangent meets the level of the minimum ("intersecting tangents"): a long flat diastole has its
    minimum anywhere, the tangent does not move with it."""
    low: float
    """Level of the minimum, in the channel's unit."""
    high: float
    """Level of the maximum."""
    slope: float
    """Steepest rise, in the channel's unit per second."""

    @property
    def height(self) -> float:
        """From minimum to maximum."""
        return self.high - self.low

    @property
    def strength(self) -> float:
        """How much of a pulse it is: systole is both the highest and the steepest rise of a cycle."""
        return math.sqrt(max(0.0, (self.high - self.low) * self.slope))


class Upstrokes:
    """Find the upstrokes of one channel.

    Parameters
    ----------
    rate_hz : float
        Sampling rate.
    sequence : int
        Sample index of the first sample to come.
    join_s : float
        Rises whose maxima are no further apart are one; a pulse may have a notch in its upstroke.
    """

    def __init__(self, rate_hz: float, sequence: int, join_s: float) -> None:
        self._rate_hz = rate_hz
        self._low_pass = PulseLowPass(rate_hz)
        self._n_join = round(join_s * rate_hz)
        self._n_longest = round(LONGEST_RISE_S * rate_hz)
        self._n_piece = max(1, round(_PIECE_S * rate_hz))
        self._signal = History(1, round(_KEPT_S * rate_hz) + 2, sequence)
        self._is_rising: bool | None = None
        self._minimum: int | None = None
        self._held: Upstroke | None = None
        self.delay_samples = self._low_pass.delay_samples
        """By how much the filtered signal is late."""

    @property
    def end(self) -> int:
        """Sample index that comes next."""
        return self._signal.end

    def find(self, values: Column) -> list[Upstroke]:
        """Return the upstrokes that `values`, which follow those before without a hole, made certain."""
        filtered = self._low_pass.run(values[:, None])
        out: list[Upstroke] = []
        for at in range(0, len(filtered), self._n_piece):
            first = self._signal.end
            self._signal.append(filtered[at : at + self._n_piece])
            for turn, is_rising in self._turns(first):
                if is_rising:
                    self._minimum = turn
                elif self._minimum is not None:
                    out += self._rise(self._minimum, turn)
        if self._held is not None and self._signal.end - 1 - self._held.peak > self._n_join:
            out += self.flush()
        return out

    def flush(self) -> list[Upstroke]:
        """Return the upstroke that is still held back."""
        held, self._held = self._held, None
        return [] if held is None else [held]

    def _turns(self, first: int) -> list[tuple[int, bool]]:
        """Return where the new samples turn, and whether they rise after it."""
        low = max(first - 1, self._signal.first)
        curve = self._signal.rows(low, self._signal.end)[:, 0]
        is_rising = curve[1:] > curve[:-1]
        if len(is_rising) == 0:
            return []
        turns: list[tuple[int, bool]] = []
        if self._is_rising is not None and bool(is_rising[0]) != self._is_rising:
            turns.append((low, bool(is_rising[0])))
        self._is_rising = bool(is_rising[-1])
        changes = np.flatnonzero(is_rising[1:] != is_rising[:-1])
        turns.extend((low + 1 + k, bool(is_rising[k + 1])) for k in changes.tolist())
        return turns

    def _rise(self, minimum: int, maximum: int) -> list[Upstroke]:
        """Return the upstroke before, if the new one does not belong to it."""
        rise = self._upstroke(minimum, maximum)
        if not rise.height > _ROUNDING_RATIO * abs(rise.high):
            return []
        held = self._held
        if held is None or maximum - held.peak > self._n_join:
            self._held = rise
            return [] if held is None else [held]
        dip = held.high - rise.low
        if dip < rise.height and dip < held.height:
            self._held = self._upstroke(held.begin, maximum)
        elif dip >= rise.height:
            # A ripple on the way down, or two waves so close that only one can be a pulse.
            self._held = max(held, rise, key=lambda upstroke: upstroke.strength)
        else:
            self._held = rise
        return []

    def _upstroke(self, minimum: int, maximum: int) -> Upstroke:
        begin = max(minimum, maximum - self._n_longest)
        curve = self._signal.rows(begin, maximum + 1)[:, 0]
        steps = curve[1:] - curve[:-1]
        k = int(steps.argmax())
        step = float(steps[k])
        low, high = float(curve[0]), float(curve[-1])
        # The tangent touches in the middle of the steepest step.
        rise = 0.5 * (float(curve[k]) + float(curve[k + 1])) - low
        foot = begin + k + 0.5 - rise / step if step > 0 else float(begin)
        return Upstroke(
            begin=begin,
            peak=maximum,
            steepest=begin + k + 1,
            foot=max(foot, float(begin)),
            low=low,
            high=high,
            slope=max(0.0, step) * self._rate_hz,
        )
