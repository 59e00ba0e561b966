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
        self._unusable_ns: deque[int] = deque(maxlen=80)

    def add(self, item: Breath | Quality) -> None:
        """Take the next breath or verdict on a second; one in the past is ignored."""
        if isinstance(item, Breath):
            if not self._breaths or item.at_ns > self._breaths[-1].at_ns:
                self._breaths.append(item)
        elif not self._qualities or item.at_ns > self._qualities[-1].at_ns:
            self._qualities.append(item)
            if not item.is_usable:
                self._unusable_ns.append(item.at_ns)

    def rate(self, until_ns: int, heart_rate_bpm: float | None) -> Rate:
        """Return the rate over the window that ends at `until_ns`."""
        settings = self._settings
        n_usable, poor, latest = self._usable(until_ns)
        usable_ratio = min(1.0, n_usable / settings.window_s)
        if latest is not None:
            return Rate(None, 0.0, latest)
        silence_s = self._silence_s(until_ns)
        if silence_s >= settings.no_breath_s:
            return Rate(None, 0.0, "no-breaths")
        intervals = self._intervals_s(until_ns)
        if usable_ratio < settings.min_usable_ratio or len(intervals) < 2:
            return Rate(None, 0.0, poor)
        if silence_s > 2.0 * median(intervals):  # a breath is overdue: the rate is falling
            intervals = [*intervals, silence_s]
        mean_s = fmean(intervals)
        bpm = 60.0 / mean_s
        if heart_rate_bpm is not None and abs(bpm - heart_rate_bpm) <= settings.cardiac_ratio * heart_rate_bpm:
            return Rate(None, 0.0, "cardiac-artefact")
        # Even breathing is counted well; the spread of the intervals grows with every breath missed or invented.
        spread_s = math.sqrt(fmean([(interval - mean_s) ** 2 for interval in intervals]))
        evenness = 1.0 / (1.0 + spread_s / mean_s)
        return Rate(bpm, evenness * usable_ratio)

    def _intervals_s(self, until_ns: int) -> list[float]:
        """Return the intervals of the window, or of the longer one, newest first.

        Only between breaths that are believed, with nothing unusable in between, and none from before an apnoea.
        """
        settings = self._settings
        from_ns = until_ns - round(settings.window_s * NS_PER_S)
        longest_ns = until_ns - round(settings.longest_window_s * NS_PER_S)
        intervals: list[float] = []
        later: Breath | None = None
        for breath in reversed(self._breaths):
            if breath.at_ns > until_ns:
                continue
            if breath.at_ns <= longest_ns or (breath.at_ns <= from_ns and len(intervals) >= settings.min_intervals):
                break
            is_believed = breath.quality >= settings.min_breath_quality
            is_joined = is_believed and later is not None and later.interval_s is not None
            if is_joined and later is not None and not self._is_interrupted(breath.at_ns, later.at_ns):
                interval_s = (later.at_ns - breath.at_ns) / NS_PER_S
                if interval_s >= settings.no_breath_s:
                    break
                intervals.append(interval_s)
            later = breath if is_believed else None
        return intervals

    def _is_interrupted(self, from_ns: int, to_ns: int) -> bool:
        """Return whether a second that touches the stretch was unusable."""
        return any(from_ns < at_ns < to_ns + NS_PER_S for at_ns in self._unusable_ns)

    def _usable(self, until_ns: int) -> tuple[int, str, str | None]:
        """Return the usable seconds of the window, why it may be too poor, and why nothing can be said of now."""
        from_ns = until_ns - round(self._settings.window_s * NS_PER_S)
        now_ns = until_ns - 3 * NS_PER_S
        n_usable = n_seconds = 0
        reasons: list[str] = []
        latest: str | None = "no-signal"
        for quality in reversed(self._qualities):
            if quality.at_ns > until_ns:
                continue
            if quality.at_ns <= from_ns:
                break
            n_seconds += 1
            if quality.is_usable:
                n_usable += 1
            else:
                reasons.append((*quality.reasons, "poor-signal")[0])
            if quality.at_ns > now_ns and latest is not None:
                latest = None if quality.is_usable else reasons[0]
        if reasons:
            return n_usable, max(set(reasons), key=lambda reason: (reasons.count(reason), reason)), latest
        is_whole = n_seconds >= self._settings.window_s - 1
        return n_usable, "too-few-breaths" if is_whole else "settling", latest

    def _silence_s(self, until_ns: int) -> float:
        """Return the usable seconds since the last breath that is believed, or since the first verdict."""
        least = self._settings.min_breath_quality
        since_ns = next((b.at_ns for b in reversed(self._breaths) if b.at_ns <= until_ns and b.quality >= least), None)
        n_usable = 0
        for quality in reversed(self._qualities):
            if since_ns is not None and quality.at_ns <= since_ns + NS_PER_S // 2:
                break
            n_usable += quality.is_usable and quality.at_ns <= until_ns
        return float(n_usable)
