"""A lead across the heart's axis must not stand alone for the heart."""

from edge.features.weak_leads import WeakLeads
from edge.messages import Quality

BOTH, GOOD, NONE = frozenset({"MLII", "V1"}), frozenset({"MLII"}), frozenset()


def verdict(second, *, index=0.9, channel="V1"):
    return Quality(
        sensor="s", stream="ecg", at_ns=second * 10**9, index=index, is_usable=index >= 0.6, reasons=(), channel=channel
    )


def after(n_seconds, clear, *, usable=BOTH):
    leads = WeakLeads()
    for second in range(n_seconds):
        leads.push(verdict(second), usable=usable, clear=clear)
    return leads


def test_a_weak_lead_alone_is_not_usable():
    """The good electrode comes off: what is left is clean, shows no beats, and must not look like an asystole."""
    (found,) = after(60, GOOD).push(verdict(60), usable={"V1"}, clear=NONE)

    assert (found.is_usable, found.reasons) == (False, ("weak-lead",))
    assert found.index < 0.6


def test_the_good_lead_going_quiet_is_the_heart_going_quiet():
    """In an asystole the lead that showed the beats stays usable: nothing may hide it."""
    (found,) = after(60, GOOD).push(verdict(60), usable=BOTH, clear=NONE)

    assert found == verdict(60)


def test_a_lead_that_showed_clear_beats_too_stands_alone():
    """Two good leads: either is enough."""
    assert after(60, BOTH).push(verdict(60), usable={"V1"}, clear=NONE) == [verdict(60)]


def test_nothing_is_called_weak_before_the_leads_are_known():
    """Nine seconds, or an hour in which no lead showed clear beats, say nothing of a lead."""
    assert after(9, GOOD).push(verdict(9), usable={"V1"}, clear=NONE) == [verdict(9)]
    assert after(3600, NONE).push(verdict(9), usable={"V1"}, clear=NONE) == [verdict(9)]


def test_a_weak_lead_that_comes_to_show_clear_beats_is_used_again():
    """The person turns over, and the axis turns with them: half a minute of clear beats is enough."""
    leads = after(60, GOOD)
    out = [leads.push(verdict(60 + k), usable={"V1"}, clear=frozenset({"V1"}))[0].is_usable for k in range(40)]

    assert out[0] is False
    assert out[-1] is True


def test_a_single_lead_is_never_weak():
    """There is nothing to compare it with."""
    alone = after(60, GOOD, usable=GOOD)

    assert alone.push(verdict(60, channel="MLII"), usable=GOOD, clear=NONE)[0].is_usable


def test_an_unusable_second_stays_what_it_is():
    """The signal's own trouble is the reason to give."""
    bad = verdict(60, index=0.1)

    assert after(60, GOOD).push(bad, usable=(), clear=NONE) == [bad]


def test_after_a_reset_every_lead_is_as_good_as_any():
    """What the leads of the last session looked like says nothing of this one."""
    leads = after(60, GOOD)

    leads.reset("new session")

    assert leads.push(verdict(60), usable={"V1"}, clear=NONE) == [verdict(60)]
