"""Synthetic photoplethysmograms with known feet, for the tests of everything that reads light."""

from __future__ import annotations

import numpy as np

from edge.messages import Channel, ChannelKind, SampleBlock

PPG = Channel(name="PLETH", kind=ChannelKind.PPG, unit="1")
INFRARED = Channel(name="IR", kind=ChannelKind.PPG_INFRARED, unit="1")
RED = Channel(name="RED", kind=ChannelKind.PPG_RED, unit="1")


def wave(offset_s: np.ndarray, interval_s: float, notch: float = 0.3) -> np.ndarray:
    """One pulse wave, foot at 0, height 1: a cosine rise, a slower fall, a dicrotic wave of height `notch`."""
    scale = np.sqrt(np.clip(interval_s, 0.25, 1.3))
    rise_s, fall_s = 0.16 * scale, 0.5 * scale
    out = np.zeros_like(offset_s)
    up = (offset_s >= 0) & (offset_s < rise_s)
    out[up] = 0.5 - 0.5 * np.cos(np.pi * offset_s[up] / rise_s)
    down = (offset_s >= rise_s) & (offset_s < rise_s + fall_s)
    out[down] = 0.5 + 0.5 * np.cos(np.pi * (offset_s[down] - rise_s) / fall_s)
    return out + notch * np.exp(-0.5 * ((offset_s - rise_s - 0.27 * scale) / (0.06 * scale)) ** 2)


def tangent_lag_s(interval_s: float) -> float:
    """How far after 0 the steepest tangent of `wave` meets its foot level: rise / 2 - rise / pi."""
    return (0.5 - 1.0 / np.pi) * 0.16 * float(np.sqrt(np.clip(interval_s, 0.25, 1.3)))


def feet_at(rate_bpm: float, duration_s: float, first_s: float = 0.3) -> np.ndarray:
    """Instants of a steady pulse."""
    return np.arange(first_s, duration_s, 60.0 / rate_bpm)


def ppg(feet_s: np.ndarray, duration_s: float, rate_hz: float = 125.0, *, notch: float = 0.3) -> np.ndarray:
    """A pulse wave of height 1 from every foot on, on a level of 0."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    out = np.zeros(len(time_s))
    intervals_s = np.diff(feet_s, append=2 * feet_s[-1] - feet_s[-2] if len(feet_s) > 1 else feet_s[-1] + 1.0)
    for foot_s, interval_s in zip(feet_s, intervals_s, strict=True):
        first, last = np.searchsorted(time_s, [foot_s, foot_s + 2.0])
        out[first:last] += wave(time_s[first:last] - foot_s, interval_s, notch)
    return out


def blocks(
    values: np.ndarray,
    rate_hz: float = 125.0,
    *,
    channels: tuple[Channel, ...] = (PPG,),
    block_s: float = 0.2,
    sequence: int = 0,
) -> list[SampleBlock]:
    """The signal in blocks of one stream, its sample `sequence` at ``sequence / rate_hz``."""
    columns = np.asarray(values, dtype=np.float64).reshape(len(values), len(channels))
    step = max(1, round(block_s * rate_hz))
    return [
        SampleBlock(
            sensor="finger",
            stream="ppg",
            channels=channels,
            values=columns[at : at + step].copy(),
            rate_hz=rate_hz,
            start_ns=round((sequence + at) * 1e9 / rate_hz),
            sequence=sequence + at,
        )
        for at in range(0, len(columns), step)
    ]


def run(stage, items) -> list:
    """Everything a stage says about `items`, with what it held back."""
    out = [message for item in items for message in stage.push(item)]
    return out + (stage.flush() if hasattr(stage, "flush") else [])
