"""The stage of publishing in the three laws."""

from __future__ import annotations

import math

from edge.messages import Measurement, Vitals
from edge.publishing.readings import ReadingPolicy
from tests.conformance.case import StageCase

S = 10**9


def vitals(second, values):
    measurements = {
        name: Measurement(value=value, unit="/min", absent=None if value is not None else "lead-off")
        for name, value in values.items()
    }
    return Vitals(at_ns=int(second * S), measurements=measurements, coverage_pct=100.0, quality=1.0)


def stream(rng):
    walk = 70 + rng.normal(0, 2, size=120).cumsum()
    return [vitals(k, {"heart_rate_bpm": None if 40 < k < 50 else float(value)}) for k, value in enumerate(walk)]


def hostile(rng):
    odd = [math.nan, math.inf, -math.inf, 1e300, -1e300, 0.0, None]
    return [
        vitals(float(rng.integers(-100, 100)), {f"m{rng.integers(3)}": odd[rng.integers(len(odd))]}) for _ in range(200)
    ]


CASES = [StageCase(name="ReadingPolicy", make=ReadingPolicy, stream=stream, hostile=hostile, resplit=None)]
