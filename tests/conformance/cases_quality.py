"""The signal quality of several leads as the three laws see it; one lead is among the cases of the signal chain."""

from __future__ import annotations

import itertools

import numpy as np

from edge.conditioning.quality import SignalQuality
from edge.messages import Channel, ChannelKind
from tests.conformance.case import StageCase, block, ecg_like

RATE = 360.0
LEADS = tuple(Channel(name=name, kind=ChannelKind.ECG, unit="mV", minimum=-5.0, maximum=5.0) for name in ("II", "V1"))


def leads_stream(rng: np.random.Generator) -> list:
    """Forty seconds of two leads from sample 100 on: a hole in one, a rail, a burst of noise, a large wave."""
    n = round(40 * RATE)
    values = np.hstack([ecg_like(rng, n, RATE), 0.5 * ecg_like(rng, n, RATE)])
    values[2000:2300, 0] = np.inf  # missing; NaN would not equal itself
    values[3000:4500, 1] = 5.0
    values[5000:8000] += 0.4 * rng.standard_normal((3000, 2))
    values[9000:12000] = np.sin(2 * np.pi * 4.0 * np.arange(3000) / RATE)[:, None]
    cuts = [0, 5, 3605, 3606, n]
    return [
        block(values[a:b].copy(), rate_hz=RATE, start_ns=round(a * 1e9 / RATE), sequence=100 + a, channels=LEADS)
        for a, b in itertools.pairwise(cuts)
    ]


def leads_hostile(rng: np.random.Generator) -> list:
    """Holes, infinities and sizes beyond any body in either lead, nothing at all, and the past."""
    n = 1000
    odd = [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e9, -1e9, 1e-300, 0.0]
    out, at = [], 0
    for _ in range(8):
        values = rng.choice(odd, (n, 2)) if rng.random() < 0.5 else 10.0 ** rng.uniform(-20, 20, (n, 2))
        out.append(block(values, rate_hz=RATE, start_ns=at, sequence=at, channels=LEADS))
        at += n + int(rng.integers(0, 2) * rng.integers(0, 1000))
    out.append(block(np.empty((0, 2)), rate_hz=RATE, channels=LEADS))
    out.append(block(rng.standard_normal((n, 2)), rate_hz=RATE, start_ns=-(10**18), sequence=3, channels=LEADS))
    return out


CASES = [
    StageCase(name="SignalQuality of two leads", make=SignalQuality, stream=leads_stream, hostile=leads_hostile),
]
