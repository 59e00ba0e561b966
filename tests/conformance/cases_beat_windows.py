"""The windows of the beat model before the three laws: resampled blocks with the beats that a detector would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge.features.beat_windows import BeatWindows
from edge.messages import Beat, SampleBlock, Window
from tests.conformance.case import ECG_CHANNEL, StageCase, block, ecg_like
from tests.conformance.cases_signal import SECOND, hostile_stream

RATE_HZ = 125.0
KNOWN_AFTER = 75
"""Samples after which the detector gives a beat: 0.6 s."""


def beats_of(values: np.ndarray) -> list[Beat]:
    """The largest samples of each neighbourhood, as beats of the stream; every seventh was found late."""
    peaks = [
        at
        for at in range(40, len(values) - 40)
        if values[at, 0] > 0.5 and values[at, 0] == values[at - 30 : at + 31, 0].max()
    ]
    times = [round(at * 1e9 / RATE_HZ) for at in peaks]
    return [
        Beat(
            sensor="s",
            stream="ecg",
            at_ns=at_ns,
            sequence=at,
            rr_ms=None if k == 0 else (at_ns - times[k - 1]) / 1e6,
            quality=0.9,
            width_ms=80.0 + k % 5,
            similarity=None if k < 8 else 0.97,
            channel=ECG_CHANNEL.name,
            is_late=k % 7 == 6,
        )
        for k, (at, at_ns) in enumerate(zip(peaks, times, strict=True))
    ]


def merged(blocks: Sequence[SampleBlock], beats: Sequence[Beat]) -> list[Any]:
    """Each beat before the block that holds the sample at which it becomes known, as `EcgChain` gives them."""
    out: list[Any] = []
    waiting = list(beats)
    for item in blocks:
        while waiting and waiting[0].sequence + KNOWN_AFTER < item.sequence + item.n_samples:
            out.append(waiting.pop(0))
        out.append(item)
    return out + waiting


def beat_stream(rng: np.random.Generator) -> list[Any]:
    """Forty seconds in two leads with a pause in the middle."""
    first = ecg_like(rng, 5000, RATE_HZ)
    first[2400:2800] = 0.01 * rng.standard_normal((400, 1))
    values = np.hstack([first, -0.5 * first + 0.01 * rng.standard_normal(first.shape)])
    whole = block(values, rate_hz=RATE_HZ, channels=(ECG_CHANNEL, SECOND))
    return merged([whole], beats_of(values))


def resplit(items: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
    """The same samples in other blocks, each beat where it becomes known."""
    whole = next(item for item in items if isinstance(item, SampleBlock))
    blocks, at, k = [], 0, 0
    while at < whole.n_samples:
        n = min(sizes[k % len(sizes)], whole.n_samples - at)
        values = whole.values[at : at + n].copy()
        blocks.append(replace(whole, values=values, start_ns=round(at * 1e9 / RATE_HZ), sequence=at))
        at, k = at + n, k + 1
    return merged(blocks, [item for item in items if isinstance(item, Beat)])


def hostile(rng: np.random.Generator) -> list[Any]:
    """Impossible samples among beats at impossible instants with impossible numbers."""
    odd = [None, 0.0, -5.0, np.nan, np.inf, -np.inf, 1e300, 1e-300, 800.0]
    out: list[Any] = []
    for item in hostile_stream(rng):
        out.append(replace(item, rate_hz=RATE_HZ, start_ns=2 * item.start_ns))
        for _ in range(20):
            at_ns = 2 * item.start_ns + int(rng.integers(-(10**10), 10**10)) if rng.random() < 0.8 else 2**63
            pick = [odd[int(rng.integers(len(odd)))] for _ in range(4)]
            out.append(
                Beat(
                    sensor="s",
                    stream="ecg",
                    at_ns=at_ns,
                    sequence=0,
                    rr_ms=pick[0],
                    quality=np.nan if pick[1] is None else pick[1],
                    width_ms=pick[2],
                    similarity=pick[3],
                    channel="nowhere",
                )
            )
    return out


def canonical(outputs: Sequence[Window]) -> list[Any]:
    return [
        (o.sequence, o.start_ns, o.beats, o.channel, o.values.tobytes(), np.array(list(o.features.values())).tobytes())
        for o in outputs
    ]


CASES = [
    StageCase(
        name="BeatWindows", make=BeatWindows, stream=beat_stream, hostile=hostile, resplit=resplit, canonical=canonical
    )
]
