"""What is due at which age of the data, and that nothing is remembered for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.ladder import Ladder, LadderSettings
from edge.acquisition.transport import Remedy
from edge.errors import TransportFault

ALL = (Remedy.RESUBSCRIBE, Remedy.REDISCOVER, Remedy.POWER_CYCLE)


def climb(ages_s, remedies):
    ladder = Ladder(LadderSettings(max_silence_s=5.0, reconnect_after_s=15.0))
    return [ladder.due(age_s, remedies) for age_s in ages_s]


def test_serial_port_is_opened_again_and_again():
    """A port has one remedy, each time after the full wait."""
    assert climb([5, 14.9, 15, 5, 14.9, 15], ()) == [
        None, None, Remedy.RECONNECT, None, None, Remedy.RECONNECT,
    ]  # fmt: skip


def test_whole_round_begins_again_after_its_top():
    """Nothing helped: connecting, looking anew and the adapter again, without subscribing again on a new link."""
    found = [remedy for remedy in climb([10, 15, 5, 5, 5, 5, 5], ALL) if remedy]

    assert [remedy.value for remedy in found] == [
        "resubscribe", "reconnect", "rediscover", "power-cycle", "reconnect", "rediscover", "power-cycle",
    ]  # fmt: skip


@given(
    ages_s=st.lists(st.floats(0, 1e6), max_size=300),
    remedies=st.lists(st.sampled_from(ALL), unique=True).map(lambda some: tuple(each for each in ALL if each in some)),
)
def test_no_remedy_before_silence_and_none_that_the_link_lacks(ages_s, remedies):
    """Whatever the ages: what is due is possible, the data is old enough, and memory stays bounded."""
    settings = LadderSettings()
    ladder = Ladder(settings)

    for age_s in ages_s:
        due = ladder.due(age_s, remedies)
        assert due is None or (due in {*remedies, Remedy.RECONNECT} and age_s >= settings.max_silence_s)
        assert len(ladder.applied) <= len(Remedy)


def test_failures_that_prove_nothing_begin_the_count_anew():
    """Two time-outs, one "not found", two time-outs: the stack is not stuck."""
    ladder = Ladder(LadderSettings())
    stuck, away = TransportFault.TIMEOUT, TransportFault.MISSING

    assert [ladder.failed(reason, ALL) for reason in (stuck, stuck, away, stuck, stuck)] == [None] * 5
    assert ladder.failed(stuck, ALL) is Remedy.REDISCOVER


@pytest.mark.parametrize(
    "settings",
    [
        {"max_silence_s": 0.0},
        {"max_silence_s": 5.0, "reconnect_after_s": 4.0},
        {"rediscover_after_failures": 0},
        {"rediscover_after_failures": 6},
    ],
)
def test_impossible_settings_are_refused(settings):
    """Times and counts that would skip a rung."""
    with pytest.raises(ValueError, match="expected 0 <"):
        LadderSettings(**settings)
