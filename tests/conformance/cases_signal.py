"""The signal chain's stages as the three laws see them."""

from __future__ import annotations

import itertools

import numpy as np

from edge.conditioning.filters import FilterChain, FilterSettings
from edge.conditioning.quality import SignalQuality
from edge.conditioning.reblock import Reblock
from edge.conditioning.resample import Resampler, ResampleSettings
from edge.features.ecg_beats import EcgBeats
from edge.features.vitals import VitalsStage
from edge.features.windows import Windows
from edge.messages import (
    Beat,
    Channel,
    ChannelKind,
    Gap,
    Quality,
    Reading,
    ReadingStatus,
    SampleBlock,
    SensorStatus,
    Tick,
)
from tests.conformance.case import ECG_CHANNEL, StageCase, block, ecg_like, joined_samples

SECOND = Channel(name="V1", kind=ChannelKind.ECG, unit="mV")


def ecg_stream(rng: np.random.Generator) -> list:
    """Thirty seconds in four blocks."""
    values = ecg_like(rng, 7500)
    cuts = [0, 100, 2600, 2601, 7500]
    return [block(values[a:b].copy(), start_ns=a * 4_000_000, sequence=a) for a, b in itertools.pairwise(cuts)]


def hostile_stream(rng: np.random.Generator) -> list:
    """Holes, infinities, numbers beyond any body, nothing at all, the past, and noise of every size."""
    n = 500
    holes = np.where(rng.random((n, 1)) < 0.3, np.nan, rng.standard_normal((n, 1)))
    infinite = np.where(rng.random((n, 1)) < 0.1, np.inf * rng.choice([-1, 1], (n, 1)), 0.0)
    huge = rng.choice([1e300, -1e300, 1e-300, 0.0], (n, 1))
    spread = rng.standard_normal((n, 1)) * 10.0 ** rng.uniform(-20, 20, (n, 1))
    bodies = [holes, infinite, huge, np.empty((0, 1)), np.full((n, 1), np.nan), spread, np.zeros((n, 1))]
    out, at = [], 0
    for k in rng.permutation(len(bodies)):
        out.append(block(bodies[k].copy(), start_ns=at * 4_000_000, sequence=at))
        at += len(bodies[k]) + int(rng.integers(0, 2) * rng.integers(0, 1000))
    out.append(block(rng.standard_normal((n, 1)), start_ns=-(10**18), sequence=3))
    out.append(block(rng.standard_normal((1, 1)), start_ns=2**63, sequence=2**62))
    return out


def two_lead_stream(rng: np.random.Generator) -> list:
    """The same seen by two leads, of which the second is flat for a while and noisy for another."""
    return [two_leads(item, rng, 0.0) for item in ecg_stream(rng)]


def two_lead_hostile(rng: np.random.Generator) -> list:
    """Impossible values in both leads at once, and in one alone."""
    return [two_leads(item, rng, np.nan) for item in hostile_stream(rng)]


def two_leads(item: SampleBlock, rng: np.random.Generator, dead: float) -> SampleBlock:
    other = -0.4 * item.values + 0.02 * rng.standard_normal(item.values.shape)
    other[len(other) // 3 : len(other) // 3 + 40] = dead
    other[len(other) // 2 : len(other) // 2 + 300] *= 8.0
    return block(
        np.hstack([item.values, other]), start_ns=item.start_ns, sequence=item.sequence, channels=(ECG_CHANNEL, SECOND)
    )


def vitals_stream(rng: np.random.Generator) -> list:
    """A minute of beats and verdicts with a reading, a hole and a tick every second."""
    items: list = [reading(97.0)]
    at_ns = 0
    for second in range(1, 61):
        while at_ns < second * 10**9:
            rr_ns = int(rng.integers(700_000_000, 900_000_000))
            at_ns += rr_ns
            items.append(beat(at_ns, rr_ns / 1e6))
        items += [verdict(second * 10**9, float(rng.uniform(0.4, 1.0))), Tick(at_ns=second * 10**9)]
    return items


def vitals_hostile(rng: np.random.Generator) -> list:
    """Impossible intervals and indices, readings without sense, and time that jumps both ways."""
    odd = [0.0, -5.0, np.nan, np.inf, -np.inf, 1e300, 1e-300, None]
    items: list = []
    for _ in range(200):
        at_ns = int(rng.choice([-(10**18), 0, 1, 10**9, 2**63]) + rng.integers(0, 10**10))
        value = odd[int(rng.integers(len(odd)))]
        items += [
            beat(at_ns, value),
            verdict(at_ns, float("nan") if value is None else value),
            reading(value),
            Gap(sensor="s", stream="ecg", start_ns=at_ns, end_ns=-at_ns, n_missing=None, reason="odd"),
            SensorStatus(sensor="s", stream=None, condition="lead-off", is_active=bool(rng.integers(2)), at_ns=at_ns),
            Tick(at_ns=at_ns),
        ]
    return [items[int(k)] for k in rng.permutation(len(items))]


def beat(at_ns: int, rr_ms: float | None) -> Beat:
    return Beat(sensor="s", stream="ecg", at_ns=at_ns, sequence=at_ns // 4_000_000, rr_ms=rr_ms, quality=1.0)


def verdict(at_ns: int, index: float) -> Quality:
    return Quality(sensor="s", stream="ecg", at_ns=at_ns, index=index, is_usable=index >= 0.5, reasons=())


def reading(value: float | None) -> Reading:
    return Reading(
        sensor="finger",
        measure="spo2_pct",
        value=value,
        unit="%",
        measured_at_ns=0,
        status=ReadingStatus.VALID,
        absent="no-finger" if value is None else None,
    )


CASES = [
    StageCase(
        name="Reblock",
        make=Reblock,
        stream=ecg_stream,
        hostile=hostile_stream,
        canonical=lambda outputs: [(o.sequence, o.start_ns, o.values.tobytes()) for o in outputs],
    ),
    StageCase(
        name="FilterChain",
        make=lambda: FilterChain(FilterSettings(mains_hz=50.0)),
        stream=ecg_stream,
        hostile=hostile_stream,
        canonical=joined_samples,
    ),
    StageCase(name="SignalQuality", make=SignalQuality, stream=ecg_stream, hostile=hostile_stream),
    StageCase(
        name="Resampler",
        make=lambda: Resampler(ResampleSettings(rate_hz=360.0)),
        stream=ecg_stream,
        hostile=hostile_stream,
        canonical=joined_samples,
    ),
    StageCase(
        name="Windows",
        make=Windows,
        stream=ecg_stream,
        hostile=hostile_stream,
        canonical=lambda outputs: [(o.sequence, o.start_ns, o.quality, o.values.tobytes()) for o in outputs],
    ),
    StageCase(name="VitalsStage", make=VitalsStage, stream=vitals_stream, hostile=vitals_hostile, resplit=None),
    StageCase(name="EcgBeats", make=EcgBeats, stream=ecg_stream, hostile=hostile_stream),
    StageCase(name="EcgBeats-2-leads", make=EcgBeats, stream=two_lead_stream, hostile=two_lead_hostile),
]
