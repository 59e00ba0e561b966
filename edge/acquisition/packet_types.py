"""What a sensor and its host can say to each other (``firmware_bridge/PROTOCOL.md``), as frozen values.

`packets` turns them into bytes and back.  Numbers are as on the wire: device *ticks* (32-bit, wrapping), raw
*counts*, milli-hertz; `bridge` turns them into physical units and host time.  A count becomes a physical value by::

    physical = (count - offset_counts) * gain_numerator / gain_denominator
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from edge.messages import ChannelKind, ReadingStatus

WHOLE_DEVICE = 255
"""Stream id of events and commands that concern no single stream."""


class PacketType(IntEnum):
    """What a frame's payload is.  The high bit tells host to device from device to host."""

    HELLO = 0x01
    SAMPLES = 0x02
    READING = 0x03
    EVENT = 0x04
    TIME_RESPONSE = 0x05
    COMMAND_ACK = 0x06
    TIME_REQUEST = 0x81
    COMMAND = 0x82


class CommandCode(IntEnum):
    """What the host asks for."""

    IDENTIFY = 1
    """Send a hello."""
    START = 2
    """Send the samples of a stream."""
    STOP = 3
    """Send no more of them; the sample counter keeps counting."""
    SET_RATE = 4
    """Change the nominal rate to ``argument`` milli-hertz; acknowledged, then a hello says the rate."""
    BACKFILL = 5
    """Send ``count`` stored samples from sequence ``argument`` on, flagged."""


class CommandResult(IntEnum):
    """What became of a command."""

    DONE = 0
    UNKNOWN_COMMAND = 1
    UNKNOWN_STREAM = 2
    BAD_ARGUMENT = 3
    BUSY = 4
    NOT_SUPPORTED = 5
    FAILED = 6


CHANNEL_KINDS: dict[int, ChannelKind] = {
    0: ChannelKind.OTHER,
    1: ChannelKind.ECG,
    2: ChannelKind.PPG,
    3: ChannelKind.PPG_RED,
    4: ChannelKind.PPG_INFRARED,
    5: ChannelKind.RESPIRATION,
    6: ChannelKind.ACCELERATION_X,
    7: ChannelKind.ACCELERATION_Y,
    8: ChannelKind.ACCELERATION_Z,
}
"""Kind code to kind; a code that is not listed is read as ``OTHER``."""

UNITS: dict[int, str] = {
    0: "1",
    1: "mV",
    2: "uV",
    3: "m/s2",
    4: "[g]",
    5: "Cel",
    6: "%",
    7: "/min",
    8: "mm[Hg]",
    9: "Ohm",
    10: "deg/s",
    11: "nA",
}
"""Unit code to UCUM code; a code that is not listed becomes the UCUM annotation ``{unit-N}``."""

MEASURES: dict[int, tuple[str, str]] = {
    147842: ("heart_rate_bpm", "/min"),
    149530: ("pulse_rate_bpm", "/min"),
    150456: ("spo2_pct", "%"),
    151562: ("respiratory_rate_bpm", "/min"),
    150364: ("body_temperature_c", "Cel"),
    150021: ("systolic_mmhg", "mm[Hg]"),
    150022: ("diastolic_mmhg", "mm[Hg]"),
    150023: ("mean_pressure_mmhg", "mm[Hg]"),
}
"""ISO/IEEE 11073-10101 reference identifier (partition × 65536 + code) to measure and UCUM unit."""

READING_STATUSES: dict[int, ReadingStatus] = {
    0: ReadingStatus.VALID,
    1: ReadingStatus.QUESTIONABLE,
    2: ReadingStatus.INVALID,
}
"""Status code to status; a code that is not listed is read as ``INVALID``."""

ABSENT_REASONS: dict[int, str] = {
    0: "",
    1: "not-measured",
    2: "sensor-off",
    3: "signal-poor",
    4: "out-of-range",
    5: "device-error",
    6: "measuring",
}
"""Why a reading has no value; 0 says that it has one."""

CONDITIONS: dict[int, str] = {
    1: "lead-off",
    2: "saturated",
    3: "battery-low",
    4: "self-test-failed",
    5: "device-error",
    6: "storage-full",
    7: "charging",
    8: "sensor-off",
}
"""Condition code to condition; a code that is not listed becomes ``device-condition-N``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDescriptor:
    """One column of a stream's samples."""

    name: str
    """UTF-8, at most 12 bytes."""
    kind_code: int
    """Key of `CHANNEL_KINDS`."""
    unit_code: int
    """Key of `UNITS`."""
    resolution_bits: int
    gain_numerator: int
    gain_denominator: int
    offset_counts: int = 0
    """The count that means zero."""
    minimum_counts: int = -0x8000
    maximum_counts: int = 0x7FFF


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDescriptor:
    """One stream that the device can send."""

    stream_id: int
    """0–254."""
    name: str
    """UTF-8, at most 12 bytes."""
    rate_mhz: int
    """Nominal rate in milli-hertz."""
    channels: tuple[ChannelDescriptor, ...]
    is_running: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who the device is and what it can send."""

    boot_id: int
    """Changes with every restart of the device; counters and ticks begin again with it."""
    tick_rate_hz: int
    """1,000 to 1,000,000."""
    ticks: int
    """The device's clock when the packet was built."""
    device_id: str
    """UTF-8, at most 16 bytes, as are the next two."""
    model: str
    firmware: str
    streams: tuple[StreamDescriptor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesPacket:
    """Consecutive samples of one stream."""

    stream_id: int
    sequence: int
    """Index of the first sample since the stream began in this boot, modulo 2³²; unsent samples count too."""
    ticks: int
    """The device's clock at the first sample."""
    n_channels: int
    bytes_per_value: int
    """2 or 3: signed, little-endian."""
    data: bytes
    """Sample after sample, each with all channels in the order of the hello."""
    is_backfill: bool = False

    @property
    def n_samples(self) -> int:
        """Samples per channel."""
        return len(self.data) // (self.n_channels * self.bytes_per_value)

    def counts(self) -> NDArray[np.int32]:
        """Return the raw counts, shape (n_samples, n_channels)."""
        return unpack_counts(self.data, self.n_channels, self.bytes_per_value)


def pack_counts(counts: NDArray[np.integer], bytes_per_value: int) -> bytes:
    """Return `counts` of shape (n_samples, n_channels) as `SamplesPacket.data`.

    Raises
    ------
    ValueError
        If a count does not fit or `bytes_per_value` is neither 2 nor 3; clip to the converter's range first.
    """
    if bytes_per_value not in {2, 3}:
        raise ValueError(f"expected bytes_per_value 2 or 3, got {bytes_per_value}")
    limit = 1 << (8 * bytes_per_value - 1)
    if counts.size and not (-limit <= int(counts.min()) and int(counts.max()) < limit):
        raise ValueError(f"expected counts in [{-limit}, {limit}), got {int(counts.min())} to {int(counts.max())}")
    as_bytes = np.ascontiguousarray(counts, dtype="<i4").view(np.uint8).reshape(-1, 4)
    return as_bytes[:, :bytes_per_value].tobytes()


def unpack_counts(data: bytes, n_channels: int, bytes_per_value: int) -> NDArray[np.int32]:
    """Return the counts in `data`, shape (n_samples, n_channels)."""
    as_bytes = np.frombuffer(data, dtype=np.uint8).reshape(-1, bytes_per_value)
    words = np.zeros((as_bytes.shape[0], 4), dtype=np.uint8)
    words[:, 4 - bytes_per_value :] = as_bytes  # in the upper bytes, so that the shift extends the sign
    shifted = words.view("<i4") >> (32 - 8 * bytes_per_value)
    return shifted.reshape(-1, n_channels).astype(np.int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingPacket:
    """One value that the device computed: ``mantissa`` × 10 ^ ``exponent``."""

    ticks: int
    """The device's clock when the value was measured."""
    measure_code: int
    """Key of `MEASURES`."""
    mantissa: int
    exponent: int = 0
    status_code: int = 0
    """Key of `READING_STATUSES`."""
    absent_code: int = 0
    """Key of `ABSENT_REASONS`; anything but 0 makes the mantissa meaningless."""
    valid_for_s: int = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPacket:
    """A condition of the device began or ended."""

    ticks: int
    condition_code: int
    """Key of `CONDITIONS`."""
    is_active: bool
    stream_id: int = WHOLE_DEVICE
    value: int = 0
    """A number that goes with it, such as the battery's percent or the channel that is off."""
    text: str = ""
    """UTF-8, at most 64 bytes; for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRequest:
    """The host asks for the device's clock."""

    host_ns: int
    """When it asked, echoed by the device: 0 to 2⁶⁴ − 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeResponse:
    """The device's clock around a time request."""

    host_ns: int
    """As it was in the request."""
    received_ticks: int
    sent_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The host asks for something; every command is acknowledged once."""

    command_id: int
    """Chosen by the host, 0–65535, echoed."""
    code: int
    """A `CommandCode`."""
    stream_id: int = WHOLE_DEVICE
    argument: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAck:
    """What became of a command."""

    command_id: int
    code: int
    result_code: int
    """A `CommandResult`; any other number is a failure too."""
    value: int = 0
    """What was really set, such as the rate in milli-hertz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownPacket:
    """A packet type that this version does not know: skipped and counted."""

    packet_type: int
    payload: bytes


Packet = (
    Hello
    | SamplesPacket
    | ReadingPacket
    | EventPacket
    | TimeRequest
    | TimeResponse
    | Command
    | CommandAck
    | UnknownPacket
)
