"""Contec CMS50D+ from firmware 4.6, newer CMS50E, CMS50EW and CMS50FW: the packets of "protocol 7.0".

::

    0        0ttt tttt   type; the only byte of a packet without bit 7
    1        1mmm mmmm   bit i is bit 7 of payload byte i
    2 ...    1xxx xxxx   payload, each byte without its bit 7

    type 01  0  bits 0-3 signal strength, 4 searching for too long, 6 beep, 7 finger out
             1  bits 0-6 pleth, 7 searching
             2  bits 0-3 bar graph, 4 no perfusion index
             3  pulse rate      4  SpO2, %      5, 6  perfusion index, 0.01 %, u16 little-endian

The device sends live data only when asked, and some firmware stops after half a minute: the request is repeated, and
a keep-alive holds the link.  Who masks ``0x7F`` and forgets byte 1 reads 150 /min as 22.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.acquisition.devices.device import MAX_STALL_S, DeviceDecoder, DeviceItem
from edge.acquisition.devices.line import LineSettings
from edge.acquisition.devices.reports import Value, judged
from edge.acquisition.devices.sampling import NS_PER_S, SampleStream, SampleStreamSettings
from edge.acquisition.devices.scanner import NOTHING_HERE, RawFrame, Rejected, share_of_frames
from edge.messages import Channel, ChannelKind, Outgoing

LINE = LineSettings(baud=115_200)
RATE_HZ = 60.0
MODEL = "Contec CMS50 (protocol 7)"
PLETH = Channel(name="PLETH", kind=ChannelKind.PPG, unit="1", minimum=0.0, maximum=127.0, resolution=1.0)

LIVE_DATA = 0x01
PAYLOAD_BYTES: tuple[tuple[int, int], ...] = (
    *((code, 7) for code in (LIVE_DATA, 0x04, 0x05, 0x11, 0x15)),
    *((code, 6) for code in (0x07, 0x08, 0x0F, 0x12)),
    (0x09, 4),
    *((code, 2) for code in (0x0A, 0x0B)),
    *((code, 1) for code in (0x0D, 0x0E, 0x10)),
    (0x0C, 0),
)
"""Types that a device sends, and how many payload bytes each has."""
_LENGTHS = dict(PAYLOAD_BYTES)
_HIGH = 0x80

_START_LIVE, _STOP_LIVE, _KEEP_ALIVE = 0xA1, 0xA2, 0xAF
_FINGER_OUT, _SEARCHED_LONG, _SEARCHING, _NO_INDEX = 0x80, 0x10, 0x80, 0x10
_IDLE_PLETH = 0x40
"""What the pleth stands still at without a finger."""
_IDLE_FRAMES = 30
"""Half a second: the wave of a pulse never stands still so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContecV7Settings:
    """How the device is read."""

    sensor: str
    """Id of the sensor in the configuration."""
    block_samples: int = 6
    """Samples in one block: a tenth of a second."""
    max_stall_s: float = MAX_STALL_S
    """Longest pause that is no gap; the device numbers nothing, so what is missing after one cannot be known."""
    keep_alive_s: float = 5.0
    """How often the device is told that somebody listens; the protocol asks for "every few seconds"."""
    restart_s: float = 15.0
    """How often live data is asked for again: some firmware of the CMS50D+ sends for 30 s after each request."""
    no_data_s: float = 2.0
    """After so long without live data it is asked for again."""


def command(code: int) -> bytes:
    """Return the packet for the device that has `code` as its first payload byte and zeros behind.

    Examples
    --------
    >>> command(0xA1).hex(" ")
    '7d 81 a1 80 80 80 80 80 80'
    """
    return encode_packet(0x7D, bytes((code,)) + bytes(6))


def encode_packet(packet_type: int, payload: bytes) -> bytes:
    """Return a packet of the protocol, either way."""
    high_bits = sum(1 << k for k, byte in enumerate(payload) if byte & _HIGH)
    return bytes((packet_type, _HIGH | high_bits, *(byte | _HIGH for byte in payload)))


def decode_payload(packet: bytes) -> bytes:
    """Return the payload of a whole packet, with the bits that the second byte carries."""
    return bytes(byte & 0x7F | (packet[1] >> k & 1) << 7 for k, byte in enumerate(packet[2:]))


def judge(data: bytearray, at: int, is_end: bool) -> int | Rejected:
    """Return the length of the packet at `at`, 0 for "more bytes needed", or why there is none."""
    if data[at] & _HIGH:
        return NOTHING_HERE
    n_payload = _LENGTHS.get(data[at])
    if n_payload is None:
        return Rejected("type")
    end = at + 2 + n_payload
    for k, byte in enumerate(data[at + 1 : end], start=1):
        if not byte & _HIGH:
            return Rejected("short", k)
    if len(data) > end:  # the next packet must begin here, else there was a byte too many in this one
        return Rejected("long", end - at) if data[end] & _HIGH else end - at
    return end - at if is_end and len(data) == end else 0


def recognise(data: bytes) -> float:
    """Return which share of `data` is this device's, 0 to 1."""
    return share_of_frames(data, judge)


class ContecV7Decoder(DeviceDecoder):
    """Bytes of the newer Contec oximeters to a pleth stream, pulse rate, SpO2 and perfusion index."""

    def __init__(self, settings: ContecV7Settings) -> None:
        super().__init__(settings.sensor, judge, report_period_frames=round(RATE_HZ), max_stall_s=settings.max_stall_s)
        self._settings = settings
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
        self._n_idle = 0
        self._started_at_ns: int | None = None
        self._kept_at_ns: int | None = None

    def greeting(self) -> list[Outgoing]:
        """Return the request for live data."""
        return [Outgoing(data=command(_START_LIVE))]

    def requests(self, now_ns: int) -> list[Outgoing]:
        """Return a keep-alive or another request for live data when it is due."""
        settings = self._settings
        if self._started_at_ns is None or self._kept_at_ns is None:  # the greeting was just written
            self._started_at_ns = self._kept_at_ns = now_ns
            return []
        heard_at_ns = max(self._started_at_ns, self._framed_at_ns or self._started_at_ns)
        is_silent = now_ns - heard_at_ns >= settings.no_data_s * NS_PER_S
        if is_silent or now_ns - self._started_at_ns >= settings.restart_s * NS_PER_S:
            self._started_at_ns = now_ns
            return [Outgoing(data=command(_START_LIVE))]
        if now_ns - self._kept_at_ns >= settings.keep_alive_s * NS_PER_S:
            self._kept_at_ns = now_ns
            return [Outgoing(data=command(_KEEP_ALIVE))]
        return []

    def farewell(self) -> list[Outgoing]:
        """Return the end of live data, so that the device may go to sleep."""
        return [Outgoing(data=command(_STOP_LIVE))]

    def _forget(self) -> None:
        self._is_known = False
        self._n_idle = 0
        self._started_at_ns = None
        self._kept_at_ns = None

    def _frame(self, frame: RawFrame) -> list[DeviceItem]:
        if frame.data[0] != LIVE_DATA:  # an answer to a command, or stored data that nobody asked for
            self._n_frames += 1
            return []
        at_ns = frame.received_at_ns
        out = self._note_frame(frame)
        if not self._is_known:
            self._is_known = True
            out.append(self._identity(MODEL, at_ns))
        payload = decode_payload(frame.data)
        pleth = payload[1] & 0x7F
        self._n_idle = self._n_idle + 1 if pleth == _IDLE_PLETH else 0
        is_off = bool(payload[0] & _FINGER_OUT) or self._n_idle >= _IDLE_FRAMES
        out += self._reports.condition("sensor-off", is_active=is_off, at_ns=at_ns, stream="pleth")
        out += self._reports.readings(_values(payload, is_off=is_off), at_ns)
        return [*out, *self._pleth.add((float(pleth),), at_ns)]


def _values(payload: bytes, *, is_off: bool) -> list[Value]:
    absent = None
    if is_off:
        absent = "sensor-off"
    elif payload[1] & _SEARCHING:
        absent = "measuring"
    elif payload[0] & _SEARCHED_LONG:
        absent = "signal-poor"
    values = [
        judged("spo2_pct", payload[4], low=1, high=100, missing=(0, 0x7F, 0xFF), absent=absent),
        judged("pulse_rate_bpm", payload[3], low=1, high=254, missing=(0, 0xFF), absent=absent),
    ]
    index = int.from_bytes(payload[5:7], "little")
    has_index = not payload[2] & _NO_INDEX and index not in {0, 0xFFFF}
    if has_index:  # most models have none: then there is nothing to say about it
        values.append(judged("perfusion_index_pct", index / 100, low=0.01, high=100, absent=absent))
    return values
