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

There is neither a device clock nor a sample number.  A frame that is lost without a trace cannot be seen; what is
seen - garbage where a frame should be, or a long pause - is told as a gap of unknown size.  The firmware of the
HealthyPi 5 sends zeros when it has no sample: those are never passed on as signal (`openview_zeros`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from edge.acquisition.devices.device import MAX_STALL_S, DeviceDecoder, DeviceItem
from edge.acquisition.devices.line import LineSettings
from edge.acquisition.devices.openview_zeros import ZeroFilter
from edge.acquisition.devices.reports import Value, judged
from edge.acquisition.devices.sampling import SampleStream, SampleStreamSettings
from edge.acquisition.devices.scanner import NOTHING_HERE, RawFrame, Rejected, share_of_frames
from edge.messages import Channel, ChannelKind

LINE = LineSettings(baud=115_200)

_START = b"\x0a\xfa"
_HEADER_BYTES = 5
_STOP = b"\x00\x0b"
_DATA = 0x02
_LEADS_MASK = 0x1F
_OTHER_LAYOUT_FRAMES = 8
"""So many frames of another length in a row are another device; fewer are damage."""
_SPO2_ERROR = 25.0
"""The low byte of -999, which the firmware's SpO2 algorithm returns when it has no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One kind of payload."""

    n_bytes: int
    model: str
    ecg_mv_per_count: float | None
    """None: no ECG."""


HEALTHYPI_5 = Layout(n_bytes=22, model="HealthyPi 5", ecg_mv_per_count=1000 / (2**17 * 20))
"""MAX30001: 18 bits signed, full scale 1 V over a gain of 20 (data sheet, and the conversion in the firmware)."""
HEALTHYPI_4 = Layout(n_bytes=20, model="HealthyPi v4", ecg_mv_per_count=2 * 2420 / 12 / 2**16)
"""ADS1292R: 2.42 V reference, gain 12 (the firmware's CH2SET is 0x60), upper 16 of 24 bits."""
AFE4490 = Layout(n_bytes=10, model="AFE4490", ecg_mv_per_count=None)
LAYOUTS: tuple[Layout, ...] = (HEALTHYPI_5, HEALTHYPI_4, AFE4490)
_LAYOUT_OF = {layout.n_bytes: layout for layout in LAYOUTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenViewSettings:
    """How the device is read."""

    sensor: str
    """Id of the sensor in the configuration."""
    rate_hz: float = 128.0
    """Frames a second: 128 on the HealthyPi 5, 125 on boards whose firmware sets the ADS1292R to that."""
    ecg_mv_per_count: float | None = None
    """Size of one count of the ECG; None for that of the board's converter as its firmware sets it."""
    is_red_first: bool = False
    """Whether a 20-byte payload has red before infrared, as older Arduino sketches send it."""
    block_samples: int = 16
    """Samples in one block: an eighth of a second."""
    max_stall_s: float = MAX_STALL_S
    """Longest pause that is no gap."""


class OpenViewFrame(NamedTuple):
    """What one frame says, in counts; None where the layout has no such field."""

    ecg: int | None
    respiration: int | None
    is_respiration_old: bool
    red: int
    infrared: int
    temperature_c: float | None
    spo2: int
    rate: int
    breaths: int | None
    leads_off: int


def decode_payload(payload: bytes, *, is_red_first: bool = False) -> OpenViewFrame:
    """Return the fields of a payload of 22, 20 or 10 bytes.

    Raises
    ------
    ValueError
        If it has another length.
    """
    if len(payload) == HEALTHYPI_5.n_bytes:
        ecg, bioz, skip, red, infrared, temperature, spo2, rate, breaths = struct.unpack("<iiBiihBBB", payload)
        return OpenViewFrame(ecg, bioz, skip != 0, red, infrared, temperature / 100, spo2, rate, breaths, 0)
    if len(payload) == HEALTHYPI_4.n_bytes:
        ecg, bioz, infrared, red, temperature, breaths, spo2, rate, leads = struct.unpack("<hhiiHBBB2xB", payload)
        if is_red_first:
            red, infrared = infrared, red
        leads_off = leads & _LEADS_MASK
        return OpenViewFrame(ecg, bioz, False, red, infrared, temperature / 100, spo2, rate, breaths, leads_off)
    if len(payload) == AFE4490.n_bytes:
        infrared, red, spo2, rate = struct.unpack("<iiBB", payload)
        return OpenViewFrame(None, None, False, red, infrared, None, spo2, rate, None, 0)
    raise ValueError(f"expected a payload of {', '.join(map(str, _LAYOUT_OF))} bytes, got {len(payload)}")


def judge(data: bytearray, at: int, is_end: bool) -> int | Rejected:  # noqa: ARG001  one shape for all devices
    """Return the length of the frame at `at`, 0 for "more bytes needed", or why there is none."""
    head = data[at : at + _HEADER_BYTES]
    if not _START.startswith(head[:2]) and head[:2] != _START:
        return NOTHING_HERE
    if len(head) < _HEADER_BYTES:
        return 0
    n_payload = head[2] | head[3] << 8
    if n_payload not in _LAYOUT_OF:
        return Rejected("length", 2)
    if head[4] != _DATA:
        return Rejected("type", 2)
    end = at + _HEADER_BYTES + n_payload + len(_STOP)
    if len(data) < end:
        return 0
    return end - at if data[end - 2 : end] == _STOP else Rejected("stop", end - at)


def recognise(data: bytes) -> float:
    """Return which share of `data` is this device's, 0 to 1."""
    return share_of_frames(data, judge)


class OpenViewDecoder(DeviceDecoder):
    """Bytes in the OpenView format to ECG, respiration, red and infrared light, and the device's values."""

    def __init__(self, settings: OpenViewSettings) -> None:
        super().__init__(
            settings.sensor,
            judge,
            report_period_frames=max(1, round(settings.rate_hz)),
            max_stall_s=settings.max_stall_s,
        )
        self._settings = settings
        self._layout: Layout | None = None
        self._n_other_layout = 0
        self._filters: dict[str, ZeroFilter] = {}

    def _forget(self) -> None:
        self._layout = None
        self._n_other_layout = 0
        self._retire()

    def _retire(self) -> None:
        self._n_lost_samples += sum(stream.n_lost_samples for stream in self._streams)
        self._streams = ()
        self._filters = {}

    def _finish(self) -> list[DeviceItem]:
        return [item for zeros in self._filters.values() for item in zeros.finish()]

    def _gaps(self, reason: str, at_ns: int) -> list[DeviceItem]:
        return [*self._finish(), *super()._gaps(reason, at_ns)]

    def _leave_out(self, n_samples: int) -> list[DeviceItem]:
        return [item for zeros in self._filters.values() for item in zeros.skip(n_samples)]

    def _frame(self, frame: RawFrame) -> list[DeviceItem]:
        layout = _LAYOUT_OF[len(frame.data) - _HEADER_BYTES - len(_STOP)]
        out: list[DeviceItem] = []
        if layout is not self._layout:
            self._n_other_layout += 1
            if self._layout is not None and self._n_other_layout < _OTHER_LAYOUT_FRAMES:
                return [self._drop("layout", frame)]
            out += self._meet(layout, frame)
        self._n_other_layout = 0
        out += self._note_frame(frame)
        fields = decode_payload(frame.data[_HEADER_BYTES : -len(_STOP)], is_red_first=self._settings.is_red_first)
        out += self._tell(fields, layout, frame.received_at_ns)
        return out

    def _meet(self, layout: Layout, frame: RawFrame) -> list[DeviceItem]:
        """Begin the streams of a device, ending those of another one."""
        at_ns = frame.received_at_ns
        out = self._gaps("stream-changed", at_ns)
        self._retire()
        self._layout = layout
        streams = {name: self._stream(name, channels) for name, channels in self._channels(layout).items()}
        self._streams = tuple(streams.values())
        self._filters = {
            name: ZeroFilter(
                stream,
                sensor=self._settings.sensor,
                rate_hz=self._settings.rate_hz,
                may_hold_single_zeros=name != "ppg",
            )
            for name, stream in streams.items()
        }
        return [*out, self._identity(layout.model, at_ns)]

    def _stream(self, name: str, channels: tuple[Channel, ...]) -> SampleStream:
        settings = self._settings
        return SampleStream(
            SampleStreamSettings(
                sensor=settings.sensor,
                stream=name,
                channels=channels,
                rate_hz=settings.rate_hz,
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

    def _tell(self, fields: OpenViewFrame, layout: Layout, at_ns: int) -> list[DeviceItem]:
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
        return [*out, *self._reports.readings(_values(fields, layout), at_ns)]


def _values(fields: OpenViewFrame, layout: Layout) -> list[Value]:
    spo2 = judged("spo2_pct", fields.spo2, low=35, high=100, missing=(0.0, _SPO2_ERROR))
    if layout is AFE4490:
        # The sketch sends no saturation and leaves the rate of the last good one in place.
        absent = None if fields.spo2 else "not-measured"
        return [spo2, judged("pulse_rate_bpm", fields.rate, low=20, high=254, absent=absent)]
    values = [spo2, judged("heart_rate_bpm", fields.rate, low=15, high=254)]
    if fields.breaths is not None:
        values.append(judged("respiratory_rate_bpm", fields.breaths, low=2, high=100))
    if fields.temperature_c is not None:
        values.append(judged("body_temperature_c", fields.temperature_c, low=20, high=45))
    return values
