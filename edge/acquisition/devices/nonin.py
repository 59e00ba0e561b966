"""Nonin OEM modules and oximeters, serial data formats 2 and 7: 75 frames a second, 25 of them a packet.

::

    format 2   01 | status | pleth     | data | checksum      checksum: sum of the four bytes before it, modulo 256
    format 7   status | pleth MSB | pleth LSB | data | checksum

    status   bit 7 always 1, 6 sensor disconnected, 5 artifact, 4 out of track, 3 sensor alarm, 2 red and 1 green
             perfusion (both: yellow), 0 SYNC: first frame of a packet; 5, 2 and 1 only during a pulse
    data     by the frame's place in the packet: 1, 2 pulse rate (two bits, then seven), 3 SpO2, 4 firmware revision,
             8 second status (bit 0 battery low) ...; missing: rate 511, SpO2 127

The format is asked for on connecting (`NoninSettings.data_format`); modules whose format is set by a switch do not
answer, so that both are read whatever was asked.  All values of a packet are from that packet, or there are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.acquisition.devices.device import MAX_STALL_S, DeviceDecoder, DeviceItem
from edge.acquisition.devices.line import LineSettings
from edge.acquisition.devices.nonin_packets import NoninFrame, NoninPacket, NoninPackets
from edge.acquisition.devices.reports import Value, judged
from edge.acquisition.devices.sampling import NS_PER_S, SampleStream, SampleStreamSettings
from edge.acquisition.devices.scanner import NO_START, NOTHING_HERE, RawFrame, Rejected, share_of_frames
from edge.messages import Channel, ChannelKind, Corrupt, Outgoing

LINE = LineSettings(baud=9600)
RATE_HZ = 75.0
MODEL = "Nonin"
DataFormat = Literal[2, 7]

_FRAME_BYTES = 5
_START_2 = 0x01
_HIGH = 0x80
_ACK, _NAK = 0x06, 0x15
_FORGET_FORMAT_BYTES = 50
_ANSWER_S = 2.0
_MAX_ASKS = 3
_QUESTIONED_PACKETS = 6
"""Two seconds: the longest time from one pulse to the next of a heart that is not out of track."""

_DISCONNECTED, _ARTIFACT, _OUT_OF_TRACK, _SENSOR_ALARM, _RED, _GREEN = 0x40, 0x20, 0x10, 0x08, 0x04, 0x02
_BATTERY_LOW = 0x01
_NO_RATE, _NO_SPO2 = 511.0, 127.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NoninSettings:
    """How the device is read."""

    sensor: str
    """Id of the sensor in the configuration."""
    data_format: DataFormat | None = 7
    """Format to ask for: 7 has a pleth of 16 bits instead of 8; a module that declines is asked for 2.  None asks
    for nothing."""
    max_stall_s: float = MAX_STALL_S
    """Longest pause that is no gap; whole packets of a third of a second can be lost in it unnoticed."""


def select_format(data_format: int) -> bytes:
    """Return the command that selects a data format.

    Examples
    --------
    >>> select_format(2).hex(" ")
    '02 70 04 02 02 01 79 03'
    """
    body = bytes((0x70, 0x04, 0x02, data_format, 0x01))
    return bytes((0x02, *body, sum(body) & 0xFF, 0x03))


class NoninJudge:
    """Tells frames of both formats from other bytes; knows which one it is reading.

    In format 2 a frame has a start byte.  In format 7 only one bit and the checksum speak for it: after anything
    else than a frame, one is believed only if another follows it.
    """

    def __init__(self) -> None:
        self._format: int | None = None
        self._is_in_step = False
        self._n_rejected = 0

    @property
    def data_format(self) -> int | None:
        """Format of the frames at present; None where there are none."""
        return self._format

    def __call__(self, data: bytearray, at: int, is_end: bool) -> int | Rejected:
        """Return the length of the frame at `at`, 0 for "more bytes needed", or why there is none."""
        first = data[at]
        if first == _START_2 and self._format != 7:
            return self._settled(self._judge_2(data, at), 2)
        if first & _HIGH and self._format != 2:
            return self._settled(self._judge_7(data, at, is_end=is_end), 7)
        if first in {_ACK, _NAK}:
            if first == _ACK:  # what follows may be of the other format
                self._format = None
                self._is_in_step = False
            return 1
        return self._settled(NOTHING_HERE, 0)

    def reset(self) -> None:
        """Forget the link."""
        self._format = None
        self._is_in_step = False
        self._n_rejected = 0

    def _judge_2(self, data: bytearray, at: int) -> int | Rejected:
        if len(data) > at + 1 and not data[at + 1] & _HIGH:
            return Rejected("status", _FRAME_BYTES)
        return _checked(data, at)

    def _judge_7(self, data: bytearray, at: int, *, is_end: bool) -> int | Rejected:
        found = _checked(data, at)
        if self._is_in_step or found != _FRAME_BYTES:
            return found
        following = at + _FRAME_BYTES
        if len(data) < following + _FRAME_BYTES:
            return _FRAME_BYTES if is_end and len(data) == following else 0
        is_confirmed = data[following] & _HIGH and _checked(data, following) == _FRAME_BYTES
        return _FRAME_BYTES if is_confirmed else Rejected("unconfirmed", _FRAME_BYTES)

    def _settled(self, found: int | Rejected, data_format: int) -> int | Rejected:
        if isinstance(found, Rejected):
            self._is_in_step = False
            self._n_rejected += 1
            if self._n_rejected >= _FORGET_FORMAT_BYTES:
                self._format = None
        elif found:
            self._format = data_format
            self._is_in_step = True
            self._n_rejected = 0
        return found


def _checked(data: bytearray, at: int) -> int | Rejected:
    frame = data[at : at + _FRAME_BYTES]
    if len(frame) < _FRAME_BYTES:
        return 0
    return _FRAME_BYTES if sum(frame[:4]) & 0xFF == frame[4] else Rejected("checksum", _FRAME_BYTES)


def recognise(data: bytes) -> float:
    """Return which share of `data` is this device's, 0 to 1."""
    return share_of_frames(data, NoninJudge())


class NoninDecoder(DeviceDecoder):
    """Bytes of a Nonin oximeter to a pleth stream, pulse rate and SpO2."""

    def __init__(self, settings: NoninSettings) -> None:
        self._judge = NoninJudge()
        super().__init__(
            settings.sensor,
            self._judge,
            report_period_frames=round(RATE_HZ),
            max_stall_s=settings.max_stall_s,
            agreeing_frames=1,
        )
        self._settings = settings
        self._packets = NoninPackets()
        self._format: int | None = None
        self._n_questioned_packets = 0
        self._revision: int | None = None
        self._told_revision: int | None = None
        self._asked_format: int | None = None
        self._asked_at_ns: int | None = None
        self._n_asks = 0
        self._is_answered = False

    def greeting(self) -> list[Outgoing]:
        """Return the request for the data format."""
        return self._ask(self._settings.data_format)

    def requests(self, now_ns: int) -> list[Outgoing]:
        """Return the request again, while neither an answer nor the wanted format came, a few times."""
        if self._asked_format is None or self._is_answered or self._format == self._asked_format:
            return []
        if self._asked_at_ns is None:
            self._asked_at_ns = now_ns
        if now_ns - self._asked_at_ns < _ANSWER_S * NS_PER_S or self._n_asks >= _MAX_ASKS:
            return []
        self._asked_at_ns = now_ns
        return self._ask(self._asked_format)

    def _ask(self, data_format: int | None) -> list[Outgoing]:
        self._asked_format = data_format
        if data_format is None:
            return []
        self._n_asks += 1
        return [Outgoing(data=select_format(data_format))]

    def _forget(self) -> None:
        self._judge.reset()
        self._packets.reset()
        self._format = None
        self._n_questioned_packets = 0
        self._revision = None
        self._told_revision = None
        self._asked_format = None
        self._asked_at_ns = None
        self._n_asks = 0
        self._is_answered = False
        self._n_lost_samples += sum(stream.n_lost_samples for stream in self._streams)
        self._streams = ()

    def _finish(self) -> list[DeviceItem]:
        return [item for packet in self._packets.finish() for item in self._packet(packet)]

    def _gaps(self, reason: str, at_ns: int) -> list[DeviceItem]:
        return [*self._finish(), *super()._gaps(reason, at_ns)]

    def _after_garbage(self, frame: RawFrame) -> list[DeviceItem]:  # noqa: ARG002  the marks tell what is missing
        return []

    def _frame(self, frame: RawFrame) -> list[DeviceItem]:
        if len(frame.data) == 1:
            return self._answer(frame)
        data_format = 2 if frame.data[0] == _START_2 else 7
        out: list[DeviceItem] = []
        if data_format != self._format:
            out += self._begin(data_format, frame)
        out += self._note_frame(frame)
        first, second, third, data, _ = frame.data
        status, pleth = (second, third) if data_format == 2 else (first, second << 8 | third)
        sample = NoninFrame(status, pleth, data, frame.received_at_ns)
        for packet in self._packets.push(sample, is_after_hole=frame.n_skipped > 0):
            out += self._packet(packet)
        if not self._packets.is_synchronised:  # the end of a packet that began before we listened
            out.append(self._drop("before-sync", frame))
        return out

    def _answer(self, frame: RawFrame) -> list[DeviceItem]:
        if self._asked_format is None or self._is_answered:
            self._n_dropped[NO_START] += 1
            return [Corrupt(reason=NO_START, offset=frame.offset, n_bytes=1)]
        if frame.data[0] == _ACK or self._asked_format == 2:
            self._is_answered = True
        else:  # it declined format 7: ask for the one that every module knows, at the next opportunity
            self._asked_format = 2
            self._asked_at_ns = -(1 << 62)
            self._n_asks = 0
        return []

    def _begin(self, data_format: int, frame: RawFrame) -> list[DeviceItem]:
        out = self._gaps("stream-changed", frame.received_at_ns)
        self._n_lost_samples += sum(stream.n_lost_samples for stream in self._streams)
        self._format = data_format
        full_scale = 255.0 if data_format == 2 else 65_535.0
        pleth = Channel(name="PLETH", kind=ChannelKind.PPG, unit="1", minimum=0.0, maximum=full_scale, resolution=1.0)
        settings = SampleStreamSettings(
            sensor=self._sensor, stream="pleth", channels=(pleth,), rate_hz=RATE_HZ, block_samples=25
        )
        self._streams = (SampleStream(settings),)
        return [*out, self._who(frame.received_at_ns)]

    def _who(self, at_ns: int) -> DeviceItem:
        self._told_revision = self._revision
        firmware = "" if self._revision is None else str(self._revision)
        return self._identity(f"{MODEL} (format {self._format})", at_ns, firmware=firmware)

    def _packet(self, packet: NoninPacket) -> list[DeviceItem]:
        frames = (*packet.head, *packet.tail)
        stream = self._streams[0]
        self._n_lost_frames += packet.n_missing - packet.n_unplaced
        if not frames:
            return [*stream.skip(packet.n_missing)]
        out: list[DeviceItem] = []
        at_ns = frames[-1].received_at_ns
        status = 0
        for each in frames:
            status |= each.status
        is_off = bool(status & (_DISCONNECTED | _SENSOR_ALARM))
        detail = "sensor disconnected" if status & _DISCONNECTED else "sensor alarm"
        out += self._reports.condition("sensor-off", is_active=is_off, at_ns=at_ns, stream="pleth", detail=detail)
        for each in packet.head:
            out += stream.add((float(each.pleth),), each.received_at_ns)
        out += stream.skip(packet.n_missing)
        for each in packet.tail:
            out += stream.add((float(each.pleth),), each.received_at_ns)
        out += stream.close()
        if packet.is_whole:
            out += self._values(packet.head, status, at_ns)
        return out

    def _values(self, frames: tuple[NoninFrame, ...], status: int, at_ns: int) -> list[DeviceItem]:
        data = [0, *(frame.data for frame in frames)]  # numbered from 1, as in the manual
        self._revision = data[4]
        out: list[DeviceItem] = [self._who(at_ns)] if self._revision != self._told_revision else []
        low = bool(data[8] & _BATTERY_LOW)
        out += self._reports.condition("battery-low", is_active=low, at_ns=at_ns)
        absent = None
        if status & (_DISCONNECTED | _SENSOR_ALARM):
            absent = "sensor-off"
        elif status & _OUT_OF_TRACK:
            absent = "signal-poor"
        is_questionable = self._is_questioned(frames)
        rate = (data[1] & 0x03) << 7 | data[2] & 0x7F
        values = [
            judged("spo2_pct", data[3] & 0x7F, low=1, high=100, missing=(_NO_SPO2, 0.0), absent=absent),
            judged("pulse_rate_bpm", rate, low=1, high=321, missing=(_NO_RATE, 0.0), absent=absent),
        ]
        return [*out, *self._reports.readings([_questioned(value, is_questionable) for value in values], at_ns)]

    def _is_questioned(self, frames: tuple[NoninFrame, ...]) -> bool:
        """Whether a pulse in these frames, or the last one before, was an artifact or had little perfusion.

        The bits are set only while a pulse goes on: most packets have none, and stand under the last one's.
        """
        pulses = [frame.status for frame in frames if frame.status & (_ARTIFACT | _RED | _GREEN)]
        is_questioned = self._n_questioned_packets > 0 and not pulses
        self._n_questioned_packets -= 1 if is_questioned else 0
        if pulses:
            is_questioned = any(_is_pulse_questioned(status) for status in pulses)
            self._n_questioned_packets = _QUESTIONED_PACKETS if _is_pulse_questioned(pulses[-1]) else 0
        return is_questioned


def _is_pulse_questioned(status: int) -> bool:
    return bool(status & _ARTIFACT) or (bool(status & _RED) and not status & _GREEN)


def _questioned(value: Value, is_questionable: bool) -> Value:
    if value.absent or not is_questionable:
        return value
    return Value(measure=value.measure, value=value.value, is_questionable=True)
