"""Beats and verdicts of one ECG stream -> heart rate and its variability, each with a value or a reason."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace

from edge.conditioning.quality_rules import WAVES
from edge.features.heart_rate import N_INTERVALS, heart_rate_bpm
from edge.features.hrv import HrvSettings, HrvWindow, named_measures
from edge.features.signal_state import SignalState, SignalStateSettings
from edge.messages import Beat, BeatKind, Gap, Measurement, Quality

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class EcgVitalsSettings:
    """When a value of the ECG may be shown."""

    no_beats_s: float = 4.0
    """Without a beat for this long in usable signal there is no heart rate (the 4 s of an asystole, CinC 2015)."""
    beat_delay_s: float = 0.7
    """A beat may be this old when it is reported; a pause is counted from after it (`EcgBeats`: 0.48 s in the median)."""
    rr_age_s: float = 30.0
    """Older RR intervals do not count in the rate: twelve intervals at 30 bpm take 24 s."""
    hrv: HrvSettings = field(default_factory=HrvSettings)
    """Which intervals count in the variability, over one minute and over five."""


class EcgVitals:
    """What is known of one ECG stream.

    Parameters
    ----------
    settings : EcgVitalsSettings
        When a value may be shown.
    signal : SignalStateSettings
        When the signal is usable.
    source : str
        Sensor and stream, as measurements name them.
    """

    def __init__(self, settings: EcgVitalsSettings, signal: SignalStateSettings, source: str) -> None:
        self._settings = settings
        self._source = source
        self.signal = SignalState(signal)
        """What the verdicts on the stream amount to."""
        self._beats_at_ns: deque[int] = deque()
        self._is_doubtful: deque[bool] = deque()
        self._rr_ms: deque[float] = deque()  # NaN where one of the two beats is in doubt
        self._rate_from_ns: int | None = None
        self._hrv = HrvWindow(settings.hrv)

    def add_beat(self, beat: Beat) -> None:
        """Keep `beat`; it is in doubt when its second was already called unusable."""
        is_doubtful = beat.is_noise_suspect or self.signal.is_doubted(beat.at_ns)
        last_ns = self._last_beat_ns()
        if last_ns is not None and beat.at_ns - last_ns > self._settings.no_beats_s * _NS_PER_S:
            # The rate was absent meanwhile: what the heart did before a pause says nothing about after it.
            self._rate_from_ns = beat.at_ns
        is_trusted = not is_doubtful and not (self._is_doubtful and self._is_doubtful[-1])
        self._rr_ms.append(beat.rr_ms if beat.rr_ms is not None and is_trusted else math.nan)
        self._beats_at_ns.append(beat.at_ns)
        self._is_doubtful.append(is_doubtful)
        self._hrv.add(beat, is_doubtful=is_doubtful)
        while self._beats_at_ns[0] < beat.at_ns - round(self._settings.rr_age_s * _NS_PER_S):
            self._beats_at_ns.popleft()
            self._is_doubtful.popleft()
            self._rr_ms.popleft()

    def add_class(self, beat: Beat) -> None:
        """Take a beat that has turned out to be no normal one out of the variability."""
        if beat.kind is not BeatKind.NORMAL:
            self._hrv.call_abnormal(beat)

    def add_quality(self, quality: Quality) -> None:
        """Keep the verdict on one second; an unusable one casts doubt on the beats in it."""
        if WAVES in quality.reasons:
            quality = replace(quality, is_usable=False, reasons=(WAVES, *quality.reasons))
        self.signal.add(quality)
        if not quality.is_usable:
            self._doubt(quality.at_ns - _NS_PER_S)

    def add_gap(self, gap: Gap) -> None:
        """Leave the intervals from before a hole of a second or more out of the rate."""
        if gap.end_ns - gap.start_ns >= _NS_PER_S:
            self._rate_from_ns = gap.end_ns

    def measurements(self, at_ns: int) -> dict[str, Measurement]:
        """Return every value of this stream at `at_ns`, or why there is none."""
        quality = self.signal.quality(at_ns)
        absent = self.signal.absent(at_ns)
        rate, no_rate = self._rate(at_ns)
        out = {"heart_rate_bpm": self._measurement(rate, "/min", no_rate, quality)}
        for measure, value, window in named_measures(*self._hrv.values(at_ns)):
            unit = "%" if measure.endswith("_pct") else "ms"
            shown = value if absent is None else None
            out[measure] = self._measurement(shown, unit, absent or window.absent, quality)
        return out

    def _doubt(self, from_ns: int) -> None:
        """Take the beats after `from_ns`, and the intervals that begin or end with them, out of every value."""
        for k in range(len(self._beats_at_ns) - 1, -1, -1):
            if self._beats_at_ns[k] <= from_ns:
                break
            self._is_doubtful[k] = True
            self._rr_ms[k] = math.nan
            if k + 1 < len(self._rr_ms):
                self._rr_ms[k + 1] = math.nan
        self._hrv.doubt(from_ns)

    def _measurement(self, value: float | None, unit: str, absent: str | None, quality: float | None) -> Measurement:
        return Measurement(
            value=value, unit=unit, absent=absent if value is None else None, quality=quality, source=self._source
        )

    def _rate(self, at_ns: int) -> tuple[float | None, str | None]:
        """Return the heart rate, or why there is none."""
        absent = self.signal.absent(at_ns)
        latest = self.signal.latest
        if absent is not None or latest is None:
            return None, absent or "no-signal"
        usable_since_ns = at_ns if self.signal.usable_since_ns is None else self.signal.usable_since_ns
        last_ns = self._last_beat_ns()
        silence_ns = round(self._settings.no_beats_s * _NS_PER_S)
        if last_ns is None or at_ns - last_ns > silence_ns:
            is_silent = at_ns - usable_since_ns > silence_ns
            return None, "no-beats" if is_silent else "too-few-beats"
        rr_ms = self._recent_rr_ms(at_ns)
        # Counted to where the signal was seen, not to now: a cable that was pulled is no slowing heart.
        seen_until_ns = min(at_ns, latest.at_ns)
        running_ms = (seen_until_ns - last_ns) / _NS_PER_MS - 1000.0 * self._settings.beat_delay_s
        if self._beats_at_ns[-1] != last_ns:
            running_ms = 0.0  # a doubtful beat came since: nothing is certain of a pause
        rate = heart_rate_bpm(rr_ms, running_ms)
        return (None, "too-few-beats") if rate is None else (rate, None)

    def _last_beat_ns(self) -> int | None:
        pairs = zip(reversed(self._beats_at_ns), reversed(self._is_doubtful), strict=True)
        return next((at_ns for at_ns, is_doubtful in pairs if not is_doubtful), None)

    def _recent_rr_ms(self, at_ns: int) -> list[float]:
        """Return the trusted intervals that count in the rate, oldest first."""
        from_ns = at_ns - round(self._settings.rr_age_s * _NS_PER_S)
        if self._rate_from_ns is not None:
            from_ns = max(from_ns, self._rate_from_ns)
        recent: list[float] = []
        for beat_ns, rr_ms in zip(reversed(self._beats_at_ns), reversed(self._rr_ms), strict=True):
            if beat_ns <= from_ns or len(recent) == N_INTERVALS:
                break
            if 0 < rr_ms < math.inf:  # False for NaN
                recent.append(rr_ms)
        return recent[::-1]
