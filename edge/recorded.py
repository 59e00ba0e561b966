"""What a replay is fed with: a recording's blocks in the order in which a live bed would get them, or a raw capture."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from edge.acquisition.record_blocks import RecordSource
from edge.acquisition.wfdb_file import open_record
from edge.capture_source import CaptureItem, CaptureSource, is_capture
from edge.clock import NS_PER_S
from edge.conditioning.reblock import Reblock, ReblockSettings
from edge.ecg_chain import ECG_RATES_HZ
from edge.errors import RecordingError
from edge.messages import ChannelKind, Gap, SampleBlock, Tick

RecordedItem = SampleBlock | Gap | CaptureItem

_ANY_RATES_HZ = (0.001, 1_000_000.0)
"""A sample in a quarter of an hour to one a microsecond: outside, a recording lasts no time or for ever."""


class Recorded(Protocol):
    """A recording or a capture, ready to be replayed once or several times."""

    @property
    def name(self) -> str:
        """Its own name, without folder and extension."""
        ...

    @property
    def stream(self) -> str:
        """The stream whose samples annotations count."""
        ...

    @property
    def rate_hz(self) -> float:
        """Samples per second of that stream."""
        ...

    @property
    def duration_s(self) -> float:
        """Length as the file promises."""
        ...

    @property
    def start_wall_ns(self) -> int | None:
        """Start in Unix nanoseconds; None where the file does not say."""
        ...

    @property
    def losses(self) -> Mapping[str, int]:
        """What the file itself lacks, by reason; complete once `items` is exhausted."""
        ...

    def items(self, block_samples: int) -> Iterator[RecordedItem]:
        """Yield everything, oldest first, in pieces of `block_samples` where the file has no pieces of its own."""
        ...


def open_recorded(
    record: str | Path, *, columns: Mapping[str, str] | None = None, rate_hz: float | None = None
) -> Recorded:
    """Return a recording (WFDB, EDF, CSV) or a raw capture, whichever the file is.

    Raises
    ------
    RecordingError
        If it is neither, or cannot be read.
    """
    path = Path(record)
    if not path.name:
        raise RecordingError(f"{str(record)!r} names no recording", hint="name a file")
    if path.exists() and not path.is_file() and not path.is_dir():
        # Opening a pipe or a device may wait, or read, for ever; and a recording is read more than once.
        raise RecordingError(f"{path}: a pipe or a device, not a recording", hint="copy it to a file first")
    if is_capture(path):
        return CaptureSource(path)
    source = open_record(path, columns, rate_hz)
    _require_rates(source)
    return FileRecorded(source)


def _require_rates(source: RecordSource) -> None:
    """Raise RecordingError where a stream is sampled at a rate that no sensor has: a slip of a header or an option."""
    for stream in source.info.streams:
        is_ecg = any(channel.kind is ChannelKind.ECG for channel in stream.channels)
        low_hz, high_hz = ECG_RATES_HZ if is_ecg else _ANY_RATES_HZ
        if not low_hz <= stream.rate_hz <= high_hz:
            what = "an ECG" if is_ecg else f"stream {stream.name!r}"
            raise RecordingError(
                f"{source.info.name}: expected {what} of {low_hz:g} to {high_hz:g} Hz, got {stream.rate_hz:g} Hz",
                hint="check the header, the time column or --rate",
            )


def instant_ns(item: RecordedItem) -> int | None:
    """Return how far an item moves the story; None where it does not say."""
    match item:
        case SampleBlock() | Gap():
            return item.end_ns
        case Tick():
            return item.at_ns
        case _:
            return None


class FileRecorded:
    """A recording whose streams come in step.

    Parameters
    ----------
    source : RecordSource
        The open recording.
    """

    def __init__(self, source: RecordSource) -> None:
        self._source = source

    @property
    def name(self) -> str:
        """The record's own name."""
        return self._source.info.name

    @property
    def stream(self) -> str:
        """The first stream: the ECG where there is one."""
        return self._source.info.streams[0].name

    @property
    def rate_hz(self) -> float:
        """Samples per second of the first stream."""
        return self._source.info.rate_hz

    @property
    def duration_s(self) -> float:
        """Length as the header promises."""
        return self._source.info.duration_s

    @property
    def start_wall_ns(self) -> int | None:
        """Start of the recording."""
        return self._source.info.start_wall_ns

    @property
    def losses(self) -> Mapping[str, int]:
        """Samples or cells that the recording lacks."""
        return self._source.losses

    def items(self, block_samples: int) -> Iterator[SampleBlock | Gap]:
        """Yield the blocks as sensors would send them: no stream runs ahead of the others.

        A recording with one stream comes as it is read.  With several, each stream is cut on the pipeline's own grid
        and the pieces are merged by the instant at which they end, so that the order does not depend on
        `block_samples`.
        """
        names = [stream.name for stream in self._source.info.streams]
        if len(names) == 1:
            yield from self._source.blocks(block_samples)
            return
        merge = _Merge(names)
        for item in self._source.blocks(block_samples):
            yield from merge.add(item)
        yield from merge.rest()


class _Merge:
    """Cuts several streams on the grid and gives the pieces back by the instant at which they end."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._cutters = {name: Reblock(ReblockSettings()) for name in names}
        self._reached_ns = dict.fromkeys(names, 0)
        self._waiting: list[tuple[int, int, int, SampleBlock | Gap]] = []
        self._order = itertools.count()

    def add(self, item: SampleBlock | Gap) -> Iterator[SampleBlock | Gap]:
        """Yield what can no longer be overtaken by a later piece of another stream."""
        cutter = self._cutters[item.stream]
        self._reached_ns[item.stream] = item.end_ns
        if isinstance(item, Gap):
            pieces = [*cutter.flush(), item]
            cutter.reset(item.reason)
        else:
            pieces = cutter.push(item)
        self._keep(pieces)
        # A later piece of any stream ends after what that stream has reached, less the piece being filled.
        safe_ns = min(self._reached_ns.values()) - NS_PER_S
        while self._waiting and self._waiting[0][0] <= safe_ns:
            yield heapq.heappop(self._waiting)[3]

    def rest(self) -> Iterator[SampleBlock | Gap]:
        """Yield everything that is left."""
        for cutter in self._cutters.values():
            self._keep(cutter.flush())
        while self._waiting:
            yield heapq.heappop(self._waiting)[3]

    def _keep(self, pieces: list[SampleBlock | Gap]) -> None:
        for piece in pieces:
            entry = (piece.end_ns, self._names.index(piece.stream), next(self._order), piece)
            heapq.heappush(self._waiting, entry)
