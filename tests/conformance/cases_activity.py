"""Activity, falls and the wrist's pulse rate before the three laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge.features.activity import ActivitySettings, ActivityStage, Placement
from edge.features.wrist_rate import WristRate
from edge.messages import Activity, ActivityLevel, Channel, ChannelKind, Gap, LinkChange, LinkState, SampleBlock, Tick
from edge.monitoring.falls import FallRule
from tests.conformance.case import StageCase, block, resplit_blocks

S = 1_000_000_000
LIGHT_CHANNELS = (Channel(name="BVP", kind=ChannelKind.PPG, unit="1"),)

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


def wrist_stream(rng: np.random.Generator) -> list[Any]:
    """Half a minute of light at 64 Hz and acceleration at 25 Hz, whose blocks end at other instants, with ticks."""
    n_light, n_motion = 30 * 64, 30 * 25
    angle = 2 * np.pi * rng.uniform(1.0, 2.0) * np.arange(n_light) / 64
    light = (np.sin(angle) + 0.3 * np.sin(2 * angle) + 0.2 * rng.standard_normal(n_light))[:, None]
    motion = movement(rng, n_motion, 25.0)
    items: list[Any] = []
    for second in range(30):
        a, b = second * 64, (second + 1) * 64
        items.append(
            _named(
                block(light[a:b].copy(), rate_hz=64.0, channels=LIGHT_CHANNELS, sequence=a, start_ns=second * S), "ppg"
            )
        )
        a, b = second * 25, (second + 1) * 25
        items.append(
            _named(
                block(motion[a:b].copy(), rate_hz=25.0, channels=ACC_CHANNELS, sequence=a, start_ns=second * S), "acc"
            )
        )
        items.append(Tick(at_ns=(second + 1) * S))
    return items


def _named(item: SampleBlock, stream: str) -> SampleBlock:
    return replace(item, stream=stream)


def resplit_between_ticks(items: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
    """Join the blocks of each stream between two ticks and cut them again."""
    out: list[Any] = []
    waiting: dict[str, list[SampleBlock]] = {}
    for item in items:
        if isinstance(item, SampleBlock):
            waiting.setdefault(item.stream, []).append(item)
            continue
        for blocks in waiting.values():
            out += resplit_blocks(blocks, sizes)
        waiting = {}
        out.append(item)
    return out


def hostile_wrist(rng: np.random.Generator) -> list[Any]:
    """Impossible light and motion in one stream or two, ticks and gaps at impossible instants."""
    out: list[Any] = []
    for rate_hz in (64.0, 25.0, 0.001, 1e9, 17.0):
        for value in (np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0, 1e8):
            n = 400
            light = rng.standard_normal((n, 1))
            light[rng.integers(0, n, 100)] = value
            start = int(rng.integers(-50, 50)) * 10**8
            good = block(
                light, rate_hz=rate_hz, channels=LIGHT_CHANNELS, sequence=int(rng.integers(-5, 500)), start_ns=start
            )
            both = np.hstack([light, movement(rng, n, 32.0)])
            out += [
                good,
                replace(good, channels=LIGHT_CHANNELS + ACC_CHANNELS, values=both),
                replace(good, channels=ACC_CHANNELS, values=np.full((n, 3), value)),
                replace(good, values=np.zeros((0, 1)), sequence=2**62),
                replace(good, start_ns=2**62, sequence=-(2**40), values=np.full((n, 1), value)),
                Gap(sensor="s", stream="ecg", start_ns=start, end_ns=-start, n_missing=None, reason="odd"),
                *(Tick(at_ns=start + k * S) for k in range(12)),
                Tick(at_ns=int(rng.choice([0, -1, 2**62, 10**18]))),
            ]
    return out


def fall_stream(rng: np.random.Generator) -> list[Any]:
    """Two minutes of somebody who walks, falls, lies still and gets up again."""
    items: list[Any] = []
    fall = 30 + int(rng.integers(0, 10))
    for second in range(1, 121):
        is_down = fall < second <= fall + 40
        items.append(
            Activity(
                sensor="s",
                stream="acc",
                at_ns=second * S,
                level=ActivityLevel.STILL if is_down else ActivityLevel.WALKING,
                intensity_mps2=0.05 if is_down else 2.0,
                impact_mps2=30.0 if second == fall else None,
            )
        )
        items.append(Tick(at_ns=second * S))
    return items


def hostile_fall(rng: np.random.Generator) -> list[Any]:
    """Seconds, ticks, gaps and links at impossible instants with impossible numbers, in a random order."""
    items: list[Any] = []
    for at_ns in (0, -1, 10**18, -(10**18), 2**63, *range(0, 40 * S, S)):
        for value in (np.nan, np.inf, -np.inf, 1e300, None):
            items += [
                Activity(
                    sensor="s",
                    stream="acc",
                    at_ns=at_ns,
                    level=list(ActivityLevel)[int(rng.integers(3))],
                    intensity_mps2=0.0 if value is None else value,
                    posture=str(rng.choice(["", "upright", "supine"])),
                    impact_mps2=value,
                ),
                Tick(at_ns=at_ns),
                Gap(sensor="s", stream="acc", start_ns=at_ns, end_ns=-at_ns, n_missing=-1, reason=""),
                LinkChange(sensor="s", state=list(LinkState)[int(rng.integers(5))], reason="", at_ns=at_ns),
            ]
    return [items[int(k)] for k in rng.permutation(len(items))]


CASES = [
    StageCase(
        name="ActivityStage",
        make=lambda: ActivityStage(ActivitySettings(placement=Placement.CHEST)),
        stream=acceleration_stream,
        hostile=hostile_acceleration,
    ),
    StageCase(
        name="WristRate", make=WristRate, stream=wrist_stream, hostile=hostile_wrist, resplit=resplit_between_ticks
    ),
    StageCase(name="FallRule", make=FallRule, stream=fall_stream, hostile=hostile_fall, resplit=None),
]
