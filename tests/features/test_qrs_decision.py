"""The decision rules on scripted candidates: what no signal of a minute happens to bring together."""

from __future__ import annotations

import numpy as np

from edge.features.qrs_decision import QrsDecision
from edge.features.qrs_settings import DecisionSettings
from edge.features.qrs_signal import Candidates, FusionSettings, QrsSignal

RATE_HZ = 100.0


def candidate(at, height):
    """One maximum of two leads that show the same."""
    both = [[height, height]]
    return Candidates(
        at=[at],
        fused=[height],
        heights=both,
        slopes=both,
        before=[[0.0, 0.0]],
        weights=[[0.5, 0.5]],
        floors=[0.0],
        shapes=np.zeros((1, 2, 23)),
    )


def test_a_beat_is_never_searched_back_further_than_its_samples_are_kept():
    """Maxima of any height: whatever the thresholds do later, an old maximum does not become a beat.

    Found with electrode motion on a real record: a maximum 11 s old was accepted, and its samples were gone.
    """
    rng = np.random.default_rng(3)
    source = QrsSignal(FusionSettings(), RATE_HZ, 2)
    decision = QrsDecision(DecisionSettings(), source, 2)
    ages_s = []

    for _ in range(8000):
        source.add(np.zeros((2, 20)))
        source.find()
        height = float(10 ** rng.uniform(-2.0, 1.0))
        found = decision.decide(candidate(source.confirmed - 1, height) if rng.random() < 0.15 else None)
        ages_s += [(source.confirmed - each.at) / RATE_HZ for each in found]

    assert len(ages_s) > 300
    assert max(ages_s) <= DecisionSettings().search_back_reach_s + 0.5
