"""Open alerts as bytes: what was written comes back, and what cannot be read is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.alarm_memory import recall, remember
from edge.errors import OutboxError
from edge.messages import Acknowledgement, Alert, AlertKind, AlertState, Priority

WALL_NS = 1_772_348_404_120_000_000
INSTANTS = st.integers(min_value=-(2**62), max_value=2**62)
TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
ALERTS = st.builds(
    Alert,
    id=TEXT,
    revision=st.integers(1, 10**9),
    episode=st.integers(1, 10**9),
    kind=st.sampled_from(AlertKind),
    priority=st.sampled_from(Priority),
    condition=TEXT,
    sentence=TEXT,
    state=st.sampled_from(AlertState),
    is_latched=st.booleans(),
    onset_at_ns=INSTANTS,
    at_ns=INSTANTS,
    acknowledged=st.none() | st.builds(Acknowledgement, by=TEXT, at_ns=INSTANTS, via=TEXT),
    silenced_until_ns=st.none() | INSTANTS,
    evidence=st.dictionaries(TEXT, JSON, max_size=3),
)


@given(st.lists(ALERTS, max_size=3))
def test_every_alert_comes_back_as_it_was(alerts):
    """Instants to the nanosecond, though the monotonic clock of the next boot begins elsewhere."""
    data = remember(alerts, lambda at_ns: at_ns + WALL_NS)

    assert recall(data, lambda wall_ns: wall_ns - WALL_NS) == tuple(alerts)


def test_instants_keep_their_distance_on_another_clock():
    """An alert that began ten seconds before the restart began ten seconds before now."""
    (alert,) = recall(remember([_alert()], lambda at_ns: at_ns + WALL_NS), lambda wall_ns: wall_ns - WALL_NS - 10**12)

    assert alert.at_ns - alert.onset_at_ns == _alert().at_ns - _alert().onset_at_ns
    assert alert == replace(
        _alert(), onset_at_ns=_alert().onset_at_ns - 10**12, at_ns=_alert().at_ns - 10**12, acknowledged=None
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"version": 2, "alerts": []}',
        b'{"version": 1}',
        b'{"version": 1, "alerts": 7}',
        b'{"version": 1, "alerts": [7]}',
        b'{"version": 1, "alerts": [{}]}',
        json.dumps({"version": 1, "alerts": [{"id": "a", "state": "broken"}]}).encode(),
    ],
)
def test_what_is_no_memory_is_refused(data):
    """One error for all of it; nothing is guessed."""
    with pytest.raises(OutboxError):
        recall(data, lambda wall_ns: wall_ns)


def test_instant_beyond_all_numbers_is_refused():
    """A digit flipped into an ``e`` makes an infinity of a time."""
    memory = remember([_alert()], lambda at_ns: at_ns).replace(b"5000000000", b"1e99999999")

    with pytest.raises(OutboxError):
        recall(memory, lambda wall_ns: wall_ns)


@given(st.data())
def test_damage_anywhere_is_refused_or_still_an_alert(data):
    """A flipped byte gives alerts or the error, never another exception."""
    memory = bytearray(remember([_alert()], lambda at_ns: at_ns))
    at = data.draw(st.integers(0, len(memory) - 1))
    memory[at] ^= data.draw(st.integers(1, 255))

    try:
        recalled = recall(bytes(memory), lambda wall_ns: wall_ns)
    except OutboxError:
        return

    assert all(isinstance(alert, Alert) for alert in recalled)


def _alert() -> Alert:
    return Alert(
        id="a-1",
        revision=3,
        episode=2,
        kind=AlertKind.TECHNICAL,
        priority=Priority.MEDIUM,
        condition="lead-off:bed/ecg",
        sentence="Lead off.",
        state=AlertState.RAISED,
        is_latched=False,
        onset_at_ns=5 * 10**9,
        at_ns=10 * 10**9,
        evidence={"detail": "", "duration_s": 5.0},
    )
