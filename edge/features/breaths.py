"""Impedance or belt samples -> breaths: rises and falls that are large for this person, at any sampling rate.

::

    SampleBlock ─▶ means on a grid of about 0.1 s ─▶ smoothing over 1.2 s ─▶ turning points with hysteresis ─▶ Breath

Only differences between a trough and the peak beside it count, so a drifting baseline needs no filter.  What is large
is learned from the last breaths; until then from the range of the signal.  A breath is reported when the signal has
risen far enough above the trough, not at its peak: so the start of a slow breath is known early, as apnoea needs it.

The heart moves the chest as well.  The smoothing weakens its waves and the hysteresis skips what is small beside a
breath; without any breath nothing here can tell heart from lung, which is left to who knows the heart rate.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from statistics import median

import numpy as np

from edge.conditioning.sample_times import SampleTimes
from edge.messages import Breath, ChannelKind, Quality, SampleBlock

NS_PER_S = 1_000_000_000

_LARGEST_VALUE = 1e12
_LOST = ("lead-off", "sensor-off", "flat", "saturated")
"""After these the electrodes sit elsewhere or the gain is another: what was usual says nothing."""
_DEEPEST_RATIO = 0.25
"""Without breaths the usual swing shrinks to this share at the least, else noise would become breath."""

_BOTTOM_RATIO = 0.2
"""Below this share of a rise that counts, 5 % of the usual swing, the signal is still at the bottom: a breath that rises
like a cosine is put 6 % of its length too late, and noise in a long expiratory pause does not make it too early."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BreathSettings:
    """What a breath is."""

    grid_hz: float = 10.0
    """Least rate of the grid on which breaths are looked for: ten points in the fastest breath (own choice)."""
    smoothing_s: float = 1.2
    """Length of the Hann window: 35 % of a wave at 60/min is left, 9 % at 85/min and nothing at 100/min (computed).
    On 20 intensive-care records (BIDMC) 0.8 s counted the heart in one, 1.2 s in none."""
    swing_ratio: float = 0.25
    """A rise or fall counts from this share of the usual swing, so that breathing at 30 % of the usual depth is seen at
    once.  The error on BIDMC is 0.36 to 0.41/min from 0.2 to 0.4."""
    n_swings: int = 8
    """The usual swing is the median of this many (own choice: half a minute)."""
    learn_s: float = 10.0
    """Before that many swings are known, the range over this time stands for them: one breath at 6/min (own choice)."""
    noise_ratio: float = 2.0
    """A swing must also exceed this many standard deviations of the noise on the grid; smoothed, the noise is a third
    of that, so this is six of its standard deviations."""
    min_swing_ohm: float = 0.05
    """Least swing where the unit is Ohm.  Monitors state 0.1 Ohm as the least breath (Mindray V Series, operating
    instructions, specifications of impedance respiration); half of it, because smoothing takes away the rest."""
    decay_after_s: float = 10.0
    """After this long without a breath the usual swing begins to shrink: half of an apnoea's length, so that breathing
    which became a fifth as large (a turned body, another gain) is found before it is called one."""
    decay_half_s: float = 10.0
    """It halves in this time (own choice).  The first breath that only the shrunken swing let pass is the new measure."""
    forget_s: float = 120.0
    """After this long without a breath it is learned anew (own choice)."""
    shortest_interval_s: float = 0.75
    """Breaths closer than this are one: 60/min with a quarter of irregularity (own choice)."""

    def __post_init__(self) -> None:
        if not (self.grid_hz > 0 and self.smoothing_s > 0 and 0 < self.swing_ratio < 1 and self.n_swings >= 1):
            raise ValueError(f"expected positive grid_hz, smoothing_s, n_swings and 0 < swing_ratio < 1, got {self}")


class BreathDetector:
    """Find the breaths in the first respiration channel of a stream.

    Push the `Quality` of the same stream too: it fills `Breath.quality`, and a lost signal makes the detector learn
    anew.  A hole (a jump of ``sequence``, missing samples) interrupts: the next breath has no interval, the usual swing
    is kept.

    Parameters
    ----------
    settings : BreathSettings
        What a breath is.
    """

    def __init__(self, settings: BreathSettings = BreathSettings()) -> None:
        self._settings = settings
        self._swings: deque[float] = deque(maxlen=settings.n_swings)
        self._quality: Quality | None = None
        self._run: _Run | None = None

    def push(self, item: SampleBlock | Quality) -> list[Breath]:
        """Return the breaths that `item` made certain, in order of time."""
        if isinstance(item, Quality):
            self._heed(item)
            return []
        if item.n_samples == 0 or not math.isfinite(item.rate_hz):
            return []
        if self._run is None or not self._run.fits(item):
            column = next((k for k, ch in enumerate(item.channels) if ch.kind is ChannelKind.RESPIRATION), None)
            if column is None:
                return []
            self._run = _Run(self._settings, item, column, self._swings)
        return self._run.add(item, 1.0 if self._quality is None else self._quality.index)

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the signal so far and what is usual in it."""
        self._swings.clear()
        self._quality = None
        self._run = None

    def _heed(self, quality: Quality) -> None:
        if quality.kind is not ChannelKind.RESPIRATION:
            return
        self._quality = quality
        if not quality.is_usable and any(reason in _LOST for reason in quality.reasons):
            self._swings.clear()
            self._run = None


class _Run:
    """One stretch without holes: the grid, the smoothing and the turning points."""

    def __init__(self, settings: BreathSettings, first: SampleBlock, column: int, swings: deque[float]) -> None:
        self._settings = settings
        self._first = first
        self._column = column
        channel = first.channels[column]
        self._end = first.sequence
        self._n_bin = max(1, int(first.rate_hz // settings.grid_hz))
        self._grid_hz = first.rate_hz / self._n_bin
        self._times = SampleTimes(first.rate_hz)
        self._held = np.empty(0)
        self._taps = _hann(settings.smoothing_s * self._grid_hz)
        self._means: deque[float] = deque(maxlen=len(self._taps))
        self._bends: deque[float] = deque(maxlen=max(8, round(5.0 * self._grid_hz)))
        self._recent: deque[float] = deque(maxlen=max(3, round(settings.learn_s * self._grid_hz)))
        self._n_learn = max(1, round(settings.learn_s / 2 * self._grid_hz))
        self._n_second = round(self._grid_hz)
        self._floor = settings.min_swing_ohm if channel.unit == "Ohm" else 2.0 * (channel.resolution or 0.0)
        self._least = self._floor
        self._turns = _Turns(settings, swings)
        self._last_ns: int | None = None
        self._last_bin: int | None = None

    def fits(self, item: SampleBlock) -> bool:
        """Return whether `item` follows what was pushed before."""
        first = self._first
        is_same = item.channels is first.channels or item.channels == first.channels
        return item.sequence == self._end and item.rate_hz == first.rate_hz and is_same

    def add(self, item: SampleBlock, quality: float) -> list[Breath]:
        """Return the breaths that the samples of `item` made certain."""
        self._times.add(item.sequence, item.start_ns)
        n_bin = self._n_bin
        values = item.values[:, self._column]
        if self._end == self._first.sequence:  # the first bin of the grid that is whole
            values = values[-self._end % n_bin :] if len(values) > -self._end % n_bin else values[:0]
        self._end = item.sequence + item.n_samples
        held = np.concatenate([self._held, values])
        n_whole = len(held) // n_bin
        self._held = held[n_whole * n_bin :]
        means = held[: n_whole * n_bin].reshape(n_whole, n_bin).sum(axis=1) / n_bin
        first = (self._end - len(self._held)) // n_bin - n_whole
        out = []
        for k, mean in enumerate(means.tolist()):
            out += self._point(mean, first + k, quality)
        return out

    def _point(self, mean: float, k_bin: int, quality: float) -> list[Breath]:
        """Take the next point of the grid."""
        if not abs(mean) < _LARGEST_VALUE:  # NaN too
            self._means.clear()
            self._recent.clear()
            self._turns.restart()
            self._last_ns = self._last_bin = None
            return []
        means = self._means
        means.append(mean)
        if len(means) >= 3:
            self._bends.append(abs(mean - 2.0 * means[-2] + means[-3]))
        if k_bin % self._n_second == 0 and self._bends:
            # Second differences of white noise have sqrt(6) times its standard deviation; 0.6745 of it is the median.
            noise = median(self._bends) / (0.6745 * math.sqrt(6.0))
            self._least = max(self._floor, self._settings.noise_ratio * noise)
        if len(means) < len(self._taps):
            return []
        smooth = sum(map(mul, self._taps, self._means))
        recent = self._recent
        recent.append(smooth)
        if len(recent) < self._n_learn:
            return []
        at = k_bin - len(self._taps) // 2
        silence_s = math.inf if self._last_bin is None else (at - self._last_bin) / self._grid_hz
        if len(recent) > self._n_learn:
            turn = self._turns.point(smooth, at, silence_s, recent, self._least)
            return [] if turn is None else self._breath(*turn, quality)
        out: list[Breath] = []
        for k, value in enumerate(recent, start=at - len(recent) + 1):  # what was looked at so far, now with a measure
            turn = self._turns.point(value, k, silence_s, recent, self._least)
            out += [] if turn is None else self._breath(*turn, quality)
        return out

    def _breath(self, k_bin: int, swing: float, quality: float) -> list[Breath]:
        at_ns = self._times.at_ns(k_bin * self._n_bin + self._n_bin // 2)
        interval_s = None if self._last_ns is None else (at_ns - self._last_ns) / NS_PER_S
        if interval_s is not None and interval_s < self._settings.shortest_interval_s:
            return []
        self._last_ns = at_ns
        self._last_bin = k_bin
        return [
            Breath(
                sensor=self._first.sensor,
                stream=self._first.stream,
                at_ns=at_ns,
                interval_s=interval_s,
                amplitude=swing,
                quality=quality,
            )
        ]


class _Turns:
    """Troughs and peaks that stand out by more than a share of what is usual."""

    def __init__(self, settings: BreathSettings, swings: deque[float]) -> None:
        self._settings = settings
        self._swings = swings
        self._usual = median(swings) if len(swings) == settings.n_swings else None
        self.restart()

    def restart(self) -> None:
        """Forget where the signal is, not what is usual in it."""
        self._is_falling: bool | None = None
        self._low = math.inf
        self._high = -math.inf
        self._low_at = 0
        self._peak: float | None = None

    def point(
        self, value: float, at: int, silence_s: float, recent: Sequence[float], least: float
    ) -> tuple[int, float] | None:
        """Return where an inspiration began and the swing before it, at the point that makes it certain."""
        usual = self._expected(silence_s, recent)
        needed = max(least, self._settings.swing_ratio * usual)
        if self._is_falling is not True:
            self._high = max(self._high, value)
            if value < self._high - needed:
                if self._is_falling is False:
                    self._learn(self._high - self._low)
                self._is_falling = True
                self._peak = self._high
                self._low, self._low_at = value, at
                return None
        if self._is_falling is not False:
            self._low = min(self._low, value)
            if value <= self._low + _BOTTOM_RATIO * needed:  # the inspiration begins after the pause, not in it
                self._low_at = at
            if value > self._low + needed:
                return self._rise(value)
        return None

    def _rise(self, value: float) -> tuple[int, float]:
        """Turn upwards: return where the inspiration began and its swing."""
        self._is_falling = False
        self._high = value
        if self._peak is None:  # the first thing seen of this stretch: the swing so far
            return self._low_at, value - self._low
        swing = self._peak - self._low
        if self._usual is not None and swing < self._settings.swing_ratio * self._usual:
            self._swings.clear()
            self._usual = swing
        self._learn(swing)
        return self._low_at, swing

    def _expected(self, silence_s: float, recent: Sequence[float]) -> float:
        settings = self._settings
        if self._usual is not None and math.inf > silence_s > settings.forget_s:
            self._usual = None
            self._swings.clear()
        if self._usual is None:
            return max(recent) - min(recent)
        if not settings.decay_after_s < silence_s < math.inf:
            return self._usual
        halves = (silence_s - settings.decay_after_s) / settings.decay_half_s
        return self._usual * max(_DEEPEST_RATIO, math.pow(0.5, halves))

    def _learn(self, swing: float) -> None:
        self._swings.append(swing)
        if len(self._swings) == self._settings.n_swings:
            self._usual = median(self._swings)


def _hann(n_wanted: float) -> tuple[float, ...]:
    """Return a Hann window of an odd number of points, about `n_wanted`, that sums to 1."""
    n = 2 * max(0, round(n_wanted / 2)) + 1
    taps = np.hanning(n + 2)[1:-1]
    return tuple((taps / taps.sum()).tolist())
