"""Breaths that were counted -> a respiration rate over the last half minute, with its quality or why there is none."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import fmean, median

from edge.messages import Breath, Quality

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CountSettings:
    """When counted breaths make a rate."""

    window_s: float = 32.0
    """Breaths of this time count: the usual window (Charlton 2018, doi:10.1109/RBME.2017.2763681)."""
    longest_window_s: float = 60.0
    """Slow breathing is counted over this time: four breaths at 4/min."""
    min_intervals: int = 4
    """With fewer intervals the longer window is used (own choice)."""
    no_breath_s: float = 20.0
    """Without a breath for this long in usable signal there is no rate: an apnoea's usual length."""
    min_usable_ratio: float = 0.5
    """Least share of the window that was usable (own choice)."""
    min_breath_quality: float = 0.5
    """A breath below it is not believed; `RespirationQualitySettings.min_quality`."""
    cardiac_ratio: float = 0.05
    """A rate within this of the heart rate is the heart's: the bound of GE CARESCAPE monitors (operator's manual,
    cardiac artefact alarm)."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate, or why there is none."""

    bpm: float | None
    quality: float
    absent: str | None = None


class BreathCounts:
    """The breaths of one stream over the last minute.

    Parameters
    ----------
    settings : CountSettings
        When counted breaths make a rate.
    """

    def __init__(self, settings: CountSettings = CountSettings()) -> None:
        self._settings = settings
        self._breaths: deque[Breath] = deque(maxlen=128)
        self._qualities: deque[Quality] = deque(maxlen=80)

    def add(self, item: Breath | Quality) -> None:
        """Take the next breath or verdict on a second; one in the past is ignored."""
        if isinstance(item, Breath):
            if not self._breaths or item.at_ns > self._breaths[-1].at_ns:
                self._breaths.append(item)
        elif not self._qualities or item.at_ns > self._qualities[-1].at_ns:
            self._qualities.append(item)

    def rate(self, until_ns: int, heart_rate_bpm: float | None) -> Rate:
        """Return the rate over the window that ends at `until_ns`."""
        settings = self._settings
        window_s = settings.window_s
        intervals = self._intervals_s(until_ns, window_s)
        if len(intervals) < settings.min_intervals:
            window_s = settings.longest_window_s
            intervals = self._intervals_s(until_ns, window_s)
        usable_ratio, poor = self._usable(until_ns)
        silence_s = self._silence_s(until_ns)
        absent = self._unreadable(until_ns)
        if absent is None and silence_s >= settings.no_breath_s:
            absent = "no-breaths"
        if absent is None and usable_ratio < settings.min_usable_ratio:
            absent = poor
        if absent is None and len(intervals) < 2:
            absent = "too-few-breaths"
        if absent is not None:
            return Rate(None, 0.0, absent)
        if silence_s > 2.0 * median(intervals):  # a breath is overdue: the rate is falling
            intervals = [*intervals, silence_s]
        mean_s = fmean(intervals)
        bpm = 60.0 / mean_s
        if heart_rate_bpm is not None and abs(bpm - heart_rate_bpm) <= settings.cardiac_ratio * heart_rate_bpm:
            return Rate(None, 0.0, "cardiac-artefact")
        # Even breathing is counted well; the spread of the intervals grows with every breath missed or invented.
        spread_s = math.sqrt(fmean((interval - mean_s) ** 2 for interval in intervals))
        evenness = 1.0 / (1.0 + spread_s / mean_s)
        return Rate(bpm, evenness * usable_ratio)

    def _intervals_s(self, until_ns: int, window_s: float) -> list[float]:
        """Return the intervals of the window between breaths that are believed, with nothing unusable in between."""
        from_ns = until_ns - round(window_s * NS_PER_S)
        unusable = [q.at_ns for q in self._qualities if not q.is_usable]
        intervals: list[float] = []
        previous: Breath | None = None
        for breath in self._breaths:
            if breath.at_ns > until_ns:
                break
            is_believed = breath.quality >= self._settings.min_breath_quality
            if previous is not None and is_believed and breath.interval_s is not None and previous.at_ns > from_ns:
                since_ns, to_ns = previous.at_ns, breath.at_ns
                if not any(since_ns < at_ns < to_ns + NS_PER_S for at_ns in unusable):
                    intervals.append((to_ns - since_ns) / NS_PER_S)
            previous = breath if is_believed else None
        return intervals

    def _unreadable(self, until_ns: int) -> str | None:
        """Return why nothing can be said of now; None when something can."""
        recent = [q for q in self._qualities if until_ns - 3 * NS_PER_S < q.at_ns <= until_ns]
        if not recent:
            return "no-signal"
        return None if any(q.is_usable for q in recent) else (*recent[-1].reasons, "poor-signal")[0]

    def _usable(self, until_ns: int) -> tuple[float, str]:
        """Return the share of the window that was usable, and the commonest reason why the rest was not."""
        from_ns = until_ns - round(self._settings.window_s * NS_PER_S)
        inside = [q for q in self._qualities if from_ns < q.at_ns <= until_ns]
        reasons = [q.reasons[0] for q in inside if not q.is_usable and q.reasons]
        n_usable = sum(q.is_usable for q in inside)
        poor = max(set(reasons), key=lambda reason: (reasons.count(reason), reason)) if reasons else "too-few-breaths"
        return min(1.0, n_usable / round(self._settings.window_s)), poor

    def _silence_s(self, until_ns: int) -> float:
        """Return the usable seconds since the last breath, or since the first verdict."""
        breaths = [b.at_ns for b in self._breaths if b.at_ns <= until_ns]
        since_ns = breaths[-1] if breaths else -(2**63)
        return float(sum(q.is_usable for q in self._qualities if since_ns + NS_PER_S // 2 < q.at_ns <= until_ns))
