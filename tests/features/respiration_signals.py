"""Synthetic chests: breathing with the heart on it, in blocks, and the stages run over them."""

from __future__ import annotations

import numpy as np

from edge.messages import Channel, ChannelKind, SampleBlock

S = 1_000_000_000
OHM = Channel(name="RESP", kind=ChannelKind.RESPIRATION, unit="Ohm", minimum=-8.0, maximum=8.0, resolution=0.0005)


def time_axis(duration_s, rate_hz):
    return np.arange(round(duration_s * rate_hz)) / rate_hz


def breathing(rate_bpm, duration_s, rate_hz=25.0, *, swing=1.6, pause=0.0):
    """Return a wave that rises for 40 % of the moving part of a breath and rests for `pause` of the breath."""
    part = time_axis(duration_s, rate_hz) * rate_bpm / 60.0 % 1.0
    moving = np.minimum(part / (1.0 - pause), 1.0)
    up = -np.cos(np.pi * moving / 0.4)
    down = np.cos(np.pi * (moving - 0.4) / 0.6)
    return swing / 2 * np.where(moving < 0.4, up, down)


def heart(rate_bpm, duration_s, rate_hz=25.0, *, swing=0.15):
    """Return what the heart adds to a chest's impedance: a wave and its first harmonic."""
    phase = 2 * np.pi * rate_bpm / 60.0 * time_axis(duration_s, rate_hz)
    return swing / 2 * (np.sin(phase) + 0.3 * np.sin(2 * phase))


def noise(duration_s, rate_hz=25.0, *, sigma=0.01, seed=0):
    return sigma * np.random.default_rng(seed).standard_normal(round(duration_s * rate_hz))


def digital(values, channel=OHM):
    """Return `values` as the converter gives them."""
    return np.clip(np.round(values / channel.resolution) * channel.resolution, channel.minimum, channel.maximum)


def blocks(values, rate_hz=25.0, block_s=0.2, channel=OHM, *, start_s=0.0, sensor="chest"):
    n_block = max(1, round(block_s * rate_hz))
    first = round(start_s * rate_hz)
    return [
        SampleBlock(
            sensor=sensor,
            stream="respiration",
            channels=(channel,),
            values=np.array(values[at : at + n_block])[:, None],
            rate_hz=rate_hz,
            start_ns=round((first + at) * S / rate_hz),
            sequence=first + at,
        )
        for at in range(0, len(values), n_block)
    ]


def run(stage, items):
    return [out for item in items for out in stage.push(item)]
