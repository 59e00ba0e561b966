"""What the decoders of this folder have in common: bytes to frames to messages, and silence told as a gap."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable

from edge.acquisition.decoder import DecoderCounters
from edge.acquisition.devices.reports import Reports
from edge.acquisition.devices.sampling import NS_PER_S, SampleStream
from edge.acquisition.devices.scanner import FrameScanner, Judge, RawFrame
from edge.messages import (
    Chunk,
    Corrupt,
    DeviceBlock,
    Gap,
    Outgoing,
    Reading,
    SensorIdentity,
    SensorStatus,
    StreamInfo,
)

DeviceItem = DeviceBlock | Gap | Reading | SensorStatus | SensorIdentity | Corrupt
"""What a serial device has to say."""

MAX_STALL_S = 1.0
"""Longest pause between two frames that is taken as a late delivery.  USB adapters hold bytes for 16 ms, a busy host
reads its buffer late by some 100 ms; after a second a device without a sample counter may have lost any number."""

AGREEING_FRAMES = 3
"""Of a device without a checksum; at 60 frames a second a change is told 50 ms later."""
STALLED, LOST_BYTES = "stalled", "lost-bytes"
"""Reasons of gaps: nothing came for long; bytes were missing or added, so that frames may be."""


class DeviceDecoder(ABC):
    """A decoder without the knowledge of one device.

    Parameters
    ----------
    sensor : str
        Id of the sensor in the configuration.
    judge : callable
        Tells the device's frames from other bytes.
    report_period_frames : int
        How often an unchanged value is told again.
    max_stall_s : float
        Longest pause between two frames that is no gap.
    agreeing_frames : int
        How many frames must say the same before a change is told.
    streams : tuple of str
        Streams to pass on, by name; empty for all.
    """

    def __init__(
        self,
        sensor: str,
        judge: Judge,
        *,
        report_period_frames: int,
        max_stall_s: float,
        agreeing_frames: int = AGREEING_FRAMES,
        streams: tuple[str, ...] = (),
    ) -> None:
        self._sensor = sensor
        self._wanted_streams = streams
        self._max_stall_s = max_stall_s
        self._scanner = FrameScanner(judge)
        self._reports = Reports(sensor, report_period_frames, agreeing_frames=agreeing_frames)
        self._streams: tuple[SampleStream, ...] = ()
        self._n_dropped: Counter[str] = Counter()  # frames that were sound and could not be used
        self._n_frames = 0
        self._n_lost_frames = 0
        self._n_lost_samples = 0  # of streams that are no more
        self._n_device_resets = 0
        self._framed_at_ns: int | None = None

    @property
    def counters(self) -> DecoderCounters:
        """What was seen so far."""
        return DecoderCounters(
            n_frames=self._n_frames,
            n_corrupt=dict(Counter(self._scanner.n_corrupt) + self._n_dropped),
            n_lost_frames=self._n_lost_frames,
            n_lost_samples=self._n_lost_samples + sum(stream.n_lost_samples for stream in self._streams),
            n_device_resets=self._n_device_resets,
        )

    def push(self, item: Chunk) -> list[DeviceItem]:
        """Return what `item` completed, in stream order."""
        return self._wanted(self._take(self._scanner.push(item)))

    def flush(self) -> list[DeviceItem]:
        """Return what is left at the end of the link: the last samples, and half a frame as dropped."""
        out = self._take(self._scanner.flush())
        out += self._finish()
        for stream in self._streams:
            out += stream.close()
        return self._wanted(out)

    def reset(self, reason: str) -> None:  # noqa: ARG002  one shape for all stages
        """Forget the device: the link ended."""
        self._scanner.reset()
        self._reports.reset()
        for stream in self._streams:
            stream.reset()
        self._framed_at_ns = None
        self._forget()

    def greeting(self) -> list[Outgoing]:
        """Return what to write on every connect: nothing, for most devices talk by themselves."""
        return []

    def requests(self, now_ns: int) -> list[Outgoing]:  # noqa: ARG002  the device that needs it overrides this
        """Return what is due to be written at `now_ns`: nothing."""
        return []

    def farewell(self) -> list[Outgoing]:
        """Return what to write before the link is closed on purpose: nothing."""
        return []

    @abstractmethod
    def _frame(self, frame: RawFrame) -> list[DeviceItem]:
        """Return what one frame says."""

    def _finish(self) -> list[DeviceItem]:
        """Return what was held back until more frames came, now that none will."""
        return []

    @abstractmethod
    def _forget(self) -> None:
        """Forget what the subclass knows of the device."""

    def _take(self, found: Iterable[RawFrame | Corrupt]) -> list[DeviceItem]:
        out: list[DeviceItem] = []
        for item in found:
            if isinstance(item, Corrupt):
                out.append(item)
            else:
                out += self._frame(item)
        return out

    def _wanted(self, items: list[DeviceItem]) -> list[DeviceItem]:
        """Leave out what concerns streams that nobody wants: an open ECG input is no trouble where only light is used."""
        if not self._wanted_streams:
            return items
        return [
            item
            for item in items
            if not isinstance(item, DeviceBlock | Gap | SensorStatus)
            or item.stream is None
            or self._is_wanted(item.stream)
        ]

    def _is_wanted(self, stream: str) -> bool:
        return not self._wanted_streams or stream in self._wanted_streams

    def _note_frame(self, frame: RawFrame) -> list[DeviceItem]:
        """Count a frame, and return what is known to be missing before it."""
        out: list[DeviceItem] = []
        if self._is_after_stall(frame):
            out = self._gaps(STALLED, frame.received_at_ns)
        elif frame.n_skipped and self._framed_at_ns is not None:
            out = self._after_garbage(frame)
        self._n_frames += 1
        self._reports.frame()
        self._framed_at_ns = frame.received_at_ns
        return out

    def _is_after_stall(self, frame: RawFrame) -> bool:
        before_ns = self._framed_at_ns
        return before_ns is not None and frame.received_at_ns - before_ns > self._max_stall_s * NS_PER_S

    def _after_garbage(self, frame: RawFrame) -> list[DeviceItem]:
        """Return what dropped bytes before `frame` cost: whole frames are counted, anything else is anybody's guess."""
        n_frames, n_more_bytes = divmod(frame.n_skipped, len(frame.data))
        if n_more_bytes:
            return self._gaps(LOST_BYTES, frame.received_at_ns)
        self._n_lost_frames += n_frames
        return self._leave_out(n_frames)

    def _leave_out(self, n_samples: int) -> list[DeviceItem]:
        return [item for stream in self._streams for item in stream.skip(n_samples)]

    def _gaps(self, reason: str, at_ns: int) -> list[DeviceItem]:
        """Return the end of every stream's stretch: nobody can know how much is missing."""
        return [item for stream in self._streams for item in stream.gap(reason, at_ns)]

    def _identity(self, model: str, at_ns: int, *, firmware: str = "", boot_id: int = 0) -> SensorIdentity:
        """Return who the device is; none of them tells a serial number."""
        streams: tuple[StreamInfo, ...] = tuple(
            stream.info for stream in self._streams if self._is_wanted(stream.info.name)
        )
        return SensorIdentity(
            sensor=self._sensor,
            device_id="",
            model=model,
            firmware=firmware,
            boot_id=boot_id,
            streams=streams,
            at_ns=at_ns,
        )

    def _drop(self, reason: str, frame: RawFrame) -> Corrupt:
        self._n_dropped[reason] += 1
        return Corrupt(reason=reason, offset=frame.offset, n_bytes=len(frame.data))
