"""PPG samples -> pulses: a streaming, causal detector of pulse waves in the best light channel of a stream.

::

    SampleBlock ─▶ best channel ─▶ Upstrokes ─▶ PulseDecision ─▶ foot, interval ─▶ Pulse

Everything is decided at upstrokes, so the pulses do not depend on how the samples were cut into blocks.  A pulse is told
about half a second after its foot: its rise, 0.2 s in which a higher maximum would join it, and the filter's 0.06 s.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from edge.conditioning.ppg_low_pass import LARGEST_VALUE
from edge.conditioning.sample_times import SampleTimes
from edge.features.pulse_decision import PulseDecision, PulseDecisionSettings
from edge.features.pulse_upstrokes import Column, Upstroke, Upstrokes
from edge.messages import Channel, ChannelKind, Pulse, Quality, SampleBlock

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

PPG_KINDS = (ChannelKind.PPG_INFRARED, ChannelKind.PPG, ChannelKind.PPG_RED)
"""Light channels, in the order in which they are preferred: infrared has the strongest pulse at a finger."""

# Shorter holes are bridged with the value before; after a longer one the wave may be another.
_LONGEST_HELD_SAMPLES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class PulseBeatsSettings:
    """How pulses are found."""

    decision: PulseDecisionSettings = field(default_factory=PulseDecisionSettings)
    """Which upstrokes are pulses."""
    join_s: float = 0.2
    """Rises whose maxima are closer than this are one wave: a pulse with a notch in its upstroke."""


class PulseBeats:
    """Find the pulses in the light channels of a stream.

    Quality messages of the same stream may be pushed too: they choose the channel, say with reason ``inverted`` that the
    wave stands upside down, and fill `Pulse.quality` and `Pulse.is_noise_suspect`.  A hole in the stream (a jump of
    ``sequence``, or more than two samples without a value) starts the detector anew.

    Parameters
    ----------
    settings : PulseBeatsSettings
        How pulses are found.
    """

    def __init__(self, settings: PulseBeatsSettings = PulseBeatsSettings()) -> None:
        self._settings = settings
        self._run: _Run | None = None
        self._quality: Quality | None = None

    def push(self, item: SampleBlock | Quality) -> list[Pulse]:
        """Return the pulses that became certain with `item`, in order of time."""
        if isinstance(item, Quality):
            if item.kind in PPG_KINDS:
                self._quality = item
            return []
        column = self._column(item.channels)
        if item.n_samples == 0 or column is None:
            return []
        values = item.values[:, column]
        is_good = np.abs(values) <= LARGEST_VALUE  # False for NaN too
        if is_good.all():
            return self._take(item, column, 0, values)
        out: list[Pulse] = []
        edges = [0, *(np.flatnonzero(is_good[1:] != is_good[:-1]) + 1).tolist(), item.n_samples]
        for first, end in itertools.pairwise(edges):
            if is_good[first]:
                out += self._take(item, column, first, values[first:end])
            elif self._run is not None and not self._run.bridge(end - first):
                out += self._finish()
        return out

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the signal so far; the next pulse has no interval."""
        self._run = None
        self._quality = None

    def flush(self) -> list[Pulse]:
        """Return the pulses that are still held back, at the end of the stream or before a reset."""
        return self._finish()

    def _take(self, block: SampleBlock, column: int, first: int, values: Column) -> list[Pulse]:
        """Return the pulses that the good `values`, which begin at row `first` of `block`, made certain."""
        out: list[Pulse] = []
        sign = -1.0 if self._quality is not None and "inverted" in self._quality.reasons else 1.0
        run = self._run
        if run is not None and (block.sequence + first, column, sign) != (run.end, run.column, run.sign):
            out = self._finish()
        if self._run is None:
            self._run = _Run(self._settings, block, first, column, sign)
        return out + self._run.add(block, values, self._quality)

    def _column(self, channels: tuple[Channel, ...]) -> int | None:
        """Return the channel to look at: the one that the quality names, else the preferred kind."""
        kinds = [channel.kind for channel in channels]
        if self._quality is not None:
            for k, channel in enumerate(channels):
                if channel.name == self._quality.channel and channel.kind in PPG_KINDS:
                    return k
        return next((kinds.index(kind) for kind in PPG_KINDS if kind in kinds), None)

    def _finish(self) -> list[Pulse]:
        run, self._run = self._run, None
        return run.finish(self._quality) if run is not None else []


class _Run:
    """The detector over one stretch of one channel without holes."""

    def __init__(self, settings: PulseBeatsSettings, block: SampleBlock, first: int, column: int, sign: float) -> None:
        self._format = block
        self.column = column
        """Which channel of the blocks is looked at."""
        self.sign = sign
        """-1 where the wave stands upside down."""
        self.end = block.sequence + first
        """Sample index that comes next."""
        self._times = SampleTimes(block.rate_hz)
        self._upstrokes = Upstrokes(block.rate_hz, self.end, settings.join_s)
        self._decision = PulseDecision(settings.decision, block.rate_hz)
        self._last_value = 0.0
        self._n_bridged = 0
        self._last_at_ns: int | None = None

    def add(self, block: SampleBlock, values: Column, quality: Quality | None) -> list[Pulse]:
        """Return the pulses that `values`, from a channel of `block`, made certain."""
        self._times.add(block.sequence, block.start_ns)
        if self._n_bridged:
            values = np.concatenate([np.full(self._n_bridged, self._last_value), values])
            self.end -= self._n_bridged
            self._n_bridged = 0
        self.end += len(values)
        self._last_value = float(values[-1])
        upstrokes = self._upstrokes.find(self.sign * values)
        return [self._pulse(pulse, quality) for upstroke in upstrokes for pulse in self._decision.decide(upstroke)]

    def bridge(self, n_samples: int) -> bool:
        """Pass over missing samples, as if they were like the one before; False when they are too many."""
        self._n_bridged += n_samples
        self.end += n_samples
        return self._n_bridged <= _LONGEST_HELD_SAMPLES

    def finish(self, quality: Quality | None) -> list[Pulse]:
        """Return the pulses that are still held back."""
        pulses = [pulse for upstroke in self._upstrokes.flush() for pulse in self._decision.decide(upstroke)]
        return [self._pulse(pulse, quality) for pulse in pulses + self._decision.flush()]

    def _pulse(self, upstroke: Upstroke, quality: Quality | None) -> Pulse:
        foot = upstroke.foot - self._upstrokes.delay_samples
        whole = math.floor(foot)
        at_ns = self._times.at_ns(whole) + round((foot - whole) * NS_PER_S / self._format.rate_hz)
        interval_ms = None if self._last_at_ns is None else (at_ns - self._last_at_ns) / NS_PER_MS
        self._last_at_ns = at_ns
        return Pulse(
            sensor=self._format.sensor,
            stream=self._format.stream,
            channel=self._format.channels[self.column].name,
            at_ns=at_ns,
            sequence=round(foot),
            interval_ms=interval_ms,
            amplitude=upstroke.height,
            baseline=self.sign * upstroke.low,
            quality=1.0 if quality is None else quality.index,
            is_noise_suspect=quality is not None and not quality.is_usable,
        )
