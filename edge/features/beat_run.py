"""The beat detector over one stretch without holes: detection, description, intervals.

`ecg_beats` cuts the stream into such stretches.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.filters import FilterChain, FilterSettings, delay_ms
from edge.conditioning.sample_times import SampleTimes
from edge.features.beat_bridge import Bridge, Mask
from edge.features.beat_shape import BeatShapes, Shape
from edge.features.qrs_decision import QrsDecision
from edge.features.qrs_detection import Detection
from edge.features.qrs_settings import DecisionSettings
from edge.features.qrs_signal import FusionSettings, QrsSignal
from edge.messages import Beat, Channel, Quality, SampleBlock, Samples

_NS_PER_MS = 1_000_000
# Beats are described from this much of the filtered signal: the longest search-back and a little more.
_HISTORY_S = 6.0
# A verdict on the quality may come this long after an R peak and still go with the beat: every beat waits longer.
_VERDICT_S = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class BeatRunSettings:
    """How beats are found and described."""

    decision: DecisionSettings = field(default_factory=DecisionSettings)
    """The detection rules."""
    fusion: FusionSettings = field(default_factory=FusionSettings)
    """How several leads become one detection signal."""
    peak_search_s: float = 0.09
    """The R peak is looked for this far from the middle of the energy: half the longest QRS complex."""
    premature_ratio: float = 0.8
    """A beat is premature when its RR is below this share of the median of the last eight (usual Holter rule)."""
    compensatory_tolerance: float = 0.1
    """A pause is fully compensatory when the two intervals around a premature beat differ from two usual ones by no
    more than this share of them."""


class Verdicts:
    """What the quality stage said, each verdict from its sample on."""

    def __init__(self) -> None:
        self._coming: deque[Quality] = deque()
        self._now: Quality | None = None

    def add(self, quality: Quality) -> None:
        """Note a verdict, later than those before."""
        self._coming.append(quality)

    def at(self, sequence: int) -> Quality | None:
        """Return the verdict in force at a sample; ask in order of time."""
        while self._coming and self._coming[0].sequence <= sequence:
            self._now = self._coming.popleft()
        return self._now


class BeatRun:
    """The detector over one stretch without holes."""

    def __init__(self, settings: BeatRunSettings, first: SampleBlock, times: SampleTimes) -> None:
        self._settings = settings
        self._first = first
        self._times = times
        rate_hz = first.rate_hz
        n_leads = len(first.channels)
        self._rate_hz = rate_hz
        self._start = first.sequence
        self.end = first.sequence
        """Sample index that comes next."""
        self._signal = QrsSignal(settings.fusion, rate_hz, n_leads)
        self._decision = QrsDecision(settings.decision, self._signal, n_leads)
        self._shapes = BeatShapes(rate_hz, n_leads, settings.peak_search_s)
        self._bridge = Bridge(n_leads)
        band = FilterSettings()
        self._filter = FilterChain(band)
        self._n_filter_delay = round(delay_ms(band, rate_hz) * rate_hz / 1000)
        self._unfiltered: list[Samples] = []
        self._n_unfiltered = 0
        self._has_holes = False
        self._filtered: NDArray[np.float64] = np.zeros((n_leads, 0))
        self._n_history = round(_HISTORY_S * rate_hz)
        self._n_verdict = round(_VERDICT_S * rate_hz)
        self._last: Beat | None = None
        self._usual_ms: float | None = None
        self._rr_ms: deque[float] = deque(maxlen=8)

    def goes_on_with(self, block: SampleBlock, channels: tuple[Channel, ...]) -> bool:
        """Return whether `block`, of which `channels` are ECG, continues this stretch."""
        first = self._first
        return (
            block.sequence == self.end
            and block.rate_hz == self._rate_hz
            and channels == first.channels
            and block.stream == first.stream
            and block.sensor == first.sensor
        )

    def clear_channels(self) -> frozenset[str]:
        """Return the names of the channels that show clear beats."""
        return frozenset(self._first.channels[k].name for k in self._decision.clear_leads())

    def add(self, values: Samples, clean: Samples | None, is_missing: Mask | None, verdicts: Verdicts) -> list[Beat]:
        """Return the beats that these samples made certain."""
        self.end += len(values)
        self._has_holes |= is_missing is not None
        self._keep(values if clean is None else clean, is_clean=clean is not None)
        self._signal.add(self._bridge.fill(values.T, is_missing))
        return self._beats(self._decision.decide(self._signal.find()), verdicts)

    def finish(self, verdicts: Verdicts) -> list[Beat]:
        """Return the beats that are still held back."""
        self._signal.finish()
        detections = self._decision.decide(self._signal.find()) + self._decision.flush()
        return self._beats(detections, verdicts)

    def _keep(self, values: Samples, *, is_clean: bool) -> None:
        """Keep the signal for description; it is filtered when a beat wants to be described."""
        self._unfiltered.append(values)
        self._n_unfiltered += len(values)
        if is_clean:
            self._store(joined(self._unfiltered))
        elif self._n_unfiltered > self._n_history // 3:
            self._catch_up()

    def _catch_up(self) -> None:
        if self._unfiltered:
            values = joined(self._unfiltered)
            block = replace(self._first, values=values, sequence=self.end - self._n_unfiltered)
            self._store(self._filter.push(block)[0].values)

    def _store(self, filtered: Samples) -> None:
        n_kept = min(self._n_history, self._filtered.shape[1])
        kept = self._filtered[:, self._filtered.shape[1] - n_kept :]
        self._filtered = np.concatenate([kept, filtered.T], axis=1)
        if self._has_holes:
            self._filtered[np.isnan(self._filtered)] = 0.0
            self._has_holes = False
        self._unfiltered = []
        self._n_unfiltered = 0

    def _beats(self, detections: list[Detection], verdicts: Verdicts) -> list[Beat]:
        if not detections:
            return []
        self._catch_up()
        signal = self._signal
        n_delay = self._n_filter_delay
        middles = [
            self._start + round((each.at - signal.delay + 0.5) * signal.n_decimated) + n_delay for each in detections
        ]
        leads = [(each.clear_leads, _strongest(each)) for each in detections]
        first = self.end - self._filtered.shape[1]
        shapes = self._shapes.describe(self._filtered, first, middles, leads)
        return [self._beat(each, shape, verdicts) for each, shape in zip(detections, shapes, strict=True)]

    def _beat(self, detection: Detection, shape: Shape, verdicts: Verdicts) -> Beat:
        last = self._last
        sequence = shape.peak - self._n_filter_delay
        if last is not None and sequence <= last.sequence:
            sequence = last.sequence + 1
        at_ns = self._times.at_ns(sequence)
        rr_ms = None if last is None else (at_ns - last.at_ns) / _NS_PER_MS
        quality = verdicts.at(sequence + self._n_verdict)
        beat = Beat(
            sensor=self._first.sensor,
            stream=self._first.stream,
            at_ns=at_ns,
            sequence=sequence,
            rr_ms=rr_ms,
            quality=1.0 if quality is None else quality.index,
            amplitude_mv=shape.amplitude_mv,
            width_ms=shape.width_ms,
            similarity=shape.similarity,
            is_premature=self._is_premature(rr_ms),
            is_late=detection.is_late,
            is_noise_suspect=quality is not None and not quality.is_usable,
            channel=self._first.channels[shape.lead].name,
            is_after_compensatory_pause=self._is_compensatory(rr_ms),
        )
        self._last = beat
        if rr_ms is not None:
            self._rr_ms.append(rr_ms)
        return beat

    def _is_premature(self, rr_ms: float | None) -> bool:
        if rr_ms is None or len(self._rr_ms) < 4:
            return False
        ratio = self._settings.premature_ratio
        return rr_ms < ratio * self._rr_ms[-1] and rr_ms < ratio * median(self._rr_ms)

    def _is_compensatory(self, rr_ms: float | None) -> bool:
        last = self._last
        if last is None or not last.is_premature or last.rr_ms is None or rr_ms is None:
            return False
        two_usual = 2.0 * median(list(self._rr_ms)[:-1])
        return abs(last.rr_ms + rr_ms - two_usual) <= self._settings.compensatory_tolerance * two_usual


def joined(parts: list[Samples]) -> Samples:
    """Return the parts end to end."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _strongest(detection: Detection) -> int:
    """Return the lead in which a beat is largest of those that count."""
    scores = [height * weight for height, weight in zip(detection.heights, detection.weights, strict=True)]
    return scores.index(max(scores))
