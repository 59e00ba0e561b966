"""Contec CMS50D+ up to firmware 4.5 and the older CMS50E: five bytes, sixty times a second, without a checksum.

::

    0   1ooo ssss   bit 7 starts a frame; bits 0-3 signal strength, 4 finger out, 5 SpO2 dropping, 6 beep
    1   0ppp pppp   pleth, 0-127
    2   0.r- bbbb   bits 0-3 bar graph, 4 probe error, 5 searching, 6 = bit 7 of the pulse rate
    3   0rrr rrrr   pulse rate, low seven bits
    4   0sss ssss   SpO2, %

The device streams by itself once it is switched on.  A frame counts when the next one follows at once: without a
checksum that is the only sign that no byte was lost or added in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.acquisition.devices.device import MAX_STALL_S, DeviceDecoder, DeviceItem
from edge.acquisition.devices.line import LineSettings
from edge.acquisition.devices.reports import Value, judged
from edge.acquisition.devices.sampling import SampleStream, SampleStreamSettings
from edge.acquisition.devices.scanner import NOTHING_HERE, RawFrame, Rejected, share_of_frames
from edge.messages import Channel, ChannelKind

LINE = LineSettings(baud=19_200, parity="O")
RATE_HZ = 60.0
MODEL = "Contec CMS50"
PLETH = Channel(name="PLETH", kind=ChannelKind.PPG, unit="1", minimum=0.0, maximum=127.0, resolution=1.0)

_FRAME_BYTES = 5
_START = 0x80
_FINGER_OUT, _PROBE_ERROR, _SEARCHING, _RATE_BIT_7 = 0x10, 0x10, 0x20, 0x40
_NO_SPO2, _NO_RATE = (0.0, 127.0), (0.0, 255.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contec5ByteSettings:
    """How the device is read."""

    sensor: str
    """Id of the sensor in the configuration."""
    block_samples: int = 6
    """Samples in one block: a tenth of a second."""
    max_stall_s: float = MAX_STALL_S
    """Longest pause that is no gap; the device numbers nothing, so what is missing after one cannot be known."""


class Contec5ByteJudge:
    """Tells frames from other bytes: the start bit, and that the next frame starts right behind.

    After anything that was no frame that is not enough, for one noise byte in two has that bit: then a frame is
    believed only if a whole one follows it.
    """

    def __init__(self) -> None:
        self._is_in_step = False

    def __call__(self, data: bytearray, at: int, is_end: bool) -> int | Rejected:
        """Return the length of the frame at `at`, 0 for "more bytes needed", or why there is none."""
        found = _judge_form(data, at, is_end=is_end)
        if found == _FRAME_BYTES and not self._is_in_step and at + _FRAME_BYTES < len(data):
            following = _judge_form(data, at + _FRAME_BYTES, is_end=is_end)
            if isinstance(following, Rejected):
                found = Rejected("unconfirmed", _FRAME_BYTES)
            elif following == 0 and not is_end:
                return 0
        if found:
            self._is_in_step = found == _FRAME_BYTES
        return found

    def reset(self) -> None:
        """Forget the link."""
        self._is_in_step = False


def _judge_form(data: bytearray, at: int, *, is_end: bool) -> int | Rejected:
    if not data[at] & _START:
        return NOTHING_HERE
    body = data[at + 1 : at + _FRAME_BYTES]
    for k, byte in enumerate(body, start=1):
        if byte & _START:
            return Rejected("short", k)
    end = at + _FRAME_BYTES
    if len(data) > end:
        return _FRAME_BYTES if data[end] & _START else Rejected("long", _FRAME_BYTES)
    return _FRAME_BYTES if is_end and len(data) == end else 0


def recognise(data: bytes) -> float:
    """Return which share of `data` is this device's, 0 to 1."""
    return share_of_frames(data, Contec5ByteJudge())


class Contec5ByteDecoder(DeviceDecoder):
    """Bytes of the older Contec oximeters to a pleth stream, pulse rate and SpO2."""

    def __init__(self, settings: Contec5ByteSettings) -> None:
        self._judge = Contec5ByteJudge()
        super().__init__(
            settings.sensor, self._judge, report_period_frames=round(RATE_HZ), max_stall_s=settings.max_stall_s
        )
        self._pleth = SampleStream(
            SampleStreamSettings(
                sensor=settings.sensor,
                stream="pleth",
                channels=(PLETH,),
                rate_hz=RATE_HZ,
                block_samples=settings.block_samples,
            )
        )
        self._streams = (self._pleth,)
        self._is_known = False

    def _forget(self) -> None:
        self._judge.reset()
        self._is_known = False

    def _frame(self, frame: RawFrame) -> list[DeviceItem]:
        at_ns = frame.received_at_ns
        out = self._note_frame(frame)
        if not self._is_known:
            self._is_known = True
            out.append(self._identity(MODEL, at_ns))
        flags, pleth, state, rate, spo2 = frame.data
        is_off = bool(flags & _FINGER_OUT)
        is_broken = bool(state & _PROBE_ERROR)
        out += self._reports.condition("sensor-off", is_active=is_off, at_ns=at_ns, stream="pleth")
        out += self._reports.condition("device-error", is_active=is_broken, at_ns=at_ns, detail="probe error")
        absent = _absent(is_off=is_off, is_broken=is_broken, is_searching=bool(state & _SEARCHING))
        rate |= 0x80 if state & _RATE_BIT_7 else 0
        out += self._reports.readings(_values(rate, spo2, absent), at_ns)
        return [*out, *self._pleth.add((float(pleth),), at_ns)]


def _absent(*, is_off: bool, is_broken: bool, is_searching: bool) -> str | None:
    if is_broken:
        return "device-error"
    if is_off:
        return "sensor-off"
    return "measuring" if is_searching else None


def _values(rate: int, spo2: int, absent: str | None) -> list[Value]:
    return [
        judged("spo2_pct", spo2, low=1, high=100, missing=_NO_SPO2, absent=absent),
        judged("pulse_rate_bpm", rate, low=1, high=254, missing=_NO_RATE, absent=absent),
    ]
