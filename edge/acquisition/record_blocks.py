"""A recording as if it were a sensor: what it holds, and its samples cut into blocks.

Pure.  The readers (`wfdb_file`, `csv_file`) deliver *pieces* of whole frames as they come from the disk and
*holes* where nothing will come; `cut` makes of them the blocks and gaps that a live sensor would give.  A frame
is the smallest stretch in which every stream has a whole number of samples: one sample interval of a plain
recording, one frame of a multi-frequency WFDB record, one data record of an EDF file.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from edge.acquisition.record_columns import FAMILIES, Column, family
from edge.errors import RecordingError
from edge.messages import Channel, Gap, SampleBlock, Samples

NS_PER_S = 1_000_000_000
PIECE_SAMPLES = 1 << 20
"""Samples of all channels together that a reader loads at once: 8 MiB, 24 minutes of a 2-lead 360 Hz record."""
TRUNCATED = "truncated-recording"
"""Reason of a gap where the file ends before its header says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordStream:
    """The channels of one family and rate: what one stream of a sensor would be."""

    name: str
    """``ecg``, ``ppg``, ``resp``, ``acc`` or ``other``; with ``-2`` … where a family has several rates."""
    channels: tuple[Channel, ...]
    rate_hz: float
    n_samples: int
    """As the recording's header promises (CSV: as its rows or times span); fewer may come, then with a gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordInfo:
    """What a recording holds."""

    name: str
    """The record's own name, without folder and extension."""
    streams: tuple[RecordStream, ...]
    """At least one; ECG first, and the first one's samples are what a block is counted in."""
    start_wall_ns: int | None
    """Start in Unix nanoseconds; None where the recording does not say.  WFDB and EDF store no zone: taken as UTC."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every channel, stream by stream."""
        return tuple(channel for stream in self.streams for channel in stream.channels)

    @property
    def rate_hz(self) -> float:
        """Rate of the first stream."""
        return self.streams[0].rate_hz

    @property
    def n_samples(self) -> int:
        """Samples of the first stream, as the header promises."""
        return self.streams[0].n_samples

    @property
    def duration_s(self) -> float:
        """Length as the header promises."""
        return self.n_samples / self.rate_hz


class RecordSource(Protocol):
    """A recording that can be read as blocks, once or several times."""

    @property
    def info(self) -> RecordInfo:
        """What the recording holds."""
        ...

    @property
    def losses(self) -> Mapping[str, int]:
        """Samples or cells lost in the last reading, by reason; complete once `blocks` is exhausted."""
        ...

    def blocks(self, block_samples: int) -> Iterator[SampleBlock | Gap]:
        """Yield the recording from its start, its first sample at 0 ns.

        Parameters
        ----------
        block_samples : int
            Samples of the first stream per block (≥ 1); the other streams go in step with it.  The last block
            before a gap or the end may be shorter.

        Raises
        ------
        RecordingError
            If the file turns out to be damaged where no count of missing samples can be given.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Whole frames, as read."""

    values: tuple[Samples, ...]
    """Per stream (n_frames · samples_per_frame, n_channels)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """Frames that will never come."""

    n_frames: int | None
    """None where the recording does not tell: then it is the end."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """How the columns of a recording become one stream."""

    stream: RecordStream
    samples_per_frame: int
    picks: tuple[int, ...]
    """Index of each channel's column in the recording."""
    factors: Samples
    """Shape (n_channels,): to the channels' units."""


def plan_streams(
    columns: Sequence[Column],
    samples_per_frame: Sequence[int],
    frame_rate_hz: Fraction,
    n_frames: int,
) -> tuple[StreamPlan, ...]:
    """Return the streams that columns make, one per family and rate, ECG first.

    Parameters
    ----------
    columns : sequence of Column
        In the order of the recording.
    samples_per_frame : sequence of int
        For each column.
    frame_rate_hz : Fraction
        Frames per second, > 0.
    n_frames : int
        Length of the recording as its header says.
    """
    plans: list[StreamPlan] = []
    for name in FAMILIES:
        picks = [k for k, column in enumerate(columns) if family(column.channel.kind) == name]
        for number, per_frame in enumerate(sorted({samples_per_frame[k] for k in picks}, reverse=True), start=1):
            mine = tuple(k for k in picks if samples_per_frame[k] == per_frame)
            stream = RecordStream(
                name=name if number == 1 else f"{name}-{number}",
                channels=tuple(columns[k].channel for k in mine),
                rate_hz=float(frame_rate_hz * per_frame),
                n_samples=n_frames * per_frame,
            )
            factors = np.array([columns[k].factor for k in mine])
            plans.append(StreamPlan(stream=stream, samples_per_frame=per_frame, picks=mine, factors=factors))
    return tuple(plans)


def arrange(plans: Sequence[StreamPlan], signals: Sequence[Samples | None], n_frames: int) -> Piece:
    """Return a piece from one array per column; a column that is None (absent in this segment) becomes NaN."""
    values = []
    for plan in plans:
        out = np.full((n_frames * plan.samples_per_frame, len(plan.picks)), np.nan)
        for k, pick in enumerate(plan.picks):
            signal = signals[pick]
            if signal is not None:
                out[:, k] = signal * plan.factors[k]
        values.append(out)
    return Piece(values=tuple(values))


def cut(
    sensor: str,
    plans: Sequence[StreamPlan],
    items: Iterable[Piece | Hole],
    block_samples: int,
) -> Iterator[SampleBlock | Gap]:
    """Yield `items` as blocks of `block_samples` samples of the first stream, and holes as gaps.

    Block borders lie on multiples of `block_samples` counted from the start of the recording, whatever the
    pieces: the values and times delivered do not depend on how the file was read.

    Raises
    ------
    ValueError
        If `block_samples` < 1.
    """
    if block_samples < 1:
        raise ValueError(f"expected block_samples >= 1, got {block_samples}")
    cutter = _Cutter(sensor, plans, block_samples)
    for item in items:
        if isinstance(item, Piece):
            yield from cutter.add(item)
        else:
            yield from cutter.skip(item)
    yield from cutter.rest()


class _Cutter:
    """Holds what is less than a block, and where each stream is."""

    def __init__(self, sensor: str, plans: Sequence[StreamPlan], block_samples: int) -> None:
        self._sensor = sensor
        self._plans = tuple(plans)
        self._block_samples = block_samples
        self._held: list[Samples] = [np.empty((0, len(plan.picks))) for plan in plans]
        self._at = [0] * len(self._plans)  # index in its stream of the first sample held
        # Exact rates: at ns resolution a float product is off by hundreds of ns after some days.
        self._periods_ns = [NS_PER_S / Fraction(plan.stream.rate_hz) for plan in self._plans]

    def add(self, piece: Piece) -> Iterator[SampleBlock]:
        """Yield every whole block that there is now."""
        self._held = [np.concatenate(pair) for pair in zip(self._held, piece.values, strict=True)]
        begins = [0] * len(self._plans)
        lead = self._plans[0].samples_per_frame
        while True:
            border = ((self._at[0] + begins[0]) // self._block_samples + 1) * self._block_samples
            ends = [
                -(-border * plan.samples_per_frame // lead) - at for plan, at in zip(self._plans, self._at, strict=True)
            ]
            if any(end > len(held) for end, held in zip(ends, self._held, strict=True)):
                break
            yield from self._blocks(begins, ends)
            begins = ends
        self._drop(begins)

    def skip(self, hole: Hole) -> Iterator[SampleBlock | Gap]:
        """Yield what is held, then one gap per stream."""
        yield from self.rest()
        for k, plan in enumerate(self._plans):
            n_missing = None if hole.n_frames is None else hole.n_frames * plan.samples_per_frame
            start_ns = self._time_ns(k, self._at[k])
            self._at[k] += n_missing or 0
            yield Gap(
                sensor=self._sensor,
                stream=plan.stream.name,
                start_ns=start_ns,
                end_ns=self._time_ns(k, self._at[k]),
                n_missing=n_missing,
                reason=hole.reason,
            )

    def rest(self) -> Iterator[SampleBlock]:
        """Yield the samples held, however few."""
        ends = [len(held) for held in self._held]
        yield from self._blocks([0] * len(ends), ends)
        self._drop(ends)

    def _drop(self, counts: Sequence[int]) -> None:
        self._held = [held[count:] for held, count in zip(self._held, counts, strict=True)]
        self._at = [at + count for at, count in zip(self._at, counts, strict=True)]

    def _blocks(self, begins: Sequence[int], ends: Sequence[int]) -> Iterator[SampleBlock]:
        for k, plan in enumerate(self._plans):
            if ends[k] <= begins[k]:  # a slow stream has no sample in every block of the fast one
                continue
            sequence = self._at[k] + begins[k]
            yield SampleBlock(
                sensor=self._sensor,
                stream=plan.stream.name,
                channels=plan.stream.channels,
                values=self._held[k][begins[k] : ends[k]].copy(),
                rate_hz=plan.stream.rate_hz,
                start_ns=self._time_ns(k, sequence),
                sequence=sequence,
            )

    def _time_ns(self, k: int, index: int) -> int:
        return round(index * self._periods_ns[k])


def require_channels(name: str, channels: Sequence[str] | None) -> None:
    """Raise RecordingError unless the recording `name` has channels."""
    if not channels:
        raise RecordingError(f"{name}: the recording has no channels")


def require_rate(name: str, rate_hz: float | Fraction | None) -> Fraction:
    """Return `rate_hz` exactly; raise RecordingError unless it is positive and finite."""
    if rate_hz is None or not 0 < rate_hz < float("inf"):
        raise RecordingError(f"{name}: expected a sampling rate > 0, got {rate_hz}")
    return Fraction(rate_hz)


def wall_ns(date: dt.date | None, time: dt.time | None) -> int | None:
    """Return Unix nanoseconds of a date and time without zone, taken as UTC; None unless both are there."""
    if date is None or time is None:
        return None
    elapsed = dt.datetime.combine(date, time, tzinfo=dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * NS_PER_S + elapsed.microseconds * 1000
