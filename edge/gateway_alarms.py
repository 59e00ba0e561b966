"""Trouble of the gateway's own store as conditions, so that it reaches the people at the bed like any other alarm.

Fed by `app` with what the outbox has to tell.  A notice is an event and not a state: it is shown for a while, and the
next one of its kind begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.clock import NS_PER_S
from edge.messages import AlertKind, Condition, Priority
from edge.outbox.record import Notice, Trouble

SHOWN_S = 300.0
"""How long one notice is shown after the last of its kind (own choice: long enough for a round of the ward)."""

_WORDS: Mapping[Trouble, tuple[Priority, str]] = {
    Trouble.DATABASE_DAMAGED: (
        Priority.MEDIUM,
        "The store of this gateway was damaged and begun anew: some records may be missing.",
    ),
    Trouble.ROW_DAMAGED: (Priority.LOW, "A stored record was damaged and set aside."),
    Trouble.RECORDS_LOST: (Priority.MEDIUM, "Records could not be kept: the store of this gateway ran out of room."),
    Trouble.DISK_FULL: (
        Priority.HIGH,
        "The disk of this gateway is full: make room, or alerts stay in its memory only.",
    ),
    Trouble.DISK_FAULT: (Priority.HIGH, "The disk of this gateway refuses writes: alerts stay in its memory only."),
}


class GatewayAlarms:
    """Which troubles are shown, and until when."""

    def __init__(self) -> None:
        self._until_ns: dict[Trouble, int] = {}

    def notice(self, notice: Notice, at_ns: int) -> list[Condition]:
        """Return the condition that a notice begins; none while one of its kind is shown already."""
        is_new = notice.trouble not in self._until_ns
        self._until_ns[notice.trouble] = at_ns + round(SHOWN_S * NS_PER_S)
        return [_condition(notice.trouble, at_ns, is_active=True, notice=notice)] if is_new else []

    def time_passed(self, at_ns: int) -> list[Condition]:
        """Return the conditions that are over by `at_ns`."""
        over = [trouble for trouble, until_ns in self._until_ns.items() if at_ns >= until_ns]
        for trouble in over:
            del self._until_ns[trouble]
        return [_condition(trouble, at_ns, is_active=False) for trouble in over]


def _condition(trouble: Trouble, at_ns: int, *, is_active: bool, notice: Notice | None = None) -> Condition:
    priority, words = _WORDS[trouble]
    return Condition(
        code=f"outbox-{trouble.value}",
        kind=AlertKind.TECHNICAL,
        priority=priority,
        is_active=is_active,
        at_ns=at_ns,
        onset_at_ns=at_ns,
        sentence=words if is_active else f"Not seen again for {SHOWN_S:.0f} s: {words}",
        evidence={} if notice is None else {"detail": notice.detail, "n_records": notice.n_records},
    )
