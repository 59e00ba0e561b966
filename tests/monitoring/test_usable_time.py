from __future__ import annotations

from edge.monitoring.usable_time import UsableTime

SECOND_NS = 1_000_000_000


def fed(*verdicts):
    usable = UsableTime(restart_ns=4 * SECOND_NS)
    for at_ns, is_usable in verdicts:
        usable.add(at_ns, is_usable=is_usable)
    return usable


def test_seconds_of_a_drifting_clock_follow_each_other():
    """The instants of a corrected clock are not a whole second apart; that is no hole in the signal."""
    usable = fed(*((k * SECOND_NS + k * 300_000, True) for k in range(1, 11)))

    assert usable.is_whole(0, 10 * SECOND_NS)
    assert usable.between(300_000, 10 * SECOND_NS) == 10 * SECOND_NS - 300_000


def test_a_hole_without_any_verdict_is_unusable():
    usable = fed((1 * SECOND_NS, True), (3 * SECOND_NS, True))

    assert not usable.is_whole(0, 3 * SECOND_NS)
    assert usable.between(0, 3 * SECOND_NS) == 2 * SECOND_NS


def test_an_unusable_second_does_not_count():
    usable = fed((1 * SECOND_NS, True), (2 * SECOND_NS, False), (3 * SECOND_NS, True))

    assert usable.between(0, 3 * SECOND_NS) == 2 * SECOND_NS
    assert not usable.covers(2 * SECOND_NS)


def test_a_long_unusable_stretch_ends_what_came_before():
    """Nobody knows what the heart did in it."""
    usable = fed((1 * SECOND_NS, True), *((k * SECOND_NS, False) for k in range(2, 7)), (7 * SECOND_NS, True))

    assert usable.begins_at_ns == 6 * SECOND_NS


def test_an_older_verdict_is_ignored():
    usable = fed((5 * SECOND_NS, True), (3 * SECOND_NS, False))

    assert usable.is_whole(0, 5 * SECOND_NS)
