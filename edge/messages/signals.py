"""What sensors and clocks say: the values from the wire to clean samples."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]
"""Physical sample values, shape (n_samples, n_channels), in the unit that each channel names; NaN is missing."""

# --- clock ------------------------------------------------------------------------------------------------


class ClockSync(StrEnum):
    """What keeps the wall clock right."""

    NTP = "ntp"
    HOLDOVER = "holdover"
    UNSYNCHRONISED = "unsynchronised"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """How far the wall clock can be trusted."""

    sync: ClockSync
    error_ms: float | None
    """Largest error the clock source admits; None where it does not say."""
    epoch: int
    """Goes up by one whenever the wall clock was stepped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time passed: everything measured before ``at_ns`` that will come in time has come.

    The pipeline sends one per whole second of its time line, so that rules about *absence* (asystole, silence,
    stale values) are decided at the same instants however the samples were chunked.
    """

    at_ns: int


# --- acquisition ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Bytes as the operating system handed them over; frames may be split anywhere."""

    data: bytes
    received_at_ns: int
    channel: str = ""
    """What of the peer it came from: the UUID of a GATT characteristic, 36 lower-case letters; empty for a byte
    stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """Bytes that a decoder wants written to the peer."""

    data: bytes
    channel: str = ""
    """UUID of the GATT characteristic to write; empty for a byte stream, or for the one that carries it."""


class LinkState(StrEnum):
    """What a sensor's link is doing."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    SILENT = "silent"
    """Connected, but no data for longer than ``max_silence_s``."""
    LOST = "lost"
    ASLEEP = "asleep"
    """A sensor that is switched on for each measurement, such as a cuff, is away: nothing is wrong."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChange:
    """A sensor's link went into another state."""

    sensor: str
    state: LinkState
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrupt:
    """Bytes that were dropped because they are no valid frame: the peer's fault, counted, never raised."""

    reason: str
    """A short stable word such as ``crc``, ``cobs``, ``length``; the key of the counter."""
    offset: int
    """Offset in the byte stream of the first byte dropped, counted from the start of the link."""
    n_bytes: int


class ChannelKind(StrEnum):
    """What a channel measures; decides which stages read it."""

    ECG = "ecg"
    PPG = "ppg"
    PPG_RED = "ppg_red"
    PPG_INFRARED = "ppg_infrared"
    RESPIRATION = "respiration"
    ACCELERATION_X = "acceleration_x"
    ACCELERATION_Y = "acceleration_y"
    ACCELERATION_Z = "acceleration_z"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One column of a block of samples."""

    name: str
    """As the device or the recording names it, such as ``II``, ``MLII``, ``PLETH``."""
    kind: ChannelKind
    unit: str
    """UCUM code of the values: ``mV``, ``1`` (arbitrary), ``m/s2`` …"""
    minimum: float | None = None
    """Smallest value the converter can give, in ``unit``; None where unknown.  Used to see saturation."""
    maximum: float | None = None
    """Largest value the converter can give, in ``unit``."""
    resolution: float | None = None
    """One step of the converter, in ``unit``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBlock:
    """Samples as the device sent them, timed by the device's own counters; `timeline` gives them host time."""

    sensor: str
    stream: str
    channels: tuple[Channel, ...]
    values: Samples
    nominal_rate_hz: float
    sequence: int
    """Counter of the first sample, unrolled: it never wraps and never goes back within one device boot."""
    device_time_ns: int
    """Device time of the first sample, unrolled, from the device's ticks."""
    received_at_ns: int
    is_backfill: bool = False
    """Stored by the device while the link was down: history, never alarmed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleBlock:
    """Consecutive samples of one stream in host time.

    Raises
    ------
    ValueError
        If `values` is not two-dimensional, its columns do not match `channels`, or the rate is not positive.
    """

    sensor: str
    stream: str
    channels: tuple[Channel, ...]
    values: Samples
    """Shape (n_samples, n_channels); read-only once inside a block."""
    rate_hz: float
    """Nominal rate, constant over the stream: what filters are designed for."""
    start_ns: int
    """Instant of the first sample on the true time line: intervals come from here, not from ``rate_hz`` alone."""
    sequence: int
    """Index of the first sample since the stream began, lost samples included."""
    is_backfill: bool = False

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.channels):
            raise ValueError(f"expected values of shape (n_samples, {len(self.channels)}), got {self.values.shape}")
        if not self.rate_hz > 0:
            raise ValueError(f"expected rate_hz > 0, got {self.rate_hz}")
        self.values.setflags(write=False)

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return int(self.values.shape[0])

    @property
    def end_ns(self) -> int:
        """Instant just after the last sample: where the next block starts if nothing is lost."""
        return self.start_ns + round(self.n_samples * 1_000_000_000 / self.rate_hz)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """One stream that a sensor says it can send."""

    name: str
    channels: tuple[Channel, ...]
    nominal_rate_hz: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorIdentity:
    """Who a sensor says it is; sent on connecting and again after a device reset."""

    sensor: str
    device_id: str
    model: str
    firmware: str
    boot_id: int
    """Changes when the device restarted: its counters and clock began again."""
    streams: tuple[StreamInfo, ...]
    at_ns: int


class ReadingStatus(StrEnum):
    """What the device itself says of its value."""

    VALID = "valid"
    QUESTIONABLE = "questionable"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value that the device computed itself: SpO2, temperature, cuff pressure …"""

    sensor: str
    measure: str
    """Name with unit, as in the contract: ``spo2_pct``, ``body_temperature_c`` …"""
    value: float | None
    unit: str
    """UCUM code."""
    measured_at_ns: int
    status: ReadingStatus
    absent: str | None = None
    """Why there is no value; None exactly when there is one."""
    valid_for_s: float = 15.0
    """After this age the value is stale: neither shown nor scored."""
    is_stored: bool = False
    """From the device's memory: history, never shown as current, scored or alarmed on."""
    device_time: str | None = None
    """The device's own wall clock at the measurement, ``2025-03-14T09:30:00``, in whatever zone the device was set
    to; None where it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RrIntervals:
    """Intervals between heart beats that the device found itself, as a heart-rate strap sends them."""

    sensor: str
    intervals_ms: tuple[float, ...]
    """Oldest first; the last one ended shortly before `received_at_ns`."""
    received_at_ns: int
    is_worn: bool | None = None
    """Whether the device feels the skin; None where it cannot tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorStatus:
    """A condition that the device reports of itself, such as a detached electrode."""

    sensor: str
    stream: str | None
    """The stream it concerns; None for the whole device."""
    condition: str
    """``lead-off``, ``battery-low``, ``saturated``, ``self-test-failed`` …"""
    is_active: bool
    at_ns: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A range of a stream that will never come, and why."""

    sensor: str
    stream: str
    start_ns: int
    end_ns: int
    n_missing: int | None
    """Number of samples lost; None where it cannot be known (device reset)."""
    reason: str
