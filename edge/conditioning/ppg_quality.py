"""Light samples -> how far the pulse in them can be trusted, once a second of the sample grid.

The index withholds values, so it asks one question: would the pulse detector be right here?  Three things of the last five
seconds' slope answer it: how well it repeats itself (unbiased autocorrelation between 0.24 and 2.2 s), how much it is made of
short steep rises and long falls (skewness), which an irregular heart keeps when it loses the first, and how far it has
grown over the usual.  The *shape score* is autocorrelation + skewness / 2 - doublings / 2; a logistic regression on what is
named below gives these weights within a fifth, with each family of disturbances left out in turn.

Measured on 19 BIDMC development records (as they are, with wide-band noise at 0.4-6 Hz and with narrow-band noise between
0.8 and 3 Hz in every other 20 s), on the virtual patient's motion artefacts and on waves made from fibrillation and ectopy
of MIT-BIH development records: beats missed or invented per beat 87 % at an index below 0.2, 41 % at 0.45, 25 % at 0.55,
17 % at 0.65, 11 % at 0.75, 7 % at 0.85, 1.1 % above 0.9.  In usable seconds 0.9 % of the beats of the clean records, 2-5 %
of every disturbed set.  On the four wrist recordings of Stress-Predict 81-96 % of the intervals that the device itself
trusts are usable; of these 1.2-3.1 % (12.7 % in the one with hardly any) differ by more than 60 ms, of the others 16-37 %.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.ppg_low_pass import LARGEST_VALUE, PulseLowPass
from edge.conditioning.ppg_rails import clipped_ratio
from edge.conditioning.sample_times import NS_PER_S, SampleTimes
from edge.messages import Activity, ActivityLevel, Channel, ChannelKind, Quality, SampleBlock, SensorStatus

Column = NDArray[np.float64]
Columns = NDArray[np.float64]

_LIGHT_KINDS = (ChannelKind.PPG_INFRARED, ChannelKind.PPG, ChannelKind.PPG_RED)
_RAW_KINDS = (ChannelKind.PPG_INFRARED, ChannelKind.PPG_RED)
"""Channels that oximeters measure as light; others may have been normalised by the device."""

_N_SLOPES = 25
"""Slopes a second: the low-pass leaves nothing above half of it."""
_WINDOW_S = 5
"""Time over which the slope is judged: two and a half pulses at 30 /min."""
_LAGS = (6, 55)
"""Lags of the autocorrelation, in slopes: 250 to 27 /min, so that a heart at 30 may breathe."""
_SKEWNESS_WEIGHT = 0.5
_SKEWNESSES = (-0.5, 0.8)
"""Beyond these the skewness says no more: clean waves have 0.7 and more."""
_RISE_WEIGHT = 0.5
_MOST_RISE = 1.2
"""Largest rise of the slope that counts, in doublings: a regular wave stays usable when its amplitude jumps."""
_USUAL_S = 30
"""Time over which the usual slope is the median of the seconds: a new amplitude is the usual one after 15 s."""
_N_SWINGS = 10
_N_SKEWNESSES = 10
_FEWEST_SKEWNESSES = 4
_REPEATING = 0.7
"""Autocorrelation above which the wave is a pulse whichever way up it stands: 3 % errors per beat, measured as above."""
_INDEX_AT_SCORE = ((0.0, 0.65, 1.2), (0.0, 0.6, 1.0))
# Seconds in a row after which another channel is to be used although this one is still usable.
_CHANNEL_MARGIN = 0.15
_N_ACTIVITIES = 16
_MOVED_S = 5
_DEVICE_CONDITIONS = {
    "lead-off": "lead-off",
    "probe-off": "lead-off",
    "sensor-off": "lead-off",
    "saturated": "saturated",
}
"""What a device may say of its light, and the reason that it is here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PpgQualitySettings:
    """Where the light stops being usable."""

    min_quality: float = 0.6
    """Smallest index at which values are shown (contract, ``[ecg] min_quality``); see the head of this file."""
    settling_s: float = 3.0
    """After a start nothing is trusted for so long: two periods at 40 /min must have been seen."""
    useless_clipped_ratio: float = 0.25
    """Share of clipped samples in a second that gives index 0 (own choice, as for the ECG)."""
    low_perfusion_pct: float = 0.3
    """Below this AC/DC the pulse is weak: no SpO2 (HealthyPi 5 uses the same limit); named, pulse rate still shown."""
    no_perfusion_pct: float = 0.05
    """Below this there is no finger or no pulse: the least that oximeters claim to measure (Mindray: PI 0.05-20 %)."""
    moving_penalty: float = 0.1
    """Taken off the shape score while the wearer moves: movement repeats itself too (own choice: about one class of the
    table above; with 0.1 and with 0.2 no rate of the virtual patient is off by more than 2 /min in any motion)."""
    walking_index: float = 0.3
    """Largest index while walking, where the steps look like pulses."""
    jump_ratio: float = 2.0
    """A swing this many times the usual of ten seconds is called motion, not noise (own choice)."""
    inverted_below: float = -0.3
    """Median skewness of ten repeating seconds below which the signal is upside down; upright signals have +0.6 and more (5th
    percentile of the BIDMC development records)."""

    def __post_init__(self) -> None:
        if not 0 < self.min_quality <= 1:
            raise ValueError(f"expected 0 < min_quality <= 1, got {self.min_quality}")


class PpgQuality:
    """Judge every second of the light channels of a stream, and name the best one.

    Push the raw blocks, what the device says of itself (`SensorStatus`) and, where the sensor has an accelerometer, the
    `Activity` of the wearer.  A report of the device stays in force over a `reset`; only the device withdraws it.
    Reason ``inverted`` says that the wave stands upside down; it takes nothing off the index.

    Parameters
    ----------
    settings : PpgQualitySettings
        Where the light stops being usable.
    """

    def __init__(self, settings: PpgQualitySettings = PpgQualitySettings()) -> None:
        self._settings = settings
        self._reported: dict[str, tuple[str, str | None]] = {}
        self._activities: deque[Activity] = deque(maxlen=_N_ACTIVITIES)
        self._run: _Run | None = None

    def push(self, item: SampleBlock | SensorStatus | Activity) -> list[Quality]:
        """Return the verdicts on the seconds that `item` completed; nothing for a block without light."""
        if isinstance(item, SensorStatus):
            self._report(item)
            return []
        if isinstance(item, Activity):
            self._activities.append(item)
            return []
        picks = tuple(k for k, channel in enumerate(item.channels) if channel.kind in _LIGHT_KINDS)
        if item.n_samples == 0 or not picks:
            return []
        if self._run is None or not self._run.continues_with(item):
            self._run = _Run(self._settings, item, picks)
        return self._run.add(item, self._reported, self._activities)

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the signal and the movement so far; what the device reported of itself stays."""
        self._run = None
        self._activities.clear()

    def _report(self, status: SensorStatus) -> None:
        """Note a report; its `detail` may name the one channel it concerns, else it is about all."""
        if status.condition not in _DEVICE_CONDITIONS:
            return
        if status.is_active:
            self._reported[status.detail] = (status.condition, status.stream)
        else:
            self._reported = {
                name: (condition, stream)
                for name, (condition, stream) in self._reported.items()
                if condition != status.condition or (status.detail and name != status.detail)
            }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    index: float
    reasons: tuple[str, ...]


class _Run:
    """One stretch without holes."""

    def __init__(self, settings: PpgQualitySettings, first: SampleBlock, picks: tuple[int, ...]) -> None:
        self._settings = settings
        self._format = first
        self._picks = picks
        self._channels = tuple(first.channels[k] for k in picks)
        self._n_second = max(1, round(first.rate_hz))
        self._end = first.sequence
        self._times = SampleTimes(first.rate_hz)
        self._parts: list[Columns] = []
        self._low_pass = PulseLowPass(first.rate_hz)
        self._judges = [_Judge(settings, channel, self._n_second) for channel in self._channels]
        self._best: int | None = None

    def continues_with(self, item: SampleBlock) -> bool:
        """Say whether `item` follows without a hole, in the same form."""
        same = item.rate_hz == self._format.rate_hz and item.channels == self._format.channels
        return same and item.sequence == self._end

    def add(
        self, item: SampleBlock, reported: dict[str, tuple[str, str | None]], activities: Collection[Activity]
    ) -> list[Quality]:
        """Return the verdicts on the seconds that `item` completed."""
        self._times.add(item.sequence, item.start_ns)
        values = item.values if len(self._picks) == len(item.channels) else item.values[:, self._picks]
        out: list[Quality] = []
        at = 0
        while at < item.n_samples:
            n_part = min(item.n_samples - at, self._n_second - (item.sequence + at) % self._n_second)
            self._parts.append(values[at : at + n_part])
            at += n_part
            self._end = item.sequence + at
            if self._end % self._n_second == 0:
                out += self._second(reported, activities)
        return out

    def _second(self, reported: dict[str, tuple[str, str | None]], activities: Collection[Activity]) -> list[Quality]:
        raw = np.concatenate(self._parts)
        self._parts = []
        if len(raw) < self._n_second:  # the stream began inside this second
            return []
        is_present = np.asarray((np.abs(raw) <= LARGEST_VALUE).all(axis=0))  # False for NaN too
        filled = raw if is_present.all() else np.where(is_present, raw, 0.0)
        for k, judge in enumerate(self._judges):
            if is_present[k] and judge.is_new:
                self._low_pass.restart(k, float(filled[0, k]))
        smooth = self._low_pass.run(filled)
        at_ns = self._times.at_ns(self._end)
        level = _movement(activities, at_ns)
        verdicts = [
            self._reported(channel, reported)
            or (judge.judge(raw[:, k], smooth[:, k], level) if is_present[k] else judge.miss())
            for k, (judge, channel) in enumerate(zip(self._judges, self._channels, strict=True))
        ]
        return [self._quality(verdicts, at_ns)]

    def _reported(self, channel: Channel, reported: dict[str, tuple[str, str | None]]) -> _Verdict | None:
        names = [candidate.name for candidate in self._channels]
        for name, (condition, stream) in reported.items():
            if stream in {None, self._format.stream} and (name == channel.name or name not in names):
                return _Verdict(index=0.0, reasons=(_DEVICE_CONDITIONS[condition],))
        return None

    def _quality(self, verdicts: list[_Verdict], at_ns: int) -> Quality:
        """Return the verdict on the best channel; it stays the same one while another is not clearly better."""
        order = sorted(range(len(verdicts)), key=lambda k: _LIGHT_KINDS.index(self._channels[k].kind))
        if self._best is None:
            self._best = order[0]
        best = max(order, key=lambda k: verdicts[k].index)
        is_better = verdicts[best].index > verdicts[self._best].index + _CHANNEL_MARGIN
        if is_better or (verdicts[self._best].index < self._settings.min_quality <= verdicts[best].index):
            self._best = best
        verdict = verdicts[self._best]
        return Quality(
            sensor=self._format.sensor,
            stream=self._format.stream,
            at_ns=at_ns,
            index=verdict.index,
            is_usable=verdict.index >= self._settings.min_quality,
            reasons=verdict.reasons,
            channel=self._channels[self._best].name,
            sequence=self._end,
            kind=self._channels[self._best].kind,
        )


class _Judge:
    """What is known of one channel."""

    def __init__(self, settings: PpgQualitySettings, channel: Channel, n_second: int) -> None:
        self._settings = settings
        self._channel = channel
        self._n_second = n_second
        self._at = np.arange(_N_SLOPES + 1) * (n_second / _N_SLOPES)
        self._slopes = np.zeros(0)
        self._last_level: float | None = None
        self._swings: deque[float] = deque(maxlen=_N_SWINGS)
        self._powers: deque[float] = deque(maxlen=_USUAL_S)
        self._skewnesses: deque[float] = deque(maxlen=_N_SKEWNESSES)
        self._is_inverted = False

    @property
    def is_new(self) -> bool:
        """Nothing is known yet, or nothing any more."""
        return self._last_level is None

    def miss(self) -> _Verdict:
        """Return the verdict on a second in which samples are missing; the window starts anew."""
        self._slopes = np.zeros(0)
        self._last_level = None
        self._swings.clear()
        self._powers.clear()
        self._skewnesses.clear()
        self._is_inverted = False
        return _Verdict(index=0.0, reasons=("lead-off",))

    def judge(self, raw: Column, smooth: Column, movement: ActivityLevel | None) -> _Verdict:
        """Return the verdict on one whole second; `movement` is the wearer's, None where nobody knows."""
        settings = self._settings
        swing = self._take(smooth)
        low, high = float(raw.min()), float(raw.max())
        level = float(raw.mean())
        clipped = clipped_ratio(raw, self._channel)
        if high - low <= max(1.001 * (self._channel.resolution or 0.0), 1e-6 * abs(level)):
            return _Verdict(index=0.0, reasons=("saturated",) if clipped > 0 else ("flat",))
        usual_swing = median(self._swings)
        score = self._shape_score()
        parts = {"saturated": 1.0 - clipped / settings.useless_clipped_ratio}
        is_moving = movement not in {None, ActivityLevel.STILL}
        if is_moving:
            score -= settings.moving_penalty
        is_jump = swing > settings.jump_ratio * usual_swing
        shape = float(np.interp(score, *_INDEX_AT_SCORE))
        if movement is ActivityLevel.WALKING:
            shape = min(shape, settings.walking_index)
        parts["motion" if is_moving or is_jump else "noise"] = shape
        if self._channel.kind in _RAW_KINDS and level > 0:
            parts["low-perfusion"] = self._perfusion_part(100.0 * usual_swing / level)
        index = min(1.0, max(0.0, min(parts.values())))
        reasons = [name for name, part in sorted(parts.items(), key=lambda item: item[1]) if part < 0.8]
        if len(self._slopes) < settings.settling_s * _N_SLOPES:
            index *= 0.5
            reasons.append("settling")
        if self._is_inverted:
            reasons.append("inverted")
        return _Verdict(index=index, reasons=tuple(reasons))

    def _take(self, smooth: Column) -> float:
        """Remember the slopes of this second; return how far the signal swung."""
        last = float(smooth[0]) if self._last_level is None else self._last_level
        self._last_level = float(smooth[-1])
        levels = np.interp(self._at, np.arange(self._n_second + 1), np.concatenate([[last], smooth]))
        slopes = levels[1:] - levels[:-1]
        self._slopes = np.concatenate([self._slopes, slopes])[-_WINDOW_S * _N_SLOPES :]
        self._powers.append(float(slopes @ slopes) / _N_SLOPES)
        swing = float(levels.max() - levels.min())
        self._swings.append(swing)
        return swing

    def _shape_score(self) -> float:
        """Return how much the last seconds look like a pulse; see the head of this file."""
        slopes = self._slopes - self._slopes.mean()
        deviation = float(slopes.std())
        if not deviation > 0:
            return 0.0
        slopes /= deviation
        n = len(slopes)
        skewness = float((slopes**3).mean())
        repeats = np.correlate(slopes, slopes, "full")[n - 1 : n + _LAGS[1]] / n
        below = np.flatnonzero(repeats < 0)
        first = max(_LAGS[0], int(below[0])) if len(below) else len(repeats)
        repeats = repeats[first:] * (n / (n - np.arange(first, len(repeats))))
        periodicity = float(repeats.max(initial=0.0))
        if periodicity >= _REPEATING:
            self._turn(skewness)
        upright = -skewness if self._is_inverted else skewness
        low, high = _SKEWNESSES
        return periodicity + _SKEWNESS_WEIGHT * min(high, max(low, upright)) - _RISE_WEIGHT * self._rise(deviation)

    def _rise(self, deviation: float) -> float:
        """Return by how many doublings the slope of the last seconds exceeds the usual."""
        usual = median(self._powers)
        if not usual > 0:
            return 0.0
        return min(_MOST_RISE, max(0.0, math.log2(deviation / math.sqrt(usual))))

    def _turn(self, skewness: float) -> None:
        """Learn from a second that repeats itself, and so is a pulse, which way up the wave stands."""
        self._skewnesses.append(skewness)
        if len(self._skewnesses) >= _FEWEST_SKEWNESSES:
            limit = self._settings.inverted_below
            self._is_inverted = median(self._skewnesses) < (-limit if self._is_inverted else limit)

    def _perfusion_part(self, perfusion_pct: float) -> float:
        settings = self._settings
        if perfusion_pct < settings.no_perfusion_pct:
            return 0.3
        return 1.0 if perfusion_pct >= settings.low_perfusion_pct else 0.7


def _movement(activities: Collection[Activity], at_ns: int) -> ActivityLevel | None:
    """Return whether the wearer walked last, or moved in what the verdict at `at_ns` looks back on; None if unknown.

    The last second is left out: whether it has come already depends on how streams are interleaved.
    """
    levels = [each.level for each in activities if NS_PER_S <= at_ns - each.at_ns <= _MOVED_S * NS_PER_S]
    if not levels or levels[-1] is ActivityLevel.WALKING:
        return levels[-1] if levels else None
    has_moved = any(level is not ActivityLevel.STILL for level in levels)
    return ActivityLevel.MOVING if has_moved else ActivityLevel.STILL
