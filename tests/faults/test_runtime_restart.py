"""The service stops with alerts open and starts again on the same outbox: they go on, or they end."""

from __future__ import annotations

import asyncio

from edge.messages import Alert, AlertState, Vitals
from edge.monitoring.alarm_commands import AlarmCommand, CommandKind
from tests.fakes.bedside import bedside, config, fault, step, story

SPEED = 25
ASYSTOLE = story(step(20, "asystole"), step(32, "sinus", 72))
LEAD_OFF = story(fault("lead-off", 10, 90_000))


def of(condition: str, state: AlertState):
    return lambda finding: (
        isinstance(finding, Alert) and finding.condition.startswith(condition) and finding.state is state
    )


def known(finding) -> bool:
    rate = finding.measurements.get("heart_rate_bpm") if isinstance(finding, Vitals) else None
    return rate is not None and rate.value is not None


async def run(settings, text: str, wanted, *, acknowledge: bool = False) -> tuple[list[Alert], Alert]:
    """Run until `wanted` is found; return every alert and what was found."""
    async with bedside(settings, {"bed": text}, speed_ratio=SPEED) as gateway:
        found = await gateway.found(wanted)
        if acknowledge:
            command = AlarmCommand(
                kind=CommandKind.ACKNOWLEDGE,
                alert_id=found.id,
                revision=found.revision,
                by="nurse-7",
                at_ns=gateway.clock.monotonic_ns(),
                via="console",
            )
            bed = gateway.runtime.beds["p-9c1e"]
            bed._settle(bed._pipeline.command(command))
            found = await gateway.found(of(found.condition, AlertState.ACKNOWLEDGED))
    return gateway.of(Alert), found


def about(alerts: list[Alert], condition: str) -> list[Alert]:
    return [alert for alert in alerts if alert.condition.startswith(condition)]


def test_latched_alert_of_an_asystole_survives_a_restart(tmp_path):
    """Nobody has acknowledged it: it stays open under its id, and nothing raises it a second time."""
    settings = config(tmp_path, {"bed": "p-9c1e"})

    _, before = asyncio.run(run(settings, ASYSTOLE, of("asystole", AlertState.CLEARED_UNACKNOWLEDGED)))
    alerts, _ = asyncio.run(run(settings, story(), known))

    (after,) = about(alerts, "asystole")
    assert after.id == before.id
    assert after.revision == before.revision + 1
    assert after.state is AlertState.CLEARED_UNACKNOWLEDGED
    assert after.is_latched


def test_restart_after_restart_keeps_the_alert(tmp_path):
    """What was recalled is remembered again: the third run still knows it."""
    settings = config(tmp_path, {"bed": "p-9c1e"})

    _, first = asyncio.run(run(settings, ASYSTOLE, of("asystole", AlertState.CLEARED_UNACKNOWLEDGED)))
    asyncio.run(run(settings, story(), known))
    alerts, _ = asyncio.run(run(settings, story(), known))

    assert [alert.id for alert in about(alerts, "asystole")] == [first.id]


def test_alert_whose_condition_goes_on_stays_what_it_was(tmp_path):
    """Acknowledged before the restart, the lead still off after it: acknowledged, the same id, no new alarm."""
    settings = config(tmp_path, {"bed": "p-9c1e"})

    _, before = asyncio.run(run(settings, LEAD_OFF, of("lead-off", AlertState.RAISED), acknowledge=True))
    alerts, _ = asyncio.run(run(settings, LEAD_OFF, lambda f: isinstance(f, Vitals) and f.reasons == ("lead-off",)))

    after = about(alerts, "lead-off")
    assert {alert.id for alert in after} == {before.id}
    assert {alert.state for alert in after} == {AlertState.ACKNOWLEDGED}
    assert after[0].acknowledged.by == "nurse-7"


def test_alert_whose_condition_ended_meanwhile_is_closed(tmp_path):
    """The lead is back on after the restart: the alert waits its grace and then ends, saying why."""
    settings = config(tmp_path, {"bed": "p-9c1e"})

    _, before = asyncio.run(run(settings, LEAD_OFF, of("lead-off", AlertState.RAISED)))
    alerts, ended = asyncio.run(run(settings, story(), of("lead-off", AlertState.CLOSED)))

    assert ended.id == before.id
    assert ended.evidence["ended_by"] == "restart"
    assert len(about(alerts, "lead-off")) == 2
