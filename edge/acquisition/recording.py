"""Raw bytes of a sensor kept byte-exact, and played again as if the sensor were there.

Wiring around the file format in `capture`.  `CapturingTransport` sits between a sensor's transport and the sensor;
`RawCaptureTransport` takes the place of the transport.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from edge.acquisition.capture import (
    MAGIC,
    MAX_HEADER_BYTES,
    MAX_RECORD_BYTES,
    CaptureDecoder,
    CaptureHeader,
    CaptureRecord,
    header_bytes,
    parse_header,
    record_bytes,
)
from edge.acquisition.transport import Remedy, Transport
from edge.clock import NS_PER_S, Clock
from edge.errors import RecordingError, TransportError, TransportFault
from edge.messages import Chunk, Corrupt

log = logging.getLogger(__name__)

_READ_BYTES = 1 << 16


class RawCaptureWriter:
    """Appends chunks to a new capture file; each is with the operating system when `write` returns.

    Parameters
    ----------
    path : Path
        The file to make; one that exists is never overwritten.
    sensor : str
        Id of the sensor.
    link : str
        What the bytes come over (`Transport.describe`).
    clock : Clock
        Gives the instant of offset 0, monotonic and wall.
    driver : str
        What decodes the bytes, by its name in the configuration.

    Raises
    ------
    RecordingError
        If the file exists or cannot be made.
    """

    def __init__(
        self, path: str | Path, *, sensor: str, link: str, clock: Clock, driver: str = "bridge_serial"
    ) -> None:
        self._path = Path(path)
        self._start_ns = clock.monotonic_ns()
        header = header_bytes(CaptureHeader(sensor=sensor, link=link, start_wall_ns=clock.wall_ns(), driver=driver))
        try:
            self._file: BinaryIO = self._path.open("xb", buffering=0)
            self._file.write(header)
        except FileExistsError as error:
            raise RecordingError(
                f"{path} exists already", hint="a capture is never overwritten: choose another"
            ) from error
        except OSError as error:
            raise RecordingError(f"{path} cannot be written: {error.strerror}") from error

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def write(self, chunk: Chunk) -> None:
        """Append `chunk`; an empty one of a byte stream has nothing to append.

        Raises
        ------
        RecordingError
            If the file cannot be written, as when the disk is full.
        """
        offset_ns = max(0, chunk.received_at_ns - self._start_ns)
        for begin in range(0, max(len(chunk.data), bool(chunk.channel)), MAX_RECORD_BYTES):
            data = chunk.data[begin : begin + MAX_RECORD_BYTES]
            record = CaptureRecord(offset_ns=offset_ns, data=data, channel=chunk.channel)
            line = record_bytes(record)
            try:
                n_written = self._file.write(line)
            except OSError as error:
                raise RecordingError(f"{self._path} cannot be written: {error.strerror}") from error
            if n_written != len(line):
                raise RecordingError(f"{self._path} cannot be written: {n_written} of {len(line)} bytes were taken")

    def close(self) -> None:
        """Put everything on the disk and close the file; harmless when closed already."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class CapturingTransport:
    """A transport whose chunks are written to a capture on their way.

    A capture that cannot be written any more (disk full) is given up with an error in the log; the sensor's link
    goes on, because watching the patient matters more than recording.
    """

    def __init__(self, inner: Transport, writer: RawCaptureWriter) -> None:
        self._inner = inner
        self._writer: RawCaptureWriter | None = writer
        self._n_uncaptured_bytes = 0

    @property
    def n_dropped_bytes(self) -> int:
        """As of the transport inside."""
        return self._inner.n_dropped_bytes

    @property
    def n_uncaptured_bytes(self) -> int:
        """Bytes delivered after the capture was given up."""
        return self._n_uncaptured_bytes

    def describe(self) -> str:
        """Return what the transport inside is."""
        return self._inner.describe()

    async def open(self) -> None:
        """Open the transport inside."""
        await self._inner.open()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yield and write what comes in."""
        async for chunk in self._inner.chunks():
            self._capture(chunk)
            yield chunk

    async def write(self, data: bytes, channel: str = "") -> None:
        """Send `data`; what we send is not captured."""
        await self._inner.write(data, channel)

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """Those of the transport inside."""
        return self._inner.remedies

    async def heal(self, remedy: Remedy) -> None:
        """Heal the transport inside."""
        await self._inner.heal(remedy)

    async def close(self) -> None:
        """Close the transport inside; the writer stays open for the next link."""
        await self._inner.close()

    def _capture(self, chunk: Chunk) -> None:
        if self._writer is not None:
            try:
                self._writer.write(chunk)
            except RecordingError as error:
                log.error("capture.given_up file=%s reason=%s", self._writer.path, error)  # noqa: TRY400 - no bug of ours
                self._writer = None
        if self._writer is None:
            self._n_uncaptured_bytes += len(chunk.data)


class RawCaptureTransport:
    """A capture file as a transport; after its last record the peer hangs up.

    Parameters
    ----------
    path : Path
        The capture.
    clock : Clock
        Offset 0 is this clock's time at `open`; chunks are stamped from there, exactly as they were captured.
    is_paced : bool
        Whether to wait until each chunk is due; otherwise all come at once, with the same stamps.
    """

    def __init__(self, path: str | Path, clock: Clock, *, is_paced: bool = True) -> None:
        self._path = Path(path)
        self._clock = clock
        self._is_paced = is_paced
        self._file: BinaryIO | None = None
        self._header: CaptureHeader | None = None
        self._decoder = CaptureDecoder()
        self._records: deque[CaptureRecord] = deque()
        self._start_ns = 0
        self._torn: Corrupt | None = None

    @property
    def header(self) -> CaptureHeader | None:
        """Who was captured and when; None before `open`."""
        return self._header

    @property
    def torn(self) -> Corrupt | None:
        """What followed the last whole record, located from the first one; None while unknown or nothing."""
        return self._torn

    @property
    def n_dropped_bytes(self) -> int:
        """Always 0: a file waits for its reader."""
        return 0

    def describe(self) -> str:
        """Return the file's name."""
        return f"capture {self._path.name}"

    async def open(self) -> None:
        """Open the file.

        Raises
        ------
        TransportError
            If there is no such file (``MISSING``) or it may not be read (``PERMISSION``).
        RecordingError
            If it is no raw capture.
        RuntimeError
            If it is open already.
        """
        if self._file is not None:
            raise RuntimeError(f"{self.describe()} is already open")
        try:
            file = await asyncio.to_thread(self._path.open, "rb")
        except OSError as error:
            is_missing = isinstance(error, FileNotFoundError)
            raise TransportError(
                f"{self._path} cannot be opened: {error.strerror}",
                reason=TransportFault.MISSING if is_missing else TransportFault.PERMISSION,
            ) from error
        try:
            start = await asyncio.to_thread(file.read, len(MAGIC) + MAX_HEADER_BYTES)
            self._header, begin = parse_header(start)
        except (RecordingError, OSError) as error:
            file.close()
            raise RecordingError(f"{self._path}: {error}") from error
        file.seek(begin)
        self._file = file
        self._decoder = CaptureDecoder(self._header.version)
        self._records.clear()
        self._torn = None
        self._start_ns = self._clock.monotonic_ns()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yield the captured chunks, each with the bytes that one read had delivered."""
        file = self._require_open()
        while True:
            while self._records:  # kept outside, so that a reader who stops and comes back loses nothing
                at_ns = self._start_ns + self._records[0].offset_ns
                if self._is_paced:
                    await self._clock.sleep((at_ns - self._clock.monotonic_ns()) / NS_PER_S)
                if self._file is not file:
                    return
                record = self._records.popleft()
                yield Chunk(data=record.data, received_at_ns=at_ns, channel=record.channel)
            if self._file is not file:
                return
            data = await asyncio.to_thread(file.read, _READ_BYTES)
            if not data:
                break
            self._records.extend(self._decoder.push(data))
        for torn in self._decoder.flush():
            self._torn = torn
            log.warning("capture.torn file=%s reason=%s dropped_bytes=%d", self._path, torn.reason, torn.n_bytes)
        raise TransportError(f"{self.describe()} is at its end", reason=TransportFault.DISCONNECTED)

    async def write(self, data: bytes, channel: str = "") -> None:  # noqa: ARG002 - the protocol's signature
        """Take `data` and do nothing: the answers are in the capture already."""
        self._require_open()

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """None: a file does not fall silent."""
        return ()

    async def heal(self, remedy: Remedy) -> None:
        """Refuse (`transport.Transport.heal`)."""
        raise TransportError(f"a capture has no remedy {remedy.value!r}", reason=TransportFault.OTHER)

    async def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _require_open(self) -> BinaryIO:
        if self._file is None:
            raise TransportError(f"{self.describe()} is not open", reason=TransportFault.DISCONNECTED)
        return self._file
