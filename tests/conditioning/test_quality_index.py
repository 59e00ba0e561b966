"""From figures to an index, and its reasons."""

from __future__ import annotations

import pytest

from edge.conditioning.quality_index import ErrorCauses, index_of, share_of

CLEAN = {"in_band": 0.004, "muscle": 0.009, "unsteady": 0.07, "swing": 0.36}


@pytest.mark.parametrize("index", [0.2, 0.6, 0.9, 1.0])
def test_index_and_share_are_two_ways_to_say_the_same(index):
    """One can be had from the other."""
    assert index_of(share_of(index)) == pytest.approx(index)


def test_a_clean_lead_is_expected_to_be_right():
    """A few per cent of wrong beats at the very most."""
    assert index_of(ErrorCauses(**CLEAN).share()) > 0.9


@pytest.mark.parametrize("figure", list(CLEAN))
def test_more_of_any_figure_never_helps(figure):
    """The expected share of wrong beats grows with each of them."""
    shares = [ErrorCauses(**(CLEAN | {figure: factor * CLEAN[figure]})).share() for factor in (0.0, 1.0, 3.0, 30.0)]

    assert shares == sorted(shares)
    assert shares[-1] > shares[0]


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"in_band": 0.1, "muscle": 0.2}, "noise"),
        ({"in_band": 0.1}, "motion"),
        ({"unsteady": 1.0}, "motion"),
        ({"swing": 20.0}, "baseline"),
    ],
)
def test_the_strongest_cause_is_named_first(figures, word):
    """Muscle noise fills both bands, motion only the lower one."""
    assert ErrorCauses(**(CLEAN | figures)).named()[0] == word


def test_a_clean_lead_has_no_cause():
    """Nothing stands out above what is usual."""
    assert ErrorCauses(**CLEAN).named() == ()
