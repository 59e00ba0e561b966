"""Beats -> heart-rate variability in the time domain over the last minute and the last five.

Definitions of the Task Force of ESC and NASPE 1996 (doi:10.1161/01.CIR.93.5.1043): RMSSD, SDNN and pNN50 over
normal-to-normal (NN) intervals, five minutes being the standard short recording.  An interval is NN when both its beats
are normal (`normal_beats`) and it lies within 20 % of the median NN interval around it.  Others are left out, not
interpolated, and no difference reaches over them; the share of the window that NN intervals fill is its coverage.

In atrial fibrillation there is no sinus node to vary: a window whose intervals follow each other without order has no
value, with the reason ``irregular``.  The 20 % rule alone would delete part of the intervals and show the rest.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import islice

from edge.features.normal_beats import IRREGULAR_SHARE, is_jump, is_normal, is_similar
from edge.messages import Beat

NS_PER_S = 1_000_000_000

_LONGEST_RR_MS = 10_000.0
_NN50_US = 50_000
_FEWEST_PAIRS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class HrvSettings:
    """Which intervals count, and how much of a window they must cover."""

    windows_s: tuple[float, float] = (60.0, 300.0)
    """Windows that are kept, each ending now: one minute, the usual ultra-short one, and the Task Force's five."""
    min_coverage_ratio: float = 0.8
    """Smallest share of the window that normal intervals must cover.  Measured on 20 MIT-BIH records with bursts of beats
    taken out until 80 % was left: RMSSD and SDNN of nine windows in ten change by less than 10 % (one minute) and 6 %
    (five); at 50 % left, by 21 % and 13 %."""
    max_deviation_ratio: float = 0.2
    """An interval that differs more than this from the median of its neighbours is no normal one: the usual 20 % rule
    against ectopic beats and missed ones."""
    n_neighbours: int = 5
    """Intervals on both sides that make that median (own choice)."""

    def __post_init__(self) -> None:
        if not 0 < self.windows_s[0] < self.windows_s[1] < math.inf:
            raise ValueError(f"expected two windows_s, the shorter first, got {self.windows_s}")
        if not 0 <= self.min_coverage_ratio <= 1 or not self.max_deviation_ratio > 0 or self.n_neighbours < 1:
            raise ValueError(
                "expected 0 <= min_coverage_ratio <= 1, max_deviation_ratio > 0 and n_neighbours >= 1, "
                f"got {self.min_coverage_ratio}, {self.max_deviation_ratio} and {self.n_neighbours}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hrv:
    """Variability of one window; None where nothing can be said."""

    rmssd_ms: float | None
    """Root mean square of the differences of successive intervals."""
    sdnn_ms: float | None
    """Standard deviation of the intervals (n - 1)."""
    pnn50_pct: float | None
    """Share of differences above 50 ms."""
    coverage_ratio: float
    """Share of the window that normal intervals cover."""
    absent: str | None = None
    """Why there is no value: ``irregular`` or ``coverage``; None exactly when there are values."""


def named_measures(minute: Hrv, five: Hrv) -> tuple[tuple[str, float | None, Hrv], ...]:
    """Return every measure with its value and the window that it is taken over.

    The plain names are those in most use: RMSSD of a minute, which settles fast; SDNN and pNN50 of five minutes, the
    standard short recording (Task Force 1996).
    """
    return (
        ("rmssd_ms", minute.rmssd_ms, minute),
        ("sdnn_ms", five.sdnn_ms, five),
        ("pnn50_pct", five.pnn50_pct, five),
        ("rmssd_5min_ms", five.rmssd_ms, five),
        ("sdnn_1min_ms", minute.sdnn_ms, minute),
        ("pnn50_1min_pct", minute.pnn50_pct, minute),
    )


class HrvWindow:
    """The variability of one ECG stream, kept up to date beat by beat.

    Intervals are counted in whole microseconds, so that sums stay exact however long it runs, and a window costs the
    same whatever its length.

    Parameters
    ----------
    settings : HrvSettings
        Which intervals count.
    """

    def __init__(self, settings: HrvSettings = HrvSettings()) -> None:
        self._settings = settings
        self._windows = (_Window(settings.windows_s[0]), _Window(settings.windows_s[1]))
        self._last: _Mark | None = None

    def add(self, beat: Beat, *, is_doubtful: bool = False) -> None:
        """Take `beat` in; `is_doubtful` says that the second it lies in is known to be unusable.

        A beat that is not later than the one before begins a new time line: everything before is forgotten.
        """
        if self._last is not None and beat.at_ns <= self._last.at_ns:
            self.reset()
        before, self._last = self._last, _Mark(beat, is_doubtful=is_doubtful)
        rr_ms = beat.rr_ms
        if before is None or rr_ms is None or not 0 < rr_ms < _LONGEST_RR_MS:
            interval = _Interval(beat.at_ns)
        else:
            interval = _Interval(
                beat.at_ns,
                conducted_us=round(1000 * rr_ms) if before.is_conducted and self._last.is_conducted else None,
                is_normal=before.is_normal and self._last.is_normal,
            )
        for window in self._windows:
            window.intervals.append(interval)
            window.forget_until(beat.at_ns)
        self._judge(1)

    def doubt(self, from_ns: int) -> None:
        """Take every beat after `from_ns`, and the intervals that begin or end with it, out of all values."""
        if self._last is None or self._last.at_ns <= from_ns:
            return
        self._last.is_conducted = self._last.is_normal = False
        n_doubtful = 0
        for interval in reversed(self._windows[1].intervals):
            if interval.end_ns <= from_ns:
                break
            interval.conducted_us = None
            interval.is_normal = False
            n_doubtful += 1
        self._judge(n_doubtful)

    def call_abnormal(self, beat: Beat) -> None:
        """Take the intervals that begin or end with `beat`, whose class has become known, out of all values."""
        if self._last is not None and self._last.at_ns == beat.at_ns:
            self._last.is_normal = False
        intervals = self._windows[1].intervals
        n_after = 0
        for interval in reversed(intervals):
            if interval.end_ns < beat.at_ns:
                return
            n_after += 1
            if interval.end_ns == beat.at_ns:
                break
        else:
            return
        # The interval that it ends, and the one that it begins, where that is there already.
        for k in range(len(intervals) - n_after, min(len(intervals), len(intervals) - n_after + 2)):
            intervals[k].is_normal = False
        self._judge(n_after)

    def values(self, at_ns: int) -> tuple[Hrv, Hrv]:
        """Return the variability of the shorter and of the longer window, each ending at `at_ns`."""
        short, long = self._windows
        least = self._settings.min_coverage_ratio
        return short.hrv(at_ns, least), long.hrv(at_ns, least)

    def reset(self) -> None:
        """Forget every beat."""
        self._windows = (_Window(self._settings.windows_s[0]), _Window(self._settings.windows_s[1]))
        self._last = None

    def _judge(self, n_new: int) -> None:
        """Decide anew about the last `n_new` intervals and those that have them for neighbours."""
        n = self._settings.n_neighbours
        recent = list(islice(reversed(self._windows[1].intervals), n_new + 2 * n + 1))[::-1]
        lengths_us = [interval.conducted_us if interval.is_normal else None for interval in recent]
        n_judged = min(n_new + n, len(recent))
        for k in range(len(recent) - n_judged, len(recent)):
            length_us = lengths_us[k]
            around_us = sorted(length for length in lengths_us[max(0, k - n) : k + n + 1] if length is not None)
            is_nn = length_us is not None and self._is_usual(length_us, around_us)
            self._recount(recent[k], length_us if is_nn else None, recent[k - 1] if k > 0 else None)

    def _is_usual(self, length_us: int, around_us: list[int]) -> bool:
        """Return whether an interval is near the median of the intervals around it, in order of length."""
        middle = len(around_us) // 2
        usual_us = (around_us[middle] + around_us[~middle]) / 2
        return abs(length_us - usual_us) <= self._settings.max_deviation_ratio * usual_us

    def _recount(self, interval: _Interval, nn_us: int | None, before: _Interval | None) -> None:
        """Let `interval` count as what it now is, in every window that still holds it."""
        step_us = (
            nn_us - before.nn_us if nn_us is not None and before is not None and before.nn_us is not None else None
        )
        jump = None
        if before is not None and before.conducted_us is not None and interval.conducted_us is not None:
            jump = is_jump(before.conducted_us, interval.conducted_us)
        if (nn_us, step_us, jump) == (interval.nn_us, interval.step_us, interval.is_jump):
            return
        holders = [window for window in self._windows if window.holds(interval)]
        for window in holders:
            window.count(interval, -1)
        interval.nn_us, interval.step_us, interval.is_jump = nn_us, step_us, jump
        for window in holders:
            window.count(interval, +1)


class _Mark:
    """What the next interval must know of the beat that it begins with."""

    __slots__ = ("at_ns", "is_conducted", "is_normal")

    def __init__(self, beat: Beat, *, is_doubtful: bool) -> None:
        self.at_ns = beat.at_ns
        self.is_conducted = not is_doubtful and not beat.is_noise_suspect and is_similar(beat)
        self.is_normal = self.is_conducted and is_normal(beat)


class _Interval:
    """One interval between two beats, and what it counts for."""

    __slots__ = ("conducted_us", "end_ns", "is_jump", "is_normal", "nn_us", "step_us")

    def __init__(self, end_ns: int, *, conducted_us: int | None = None, is_normal: bool = False) -> None:
        self.end_ns = end_ns
        self.conducted_us = conducted_us
        """Its length, where both beats are certain and conducted as usual, premature or not."""
        self.is_normal = is_normal
        self.nn_us: int | None = None
        """Its length, where it is a normal-to-normal interval."""
        self.step_us: int | None = None
        """Difference to the interval before, where both are normal-to-normal."""
        self.is_jump: bool | None = None


class _Window:
    """Sums over the intervals that ended within one window."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._span_ns = round(span_s * NS_PER_S)
        self.intervals: deque[_Interval] = deque()
        self._n = self._sum_us = self._squares_us2 = 0
        self._n_steps = self._step_squares_us2 = self._n_above_50 = 0
        self._n_pairs = self._n_jumps = 0

    def holds(self, interval: _Interval) -> bool:
        """Return whether `interval` is counted here; intervals end one after the other."""
        return bool(self.intervals) and interval.end_ns >= self.intervals[0].end_ns

    def forget_until(self, at_ns: int) -> None:
        """Take out what has left the window that ends at `at_ns`."""
        while self.intervals and self.intervals[0].end_ns <= at_ns - self._span_ns:
            self.count(self.intervals.popleft(), -1)

    def count(self, interval: _Interval, sign: int) -> None:
        """Add (`sign` 1) or take out (-1) what `interval` counts for."""
        if interval.nn_us is not None:
            self._n += sign
            self._sum_us += sign * interval.nn_us
            self._squares_us2 += sign * interval.nn_us * interval.nn_us
        if interval.step_us is not None:
            self._n_steps += sign
            self._step_squares_us2 += sign * interval.step_us * interval.step_us
            self._n_above_50 += sign * (abs(interval.step_us) > _NN50_US)
        if interval.is_jump is not None:
            self._n_pairs += sign
            self._n_jumps += sign * interval.is_jump

    def hrv(self, at_ns: int, min_coverage_ratio: float) -> Hrv:
        """Return the variability of the window that ends at `at_ns`."""
        self.forget_until(at_ns)
        coverage = self._sum_us / (1e6 * self._span_s)
        absent = None
        if self._n_jumps > IRREGULAR_SHARE * self._n_pairs and self._n_pairs >= _FEWEST_PAIRS:
            absent = "irregular"
        elif coverage < min_coverage_ratio or self._n < 2 or self._n_steps == 0:
            absent = "coverage"
        if absent is not None:
            return Hrv(rmssd_ms=None, sdnn_ms=None, pnn50_pct=None, coverage_ratio=coverage, absent=absent)
        variance_us2 = (self._n * self._squares_us2 - self._sum_us**2) / (self._n * (self._n - 1))
        return Hrv(
            rmssd_ms=math.sqrt(self._step_squares_us2 / self._n_steps) / 1000,
            sdnn_ms=math.sqrt(variance_us2) / 1000,
            pnn50_pct=100.0 * self._n_above_50 / self._n_steps,
            coverage_ratio=coverage,
        )
