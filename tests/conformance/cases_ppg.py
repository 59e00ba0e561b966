"""The stages that read light as the three laws see them."""

from __future__ import annotations

import itertools

import numpy as np

from edge.features.pulse_beats import PulseBeats
from edge.messages import Channel, ChannelKind
from tests.conformance.case import StageCase, block

LIGHT = (
    Channel(name="red", kind=ChannelKind.PPG_RED, unit="1"),
    Channel(name="ir", kind=ChannelKind.PPG_INFRARED, unit="1"),
)


def light(rng: np.random.Generator, n_samples: int, rate_hz: float = 100.0) -> np.ndarray:
    """Return (n_samples, 2) counts: pulses about once a second on slow wander and a little noise."""
    time_s = np.arange(n_samples) / rate_hz
    pulse = np.zeros(n_samples)
    for foot_s in np.cumsum(rng.uniform(0.7, 1.0, size=int(n_samples / rate_hz * 1.5) + 1)):
        systole = np.where(time_s < foot_s + 0.15, 0.05, 0.15)
        pulse += np.exp(-0.5 * ((time_s - foot_s - 0.15) / systole) ** 2)
        pulse += 0.3 * np.exp(-0.5 * ((time_s - foot_s - 0.45) / 0.1) ** 2)
    wander = 0.002 * np.sin(2 * np.pi * 0.2 * time_s)
    infrared = 100_000.0 * (1.0 + 0.02 * pulse + wander) + 20.0 * rng.standard_normal(n_samples)
    red = 80_000.0 * (1.0 + 0.01 * pulse + wander) + 20.0 * rng.standard_normal(n_samples)
    return np.column_stack([red, infrared])


def light_stream(rng: np.random.Generator) -> list:
    """Thirty seconds in four blocks."""
    values = light(rng, 3000)
    cuts = [0, 37, 1000, 1001, 3000]
    return [
        block(values[a:b].copy(), rate_hz=100.0, start_ns=a * 10_000_000, sequence=a, channels=LIGHT)
        for a, b in itertools.pairwise(cuts)
    ]


def light_hostile(rng: np.random.Generator) -> list:
    """Holes, infinities, numbers beyond any converter, nothing at all, the past, and noise of every size."""
    n = 300
    bodies = [
        np.where(rng.random((n, 2)) < 0.3, np.nan, rng.standard_normal((n, 2))),
        np.where(rng.random((n, 2)) < 0.1, np.inf * rng.choice([-1, 1], (n, 2)), 0.0),
        rng.choice([1e300, -1e300, 1e-300, 0.0], (n, 2)),
        np.empty((0, 2)),
        np.full((n, 2), np.nan),
        rng.standard_normal((n, 2)) * 10.0 ** rng.uniform(-20, 20, (n, 2)),
        np.zeros((n, 2)),
        np.column_stack([np.full(n, np.nan), rng.standard_normal(n)]),
    ]
    out, at = [], 0
    for k in rng.permutation(len(bodies)):
        out.append(block(bodies[k].copy(), rate_hz=100.0, start_ns=at * 10_000_000, sequence=at, channels=LIGHT))
        at += len(bodies[k]) + int(rng.integers(0, 2) * rng.integers(0, 1000))
    for start_ns, sequence in ((-(10**18), 3), (2**63, 2**62)):
        body = rng.standard_normal((n, 2))
        out.append(block(body, rate_hz=100.0, start_ns=start_ns, sequence=sequence, channels=LIGHT))
    return out


CASES = [StageCase(name="PulseBeats", make=PulseBeats, stream=light_stream, hostile=light_hostile)]
