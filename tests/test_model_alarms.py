"""Trouble with a model reaches the bed as one low-priority technical condition each, and ends when it is over."""

from __future__ import annotations

import pytest

from edge.inference.supervision import WorkerState
from edge.inference.window_stage import InferenceCounts
from edge.messages import AlertKind, Priority
from edge.model_alarms import ModelAlarms, ModelFigures

S = 10**9


def seen(alarms, at_s, model="beat", **figures):
    """Return (code, begins) of every condition."""
    counts = InferenceCounts(**{name: figures.pop(name) for name in [*figures] if name.startswith("n_")})
    found = alarms.observe({model: ModelFigures(counts=counts, **figures)}, round(at_s * S))
    return [(each.code, each.is_active) for each in found]


@pytest.mark.parametrize(
    ("figures", "code"),
    [
        ({"n_late": 1}, "model-late:beat"),
        ({"n_dropped": 1}, "model-dropped:beat"),
        ({"n_failed": 1}, "model-failed:beat"),
        ({"state": WorkerState.LEFT}, "model-hung:beat"),
        ({"state": WorkerState.GIVEN_UP}, "model-hung:beat"),
        ({"refused": "no signature"}, "model-refused:beat"),
        ({"rolled_back": "it died"}, "model-rolled-back:beat"),
        ({"unusual": "80 % outside"}, "model-drift:beat"),
    ],
)
def test_every_trouble_is_a_condition_of_its_own(figures, code):
    """Low priority: the rules go on, and no alarm of theirs depends on a model."""
    counts = InferenceCounts(**{name: value for name, value in figures.items() if name.startswith("n_")})
    rest = {name: value for name, value in figures.items() if not name.startswith("n_")}

    (found,) = ModelAlarms().observe({"beat": ModelFigures(counts=counts, **rest)}, 5 * S)

    assert (found.code, found.is_active, found.at_ns) == (code, True, 5 * S)
    assert found.kind is AlertKind.TECHNICAL
    assert found.priority is Priority.LOW
    assert "heart beats" in found.sentence
    assert "{" not in found.sentence


def test_nothing_wrong_says_nothing():
    assert seen(ModelAlarms(), 1.0, n_submitted=5, n_done=5) == []


def test_a_trouble_is_told_once_and_ends_after_a_quiet_minute():
    """Not an alarm for every late window."""
    alarms = ModelAlarms()

    found = [
        seen(alarms, at_s, n_late=n_late) for at_s, n_late in ((0, 1), (1, 1), (30, 2), (89, 2), (90, 2), (200, 2))
    ]

    assert found == [[("model-late:beat", True)], [], [], [], [("model-late:beat", False)], []]


def test_a_hung_model_that_answers_again_is_over():
    """Not when another thread is started, but when it has answered."""
    alarms = ModelAlarms()
    found = [
        seen(alarms, 0, n_done=7),
        seen(alarms, 1, n_done=7, state=WorkerState.LEFT),
        seen(alarms, 2, n_done=7, state=WorkerState.WORKING),
        seen(alarms, 3, n_done=8, state=WorkerState.WORKING),
    ]

    assert found == [[], [("model-hung:beat", True)], [], [("model-hung:beat", False)]]


def test_giving_up_is_told_although_the_trouble_is_known():
    """Somebody must know that nothing more is tried; then it stands."""
    alarms = ModelAlarms()
    seen(alarms, 1, state=WorkerState.LEFT)

    found = alarms.observe({"beat": ModelFigures(state=WorkerState.GIVEN_UP)}, 2 * S)
    later = seen(alarms, 3, state=WorkerState.GIVEN_UP)

    assert [each.is_active for each in found] == [False, True]
    assert "given up" in found[1].sentence
    assert later == []


def test_a_refused_model_is_over_when_another_is_in_use():
    alarms = ModelAlarms()

    found = [seen(alarms, 0, refused="unsigned"), seen(alarms, 1, refused="unsigned"), seen(alarms, 2)]

    assert found == [[("model-refused:beat", True)], [], [("model-refused:beat", False)]]


def test_the_reason_is_in_the_evidence():
    """The sentence is for the nurse, the detail for the engineer."""
    (found,) = ModelAlarms().observe({"rhythm": ModelFigures(refused="manifest.sig: is missing")}, 0)

    assert found.evidence == {"detail": "manifest.sig: is missing"}
    assert found.sentence == "The model of the heart rhythm is not used: the rules go on alone."


def test_a_model_of_ones_own_is_named():
    (found,) = ModelAlarms().observe({"apnoea": ModelFigures(refused="x")}, 0)

    assert found.code == "model-refused:apnoea"
    assert found.sentence.startswith("The model 'apnoea' is not used")
