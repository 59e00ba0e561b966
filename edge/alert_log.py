"""What happened to an alert since it was raised: one line of JSON per event beside its record, appended.

::

    {"event": "raised", "wall_ns": 17…, "id": …, "bed": …, "condition": …, "priority": …, "sentence": …, "decided_by": …}
    {"event": "state", "wall_ns": 17…, "revision": 2, "state": "acknowledged", "sentence": …, "priority": …, "by": …}
    {"event": "label", "wall_ns": 17…, "label": "true" | "false" | "unclear", "by": "nurse-4"}

The last ``label`` is the one that holds.  A torn last line is what a power cut leaves: it is passed over, as is any
line that cannot be read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from edge.alert_record import AlertRecord
from edge.messages import AlertState, Json


class Verdict(StrEnum):
    """What a clinician says of an alert afterwards."""

    TRUE = "true"
    """What it said was the case."""
    FALSE = "false"
    """It was not."""
    UNCLEAR = "unclear"
    """Nobody can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A clinician's verdict."""

    verdict: Verdict
    by: str
    wall_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertEvent:
    """A later revision of an alert."""

    wall_ns: int
    revision: int
    state: str
    by: str = ""
    """Who acknowledged it, where somebody did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSummary:
    """One alert as a list shows it."""

    path: Path
    """Of its record."""
    id: str
    bed: str
    wall_ns: int
    condition: str
    priority: str
    sentence: str
    decided_by: str
    """``rule``, or the model with the beginning of its bundle's hash."""
    state: str
    label: Label | None = None


def decided_by(decision: Mapping[str, Json] | None) -> str:
    """Return who decided, in words.

    Examples
    --------
    >>> decided_by(None)
    'rule'
    >>> decided_by({"model": "beat", "bundle_sha256": "0123456789abcdef"})
    'beat model 0123456789ab'
    """
    if decision is None:
        return "rule"
    return f"{decision.get('model', '?')} model {str(decision.get('bundle_sha256', ''))[:12]}"


def raised(record: AlertRecord) -> dict[str, Any]:
    """Return the first event of an alert."""
    alert = record.alert
    return {
        "wall_ns": alert.at_ns + record.wall_offset_ns,
        "id": alert.id,
        "bed": record.bed,
        "condition": alert.condition,
        "priority": alert.priority.value,
        "sentence": alert.sentence,
        "decided_by": decided_by(record.decision),
    }


def append(path: Path, event: dict[str, Any]) -> None:
    """Append one line, in one write, on a line of its own even after a torn one."""
    line = json.dumps(event, ensure_ascii=False) + "\n"
    is_torn = path.exists() and not path.read_bytes().endswith(b"\n")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (("\n" if is_torn else "") + line).encode("utf-8", "surrogatepass"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def summary(path: Path) -> AlertSummary | None:
    """Return what the log beside a record says of the alert; None where it does not say how it was raised."""
    log = path.with_suffix(".log")
    try:
        with log.open(encoding="utf-8", errors="surrogatepass") as file:
            values = json.loads(file.readline())
        texts = {name: str(values[name]) for name in ("id", "bed", "condition", "priority", "sentence", "decided_by")}
        wall_ns = int(values["wall_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    events, label = read_events(log)
    state = events[-1].state if events else AlertState.RAISED.value
    return AlertSummary(path=path, wall_ns=wall_ns, state=state, label=label, **texts)


def read_events(path: Path) -> tuple[tuple[AlertEvent, ...], Label | None]:
    """Return later revisions, and the label that holds; lines that cannot be read are passed over."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return (), None
    events: list[AlertEvent] = []
    label: Label | None = None
    for line in lines:
        try:
            values = json.loads(line)
            wall_ns = int(values["wall_ns"])
            if values["event"] == "label":
                label = Label(verdict=Verdict(values["label"]), by=str(values["by"]), wall_ns=wall_ns)
            elif values["event"] == "state":
                revision, state = int(values["revision"]), str(values["state"])
                events.append(AlertEvent(wall_ns=wall_ns, revision=revision, state=state, by=str(values["by"])))
        except (ValueError, KeyError, TypeError):
            continue
    return tuple(events), label
