"""Waits between attempts spread clients and never grow beyond their cap."""

from __future__ import annotations

import doctest
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition import backoff as module
from edge.acquisition.backoff import Backoff, BackoffSettings


@given(seed=st.integers(), n_failures=st.integers(0, 200))
def test_wait_lies_between_zero_and_the_bound(seed, n_failures):
    """Any number of failures: the wait is within the doubling bound, the bound within the cap."""
    backoff = Backoff(BackoffSettings(), Random(seed))

    for k in range(n_failures):
        bound = backoff.bound_s()
        assert bound == min(30.0, 0.5 * 2.0 ** min(k, 30))
        assert 0 <= backoff.next_s() <= bound


def test_jitter_is_full():
    """Waits fill the whole range down to zero: clients that failed together do not come back together."""
    waits = []
    for seed in range(400):
        backoff = Backoff(BackoffSettings(base_s=1.0, cap_s=1.0), Random(seed))
        waits.append(backoff.next_s())

    counts = [sum(low <= wait < low + 0.25 for wait in waits) for low in (0, 0.25, 0.5, 0.75)]
    assert min(counts) > 60


def test_success_begins_anew():
    """After a reset the first bound counts again."""
    backoff = Backoff(BackoffSettings(), Random(1))
    for _ in range(9):
        backoff.next_s()

    backoff.reset()

    assert (backoff.bound_s(), backoff.n_failures) == (0.5, 0)


def test_what_only_a_person_can_mend_waits_the_cap():
    """A missing permission is retried slowly from the first time on."""
    assert Backoff(BackoffSettings(), Random(1)).slow_s() == 30.0


@pytest.mark.parametrize(("base_s", "cap_s"), [(0, 30), (-1, 30), (2, 1), (float("nan"), 1), (1, float("inf"))])
def test_impossible_bounds_are_refused(base_s, cap_s):
    """The settings check themselves."""
    with pytest.raises(ValueError):
        BackoffSettings(base_s=base_s, cap_s=cap_s)


def test_examples_in_the_docstrings_hold():
    """The doctests pass."""
    assert doctest.testmod(module).failed == 0
