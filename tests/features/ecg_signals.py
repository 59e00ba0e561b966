"""Synthetic ECG for the feature tests: the shapes of the cardiac-monitor standard, at any rate."""

from __future__ import annotations

import numpy as np

from edge.messages import Channel, ChannelKind, SampleBlock


def triangle(time_s, at_s, width_s):
    return np.maximum(0.0, 1.0 - np.abs(time_s - at_s) / (width_s / 2))


def hump(time_s, at_s, width_s):
    inside = np.abs(time_s - at_s) < width_s / 2
    return np.where(inside, np.cos(np.pi * (time_s - at_s) / width_s), 0.0)


def ecg(beats_s, duration_s, rate_hz=250.0, *, qrs_mv=1.0, qrs_s=0.1, t_mv=0.2, t_s=0.18, qt_s=0.35, noise_mv=0.005):
    """Return (n,) mV: a triangular QRS at every beat, a T wave that ends at QT, and a little noise."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    values = noise_mv * np.random.default_rng(0).standard_normal(len(time_s))
    for at_s in beats_s:
        values += qrs_mv * triangle(time_s, at_s, qrs_s)
        values += t_mv * hump(time_s, at_s - qrs_s / 2 + qt_s - t_s / 2, t_s)
    return values


def regular(rate_bpm, duration_s, first_s=0.5):
    return np.arange(first_s, duration_s - 0.3, 60.0 / rate_bpm)


def blocks(values, rate_hz=250.0, block_s=0.2, names=("II",), unit="mV"):
    values = values[:, None] if values.ndim == 1 else values
    channels = tuple(Channel(name=name, kind=ChannelKind.ECG, unit=unit) for name in names)
    n_block = max(1, round(block_s * rate_hz))
    return [
        SampleBlock(
            sensor="s",
            stream="ecg",
            channels=channels,
            values=values[at : at + n_block].copy(),
            rate_hz=rate_hz,
            start_ns=round(at * 1e9 / rate_hz),
            sequence=at,
        )
        for at in range(0, len(values), n_block)
    ]
