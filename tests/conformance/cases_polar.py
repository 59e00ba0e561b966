"""The Polar decoder, its dialogue asked after every value, under the three laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge.acquisition.gatt.plan import assigned
from edge.acquisition.gatt.polar_control import CONTROL, DATA, response_bytes, settings_bytes, stopped_bytes
from edge.acquisition.gatt.polar_frames import MeasurementType, frame_bytes
from edge.acquisition.gatt.polar_pmd import PolarDecoder, PolarSettings
from edge.messages import Chunk, DeviceBlock
from tests.acquisition.gatt.polar_sensor import H10_OFFERS, SimulatedPolar, ecg_frame, heart_rate
from tests.conformance.case import StageCase

NS_PER_S = 1_000_000_000


class Asked:
    """A decoder that is asked what it wants to say after every value, as the supervision does."""

    def __init__(self) -> None:
        self._decoder = PolarDecoder(PolarSettings(sensor="chest"))
        self._decoder.greeting()

    def push(self, item: Chunk) -> list:
        out = self._decoder.push(item)
        self._decoder.requests(item.received_at_ns)
        return out

    def flush(self) -> list:
        return self._decoder.flush()

    def reset(self, reason: str) -> None:
        self._decoder.reset(reason)
        self._decoder.greeting()


def link(rng: np.random.Generator) -> list[Chunk]:
    """Half a minute of an H10: its answers, then ECG with losses, copies, damage and a clock that is set, and rates."""
    sensor = SimulatedPolar()
    acc = settings_bytes(H10_OFFERS[MeasurementType.ACC])
    ecg = settings_bytes(H10_OFFERS[MeasurementType.ECG])
    answers = [
        response_bytes(1, 0, parameters=ecg),
        response_bytes(2, 0),
        response_bytes(1, 2, parameters=acc),
        response_bytes(2, 2),
    ]
    chunks = [sensor.features(), *(Chunk(data=data, received_at_ns=0, channel=CONTROL) for data in answers)]
    rate_hz = float(rng.uniform(129, 131))
    for k in range(60):
        base_ns = 599_616_000 * NS_PER_S + (k > 40) * 100_000_000 * NS_PER_S
        frame = ecg_frame(k, rate_hz=rate_hz, base_ns=base_ns, delay_s=float(rng.uniform(0.01, 0.1)))
        fate = rng.random()
        if fate < 0.1:
            continue
        if fate < 0.2:
            chunks.append(frame)
        elif fate < 0.3:
            frame = replace(frame, data=frame.data[: rng.integers(len(frame.data))])
        chunks.append(frame)
        if k % 2:
            chunks.append(heart_rate(f"10 {60 + k % 9:02X} 00 04", frame.received_at_ns))
    return chunks


def hostile(rng: np.random.Generator) -> list[Chunk]:
    """Any bytes on any characteristic, sound frames with impossible stamps and times, answers nobody asked for."""
    channels = [CONTROL, DATA, assigned(0x2A37), assigned(0x2A19), assigned(0x2A24), assigned(0xFFFF), ""]
    chunks = [(rng.bytes(int(rng.integers(0, 300))), channels[rng.integers(len(channels))]) for _ in range(200)]
    chunks += [
        (sound, CONTROL) for sound in (response_bytes(2, 0), stopped_bytes((0, 2)), SimulatedPolar().features().data)
    ]
    for _ in range(100):
        counts = rng.integers(-(1 << 23), 1 << 23, size=(int(rng.integers(1, 80)), 1))
        chunks.append((frame_bytes(MeasurementType.ECG, int(rng.integers(0, 1 << 62)), counts), DATA))
    return [
        Chunk(data=data, received_at_ns=int(rng.integers(-(1 << 62), 1 << 62)), channel=channel)
        for data, channel in chunks
    ]


def comparable(items: list) -> list:
    return [
        (item.sequence, item.device_time_ns, item.values.tobytes()) if isinstance(item, DeviceBlock) else item
        for item in items
    ]


CASES = [
    StageCase(
        name="polar",
        make=Asked,
        stream=link,
        hostile=hostile,
        resplit=None,  # a notification is whole
        canonical=comparable,
    ),
]
