"""The decision rules on scripted candidates: what no signal of a minute happens to bring together."""

from __future__ import annotations

import numpy as np

from edge.features.qrs_candidates import Candidate, QrsCandidates
from edge.features.qrs_decision import DecisionSettings, QrsDecision
from tests.features.ecg_signals import blocks

RATE_HZ = 100.0


def test_a_beat_is_never_searched_back_further_than_its_samples_are_kept():
    """Maxima of any height in two leads: whatever the thresholds do later, an old maximum does not become a beat.

    Found with electrode motion on a real record: a maximum 11 s old was accepted, and its samples were gone.
    """
    rng = np.random.default_rng(3)
    source = QrsCandidates(RATE_HZ, 2, 0)
    decision = QrsDecision(DecisionSettings(), RATE_HZ, source, 2)
    ages_s = []

    for block in blocks(np.zeros((160_000, 2)), RATE_HZ, names=("I", "II")):
        source.find(block)
        height = float(10 ** rng.uniform(-2.0, 1.0))
        candidate = Candidate(sequence=source.confirmed - 1, lead=int(rng.integers(2)), height=height, slope=height)
        found = decision.decide([candidate] if rng.random() < 0.15 else [])
        ages_s += [(source.confirmed - each.candidate.sequence) / RATE_HZ for each in found]

    assert len(ages_s) > 300
    assert max(ages_s) <= DecisionSettings().search_back_reach_s + 0.5
