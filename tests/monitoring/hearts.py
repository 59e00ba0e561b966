"""A scripted heart: beats at given seconds, with the quality and the ticks that a pipeline would send beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

from edge.messages import Beat, BeatKind, Quality, Tick
from edge.monitoring.beat_classes import BeatClasses

S = 1_000_000_000
LATENCY_S = 0.5


def beat(at_s: float, rr_s: float | None = None, **fields) -> Beat:
    """Return a narrow, clean beat at `at_s`."""
    return Beat(
        sensor="chest",
        stream="ecg",
        at_ns=round(at_s * S),
        sequence=round(at_s * 250),
        rr_ms=None if rr_s is None else rr_s * 1000,
        quality=0.9,
        width_ms=90.0,
        similarity=0.98,
        **fields,
    )


def ventricular(at_s: float, rr_s: float | None = None) -> Beat:
    """Return a wide beat unlike the dominant one."""
    return replace(beat(at_s, rr_s), width_ms=150.0, similarity=0.3, is_premature=True)


def classified(at_s: float, rr_s: float | None = None) -> Beat:
    """Return a beat that a model called ventricular."""
    return replace(beat(at_s, rr_s), kind=BeatKind.VENTRICULAR)


def quality(at_s: float, *, is_usable: bool = True, sensor: str = "chest", reason: str = "noise") -> Quality:
    return Quality(
        sensor=sensor,
        stream="ecg",
        at_ns=round(at_s * S),
        index=0.9 if is_usable else 0.2,
        is_usable=is_usable,
        reasons=() if is_usable else (reason,),
        sequence=round(at_s * 250),
    )


def train(intervals_s: Sequence[float], start_s: float = 0.5, make: Callable[..., Beat] = beat) -> list[Beat]:
    """Return beats separated by `intervals_s`; the first has no interval."""
    times = list(accumulate(intervals_s, initial=start_s))
    return [make(at_s, rr_s) for at_s, rr_s in zip(times, [None, *intervals_s], strict=True)]


def joined(*trains: list[Beat]) -> list[Beat]:
    """Return trains one after the other, each first beat with its interval to the train before."""
    beats = list(trains[0])
    for following in trains[1:]:
        first, *rest = following
        beats += [replace(first, rr_ms=(first.at_ns - beats[-1].at_ns) / 1e6), *rest]
    return beats


def stream(
    beats: Sequence[Beat], until_s: int, is_usable: Callable[[int], bool] = lambda _: True, start_s: int = 0
) -> list[object]:
    """Return beats (late by `LATENCY_S`), one quality and one tick a second, in the order of a pipeline."""
    items: list[object] = []
    waiting = list(beats)
    for second in range(start_s + 1, until_s + 1):
        while waiting and waiting[0].at_ns + LATENCY_S * S <= second * S:
            items.append(waiting.pop(0))
        items.extend((quality(second, is_usable=is_usable(second)), Tick(at_ns=second * S)))
    return items


def run(rules, items) -> list:
    """Return what the rules say, each beat classified by its shape right after it as in a pipeline without a model."""
    classes = BeatClasses()
    return [out for item in items for each in (item, *classes.push(item)) for out in rules.push(each)]
