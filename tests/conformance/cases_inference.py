"""The stages of inference under the three laws; windows are whole events, so there is nothing to split."""

from __future__ import annotations

import itertools

import numpy as np

from edge.inference.classifier import Classifier
from edge.messages import Window
from tests.conformance.case import StageCase
from tests.fakes.tiny_model import N_SAMPLES, RATE_HZ, SAMPLES_INPUT, LinearRunner, card


def window(values, *, rate_hz=RATE_HZ, quality=0.9, start_ns=0, sequence=0):
    return Window(
        sensor="s",
        stream="ecg",
        values=values,
        rate_hz=rate_hz,
        start_ns=start_ns,
        sequence=sequence,
        quality=quality,
    )


def windows(rng):
    return [
        window(rng.normal(rng.uniform(-0.5, 0.5), 0.3, size=(N_SAMPLES, 1)), start_ns=k * 10**9, sequence=k)
        for k in range(20)
    ]


def hostile(rng):
    shapes = [(N_SAMPLES, 1), (N_SAMPLES, 1), (N_SAMPLES, 1), (N_SAMPLES, 2), (0, 1), (N_SAMPLES, 0), (1, 1)]
    fills = [np.nan, np.inf, -np.inf, 1e300, -1e300, 5e-324, 0.0]
    qualities = [np.nan, np.inf, -np.inf, -1.0, 2.0]
    rates_hz = [RATE_HZ, RATE_HZ, 0.0, -1.0, np.nan, np.inf, 1e-300]
    found = []
    for shape, fill, quality, rate_hz in itertools.product(shapes, fills, qualities, rates_hz):
        values = np.full(shape, fill)
        if values.size and rng.uniform() < 0.3:
            values[rng.integers(values.shape[0])] = rng.choice(fills)
        start_ns = int(rng.integers(-(2**62), 2**62))
        found.append(window(values, rate_hz=rate_hz, quality=quality, start_ns=start_ns, sequence=-1))
    return found


def case(normalise):
    return StageCase(
        name=f"classifier-{normalise}",
        make=lambda: Classifier(card(inputs=[SAMPLES_INPUT | {"normalise": normalise}]), "0" * 64, LinearRunner()),
        stream=windows,
        hostile=hostile,
        resplit=None,
    )


CASES = [case("none"), case("z-score")]
