"""The stages that read light as the three laws see them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from edge.conditioning.ppg_quality import PpgQuality
from edge.conditioning.reblock import Reblock
from edge.features.oximetry import Oximetry
from edge.features.pulse_beats import PulseBeats
from edge.features.pulse_rate import PulseRate
from edge.features.pulse_transit import PulseTransit
from edge.messages import Beat, Channel, ChannelKind, Gap, Pulse, Quality, SampleBlock, Tick
from tests.conformance.case import StageCase, block

LIGHT = (
    Channel(name="red", kind=ChannelKind.PPG_RED, unit="1"),
    Channel(name="ir", kind=ChannelKind.PPG_INFRARED, unit="1"),
)


def light(rng: np.random.Generator, n_samples: int, rate_hz: float = 100.0) -> np.ndarray:
    """Return (n_samples, 2) counts: pulses about once a second on slow wander and a little noise."""
    time_s = np.arange(n_samples) / rate_hz
    pulse = np.zeros(n_samples)
    for foot_s in np.cumsum(rng.uniform(0.7, 1.0, size=int(n_samples / rate_hz * 1.5) + 1)):
        systole = np.where(time_s < foot_s + 0.15, 0.05, 0.15)
        pulse += np.exp(-0.5 * ((time_s - foot_s - 0.15) / systole) ** 2)
        pulse += 0.3 * np.exp(-0.5 * ((time_s - foot_s - 0.45) / 0.1) ** 2)
    wander = 0.002 * np.sin(2 * np.pi * 0.2 * time_s)
    infrared = 100_000.0 * (1.0 + 0.02 * pulse + wander) + 20.0 * rng.standard_normal(n_samples)
    red = 80_000.0 * (1.0 + 0.01 * pulse + wander) + 20.0 * rng.standard_normal(n_samples)
    return np.column_stack([red, infrared])


def light_stream(rng: np.random.Generator) -> list:
    """Thirty seconds in four blocks."""
    values = light(rng, 3000)
    cuts = [0, 37, 1000, 1001, 3000]
    return [
        block(values[a:b].copy(), rate_hz=100.0, start_ns=a * 10_000_000, sequence=a, channels=LIGHT)
        for a, b in itertools.pairwise(cuts)
    ]


def light_hostile(rng: np.random.Generator) -> list:
    """Holes, infinities, numbers beyond any converter, nothing at all, the past, and noise of every size."""
    n = 300
    bodies = [
        np.where(rng.random((n, 2)) < 0.3, np.nan, rng.standard_normal((n, 2))),
        np.where(rng.random((n, 2)) < 0.1, np.inf * rng.choice([-1, 1], (n, 2)), 0.0),
        rng.choice([1e300, -1e300, 1e-300, 0.0], (n, 2)),
        np.empty((0, 2)),
        np.full((n, 2), np.nan),
        rng.standard_normal((n, 2)) * 10.0 ** rng.uniform(-20, 20, (n, 2)),
        np.zeros((n, 2)),
        np.column_stack([np.full(n, np.nan), rng.standard_normal(n)]),
    ]
    out, at = [], 0
    for k in rng.permutation(len(bodies)):
        out.append(block(bodies[k].copy(), rate_hz=100.0, start_ns=at * 10_000_000, sequence=at, channels=LIGHT))
        at += len(bodies[k]) + int(rng.integers(0, 2) * rng.integers(0, 1000))
    for start_ns, sequence in ((-(10**18), 3), (2**63, 2**62)):
        body = rng.standard_normal((n, 2))
        out.append(block(body, rate_hz=100.0, start_ns=start_ns, sequence=sequence, channels=LIGHT))
    return out


class OximeterChain:
    """Quality, pulses, pulse rate and oximetry of one stream with a tick every second, as one stage."""

    def __init__(self) -> None:
        self._reblock = Reblock()
        self._quality = PpgQuality()
        self._beats = PulseBeats()
        self._readers = (PulseRate(), Oximetry())
        self._next_tick_ns: int | None = None

    def push(self, item: SampleBlock) -> list:
        """Return all estimates up to the end of `item`."""
        out: list = []
        for part in self._reblock.push(item):
            if isinstance(part, Gap):
                self._beats.reset(part.reason)
                self._quality.reset(part.reason)
                out += self._read(part)
                continue
            for verdict in self._quality.push(part):
                self._beats.push(verdict)
                out += self._read(verdict)
            out += self._readers[1].push(part)
            for pulse in self._beats.push(part):
                out += self._read(pulse)
            out += self._tick(part.end_ns)
        return out

    def reset(self, reason: str) -> None:
        self._next_tick_ns = None
        for stage in (self._reblock, self._quality, self._beats, *self._readers):
            stage.reset(reason)

    def _read(self, item) -> list:
        return [estimate for reader in self._readers for estimate in reader.push(item)]

    def _tick(self, now_ns: int) -> list:
        if self._next_tick_ns is None or now_ns < self._next_tick_ns - 10**10 or now_ns > self._next_tick_ns + 10**11:
            self._next_tick_ns = now_ns // 10**9 * 10**9
        out: list = []
        while self._next_tick_ns <= now_ns:
            out += self._read(Tick(at_ns=self._next_tick_ns))
            self._next_tick_ns += 10**9
        return out


def pulse(at_ns: int, interval_ms: float | None, value: float = 1.0) -> Pulse:
    return Pulse(
        sensor="s",
        stream="ecg",
        channel="ir",
        at_ns=at_ns,
        sequence=at_ns // 10_000_000,
        interval_ms=interval_ms,
        amplitude=value,
        baseline=100.0 * value,
        quality=value,
    )


def beat(at_ns: int) -> Beat:
    return Beat(sensor="s", stream="heart", at_ns=at_ns, sequence=at_ns // 4_000_000, rr_ms=None, quality=1.0)


def verdict(at_ns: int, index: float) -> Quality:
    return Quality(
        sensor="s",
        stream="ecg",
        at_ns=at_ns,
        index=index,
        is_usable=index >= 0.5,
        reasons=("noise",),
        channel="ir",
        kind=ChannelKind.PPG_INFRARED,
    )


def event_stream(rng: np.random.Generator) -> list:
    """A minute of pulses, beats and verdicts with a tick every second."""
    items: list = []
    at_ns = 0
    for second in range(1, 61):
        while at_ns < second * 10**9:
            interval_ns = int(rng.integers(700_000_000, 900_000_000))
            at_ns += interval_ns
            items += [beat(at_ns - 200_000_000), pulse(at_ns, interval_ns / 1e6)]
        items += [verdict(second * 10**9, float(rng.uniform(0.4, 1.0))), Tick(at_ns=second * 10**9)]
    return items


def event_hostile(rng: np.random.Generator) -> list:
    """Impossible intervals, levels and indices, and time that jumps both ways."""
    odd = [0.0, -5.0, np.nan, np.inf, -np.inf, 1e300, 1e-300, None]
    items: list = []
    for _ in range(200):
        at_ns = int(rng.choice([-(10**18), 0, 1, 10**9, 2**63]) + rng.integers(0, 10**10))
        value = odd[int(rng.integers(len(odd)))]
        number = float("nan") if value is None else value
        items += [
            pulse(at_ns, value, number),
            beat(at_ns),
            verdict(at_ns, number),
            Gap(sensor="s", stream="ecg", start_ns=at_ns, end_ns=-at_ns, n_missing=None, reason="odd"),
            Tick(at_ns=at_ns),
        ]
    return [items[int(k)] for k in rng.permutation(len(items))]


def without(kind: type, make_items: Callable[[np.random.Generator], list]) -> Callable[[np.random.Generator], list]:
    """The same events without those of one kind, which the stage does not read."""
    return lambda rng: [item for item in make_items(rng) if not isinstance(item, kind)]


CASES = [
    StageCase(name="PulseBeats", make=PulseBeats, stream=light_stream, hostile=light_hostile),
    StageCase(name="PpgQuality", make=PpgQuality, stream=light_stream, hostile=light_hostile),
    StageCase(name="OximeterChain", make=OximeterChain, stream=light_stream, hostile=light_hostile),
    StageCase(
        name="PulseRate",
        make=PulseRate,
        stream=without(Beat, event_stream),
        hostile=without(Beat, event_hostile),
        resplit=None,
    ),
    StageCase(
        name="Oximetry",
        make=Oximetry,
        stream=lambda rng: [*light_stream(rng), *without(Beat, event_stream)(rng)],
        hostile=lambda rng: [*light_hostile(rng), *without(Beat, event_hostile)(rng)],
        resplit=None,
    ),
    StageCase(
        name="PulseTransit",
        make=PulseTransit,
        stream=without(Quality, event_stream),
        hostile=without(Quality, event_hostile),
        resplit=None,
    ),
]
