"""The alarm life-cycle: what the rules claim and what people command in, revisions of alerts out.

What decides the state of an alert stands in `alarm_transitions.TRANSITIONS`; this file only carries it out.
Fed by the rules of this folder (`Condition`), by the command topic (`AlarmCommand`) and by time (`Tick`).

Alarms are no signal: a gap does not end an emergency, so nobody resets this stage at a gap.  `reset` means a new
session; call `close_all` before it, so that every open alert is seen to end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from edge.messages import Acknowledgement, Alert, AlertState, Condition, Json, Priority, Tick
from edge.monitoring.alarm_commands import AlarmCommand, CommandKind, CommandRefused
from edge.monitoring.alarm_transitions import TRANSITIONS, AlarmEvent, Effect

__all__ = ["AlarmCommand", "AlarmSettings", "Alarms", "CommandKind", "CommandRefused"]

_NS_PER_S = 1_000_000_000
_GOING_ON = (AlertState.RAISED, AlertState.ACKNOWLEDGED)
_RANK = {Priority.LOW: 0, Priority.MEDIUM: 1, Priority.HIGH: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmSettings:
    """How alerts live."""

    max_silence_s: float = 120.0
    """Longest silence.  Own choice: two minutes is what bedside monitors commonly offer as audio pause."""
    min_reraise_s: float = 60.0
    """A condition that comes back this soon after its last alert ended is flapping: its alert rises at once, but is
    then held open for this long instead of ending and rising again, so that one condition makes about one alert per
    interval.  Own choice: the period of a summary."""
    restore_grace_s: float = 120.0
    """How long after a restart an open alert of the last run waits for its condition to be seen again.  Own choice:
    connecting and settling plus the slowest rule of this folder (60 s)."""
    n_remembered: int = 256
    """How many ended alerts are remembered, so that a repeated acknowledgement is answered as the first was."""

    def __post_init__(self) -> None:
        if min(self.max_silence_s, self.min_reraise_s, self.restore_grace_s, self.n_remembered) < 0:
            raise ValueError(f"expected settings >= 0, got {self}")


@dataclass(slots=True)
class _Life:
    """What is known about one condition."""

    n_episodes: int = 0
    alert: Alert | None = None
    """The open alert; None while there is none."""
    is_on: bool | None = False
    """Whether the rule says that it is present; None after a restart, until the rule has said anything."""
    priority: Priority = Priority.LOW
    """What the rule last claimed; the alert keeps the highest."""
    cause_revision: int = 1
    """Revision in which the present cause appeared: an older one cannot be acknowledged."""
    ended_at_ns: int | None = None
    """When its last alert stopped being raised."""
    held_until_ns: int | None = None
    """It is flapping: the alert stays raised until then even if the condition is over."""
    unseen_until_ns: int | None = None
    """Restored: the condition counts as over if nobody has claimed it again by then."""
    closing: Condition | None = None
    """The claim that ends a held alert."""
    evidence: dict[str, Json] = field(default_factory=dict)
    """Of the latest claim."""


class Alarms:
    """Every open alert of one subject, and how each goes on.

    Parameters
    ----------
    settings : AlarmSettings
        How alerts live.
    id_source : callable
        Gives an id that was never given before; the runtime passes time-ordered UUIDs.

    Notes
    -----
    * A claim raises its alert in the same push; nothing here ever delays a rise or a higher priority.
    * The priority of an open alert never goes down.  A cause that becomes *more* urgent than the rule's previous claim
      voids acknowledgement and silence.
    * Acknowledging touches one alert: others, even of the same rule on another sensor, go on.
    """

    def __init__(self, settings: AlarmSettings, id_source: Callable[[], str]) -> None:
        self._id_source = id_source
        self._settings = settings
        self._lives: dict[str, _Life] = {}
        self._remembered: OrderedDict[str, Alert] = OrderedDict()

    def push(self, item: Condition | AlarmCommand | Tick) -> list[Alert | CommandRefused]:
        """Return the new revisions that `item` led to, or one refusal."""
        match item:
            case Condition():
                return [*self._claimed(item)]
            case AlarmCommand():
                return self._commanded(item)
            case Tick():
                return [*self._time_passed(item.at_ns)]

    def snapshot(self) -> tuple[Alert, ...]:
        """Return the latest revision of every open alert, oldest onset first: what `restore` takes."""
        alerts = [life.alert for life in self._lives.values() if life.alert is not None]
        return tuple(sorted(alerts, key=lambda alert: (alert.onset_at_ns, alert.id)))

    def restore(self, alerts: Iterable[Alert], at_ns: int) -> list[Alert]:
        """Return a new revision of every alert that the last run left open, and go on with it.

        Latching ones stay until acknowledged, as if nothing had happened.  The others wait for their condition: seen
        again within ``restore_grace_s`` they go on under the same id (acknowledged ones stay acknowledged), otherwise
        they are closed with ``"ended_by": "restart"`` in the evidence.

        Parameters
        ----------
        alerts : iterable of Alert
            The last `snapshot`, instants converted to this run's monotonic clock by the caller.
        at_ns : int
            Now.

        Raises
        ------
        ValueError
            If this stage has already been given something, or two open alerts share a condition.
        """
        if self._lives:
            raise ValueError("expected to restore before the first push")
        revisions = []
        for alert in alerts:
            if alert.state is AlertState.CLOSED:
                continue
            if alert.condition in self._lives:
                raise ValueError(f"expected one open alert of {alert.condition}, got two")
            life = _Life(
                n_episodes=alert.episode,
                alert=alert,
                priority=alert.priority,
                cause_revision=alert.revision,
                evidence={**alert.evidence, "restored": True},
            )
            if alert.state is not AlertState.CLEARED_UNACKNOWLEDGED:
                life.is_on = None
                life.unseen_until_ns = at_ns + _ns(self._settings.restore_grace_s)
            self._lives[alert.condition] = life
            revisions.append(self._revise(life, replace(alert, silenced_until_ns=None), alert.state, at_ns))
        return revisions

    def close_all(self, reason: str, at_ns: int) -> list[Alert]:
        """Return the closing revision of every open alert, latched ones included, as at the end of a session."""
        closed = []
        for life in self._lives.values():
            if life.alert is not None:
                life.evidence["ended_by"] = reason
                life.is_on = False
                closed.append(self._revise(life, life.alert, AlertState.CLOSED, at_ns))
        return closed

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; `close_all` is what carries the reason
        """Forget everything, as for a new session; never called at a gap."""
        self._lives.clear()
        self._remembered.clear()

    # --- conditions ---------------------------------------------------------------------------------------

    def _claimed(self, claim: Condition) -> list[Alert]:
        life = self._lives.setdefault(claim.code, _Life())
        if not claim.is_active:
            return self._claimed_over(life, claim)
        was_on, was_priority = life.is_on, life.priority
        life.is_on, life.priority = True, claim.priority
        life.unseen_until_ns = None
        life.closing = None
        life.evidence = {**_kept(life.evidence), **claim.evidence}
        if was_on is False:
            return self._apply(life, AlarmEvent.ONSET, claim)
        if _RANK[claim.priority] > _RANK[was_priority]:
            return self._apply(life, AlarmEvent.PRIORITY_UP, claim)
        return []

    def _claimed_over(self, life: _Life, claim: Condition) -> list[Alert]:
        if life.is_on is False:
            return []
        life.is_on = False
        life.unseen_until_ns = None
        life.evidence = {**_kept(life.evidence), **claim.evidence}
        if life.held_until_ns is not None and claim.at_ns < life.held_until_ns and _is_raised(life):
            life.closing = claim
            return []
        return self._apply(life, _off(life), claim)

    def _apply(self, life: _Life, event: AlarmEvent, claim: Condition) -> list[Alert]:
        state = AlertState.CLOSED if life.alert is None else life.alert.state
        to, effect = TRANSITIONS[state, event]
        if event is AlarmEvent.ONSET:
            life.n_episodes += 1
        if effect is Effect.OPEN:
            return [self._open(life, claim)]
        if life.alert is None or effect is Effect.NOTHING:
            return []
        if effect is Effect.MERGE:
            life.evidence["merged_episodes"] = _count(life.evidence.get("merged_episodes")) + 1
            return []
        if effect is Effect.SOUND:
            return self._sound(life, life.alert, claim, is_onset=event is AlarmEvent.ONSET)
        life.closing = None
        sentence = claim.sentence
        if to is AlertState.CLEARED_UNACKNOWLEDGED:  # what nobody has seen yet must still be said, not only its end
            sentence = f"{life.alert.sentence} Over: {claim.sentence}"
        return [self._revise(life, replace(life.alert, sentence=sentence), to, claim.at_ns)]

    def _open(self, life: _Life, claim: Condition) -> Alert:
        life.alert = Alert(
            id=self._id_source(),
            revision=1,
            episode=life.n_episodes,
            kind=claim.kind,
            priority=claim.priority,
            condition=claim.code,
            sentence=claim.sentence,
            state=AlertState.RAISED,
            is_latched=claim.is_latching,
            onset_at_ns=claim.onset_at_ns,
            at_ns=claim.at_ns,
            evidence=dict(life.evidence),
        )
        life.cause_revision = 1
        self._hold_if_flapping(life, claim.at_ns)
        return life.alert

    def _sound(self, life: _Life, alert: Alert, claim: Condition, *, is_onset: bool) -> list[Alert]:
        priority = max(alert.priority, claim.priority, key=_RANK.__getitem__)
        if not is_onset and alert.state is AlertState.RAISED and priority is alert.priority:
            return []  # already this urgent and sounding: no revision that says nothing new
        changed = replace(
            alert,
            sentence=claim.sentence,
            priority=priority,
            onset_at_ns=claim.onset_at_ns if is_onset else alert.onset_at_ns,
            acknowledged=None,
            silenced_until_ns=None,
        )
        revision = self._revise(life, changed, AlertState.RAISED, claim.at_ns)
        life.cause_revision = revision.revision
        self._hold_if_flapping(life, claim.at_ns)
        return [revision]

    def _hold_if_flapping(self, life: _Life, at_ns: int) -> None:
        interval_ns = _ns(self._settings.min_reraise_s)
        if life.ended_at_ns is not None and at_ns - life.ended_at_ns < interval_ns:
            life.held_until_ns = at_ns + interval_ns

    # --- commands -----------------------------------------------------------------------------------------

    def _commanded(self, command: AlarmCommand) -> list[Alert | CommandRefused]:
        life = next((x for x in self._lives.values() if x.alert is not None and x.alert.id == command.alert_id), None)
        if life is None or life.alert is None:
            return self._commanded_late(command)
        if not 1 <= command.revision <= life.alert.revision:
            return [CommandRefused(command=command, reason="revision")]
        event = AlarmEvent.SILENCE if command.kind is CommandKind.SILENCE else AlarmEvent.ACKNOWLEDGE
        to, effect = TRANSITIONS[life.alert.state, event]
        if effect is Effect.NOTHING:
            return []
        if command.revision < life.cause_revision:
            return [CommandRefused(command=command, reason="stale")]
        if event is AlarmEvent.SILENCE:
            return self._silence(life, life.alert, to, command)
        return [*self._acknowledge(life, life.alert, to, command)]

    def _acknowledge(self, life: _Life, alert: Alert, to: AlertState, command: AlarmCommand) -> list[Alert]:
        note = Acknowledgement(by=command.by, at_ns=command.at_ns, via=command.via)
        changed = replace(alert, acknowledged=note, silenced_until_ns=None)
        revisions = [self._revise(life, changed, to, command.at_ns)]
        if life.closing is not None:  # it was only held open against flapping
            revisions += self._apply(life, _off(life), replace(life.closing, at_ns=command.at_ns))
        return revisions

    def _silence(
        self, life: _Life, alert: Alert, to: AlertState, command: AlarmCommand
    ) -> list[Alert | CommandRefused]:
        silence_s = self._settings.max_silence_s if command.silence_s is None else command.silence_s
        if not 0 < silence_s <= self._settings.max_silence_s:
            return [CommandRefused(command=command, reason="duration")]
        life.evidence |= {"silenced_by": command.by, "silenced_via": command.via}
        changed = replace(alert, silenced_until_ns=command.at_ns + _ns(silence_s))
        return [self._revise(life, changed, to, command.at_ns)]

    def _commanded_late(self, command: AlarmCommand) -> list[Alert | CommandRefused]:
        alert = self._remembered.get(command.alert_id)
        if alert is None:
            return [CommandRefused(command=command, reason="unknown")]
        if command.kind is CommandKind.ACKNOWLEDGE and alert.acknowledged is not None:
            return []  # the same acknowledgement again, as QoS 1 may deliver it
        return [CommandRefused(command=command, reason="closed")]

    # --- time ---------------------------------------------------------------------------------------------

    def _time_passed(self, at_ns: int) -> list[Alert]:
        revisions: list[Alert] = []
        for life in self._lives.values():
            revisions += self._end_silence(life, at_ns)
            if life.closing is not None and life.held_until_ns is not None and at_ns >= life.held_until_ns:
                revisions += self._apply(life, _off(life), replace(life.closing, at_ns=at_ns))
            if life.alert is not None and life.unseen_until_ns is not None and at_ns >= life.unseen_until_ns:
                life.unseen_until_ns = None
                life.is_on = False
                life.evidence["ended_by"] = "restart"
                to, _ = TRANSITIONS[life.alert.state, _off(life)]
                revisions.append(self._revise(life, life.alert, to, at_ns))
        return revisions

    def _end_silence(self, life: _Life, at_ns: int) -> list[Alert]:
        alert = life.alert
        if alert is None or alert.silenced_until_ns is None or at_ns < alert.silenced_until_ns:
            return []
        to, _ = TRANSITIONS[alert.state, AlarmEvent.SILENCE_EXPIRED]
        return [self._revise(life, replace(alert, silenced_until_ns=None), to, at_ns)]

    def _revise(self, life: _Life, changed: Alert, to: AlertState, at_ns: int) -> Alert:
        alert = replace(
            changed,
            revision=changed.revision + 1,
            episode=life.n_episodes,
            state=to,
            at_ns=at_ns,
            evidence=dict(life.evidence),
        )
        if changed.state in _GOING_ON and to not in _GOING_ON:
            life.ended_at_ns = at_ns
            life.held_until_ns = None
        life.alert = alert
        if to is AlertState.CLOSED:
            self._forget(life, alert)
        return alert

    def _forget(self, life: _Life, alert: Alert) -> None:
        life.alert = None
        life.evidence = {}
        life.closing = None
        life.held_until_ns = None
        self._remembered[alert.id] = alert
        while len(self._remembered) > self._settings.n_remembered:
            self._remembered.popitem(last=False)


def _off(life: _Life) -> AlarmEvent:
    is_latching = life.alert is not None and life.alert.is_latched
    return AlarmEvent.OFF_LATCHING if is_latching else AlarmEvent.OFF


def _is_raised(life: _Life) -> bool:
    return life.alert is not None and life.alert.state is AlertState.RAISED


def _kept(evidence: Mapping[str, Json]) -> dict[str, Json]:
    """Return what this file put into the evidence itself; the rest belongs to the latest claim."""
    own = ("merged_episodes", "restored", "silenced_by", "silenced_via")
    return {key: evidence[key] for key in own if key in evidence}


def _count(value: Json) -> int:
    return value if isinstance(value, int) else 0


def _ns(duration_s: float) -> int:
    return round(duration_s * _NS_PER_S)
