"""Framing, bridge decoder and timeline under the three laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge.acquisition.bridge import BridgeDecoder, BridgeSettings
from edge.acquisition.framing import FrameDecoder
from edge.acquisition.packets import (
    ChannelDescriptor,
    EventPacket,
    Hello,
    ReadingPacket,
    SamplesPacket,
    StreamDescriptor,
    pack_counts,
    packet_line,
)
from edge.conditioning.timeline import Timeline
from edge.messages import Channel, ChannelKind, Chunk, DeviceBlock, SampleBlock
from tests.conformance.case import StageCase, ecg_like

CHANNELS = tuple(
    ChannelDescriptor(name=name, kind_code=1, unit_code=1, resolution_bits=16, gain_numerator=1, gain_denominator=200)
    for name in ("I", "II")
)
HELLO = Hello(
    boot_id=1,
    tick_rate_hz=32768,
    ticks=0,
    device_id="VE-1",
    model="bedside",
    firmware="1.0.0",
    streams=(StreamDescriptor(stream_id=0, name="ecg", rate_mhz=250_000, channels=CHANNELS),),
)


def link(rng: np.random.Generator) -> list[Chunk]:
    """Ten seconds of a link with losses, repeats, noise and half frames; one chunk per packet.

    Every stream is a boot of its own: after a reset the same boot goes on counting, by PROTOCOL.md R9.
    """
    hello = replace(HELLO, boot_id=int(rng.integers(2, 1 << 32)))
    chunks = [packet_line(hello, sequence=0)]
    for k in range(1, 100):
        sequence, ticks = 25 * (k - 1), 25 * (k - 1) * 32768 // 250
        counts = rng.integers(-300, 300, size=(25, 2))
        packet = SamplesPacket(
            stream_id=0, sequence=sequence, ticks=ticks, n_channels=2, bytes_per_value=2, data=pack_counts(counts, 2)
        )
        line = packet_line(packet, sequence=k)
        fate = rng.random()
        if fate < 0.05:
            line = b""
        elif fate < 0.1:
            line += line
        elif fate < 0.15:
            line = line[: rng.integers(1, len(line))]
        elif fate < 0.2:
            line = rng.bytes(40) + line
        elif fate < 0.25:
            reading = ReadingPacket(ticks=ticks, measure_code=150456, mantissa=97)
            line = packet_line(reading, sequence=k) + packet_line(
                EventPacket(ticks=ticks, condition_code=1, is_active=True), sequence=k
            )
        chunks.append(line)
    return [Chunk(data=data, received_at_ns=k * 100_000_000) for k, data in enumerate(chunks)]


def resplit_chunks(items: list[Chunk], sizes: list[int]) -> list[Chunk]:
    """The same bytes cut elsewhere; each piece arrives with its last byte."""
    arrivals = [item.received_at_ns for item in items for _ in item.data]
    data = b"".join(item.data for item in items)
    out: list[Chunk] = []
    at = k = 0
    while at < len(data):
        piece = data[at : at + sizes[k % len(sizes)]]
        at += len(piece)
        k += 1
        out.append(Chunk(data=piece, received_at_ns=arrivals[at - 1]))
    return out


def hostile_bytes(rng: np.random.Generator) -> list[Chunk]:
    """Noise, zeros, endless garbage, valid frames of random type and payload, time going backwards."""
    chunks = [rng.bytes(int(rng.integers(0, 3000))) for _ in range(20)]
    chunks += [b"", b"\x00" * 50, b"\x01" * 5000]
    chunks += [bytes(rng.integers(0, 3, size=500, dtype=np.uint8)) for _ in range(5)]
    chunks.append(packet_line(HELLO, sequence=3))
    for _ in range(200):
        packet = SamplesPacket(
            stream_id=0,
            sequence=int(rng.integers(0, 1 << 32)),
            ticks=int(rng.integers(0, 1 << 32)),
            n_channels=2,
            bytes_per_value=3,
            data=rng.bytes(12),
            is_backfill=bool(rng.integers(0, 2)),
        )
        chunks.append(packet_line(packet, sequence=int(rng.integers(0, 1 << 16))))
    return [Chunk(data=data, received_at_ns=int(rng.integers(-(1 << 62), 1 << 62))) for data in chunks]


def without_arrival(items: list) -> list:
    """Frames without the one field that the cut may change."""
    return [replace(item, received_at_ns=0) if hasattr(item, "received_at_ns") else item for item in items]


def without_times(items: list) -> list:
    """Bridge items without arrival times, blocks by their bytes."""
    out = []
    for item in items:
        if isinstance(item, DeviceBlock):
            out.append((item.stream, item.sequence, item.device_time_ns, item.is_backfill, item.values.tobytes()))
        else:
            out.append((type(item).__name__, getattr(item, "reason", None), getattr(item, "offset", None)))
    return out


CHANNEL = Channel(name="II", kind=ChannelKind.ECG, unit="mV")


def device_block(values: np.ndarray, *, sequence: int, device_ns: int, received_ns: int, rate_hz: float = 250.0):
    return DeviceBlock(
        sensor="s",
        stream="ecg",
        channels=(CHANNEL,),
        values=values,
        nominal_rate_hz=rate_hz,
        sequence=sequence,
        device_time_ns=device_ns,
        received_at_ns=received_ns,
    )


def jittered_blocks(rng: np.random.Generator) -> list[DeviceBlock]:
    """A minute with jitter, drift, a loss and a device that restarts."""
    values = ecg_like(rng, 15_000)
    out = []
    for k in range(600):
        if 100 <= k < 105:
            continue
        restarted = 300 if k >= 300 else 0
        at_ns = (k - restarted) * 100_000_000
        arrival_ns = round((k + 1) * 100_100_000 + rng.uniform(0, 50e6))
        chunk = values[25 * k : 25 * k + 25].copy()
        out.append(device_block(chunk, sequence=25 * (k - restarted), device_ns=at_ns, received_ns=arrival_ns))
    return out


def hostile_blocks(rng: np.random.Generator) -> list[DeviceBlock]:
    """Counters that jump anywhere, rates that are none, values that are no numbers, columns that are no channels."""
    out = []
    for _ in range(300):
        n_samples = int(rng.integers(0, 5))
        values = rng.choice([np.nan, np.inf, -np.inf, 1e300, 0.0], size=(n_samples, int(rng.integers(1, 3))))
        sequence, device_ns, received_ns = (int(rng.integers(-(1 << 62), 1 << 62)) for _ in range(3))
        rate_hz = float(rng.choice([0.0, -1.0, np.nan, np.inf, 1e-300, 1e300, 250.0, 250.0, 250.0]))
        near = bool(rng.integers(0, 2))
        out.append(
            device_block(
                values,
                sequence=sequence >> 58 if near else sequence,
                device_ns=device_ns >> 32 if near else device_ns,
                received_ns=received_ns,
                rate_hz=rate_hz,
            )
        )
    return out


def placed(items: list) -> list:
    return [
        (item.sequence, item.start_ns, item.values.tobytes()) if isinstance(item, SampleBlock) else item
        for item in items
    ]


CASES = [
    StageCase(
        name="framing",
        make=FrameDecoder,
        stream=link,
        hostile=hostile_bytes,
        resplit=resplit_chunks,
        canonical=without_arrival,
    ),
    StageCase(
        name="bridge",
        make=lambda: BridgeDecoder(BridgeSettings(sensor="bed")),
        stream=link,
        hostile=hostile_bytes,
        resplit=resplit_chunks,
        canonical=without_times,
    ),
    StageCase(
        name="timeline",
        make=Timeline,
        stream=jittered_blocks,
        hostile=hostile_blocks,
        resplit=None,
        canonical=placed,
    ),
]
