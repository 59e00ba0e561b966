"""A recording played as the sensor: blocks from any reader of records, behind the interface of a patient.

::

    sensor = VirtualSensor(scenario, PlaybackPatient(blocks))

The faults of the scenario spoil a recording as they spoil a generated patient; its steps have no meaning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from edge.messages import Gap, SampleBlock, Samples, StreamInfo
from firmware_bridge.virtual.source import SourceVitals

MAX_AHEAD_BLOCKS = 64
"""So many first blocks are looked at to find out which streams the recording has."""


class PlaybackPatient:
    """Plays blocks of samples stream by stream.

    Parameters
    ----------
    blocks : iterable of SampleBlock or Gap
        Any streams in any order, each stream in order of its sequence.  What a sequence jumps over is missing and
        read as NaN, which the sensor leaves out; the gaps themselves add nothing to that.
    streams : tuple of StreamInfo, optional
        What the recording has.  Without it the first blocks are looked at until one stream comes a second time.

    Raises
    ------
    ValueError
        If there is no block, or a stream changes its rate or channels on the way.
    """

    def __init__(self, blocks: Iterable[SampleBlock | Gap], *, streams: tuple[StreamInfo, ...] | None = None) -> None:
        self._blocks = (block for block in blocks if isinstance(block, SampleBlock))
        self._ahead: deque[SampleBlock] = deque()
        self._streams = streams if streams is not None else self._look()
        if not self._streams:
            raise ValueError("expected a recording with at least one block, got none")
        self._infos = {info.name: info for info in self._streams}
        self._pending: dict[str, deque[Samples]] = {info.name: deque() for info in self._streams}
        self._n_pending = dict.fromkeys(self._infos, 0)
        self._next_sequence: dict[str, int] = {}

    @property
    def streams(self) -> tuple[StreamInfo, ...]:
        """The signals of the recording."""
        return self._streams

    def read(self, stream: str, n_samples: int) -> Samples:
        """Return the next samples of a stream, NaN where the recording has a hole; fewer only at its end."""
        while self._n_pending[stream] < n_samples:
            block = self._next_block()
            if block is None:
                break
            self._take_in(block)
        parts = [np.empty((0, len(self._infos[stream].channels)))]
        pending = self._pending[stream]
        while pending and n_samples > 0:
            part = pending.popleft()
            if len(part) > n_samples:
                pending.appendleft(part[n_samples:])  # a view: a long block is not copied for every packet
                part = part[:n_samples]
            parts.append(part)
            n_samples -= len(part)
            self._n_pending[stream] -= len(part)
        return np.concatenate(parts)

    def vitals_at(self, at_s: float) -> SourceVitals:
        """Return that nothing is known: what the sensor would have computed is not in the recording."""
        del at_s
        return SourceVitals()

    def _look(self) -> tuple[StreamInfo, ...]:
        found: dict[str, StreamInfo] = {}
        for block in self._blocks:
            self._ahead.append(block)
            if block.stream in found or len(self._ahead) >= MAX_AHEAD_BLOCKS:
                break
            found[block.stream] = _info(block)
        return tuple(found.values())

    def _next_block(self) -> SampleBlock | None:
        return self._ahead.popleft() if self._ahead else next(self._blocks, None)

    def _take_in(self, block: SampleBlock) -> None:
        # A stream that the hello did not name cannot be sent.
        if block.stream not in self._infos:
            return
        given, expected = _info(block), self._infos[block.stream]
        if (given.nominal_rate_hz, given.channels) != (expected.nominal_rate_hz, expected.channels):
            raise ValueError(f"expected {expected} throughout, got {given}")
        n_missing = block.sequence - self._next_sequence.get(block.stream, block.sequence)
        values = block.values[max(0, -n_missing) :]  # what was seen already is not played again
        if n_missing > 0:
            self._append(block.stream, np.full((n_missing, len(block.channels)), np.nan))
        self._append(block.stream, values)
        self._next_sequence[block.stream] = max(
            block.sequence + block.n_samples, self._next_sequence.get(block.stream, 0)
        )

    def _append(self, stream: str, values: Samples) -> None:
        self._pending[stream].append(values)
        self._n_pending[stream] += len(values)


def _info(block: SampleBlock) -> StreamInfo:
    return StreamInfo(name=block.stream, channels=block.channels, nominal_rate_hz=block.rate_hz)
