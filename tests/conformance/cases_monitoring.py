"""The rules and the alarm life-cycle before the three laws.

Their inputs are whole messages, so there is nothing to split: that the same samples in other chunks give the same
messages is the law of the stages before them.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from edge.messages import (
    Alert,
    AlertKind,
    Beat,
    BeatKind,
    ClockState,
    ClockSync,
    Condition,
    Corrupt,
    Gap,
    LinkChange,
    LinkState,
    Measurement,
    Prediction,
    Priority,
    Quality,
    RhythmChange,
    SensorIdentity,
    SensorStatus,
    Tick,
    Vitals,
)
from edge.monitoring.alarm_commands import AlarmCommand, CommandKind
from edge.monitoring.alarms import Alarms, AlarmSettings
from edge.monitoring.beat_classes import BeatClasses, BeatClassSettings
from edge.monitoring.limits import LimitMonitor
from edge.monitoring.rhythm import RhythmRules
from edge.monitoring.summaries import Summaries
from edge.monitoring.technical import TechnicalRules
from tests.conformance.case import StageCase

S = 1_000_000_000
INSTANTS = (0, -1, -(10**18), 10**18, 2**63, 1)
FLOATS = (float("nan"), float("inf"), float("-inf"), 1e300, -1e300, 0.0, -0.0)


def vitals_stream(rng: np.random.Generator) -> list[Any]:
    """Five minutes that leave and re-enter the limits, with values missing."""
    heart_rate = 100 + 60 * np.sin(np.arange(300) / 20) + rng.normal(0, 2, 300)
    items: list[Any] = []
    for second, value in enumerate(heart_rate, start=1):
        is_missing = rng.random() < 0.05
        measurement = Measurement(
            value=None if is_missing else float(value), unit="/min", absent="noise" if is_missing else None
        )
        items += [
            Vitals(at_ns=second * S, measurements={"heart_rate_bpm": measurement}, coverage_pct=100.0, quality=0.9),
            Tick(at_ns=second * S),
        ]
    return items


def heart_stream(rng: np.random.Generator) -> list[Any]:
    """Ten minutes of sinus, fibrillation, ventricular beats, an asystole and bad signal."""
    at_s, beats = 0.5, []
    while at_s < 590:
        is_fibrillating = 100 < at_s < 300
        is_ventricular = 400 < at_s < 410
        rr_s = float(rng.normal(0.7, 0.15)) if is_fibrillating else 0.4 if is_ventricular else 0.8
        at_s += 8.0 if 450 < at_s < 452 else max(0.3, rr_s)
        beats.append(
            Beat(
                sensor="chest",
                stream="ecg",
                at_ns=round(at_s * S),
                sequence=round(at_s * 250),
                rr_ms=None if not beats else at_s * 1000 - beats[-1].at_ns / 1e6,
                quality=0.9,
                kind=BeatKind.VENTRICULAR if is_ventricular else BeatKind.NORMAL,
                is_noise_suspect=bool(rng.random() < 0.01),
            )
        )
    items: list[Any] = []
    for second in range(1, 600):
        while beats and beats[0].at_ns + S // 2 <= second * S:
            items.append(beats.pop(0))
        is_usable = not 500 < second < 520
        items += [
            Quality(
                sensor="chest",
                stream="ecg",
                at_ns=second * S,
                index=0.9 if is_usable else 0.1,
                is_usable=is_usable,
                reasons=() if is_usable else ("lead-off",),
                sequence=second * 250,
            ),
            Tick(at_ns=second * S),
        ]
    return items


def equipment_stream(rng: np.random.Generator) -> list[Any]:
    """Links, leads, clocks and batteries that fail and come back."""
    items: list[Any] = []
    for second in range(1, 400):
        state = LinkState.LOST if 50 < second < 80 else LinkState.CONNECTED
        sync = ClockSync.UNSYNCHRONISED if 100 < second < 200 else ClockSync.NTP
        items += [
            LinkChange(sensor="chest", state=state, reason="", at_ns=second * S),
            ClockState(sync=sync, error_ms=None, epoch=0),
            SensorStatus(
                sensor="chest",
                stream="ecg",
                condition="lead-off",
                is_active=bool(rng.random() < 0.5 and 220 < second < 260),
                at_ns=second * S,
            ),
            Tick(at_ns=second * S),
        ]
    return items


def claim_stream(rng: np.random.Generator) -> list[Any]:
    """Claims and commands in a random order."""
    items: list[Any] = []
    for second in range(300):
        code = str(rng.choice(["a", "b", "c"]))
        items.append(
            Condition(
                code=code,
                kind=AlertKind.PHYSIOLOGICAL,
                priority=list(Priority)[int(rng.integers(3))],
                is_active=bool(rng.random() < 0.5),
                at_ns=second * S,
                onset_at_ns=second * S,
                sentence=code,
                is_latching=code == "a",
            )
        )
        items.append(
            AlarmCommand(
                kind=list(CommandKind)[int(rng.integers(2))],
                alert_id=f"id-{int(rng.integers(1, 20))}",
                revision=int(rng.integers(1, 4)),
                by="n",
                via="test",
                at_ns=second * S,
            )
        )
        items.append(Tick(at_ns=second * S))
    return items


def summary_stream(rng: np.random.Generator) -> list[Any]:
    """What a pipeline says in ten minutes, of every kind."""
    changes = [RhythmChange(at_ns=k * 100 * S, sequence=0, label=label) for k, label in enumerate("NTN")]
    gap = Gap(sensor="chest", stream="ecg", start_ns=S, end_ns=2 * S, n_missing=250, reason="link")
    return [*changes[:1], *vitals_stream(rng), *changes[1:2], gap, *heart_stream(rng)[1200:], *changes[2:]]


def hostile_stream(rng: np.random.Generator) -> list[Any]:
    """Every message with impossible times and numbers, in a random order."""
    items: list[Any] = []
    for at_ns, number in itertools.product(INSTANTS, FLOATS):
        claim = Condition(
            code="",
            kind=AlertKind.TECHNICAL,
            priority=Priority.HIGH,
            is_active=bool(rng.random() < 0.5),
            at_ns=at_ns,
            onset_at_ns=-at_ns,
            sentence="",
            evidence={"value": number},
        )
        beat = Beat(
            sensor="chest", stream="ecg", at_ns=at_ns, sequence=-5, rr_ms=number, quality=number, width_ms=number,
            similarity=number, amplitude_mv=number,
        )  # fmt: skip
        items += [
            claim,
            beat,
            replace(beat, at_ns=at_ns + int(rng.integers(0, 10**9)), kind=BeatKind.VENTRICULAR),
            Tick(at_ns=at_ns),
            Quality(
                sensor="chest", stream="ecg", at_ns=at_ns, index=number, is_usable=bool(rng.random() < 0.5), reasons=()
            ),
            Vitals(
                at_ns=at_ns,
                measurements={
                    "heart_rate_bpm": Measurement(value=number, unit=""),
                    "": Measurement(value=number, unit=""),
                },
                coverage_pct=number,
                quality=number,
            ),
            AlarmCommand(
                kind=CommandKind.SILENCE, alert_id="id-1", revision=-1, by="", via="", at_ns=at_ns, silence_s=number
            ),
            LinkChange(sensor="", state=list(LinkState)[int(rng.integers(5))], reason="", at_ns=at_ns),
            SensorStatus(sensor="", stream=None, condition="", is_active=True, at_ns=at_ns, detail="²"),
            SensorStatus(sensor="", stream=None, condition="battery-low", is_active=True, at_ns=at_ns, detail="²"),
            SensorIdentity(sensor="", device_id="", model="", firmware="", boot_id=int(at_ns), streams=(), at_ns=at_ns),
            ClockState(sync=ClockSync.UNKNOWN, error_ms=number, epoch=-1),
            Corrupt(reason="", offset=-1, n_bytes=-1),
            Gap(sensor="chest", stream="ecg", start_ns=at_ns, end_ns=-at_ns, n_missing=-3, reason=""),
            RhythmChange(at_ns=at_ns, sequence=-1, label=""),
        ]
    order = rng.permutation(len(items))
    return [items[k] for k in order]


def classify(items: list[Any]) -> list[Any]:
    """Return `items` with what a beat model says of two beats of three."""
    out: list[Any] = []
    for number, item in enumerate(items):
        out.append(item)
        if isinstance(item, Beat) and number % 3:
            out.append(
                Prediction(
                    at_ns=item.at_ns,
                    label="NSVF"[number % 4],
                    probabilities={},
                    bundle_sha256="",
                    model="beat",
                    sensor=item.sensor,
                    stream=item.stream,
                )
            )
    return out


def of_kinds(*kinds: type) -> Any:
    """Hostile input of the kinds that a stage takes."""
    return lambda rng: [item for item in hostile_stream(rng) if isinstance(item, kinds)]


def make_alarms() -> Alarms:
    counter = itertools.count(1)
    return Alarms(AlarmSettings(), lambda: f"id-{next(counter)}")


def without_ids(outputs: Any) -> list[Any]:
    """Alerts with their ids replaced by the order in which they came: the source of ids outlives a reset."""
    numbers: dict[str, str] = {}
    return [replace(out, id=numbers.setdefault(out.id, str(len(numbers)))) for out in outputs if isinstance(out, Alert)]


CASES = [
    StageCase(
        name="LimitMonitor", make=LimitMonitor, stream=vitals_stream, hostile=of_kinds(Vitals, Tick), resplit=None
    ),
    StageCase(
        name="BeatClasses",
        make=lambda: BeatClasses(BeatClassSettings(waits_for_model=True)),
        stream=lambda rng: classify(heart_stream(rng)),
        hostile=hostile_stream,
        resplit=None,
    ),
    StageCase(name="RhythmRules", make=RhythmRules, stream=heart_stream, hostile=hostile_stream, resplit=None),
    StageCase(
        name="TechnicalRules", make=TechnicalRules, stream=equipment_stream, hostile=hostile_stream, resplit=None
    ),
    StageCase(name="Summaries", make=Summaries, stream=summary_stream, hostile=hostile_stream, resplit=None),
    StageCase(
        name="Alarms",
        make=make_alarms,
        stream=lambda rng: [item for item in claim_stream(rng) if not isinstance(item, AlarmCommand)],
        hostile=of_kinds(Condition, AlarmCommand, Tick),
        resplit=None,
        canonical=without_ids,
    ),
]
