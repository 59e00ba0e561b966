"""The life of an alert as one table: state and event in, next state and effect out.

`alarms` carries it out.  Everything that decides the state of an alert stands here; a transition that is not in the
table cannot happen, and a test proves that every pair of state and event is in it.
"""

from __future__ import annotations

from enum import StrEnum

from edge.messages import AlertState


class AlarmEvent(StrEnum):
    """What can happen to an alert."""

    ONSET = "onset"
    """The condition began."""
    PRIORITY_UP = "priority-up"
    """The condition goes on and became more urgent."""
    OFF = "off"
    """The condition of a non-latching alert is over."""
    OFF_LATCHING = "off-latching"
    """The condition of a latching alert is over."""
    ACKNOWLEDGE = "acknowledge"
    SILENCE = "silence"
    SILENCE_EXPIRED = "silence-expired"


class Effect(StrEnum):
    """What a transition does."""

    OPEN = "open"
    """A new alert with a new id, revision 1."""
    REVISE = "revise"
    """The same alert, next revision."""
    SOUND = "sound"
    """The same alert, next revision, with a new cause: its acknowledgement and its silence no longer hold."""
    MERGE = "merge"
    """No revision: the episode is counted, the next revision carries it."""
    NOTHING = "nothing"
    REFUSE = "refuse"
    """Answered with a `CommandRefused`."""


_S, _E, _F = AlertState, AlarmEvent, Effect

# fmt: off
TRANSITIONS: dict[tuple[AlertState, AlarmEvent], tuple[AlertState, Effect]] = {
    # CLOSED is also where a condition starts that has no alert yet; a closed alert never comes back under its id.
    (_S.CLOSED, _E.ONSET):                            (_S.RAISED, _F.OPEN),
    (_S.CLOSED, _E.PRIORITY_UP):                      (_S.RAISED, _F.OPEN),
    (_S.CLOSED, _E.OFF):                              (_S.CLOSED, _F.NOTHING),
    (_S.CLOSED, _E.OFF_LATCHING):                     (_S.CLOSED, _F.NOTHING),
    (_S.CLOSED, _E.ACKNOWLEDGE):                      (_S.CLOSED, _F.REFUSE),
    (_S.CLOSED, _E.SILENCE):                          (_S.CLOSED, _F.REFUSE),
    (_S.CLOSED, _E.SILENCE_EXPIRED):                  (_S.CLOSED, _F.NOTHING),

    (_S.RAISED, _E.ONSET):                            (_S.RAISED, _F.MERGE),  # it flapped while held open
    (_S.RAISED, _E.PRIORITY_UP):                      (_S.RAISED, _F.SOUND),
    (_S.RAISED, _E.OFF):                              (_S.CLOSED, _F.REVISE),
    (_S.RAISED, _E.OFF_LATCHING):                     (_S.CLEARED_UNACKNOWLEDGED, _F.REVISE),
    (_S.RAISED, _E.ACKNOWLEDGE):                      (_S.ACKNOWLEDGED, _F.REVISE),
    (_S.RAISED, _E.SILENCE):                          (_S.RAISED, _F.REVISE),
    (_S.RAISED, _E.SILENCE_EXPIRED):                  (_S.RAISED, _F.REVISE),

    (_S.ACKNOWLEDGED, _E.ONSET):                      (_S.RAISED, _F.SOUND),
    (_S.ACKNOWLEDGED, _E.PRIORITY_UP):                (_S.RAISED, _F.SOUND),
    (_S.ACKNOWLEDGED, _E.OFF):                        (_S.CLOSED, _F.REVISE),
    (_S.ACKNOWLEDGED, _E.OFF_LATCHING):               (_S.CLOSED, _F.REVISE),
    (_S.ACKNOWLEDGED, _E.ACKNOWLEDGE):                (_S.ACKNOWLEDGED, _F.NOTHING),  # idempotent
    (_S.ACKNOWLEDGED, _E.SILENCE):                    (_S.ACKNOWLEDGED, _F.NOTHING),  # it is silent already
    (_S.ACKNOWLEDGED, _E.SILENCE_EXPIRED):            (_S.ACKNOWLEDGED, _F.NOTHING),

    (_S.CLEARED_UNACKNOWLEDGED, _E.ONSET):            (_S.RAISED, _F.SOUND),
    (_S.CLEARED_UNACKNOWLEDGED, _E.PRIORITY_UP):      (_S.RAISED, _F.SOUND),
    (_S.CLEARED_UNACKNOWLEDGED, _E.OFF):              (_S.CLEARED_UNACKNOWLEDGED, _F.NOTHING),
    (_S.CLEARED_UNACKNOWLEDGED, _E.OFF_LATCHING):     (_S.CLEARED_UNACKNOWLEDGED, _F.NOTHING),
    (_S.CLEARED_UNACKNOWLEDGED, _E.ACKNOWLEDGE):      (_S.CLOSED, _F.REVISE),
    (_S.CLEARED_UNACKNOWLEDGED, _E.SILENCE):          (_S.CLEARED_UNACKNOWLEDGED, _F.REVISE),
    (_S.CLEARED_UNACKNOWLEDGED, _E.SILENCE_EXPIRED):  (_S.CLEARED_UNACKNOWLEDGED, _F.REVISE),
}
# fmt: on
