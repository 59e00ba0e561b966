"""What the rhythm model has said counts only as long, and only as much, as it has said it."""

from __future__ import annotations

import pytest

from edge.messages import Prediction
from edge.monitoring.rhythm_opinion import RhythmOpinion

S = 1_000_000_000


def word(at_s, label, **shares):
    shares = shares or {label: 0.9}
    return Prediction(
        at_ns=round(at_s * S),
        label=label,
        probabilities=shares,
        bundle_sha256="x",
        absent=None if label else "uncertain",
    )


def heard(*words):
    opinion = RhythmOpinion(15.0)
    for at_s, label in words:
        opinion.note(word(at_s, label))
    return opinion


def test_one_contrary_window_denies_nothing():
    """Silent for minutes, then one window: nobody has seen no fibrillation for five minutes."""
    assert not heard((400, "N")).denies_fibrillation(400 * S, 300)
    assert not heard(*((t, "A") for t in range(0, 100, 5)), (420, "N")).denies_fibrillation(420 * S, 300)


@pytest.mark.parametrize("label", ["N", "O"])
def test_another_rhythm_for_long_denies_fibrillation(label):
    opinion = heard((0, "A"), *((t, label) for t in range(5, 310, 5)))

    assert not opinion.denies_fibrillation(304 * S, 300)
    assert opinion.denies_fibrillation(305 * S, 300)


def test_uncertain_windows_in_between_count_neither_way():
    said = [(t, "N" if t % 20 else None) for t in range(0, 310, 5)]

    assert heard(*said).denies_fibrillation(306 * S, 300)


def test_fibrillation_in_between_begins_anew():
    said = [(t, "A" if t == 150 else "N") for t in range(0, 310, 5)]

    assert not heard(*said).denies_fibrillation(306 * S, 300)


def test_too_noisy_is_no_opinion_on_the_rhythm():
    """However long: time in an unusable signal proves nothing.  Its name is noise all the same."""
    opinion = heard((0, "A"), *((t, "~") for t in range(5, 900, 5)))

    assert opinion.label(895 * S) is None
    assert opinion.decision(895 * S) is None
    assert not opinion.denies_fibrillation(895 * S, 300)
    assert opinion.name(895 * S) == "~"


def test_after_a_silence_the_old_name_is_forgotten():
    """Fibrillation ten hours ago is not the name of what the model is uncertain about now."""
    opinion = heard((10, "A"))
    opinion.note(word(36_000, None, N=0.55, A=0.15, O=0.3))

    assert opinion.name(36_000 * S) == "N"
