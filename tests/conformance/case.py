"""How a stage enters the three laws: it describes itself as a `StageCase` in a file ``cases_*.py`` beside this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge.messages import Channel, ChannelKind, SampleBlock

ECG_CHANNEL = Channel(name="II", kind=ChannelKind.ECG, unit="mV")


def ecg_like(rng: np.random.Generator, n_samples: int, rate_hz: float = 250.0) -> np.ndarray:
    """Return (n_samples, 1) mV: narrow spikes about once a second on slow wander and a little noise."""
    time_s = np.arange(n_samples) / rate_hz
    wave = 0.1 * np.sin(2 * np.pi * 0.3 * time_s) + 0.01 * rng.standard_normal(n_samples)
    beat_s = np.cumsum(rng.uniform(0.7, 1.0, size=max(1, int(n_samples / rate_hz * 1.5))))
    for at_s in beat_s[beat_s < time_s[-1]]:
        wave += 1.0 * np.exp(-0.5 * ((time_s - at_s) / 0.012) ** 2)
        wave += 0.25 * np.exp(-0.5 * ((time_s - at_s - 0.28) / 0.05) ** 2)
    return wave[:, None]


def block(
    values: np.ndarray,
    *,
    rate_hz: float = 250.0,
    start_ns: int = 0,
    sequence: int = 0,
    channels: tuple[Channel, ...] = (ECG_CHANNEL,),
) -> SampleBlock:
    return SampleBlock(
        sensor="s",
        stream="ecg",
        channels=channels,
        values=values,
        rate_hz=rate_hz,
        start_ns=start_ns,
        sequence=sequence,
    )


def resplit_blocks(items: Sequence[Any], sizes: Sequence[int]) -> list[SampleBlock]:
    """Join consecutive `SampleBlock`s of one stream and cut them again into `sizes` (repeated as needed)."""
    whole = np.concatenate([item.values for item in items])
    first = items[0]
    out: list[SampleBlock] = []
    at = k = 0
    while at < len(whole):
        size = sizes[k % len(sizes)]
        k += 1
        out.append(
            replace(
                first,
                values=whole[at : at + size].copy(),
                start_ns=first.start_ns + round(at * 1e9 / first.rate_hz),
                sequence=first.sequence + at,
            )
        )
        at += size
    return out


def joined_samples(outputs: Sequence[Any]) -> list[Any]:
    """Canonical form of block outputs: all values end to end (bytes), so that block borders do not matter."""
    blocks = [item for item in outputs if isinstance(item, SampleBlock) and item.n_samples]
    if not blocks:
        return []
    values = np.concatenate([item.values for item in blocks])
    return [blocks[0].sequence, blocks[0].start_ns, blocks[0].rate_hz, values.tobytes()]


@dataclass(frozen=True, kw_only=True)
class StageCase:
    """One stage as the laws see it."""

    name: str
    make: Callable[[], Any]
    """A fresh stage."""
    stream: Callable[[np.random.Generator], list[Any]]
    """A valid input stream, long enough that the stage has something to say."""
    hostile: Callable[[np.random.Generator], list[Any]]
    """Inputs of the right type with impossible content: NaN, infinities, 1e300, empty, backwards in time."""
    resplit: Callable[[Sequence[Any], Sequence[int]], list[Any]] | None = resplit_blocks
    """Cut the same stream another way; None for stages whose inputs are whole events."""
    canonical: Callable[[Sequence[Any]], list[Any]] = list
    """Outputs in a form that can be compared with ``==``."""
