"""Faults of a link, decided without any Bluetooth."""

from __future__ import annotations

import pytest

from edge.acquisition.transport import Remedy
from firmware_bridge.virtual.ble.bluez_faults import BluezFaults
from firmware_bridge.virtual.ble.link_faults import LinkFaults, ScenarioLine
from firmware_bridge.virtual.scenario import Fault, FaultKind

LOSSY = Fault(kind=FaultKind.FRAME_LOSS, at_s=10, duration_s=90, parameters={"probability": 0.4})


def test_a_stronger_remedy_heals_too_and_a_milder_one_does_not():
    """Who needs to be connected again is helped by a power cycle and not by a new subscription."""
    faults = LinkFaults()
    states = []

    for tried in (Remedy.RESUBSCRIBE, Remedy.POWER_CYCLE):
        faults.fall_silent(Remedy.RECONNECT)
        faults.notice(tried)
        states.append(faults.is_silent(0.0))

    assert states == [True, False]


def test_a_silence_ends_by_itself_at_its_end():
    """Nobody has tried anything, and the scenario goes on."""
    faults = LinkFaults()

    faults.fall_silent(Remedy.POWER_CYCLE, end_s=20.0)

    assert [faults.is_silent(at_s) for at_s in (0.0, 19.9, 20.0, 5.0)] == [True, True, False, False]


def test_a_remedy_from_before_the_silence_does_not_count():
    """What was tried earlier is forgotten when the sensor falls silent again."""
    faults = LinkFaults()
    faults.fall_silent(Remedy.REDISCOVER)
    faults.notice(Remedy.RECONNECT)
    faults.fall_silent(Remedy.RECONNECT)

    assert faults.is_silent(0.0)


def test_chance_belongs_to_the_seed_and_the_number_of_the_value():
    """Two runs lose the same values, another seed others; outside the fault nothing is lost."""
    runs = []
    for seed in (1, 1, 2):
        line = ScenarioLine((LOSSY,), seed, is_framed=False)
        runs.append([line.fate(at_s)[0] for at_s in range(100)])

    assert runs[0] == runs[1] != runs[2]
    assert not any(runs[0][:10])
    assert 20 < sum(runs[0]) < 52


def test_a_byte_stream_loses_its_frames_elsewhere():
    """The sensor behind the bridge acts out lost frames itself; a stall holds its bytes back all the same."""
    stall = Fault(kind=FaultKind.STALL, at_s=20, duration_s=5)

    line = ScenarioLine((LOSSY, stall), 1, is_framed=True)

    assert {line.fate(15.0) for _ in range(50)} == {(False, False, 0.0)}
    assert line.fate(22.0) == (False, False, 3.0)


def test_a_restart_and_a_pulled_cable_are_distance():
    """The radio is silent as long as the firmware restarts or the scenario says."""
    line = ScenarioLine(
        (
            Fault(kind=FaultKind.FIRMWARE_RESET, at_s=10, parameters={"restart_s": 2.0}),
            Fault(kind=FaultKind.DISCONNECT, at_s=50, duration_s=10),
        ),
        1,
        is_framed=False,
    )

    assert [line.is_out_of_range(at_s) for at_s in (9.9, 10.0, 11.9, 12.0, 50.0, 59.9, 60.0)] == [
        False,
        True,
        True,
        False,
        True,
        True,
        False,
    ]


def test_a_fault_begins_once():
    """Each of them is given out at its time and not again."""
    drop = Fault(kind=FaultKind.LINK_DROP, at_s=30)
    line = ScenarioLine((drop, LOSSY), 1, is_framed=False)

    assert [line.begun(at_s) for at_s in (29.9, 30.0, 31.0)] == [[], [drop], []]


@pytest.mark.parametrize(("m", "of"), [(3, 9), (1, 10), (9, 10), (10, 10), (0, 5), (7, 11)])
def test_so_many_of_so_many_are_dropped(m, of):
    """Exactly m of the next, spread over them, and none after."""
    faults = BluezFaults()
    faults.drop(m, of)

    fates = [faults.is_dropped() for _ in range(of + 20)]

    assert sum(fates[:of]) == faults.n_dropped == m
    assert not any(fates[of:])
    longest = max((len(run) for run in "".join("x" if each else " " for each in fates[:of]).split()), default=0)
    assert longest <= -(-m // max(1, of - m)) + 1 if m < of else longest == of


def test_more_than_there_are_cannot_be_dropped():
    """The caller's mistake is told."""
    with pytest.raises(ValueError, match="0 <= m <= of"):
        BluezFaults().drop(4, 3)
