"""ECG samples -> beats: a streaming, causal QRS detector over one or several leads.

::

    SampleBlock ─▶ QrsSignal ─▶ Candidates ─▶ QrsDecision ─▶ BeatShapes: R peak, width, likeness ─▶ Beat

It takes the raw signal: its own 5-20 Hz band removes wander, T waves and mains.  Every decision belongs to a sample and
waits for a fixed number of samples after it, so the beats do not depend on the chunking, and a block may have any
length.  A beat is reported 0.4 to 0.6 s after its R peak.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import numpy as np

from edge.conditioning.sample_times import SampleTimes
from edge.features.beat_bridge import Mask
from edge.features.beat_run import BeatRun, BeatRunSettings, Verdicts, joined
from edge.messages import Beat, Channel, ChannelKind, Quality, SampleBlock, Samples

# Nothing a body or an electrode gives reaches this; it is taken for a missing sample.
_LARGEST_MV = 1e9
# Factor from a channel's unit to millivolts; an unknown unit is taken as it is, and then only relative thresholds hold.
_TO_MV = (("mV", 1.0), ("uV", 1e-3), ("V", 1e3), ("nV", 1e-6))


@dataclass(frozen=True, kw_only=True, slots=True)
class EcgBeatsSettings:
    """How beats are found and described."""

    run: BeatRunSettings = field(default_factory=BeatRunSettings)
    """Detection and description."""
    hop_s: float = 0.2
    """Shorter blocks are gathered up to this length, which costs less than many small steps; the same as
    `ReblockSettings.block_s`, so that no delay is added."""


class EcgBeats:
    """Find beats in the ECG channels of a stream.

    Quality messages of the same stream may be pushed too: they fill `Beat.quality` and `Beat.is_noise_suspect`, from
    their ``sequence`` on.  A hole in the stream (a jump of ``sequence``, or rows without any value) starts the
    detector anew.

    Parameters
    ----------
    settings : EcgBeatsSettings
        How beats are found and described.
    """

    def __init__(self, settings: EcgBeatsSettings = EcgBeatsSettings()) -> None:
        self._settings = settings
        self._waiting: list[tuple[SampleBlock, SampleBlock | None]] = []
        self._n_waiting = 0
        self._times: SampleTimes | None = None
        self._run: BeatRun | None = None
        self._plan: _Plan | None = None
        self._verdicts = Verdicts()

    def push(self, item: SampleBlock | Quality, *, clean: SampleBlock | None = None) -> list[Beat]:
        """Return the beats that became certain with `item`, in order of time.

        Parameters
        ----------
        item : SampleBlock or Quality
            Raw samples, or a verdict on those of the same stream.
        clean : SampleBlock, optional
            The ECG channels of `item` behind the 0.5-40 Hz filter, where somebody has already filtered them; give it
            always or never.
        """
        if isinstance(item, Quality):
            self._verdicts.add(item)
            return []
        if item.n_samples == 0:
            return []
        out: list[Beat] = []
        if self._waiting and not _continues(self._waiting[-1][0], item):
            out += self._catch_up()
        self._waiting.append((item, clean))
        self._n_waiting += item.n_samples
        if self._n_waiting >= self._settings.hop_s * item.rate_hz - 0.5:
            out += self._catch_up()
        return out

    @property
    def clear_channels(self) -> frozenset[str]:
        """Names of the channels that show clear beats, large enough to be counted; empty while that is unknown.

        Where such a channel goes quiet, the heart does; a channel that is not among them may be quiet for no reason.
        """
        return frozenset() if self._run is None else self._run.clear_channels()

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the signal so far; the next beat has no RR interval."""
        self._waiting = []
        self._n_waiting = 0
        self._times = None
        self._run = None
        self._plan = None
        self._verdicts = Verdicts()

    def flush(self) -> list[Beat]:
        """Return the beats that are still held back, at the end of the stream or before a reset."""
        return self._catch_up() + self._finish()

    def _catch_up(self) -> list[Beat]:
        """Look for beats in the blocks that were gathered, which follow each other without a hole."""
        if not self._waiting:
            return []
        waiting, self._waiting, self._n_waiting = self._waiting, [], 0
        first = waiting[0][0]
        if self._plan is None or self._plan.channels != first.channels:
            self._plan = _Plan(first.channels)
        plan = self._plan
        out: list[Beat] = []
        if self._run is not None and not self._run.goes_on_with(first, plan.ecg):
            out += self._finish()
            self._times = None
        if not plan.ecg:
            return out
        if self._times is None:
            self._times = SampleTimes(first.rate_hz)
        for block, _ in waiting:
            self._times.add(block.sequence, block.start_ns)
        values = plan.in_mv(joined([block.values for block, _ in waiting]))
        cleans = [clean.values for _, clean in waiting if clean is not None]
        return out + self._split(first, values, joined(cleans) * plan.scales if cleans else None)

    def _split(self, first: SampleBlock, values: Samples, clean: Samples | None) -> list[Beat]:
        """Look for beats in `values`, which begin with `first`, starting anew behind every row without a value."""
        if values.min() >= -_LARGEST_MV and values.max() <= _LARGEST_MV:  # false where a sample is missing
            return self._present(first, 0, values, clean, None)
        is_missing = ~(np.abs(values) <= _LARGEST_MV)
        is_absent = np.asarray(is_missing.all(axis=1))
        edges = [0, *(np.flatnonzero(np.diff(is_absent)) + 1).tolist(), len(values)]
        out: list[Beat] = []
        for begin, end in itertools.pairwise(edges):
            if is_absent[begin]:
                out += self._finish()
                continue
            part = None if clean is None else clean[begin:end]
            out += self._present(first, begin, values[begin:end], part, is_missing[begin:end])
        return out

    def _present(
        self, first: SampleBlock, begin: int, values: Samples, clean: Samples | None, is_missing: Mask | None
    ) -> list[Beat]:
        assert self._times is not None
        assert self._plan is not None
        sequence = first.sequence + begin
        if self._run is None:
            start = replace(first, channels=self._plan.ecg, values=values[:1], sequence=sequence)
            self._run = BeatRun(self._settings.run, start, self._times)
        return self._run.add(values, clean, is_missing, self._verdicts)

    def _finish(self) -> list[Beat]:
        run, self._run = self._run, None
        return run.finish(self._verdicts) if run is not None else []


class _Plan:
    """Which columns of a stream are ECG, and what makes them millivolts."""

    def __init__(self, channels: tuple[Channel, ...]) -> None:
        self.channels = channels
        columns = [k for k, channel in enumerate(channels) if channel.kind is ChannelKind.ECG]
        self.ecg = tuple(channels[k] for k in columns)
        self.scales = np.array([_scale(channel) for channel in self.ecg])
        self._columns = columns if len(columns) < len(channels) else None
        self._is_in_mv = bool((self.scales == 1.0).all())

    def in_mv(self, values: Samples) -> Samples:
        """Return the ECG columns of `values` in millivolts."""
        if self._columns is not None:
            values = values[:, self._columns]
        return values if self._is_in_mv else values * self.scales


def _continues(before: SampleBlock, block: SampleBlock) -> bool:
    return (
        block.sequence == before.sequence + before.n_samples
        and block.rate_hz == before.rate_hz
        and block.channels == before.channels
        and block.stream == before.stream
        and block.sensor == before.sensor
    )


def _scale(channel: Channel) -> float:
    return next((factor for unit, factor in _TO_MV if unit == channel.unit), 1.0)
