"""The serial devices under the three laws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge.messages import Chunk
from tests.acquisition.devices.every_device import DEVICES, Device
from tests.acquisition.devices.hearing import plain
from tests.conformance.case import StageCase
from tests.conformance.cases_wire import resplit_chunks

FRAMES = 600


def link(device: Device) -> Callable[[np.random.Generator], list[Chunk]]:
    """Some seconds of a link with losses, broken bytes, noise and half frames; a tenth of a second in one chunk."""

    def stream(rng: np.random.Generator) -> list[Chunk]:
        n_per_chunk = round(device.rate_hz / 10)
        chunks = []
        for k, first in enumerate(range(0, FRAMES, n_per_chunk)):
            line = b"".join(device.frames(n_per_chunk, first))
            fate = rng.random()
            if fate < 0.05:
                line = b""
            elif fate < 0.1:
                line = line[: rng.integers(1, len(line))]
            elif fate < 0.15:
                line = rng.bytes(int(rng.integers(1, 40))) + line
            elif fate < 0.2:
                at = int(rng.integers(0, len(line)))
                line = line[:at] + bytes((line[at] ^ int(rng.integers(1, 256)),)) + line[at + 1 :]
            # Faster than any device, so that no way of cutting it makes a pause: a pause is a matter of time, not of
            # bytes, and has its own tests.
            chunks.append(Chunk(data=line, received_at_ns=(k + 1) * 1_000_000))
        return chunks

    return stream


def hostile(device: Device) -> Callable[[np.random.Generator], list[Chunk]]:
    """Noise, endless starts, frames with random insides, time going anywhere."""

    def stream(rng: np.random.Generator) -> list[Chunk]:
        data = [rng.bytes(int(rng.integers(0, 2000))) for _ in range(15)]
        data += [b"", bytes(500), b"\xff" * 500, b"$" * 700, b"\x01\x81" * 300, b"\x0a\xfa\x16\x00\x02" * 100]
        for k in range(100):
            frame = bytearray(device.frame(int(rng.integers(0, 10_000))))
            for _ in range(int(rng.integers(0, 4))):
                frame[int(rng.integers(0, len(frame)))] = int(rng.integers(0, 256))
            data.append(bytes(frame) * int(rng.integers(1, 30)) if k % 10 == 0 else bytes(frame))
        return [Chunk(data=each, received_at_ns=int(rng.integers(-(1 << 62), 1 << 62))) for each in data]

    return stream


CASES = [
    StageCase(
        name=device.name,
        make=device.make,
        stream=link(device),
        hostile=hostile(device),
        resplit=resplit_chunks,
        canonical=plain,
    )
    for device in DEVICES
]
