from __future__ import annotations

import pytest

from edge.gateway_alarms import SHOWN_S, GatewayAlarms
from edge.messages import AlertKind, Priority
from edge.outbox.record import Notice, Trouble

S = 1_000_000_000


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_of_the_store_becomes_a_technical_condition(trouble):
    """None is only logged: a person is told, in a sentence, with the detail as evidence."""
    (condition,) = GatewayAlarms().notice(Notice(trouble=trouble, detail="why", n_records=3), 5 * S)

    assert condition.is_active
    assert condition.kind is AlertKind.TECHNICAL
    assert condition.code == f"outbox-{trouble.value}"
    assert condition.sentence.endswith(".")
    assert condition.evidence == {"detail": "why", "n_records": 3}


def test_a_disk_that_takes_no_alert_is_urgent():
    (condition,) = GatewayAlarms().notice(Notice(trouble=Trouble.DISK_FULL, detail=""), 0)

    assert condition.priority is Priority.HIGH


def test_repeated_notices_are_one_condition_until_none_came_for_a_while():
    """A failing disk speaks with every write; people are told once, and when it is over."""
    alarms = GatewayAlarms()
    notice = Notice(trouble=Trouble.DISK_FAULT, detail="I/O error")
    alarms.notice(notice, 0)

    repeated = alarms.notice(notice, 100 * S)
    early = alarms.time_passed(round((SHOWN_S + 50) * S))
    late = alarms.time_passed(round((SHOWN_S + 100) * S))

    assert repeated == []
    assert early == []
    assert [(condition.code, condition.is_active) for condition in late] == [("outbox-disk-fault", False)]
    assert alarms.time_passed(round((SHOWN_S + 200) * S)) == []
