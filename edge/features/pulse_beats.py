"""PPG samples -> pulses: a streaming, causal detector of pulse waves in the best light channel of a stream.

::

    SampleBlock ─▶ fixed grid ─▶ best channel ─▶ Upstrokes ─▶ PulseDecision ─▶ foot, interval ─▶ Pulse

Every decision falls on a fixed grid of samples, so the pulses do not depend on the chunking.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edge.conditioning.reblock import Reblock, ReblockSettings
from edge.conditioning.sample_times import SampleTimes
from edge.features.pulse_decision import PulseDecision, PulseDecisionSettings
from edge.features.pulse_upstrokes import Column, Upstroke, Upstrokes
from edge.messages import ChannelKind, Gap, Pulse, Quality, SampleBlock

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

PPG_KINDS = (ChannelKind.PPG_INFRARED, ChannelKind.PPG, ChannelKind.PPG_RED)
"""Light channels, in the order in which they are preferred: infrared has the strongest pulse at a finger."""

# Nothing a converter gives reaches this; beyond it the filter would overflow.
_LARGEST_VALUE = 1e9
# Shorter holes are bridged with the value before; after a longer one the wave may be another.
_LONGEST_HELD_SAMPLES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class PulseBeatsSettings:
    """How pulses are found."""

    decision: PulseDecisionSettings = field(default_factory=PulseDecisionSettings)
    """Which upstrokes are pulses."""
    hop_s: float = 0.2
    """Grid on which decisions fall; the same as `ReblockSettings.block_s`, so that no delay is added."""
    join_s: float = 0.2
    """Rises whose maxima are closer than this are one wave: a pulse with a notch in its upstroke."""


class PulseBeats:
    """Find the pulses in the light channels of a stream.

    Quality messages of the same stream may be pushed too: they choose the channel, say with reason ``inverted`` that the
    wave stands upside down, and fill `Pulse.quality` and `Pulse.is_noise_suspect`.  A hole in the stream (a jump of ``sequence``, or rows without any value) starts the
    detector anew.

    Parameters
    ----------
    settings : PulseBeatsSettings
        How pulses are found.
    """

    def __init__(self, settings: PulseBeatsSettings = PulseBeatsSettings()) -> None:
        self._settings = settings
        self._reblock = Reblock(ReblockSettings(block_s=settings.hop_s))
        self._run: _Run | None = None
        self._quality: Quality | None = None

    def push(self, item: SampleBlock | Quality) -> list[Pulse]:
        """Return the pulses that became certain with `item`, in order of time."""
        if isinstance(item, Quality):
            if item.kind in PPG_KINDS:
                self._quality = item
            return []
        out: list[Pulse] = []
        for part in self._reblock.push(item):
            out += self._part(part)
        return out

    def reset(self, reason: str) -> None:
        """Forget the signal so far; the next pulse has no interval."""
        self._reblock.reset(reason)
        self._run = None
        self._quality = None

    def flush(self) -> list[Pulse]:
        """Return the pulses that are still held back, at the end of the stream or before a reset."""
        out: list[Pulse] = []
        for part in self._reblock.flush():
            out += self._part(part)
        return out + self._finish()

    def _part(self, part: SampleBlock | Gap) -> list[Pulse]:
        if isinstance(part, Gap):
            return self._finish()
        out: list[Pulse] = []
        column = self._column(part)
        if column is None:
            return out
        sign = -1.0 if self._quality is not None and "inverted" in self._quality.reasons else 1.0
        if self._run is not None and (part.sequence, column, sign) != (self._run.end, self._run.column, self._run.sign):
            out += self._finish()
        values = part.values[:, column]
        is_good = np.abs(values) <= _LARGEST_VALUE  # False for NaN too
        if not is_good.all():
            if np.count_nonzero(~is_good) > _LONGEST_HELD_SAMPLES or not is_good[0]:
                return out + self._finish()
            values = values[np.maximum.accumulate(np.where(is_good, np.arange(len(values)), 0))]
        if self._run is None:
            self._run = _Run(self._settings, part, column, sign)
        return out + self._run.add(part, values, self._quality)

    def _column(self, part: SampleBlock) -> int | None:
        """Return the channel to look at: the one that the quality names, else the preferred kind."""
        kinds = [channel.kind for channel in part.channels]
        if self._quality is not None:
            for k, channel in enumerate(part.channels):
                if channel.name == self._quality.channel and channel.kind in PPG_KINDS:
                    return k
        return next((kinds.index(kind) for kind in PPG_KINDS if kind in kinds), None)

    def _finish(self) -> list[Pulse]:
        run, self._run = self._run, None
        return run.finish(self._quality) if run is not None else []


class _Run:
    """The detector over one stretch of one channel without holes."""

    def __init__(self, settings: PulseBeatsSettings, first: SampleBlock, column: int, sign: float) -> None:
        self._first = first
        self.sign = sign
        """-1 where the wave stands upside down."""
        self.column = column
        """Which channel of the blocks is looked at."""
        self._times = SampleTimes(first.rate_hz)
        self._upstrokes = Upstrokes(first.rate_hz, first.sequence, settings.join_s)
        self._decision = PulseDecision(settings.decision, first.rate_hz)
        self._last_at_ns: int | None = None

    @property
    def end(self) -> int:
        """Sample index that comes next."""
        return self._upstrokes.end

    def add(self, block: SampleBlock, values: Column, quality: Quality | None) -> list[Pulse]:
        """Return the pulses that `values`, the channel's part of `block`, made certain."""
        self._times.add(block.sequence, block.start_ns)
        upstrokes = self._upstrokes.find(self.sign * values)
        pulses = self._decision.decide(upstrokes, self.end)
        return [self._pulse(upstroke, quality) for upstroke in pulses]

    def finish(self, quality: Quality | None) -> list[Pulse]:
        """Return the pulses that are still held back."""
        pulses = self._decision.decide(self._upstrokes.flush(), self.end) + self._decision.flush()
        return [self._pulse(upstroke, quality) for upstroke in pulses]

    def _pulse(self, upstroke: Upstroke, quality: Quality | None) -> Pulse:
        foot = upstroke.steepest + self._upstrokes.foot_offset(upstroke) - self._upstrokes.delay_samples
        whole = int(np.floor(foot))
        at_ns = self._times.at_ns(whole) + round((foot - whole) * NS_PER_S / self._first.rate_hz)
        interval_ms = None if self._last_at_ns is None else (at_ns - self._last_at_ns) / NS_PER_MS
        self._last_at_ns = at_ns
        return Pulse(
            sensor=self._first.sensor,
            stream=self._first.stream,
            channel=self._first.channels[self.column].name,
            at_ns=at_ns,
            sequence=round(foot),
            interval_ms=interval_ms,
            amplitude=upstroke.height,
            baseline=self.sign * self._upstrokes.level(upstroke.foot),
            quality=1.0 if quality is None else quality.index,
            is_noise_suspect=quality is not None and not quality.is_usable,
        )
