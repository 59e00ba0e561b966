"""Messages of every kind, their encoder, and the published schemas with everything unknown forbidden."""

from __future__ import annotations

import functools
import json

import jsonschema

from edge.messages import (
    Alert,
    AlertKind,
    AlertState,
    Gap,
    LinkChange,
    LinkState,
    Measurement,
    Priority,
    Reading,
    ReadingStatus,
    Statistic,
    Summary,
)
from edge.outbox.record import Loss, LossReason
from edge.publishing.payloads import EnvelopeSettings, Payloads
from edge.publishing.schemas import all_schemas, schema_name, strict
from tests.fakes.outbox_records import NTP

START_WALL_NS = 1_772_348_404_120_000_000  # 2026-03-01T07:00:04.120Z
S = 10**9


def payloads(**changes) -> Payloads:
    settings = {"gateway": "gw-7f3a", "site": "north", "boot": "b-41", "mode": "test", "subject": "p-9c1e", **changes}
    return Payloads(
        EnvelopeSettings(**settings), to_wall_ns=lambda at_ns: START_WALL_NS + at_ns, clock_state=lambda: NTP
    )


def alert(number: int = 1, revision: int = 1, **changes) -> Alert:
    fields = {
        "id": f"asystole-{number}",
        "revision": revision,
        "episode": number,
        "kind": AlertKind.PHYSIOLOGICAL,
        "priority": Priority.HIGH,
        "condition": "asystole",
        "sentence": "No heart beat for 4 s.",
        "state": AlertState.RAISED,
        "is_latched": True,
        "onset_at_ns": number * S,
        "at_ns": (number + 4) * S,
        "evidence": {"pause_s": 4.2, "limits": {"high": 4.0}},
        **changes,
    }
    return Alert(**fields)


def summary(number: int = 0, **changes) -> Summary:
    fields = {
        "start_ns": number * 60 * S,
        "end_ns": (number + 1) * 60 * S,
        "statistics": {
            "heart_rate_bpm": Statistic(unit="/min", n=60, minimum=61.0, median=72.0, maximum=90.0, coverage_pct=100.0)
        },
        "n_beats": 72,
        "coverage_pct": 98.5,
        "quality": 0.93,
        "losses": {"radio": 12},
        "alerts": {"asystole": 1},
        "rhythm_s": {"N": 58.0, "ASYS": 2.0},
        **changes,
    }
    return Summary(**fields)


MEASUREMENT = Measurement(value=72.0, unit="/min", quality=0.94, source="chest/ecg")
ABSENT = Measurement(value=None, unit="/min", absent="lead-off", quality=0.1, source="chest/ecg")
READING = Reading(
    sensor="finger", measure="spo2_pct", value=97.0, unit="%", measured_at_ns=S, status=ReadingStatus.VALID
)
GAP = Gap(sensor="chest", stream="ecg", start_ns=S, end_ns=3 * S, n_missing=500, reason="radio")
LINK = LinkChange(sensor="chest", state=LinkState.LOST, reason="cable pulled", at_ns=S)
LOSS = Loss(
    topic="vitaledge/v1/north/gw-7f3a/reading/spo2",
    reason=LossReason.QUOTA,
    n_records=12,
    first_sequence=4,
    last_sequence=19,
    first_at_ns=START_WALL_NS,
    last_at_ns=START_WALL_NS + S,
)


@functools.cache
def validator(schema: str) -> jsonschema.Draft202012Validator:
    document = strict(all_schemas()[schema_name(schema)])
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def validated(payload: bytes) -> dict:
    """The body in `payload` once it has passed the schema that it names, unknown fields forbidden."""
    body = json.loads(payload)
    validator(body["schema"]).validate(body)
    return body
