"""Activity, falls and the wrist's pulse rate before the three laws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edge.features.activity import ActivitySettings, ActivityStage, Placement
from edge.messages import Channel, ChannelKind, SampleBlock
from tests.conformance.case import StageCase, block

ACC_CHANNELS = tuple(
    Channel(name=kind.value, kind=kind, unit="m/s2", minimum=-39.2, maximum=39.2)
    for kind in (ChannelKind.ACCELERATION_X, ChannelKind.ACCELERATION_Y, ChannelKind.ACCELERATION_Z)
)


def movement(rng: np.random.Generator, n_samples: int, rate_hz: float) -> np.ndarray:
    """Return m/s2 of somebody who rests, walks and drops, a third of the time each."""
    time_s = np.arange(n_samples) / rate_hz
    values = np.tile([0.0, 9.8, 0.0], (n_samples, 1)) + 0.02 * rng.standard_normal((n_samples, 3))
    is_walking = np.arange(n_samples) // max(1, n_samples // 3) == 1
    values[:, 1] += np.where(is_walking, 3.0 * np.sin(2 * np.pi * rng.uniform(1.4, 2.4) * time_s), 0.0)
    drop = n_samples * 5 // 6
    values[drop - int(0.3 * rate_hz) : drop] *= 0.3
    values[drop : drop + 2] *= 3.5
    return values


def acceleration_stream(rng: np.random.Generator) -> list[SampleBlock]:
    """Thirty seconds at 32 Hz, beginning off the grid of seconds."""
    values = movement(rng, 960, 32.0)
    values[rng.integers(0, 960, 20)] = np.inf  # not NaN: the laws compare inputs with ==
    return [block(values, rate_hz=32.0, channels=ACC_CHANNELS, sequence=45, start_ns=10**9)]


def hostile_acceleration(rng: np.random.Generator) -> list[Any]:
    """Impossible values, rates, units, times, empty and one-axis blocks."""
    out: list[Any] = []
    for rate_hz in (32.0, 31.25, 0.001, 1e9, 7.0):
        for value in (np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0):
            values = movement(rng, 200, 32.0)
            values[rng.integers(0, 200, 50), rng.integers(0, 3, 50)] = value
            good = block(values, rate_hz=rate_hz, channels=ACC_CHANNELS, sequence=int(rng.integers(-50, 50)))
            odd = tuple(replace(channel, unit="furlong", minimum=None, maximum=value) for channel in ACC_CHANNELS)
            out += [
                good,
                replace(good, values=np.full((200, 3), value), start_ns=-(10**18)),
                replace(good, values=np.zeros((0, 3)), sequence=2**60),
                replace(good, channels=odd, values=values.copy()),
                replace(good, channels=odd[:1], values=values[:, :1].copy()),
            ]
    return out


CASES = [
    StageCase(
        name="ActivityStage",
        make=lambda: ActivityStage(ActivitySettings(placement=Placement.CHEST)),
        stream=acceleration_stream,
        hostile=hostile_acceleration,
    ),
]
