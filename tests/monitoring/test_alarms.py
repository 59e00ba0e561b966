"""The alarm life-cycle: nothing is lost, nothing is masked, nothing floods."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.messages import Alert, AlertKind, AlertState, Condition, Priority, Tick
from edge.monitoring.alarm_commands import AlarmCommand, CommandKind, CommandRefused
from edge.monitoring.alarm_transitions import TRANSITIONS, AlarmEvent
from edge.monitoring.alarms import Alarms, AlarmSettings

S = 1_000_000_000


def make(prefix="a", **settings):
    counter = itertools.count(1)
    return Alarms(AlarmSettings(**settings), lambda: f"{prefix}{next(counter)}")


def claim(code="tachy", *, on=True, at_s=0.0, priority=Priority.MEDIUM, latching=False, **evidence):
    return Condition(
        code=code,
        kind=AlertKind.PHYSIOLOGICAL,
        priority=priority,
        is_active=on,
        at_ns=round(at_s * S),
        onset_at_ns=round(at_s * S),
        sentence=f"{code} {'on' if on else 'over'} at {at_s} s",
        is_latching=latching,
        evidence=evidence,
    )


def acknowledge(alert_id, revision, at_s=0.0, by="nurse-1"):
    return AlarmCommand(
        kind=CommandKind.ACKNOWLEDGE, alert_id=alert_id, revision=revision, by=by, via="mqtt", at_ns=round(at_s * S)
    )


def silence(alert_id, revision, at_s=0.0, silence_s=None):
    return AlarmCommand(
        kind=CommandKind.SILENCE,
        alert_id=alert_id,
        revision=revision,
        by="nurse-1",
        via="mqtt",
        at_ns=round(at_s * S),
        silence_s=silence_s,
    )


def push_all(alarms, *items):
    return [out for item in items for out in alarms.push(item)]


def states(outputs):
    return [(out.id, out.revision, out.state.value) for out in outputs]


def test_every_state_knows_every_event():
    """The table has no hole: each pair of state and event has a stated outcome."""
    assert set(TRANSITIONS) == set(itertools.product(AlertState, AlarmEvent))


def test_a_condition_raises_one_alert_at_once():
    """The first claim raises; repeating it says nothing new."""
    alarms = make()

    first = alarms.push(claim(at_s=1.0, value=134))
    again = alarms.push(claim(at_s=2.0, value=135))

    assert states(first) == [("a1", 1, "raised")]
    assert first[0].evidence == {"value": 134}
    assert first[0].onset_at_ns == S
    assert again == []


def test_a_non_latching_alert_closes_with_its_condition():
    """The closing revision carries the latest evidence and the rule's own words."""
    alarms = make()

    outputs = push_all(alarms, claim(at_s=1.0), claim(on=False, at_s=9.0, value=80))

    assert states(outputs) == [("a1", 1, "raised"), ("a1", 2, "closed")]
    assert outputs[-1].evidence == {"value": 80}
    assert outputs[-1].sentence == "tachy over at 9.0 s"
    assert alarms.snapshot() == ()


def test_a_latching_alert_stays_until_somebody_acknowledges():
    """An asystole that ended is still to be seen by a person."""
    alarms = make()

    outputs = push_all(
        alarms, claim(latching=True), claim(on=False, latching=True, at_s=8.0), acknowledge("a1", 2, at_s=60.0)
    )

    assert states(outputs) == [("a1", 1, "raised"), ("a1", 2, "cleared_unacknowledged"), ("a1", 3, "closed")]
    assert outputs[1].sentence.startswith(outputs[0].sentence)  # what nobody has seen yet is still said
    assert outputs[-1].acknowledged.by == "nurse-1"


def test_an_acknowledged_latching_alert_closes_when_its_condition_ends():
    """Acknowledged first, over afterwards: nothing is left to do."""
    alarms = make()

    outputs = push_all(
        alarms, claim(latching=True), acknowledge("a1", 1, at_s=3.0), claim(on=False, latching=True, at_s=8.0)
    )

    assert [out.state.value for out in outputs] == ["raised", "acknowledged", "closed"]


def test_a_new_onset_of_an_unacknowledged_latched_alert_sounds_again_under_its_id():
    """One alert to acknowledge, whatever happened in between; the episode counts up."""
    alarms = make()

    outputs = push_all(
        alarms,
        claim(latching=True),
        claim(on=False, latching=True, at_s=8.0),
        claim(latching=True, at_s=100.0),
    )

    assert states(outputs)[-1] == ("a1", 3, "raised")
    assert outputs[-1].episode == 2
    assert outputs[-1].onset_at_ns == 100 * S


def test_an_acknowledgement_is_idempotent():
    """QoS 1 may deliver it twice; the second changes nothing, even after the alert has ended."""
    alarms = make()
    push_all(alarms, claim(), acknowledge("a1", 1))

    repeated = alarms.push(acknowledge("a1", 1))
    alarms.push(claim(on=False, at_s=5.0))
    late = alarms.push(acknowledge("a1", 1))

    assert repeated == []
    assert late == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (acknowledge("a9", 1), "unknown"),
        (acknowledge("a1", 7), "revision"),
        (acknowledge("a1", 0), "revision"),
        (silence("a1", 1, silence_s=0.0), "duration"),
        (silence("a1", 1, silence_s=1e9), "duration"),
        (silence("a1", 1, silence_s=float("nan")), "duration"),
    ],
)
def test_an_impossible_command_is_refused_with_its_reason(command, reason):
    """A refusal changes nothing and says why."""
    alarms = make()
    alarms.push(claim())
    before = alarms.snapshot()

    outputs = alarms.push(command)

    assert outputs == [CommandRefused(command=command, reason=reason)]
    assert alarms.snapshot() == before


def test_an_acknowledgement_of_an_alert_that_ended_by_itself_is_refused():
    """Nobody can have acknowledged what had already closed."""
    alarms = make()
    push_all(alarms, claim(), claim(on=False, at_s=5.0))

    outputs = alarms.push(acknowledge("a1", 1))

    assert outputs[0].reason == "closed"


def test_an_acknowledgement_from_before_a_new_cause_is_stale():
    """Somebody who saw the medium alert has not seen that it became high."""
    alarms = make()
    push_all(alarms, claim(), claim(priority=Priority.HIGH, at_s=2.0))

    stale = alarms.push(acknowledge("a1", 1))
    current = alarms.push(acknowledge("a1", 2))

    assert stale[0].reason == "stale"
    assert current[0].state is AlertState.ACKNOWLEDGED


def test_a_revision_without_a_new_cause_does_not_make_an_acknowledgement_stale():
    """The condition ended while the acknowledgement was on its way: it still counts."""
    alarms = make()
    push_all(alarms, claim(latching=True), claim(on=False, latching=True, at_s=5.0))

    outputs = alarms.push(acknowledge("a1", 1, at_s=5.1))

    assert outputs[0].state is AlertState.CLOSED


def test_a_higher_priority_voids_the_acknowledgement():
    """A new cause must sound."""
    alarms = make()
    push_all(alarms, claim(), acknowledge("a1", 1))

    outputs = alarms.push(claim(priority=Priority.HIGH, at_s=4.0))

    assert outputs[0].state is AlertState.RAISED
    assert outputs[0].priority is Priority.HIGH
    assert outputs[0].acknowledged is None


def test_a_rise_after_a_fall_of_priority_sounds_again():
    """Acknowledging the first rise is no licence for the second."""
    alarms = make()
    push_all(
        alarms,
        claim(priority=Priority.HIGH),
        acknowledge("a1", 1),
        claim(priority=Priority.LOW, at_s=1.0),
    )

    outputs = alarms.push(claim(priority=Priority.HIGH, at_s=2.0))

    assert states(outputs) == [("a1", 3, "raised")]


def test_acknowledging_one_alert_leaves_the_others():
    """Two simultaneous alerts, one acknowledged: the other still sounds."""
    alarms = make()
    push_all(alarms, claim("lead-off:chest/ecg"), claim("lead-off:arm/ecg"))

    alarms.push(acknowledge("a1", 1))

    assert {alert.id: alert.state.value for alert in alarms.snapshot()} == {"a1": "acknowledged", "a2": "raised"}


def test_silence_expires_and_says_who():
    """Silence is no acknowledgement: the alert is nobody's, and sounds again."""
    alarms = make(max_silence_s=120.0)
    alarms.push(claim())

    silenced = alarms.push(silence("a1", 1, at_s=10.0, silence_s=30.0))
    during = alarms.push(Tick(at_ns=39 * S))
    after = alarms.push(Tick(at_ns=40 * S))

    assert silenced[0].silenced_until_ns == 40 * S
    assert silenced[0].evidence["silenced_by"] == "nurse-1"
    assert silenced[0].acknowledged is None
    assert during == []
    assert states(after) == [("a1", 3, "raised")]
    assert after[0].silenced_until_ns is None


def test_a_new_cause_ends_silence():
    """What became more urgent is not covered by the silence of what it was."""
    alarms = make()
    push_all(alarms, claim(), silence("a1", 1))

    outputs = alarms.push(claim(priority=Priority.HIGH, at_s=4.0))

    assert outputs[0].silenced_until_ns is None


def test_a_flapping_condition_makes_about_one_alert_per_interval():
    """On and off every second for ten minutes: every alert rises at once, few alerts, few revisions."""
    alarms = make(min_reraise_s=60.0)
    outputs = []

    for second in range(600):
        outputs += push_all(alarms, claim(on=second % 2 == 0, at_s=second), Tick(at_ns=second * S))

    opened = [out for out in outputs if out.revision == 1]
    assert len(opened) <= 11
    assert len(outputs) <= 2 * len(opened)
    assert (
        max(out.episode for out in outputs) >= 270
    )  # nearly all 300, the last ones are still waiting for their revision


def test_a_flapping_latching_condition_does_not_flood_with_revisions():
    """The same for an alert that stays: it is one alert, revised about twice per interval."""
    alarms = make(min_reraise_s=60.0)
    outputs = []

    for second in range(600):
        item = claim(on=second % 2 == 0, at_s=second, latching=True)
        outputs += push_all(alarms, item, Tick(at_ns=second * S))

    assert {out.id for out in outputs} == {"a1"}
    assert len(outputs) <= 22


def test_the_guard_against_flapping_never_delays_a_rise():
    """The second alert of a condition rises in the very push that claims it."""
    alarms = make(min_reraise_s=60.0)
    push_all(alarms, claim(at_s=0.0), claim(on=False, at_s=1.0))

    outputs = alarms.push(claim(at_s=2.0))

    assert states(outputs) == [("a2", 1, "raised")]


def test_a_held_alert_closes_when_its_time_is_over():
    """A flapping condition that has calmed down does not stay on the screen."""
    alarms = make(min_reraise_s=60.0)
    push_all(alarms, claim(at_s=0.0), claim(on=False, at_s=1.0), claim(at_s=2.0), claim(on=False, at_s=3.0))

    before = alarms.push(Tick(at_ns=61 * S))
    after = alarms.push(Tick(at_ns=62 * S))

    assert before == []
    assert states(after) == [("a2", 2, "closed")]


def test_a_held_alert_whose_condition_came_back_stays_open():
    """Off and on again while held: the end of the hold must not close what goes on."""
    alarms = make(min_reraise_s=60.0)
    push_all(alarms, claim(at_s=0.0), claim(on=False, at_s=1.0), claim(at_s=2.0), claim(on=False, at_s=3.0))

    outputs = push_all(alarms, claim(at_s=4.0), Tick(at_ns=62 * S), Tick(at_ns=300 * S))

    assert outputs == []
    assert [alert.state for alert in alarms.snapshot()] == [AlertState.RAISED]


def test_acknowledging_a_held_alert_whose_condition_is_over_closes_it():
    """It was open only so that it need not rise again."""
    alarms = make(min_reraise_s=60.0)
    push_all(alarms, claim(at_s=0.0), claim(on=False, at_s=1.0), claim(at_s=2.0), claim(on=False, at_s=3.0))

    outputs = alarms.push(acknowledge("a2", 1, at_s=4.0))

    assert [out.state.value for out in outputs] == ["acknowledged", "closed"]


def test_a_restart_goes_on_with_latched_alerts():
    """An unacknowledged asystole survives the runtime."""
    before = make()
    push_all(before, claim(latching=True), claim(on=False, latching=True, at_s=5.0))
    after = make()

    restored = after.restore(before.snapshot(), at_ns=7 * S)
    later = after.push(Tick(at_ns=1000 * S))
    closed = after.push(acknowledge("a1", 3, at_s=1001.0))

    assert states(restored) == [("a1", 3, "cleared_unacknowledged")]
    assert restored[0].evidence["restored"] is True
    assert later == []
    assert states(closed) == [("a1", 4, "closed")]


def test_a_restart_closes_what_nobody_claims_again():
    """A limit alert of the last run that is not seen again ends, and says that the restart ended it."""
    before = make()
    before.push(claim())
    after = make(restore_grace_s=120.0)
    after.restore(before.snapshot(), at_ns=0)

    early = after.push(Tick(at_ns=119 * S))
    late = after.push(Tick(at_ns=120 * S))

    assert early == []
    assert states(late) == [("a1", 3, "closed")]
    assert late[0].evidence["ended_by"] == "restart"


def test_a_restart_keeps_an_acknowledgement_of_what_goes_on():
    """Acknowledgements survive restarts: the same cause does not sound twice."""
    before = make()
    push_all(before, claim(), acknowledge("a1", 1))
    after = make()
    after.restore(before.snapshot(), at_ns=0)

    seen = after.push(claim(at_s=30.0))
    later = after.push(Tick(at_ns=500 * S))

    assert seen == []
    assert later == []
    assert states(after.snapshot()) == [("a1", 3, "acknowledged")]


def test_an_acknowledgement_from_before_the_last_run_ended_is_stale_if_older_than_what_was_restored():
    """The new run does not know since when its cause holds: it asks for the revision that it published."""
    before = make()
    push_all(before, claim(latching=True), claim(latching=True, priority=Priority.HIGH, at_s=1.0))
    after = make()
    after.restore(before.snapshot(), at_ns=0)

    stale = after.push(acknowledge("a1", 1))
    current = after.push(acknowledge("a1", 3))

    assert stale[0].reason == "stale"
    assert current[0].state is AlertState.ACKNOWLEDGED


def test_restoring_leaves_out_what_had_closed():
    """A closed alert is final."""
    closed = push_all(make(), claim(), claim(on=False, at_s=1.0))[-1]
    alarms = make()

    assert alarms.restore([closed], at_ns=0) == []
    assert alarms.snapshot() == ()


def test_restoring_two_alerts_of_one_condition_is_misuse():
    """Only one of them can be open."""
    first = make().push(claim())[0]
    second = make("b").push(claim())[0]

    with pytest.raises(ValueError, match="one open alert"):
        make().restore([first, second], at_ns=0)


def test_a_priority_that_falls_and_rises_while_raised_says_nothing_new():
    """It sounds already, at its highest priority: no flood of revisions."""
    alarms = make()
    alarms.push(claim(priority=Priority.HIGH))

    outputs = push_all(
        alarms, *[claim(priority=Priority.HIGH if k % 2 else Priority.LOW, at_s=float(k)) for k in range(100)]
    )

    assert outputs == []
    assert alarms.snapshot()[0].priority is Priority.HIGH


def test_forgetting_is_bounded():
    """Only so many ended alerts are remembered; an acknowledgement of an older one is unknown."""
    alarms = make(n_remembered=2)
    for k in range(3):
        push_all(alarms, claim(at_s=k * 1000.0), acknowledge(f"a{k + 1}", 1), claim(on=False, at_s=k * 1000.0 + 100))

    assert alarms.push(acknowledge("a3", 1)) == []
    assert alarms.push(acknowledge("a1", 1))[0].reason == "unknown"


@pytest.mark.parametrize("name", ["max_silence_s", "min_reraise_s", "restore_grace_s", "n_remembered"])
def test_negative_settings_are_misuse(name):
    """No duration is negative."""
    with pytest.raises(ValueError, match="expected"):
        AlarmSettings(**{name: -1})


def test_restoring_twice_is_misuse():
    """Two sets of open alerts cannot both be the truth."""
    alarms = make()
    alarms.push(claim())

    with pytest.raises(ValueError, match="before the first push"):
        alarms.restore((), at_ns=0)


def test_closing_all_is_seen():
    """At the end of a session every open alert ends in public, latched ones included."""
    alarms = make()
    push_all(alarms, claim("a", latching=True), claim("b"), acknowledge("a2", 1))

    closed = alarms.close_all("session closed", at_ns=9 * S)

    assert [out.state.value for out in closed] == ["closed", "closed"]
    assert all(out.evidence["ended_by"] == "session closed" for out in closed)
    assert alarms.snapshot() == ()


# --- any sequence of events -------------------------------------------------------------------------------

CODES = ("x", "y")
STEPS_S = st.sampled_from((0, 1, 5, 30, 61, 130))  # within and beyond the hold, the silence and the grace
EVENTS = st.one_of(
    st.tuples(st.just("claim"), st.sampled_from(CODES), st.booleans(), st.sampled_from(list(Priority)), STEPS_S),
    st.tuples(st.just("command"), st.sampled_from(list(CommandKind)), st.integers(1, 6), st.integers(0, 8)),
    st.tuples(st.just("tick"), STEPS_S),
)


def play(alarms, events, latching):
    """Push `events`; return every output with the claims that were active at that time."""
    at_s = 0
    claimed = {}
    for event in events:
        if event[0] == "claim":
            _, code, is_on, priority, step_s = event
            at_s += step_s
            claimed[code] = (is_on, priority)
            item = claim(code, on=is_on, at_s=at_s, priority=priority, latching=latching[code])
        elif event[0] == "command":
            _, kind, number, revision = event
            item = AlarmCommand(kind=kind, alert_id=f"a{number}", revision=revision, by="n", via="cli", at_ns=at_s * S)
        else:
            at_s += event[1]
            item = Tick(at_ns=at_s * S)
        yield item, alarms.push(item), dict(claimed), alarms.snapshot()


LATCHING = st.fixed_dictionaries(dict.fromkeys(CODES, st.booleans()))
ALLOWED = {
    (AlertState.RAISED, AlertState.RAISED),
    (AlertState.RAISED, AlertState.ACKNOWLEDGED),
    (AlertState.RAISED, AlertState.CLEARED_UNACKNOWLEDGED),
    (AlertState.RAISED, AlertState.CLOSED),
    (AlertState.ACKNOWLEDGED, AlertState.RAISED),
    (AlertState.ACKNOWLEDGED, AlertState.CLOSED),
    (AlertState.CLEARED_UNACKNOWLEDGED, AlertState.RAISED),
    (AlertState.CLEARED_UNACKNOWLEDGED, AlertState.CLEARED_UNACKNOWLEDGED),
    (AlertState.CLEARED_UNACKNOWLEDGED, AlertState.CLOSED),
}


@given(st.lists(EVENTS, max_size=60), LATCHING)
def test_any_history_is_legal(events, latching):
    """Revisions go up by one, closed is final, transitions are those of the life-cycle, latched never just vanish."""
    last: dict[str, Alert] = {}

    for _, outputs, _, _ in play(make(), events, latching):
        for out in outputs:
            if isinstance(out, CommandRefused):
                continue
            before = last.get(out.id)
            if before is None:
                assert (out.revision, out.state) == (1, AlertState.RAISED)
            else:
                assert out.revision == before.revision + 1
                assert (before.state, out.state) in ALLOWED
                if out.state is AlertState.CLOSED and out.is_latched:
                    assert out.acknowledged is not None
            last[out.id] = out


@given(st.lists(EVENTS, max_size=60), LATCHING)
def test_no_history_loses_an_alert(events, latching):
    """After every step, each active condition has exactly one open alert, at least as urgent as the claim."""
    for _, _, claimed, open_alerts in play(make(), events, latching):
        by_code = {alert.condition: alert for alert in open_alerts}
        assert len(by_code) == len(open_alerts)
        for code, (is_on, priority) in claimed.items():
            if is_on:
                alert = by_code[code]
                assert alert.state in {AlertState.RAISED, AlertState.ACKNOWLEDGED}
                assert list(Priority).index(alert.priority) <= list(Priority).index(priority)


@given(st.lists(EVENTS, max_size=60), LATCHING)
def test_no_acknowledgement_masks_a_new_cause(events, latching):
    """An onset, or a rise of priority, always leaves its alert raised, whatever was acknowledged before."""
    claimed_before: dict[str, tuple[bool, Priority]] = {}

    for item, _, claimed, open_alerts in play(make(), events, latching):
        if isinstance(item, Condition) and item.is_active:
            was_on, was_priority = claimed_before.get(item.code, (False, item.priority))
            rose = list(Priority).index(item.priority) < list(Priority).index(was_priority)
            if not was_on or rose:
                alert = next(alert for alert in open_alerts if alert.condition == item.code)
                assert alert.state is AlertState.RAISED
                assert alert.acknowledged is None
        claimed_before = claimed


@given(st.lists(EVENTS, max_size=60), LATCHING)
def test_a_command_touches_its_own_alert_only(events, latching):
    """Acknowledging or silencing one alert never changes another."""
    alerts_before: dict[str, Alert] = {}

    for item, outputs, _, open_alerts in play(make(), events, latching):
        if isinstance(item, AlarmCommand):
            assert all(out.id == item.alert_id for out in outputs if isinstance(out, Alert))
            for alert in open_alerts:
                assert alert.id == item.alert_id or alert == alerts_before[alert.id]
        alerts_before = {alert.id: alert for alert in open_alerts}


@given(st.lists(EVENTS, max_size=40), st.lists(EVENTS, max_size=40), LATCHING)
def test_no_restart_loses_or_masks_an_alert(before, after, latching):
    """Restored at any point: what was open stays open under its id until it is closed in public, for a stated cause."""
    first = make()
    for _ in play(first, before, latching):
        pass
    second = make("b")
    restored = second.restore(first.snapshot(), at_ns=0)
    last = {out.id: out for out in restored}

    for _, outputs, _, _ in play(second, after, latching):
        for out in outputs:
            if not isinstance(out, Alert) or out.id not in last:
                continue  # raised after the restart
            assert out.revision == last[out.id].revision + 1
            if out.state is AlertState.CLOSED and out.is_latched:
                assert out.acknowledged is not None
            last[out.id] = out

    open_ids = {alert.id for alert in second.snapshot()}
    assert {alert.id for alert in first.snapshot()} == {out.id for out in restored}
    assert all(out.id in open_ids for out in last.values() if out.state is not AlertState.CLOSED)
