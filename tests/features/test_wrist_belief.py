"""The belief over pulse rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.features.wrist_belief import BeliefSettings, RateBelief


def peak(belief: RateBelief, rate_bpm: int, explained: float = 0.8) -> np.ndarray:
    """Return evidence that one rate explains the light."""
    return explained * np.exp(-0.5 * ((belief.rates_bpm - rate_bpm) / 4.0) ** 2)


def test_evidence_is_gathered():
    """A few seconds of a clear pulse make sure of it, and time without evidence takes that away again."""
    belief = RateBelief()
    for _ in range(8):
        belief.pass_time(1)
        belief.learn(peak(belief, 80), 1.0)

    sure = belief.best()
    belief.pass_time(10)
    later = belief.best()

    assert sure[0] == pytest.approx(80.0, abs=0.5)
    assert sure[1] > 0.95
    assert later[0] == pytest.approx(80.0, abs=0.5)
    assert later[1] < 0.6


def test_evidence_without_weight_changes_nothing():
    """A second that was all motion says nothing."""
    belief = RateBelief()
    belief.learn(peak(belief, 80), 1.0)
    before = belief.best()

    belief.learn(peak(belief, 150), 0.0)

    assert belief.best() == pytest.approx(before)


def test_a_wrong_track_is_left():
    """A clear pulse elsewhere is believed within some seconds, however sure the old rate was."""
    belief = RateBelief()
    for rate_bpm in [60] * 60 + [120] * 10:
        belief.pass_time(1)
        belief.learn(peak(belief, rate_bpm), 1.0)

    assert belief.best()[0] == pytest.approx(120.0, abs=1.0)


def test_after_more_than_a_minute_nothing_is_known():
    """What was believed before a long pause is as good as nothing."""
    belief, fresh = RateBelief(), RateBelief()
    for _ in range(20):
        belief.learn(peak(belief, 80), 1.0)

    belief.pass_time(61)

    assert belief.best() == fresh.best()


@given(evidence=st.lists(arrays(np.float64, 191, elements=st.floats()), max_size=4), weight=st.floats(0.0, 1.0))
def test_any_evidence_leaves_a_probability(evidence, weight):
    """Impossible shares are taken as the nearest possible ones."""
    belief = RateBelief()
    for explained in evidence:
        belief.pass_time(1)
        belief.learn(explained, weight)

    rate_bpm, confidence = belief.best()

    assert 30.0 <= rate_bpm <= 220.0
    assert 0.0 < confidence <= 1.0


def test_impossible_settings_are_refused():
    """A range without rates is an error of whoever configures."""
    with pytest.raises(ValueError, match="range_bpm"):
        BeliefSettings(range_bpm=(100, 50))
    with pytest.raises(ValueError, match="surprise"):
        BeliefSettings(surprise=0.0)
