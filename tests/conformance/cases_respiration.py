"""The stages of respiration before the three laws."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from edge.conditioning.respiration_quality import RespirationQuality
from edge.features.breaths import BreathDetector
from edge.features.respiration import RespirationStage
from edge.messages import (
    Activity,
    ActivityLevel,
    Beat,
    Breath,
    Channel,
    ChannelKind,
    Estimate,
    Gap,
    Pulse,
    Quality,
    SensorStatus,
    Tick,
)
from edge.monitoring.apnoea import ApnoeaRule
from tests.conformance.case import StageCase, block
from tests.conformance.cases_signal import hostile_stream

S = 1_000_000_000
CHANNEL = Channel(name="RESP", kind=ChannelKind.RESPIRATION, unit="Ohm", resolution=0.001)
RATE_HZ = 62.5
INSTANTS = (0, -1, -(10**18), 10**18, 2**63, 1)
FLOATS = (float("nan"), float("inf"), float("-inf"), 1e300, -1e300, 0.0, -0.0)


def chest(values, start):
    return block(
        values[:, None], rate_hz=RATE_HZ, start_ns=round(start * S / RATE_HZ), sequence=start, channels=(CHANNEL,)
    )


def chest_stream(rng):
    """A minute of breathing with the heart on it, in blocks of four lengths."""
    time_s = np.arange(round(60 * RATE_HZ)) / RATE_HZ
    breath_hz = rng.uniform(0.15, 0.6)
    values = np.sin(2 * np.pi * breath_hz * time_s) + 0.1 * np.sin(2 * np.pi * 1.2 * time_s)
    values += 0.02 * rng.standard_normal(len(values))
    cuts = [0, 13, 900, 901, 2500, len(values)]
    return [chest(values[a:b].copy(), a) for a, b in itertools.pairwise(cuts)]


def chest_hostile(rng):
    """The same impossible blocks as for an ECG, on a respiration channel, and odd words of the device between them."""
    items = []
    for item in hostile_stream(rng):
        level = list(ActivityLevel)[int(rng.integers(3))]
        at_ns = int(rng.choice(INSTANTS))
        items += [
            replace(item, channels=(CHANNEL,)),
            SensorStatus(sensor="s", stream=None, condition="saturated", is_active=True, at_ns=at_ns),
            SensorStatus(sensor="s", stream=None, condition="saturated", is_active=False, at_ns=at_ns),
            Activity(sensor="s", stream="acc", at_ns=at_ns, level=level, intensity_mps2=float("nan")),
        ]
    return items


def verdict(at_ns, *, is_usable=True, index=0.9):
    return Quality(
        sensor="chest", stream="resp", at_ns=at_ns, index=index, is_usable=is_usable,
        reasons=() if is_usable else ("noise",), kind=ChannelKind.RESPIRATION,
    )  # fmt: skip


def breath(at_ns, interval_s, amplitude=1.0, quality=0.9):
    return Breath(
        sensor="chest", stream="resp", at_ns=at_ns, interval_s=interval_s, amplitude=amplitude, quality=quality
    )


def beat(at_ns, rr_ms, amplitude_mv=1.0, quality=0.9):
    return Beat(
        sensor="chest", stream="ecg", at_ns=at_ns, sequence=0, rr_ms=rr_ms, quality=quality, amplitude_mv=amplitude_mv
    )


def pulse(at_ns, interval_ms, amplitude=1.0, baseline=0.0):
    return Pulse(
        sensor="hand", stream="ppg", channel="IR", at_ns=at_ns, sequence=0, interval_ms=interval_ms,
        amplitude=amplitude, baseline=baseline, quality=0.9,
    )  # fmt: skip


def person_stream(rng):
    """Two minutes of a person who breathes, stops and breathes again, seen by three sensors."""
    rate_hz = float(rng.uniform(0.15, 0.4))
    breaths = [k / rate_hz for k in range(200) if k / rate_hz < 120 and not 60 < k / rate_hz < 95]
    events = [breath(round(at_s * S), 1 / rate_hz) for at_s in breaths]
    for at_s in np.arange(0.3, 120, 0.8):
        turn = np.sin(2 * np.pi * rate_hz * at_s)
        events += [
            beat(round(at_s * S), 800 + 20 * turn, 1 + 0.1 * turn),
            pulse(round((at_s + 0.2) * S), 800 + 20 * turn, 1 + 0.05 * turn, 10 + turn),
        ]
    events += [verdict(second * S) for second in range(1, 121)]
    events += [Tick(at_ns=second * S) for second in range(1, 121)]
    return sorted(events, key=lambda event: (event.at_ns, isinstance(event, Tick)))


def person_hostile(rng):
    """Every message with impossible times and numbers, in a random order."""
    items = []
    for at_ns, number in itertools.product(INSTANTS, FLOATS):
        level = list(ActivityLevel)[int(rng.integers(3))]
        is_usable = bool(rng.random() < 0.5)
        items += [
            breath(at_ns, number, number, number),
            breath(at_ns + S, None, 1.0, 1.0),
            beat(at_ns, number, number, number),
            pulse(at_ns, number, number, number),
            verdict(at_ns, is_usable=is_usable, index=number),
            Gap(sensor="chest", stream="resp", start_ns=at_ns, end_ns=-at_ns, n_missing=-3, reason=""),
            SensorStatus(sensor="chest", stream=None, condition="lead-off", is_active=is_usable, at_ns=at_ns),
            Activity(sensor="s", stream="acc", at_ns=at_ns, level=level, intensity_mps2=number),
            Estimate(
                sensor="chest", stream="resp", measure="pulse_rate_bpm", value=number, unit="/min", at_ns=at_ns,
                quality=number, method="pulses",
            ),
            Tick(at_ns=at_ns),
            Tick(at_ns=at_ns + int(rng.integers(0, 10**10))),
        ]  # fmt: skip
    return [items[k] for k in rng.permutation(len(items))]


CASES = [
    StageCase(name="RespirationQuality", make=RespirationQuality, stream=chest_stream, hostile=chest_hostile),
    StageCase(
        name="BreathDetector",
        make=BreathDetector,
        stream=chest_stream,
        hostile=lambda rng: [item for item in chest_hostile(rng) if not isinstance(item, SensorStatus | Activity)],
    ),
    StageCase(
        name="RespirationStage", make=RespirationStage, stream=person_stream, hostile=person_hostile, resplit=None
    ),
    StageCase(name="ApnoeaRule", make=ApnoeaRule, stream=person_stream, hostile=person_hostile, resplit=None),
]
