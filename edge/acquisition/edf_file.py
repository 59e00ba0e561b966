"""An EDF or BDF file as if it were a sensor; every rate in it is a stream of its own.

Pure.  `wfdb_file.open_record` reads the header with edfio and hands it over; the samples stay on the disk until
`EdfSource.blocks` asks for them, data record by data record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Protocol

from edge.acquisition.record_blocks import (
    PIECE_SAMPLES,
    TRUNCATED,
    Hole,
    Piece,
    RecordInfo,
    arrange,
    cut,
    plan_streams,
    require_channels,
    require_rate,
)
from edge.acquisition.record_columns import Column, choose, describe
from edge.messages import ChannelKind, Gap, SampleBlock, Samples


class EdfSignal(Protocol):
    """What is used of edfio's signal."""

    @property
    def label(self) -> str:
        """Name of the signal."""
        ...

    @property
    def physical_dimension(self) -> str:
        """Unit as the file writes it."""
        ...

    @property
    def physical_range(self) -> tuple[float, float]:
        """Physical values at the ends of `digital_range`."""
        ...

    @property
    def digital_range(self) -> tuple[int, int]:
        """Smallest and largest digital value."""
        ...

    @property
    def samples_per_data_record(self) -> int:
        """Samples in each data record."""
        ...

    def get_data_slice(self, start_second: float, stop_second: float) -> Samples:
        """Return physical values, shape (n_samples,)."""
        ...


class EdfSource:
    """One EDF or BDF file.

    Parameters
    ----------
    name : str
        The file's name without folder and extension.
    signals : sequence of EdfSignal
        Ordinary signals, without annotations.
    record_s : float
        Duration of a data record.
    n_present, n_promised : int
        Data records in the file, and according to its header.
    start_wall_ns : int, optional
        Start of the recording.
    columns : mapping
        Kinds that override the usual names.
    sensor : str
        Name that the blocks carry.

    Raises
    ------
    RecordingError
        If there are no signals or data records have no duration.
    """

    def __init__(
        self,
        name: str,
        signals: Sequence[EdfSignal],
        *,
        record_s: float,
        n_present: int,
        n_promised: int,
        start_wall_ns: int | None,
        columns: Mapping[str, ChannelKind],
        sensor: str,
    ) -> None:
        labels = [signal.label for signal in signals]
        require_channels(name, labels)
        self._signals = tuple(signals)
        self._sensor = sensor
        self._record_s = record_s
        self._n_present = n_present
        self._n_missing = max(0, n_promised - n_present)
        self._per_frame = [signal.samples_per_data_record for signal in signals]
        described = [_column(signal, kind) for signal, kind in zip(signals, choose(labels, columns), strict=True)]
        # Durations such as 0.04 s are meant as decimal fractions, not as the float next to them.
        rate_hz = 1 / require_rate(name, record_s).limit_denominator(1_000_000) if record_s else Fraction(0)
        require_rate(name, rate_hz * min(self._per_frame))
        self._plans = plan_streams(described, self._per_frame, rate_hz, n_present + self._n_missing)
        self._info = RecordInfo(
            name=name, streams=tuple(plan.stream for plan in self._plans), start_wall_ns=start_wall_ns
        )

    @property
    def info(self) -> RecordInfo:
        """What the recording holds."""
        return self._info

    @property
    def losses(self) -> Mapping[str, int]:
        """Always empty: what an EDF file lacks is a gap."""
        return {}

    def blocks(self, block_samples: int) -> Iterator[SampleBlock | Gap]:
        """Yield the recording from its start (`RecordSource.blocks`)."""
        return cut(self._sensor, self._plans, self._items(), block_samples)

    def _items(self) -> Iterator[Piece | Hole]:
        step = max(1, PIECE_SAMPLES // sum(self._per_frame))
        for start in range(0, self._n_present, step):
            stop = min(start + step, self._n_present)
            signals = [signal.get_data_slice(start * self._record_s, stop * self._record_s) for signal in self._signals]
            yield arrange(self._plans, signals, stop - start)
        if self._n_missing:
            yield Hole(n_frames=self._n_missing, reason=TRUNCATED)


def _column(signal: EdfSignal, kind: ChannelKind) -> Column:
    # The physical range is no sign of saturation: many writers put the largest value of the data there.
    low, high = signal.physical_range
    n_steps = abs(signal.digital_range[1] - signal.digital_range[0])
    resolution = abs(high - low) / n_steps if n_steps else None
    return describe(signal.label, kind, signal.physical_dimension, resolution=resolution)
