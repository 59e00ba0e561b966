"""The last seconds of one stream in a band, asked for by time: what stages need that join streams of different rates."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.filters import FilterChain, FilterSettings
from edge.conditioning.sample_times import NS_PER_S, SampleTimes
from edge.features.history import History
from edge.messages import SampleBlock

_LARGEST_VALUE = 1e9
"""As for the filter: nothing a body gives reaches this, in any unit."""


class BandHistory:
    """The newest seconds of some columns of one stream, band-passed; holes are kept as missing samples.

    A short hole (a jump of ``sequence``) is filled with NaN and the filter starts anew after it; a longer one, or one
    backwards, forgets everything before.

    Parameters
    ----------
    first : SampleBlock
        The first block, with the wanted columns alone; its rate and channels stay.
    band_hz : tuple of float
        Edges of the band-pass.
    kept_s : float
        How far back can be asked.
    """

    def __init__(self, first: SampleBlock, band_hz: tuple[float, float], kept_s: float) -> None:
        self.rate_hz = first.rate_hz
        self._first = first
        self._n_kept = max(2, round(kept_s * first.rate_hz))
        self._filter = FilterChain(FilterSettings(band_hz=band_hz))
        self._rows = History(len(first.channels) + 1, self._n_kept, first.sequence)
        self._times = SampleTimes(first.rate_hz)
        # Filtering costs the same for a second as for a tenth of it: blocks wait here until somebody asks.
        self._waiting: list[SampleBlock] = []
        self._end = first.sequence

    def fits(self, block: SampleBlock) -> bool:
        """Return whether `block` has the same rate and channels."""
        return block.rate_hz == self._first.rate_hz and block.channels == self._first.channels

    def add(self, block: SampleBlock) -> None:
        """Take the next samples of the stream."""
        if block.n_samples == 0:
            return
        if block.sequence != self._end:
            self._catch_up()
            self._bridge(block.sequence)
        self._times.add(block.sequence, block.start_ns)
        self._waiting.append(block)
        self._end = block.sequence + block.n_samples
        if self._end - self._rows.end >= self._n_kept:
            self._catch_up()

    def window(self, end_ns: int, length_s: float) -> NDArray[np.float64]:
        """Return the rows of the `length_s` before `end_ns`, shape (n_samples, n_columns + 1), NaN where missing.

        The last column is the length of the unfiltered vector.  Samples after `end_ns` never matter.
        """
        n_window = round(length_s * self.rate_hz)
        out = np.full((n_window, len(self._first.channels) + 1), np.nan)
        self._catch_up()
        if self._rows.end == self._rows.first:
            return out
        stored = range(self._rows.first, self._rows.end)
        end = self._rows.first + bisect_left(stored, end_ns, key=self._times.at_ns)
        if end == self._rows.end:
            # Nothing newer is there yet: the window ends where it should, and its end is missing.
            n_ahead = (end_ns - self._times.at_ns(end)) * self.rate_hz / NS_PER_S
            end += int(min(n_ahead, n_window)) if n_ahead > 0 else 0
        first = max(self._rows.first, end - n_window)
        rows = self._rows.rows(first, min(end, self._rows.end))
        at = first - (end - n_window)
        out[at : at + len(rows)] = rows
        return out

    def _catch_up(self) -> None:
        """Filter what waits."""
        if not self._waiting:
            return
        first = self._waiting[0]
        values = np.concatenate([block.values for block in self._waiting])
        self._waiting = []
        clean = self._filter.push(replace(first, values=values))[0].values
        # Beside the filtered columns the length of the raw vector: gravity, where the unit is not known.
        is_sane = np.abs(values) < _LARGEST_VALUE
        length = np.sqrt(np.square(np.where(is_sane, values, np.nan)).sum(axis=1))
        rows = np.column_stack([clean, length])
        for at in range(0, len(rows), self._n_kept):
            self._rows.append(rows[at : at + self._n_kept])

    def _bridge(self, sequence: int) -> None:
        n_missing = sequence - self._rows.end
        if 0 < n_missing < self._n_kept:
            self._rows.append(np.full((n_missing, len(self._first.channels) + 1), np.nan))
            return
        self._rows = History(len(self._first.channels) + 1, self._n_kept, sequence)
        self._times = SampleTimes(self.rate_hz)
