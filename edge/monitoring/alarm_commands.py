"""What people may command of an alert, and the refusal they get; made from the command topic, carried out by `alarms`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CommandKind(StrEnum):
    """What a person wants done to an alert."""

    ACKNOWLEDGE = "acknowledge"
    """I have taken note and take care of it: silent until a new cause."""
    SILENCE = "silence"
    """No sound for a while; the alert is still nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmCommand:
    """What a person commands; names the alert and the revision that the person saw."""

    kind: CommandKind
    alert_id: str
    revision: int
    by: str
    """Who, as the care centre knows them."""
    via: str
    """The way it came: ``mqtt``, ``console``, ``cli`` …"""
    at_ns: int
    silence_s: float | None = None
    """How long to be silent; None for the configured longest time.  Only for `CommandKind.SILENCE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRefused:
    """A command that changed nothing, and why."""

    command: AlarmCommand
    reason: str
    """``unknown``, ``closed``, ``stale`` (a new cause since that revision), ``revision`` (never existed), ``duration``."""
