"""One stream of the virtual sensor: samples in, packets with counters and ticks out, a store for back-fill."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge.acquisition.framing import MAX_PAYLOAD_BYTES
from edge.acquisition.packet_layouts import SAMPLES
from edge.acquisition.packets import SamplesPacket, StreamDescriptor, pack_counts
from edge.messages import Samples, StreamInfo
from firmware_bridge.virtual.converter import StreamConverter
from firmware_bridge.virtual.faults import FrontEnd, family_of
from firmware_bridge.virtual.line import NS_PER_S
from firmware_bridge.virtual.scenario import SensorSettings
from firmware_bridge.virtual.source import Source

SEQUENCE_RANGE = 1 << 32
TicksAt = Callable[[int], int]


class StreamSender:
    """Reads one stream of a source packet by packet.

    Parameters
    ----------
    info : StreamInfo
    stream_id : int
        Its number on the wire.
    source : Source
        Read in step with `packet`.
    front_end : FrontEnd
        Spoils the samples as the scenario has it.
    settings : SensorSettings
        Packet length and store.
    """

    def __init__(
        self, info: StreamInfo, stream_id: int, source: Source, front_end: FrontEnd, settings: SensorSettings
    ) -> None:
        self.stream_id = stream_id
        self.family = family_of(info)
        self.is_running = True
        self.is_exhausted = False
        self._info = info
        self._source = source
        self._front_end = front_end
        # Read ahead of time, because a channel that states no resolution is judged by its first values.
        self._first = source.read(info.name, self._wanted(settings))
        self._converter = StreamConverter(info, stream_id, self._first)
        bytes_per_sample = len(info.channels) * self._converter.bytes_per_value
        most = (MAX_PAYLOAD_BYTES - SAMPLES.n_bytes) // bytes_per_sample
        self._n_per_packet = min(self._wanted(settings), most)
        self._pending: Samples = self._first
        self._index = 0
        self._boot_index = 0
        self._store: deque[tuple[int, NDArray[np.int32]]] = deque()
        self._n_store = round(settings.storage_s * info.nominal_rate_hz)

    @property
    def due_ns(self) -> int:
        """When the last sample of the next packet has been taken, in story time."""
        return self._time_ns(self._index + self._n_per_packet - 1)

    def descriptor(self) -> StreamDescriptor:
        """Return what the hello says of this stream."""
        return self._converter.descriptor(is_running=self.is_running)

    def packets(self, ticks_at: TicksAt, *, is_up: bool) -> list[SamplesPacket]:
        """Return what is sent of the next packet's worth of samples: usually one packet, with holes several or none.

        `is_up` is False while the device restarts: the patient goes on and nobody looks.
        """
        values = self._next_values()
        first = self._index
        self._index += len(values)
        if not is_up:
            return []
        # The packet in which a restart fell holds samples that the new boot has not taken.
        n_before_boot = min(len(values), max(0, self._boot_index - first))
        first, values = first + n_before_boot, values[n_before_boot:]
        packets = []
        # A recording may have holes.  What was not measured is not sent: the counter shows that it is missing.
        for start, end in _runs(np.asarray(np.isfinite(values).all(axis=1))):
            spoiled = self._front_end.apply(self._info, first + start, values[start:end])
            counts = self._converter.counts(spoiled)
            self._keep(first + start, counts)
            packets.append(self._packed(first + start, counts, ticks_at))
        return packets if self.is_running else []

    def stored(self, sequence: int, count: int, ticks_at: TicksAt) -> list[SamplesPacket]:
        """Return up to `count` stored samples from counter `sequence` on, flagged as back-fill."""
        # The counter on the wire has 32 bits; what is stored is never that old, so the distance tells which is meant.
        sent = self._index - self._boot_index
        start = sent - ((sent - sequence) % SEQUENCE_RANGE) + self._boot_index
        end = min(start + count, self._index)
        found = []
        for first, counts in self._store:
            low, high = max(start, first), min(end, first + len(counts))
            if low < high:
                found.append(self._packed(low, counts[low - first : high - first], ticks_at, is_backfill=True))
        return found

    def restart(self, at_ns: int) -> None:
        """Count from zero again from `at_ns` of the story on and forget what was stored, as after power-on."""
        self._boot_index = math.ceil(at_ns * self._info.nominal_rate_hz / NS_PER_S)
        self._store.clear()
        self.is_running = True

    def _wanted(self, settings: SensorSettings) -> int:
        return max(1, round(self._info.nominal_rate_hz * settings.packet_ms / 1000))

    def _next_values(self) -> Samples:
        n_missing = self._n_per_packet - len(self._pending)
        if n_missing > 0:
            self._pending = np.concatenate([self._pending, self._source.read(self._info.name, n_missing)])
        values, self._pending = self._pending[: self._n_per_packet], self._pending[self._n_per_packet :]
        self.is_exhausted = len(values) < self._n_per_packet
        return values

    def _packed(
        self, first: int, counts: NDArray[np.int32], ticks_at: TicksAt, *, is_backfill: bool = False
    ) -> SamplesPacket:
        return SamplesPacket(
            stream_id=self.stream_id,
            sequence=(first - self._boot_index) % SEQUENCE_RANGE,
            ticks=ticks_at(self._time_ns(first)),
            n_channels=counts.shape[1],
            bytes_per_value=self._converter.bytes_per_value,
            data=pack_counts(counts, self._converter.bytes_per_value),
            is_backfill=is_backfill,
        )

    def _keep(self, first: int, counts: NDArray[np.int32]) -> None:
        self._store.append((first, counts))
        while self._store and self._index - self._store[0][0] > self._n_store:
            self._store.popleft()

    def _time_ns(self, index: int) -> int:
        return round(index * NS_PER_S / self._info.nominal_rate_hz)


def _runs(is_present: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the stretches of True as (start, end), the end not included.

    Examples
    --------
    >>> _runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_present, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
