"""The delineation of the average beat before the three laws."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from edge.features.delineation import Delineation
from edge.messages import Beat, Quality, SampleBlock, Tick
from tests.conformance.case import StageCase, block, resplit_blocks
from tests.conformance.cases_signal import hostile_stream
from tests.features.average_beats import train, waves

S = 1_000_000_000
RATE_HZ = 250.0


def found_beat(at_s: float, rr_ms: float | None) -> Beat:
    return Beat(
        sensor="s",
        stream="ecg",
        at_ns=round(at_s * S),
        sequence=round(at_s * RATE_HZ),
        rr_ms=rr_ms,
        quality=0.9,
        similarity=0.99,
    )


def interleaved(blocks: list[SampleBlock], beats: list[Beat]) -> list[Any]:
    """Each beat after the block that lies half a second after it, each tick after the block that reaches it."""
    items: list[Any] = []
    waiting = list(beats)
    at_tick = S
    for part in blocks:
        items.append(part)
        while waiting and waiting[0].at_ns + S // 2 <= part.end_ns:
            items.append(waiting.pop(0))
        while at_tick <= part.end_ns:
            items.append(Tick(at_ns=at_tick))
            at_tick += S
    return items


def stream(rng: np.random.Generator) -> list[Any]:
    """Seventy seconds of beats with known waves."""
    peaks_s = 0.8 + np.cumsum(rng.uniform(0.8, 0.9, 80))
    values = train(waves(), peaks_s, 70, RATE_HZ, seed=int(rng.integers(1000)))[:, None]
    beats = [found_beat(at_s, 1000.0 * (at_s - before)) for before, at_s in itertools.pairwise(peaks_s)]
    cut = [block(values[k : k + 50].copy(), start_ns=k * 4_000_000, sequence=k) for k in range(0, len(values), 50)]
    return interleaved(cut, beats)


def resplit(items: list[Any], sizes: list[int]) -> list[Any]:
    blocks = resplit_blocks([item for item in items if isinstance(item, SampleBlock)], sizes)
    return interleaved(blocks, [item for item in items if isinstance(item, Beat)])


def hostile(rng: np.random.Generator) -> list[Any]:
    """Impossible samples, beats that point anywhere, verdicts and ticks at any time."""
    instants = (-(10**18), 0, 1, 10**9, 61 * S, 2**63)
    odd = (0.0, -5.0, float("nan"), float("inf"), 1e300, 1e-300, None)
    items: list[Any] = [*hostile_stream(rng), *stream(rng)[:200]]
    for _ in range(200):
        at_ns = int(rng.choice(instants[:5]) + rng.integers(0, 10**10))
        value = odd[int(rng.integers(len(odd)))]
        lead = ("II", None, "?")[int(rng.integers(3))]
        beat = replace(found_beat(0.0, value), at_ns=at_ns, sequence=int(rng.integers(-5, 2000)), channel=lead)
        quality = float("nan") if value is None else value
        items += [replace(beat, quality=quality, similarity=value), beat, Tick(at_ns=at_ns)]
        items.append(Quality(sensor="s", stream="ecg", at_ns=at_ns, index=quality, is_usable=False, reasons=()))
    items += [replace(part, rate_hz=rate) for part in hostile_stream(rng) for rate in (1e-300, 1.0, 1e12)]
    return [items[int(k)] for k in rng.permutation(len(items))]


CASES = [StageCase(name="Delineation", make=Delineation, stream=stream, hostile=hostile, resplit=resplit)]
