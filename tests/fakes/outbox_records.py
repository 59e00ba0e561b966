"""Entries and stamps for the tests of outbox and publishing."""

from __future__ import annotations

import json

from edge.messages import ClockState, ClockSync
from edge.outbox.record import Entry, Lane, Loss, Stamp

NTP = ClockState(sync=ClockSync.NTP, error_ms=5.0, epoch=0)
UNKNOWN = ClockState(sync=ClockSync.UNKNOWN, error_ms=None, epoch=0)


def stamp(seconds: float = 0.0, *, boot: int = 1, clock: ClockState = NTP, wall_s: float | None = None) -> Stamp:
    wall_s = 1_700_000_000 + seconds if wall_s is None else wall_s
    return Stamp(boot=boot, monotonic_ns=round(seconds * 1e9), wall_ns=round(wall_s * 1e9), clock=clock)


def entry(number: int = 0, lane: Lane = Lane.READING, *, topic: str | None = None, size: int = 100, **rest) -> Entry:
    body = json.dumps({"schema": "test/1", "number": number, "pad": "x" * size}).encode()
    return Entry(lane=lane, topic=topic or f"v/{lane.name.lower()}", body=body, **rest)


def alert(number: int = 0, **rest) -> Entry:
    return entry(number, Lane.ALERT, **rest)


def number_of(body: bytes) -> int:
    return json.loads(body)["number"]


def gap_entry(loss: Loss) -> Entry:
    """What the composition root does with `Payloads.loss`, readable without it."""
    body = {
        "schema": "gap/1",
        "topic": loss.topic,
        "reason": loss.reason,
        "n": loss.n_records,
        "first": loss.first_sequence,
        "last": loss.last_sequence,
    }
    return Entry(lane=Lane.SUMMARY, topic="v/gap", body=json.dumps(body).encode())
