"""The signal chain's stages as the three laws see them."""

from __future__ import annotations

import itertools

import numpy as np

from edge.conditioning.filters import FilterChain, FilterSettings
from edge.conditioning.quality import SignalQuality
from edge.conditioning.reblock import Reblock
from edge.features.ecg_beats import EcgBeats
from tests.conformance.case import StageCase, block, ecg_like, joined_samples


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
    StageCase(name="EcgBeats", make=EcgBeats, stream=ecg_stream, hostile=hostile_stream),
]
