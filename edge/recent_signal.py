"""The last minute and a half of one ECG in memory: clean samples, beats, windows, predictions and quality.  Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.alert_record import Strip
from edge.messages import BeatKind, ClassifiedBeat, Json, Prediction, Quality, SampleBlock, Window

NS_PER_S = 1_000_000_000

PENDING = "pending"
"""Source of a beat whose class is not decided yet: its kind means nothing."""

_MICROVOLTS = {"uV": 1.0, "mV": 1e3, "V": 1e6}
# A minute and a half at 300 beats a minute; bounds memory whatever the detector says.
_MOST_BEATS = 450
_MOST_BLOCKS = 4_000

Item = TypeVar("Item")


class RecentSignal:
    """Remember the last seconds of one stream.

    Parameters
    ----------
    memory_s : float
        How far back, s.
    """

    def __init__(self, memory_s: float) -> None:
        self._memory_ns = round(memory_s * NS_PER_S)
        self.blocks: deque[SampleBlock] = deque(maxlen=_MOST_BLOCKS)
        self.beats: dict[int, ClassifiedBeat] = {}
        self.windows: deque[Window] = deque(maxlen=_MOST_BEATS)
        self.predictions: deque[Prediction] = deque(maxlen=_MOST_BEATS)
        self.qualities: deque[Quality] = deque(maxlen=_MOST_BEATS)

    def add_block(self, block: SampleBlock) -> None:
        """Take in samples, and forget what has become too old."""
        if self.blocks and block.start_ns < self.blocks[-1].start_ns:
            self.blocks.clear()  # time that runs backwards: what was there is of another time line
        self.blocks.append(block)
        oldest_ns = block.end_ns - self._memory_ns
        _forget(self.blocks, lambda item: item.end_ns < oldest_ns)
        _forget(self.windows, lambda item: item.start_ns < oldest_ns)
        _forget(self.predictions, lambda item: item.at_ns < oldest_ns)
        _forget(self.qualities, lambda item: item.at_ns < oldest_ns)

    def add_beat(self, item: ClassifiedBeat) -> None:
        """Take in a beat, or its class once that is known."""
        beats, oldest_ns = self.beats, item.beat.at_ns - self._memory_ns
        beats[item.beat.at_ns] = item
        while len(beats) > 1 and ((first := next(iter(beats))) < oldest_ns or len(beats) > _MOST_BEATS):
            del beats[first]

    def deciding(self, decision: Mapping[str, Json], span_ns: int) -> tuple[Window, ...]:
        """Return the windows that a decision rests on: those it names, and of a rhythm those its mean was taken over.

        Where the prediction does not say which these were, it is those of the span before the last of them.
        """
        model, named = decision.get("model"), integers(decision.get("window_sequences"))
        of_model = [window for window in self.windows if window.model == model]
        chosen = [window for window in of_model if window.sequence in named]
        if model != "rhythm" or not chosen:
            return tuple(chosen)
        over = [
            integers(prediction.evidence.get("windows"))
            for prediction in self.predictions
            if prediction.model == model and prediction.sequence == max(named)
        ]
        if over and all(over):
            wanted = named.union(*over)
            return tuple(window for window in of_model if window.sequence in wanted)
        start_ns, end_ns = chosen[0].start_ns - span_ns, chosen[-1].start_ns
        return tuple(window for window in of_model if start_ns <= window.start_ns <= end_ns)

    def strip(self, start_ns: int, end_ns: int) -> Strip | None:
        """Return the signal between two instants, as far as it is there; missing samples are NaN."""
        if not self.blocks:
            return None
        last = self.blocks[-1]
        units = [_MICROVOLTS.get(channel.unit, np.nan) for channel in last.channels]
        blocks = [
            block
            for block in self.blocks
            if block.end_ns > start_ns
            and block.start_ns < end_ns
            and block.rate_hz == last.rate_hz
            and block.channels == last.channels
        ]
        if not blocks or not last.rate_hz > 0:
            return None
        first_ns = max(start_ns, blocks[0].start_ns)
        n_samples = round((min(end_ns, blocks[-1].end_ns) - first_ns) * last.rate_hz / NS_PER_S)
        values = np.full((max(0, n_samples), len(last.channels)), np.nan)
        for block in blocks:
            at = round((block.start_ns - first_ns) * last.rate_hz / NS_PER_S)
            skip = max(0, -at)
            part = block.values[skip : max(skip, n_samples - at)]
            values[at + skip : at + skip + len(part)] = part * units
        values[~np.isfinite(values)] = np.nan
        return Strip(
            sensor=last.sensor,
            stream=last.stream,
            start_ns=first_ns,
            rate_hz=last.rate_hz,
            channels=tuple(channel.name for channel in last.channels),
            values_uv=np.round(values),
        )

    def usual_beat(
        self, before_s: float = 0.3, after_s: float = 0.5, likeness: float = 0.9, most: int = 40, least: int = 5
    ) -> Strip | None:
        """Return the median of the newest normal beats; None where there are too few."""
        strip = self.strip(self.blocks[0].start_ns, self.blocks[-1].end_ns) if self.blocks else None
        if strip is None:
            return None
        n_before, n_after = round(before_s * strip.rate_hz), round(after_s * strip.rate_hz)
        pieces: list[NDArray[np.float64]] = []
        for item in reversed(self.beats.values()):
            beat = item.beat
            is_usual = item.beat.kind is BeatKind.NORMAL and not (beat.is_noise_suspect or beat.is_premature)
            if not is_usual or (beat.similarity is not None and beat.similarity < likeness):
                continue
            r = round((beat.at_ns - strip.start_ns) * strip.rate_hz / NS_PER_S)
            piece = strip.values_uv[max(0, r - n_before) : r + n_after]
            if r >= n_before and len(piece) == n_before + n_after and np.isfinite(piece).all():
                pieces.append(piece)
            if len(pieces) == most:
                break
        if len(pieces) < least:
            return None
        return replace(strip, start_ns=0, values_uv=np.round(np.median(pieces, axis=0)), r=n_before)


def integers(named: Json) -> frozenset[int]:
    """Return the whole numbers in a list of evidence; nothing of anything else."""
    return frozenset(each for each in named if isinstance(each, int)) if isinstance(named, list) else frozenset()


def _forget(items: deque[Item], is_old: Callable[[Item], bool]) -> None:
    while items and is_old(items[0]):
        items.popleft()
