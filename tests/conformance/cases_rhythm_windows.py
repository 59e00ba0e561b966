"""The windows of the rhythm model before the three laws."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from edge.features.rhythm_windows import RhythmWindows
from edge.messages import Beat, Quality, SampleBlock
from tests.conformance.case import ECG_CHANNEL, StageCase, block, ecg_like, resplit_blocks
from tests.conformance.cases_signal import SECOND, hostile_stream

S = 1_000_000_000
RATE_HZ = 125.0
NS_PER_SAMPLE = 8_000_000


def described(at_s: float, rr_ms: float | None, rng: np.random.Generator) -> Beat:
    return Beat(
        sensor="s",
        stream="ecg",
        at_ns=round(at_s * S),
        sequence=round(at_s * RATE_HZ),
        rr_ms=rr_ms,
        quality=float(rng.uniform(0.5, 1.0)),
        similarity=float(rng.uniform(0.5, 1.0)),
        width_ms=80.0,
        amplitude_mv=1.0,
        is_noise_suspect=bool(rng.random() < 0.1),
        channel=str(rng.choice(["II", "V1"])),
    )


def interleaved(blocks: list[SampleBlock], others: list[Beat | Quality]) -> list[Any]:
    """Each beat and verdict just before the block that reaches half a second behind it, as the detector gives them."""
    items: list[Any] = []
    waiting = list(others)
    for part in blocks:
        while waiting and waiting[0].at_ns + S // 2 <= part.end_ns:
            items.append(waiting.pop(0))
        items.append(part)
    return items


def stream(rng: np.random.Generator) -> list[Any]:
    """Eighty seconds of two leads with beats and verdicts."""
    values = ecg_like(rng, 10_000, RATE_HZ)
    values = np.hstack([values, -0.5 * values])
    cuts = range(0, len(values), 25)
    blocks = [
        block(
            values[k : k + 25].copy(),
            rate_hz=RATE_HZ,
            start_ns=k * NS_PER_SAMPLE,
            sequence=k,
            channels=(ECG_CHANNEL, SECOND),
        )
        for k in cuts
    ]
    peaks_s = 0.5 + np.cumsum(rng.uniform(0.6, 1.0, 95))
    others: list[Beat | Quality] = [
        described(at_s, 1000.0 * (at_s - before), rng) for before, at_s in itertools.pairwise(peaks_s)
    ]
    others += [
        Quality(
            sensor="s",
            stream="ecg",
            at_ns=second * S,
            index=float(rng.uniform(0.3, 1.0)),
            is_usable=True,
            reasons=(),
            channel="II",
        )
        for second in range(1, 80)
    ]
    return interleaved(blocks, sorted(others, key=lambda item: item.at_ns))


def hostile(rng: np.random.Generator) -> list[Any]:
    """Impossible samples, beats at any time with impossible figures, verdicts that are no number."""
    odd = [np.nan, np.inf, -np.inf, 1e300, -1.0, 0.0]
    items: list[Any] = [replace(item, rate_hz=RATE_HZ) for item in hostile_stream(rng)]
    long = rng.standard_normal((4000, 1)) * 10.0 ** rng.uniform(-20, 8, (4000, 1))
    items.append(block(long, rate_hz=RATE_HZ, start_ns=0, sequence=10**6))
    for _ in range(60):
        made = described(float(rng.uniform(-10, 40)), float(rng.choice(odd)), rng)
        figures = dict(zip(("quality", "similarity", "width_ms", "amplitude_mv"), rng.choice(odd, 4), strict=True))
        items.insert(int(rng.integers(len(items))), replace(made, **figures))
        at_ns = int(rng.integers(-(10**10), 4 * 10**10))
        items.insert(
            int(rng.integers(len(items))),
            Quality(
                sensor="s", stream="ecg", at_ns=at_ns, index=float(rng.choice(odd)), is_usable=False, reasons=("noise",)
            ),
        )
    return items


def resplit(items: list[Any], sizes: list[int]) -> list[Any]:
    blocks = resplit_blocks([item for item in items if isinstance(item, SampleBlock)], sizes)
    return interleaved(blocks, [item for item in items if not isinstance(item, SampleBlock)])


def canonical(outputs: list[Any]) -> list[Any]:
    return [
        (
            w.sequence,
            w.start_ns,
            w.quality,
            w.channel,
            w.values.tobytes(),
            w.beats,
            np.array([*w.features.values()]).tobytes(),
        )
        for w in outputs
    ]


CASES = [
    StageCase(
        name="RhythmWindows", make=RhythmWindows, stream=stream, hostile=hostile, resplit=resplit, canonical=canonical
    )
]
