"""The project's own detector and signal chain, as the benchmarks run them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.reblock import Reblock
from edge.features.ecg_beats import EcgBeats
from edge.messages import Beat, Channel, ChannelKind, Gap, Quality, SampleBlock
from edge.signal_chain import SignalChain, SignalChainSettings

NS_PER_S = 1_000_000_000


def ecg_channels(names: Sequence[str], resolutions_mv: Sequence[float]) -> tuple[Channel, ...]:
    """Return one ECG channel in mV per lead."""
    return tuple(
        Channel(name=name, kind=ChannelKind.ECG, unit="mV", resolution=step)
        for name, step in zip(names, resolutions_mv, strict=True)
    )


def cut(
    values: NDArray[np.float64],
    channels: tuple[Channel, ...],
    rate_hz: float,
    block_s: float | None,
    stream: str = "ecg",
) -> list[SampleBlock]:
    """Return `values`, shape (n_samples, n_channels), as blocks of `block_s`; one block of everything for None."""
    n_block = len(values) if block_s is None else max(1, round(block_s * rate_hz))
    return [
        SampleBlock(
            sensor="record",
            stream=stream,
            channels=channels,
            values=np.ascontiguousarray(values[first : first + n_block]),
            rate_hz=rate_hz,
            start_ns=round(first * NS_PER_S / rate_hz),
            sequence=first,
        )
        for first in range(0, len(values), max(1, n_block))
    ]


def find_beats(blocks: Sequence[SampleBlock]) -> list[Beat]:
    """Return what the beat detector alone finds in raw blocks."""
    stage = EcgBeats()
    beats: list[Beat] = []
    for block in blocks:
        beats += stage.push(block)
    return beats + stage.flush()


def run_chain(blocks: Sequence[SampleBlock]) -> tuple[list[Beat], list[Quality]]:
    """Return the beats and the quality that the whole chain of one stream gives, cut on the grid as in `pipeline`."""
    grid, chain = Reblock(), SignalChain(SignalChainSettings())
    beats: list[Beat] = []
    quality: list[Quality] = []

    def sort(outputs: Sequence[object]) -> None:
        beats.extend(item for item in outputs if isinstance(item, Beat))
        quality.extend(item for item in outputs if isinstance(item, Quality))

    def feed(parts: Sequence[SampleBlock | Gap]) -> None:
        for part in parts:
            if isinstance(part, SampleBlock):
                sort(chain.push(part))
            else:
                sort(chain.flush())
                chain.gap(part)

    for block in blocks:
        feed(grid.push(block))
    feed(grid.flush())
    sort(chain.flush())
    return beats, quality


def samples_of(beats: Sequence[Beat]) -> NDArray[np.int64]:
    """Return the sample of every R peak."""
    return np.array([beat.sequence for beat in beats], dtype=np.int64)


def usable_seconds(quality: Sequence[Quality], rate_hz: float, n_samples: int) -> list[bool]:
    """Return for every second of the sample grid whether the signal was called usable; one without a verdict was not."""
    n_second = max(1, round(rate_hz))
    usable = [False] * -(-n_samples // n_second)
    for verdict in quality:
        k = verdict.sequence // n_second - 1
        if verdict.kind is ChannelKind.ECG and 0 <= k < len(usable):
            usable[k] = verdict.is_usable
    return usable
