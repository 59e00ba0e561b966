"""Which records give way when room runs out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.outbox.record import Lane
from edge.outbox.retention import RetentionSettings, victims

depths = st.fixed_dictionaries({lane: st.integers(0, 1000) for lane in Lane})


@given(depths, st.integers(0, 4000))
def test_no_alert_goes_before_all_telemetry_is_gone(depth, n_wanted):
    """An alert is among the victims only if every summary and every reading is."""
    plan = dict(victims(depth, n_wanted))

    if plan.get(Lane.ALERT):
        assert plan.get(Lane.READING, 0) == depth[Lane.READING]
        assert plan.get(Lane.SUMMARY, 0) == depth[Lane.SUMMARY]


@given(depths, st.integers(0, 4000))
def test_as_many_go_as_are_wanted_and_exist(depth, n_wanted):
    assert sum(n for _, n in victims(depth, n_wanted)) == min(n_wanted, sum(depth.values()))


def test_alerts_have_no_age_limit():
    """A setting that would throw alerts away by age is refused."""
    with pytest.raises(ValueError, match="no age limit"):
        RetentionSettings(keep_s={Lane.ALERT: 60.0})


def test_impossible_quota_is_refused():
    with pytest.raises(ValueError, match="max_bytes"):
        RetentionSettings(max_bytes=1000)
