"""ProtoCentral OpenView: HealthyPi 5, HealthyPi v4 and the AFE4490 breakout, one frame per sample.

::

    0A FA | length LSB | length MSB | 02 | payload | 00 0B            all little-endian, no checksum

    payload     22 bytes: OpenView 2, HealthyPi 5   20 bytes: HealthyPi v4       10 bytes: AFE4490
                 0  i32  ECG                         0  i16  ECG                  0  i32  infrared
                 4  i32  impedance                   2  i16  respiration          4  i32  red
                 8  u8   not 0: impedance is old     4  i32  infrared             8  u8   SpO2
                 9  i32  red                         8  i32  red                  9  u8   pulse rate
                13  i32  infrared                   12  u16  temperature x 100
                17  i16  temperature x 100          14  u8   breaths a minute
                19  u8   SpO2                       15  u8   SpO2
                20  u8   heart rate                 16  u8   heart rate
                21  u8   breaths a minute           17  two placeholders, 80 and 120: ignored
                                                    19  u8   lead-off status, bits 0-4

There is neither a device clock nor a sample number, and the rate differs between boards: it is measured on connecting,
and the samples of those seconds wait for it (`openview_rate`).  A frame that is lost without a trace cannot be seen; what is
seen - garbage where a frame should be, or a long pause - is told as a gap of unknown size.  The firmware of the
HealthyPi 5 sends zeros when it has no sample: those are never passed on as signal (`openview_zeros`).
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.acquisition.devices.device import MAX_STALL_S, DeviceDecoder, DeviceItem
from edge.acquisition.devices.line import LineSettings
from edge.acquisition.devices.openview_frames import (
    HEADER_BYTES,
    HEALTHYPI_4,
    HEALTHYPI_5,
    LAYOUT_OF,
    STOP,
    Layout,
    OpenViewFrame,
    decode_payload,
    judge,
    values_of,
)
from edge.acquisition.devices.openview_rate import RateMeter
from edge.acquisition.devices.openview_zeros import ZeroFilter
from edge.acquisition.devices.sampling import SampleStream, SampleStreamSettings
from edge.acquisition.devices.scanner import RawFrame, share_of_frames
from edge.messages import Channel, ChannelKind

LINE = LineSettings(baud=115_200)

_REPORT_FRAMES = 128
_OTHER_LAYOUT_FRAMES = 8
"""So many frames of another length in a row are another device; fewer are damage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenViewSettings:
    """How the device is read.

    Raises
    ------
    ValueError
        If a rate or a size is given that is not positive.
    """

    sensor: str
    """Id of the sensor in the configuration."""
    rate_hz: float | None = None
    """Frames a second; None measures it during the first five seconds of a link."""
    ecg_mv_per_count: float | None = None
    """Size of one count of the ECG; None for that of the board's converter as its firmware sets it."""
    is_red_first: bool = False
    """Whether a 20-byte payload has red before infrared, as older Arduino sketches send it."""
    streams: tuple[str, ...] = ()
    """Streams to pass on, of ``ecg``, ``respiration``, ``ppg``; empty for all."""
    block_samples: int = 16
    """Samples in one block: an eighth of a second."""
    max_stall_s: float = MAX_STALL_S
    """Longest pause that is no gap."""

    def __post_init__(self) -> None:
        for value in (self.rate_hz, self.ecg_mv_per_count):
            if value is not None and not value > 0:
                raise ValueError(f"expected a number > 0, got {value}")


def recognise(data: bytes) -> float:
    """Return which share of `data` is this device's, 0 to 1."""
    return share_of_frames(data, judge)


class OpenViewDecoder(DeviceDecoder):
    """Bytes in the OpenView format to ECG, respiration, red and infrared light, and the device's values."""

    def __init__(self, settings: OpenViewSettings) -> None:
        super().__init__(
            settings.sensor,
            judge,
            report_period_frames=_REPORT_FRAMES,
            max_stall_s=settings.max_stall_s,
            streams=settings.streams,
        )
        self._settings = settings
        self._layout: Layout | None = None
        self._n_other_layout = 0
        self._meter = RateMeter()
        self._waiting: list[tuple[OpenViewFrame | None, int]] = []  # None: a frame that was lost
        self._filters: dict[str, ZeroFilter] = {}

    def _forget(self) -> None:
        self._layout = None
        self._n_other_layout = 0
        self._retire()

    def _retire(self) -> None:
        self._n_lost_samples += sum(stream.n_lost_samples for stream in self._streams)
        self._streams = ()
        self._filters = {}
        self._meter = RateMeter()
        self._waiting = []

    def _finish(self) -> list[DeviceItem]:
        out = self._begin() if self._waiting else []
        return [*out, *(item for zeros in self._filters.values() for item in zeros.finish())]

    def _gaps(self, reason: str, at_ns: int) -> list[DeviceItem]:
        return [*self._finish(), *super()._gaps(reason, at_ns)]

    def _leave_out(self, n_samples: int) -> list[DeviceItem]:
        if self._waiting:
            self._waiting += [(None, 0)] * n_samples
        return [item for zeros in self._filters.values() for item in zeros.skip(n_samples)]

    def _frame(self, frame: RawFrame) -> list[DeviceItem]:
        at_ns = frame.received_at_ns
        layout = LAYOUT_OF[len(frame.data) - HEADER_BYTES - len(STOP)]
        out: list[DeviceItem] = []
        if layout is not self._layout:
            self._n_other_layout += 1
            if self._layout is not None and self._n_other_layout < _OTHER_LAYOUT_FRAMES:
                return [self._drop("layout", frame)]
            out += self._gaps("stream-changed", at_ns)
            self._retire()
            self._layout = layout
        self._n_other_layout = 0
        out += self._note_frame(frame)
        fields = decode_payload(frame.data[HEADER_BYTES : -len(STOP)], is_red_first=self._settings.is_red_first)
        out += self._reports.readings(values_of(fields, layout), at_ns)
        if self._streams:
            return [*out, *self._signals(fields, layout, at_ns)]
        self._waiting.append((fields, at_ns))
        self._meter.add(at_ns)
        is_known = self._settings.rate_hz is not None or self._meter.is_done
        return [*out, *self._begin()] if is_known else out

    def _begin(self) -> list[DeviceItem]:
        """Begin the streams at the rate that is now known, with the samples that waited for it."""
        layout = self._layout
        if layout is None:
            return []
        rate_hz = self._settings.rate_hz or self._meter.rate_hz()
        streams = {name: self._stream(name, channels, rate_hz) for name, channels in self._channels(layout).items()}
        self._streams = tuple(streams.values())
        self._filters = {
            name: ZeroFilter(stream, sensor=self._settings.sensor, rate_hz=rate_hz, may_hold_single_zeros=name != "ppg")
            for name, stream in streams.items()
        }
        waiting, self._waiting = self._waiting, []
        out: list[DeviceItem] = [self._identity(layout.model, waiting[-1][1])]
        for fields, at_ns in waiting:
            out += self._leave_out(1) if fields is None else self._signals(fields, layout, at_ns)
        return out

    def _stream(self, name: str, channels: tuple[Channel, ...], rate_hz: float) -> SampleStream:
        settings = self._settings
        return SampleStream(
            SampleStreamSettings(
                sensor=settings.sensor,
                stream=name,
                channels=channels,
                rate_hz=rate_hz,
                block_samples=settings.block_samples,
            )
        )

    def _channels(self, layout: Layout) -> dict[str, tuple[Channel, ...]]:
        light = (
            Channel(name="RED", kind=ChannelKind.PPG_RED, unit="1", resolution=1.0),
            Channel(name="IR", kind=ChannelKind.PPG_INFRARED, unit="1", resolution=1.0),
        )
        if layout.ecg_mv_per_count is None:
            return {"ppg": light}
        scale_mv = self._mv_per_count(layout)
        n_bits = 18 if layout is HEALTHYPI_5 else 16
        ecg = Channel(
            name="ECG",
            kind=ChannelKind.ECG,
            unit="mV",
            minimum=-(2 ** (n_bits - 1)) * scale_mv,
            maximum=(2 ** (n_bits - 1) - 1) * scale_mv,
            resolution=scale_mv,
        )
        breathing = Channel(name="RESP", kind=ChannelKind.RESPIRATION, unit="1", resolution=1.0)
        return {"ecg": (ecg,), "respiration": (breathing,), "ppg": light}

    def _mv_per_count(self, layout: Layout) -> float:
        return self._settings.ecg_mv_per_count or layout.ecg_mv_per_count or 1.0

    def _signals(self, fields: OpenViewFrame, layout: Layout, at_ns: int) -> list[DeviceItem]:
        out: list[DeviceItem] = []
        if layout is HEALTHYPI_4:
            is_off, leads = fields.leads_off != 0, f"lead status {fields.leads_off:#04x}"
            for stream in ("ecg", "respiration"):
                out += self._reports.condition("lead-off", is_active=is_off, at_ns=at_ns, stream=stream, detail=leads)
        if fields.ecg is not None:
            scale_mv = self._mv_per_count(layout)
            out += self._filters["ecg"].take((fields.ecg,), at_ns, scale=scale_mv)
        if fields.respiration is not None:
            breathing = self._filters["respiration"]
            out += breathing.hold(at_ns) if fields.is_respiration_old else breathing.take((fields.respiration,), at_ns)
        out += self._filters["ppg"].take((fields.red, fields.infrared), at_ns)
        return out
