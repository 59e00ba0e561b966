"""Beats, quality and device readings -> all vital signs of one person, once a second, each with a value or a reason.

A value is never held silently: without usable signal, after four seconds without a beat, or past its time of validity
it becomes absent, and says why.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from edge.features.heart_rate import heart_rate_bpm
from edge.features.hrv import Hrv, HrvSettings, heart_rate_variability
from edge.messages import (
    Beat,
    ChannelKind,
    Gap,
    Measurement,
    Quality,
    Reading,
    ReadingStatus,
    SensorStatus,
    Tick,
    Vitals,
)

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

_N_RR_KEPT = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class VitalsSettings:
    """When a value may be shown."""

    no_beats_s: float = 4.0
    """Without a beat for this long in usable signal there is no heart rate (the 4 s of an asystole, CinC 2015)."""
    beat_delay_s: float = 0.7
    """A beat may be this old when it is reported; a pause is counted from after it (`EcgBeats`: 0.48 s in the median)."""
    signal_age_s: float = 2.5
    """Older verdicts on the signal count as no signal: they come every second, at most a block late."""
    recent_s: float = 5.0
    """The share of usable seconds is taken over this time (own choice)."""
    min_recent_ratio: float = 0.5
    """With less of it usable nothing is shown (own choice)."""
    coverage_s: float = 60.0
    """Time over which coverage is stated."""
    rr_age_s: float = 30.0
    """Older RR intervals do not count in the rate: twelve intervals at 30 bpm take 24 s."""
    rmssd_window_s: float = 60.0
    """RMSSD is taken over the last minute: the usual ultra-short window, it settles fast."""
    sdnn_window_s: float = 300.0
    """SDNN is taken over five minutes, the standard short recording (Task Force 1996)."""
    hrv: HrvSettings = field(default_factory=HrvSettings)
    """Which intervals count in the variability."""


class VitalsStage:
    """Keep what is known of one person, and say it at every tick.

    Push beats, verdicts on the signal, readings, gaps and device reports as they come; a `Tick` gives one `Vitals`.
    With several ECG streams the one shown stays until it is unusable and another is usable.

    Parameters
    ----------
    settings : VitalsSettings
        When a value may be shown.
    """

    def __init__(self, settings: VitalsSettings = VitalsSettings()) -> None:
        self._settings = settings
        self._streams: dict[tuple[str, str], _Ecg] = {}
        self._primary: tuple[str, str] | None = None
        self._readings: dict[str, Reading] = {}

    def push(self, item: Beat | Quality | Reading | Gap | SensorStatus | Tick) -> list[Vitals]:
        """Return the vital signs at a `Tick`, nothing for anything else."""
        match item:
            case Tick():
                return [self._vitals(item.at_ns)]
            case Beat():
                self._stream(item.sensor, item.stream).add_beat(item)
            case Quality(kind=ChannelKind.ECG):
                self._stream(item.sensor, item.stream).add_quality(item)
            case Gap():
                if (item.sensor, item.stream) in self._streams:
                    self._streams[item.sensor, item.stream].add_gap(item)
            case SensorStatus():
                self._note(item)
            case Reading():
                before = self._readings.get(item.measure)
                if before is None or item.measured_at_ns >= before.measured_at_ns:
                    self._readings[item.measure] = item
        return []

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget everything, as for another person."""
        self._streams = {}
        self._primary = None
        self._readings = {}

    def _stream(self, sensor: str, stream: str) -> _Ecg:
        key = (sensor, stream)
        if key not in self._streams:
            self._streams[key] = _Ecg(self._settings, sensor, stream)
        return self._streams[key]

    def _note(self, status: SensorStatus) -> None:
        if status.condition != "lead-off":
            return
        for (sensor, stream), ecg in self._streams.items():
            if sensor == status.sensor and status.stream in {None, stream}:
                ecg.lead_off_since_ns = status.at_ns if status.is_active else None

    def _vitals(self, at_ns: int) -> Vitals:
        measurements: dict[str, Measurement] = {}
        for measure, reading in self._readings.items():
            measurements[measure] = _measurement(reading, at_ns)
        ecg = self._choose(at_ns)
        if ecg is None:
            return Vitals(at_ns=at_ns, measurements=measurements, coverage_pct=0.0, quality=None)
        measurements |= ecg.measurements(at_ns)
        return Vitals(
            at_ns=at_ns,
            measurements=measurements,
            coverage_pct=ecg.coverage_pct(at_ns),
            quality=ecg.quality(at_ns),
            reasons=ecg.reasons(at_ns),
        )

    def _choose(self, at_ns: int) -> _Ecg | None:
        """Return the ECG to show: the one shown before, unless only another is usable."""
        if self._primary is None or self._streams[self._primary].absent(at_ns) is not None:
            usable = [key for key, ecg in self._streams.items() if ecg.absent(at_ns) is None]
            self._primary = next(iter(usable or ([self._primary] if self._primary else self._streams)), None)
        return self._streams[self._primary] if self._primary is not None else None


class _Ecg:
    """What is known of one ECG stream."""

    def __init__(self, settings: VitalsSettings, sensor: str, stream: str) -> None:
        self._settings = settings
        self._source = f"{sensor}/{stream}"
        self._beats_at_ns: deque[int] = deque()
        self._is_doubtful: deque[bool] = deque()
        self._rr_ms: deque[float] = deque()  # NaN where one of the two beats is in doubt
        self._qualities: deque[Quality] = deque()
        self._first_at_ns: int | None = None
        self._usable_since_ns: int | None = None
        self._rate_from_ns: int | None = None
        self.lead_off_since_ns: int | None = None
        """Since when the device reports a detached electrode; None while it does not."""

    def add_beat(self, beat: Beat) -> None:
        """Keep `beat`; it is in doubt when its second was already called unusable."""
        is_doubtful = beat.is_noise_suspect
        for quality in reversed(self._qualities):
            if quality.at_ns < beat.at_ns:
                break
            is_doubtful |= not quality.is_usable and beat.at_ns > quality.at_ns - NS_PER_S
        last_ns = self._last_beat_ns()
        if last_ns is not None and beat.at_ns - last_ns > self._settings.no_beats_s * NS_PER_S:
            # The rate was absent meanwhile: what the heart did before a pause says nothing about after it.
            self._rate_from_ns = beat.at_ns
        is_trusted = not is_doubtful and not (self._is_doubtful and self._is_doubtful[-1])
        self._rr_ms.append(beat.rr_ms if beat.rr_ms is not None and is_trusted else math.nan)
        self._beats_at_ns.append(beat.at_ns)
        self._is_doubtful.append(is_doubtful)
        while self._beats_at_ns[0] < beat.at_ns - round(self._settings.sdnn_window_s * NS_PER_S):
            self._beats_at_ns.popleft()
            self._is_doubtful.popleft()
            self._rr_ms.popleft()

    def add_quality(self, quality: Quality) -> None:
        """Keep the verdict on one second; an unusable one casts doubt on the beats in it."""
        if self._first_at_ns is None:
            self._first_at_ns = quality.at_ns - NS_PER_S
        if not quality.is_usable:
            self._usable_since_ns = None
            self._doubt(quality.at_ns - NS_PER_S)
        elif self._usable_since_ns is None or quality.at_ns - self._qualities[-1].at_ns > 1.5 * NS_PER_S:
            self._usable_since_ns = quality.at_ns - NS_PER_S
        self._qualities.append(quality)
        while self._qualities[0].at_ns < quality.at_ns - round(self._settings.coverage_s * NS_PER_S) - NS_PER_S:
            self._qualities.popleft()

    def _doubt(self, from_ns: int) -> None:
        """Take the beats after `from_ns`, and the intervals that begin or end with them, out of every value."""
        for k in range(len(self._beats_at_ns) - 1, -1, -1):
            if self._beats_at_ns[k] <= from_ns:
                break
            self._is_doubtful[k] = True
            self._rr_ms[k] = math.nan
            if k + 1 < len(self._rr_ms):
                self._rr_ms[k + 1] = math.nan

    def add_gap(self, gap: Gap) -> None:
        """Leave the intervals from before a hole of a second or more out of the rate."""
        if gap.end_ns - gap.start_ns >= NS_PER_S:
            self._rate_from_ns = gap.end_ns

    # --- the signal -----------------------------------------------------------------------------------------

    def absent(self, at_ns: int) -> str | None:
        """Return why nothing can be said from this stream now; None when something can.

        One unusable second among good ones does not withhold anything.
        """
        if self.lead_off_since_ns is not None:
            return "lead-off"
        if not self._qualities or at_ns - self._qualities[-1].at_ns > self._settings.signal_age_s * NS_PER_S:
            return "no-signal"
        latest = list(self._qualities)[-2:]
        is_enough = self._usable_ratio(at_ns, self._settings.recent_s) >= self._settings.min_recent_ratio
        if is_enough and any(quality.is_usable for quality in latest):
            return None
        unusable = next((quality for quality in reversed(self._qualities) if not quality.is_usable), None)
        return "no-signal" if unusable is None else (*unusable.reasons, "poor-signal")[0]

    def quality(self, at_ns: int) -> float | None:
        if not self._qualities or at_ns - self._qualities[-1].at_ns > self._settings.signal_age_s * NS_PER_S:
            return None
        return self._qualities[-1].index

    def reasons(self, at_ns: int) -> tuple[str, ...]:
        absent = self.absent(at_ns)
        if self.quality(at_ns) is None:
            return (absent,) if absent else ()
        named = self._qualities[-1].reasons
        return named if absent is None or absent in named else (absent, *named)

    def coverage_pct(self, at_ns: int) -> float:
        """Return the share of the last minute, or of the time since the start, that was usable."""
        if self._first_at_ns is None:
            return 0.0
        elapsed_s = (at_ns - self._first_at_ns) / NS_PER_S
        return 100.0 * self._usable_ratio(at_ns, max(1.0, min(self._settings.coverage_s, elapsed_s)))

    def _usable_ratio(self, at_ns: int, span_s: float) -> float:
        """Return the share of the last `span_s` seconds, up to the latest verdict, that was usable."""
        if not self._qualities:
            return 0.0
        # The verdict on the running second is still to come: that is no loss.
        until_ns = max(self._qualities[-1].at_ns, at_ns - NS_PER_S)
        from_ns = until_ns - round(span_s * NS_PER_S)
        n_usable = sum(1 for quality in self._qualities if quality.is_usable and quality.at_ns > from_ns)
        return min(1.0, n_usable / max(1.0, round(span_s)))

    # --- the values -----------------------------------------------------------------------------------------

    def measurements(self, at_ns: int) -> dict[str, Measurement]:
        settings = self._settings
        quality = self.quality(at_ns)
        rate, reason = self._rate(at_ns)
        rmssd_ms = sdnn_ms = None
        absent = self.absent(at_ns)
        if absent is None:
            rmssd_ms = self._variability(at_ns, settings.rmssd_window_s).rmssd_ms
            sdnn_ms = self._variability(at_ns, settings.sdnn_window_s).sdnn_ms
        too_short = absent or "coverage"
        return {
            "heart_rate_bpm": self._measurement(rate, "/min", reason, quality),
            "rmssd_ms": self._measurement(rmssd_ms, "ms", too_short, quality),
            "sdnn_ms": self._measurement(sdnn_ms, "ms", too_short, quality),
        }

    def _measurement(self, value: float | None, unit: str, absent: str | None, quality: float | None) -> Measurement:
        return Measurement(
            value=value, unit=unit, absent=absent if value is None else None, quality=quality, source=self._source
        )

    def _rate(self, at_ns: int) -> tuple[float | None, str | None]:
        """Return the heart rate, or why there is none."""
        absent = self.absent(at_ns)
        if absent is not None:
            return None, absent
        usable_since_ns = at_ns if self._usable_since_ns is None else self._usable_since_ns
        last_ns = self._last_beat_ns()
        silence_ns = round(self._settings.no_beats_s * NS_PER_S)
        if last_ns is None or at_ns - last_ns > silence_ns:
            is_silent = at_ns - usable_since_ns > silence_ns
            return None, "no-beats" if is_silent else "too-few-beats"
        rr_ms = self._recent_rr_ms(at_ns)
        # Counted to where the signal was seen, not to now: a cable that was pulled is no slowing heart.
        seen_until_ns = min(at_ns, self._qualities[-1].at_ns)
        running_ms = (seen_until_ns - last_ns) / NS_PER_MS - 1000.0 * self._settings.beat_delay_s
        rate = heart_rate_bpm(rr_ms, running_ms)
        return (None, "too-few-beats") if rate is None else (rate, None)

    def _last_beat_ns(self) -> int | None:
        pairs = zip(reversed(self._beats_at_ns), reversed(self._is_doubtful), strict=True)
        return next((at_ns for at_ns, is_doubtful in pairs if not is_doubtful), None)

    def _recent_rr_ms(self, at_ns: int) -> list[float]:
        """Return the trusted intervals that count in the rate, oldest first."""
        from_ns = at_ns - round(self._settings.rr_age_s * NS_PER_S)
        if self._rate_from_ns is not None:
            from_ns = max(from_ns, self._rate_from_ns)
        recent: list[float] = []
        for beat_ns, rr_ms in zip(reversed(self._beats_at_ns), reversed(self._rr_ms), strict=True):
            if beat_ns <= from_ns or len(recent) == _N_RR_KEPT:
                break
            if 0 < rr_ms < math.inf:  # False for NaN
                recent.append(rr_ms)
        return recent[::-1]

    def _variability(self, at_ns: int, window_s: float) -> Hrv:
        from_ns = at_ns - round(window_s * NS_PER_S)
        first = next((k for k, beat_ns in enumerate(self._beats_at_ns) if beat_ns > from_ns), len(self._beats_at_ns))
        rr_ms = np.array(self._rr_ms, dtype=np.float64)[first:]
        return heart_rate_variability(rr_ms, window_s=window_s, settings=self._settings.hrv)


def _measurement(reading: Reading, at_ns: int) -> Measurement:
    """Return a device's reading as it may be shown at `at_ns`."""
    absent = reading.absent
    if reading.status is ReadingStatus.INVALID:
        absent = absent or "invalid"
    elif reading.value is None or math.isnan(reading.value):
        absent = absent or "not-a-number"
    elif at_ns - reading.measured_at_ns > reading.valid_for_s * NS_PER_S:
        absent = "stale"
    return Measurement(
        value=None if absent is not None else reading.value,
        unit=reading.unit,
        absent=absent,
        quality=0.5 if reading.status is ReadingStatus.QUESTIONABLE else None,
        source=reading.sensor,
    )
