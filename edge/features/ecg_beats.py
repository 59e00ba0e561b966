"""ECG samples -> beats: a streaming, causal QRS detector over one or several leads.

::

    SampleBlock ─▶ fixed grid ─▶ QrsCandidates ─▶ QrsDecision ─▶ R peak, RR, shape ─▶ Beat

It takes the raw signal: its own 5-20 Hz band removes wander, T waves and mains.  Every decision falls on a fixed grid of
samples, so the beats do not depend on the chunking.  A beat is reported about 0.5 s after its R peak.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from edge.conditioning.filters import FilterChain, FilterSettings, delay_ms
from edge.conditioning.reblock import Reblock, ReblockSettings
from edge.conditioning.sample_times import SampleTimes
from edge.features.history import History
from edge.features.qrs_candidates import QrsCandidates
from edge.features.qrs_decision import DecisionSettings, Detection, QrsDecision
from edge.features.qrs_template import Curve, DominantBeat, qrs_width_ms
from edge.messages import Beat, Channel, ChannelKind, Gap, Quality, SampleBlock

NS_PER_MS = 1_000_000

# A lead that moves less around a beat does not show it.
_FLAT_MV = 0.05
# Blocks kept for one call of the display-band filter; two seconds on the usual grid.
_MOST_UNFILTERED = 10

# Factor from a channel's unit to millivolts; an unknown unit is taken as it is, and then only relative thresholds hold.
_TO_MV = (("mV", 1.0), ("uV", 1e-3), ("V", 1e3), ("nV", 1e-6))


@dataclass(frozen=True, kw_only=True, slots=True)
class EcgBeatsSettings:
    """How beats are found and described."""

    decision: DecisionSettings = field(default_factory=DecisionSettings)
    """The detection rules."""
    hop_s: float = 0.2
    """Grid on which decisions fall; the same as `ReblockSettings.block_s`, so that no delay is added."""
    peak_search_s: float = 0.09
    """The R peak is looked for this far from the middle of the energy: half the longest QRS complex."""
    premature_ratio: float = 0.8
    """A beat is premature when its RR is below this share of the median of the last eight (usual Holter rule)."""


class EcgBeats:
    """Find beats in the ECG channels of a stream.

    Quality messages of the same stream may be pushed too: they fill `Beat.quality` and `Beat.is_noise_suspect`.
    A hole in the stream (a jump of ``sequence``, or rows without any value) starts the detector anew.

    Parameters
    ----------
    settings : EcgBeatsSettings
        How beats are found and described.
    """

    def __init__(self, settings: EcgBeatsSettings = EcgBeatsSettings()) -> None:
        self._settings = settings
        self._reblock = Reblock(ReblockSettings(block_s=settings.hop_s))
        self._run: _Run | None = None
        self._quality: Quality | None = None
        self._trusted: frozenset[str] = frozenset()

    def push(self, item: SampleBlock | Quality) -> list[Beat]:
        """Return the beats that became certain with `item`, in order of time."""
        if isinstance(item, Quality):
            self._quality = item
            return []
        out: list[Beat] = []
        for part in self._reblock.push(item):
            out += self._part(part)
        return out

    def trust(self, channels: Collection[str]) -> None:
        """Look for beats in `channels` alone, as far as there are any, until told otherwise; survives no `reset`.

        The detector chooses its lead by how far beats stand out; in a lead full of noise it counts noise as beats,
        and then every other lead looks poor at the instants of those "beats".  Only a verdict from elsewhere ends that.
        """
        self._trusted = frozenset(channels)
        if self._run is not None:
            self._run.trust(self._trusted)

    def reset(self, reason: str) -> None:
        """Forget the signal so far; the next beat has no RR interval."""
        self._reblock.reset(reason)
        self._run = None
        self._quality = None
        self._trusted = frozenset()

    def flush(self) -> list[Beat]:
        """Return the beats that are still held back, at the end of the stream or before a reset."""
        out: list[Beat] = []
        for part in self._reblock.flush():
            out += self._part(part)
        return out + self._finish()

    def _part(self, part: SampleBlock | Gap) -> list[Beat]:
        if isinstance(part, Gap):
            return self._finish()
        out: list[Beat] = []
        if self._run is not None and part.sequence != self._run.end:
            out += self._finish()
        leads = [k for k, channel in enumerate(part.channels) if channel.kind is ChannelKind.ECG]
        if not leads:
            return out
        scales = np.array([_scale(part.channels[k]) for k in leads])
        channels = tuple(part.channels[k] for k in leads)
        block = replace(part, channels=channels, values=part.values[:, leads] * scales)
        if self._run is None:
            self._run = _Run(self._settings, block)
            self._run.trust(self._trusted)
        return out + self._run.add(block, self._quality)

    def _finish(self) -> list[Beat]:
        run, self._run = self._run, None
        return run.finish(self._quality) if run is not None else []


class _Run:
    """The detector over one stretch without holes."""

    def __init__(self, settings: EcgBeatsSettings, first: SampleBlock) -> None:
        self._settings = settings
        self._first = first
        rate_hz = first.rate_hz
        n_leads = len(first.channels)
        self._rate_hz = rate_hz
        band = FilterSettings()
        self._filter = FilterChain(band)
        self._n_filter_delay = round(delay_ms(band, rate_hz) * rate_hz / 1000)
        self._unfiltered: list[SampleBlock] = []
        self._signal = History(n_leads, round(6 * rate_hz), first.sequence)
        self._times = SampleTimes(rate_hz)
        self._candidates = QrsCandidates(rate_hz, n_leads, first.sequence)
        self._decision = QrsDecision(settings.decision, rate_hz, self._candidates, n_leads)
        self._n_shift = max(1, round(0.01 * rate_hz))
        self._dominant = [DominantBeat(self._n_shift) for _ in range(n_leads)]
        self._lead: int | None = None
        self._is_upright: list[bool | None] = [None] * n_leads
        self._last: Beat | None = None
        self._rr_ms: deque[float] = deque(maxlen=8)

    @property
    def end(self) -> int:
        """Sample index that comes next."""
        return self._candidates.heights.end

    def add(self, block: SampleBlock, quality: Quality | None) -> list[Beat]:
        """Return the beats that `block` made certain."""
        self._times.add(block.sequence, block.start_ns)
        self._unfiltered.append(block)
        detections = self._decision.decide(self._candidates.find(block))
        if detections or len(self._unfiltered) == _MOST_UNFILTERED:
            self._catch_up()
        return [self._beat(detection, quality) for detection in detections]

    def trust(self, channels: Collection[str]) -> None:
        """Look for beats in these channels alone, as far as there are any."""
        self._decision.trust([k for k, channel in enumerate(self._first.channels) if channel.name in channels])

    def finish(self, quality: Quality | None) -> list[Beat]:
        """Return the beat that is still held back."""
        self._catch_up()
        return [self._beat(detection, quality) for detection in self._decision.flush()]

    def _catch_up(self) -> None:
        """Filter what came since the last beat; nobody looks at the filtered signal in between."""
        if not self._unfiltered:
            return
        values = np.concatenate([block.values for block in self._unfiltered])
        filtered = self._filter.push(replace(self._unfiltered[0], values=values))[0].values
        self._unfiltered = []
        self._signal.append(np.where(np.isnan(filtered), 0.0, filtered))

    def _beat(self, detection: Detection, quality: Quality | None) -> Beat:
        middle = detection.candidate.sequence - self._candidates.delay_samples
        lead = self._describing_lead(middle, detection.candidate.lead)
        peak = self._peak(middle, lead)
        sequence = peak - self._n_filter_delay
        if self._last is not None:
            sequence = max(sequence, self._last.sequence + 1)
        at_ns = self._times.at_ns(sequence)
        rr_ms = None if self._last is None else (at_ns - self._last.at_ns) / NS_PER_MS
        beat = Beat(
            sensor=self._first.sensor,
            stream=self._first.stream,
            at_ns=at_ns,
            sequence=sequence,
            rr_ms=rr_ms,
            quality=1.0 if quality is None else quality.index,
            amplitude_mv=self._amplitude_mv(peak, lead),
            width_ms=self._width_ms(peak, lead),
            similarity=self._similarity(peak, lead),
            is_premature=self._is_premature(rr_ms),
            is_late=detection.is_late,
            is_noise_suspect=quality is not None and not quality.is_usable,
        )
        self._last = beat
        if rr_ms is not None:
            self._rr_ms.append(rr_ms)
        return beat

    def _describing_lead(self, middle: int, detecting_lead: int) -> int:
        """Return the lead in which the beat is timed and described: as far as possible always the same.

        R peaks of different leads lie tens of milliseconds apart and have different shapes, so a change of lead would
        look like an irregular, odd beat.  The lead in use stays while its beats are clear; else the first clear one.
        """
        clear = self._decision.clear_leads()
        if self._lead is None or self._lead not in clear or self._is_flat(middle, self._lead):
            self._lead = next((lead for lead in clear if not self._is_flat(middle, lead)), None)
        return detecting_lead if self._lead is None else self._lead

    def _is_flat(self, middle: int, lead: int) -> bool:
        curve = self._curve(middle, lead, self._settings.peak_search_s, self._settings.peak_search_s)
        return float(np.ptp(curve)) < _FLAT_MV

    def _peak(self, middle: int, lead: int) -> int:
        """Return the index, in the filtered signal, of the largest deflection near `middle`.

        The polarity of the beats before is kept unless the other one is clearly larger, so that an RS complex with
        equal halves does not make the RR interval jump.
        """
        n_search = round(self._settings.peak_search_s * self._rate_hz)
        middle += self._n_filter_delay
        first = max(middle - n_search, self._signal.first)
        curve = self._signal.rows(first, middle + n_search + 1)[:, lead]
        if len(curve) == 0:
            return middle
        level = float(np.median(self._signal.rows(first - n_search, middle + 2 * n_search)[:, lead]))
        up, down = float(curve.max()) - level, level - float(curve.min())
        before = self._is_upright[lead]
        is_upright = up >= down if before is None else (up >= 0.7 * down if before else up * 0.7 > down)
        self._is_upright[lead] = is_upright
        return first + int(np.argmax(curve) if is_upright else np.argmin(curve))

    def _curve(self, peak: int, lead: int, before_s: float, after_s: float) -> Curve:
        """Return the filtered lead around `peak`, padded with its edge values where the run does not reach."""
        first = peak - round(before_s * self._rate_hz)
        end = peak + round(after_s * self._rate_hz) + 1
        curve = self._signal.rows(first, end)[:, lead]
        if len(curve) == end - first:
            return curve
        n_before = max(0, self._signal.first - first)
        return np.pad(curve, (n_before, max(0, end - first - n_before - len(curve))), mode="edge")

    def _amplitude_mv(self, peak: int, lead: int) -> float:
        """Return the deflection at the peak from the level before the complex; negative for a QS complex."""
        curve = self._curve(peak, lead, 0.12, 0.0)
        return float(curve[-1] - np.median(curve[: max(1, round(0.06 * self._rate_hz))]))

    def _width_ms(self, peak: int, lead: int) -> float:
        return qrs_width_ms(self._curve(peak, lead, 0.15, 0.2), round(0.15 * self._rate_hz), self._rate_hz)

    def _similarity(self, peak: int, lead: int) -> float | None:
        margin_s = self._n_shift / self._rate_hz
        return self._dominant[lead].similarity(self._curve(peak, lead, 0.1 + margin_s, 0.15 + margin_s))

    def _is_premature(self, rr_ms: float | None) -> bool:
        if rr_ms is None or len(self._rr_ms) < 4:
            return False
        ratio = self._settings.premature_ratio
        return rr_ms < ratio * median(self._rr_ms) and rr_ms < ratio * self._rr_ms[-1]


def _scale(channel: Channel) -> float:
    return next((factor for unit, factor in _TO_MV if unit == channel.unit), 1.0)
