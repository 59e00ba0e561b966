"""A raw capture decoded as if it were the sensor: what `replay` runs through the pipeline.

The file is read twice: once to learn what the sensor said of itself and how long the capture lasts, once to play.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.acquisition.capture import MAGIC, MAX_HEADER_BYTES, CaptureDecoder, CaptureRecord, is_magic, parse_header
from edge.drivers import DRIVERS, AnyDecoder, decoder_of
from edge.errors import RecordingError
from edge.messages import (
    Chunk,
    Corrupt,
    DeviceBlock,
    Gap,
    Reading,
    RrIntervals,
    SensorIdentity,
    SensorStatus,
    StreamInfo,
    Tick,
)

_READ_BYTES = 1 << 16

CaptureItem = DeviceBlock | Reading | RrIntervals | SensorStatus | SensorIdentity | Gap | Corrupt | Tick

_ITEMS = (DeviceBlock, Reading, RrIntervals, SensorStatus, SensorIdentity, Gap, Corrupt)
_MILLISECONDS = StreamInfo(name="", channels=(), nominal_rate_hz=1000.0)
"""Stands for the stream of a sensor that sends values only: annotations then count milliseconds."""


def is_capture(path: Path) -> bool:
    """Tell whether a file begins as a raw capture does."""
    try:
        with path.open("rb") as file:
            return is_magic(file.read(len(MAGIC)))
    except OSError:
        return False


def _chunk(record: CaptureRecord) -> Chunk:
    return Chunk(data=record.data, received_at_ns=record.offset_ns, channel=record.channel)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """What the first reading found."""

    streams: tuple[StreamInfo, ...]
    has_values: bool
    duration_s: float
    n_dropped_bytes: int


class CaptureSource:
    """One capture file.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    RecordingError
        If it is no capture, cannot be read, or holds no sensor that introduces itself.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                header, self._begin = parse_header(file.read(len(MAGIC) + MAX_HEADER_BYTES))
        except OSError as error:
            raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error
        self._version = header.version
        self._start_wall_ns = header.start_wall_ns
        self._sensor = header.sensor
        if header.driver not in DRIVERS:
            raise RecordingError(
                f"{path}: recorded with the driver {header.driver!r}, which this program does not know"
            )
        self._driver = header.driver
        self._survey = self._surveyed()
        if not self._survey.streams and not self._survey.has_values:
            raise RecordingError(
                f"{path}: nothing in this capture that its driver {self._driver!r} can read",
                hint="begin the capture before the sensor connects, so that its hello or its answers are in it",
            )

    @property
    def name(self) -> str:
        """The file's own name."""
        return self._path.stem

    @property
    def start_wall_ns(self) -> int | None:
        """Wall time of the first byte."""
        return self._start_wall_ns

    @property
    def stream(self) -> str:
        """The stream whose samples annotations count: the ECG where there is one."""
        return self._counted.name

    @property
    def rate_hz(self) -> float:
        """Nominal rate of that stream."""
        return self._counted.nominal_rate_hz

    @property
    def duration_s(self) -> float:
        """Seconds from the first byte to the last."""
        return self._survey.duration_s

    @property
    def losses(self) -> Mapping[str, int]:
        """Bytes that the file itself lacks: the torn end after a power cut."""
        n_bytes = self._survey.n_dropped_bytes
        return {"torn-capture-bytes": n_bytes} if n_bytes else {}

    def items(self, block_samples: int) -> Iterator[CaptureItem]:  # noqa: ARG002 - the sensor cut its blocks itself
        """Yield what the sensor's bytes mean, with a `Tick` after every chunk so that silence passes too."""
        decoder = self._decoder()
        for record in self._records(Counter()):
            for item in decoder.push(_chunk(record)):
                if isinstance(item, _ITEMS):
                    yield item
            yield Tick(at_ns=record.offset_ns)

    def _decoder(self) -> AnyDecoder:
        """Return the codec of the driver that the capture names."""
        return decoder_of(self._driver, self._sensor)

    @property
    def _counted(self) -> StreamInfo:
        streams = self._survey.streams or (_MILLISECONDS,)
        return next((each for each in streams if each.name == "ecg"), streams[0])

    def _surveyed(self) -> _Survey:
        decoder = self._decoder()
        streams: tuple[StreamInfo, ...] = ()
        seen: dict[str, DeviceBlock] = {}
        has_values = False
        dropped: Counter[str] = Counter()
        last_ns = 0
        for record in self._records(dropped):
            last_ns = record.offset_ns
            for item in decoder.push(_chunk(record)):
                if isinstance(item, SensorIdentity):
                    streams = item.streams
                elif isinstance(item, DeviceBlock):
                    seen.setdefault(item.stream, item)
                has_values = has_values or isinstance(item, Reading | RrIntervals)
        # A device that never introduces itself is known by what it sends.
        streams = streams or tuple(
            StreamInfo(name=name, channels=block.channels, nominal_rate_hz=block.nominal_rate_hz)
            for name, block in seen.items()
        )
        return _Survey(
            streams=streams, has_values=has_values, duration_s=last_ns / 1e9, n_dropped_bytes=dropped.total()
        )

    def _records(self, dropped: Counter[str]) -> Iterator[CaptureRecord]:
        """Yield the captured chunks; bytes that are none are added to `dropped`."""
        decoder = CaptureDecoder(self._version)
        try:
            with self._path.open("rb") as file:
                file.seek(self._begin)
                while data := file.read(_READ_BYTES):
                    yield from decoder.push(data)
        except OSError as error:
            raise RecordingError(f"{self._path}: cannot be read: {error.strerror}") from error
        for torn in decoder.flush():
            dropped[torn.reason] += torn.n_bytes
