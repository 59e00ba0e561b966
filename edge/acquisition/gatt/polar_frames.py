"""One notification of Polar's measurement data in, whole numbers out, and back again.

Pure.  Used by `polar_pmd` for every value of `DATA`, and by simulated sensors through `frame_bytes`::

    frame = decode_frame(chunk.data)                 # Samples, PulseIntervals, or Rejected with the reason

Every value is ``[measurement][time of the last sample: u64, ns][frame type, bit 7 = compressed][payload]``, all little
endian.  A compressed payload is a reference sample and blocks of differences, each block with its own width in bits
and its own count; both are the sender's word and are checked before they are believed.

Source: layouts and vectors of Polar's SDK (polar-ble-sdk, ``EcgData``, ``AccData``, ``PpgData``, ``PpiData`` and their
tests) and of a captured H10; see ``tests/acquisition/gatt/test_polar_frames.py``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from edge.acquisition.gatt.rejected import Rejected

Counts = NDArray[np.int64]
"""Whole numbers as sent, shape (n_samples, n_channels)."""

_HEADER = struct.Struct("<BQB")
_INTERVAL = struct.Struct("<BHHB")
_COMPRESSED = 0x80
_TYPE_MASK = 0x3F  # the two upper bits of the measurement tell online from offline recording
_MAX_TIME_NS = 1 << 62  # 146 years after 2000; a larger stamp is damage
_MAX_WIDTH_BITS = 32
_MAX_SAMPLES = 2048  # ten seconds of the fastest stream; differences of width 0 would let 512 bytes claim 65 000
_BLOCK = 30  # differences that `frame_bytes` puts under one width

EPOCH_2000_NS = 946_684_800 * 1_000_000_000
"""The device's time begins at 2000-01-01; add this for the epoch of 1970."""
UNSET_CLOCK_NS = 599_616_000 * 1_000_000_000
"""Where the clock of an H10 begins that nobody has set: 2019-01-01."""


class MeasurementType(IntEnum):
    """What a Polar sensor can measure; the numbers of the protocol."""

    ECG = 0
    PPG = 1
    ACC = 2
    PPI = 3
    GYRO = 5
    MAGNETOMETER = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """One frame of a sampled stream."""

    measurement: MeasurementType
    time_ns: int
    """Device time of the last sample, since 2000-01-01."""
    frame_type: int
    is_compressed: bool
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseInterval:
    """One pulse-to-pulse interval of an optical sensor."""

    pulse_rate_bpm: int
    """0 where the device has none."""
    interval_ms: int
    error_ms: int
    """The device's own estimate of how wrong `interval_ms` is."""
    is_blocked: bool
    """The wearer moved: the interval means nothing."""
    has_contact: bool | None
    """Whether the device believes it touches skin; None where it cannot tell.  Not to be relied on: optical sensors
    report contact lying on a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseIntervals:
    """One frame of pulse-to-pulse intervals, oldest first."""

    time_ns: int
    intervals: tuple[PulseInterval, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownFrame:
    """A frame whose measurement or frame type is newer than we are."""

    measurement: int
    frame_type: int
    """With bit 7, as sent."""


Frame = Samples | PulseIntervals | UnknownFrame | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How the samples of one frame type lie in the payload."""

    n_channels: int
    n_bytes: int
    """Of one channel, or of one channel of the reference sample."""
    unsigned_mask: int = 0
    """Bits of the value where the rest of the field holds flags; 0 for a signed value that fills its field."""


_RAW = {
    (MeasurementType.ECG, 0): _Layout(n_channels=1, n_bytes=3),
    (MeasurementType.ECG, 1): _Layout(n_channels=1, n_bytes=3, unsigned_mask=0x3FFF),
    (MeasurementType.ECG, 2): _Layout(n_channels=1, n_bytes=3, unsigned_mask=0x3FFFF),
    (MeasurementType.ACC, 0): _Layout(n_channels=3, n_bytes=1),
    (MeasurementType.ACC, 1): _Layout(n_channels=3, n_bytes=2),
    (MeasurementType.ACC, 2): _Layout(n_channels=3, n_bytes=3),
    (MeasurementType.PPG, 0): _Layout(n_channels=4, n_bytes=3),
    (MeasurementType.GYRO, 0): _Layout(n_channels=3, n_bytes=2),
    (MeasurementType.MAGNETOMETER, 0): _Layout(n_channels=3, n_bytes=2),
}
_COMPRESSED_LAYOUTS = {
    (MeasurementType.ACC, 0): _Layout(n_channels=3, n_bytes=2),
    (MeasurementType.ACC, 1): _Layout(n_channels=3, n_bytes=2),
    (MeasurementType.PPG, 0): _Layout(n_channels=4, n_bytes=3),
    (MeasurementType.GYRO, 0): _Layout(n_channels=3, n_bytes=2),
    (MeasurementType.MAGNETOMETER, 0): _Layout(n_channels=3, n_bytes=2),
}


def decode_frame(data: bytes) -> Frame:
    """Return what one notification says; never raises.

    Reasons of `Rejected`: ``length`` (too short, or not a whole number of samples or blocks), ``width`` (differences
    of more than 32 bits), ``samples`` (more than any frame holds), ``range`` (a value that its field cannot hold),
    ``time``.

    Examples
    --------
    >>> frame = decode_frame(bytes.fromhex("00 0094357700000000 00 0280ff 028000"))
    >>> frame.time_ns, frame.counts.ravel().tolist()
    (2000000000, [-32766, 32770])
    """
    if len(data) < _HEADER.size:
        return Rejected("length")
    number, time_ns, frame_type = _HEADER.unpack_from(data)
    number &= _TYPE_MASK
    if time_ns > _MAX_TIME_NS:
        return Rejected("time")
    payload = data[_HEADER.size :]
    if number == MeasurementType.PPI and frame_type == 0:
        return _intervals(payload, time_ns)
    is_compressed = bool(frame_type & _COMPRESSED)
    layouts = _COMPRESSED_LAYOUTS if is_compressed else _RAW
    layout = layouts.get((number, frame_type & ~_COMPRESSED))
    if layout is None:
        return UnknownFrame(measurement=number, frame_type=frame_type)
    counts = _decompress(payload, layout) if is_compressed else _raw(payload, layout)
    if isinstance(counts, Rejected):
        return counts
    return Samples(
        measurement=MeasurementType(number),
        time_ns=time_ns,
        frame_type=frame_type & ~_COMPRESSED,
        is_compressed=is_compressed,
        counts=counts,
    )


def _intervals(payload: bytes, time_ns: int) -> PulseIntervals | Rejected:
    if not payload or len(payload) % _INTERVAL.size:
        return Rejected("length")
    return PulseIntervals(
        time_ns=time_ns,
        intervals=tuple(
            PulseInterval(
                pulse_rate_bpm=rate_bpm,
                interval_ms=interval_ms,
                error_ms=error_ms,
                is_blocked=bool(flags & 1),
                has_contact=bool(flags & 2) if flags & 4 else None,
            )
            for rate_bpm, interval_ms, error_ms, flags in _INTERVAL.iter_unpack(payload)
        ),
    )


def _raw(payload: bytes, layout: _Layout) -> Counts | Rejected:
    if not payload or len(payload) % (layout.n_bytes * layout.n_channels):
        return Rejected("length")
    counts = _little_endian(payload, layout.n_bytes)
    if layout.unsigned_mask:
        counts &= layout.unsigned_mask
    return counts.reshape(-1, layout.n_channels)


def _little_endian(data: bytes, n_bytes: int) -> Counts:
    """Return signed numbers of `n_bytes` each."""
    table = np.frombuffer(data, dtype=np.uint8).reshape(-1, n_bytes).astype(np.int64)
    return _signed(table @ (1 << 8 * np.arange(n_bytes)), 8 * n_bytes)


def _signed(numbers: Counts, n_bits: int) -> Counts:
    half = 1 << (n_bits - 1)
    return (numbers ^ half) - half


def _decompress(payload: bytes, layout: _Layout) -> Counts | Rejected:
    at = layout.n_bytes * layout.n_channels
    if len(payload) < at:
        return Rejected("length")
    blocks = _blocks(payload, at, layout.n_channels)
    if isinstance(blocks, Rejected):
        return blocks
    parts = [_little_endian(payload[:at], layout.n_bytes), *(_differences(*block) for block in blocks)]
    counts = np.cumsum(np.concatenate(parts).reshape(-1, layout.n_channels), axis=0)
    limit = 1 << (8 * layout.n_bytes - 1)
    if counts.min() < -limit or counts.max() >= limit:
        return Rejected("range")
    return counts


def _blocks(payload: bytes, at: int, n_channels: int) -> list[tuple[bytes, int, int]] | Rejected:
    """Return the blocks of differences from `at` on: packed bits, width, number of values."""
    blocks = []
    n_samples = 1
    while at < len(payload):
        if len(payload) - at < 2:
            return Rejected("length")
        width_bits, count = payload[at], payload[at + 1]
        if width_bits > _MAX_WIDTH_BITS:
            return Rejected("width")
        n_samples += count
        if n_samples > _MAX_SAMPLES:
            return Rejected("samples")
        start = at + 2
        at = start - (-width_bits * count * n_channels // 8)
        if at > len(payload):
            return Rejected("length")
        blocks.append((payload[start:at], width_bits, count * n_channels))
    return blocks


def _differences(packed: bytes, width_bits: int, n_values: int) -> Counts:
    if not width_bits:
        return np.zeros(n_values, dtype=np.int64)
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), bitorder="little", count=n_values * width_bits)
    return _signed(bits.reshape(n_values, width_bits).astype(np.int64) @ (1 << np.arange(width_bits)), width_bits)


# --- the other direction ------------------------------------------------------------------------------------


def frame_bytes(
    measurement: MeasurementType, time_ns: int, counts: Counts, *, frame_type: int = 0, is_compressed: bool = False
) -> bytes:
    """Return the notification that a sensor sends for `counts`, shape (n_samples, n_channels).

    Raises
    ------
    ValueError
        If there is no such frame type, or `counts` has another shape or does not fit its field.
    """
    layout = (_COMPRESSED_LAYOUTS if is_compressed else _RAW).get((measurement, frame_type))
    if layout is None:
        raise ValueError(f"no frame type {frame_type} of {measurement.name} with is_compressed={is_compressed}")
    if counts.ndim != 2 or counts.shape[1] != layout.n_channels or not len(counts):
        raise ValueError(f"expected counts of shape (n_samples, {layout.n_channels}), got {counts.shape}")
    limit = 1 << (8 * layout.n_bytes - 1)
    low, high = (0, layout.unsigned_mask) if layout.unsigned_mask else (-limit, limit - 1)
    if counts.min() < low or counts.max() > high:
        raise ValueError(f"expected counts within {low} and {high}, got {counts.min()} to {counts.max()}")
    payload = _compress(counts, layout) if is_compressed else _bytes_of(counts, layout.n_bytes)
    return _HEADER.pack(measurement, time_ns, frame_type | _COMPRESSED * is_compressed) + payload


def interval_frame_bytes(time_ns: int, intervals: tuple[PulseInterval, ...]) -> bytes:
    """Return the notification that an optical sensor sends for `intervals`."""
    payload = b"".join(
        _INTERVAL.pack(
            each.pulse_rate_bpm,
            each.interval_ms,
            each.error_ms,
            each.is_blocked | bool(each.has_contact) << 1 | (each.has_contact is not None) << 2,
        )
        for each in intervals
    )
    return _HEADER.pack(MeasurementType.PPI, time_ns, 0) + payload


def _bytes_of(counts: Counts, n_bytes: int) -> bytes:
    values = np.ascontiguousarray(counts, dtype="<i8").reshape(-1, 1)
    return values.view(np.uint8)[:, :n_bytes].tobytes()


def _compress(counts: Counts, layout: _Layout) -> bytes:
    out = _bytes_of(counts[:1], layout.n_bytes)
    differences = counts[1:] - counts[:-1]
    for start in range(0, len(differences), _BLOCK):
        part = differences[start : start + _BLOCK].reshape(-1, 1)
        furthest = max(int(part.max()), -1 - int(part.min()))  # 3 and -4 need the same number of bits
        width_bits = furthest.bit_length() + 1
        bits = np.bitwise_and(np.right_shift(part, np.arange(width_bits)), 1)
        count = len(part) // layout.n_channels
        out += bytes((width_bits, count)) + np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()
    return out
