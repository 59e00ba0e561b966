"""Every layout of a Polar frame reads as its maker's tests and a captured H10 say; damage is refused, never raised.

Vectors: polar-ble-sdk (unit tests of EcgData, AccData, PpgData, PpiData), h10_ecg (a captured notification), and our
own where noted.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.gatt.polar_frames import (
    EPOCH_2000_NS,
    UNSET_CLOCK_NS,
    MeasurementType,
    PulseInterval,
    PulseIntervals,
    Samples,
    UnknownFrame,
    decode_frame,
    frame_bytes,
    interval_frame_bytes,
)
from edge.acquisition.gatt.rejected import Rejected

TIME = "00 94 35 77 00 00 00 00"  # 2 s

# name: measurement, frame type, payload, samples
VECTORS = {
    "ECG type 0": ("00", "00", "02 80 FF 02 80 00", [[-32766], [32770]]),
    "ECG type 0, a real H10": ("00", "00", "7A 00 00 67 00 00 83 00 00 AC 00 00", [[122], [103], [131], [172]]),
    "ECG type 1": ("00", "01", "02 80 FF 80 02 00", [[2], [640]]),
    "ECG type 2": ("00", "02", "80 80 FC FF FF 03", [[32896], [262143]]),
    "ACC type 1": ("02", "01", "F7 FF FF FF E7 03 F8 FF FE FF E5 03", [[-9, -1, 999], [-8, -2, 997]]),
    "PPG type 0": ("01", "00", "01 02 03 04 05 06 FF FF 7F 00 00 00", [[197121, 394500, 8388607, 0]]),
    "PPG type 0, negative": ("01", "00", "FF FF FF 0F EF EF 00 00 80 0F EF EF", [[-1, -1052913, -8388608, -1052913]]),
    "ACC compressed type 1": ("02", "81", "F1 FF 14 00 F0 03 06 01 7B 0F 08", [[-15, 20, 1008], [-20, 17, 1008]]),
    "recorded flag in the type": ("C2", "01", "F7 FF FF FF E7 03", [[-9, -1, 999]]),
    # the first two samples of a real Verity Sense, its differences packed by hand; own
    "PPG compressed type 0": (
        "01",
        "80",
        "BB 1A F8 7D 9B F8 94 B9 F8 DF 20 F6  08 01 CB EA D5 E2",
        [[-517445, -484483, -476780, -646945], [-517498, -484505, -476823, -646975]],
    ),
    # own: width 0 repeats the sample, count 0 adds none
    "ACC compressed, still": ("02", "81", "01 00 02 00 03 00  00 02  08 00", [[1, 2, 3], [1, 2, 3], [1, 2, 3]]),
    "GYRO compressed": ("05", "80", "01 00 FF FF 00 80", [[1, -1, -32768]]),
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_samples_are_read_as_sent(vector):
    """Values, signs and the stamp of each layout."""
    measurement, frame_type, payload, expected = vector

    frame = decode_frame(bytes.fromhex(f"{measurement} {TIME} {frame_type} {payload}"))

    assert isinstance(frame, Samples)
    assert frame.counts.tolist() == expected
    assert frame.time_ns == 2_000_000_000
    assert frame.is_compressed == (int(frame_type, 16) >= 0x80)


def test_one_channel_of_differences_is_summed():
    """The smallest compressed example: 1000, then +1, -1, +7 in four bits each, least significant first.

    Acceleration has three channels, so each difference stands three times.
    """
    # per sample three equal nibbles: 1 1 1 | F F F | 7 7 7
    frame = decode_frame(bytes.fromhex(f"02 {TIME} 81 E8 03 E8 03 E8 03  04 03 11 F1 FF 77 07"))

    assert frame.counts[:, 0].tolist() == [1000, 1001, 1000, 1007]


def test_stamp_of_an_unset_clock_begins_in_2019():
    """The captured H10 was never set: its first stamp is 1 h 42 min 53.76 s after the beginning of 2019."""
    frame = decode_frame(bytes.fromhex("00 91 F7 70 AA 30 49 52 08 00 7A 00 00"))

    assert frame.time_ns == 599_622_173_760_485_265
    assert frame.time_ns - UNSET_CLOCK_NS == 6_173_760_485_265


def test_device_time_counts_from_2000():
    """The maker's example, 724060800 s, is 11 December 2022; its prose takes the day for the month."""
    at = datetime.fromtimestamp((EPOCH_2000_NS + 724_060_800 * 10**9) / 1e9, UTC)

    assert at == datetime(2022, 12, 11, 8, tzinfo=UTC)


def test_acceleration_in_g_is_what_the_maker_computes():
    """First sample of a real frame of type 0: times 2.44e-4 g, in mg, cut towards zero, gives 464, 6679, -7144."""
    frame = decode_frame(bytes.fromhex(f"02 {TIME} 80 71 07 F0 6A 9E 8D"))

    assert frame.counts.tolist() == [[1905, 27376, -29282]]
    assert np.trunc(frame.counts * np.float32(2.44e-4) * 1000).tolist() == [[464, 6679, -7144]]


def test_pulse_intervals_carry_their_doubts():
    """Rate, interval, error, and three flags: blocked, contact, whether contact means anything."""
    frame = decode_frame(bytes.fromhex(f"03 {TIME} 00 80 80 80 80 80 FF 00 01 00 01 00 00"))

    assert isinstance(frame, PulseIntervals)
    first, second = frame.intervals
    assert (first.pulse_rate_bpm, first.interval_ms, first.error_ms) == (128, 32896, 32896)
    assert (first.is_blocked, first.has_contact) == (True, True)
    assert (second.pulse_rate_bpm, second.interval_ms, second.error_ms) == (0, 1, 1)
    assert (second.is_blocked, second.has_contact) == (False, None)


REFUSED = {
    "empty": ("", "length"),
    "half a header": ("00 94 35 77 00", "length"),
    "no samples": (f"00 {TIME} 00", "length"),
    "half a sample": (f"00 {TIME} 00 01 02 03 04", "length"),
    "half an interval": (f"03 {TIME} 00 80 80 80 80 80", "length"),
    "no reference": (f"02 {TIME} 81 01 00 02 00 03", "length"),
    "width without count": (f"02 {TIME} 81 01 00 02 00 03 00 08", "length"),
    "count larger than the payload": (f"02 {TIME} 81 01 00 02 00 03 00 08 FF 01 01 01", "length"),
    "a byte too few": (f"02 {TIME} 81 01 00 02 00 03 00 08 02 01 01 01 01 01", "length"),
    "a byte too many": (f"02 {TIME} 81 01 00 02 00 03 00 08 01 01 01 01 01", "length"),
    "width of 33": (f"02 {TIME} 81 01 00 02 00 03 00 21 01 {'00 ' * 13}", "width"),
    "nothing, 255 times ten": (f"02 {TIME} 81 01 00 02 00 03 00 {'00 FF ' * 10}", "samples"),
    "beyond 16 bits": (f"02 {TIME} 81 FF 7F 00 00 00 00 08 01 01 00 00", "range"),
    "stamp after 2146": ("00 00 00 00 00 00 00 00 80 00 01 02 03", "time"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_damage_is_refused_with_its_reason(case):
    """Widths and counts are the sender's word: each is checked before it is believed."""
    data, reason = case

    assert decode_frame(bytes.fromhex(data)) == Rejected(reason)


@pytest.mark.parametrize("data", [f"0A {TIME} 00 01 02", f"00 {TIME} 80 01 02 03", f"00 {TIME} 03 {'00 ' * 7}"])
def test_newer_frames_are_told_from_damaged_ones(data):
    """Location, compressed ECG and ECG type 3 are unknown, not corrupt."""
    assert isinstance(decode_frame(bytes.fromhex(data)), UnknownFrame)


def counts_of(n_channels: int, n_bits: int):
    limit = 1 << (n_bits - 1)
    row = st.lists(st.integers(-limit, limit - 1), min_size=n_channels, max_size=n_channels)
    return st.lists(row, min_size=1, max_size=100).map(lambda rows: np.array(rows, dtype=np.int64))


LAYOUTS = [
    (MeasurementType.ECG, 0, False, 1, 24),
    (MeasurementType.ACC, 0, False, 3, 8),
    (MeasurementType.ACC, 1, False, 3, 16),
    (MeasurementType.ACC, 2, False, 3, 24),
    (MeasurementType.PPG, 0, False, 4, 24),
    (MeasurementType.ACC, 0, True, 3, 16),
    (MeasurementType.ACC, 1, True, 3, 16),
    (MeasurementType.PPG, 0, True, 4, 24),
    (MeasurementType.MAGNETOMETER, 0, True, 3, 16),
]


@given(st.data(), st.integers(0, 1 << 62))
def test_what_is_encoded_is_decoded(data, time_ns):
    """Both directions of every layout agree, at the largest differences too."""
    measurement, frame_type, is_compressed, n_channels, n_bits = data.draw(st.sampled_from(LAYOUTS))
    counts = data.draw(counts_of(n_channels, n_bits))

    line = frame_bytes(measurement, time_ns, counts, frame_type=frame_type, is_compressed=is_compressed)
    frame = decode_frame(line)

    assert (frame.measurement, frame.frame_type, frame.is_compressed) == (measurement, frame_type, is_compressed)
    assert frame.time_ns == time_ns
    assert np.array_equal(frame.counts, counts)


@given(
    st.lists(st.integers(-(1 << 15), (1 << 15) - 1), min_size=3, max_size=3),
    st.lists(st.tuples(st.integers(1, 16), st.lists(st.integers(-40, 40), max_size=10)), max_size=5),
)
def test_differences_of_any_width_are_read(reference, blocks):
    """Widths from 1 to 16 bits and counts from 0, packed here as one long number per block, not by our encoder."""
    payload = b"".join(value.to_bytes(2, "little", signed=True) for value in reference)
    rows = [reference]
    for width_bits, rests in blocks:
        half = 1 << (width_bits - 1)
        deltas = [[(rest + axis) % (2 * half) - half for axis in range(3)] for rest in rests]
        number = sum((value % (2 * half)) << (width_bits * k) for k, value in enumerate(chain(*deltas)))
        payload += bytes((width_bits, len(deltas))) + number.to_bytes(-(-width_bits * 3 * len(deltas) // 8), "little")
        for row in deltas:
            rows.append([value + delta for value, delta in zip(rows[-1], row, strict=True)])

    frame = decode_frame(bytes.fromhex(f"02 {TIME} 81") + payload)

    if max(map(max, rows)) < 1 << 15 and min(map(min, rows)) >= -(1 << 15):
        assert frame.counts.tolist() == rows
    else:
        assert frame == Rejected("range")


def test_intervals_are_encoded_as_decoded():
    """All states of the flags survive."""
    intervals = tuple(
        PulseInterval(pulse_rate_bpm=60, interval_ms=1000 + k, error_ms=k, is_blocked=is_blocked, has_contact=contact)
        for k, (is_blocked, contact) in enumerate([(False, None), (True, False), (False, True), (True, None)])
    )

    assert decode_frame(interval_frame_bytes(5, intervals)) == PulseIntervals(time_ns=5, intervals=intervals)


def test_compression_is_worth_it():
    """A wave of a few counts a sample takes less than half of the raw bytes."""
    wave = np.round(200 * np.sin(np.arange(60) / 9)).astype(np.int64)
    counts = np.stack([wave, -wave, 1000 + wave], axis=1)

    raw = frame_bytes(MeasurementType.ACC, 0, counts, frame_type=1)
    compressed = frame_bytes(MeasurementType.ACC, 0, counts, frame_type=1, is_compressed=True)

    assert len(compressed) < len(raw) * 0.55


@pytest.mark.parametrize("counts", [np.zeros((0, 1)), np.zeros((3, 2)), np.zeros(3), np.full((1, 1), 1 << 23)])
def test_what_does_not_fit_is_misuse(counts):
    """An encoder that cuts values would make a test pass that should fail."""
    with pytest.raises(ValueError, match="expected counts"):
        frame_bytes(MeasurementType.ECG, 0, counts.astype(np.int64))


def mutated(rng: np.random.Generator, lines: list[bytes]) -> bytes:
    """Return one of `lines`, damaged."""
    line = bytearray(lines[rng.integers(len(lines))])
    for _ in range(rng.integers(1, 4)):
        line[rng.integers(len(line))] = rng.integers(256)
    return bytes(line[: rng.integers(len(line) + 1)] if rng.random() < 0.3 else line)


def sound_lines() -> list[bytes]:
    lines = [bytes.fromhex(f"{number} {TIME} {kind} {payload}") for number, kind, payload, _ in VECTORS.values()]
    return [*lines, bytes.fromhex(f"03 {TIME} 00 80 80 80 80 80 FF 00 01 00 01 00 00")]


def assert_is_answer(data: bytes) -> None:
    frame = decode_frame(data)
    assert isinstance(frame, Samples | PulseIntervals | UnknownFrame | Rejected)
    if isinstance(frame, Samples):
        assert len(frame.counts) <= 2048
        assert np.abs(frame.counts).max() <= 1 << 23


def test_damaged_frames_never_raise():
    """Five thousand mutations and truncations."""
    rng = np.random.default_rng(1)
    lines = sound_lines()

    for _ in range(5000):
        assert_is_answer(mutated(rng, lines))


@given(
    st.binary(max_size=300), st.sampled_from([0x00, 0x01, 0x02, 0x03, 0x05, 0x06]), st.sampled_from([0, 1, 0x80, 0x81])
)
def test_any_payload_is_an_answer(payload, measurement, frame_type):
    """Whatever follows a sound header is samples, or refused."""
    assert_is_answer(bytes((measurement, *bytes(8), frame_type)) + payload)


@pytest.mark.long
def test_a_million_damaged_frames_never_raise():
    """The same as above, a million times."""
    rng = np.random.default_rng()
    lines = sound_lines()

    for _ in range(1_000_000):
        decode_frame(mutated(rng, lines))
