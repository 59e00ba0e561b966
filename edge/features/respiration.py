"""Breaths, beats and pulses -> one respiration rate a second, or why there is none.

::

    Breath, Quality ─▶ BreathCounts ──────────────────────────────┐ counted: direct
    Beat  (R amplitude, RR) ─────────▶ BeatSeries ─┐               ├─▶ agree? ─▶ Estimate
    Pulse (amplitude, interval, level) ▶ BeatSeries ┴▶ RateBelief ─┘ from modulations: indirect

Counted breaths are direct; what breathing does to heart and vessels is indirect, and kept as a belief over all rates
that one quiet or misled series cannot overturn.  Where both speak they must agree.  Measured on the 20 development
records of BIDMC with `benchmarks/bench_respiration.py`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from edge.features.respiration_counts import BreathCounts, CountSettings, Rate
from edge.features.respiration_spectra import BeatSeries, Evidence, RateBelief, Spectra, SpectraSettings
from edge.messages import (
    Activity,
    ActivityLevel,
    Beat,
    BeatKind,
    Breath,
    ChannelKind,
    Estimate,
    Gap,
    Pulse,
    Quality,
    SampleBlock,
    SensorStatus,
    Tick,
)

NS_PER_S = 1_000_000_000

_WEIGHTS: Mapping[str, tuple[float, ...]] = MappingProxyType({"ecg": (1.0, 0.5), "ppg": (1.0, 0.5, 1.0)})
"""ECG: R amplitude, RR; PPG: amplitude, interval, level.  Intervals count half: their slow waves of blood pressure
(0.1 Hz, 6/min) look like slow breathing, and a paced or old heart does not follow the breath at all."""

_SILENT = ("no-breaths", "too-few-breaths")
"""What a readable chest without breathing gives: half a minute of older modulations cannot contradict it."""
_SIMILAR = 0.8
"""Correlation with this patient's dominant beat from which a beat has its shape (own choice)."""

Key = tuple[str, str, str, str | None]
"""Source (``ecg``, ``ppg``), sensor, stream, channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RespirationSettings:
    """When there is a respiration rate."""

    counts: CountSettings = field(default_factory=CountSettings)
    """Counted breaths."""
    spectra: SpectraSettings = field(default_factory=SpectraSettings)
    """Modulations of beats and pulses."""
    hop_s: int = 4
    """Modulations are looked at this often; a window is 32 s, so little is new after less (own choice)."""
    delay_s: float = 1.0
    """Only what happened this long before a tick counts: until then a beat or breath may still be under way."""
    min_count_quality: float = 0.5
    """Least quality of counted breaths."""
    min_modulation_quality: float = 0.45
    """Least probability that the rate is within 2/min of the best.  Simulated beats and pulses without any breathing in
    them pass it in 6 to 13 % of the seconds; on BIDMC, ECG and PPG together pass it in 89 % and are right to 0.54/min
    (0.53 at 0.5, 0.56 at 0.4)."""
    agree_bpm: float = 3.0
    """Counted and indirect rates closer than this agree."""
    direct_weight: float = 4.0
    """Weight of a counted rate beside an indirect one of the same quality (own choice; on BIDMC, where the annotators
    agree, its error is 0.29/min beside 0.47/min)."""
    stale_beat_s: float = 6.0
    """Without a beat for this long a source says nothing about now."""
    max_moving_ratio: float = 0.5
    """With a larger share of the last ten seconds in motion, modulations are those of the steps (own choice)."""
    valid_for_s: float = 2.5
    """One estimate comes every second, so an older one is a lost one."""


class RespirationStage:
    """Estimate one person's respiration rate once a second.

    Push everything that is known of the person; a `Tick` gives one `Estimate`, from the first second with a breath, a
    beat, a pulse or a verdict on a respiration signal.  Several streams of one kind are not mixed: the one with a
    complete window is followed.

    Parameters
    ----------
    settings : RespirationSettings
        When there is a respiration rate.
    """

    def __init__(self, settings: RespirationSettings = RespirationSettings()) -> None:
        self._settings = settings
        self._spectra = Spectra(settings.spectra)
        self.reset("start")

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape
        """Forget everything, as for another person."""
        self._counts: dict[tuple[str, str], BreathCounts] = {}
        self._series: dict[Key, BeatSeries] = {}
        self._last_beats: dict[Key, Beat] = {}
        self._belief = RateBelief(self._settings.spectra.rates_bpm)
        self._used: tuple[Key, ...] = ()
        self._evidence: tuple[Evidence, ...] = ()
        self._n_without = 0
        self._lead_off: set[tuple[str, str | None]] = set()
        self._activities: deque[Activity] = deque(maxlen=12)
        self._tick_ns: int | None = None

    def push(
        self, item: SampleBlock | Beat | Pulse | Breath | Quality | Gap | SensorStatus | Activity | Tick
    ) -> list[Estimate]:
        """Return the estimate at a `Tick`, nothing for anything else."""
        match item:
            case Tick():
                return self._tick(item.at_ns)
            case Beat():
                self._add_beat(item)
            case Pulse():
                self._add_pulse(item)
            case Breath() | Quality(kind=ChannelKind.RESPIRATION):
                key = (item.sensor, item.stream)
                if key not in self._counts:
                    self._counts[key] = BreathCounts(self._settings.counts)
                self._counts[key].add(item)
            case Activity():
                self._activities.append(item)
            case SensorStatus(condition="lead-off"):
                where = (item.sensor, item.stream)
                (self._lead_off.add if item.is_active else self._lead_off.discard)(where)
            case _:
                pass
        return []

    # --- what comes in --------------------------------------------------------------------------------------

    def _add_beat(self, beat: Beat) -> None:
        key = ("ecg", beat.sensor, beat.stream, beat.channel)
        before = self._last_beats.get(key)
        self._last_beats[key] = beat
        series = self._one(key)
        if beat.is_noise_suspect:
            return
        amplitude = rr_ms = math.nan
        if beat.amplitude_mv is not None and not _is_other_shape(beat):
            amplitude = beat.amplitude_mv
        is_in_order = before is not None and not any(
            _is_ectopic(item) or item.is_noise_suspect for item in (before, beat)
        )
        if beat.rr_ms is not None and is_in_order and not beat.is_after_compensatory_pause:
            rr_ms = beat.rr_ms
        series.add(beat.at_ns, (amplitude, rr_ms))

    def _add_pulse(self, pulse: Pulse) -> None:
        series = self._one(("ppg", pulse.sensor, pulse.stream, pulse.channel))
        if pulse.is_noise_suspect:
            return
        interval_ms = math.nan if pulse.interval_ms is None else pulse.interval_ms
        series.add(pulse.at_ns, (pulse.amplitude, interval_ms, pulse.baseline))

    def _one(self, key: Key) -> BeatSeries:
        if key not in self._series:
            self._series[key] = BeatSeries(_WEIGHTS[key[0]], self._settings.spectra, self._spectra)
        return self._series[key]

    # --- what comes out -------------------------------------------------------------------------------------

    def _tick(self, at_ns: int) -> list[Estimate]:
        if self._tick_ns is not None and at_ns <= self._tick_ns:
            return []
        self._tick_ns = at_ns
        if not self._counts and not self._series:
            return []
        until_ns = at_ns - round(self._settings.delay_s * NS_PER_S)
        if at_ns // NS_PER_S % self._settings.hop_s == 0:
            self._look(until_ns)
        where, counted = self._counted(until_ns)
        indirect = self._indirect(until_ns)
        return [self._fuse(at_ns, where, counted, indirect)]

    def _look(self, until_ns: int) -> None:
        """Let the belief take one step, with what the modulations of the last window say."""
        found: dict[str, tuple[Key, Evidence]] = {}
        if not self._is_moving(until_ns):
            for key, series in self._series.items():
                if key[0] in found or not self._is_live(key, until_ns):
                    continue
                evidence = series.evidence(until_ns)
                if evidence is not None:
                    found[key[0]] = (key, evidence)
        self._used = tuple(key for key, _ in found.values())
        self._evidence = tuple(evidence for _, evidence in found.values())
        if not found:
            self._n_without += 1
            if self._n_without * self._settings.hop_s >= self._settings.spectra.window_s / 2:
                self._belief = RateBelief(self._settings.spectra.rates_bpm)
        else:
            self._n_without = 0
        self._belief.step(self._evidence)

    def _is_live(self, key: Key, until_ns: int) -> bool:
        last_ns = self._series[key].last_ns
        if last_ns is None or until_ns - last_ns > self._settings.stale_beat_s * NS_PER_S:
            return False
        return not (key[0] == "ecg" and self._is_off(key[1], key[2]))

    def _is_off(self, sensor: str, stream: str) -> bool:
        return (sensor, stream) in self._lead_off or (sensor, None) in self._lead_off

    def _is_moving(self, until_ns: int) -> bool:
        recent = [a for a in self._activities if until_ns - 10 * NS_PER_S < a.at_ns <= until_ns]
        n_moving = sum(a.level is not ActivityLevel.STILL for a in recent)
        return n_moving > self._settings.max_moving_ratio * 10

    def _counted(self, until_ns: int) -> tuple[tuple[str, str] | None, Rate | None]:
        """Return the best counted rate and its stream; None where there is no respiration signal at all."""
        heart_rate_bpm = self._evidence[0].heart_rate_bpm if self._evidence else None
        rates = {key: counts.rate(until_ns, heart_rate_bpm) for key, counts in self._counts.items()}
        if not rates:
            return None, None
        key = max(
            rates, key=lambda key: (rates[key].bpm is not None, rates[key].quality, rates[key].absent == "no-breaths")
        )
        rate = rates[key]
        if rate.bpm is not None and rate.quality < self._settings.min_count_quality:
            rate = Rate(None, 0.0, "irregular-breaths")
        return key, rate

    def _indirect(self, until_ns: int) -> Rate:
        if self._is_moving(until_ns):
            return Rate(None, 0.0, "motion")
        live = [key for key in self._used if self._is_live(key, until_ns)]
        if not live:
            is_off = any(self._is_off(key[1], key[2]) for key in self._series if key[0] == "ecg")
            return Rate(None, 0.0, "lead-off" if is_off else "too-few-beats")
        bpm, quality = self._belief.best()
        if quality < self._settings.min_modulation_quality:
            return Rate(None, 0.0, "irregular" if any(e.is_irregular for e in self._evidence) else "poor-signal")
        return Rate(bpm, quality)

    def _fuse(self, at_ns: int, where: tuple[str, str] | None, counted: Rate | None, indirect: Rate) -> Estimate:
        names = [*(["impedance"] if counted is not None else []), *(key[0] for key in self._used)]
        if counted is None or (counted.bpm is None and counted.absent not in _SILENT and indirect.bpm is not None):
            return self._estimate(at_ns, self._main(where), indirect, [key[0] for key in self._used])
        if counted.bpm is None or indirect.bpm is None:
            return self._estimate(at_ns, where, counted, ["impedance"])
        if abs(counted.bpm - indirect.bpm) <= self._settings.agree_bpm:
            direct = self._settings.direct_weight * counted.quality
            bpm = (direct * counted.bpm + indirect.quality * indirect.bpm) / (direct + indirect.quality)
            quality = 1.0 - (1.0 - counted.quality) * (1.0 - indirect.quality)
            return self._estimate(at_ns, where, Rate(bpm, quality), names)
        if counted.quality >= indirect.quality:
            return self._estimate(at_ns, where, counted, ["impedance"])
        return self._estimate(at_ns, where, Rate(None, 0.0, "disagreement"), names)

    def _main(self, where: tuple[str, str] | None) -> tuple[str, str] | None:
        keys = self._used or tuple(self._series)
        return (keys[0][1], keys[0][2]) if keys else where

    def _estimate(self, at_ns: int, where: tuple[str, str] | None, rate: Rate, names: list[str]) -> Estimate:
        sensor, stream = where or ("", "")
        return Estimate(
            sensor=sensor,
            stream=stream,
            measure="respiratory_rate_bpm",
            value=rate.bpm,
            unit="/min",
            at_ns=at_ns,
            quality=rate.quality if rate.bpm is not None else 0.0,
            method="fusion:" + "+".join(names),
            absent=rate.absent,
            valid_for_s=self._settings.valid_for_s,
        )


def _is_other_shape(beat: Beat) -> bool:
    """Return whether the beat spread another way over the heart: its height tells nothing of the axis."""
    is_conducted = beat.kind in {BeatKind.NORMAL, BeatKind.SUPRAVENTRICULAR}
    return not is_conducted or (beat.similarity is not None and beat.similarity < _SIMILAR)


def _is_ectopic(beat: Beat) -> bool:
    """Return whether the sinus node did not give the interval before the beat."""
    return beat.is_premature or beat.kind is not BeatKind.NORMAL or _is_other_shape(beat)
