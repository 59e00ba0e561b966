"""Resampled blocks, beats and quality -> windows for the model, only where the signal is whole."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from edge.conditioning.sample_times import SampleTimes
from edge.features.history import History, Rows
from edge.messages import Beat, Quality, SampleBlock, Window

NS_PER_S = 1_000_000_000

# Many more than a window holds; bounds memory where no window comes about.
_MOST_KEPT = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowSettings:
    """How windows lie on the stream."""

    window_s: float = 10.0
    """Length of a window: the length of a routine ECG strip."""
    hop_s: float = 2.0
    """Distance from one window to the next: how soon a change is seen (own choice)."""
    rate_hz: float = 250.0
    """Rate the model was trained at; the stream must have it."""
    beat_wait_s: float = 1.0
    """A window is given out this much later than its end, so that its last beats are known (`EcgBeats`: 0.57 s)."""

    def __post_init__(self) -> None:
        if not 0 < self.hop_s <= self.window_s or not self.rate_hz > 0 or self.beat_wait_s < 0:
            raise ValueError(f"expected 0 < hop_s <= window_s, rate_hz > 0, beat_wait_s >= 0, got {self}")


class Windows:
    """Cut overlapping windows on a fixed grid of samples.

    Push resampled blocks, and the beats and verdicts on the signal as they come.  A window is given out only when
    every sample in it is there; its quality is the lowest index of its seconds (1 where no verdict is known).

    Parameters
    ----------
    settings : WindowSettings
        How windows lie on the stream.
    """

    def __init__(self, settings: WindowSettings = WindowSettings()) -> None:
        self._settings = settings
        self._n_window = round(settings.window_s * settings.rate_hz)
        self._n_hop = max(1, round(settings.hop_s * settings.rate_hz))
        self._n_wait = round(settings.beat_wait_s * settings.rate_hz)
        self._run: _Run | None = None
        self._beats: deque[Beat] = deque(maxlen=_MOST_KEPT)
        self._qualities: deque[Quality] = deque(maxlen=_MOST_KEPT)

    def push(self, item: SampleBlock | Beat | Quality) -> list[Window]:
        """Return the windows that `item` completed.

        Raises
        ------
        ValueError
            If the block's rate is not the one of the settings.
        """
        if isinstance(item, Beat):
            self._beats.append(item)
            return []
        if isinstance(item, Quality):
            self._qualities.append(item)
            return []
        if item.rate_hz != self._settings.rate_hz:
            raise ValueError(f"expected blocks at {self._settings.rate_hz} Hz, got {item.rate_hz} Hz")
        out: list[Window] = []
        at = 0
        while at < item.n_samples:  # pieces no longer than a hop, so that the buffer cannot overflow
            n_part = min(item.n_samples - at, self._n_hop - (item.sequence + at) % self._n_hop)
            if self._run is None or item.sequence + at != self._run.end or self._run.n_columns != item.values.shape[1]:
                n_kept = self._n_window + self._n_wait + 2 * self._n_hop
                self._run = _Run(item.values.shape[1], n_kept, item.sequence + at, self._settings.rate_hz)
            start_ns = item.start_ns + round(at * NS_PER_S / item.rate_hz)
            self._run.add(item.values[at : at + n_part], start_ns)
            at += n_part
            out += self._cut(item)
        return out

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the samples, beats and verdicts so far."""
        self._run = None
        self._beats.clear()
        self._qualities.clear()

    def _cut(self, item: SampleBlock) -> list[Window]:
        """Return the window whose beats have become certain; windows end on multiples of the hop."""
        assert self._run is not None
        run = self._run
        end = (run.end - self._n_wait) // self._n_hop * self._n_hop
        if end <= run.cut_until or end - self._n_window < run.first:
            return []
        run.cut_until = end
        first = end - self._n_window
        values = run.history.rows(first, end).copy()
        start_ns = run.times.at_ns(first)
        end_ns = start_ns + round(self._n_window * NS_PER_S / self._settings.rate_hz)
        self._forget(start_ns)
        if np.isnan(values).any():
            return []
        window = Window(
            sensor=item.sensor,
            stream=item.stream,
            values=values,
            rate_hz=self._settings.rate_hz,
            start_ns=start_ns,
            sequence=first,
            quality=min((q.index for q in self._qualities if start_ns < q.at_ns < end_ns + NS_PER_S), default=1.0),
            beats=tuple(beat for beat in self._beats if start_ns <= beat.at_ns < end_ns),
        )
        values.setflags(write=False)
        return [window]

    def _forget(self, before_ns: int) -> None:
        while self._beats and self._beats[0].at_ns < before_ns:
            self._beats.popleft()
        while self._qualities and self._qualities[0].at_ns <= before_ns:
            self._qualities.popleft()


class _Run:
    """One stretch without holes."""

    def __init__(self, n_columns: int, n_kept: int, sequence: int, rate_hz: float) -> None:
        self.n_columns = n_columns
        self.first = sequence
        self.cut_until = sequence
        self.history = History(n_columns, n_kept, sequence)
        self.times = SampleTimes(rate_hz)

    @property
    def end(self) -> int:
        """Sample index that comes next."""
        return self.history.end

    def add(self, values: Rows, start_ns: int) -> None:
        """Take in samples that follow those before."""
        self.times.add(self.history.end, start_ns)
        self.history.append(values)
