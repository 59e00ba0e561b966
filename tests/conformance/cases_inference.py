"""The stages of inference under the three laws; windows are whole events, so there is nothing to split."""

from __future__ import annotations

import itertools

import numpy as np

from edge.inference.aggregation import TrailingMean, WindowLogits
from edge.inference.classifier import Classifier
from edge.messages import Window
from tests.conformance.case import StageCase
from tests.fakes.tiny_model import (
    FEATURES_CARD,
    N_FEATURES,
    N_SAMPLES,
    RATE_HZ,
    SAMPLES_INPUT,
    FeatureRunner,
    LinearRunner,
    card,
)

FILLS = [np.nan, np.inf, -np.inf, 1e300, -1e300, 5e-324, 0.0]


def window(values, *, rate_hz=RATE_HZ, quality=0.9, start_ns=0, sequence=0, features=None):
    return Window(
        sensor="s",
        stream="ecg",
        values=values,
        rate_hz=rate_hz,
        start_ns=start_ns,
        sequence=sequence,
        quality=quality,
        features=features or {},
    )


def windows(rng):
    return [
        window(
            rng.normal(rng.uniform(-0.5, 0.5), 0.3, size=(N_SAMPLES, 1)),
            start_ns=k * 10**9,
            sequence=k,
            features={f"f{number}": rng.uniform(-5, 15) for number in range(N_FEATURES)},
        )
        for k in range(20)
    ]


def hostile(rng):
    shapes = [(N_SAMPLES, 1), (N_SAMPLES, 1), (N_SAMPLES, 1), (N_SAMPLES, 2), (0, 1), (N_SAMPLES, 0), (1, 1)]
    qualities = [np.nan, np.inf, -np.inf, -1.0, 2.0]
    rates_hz = [RATE_HZ, RATE_HZ, 0.0, -1.0, np.nan, np.inf, 1e-300]
    found = []
    for shape, fill, quality, rate_hz in itertools.product(shapes, FILLS, qualities, rates_hz):
        values = np.full(shape, fill)
        if values.size and rng.uniform() < 0.3:
            values[rng.integers(values.shape[0])] = rng.choice(FILLS)
        start_ns = int(rng.integers(-(2**62), 2**62))
        features = {f"f{number}": rng.choice(FILLS) for number in range(rng.integers(N_FEATURES + 1))}
        found.append(
            window(values, rate_hz=rate_hz, quality=quality, start_ns=start_ns, sequence=-1, features=features)
        )
    return found


def logits(rng):
    return [
        WindowLogits(start_ns=k * 10**9, end_ns=(k + 2) * 10**9, sequence=k, logits=tuple(rng.normal(size=3)))
        for k in np.cumsum(rng.integers(0, 4, 50)).tolist()
    ]


def hostile_logits(rng):
    return [
        WindowLogits(start_ns=int(start_ns), end_ns=int(end_ns), sequence=-1, logits=tuple(rng.choice(FILLS, 3)))
        for start_ns, end_ns in rng.integers(-(2**62), 2**62, (300, 2))
    ]


def case(name, make_runner=LinearRunner, **changes):
    return StageCase(
        name=f"classifier-{name}",
        make=lambda: Classifier(card(**changes), "0" * 64, make_runner()),
        stream=windows,
        hostile=hostile,
        resplit=None,
    )


CASES = [
    case("plain"),
    case("z-score", inputs=[SAMPLES_INPUT | {"normalise": "z-score"}]),
    case("aggregating", aggregation={"span_s": 5.0}, abstention={"judges_noise": True}),
    case(
        "features",
        FeatureRunner,
        inputs=[SAMPLES_INPUT, FEATURES_CARD],
        abstention={"max_outside": 0.5, "min_energy": -0.01, "judges_noise": True},
    ),
    StageCase(
        name="trailing-mean",
        make=lambda: TrailingMean(5 * 10**9),
        stream=logits,
        hostile=hostile_logits,
        resplit=None,
    ),
]
