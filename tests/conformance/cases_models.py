"""What watches the models under the three laws; windows and predictions are whole events, so there is nothing to split."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from edge.inference.drift import Drift, DriftReference, DriftSettings
from edge.inference.shadow import Agreement, Beside
from edge.messages import Prediction, Window
from tests.conformance.case import StageCase

S = 10**9
KNOTS = {"rr": (0.0, 0.5, 1.0), "width": (50.0, 90.0, 120.0, 200.0)}


def window(number, features):
    return Window(
        sensor="s",
        stream="ecg",
        values=np.zeros((1, 1)),
        rate_hz=1.0,
        start_ns=number * S,
        sequence=number,
        quality=1.0,
        model="beat",
        features=features,
    )


def prediction(at_ns, label):
    absent = None if label else "uncertain"
    return Prediction(
        at_ns=at_ns, label=label, probabilities={}, bundle_sha256="", absent=absent, sensor="s", stream="ecg"
    )


def watched(rng):
    found = []
    for number in range(120):
        found.append(window(number, {"rr": rng.normal(0.5, 0.3), "width": rng.normal(100, 30)}))
        found.append(prediction(number * S, rng.choice(["N", "V", None], p=[0.7, 0.2, 0.1])))
    return found


def hostile(rng):
    values = [np.nan, np.inf, -np.inf, 1e300, -1e300, 5e-324, 0.0]
    found = []
    for number, (rr, width) in enumerate(itertools.product(values, values)):
        features = {"rr": rr, "width": width} if number % 3 else {"other": rr}
        found.append(window(number, features))
        at_ns = int(rng.integers(-(2**62), 2**62)) if number % 2 else number * S
        found.append(replace(prediction(at_ns, f"label-{number}"), stream=f"stream-{number % 7}"))
    return found


class Echo:
    """Says the first sample of a window, as a label."""

    def push(self, item):
        return [prediction(item.start_ns, f"{np.asarray(item.values).ravel()[:1].tolist()}")]

    def reset(self, reason):
        """Do nothing."""

    def status(self):
        return "echo"


CASES = [
    StageCase(
        name="drift",
        make=lambda: Drift(DriftReference(knots=KNOTS, label_ratios={"N": 1.0}), DriftSettings(report_s=20.0)),
        stream=watched,
        hostile=hostile,
        resplit=None,
    ),
    StageCase(
        name="beside",
        make=lambda: Beside(Echo(), Echo(), Agreement()),
        stream=lambda rng: [item for item in watched(rng) if isinstance(item, Window)],
        hostile=lambda rng: [item for item in hostile(rng) if isinstance(item, Window)],
        resplit=None,
    ),
]
