"""Open alerts as bytes, so that they survive a restart.

Instants are stored as wall time, because the monotonic clock begins anew with every boot of the machine; `recall`
turns them back.  What cannot be read is told to the caller and never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge.errors import OutboxError
from edge.messages import Acknowledgement, Alert, AlertKind, AlertState, Priority

VERSION = 1


def remember(alerts: Sequence[Alert], to_wall_ns: Callable[[int], int]) -> bytes:
    """Return `alerts` as JSON in UTF-8, instants in nanoseconds since 1970."""
    return json.dumps({"version": VERSION, "alerts": [_as_values(alert, to_wall_ns) for alert in alerts]}).encode()


def recall(data: bytes, to_monotonic_ns: Callable[[int], int]) -> tuple[Alert, ...]:
    """Return the alerts that `remember` wrote, instants on this run's monotonic clock.

    Raises
    ------
    OutboxError
        If the bytes are not what `remember` writes.
    """
    try:
        memory = json.loads(data)
        if memory["version"] != VERSION:
            raise OutboxError(f"expected open alerts in version {VERSION}, got {memory['version']!r}")
        return tuple(_as_alert(values, to_monotonic_ns) for values in memory["alerts"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise OutboxError(f"the open alerts of the last run cannot be read: {error!r}") from error


def _as_values(alert: Alert, to_wall_ns: Callable[[int], int]) -> dict[str, Any]:
    acknowledged = alert.acknowledged
    return {
        "id": alert.id,
        "revision": alert.revision,
        "episode": alert.episode,
        "kind": alert.kind.value,
        "priority": alert.priority.value,
        "condition": alert.condition,
        "sentence": alert.sentence,
        "state": alert.state.value,
        "is_latched": alert.is_latched,
        "onset_wall_ns": to_wall_ns(alert.onset_at_ns),
        "wall_ns": to_wall_ns(alert.at_ns),
        "acknowledged": None
        if acknowledged is None
        else {"by": acknowledged.by, "wall_ns": to_wall_ns(acknowledged.at_ns), "via": acknowledged.via},
        "silenced_until_wall_ns": None if alert.silenced_until_ns is None else to_wall_ns(alert.silenced_until_ns),
        "evidence": dict(alert.evidence),
    }


def _as_alert(values: Mapping[str, Any], to_monotonic_ns: Callable[[int], int]) -> Alert:
    acknowledged = values["acknowledged"]
    silenced_wall_ns = values["silenced_until_wall_ns"]
    return Alert(
        id=str(values["id"]),
        revision=int(values["revision"]),
        episode=int(values["episode"]),
        kind=AlertKind(values["kind"]),
        priority=Priority(values["priority"]),
        condition=str(values["condition"]),
        sentence=str(values["sentence"]),
        state=AlertState(values["state"]),
        is_latched=bool(values["is_latched"]),
        onset_at_ns=to_monotonic_ns(int(values["onset_wall_ns"])),
        at_ns=to_monotonic_ns(int(values["wall_ns"])),
        acknowledged=None
        if acknowledged is None
        else Acknowledgement(
            by=str(acknowledged["by"]),
            at_ns=to_monotonic_ns(int(acknowledged["wall_ns"])),
            via=str(acknowledged["via"]),
        ),
        silenced_until_ns=None if silenced_wall_ns is None else to_monotonic_ns(int(silenced_wall_ns)),
        evidence=dict(values["evidence"]),
    )
