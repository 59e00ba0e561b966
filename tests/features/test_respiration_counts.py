"""Counted breaths make a rate only where they were seen without interruption."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.features.respiration_counts import BreathCounts
from edge.messages import Breath, ChannelKind, Quality

S = 1_000_000_000


def breath(at_s, interval_s, quality=0.9):
    return Breath(
        sensor="chest", stream="resp", at_ns=round(at_s * S), interval_s=interval_s, amplitude=1.0, quality=quality
    )  # fmt: skip


def verdict(at_s, *, is_usable=True, reasons=("noise",)):
    return Quality(
        sensor="chest", stream="resp", at_ns=round(at_s * S), index=0.9 if is_usable else 0.0, is_usable=is_usable,
        reasons=() if is_usable else reasons, kind=ChannelKind.RESPIRATION,
    )  # fmt: skip


def counts(at_s, until_s=60, is_usable=lambda _: True, quality=lambda _: 0.9):
    out = BreathCounts()
    items = [breath(at, None if k == 0 else at - at_s[k - 1], quality(at)) for k, at in enumerate(at_s)]
    items += [verdict(second, is_usable=is_usable(second)) for second in range(1, until_s + 1)]
    for item in sorted(items, key=lambda item: item.at_ns):
        out.add(item)
    return out


def every(interval_s, until_s=60.0):
    return [k * interval_s + 0.5 for k in range(int(until_s / interval_s))]


def test_a_breath_lost_in_bad_signal_does_not_halve_the_rate():
    """The interval over unusable seconds counts for nothing."""
    at_s = [at for at in every(4.0) if not 38 < at < 46]

    lost = counts(at_s, is_usable=lambda second: not 38 < second < 46).rate(60 * S, None)
    missed = counts(at_s).rate(60 * S, None)

    assert lost.bpm == pytest.approx(15.0)
    assert missed.bpm < 13


def test_a_breath_of_poor_quality_makes_no_interval():
    """Neither before it nor after it."""
    at_s = sorted([*every(4.0), 41.9])

    assert counts(at_s, quality=lambda at: 0.2 if at == 41.9 else 0.9).rate(60 * S, None).bpm == pytest.approx(15.0)


def test_an_overdue_breath_lowers_the_rate():
    """Twelve seconds into a pause the rate is no longer that of before, and less sure."""
    regular, paused = counts(every(3.0)), counts([at for at in every(3.0) if at < 48])

    assert regular.rate(60 * S, None).bpm == pytest.approx(20.0)
    assert paused.rate(60 * S, None).bpm < 17
    assert paused.rate(60 * S, None).quality < regular.rate(60 * S, None).quality


def test_uneven_breathing_is_less_sure():
    """The quality falls with the spread of the intervals."""
    even, uneven = counts(every(4.0)), counts([at + (1.2 if k % 2 else 0.0) for k, at in enumerate(every(4.0))])

    assert even.rate(60 * S, None).quality > 0.95
    assert uneven.rate(60 * S, None).quality < 0.8


def test_a_count_at_the_heart_rate_is_the_hearts():
    """Within 5 %; beside it, it is a rate."""
    fast = counts(every(1.2))

    assert fast.rate(60 * S, 51.0).absent == "cardiac-artefact"
    assert fast.rate(60 * S, 70.0).bpm == pytest.approx(50, abs=0.5)


def test_the_reason_is_that_of_now():
    """Unusable in the last seconds, nothing heard at all, mostly unusable before, too few breaths."""
    now = counts(every(4.0), is_usable=lambda second: second < 57)
    before = counts(every(4.0), is_usable=lambda second: second % 4 == 0)

    assert now.rate(60 * S, None).absent == "noise"
    assert counts(every(4.0)).rate(70 * S, None).absent == "no-signal"
    assert before.rate(60 * S, None).absent == "noise"
    assert counts([55.0, 59.0]).rate(60 * S, None).absent == "too-few-breaths"
    assert counts([7.0, 11.0], 14).rate(14 * S, None).absent == "settling"
    assert counts([]).rate(60 * S, None).absent == "no-breaths"


def test_the_interval_over_an_apnoea_is_no_breath():
    """A single wave after 24 s does not make 2.5/min; regular breathing makes its own rate, not the mean of both."""
    before = [at for at in every(4.0) if at < 14]

    gasp = counts([*before, 37.0, 41.0], until_s=44).rate(44 * S, None)
    again = counts([*before, 37.0, 41.0, 45.0, 49.0], until_s=52).rate(52 * S, None)

    assert (gasp.bpm, gasp.absent) == (None, "too-few-breaths")
    assert again.bpm == pytest.approx(15.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.8, 15.0), min_size=3, max_size=60))
def test_the_rate_lies_between_the_shortest_and_the_longest_interval(intervals_s):
    """Whatever the breathing, the mean of what was seen is no extreme."""
    at_s = [1.0]
    for interval_s in intervals_s:
        at_s.append(at_s[-1] + interval_s)
    end_s = int(at_s[-1]) + 1

    rate = counts(at_s, until_s=end_s).rate(end_s * S, None)

    if rate.bpm is not None:
        assert 60.0 / (max(intervals_s) + 1.1) - 1e-6 <= rate.bpm <= 60.0 / min(intervals_s) + 1e-6
        assert 0.0 <= rate.quality <= 1.0
