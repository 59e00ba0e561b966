"""Is what the model sees and says like what it was trained on?  One patient is not a population."""

from __future__ import annotations

import dataclasses
import math
import sys

import numpy as np
import pytest

from edge.inference.drift import Drift, DriftReference, DriftSettings, stability_index
from edge.messages import Prediction, Window
from tests.fakes.tiny_model import SAMPLES_INPUT, card

S = 10**9
KNOTS = tuple(float(edge) for edge in range(0, 101, 5))
REFERENCE = DriftReference(knots={"rr": KNOTS, "width": (0.0, 10.0)}, label_ratios={"N": 0.8, "V": 0.2})
SETTINGS = DriftSettings(report_s=100.0, min_duration_s=200.0, span_s=1000.0)


def window(at_s, **features):
    return Window(
        sensor="bed",
        stream="ecg",
        values=np.zeros((1, 1)),
        rate_hz=1.0,
        start_ns=round(at_s * S),
        sequence=0,
        quality=1.0,
        model="beat",
        features=features,
    )


def prediction(at_s, label="N", absent=None, stream="ecg"):
    return Prediction(
        at_ns=round(at_s * S),
        label=label,
        probabilities={},
        bundle_sha256="",
        absent=absent,
        sensor="bed",
        stream=stream,
    )


def reports(drift, n_windows, features, says=lambda number: {}, start_s=0):
    """Feed a window a second and return every report."""
    found = []
    for number in range(start_s, start_s + n_windows):
        drift.push(window(number, **features(number)))
        found += drift.push(prediction(number, **says(number)))
    return found


def uniform(rng):
    return lambda _: {"rr": rng.uniform(0, 100), "width": rng.uniform(0, 10)}


def test_the_training_population_itself_has_no_drift():
    """Features uniform between their quantiles, labels in the card's shares."""
    rng = np.random.default_rng(1)
    found = reports(
        Drift(REFERENCE, SETTINGS), 3001, uniform(rng), lambda _: {"label": rng.choice(["N", "V"], p=[0.8, 0.2])}
    )

    assert all(each.psi < 0.05 for each in found[-1].features)
    assert found[-1].label_psi < 0.02
    assert found[-1].unusual == ""
    assert found[-1].abstention_pct == 0.0


def test_the_feature_that_moved_is_named_first():
    rng = np.random.default_rng(2)
    reference = DriftReference(knots={"a": KNOTS, "b": KNOTS})
    found = reports(Drift(reference, SETTINGS), 900, lambda _: {"a": rng.uniform(0, 100), "b": rng.uniform(0, 30)})

    worst, other = found[-1].features
    assert (worst.name, other.name) == ("b", "a")
    assert other.psi < 0.2 < worst.psi


def test_the_index_is_the_one_by_hand():
    """All of it in one of ten stretches: (1 - 0.1) ln 10 and nine times (0.1 - 0.001) ln 100."""
    found = reports(Drift(REFERENCE, SETTINGS), 200, lambda _: {"rr": 42.0, "width": 1.0})

    by_name = {each.name: each for each in found[-1].features}
    assert by_name["rr"].psi == pytest.approx(0.9 * math.log(10) + 9 * 0.099 * math.log(100), abs=1e-3)
    assert by_name["width"].psi == 0.0  # two knots are one stretch: nothing to compare


@pytest.mark.parametrize(
    ("value", "outside_pct", "unknown_pct"),
    [
        (-0.1, 100.0, 0.0),
        (0.0, 0.0, 0.0),
        (100.0, 0.0, 0.0),
        (100.1, 100.0, 0.0),
        (math.nan, 0.0, 100.0),
        (math.inf, 100.0, 0.0),
    ],
)
def test_the_ends_of_the_training_range_belong_to_it(value, outside_pct, unknown_pct):
    found = reports(Drift(REFERENCE, SETTINGS), 150, lambda _: {"rr": value, "width": 1.0})

    rr = next(each for each in found[-1].features if each.name == "rr")
    assert (rr.outside_pct, rr.unknown_pct) == (outside_pct, unknown_pct)


def test_a_patient_of_one_kind_is_not_unusual():
    """All ventricular, every feature in one place: a patient, not a fault of the model."""
    found = reports(Drift(REFERENCE, SETTINGS), 900, lambda _: {"rr": 1.0, "width": 9.9}, lambda _: {"label": "V"})

    assert found[-1].features[0].psi > 2
    assert found[-1].label_pct == {"V": 100.0}
    assert found[-1].label_psi > 1
    assert found[-1].unusual == ""


@pytest.mark.parametrize(("every", "is_unusual"), [(8, True), (12, False)])
def test_a_signal_outside_of_everything_it_was_trained_on_is_unusual(every, is_unusual):
    """One of two features outside in every eighth window is 6 % of them, in every twelfth 4 %: the limit is 5 %."""
    rng = np.random.default_rng(7)
    inside = uniform(rng)

    found = reports(Drift(REFERENCE, SETTINGS), 901, lambda n: inside(n) | ({} if n % every else {"rr": 200.0}))

    assert found[-1].outside_pct == pytest.approx(100 / every / 2, abs=0.1)
    words = "6 % of its features are outside of everything that it was trained on"
    assert found[-1].unusual == (words if is_unusual else "")


def test_what_the_card_says_of_features_outside_is_expected():
    """Knots that leave the ends of the training set out are the maker's choice."""
    reference = dataclasses.replace(REFERENCE, outside_ratio=0.5)

    found = reports(Drift(reference, SETTINGS), 400, lambda _: {"rr": 200.0, "width": 1.0})

    assert found[-1].outside_pct == 50.0
    assert found[-1].unusual == ""


def test_a_model_that_cannot_tell_on_a_clean_signal_is_unusual():
    rng = np.random.default_rng(3)
    says = lambda number: {"label": None, "absent": "uncertain"} if number % 4 else {"label": "N"}  # noqa: E731

    found = reports(Drift(REFERENCE, SETTINGS), 400, uniform(rng), says)

    assert found[-1].unusual == "it cannot tell on 75 % of a clean signal"


def test_what_the_card_says_of_abstention_is_expected():
    """A model that abstained on half of its training set is not unusual for abstaining on three quarters."""
    rng = np.random.default_rng(3)
    reference = dataclasses.replace(REFERENCE, abstention_ratio=0.5)
    says = lambda number: {"label": None, "absent": "uncertain"} if number % 4 else {"label": "N"}  # noqa: E731

    found = reports(Drift(reference, SETTINGS), 400, uniform(rng), says)

    assert found[-1].unusual == ""


@pytest.mark.parametrize("absent", ["low-quality", "flat", "late", "dropped", "hung", "failed"])
def test_a_poor_signal_or_a_slow_machine_is_not_held_against_the_model(absent):
    """A loose electrode all night is the electrode's fault."""
    rng = np.random.default_rng(4)
    says = lambda number: {"label": None, "absent": absent} if number % 10 else {"label": "N"}  # noqa: E731

    found = reports(Drift(REFERENCE, SETTINGS), 900, uniform(rng), says)

    assert found[-1].abstention_pct == 0.0
    assert found[-1].unusual == ""


def test_little_evidence_is_no_verdict():
    """Reports come from the first 100 s on, a verdict from 200 s."""
    found = reports(Drift(REFERENCE, SETTINGS), 302, lambda _: {"rr": 999.0, "width": 999.0})

    assert [bool(each.unusual) for each in found] == [False, True, True]


def test_time_without_windows_is_no_evidence():
    """The same minute again and again after long pauses."""
    drift = Drift(REFERENCE, SETTINGS)
    for number in range(50):
        drift.push(prediction(number * 3600))

    assert drift.report is None


def test_old_evidence_is_forgotten():
    """A night of trouble does not stand in the report for ever."""
    rng = np.random.default_rng(5)
    drift = Drift(REFERENCE, SETTINGS)
    bad = reports(drift, 900, lambda _: {"rr": 999.0, "width": 999.0})
    good = reports(drift, 2200, uniform(rng), start_s=900)

    assert bad[-1].unusual
    assert good[-1].unusual == ""
    assert good[-1].outside_pct == 0.0
    assert good[-1].duration_h < 2 * 1000 / 3600 + 0.1


def test_reports_come_on_a_grid_of_evidence():
    """So that a replay says the same, however its windows are handed over."""
    rng = np.random.default_rng(6)
    found = reports(Drift(REFERENCE, SETTINGS), 501, uniform(rng))

    assert [each.at_ns // S for each in found] == [100, 200, 300, 400, 500]
    assert Drift(REFERENCE, SETTINGS).report is None


def test_another_patient_begins_anew():
    drift = Drift(REFERENCE, SETTINGS)
    reports(drift, 300, lambda _: {"rr": 999.0, "width": 999.0})
    drift.reset("session")

    assert drift.report is None
    fresh = reports(Drift(REFERENCE, SETTINGS), 150, lambda _: {"rr": 3.0, "width": 3.0})
    assert reports(drift, 150, lambda _: {"rr": 3.0, "width": 3.0}) == fresh


def test_memory_is_bounded():
    """Labels and streams without number."""
    drift = Drift(REFERENCE, SETTINGS)
    for number in range(2000):
        drift.push(window(number, rr=1.0, width=1.0, other=1.0))
        drift.push(prediction(number, label=f"L{number}", stream=f"s{number}"))

    evidence = drift._evidence
    assert len(evidence.present.labels) <= 100
    assert len(evidence.last_ns) <= 100
    assert set(evidence.present.features) == {"rr", "width"}
    assert sys.getsizeof(evidence.present.features["rr"]) < 1000


def test_a_feature_that_a_window_lacks_is_unknown():
    found = reports(Drift(REFERENCE, SETTINGS), 150, lambda _: {})

    assert [each.unknown_pct for each in found[-1].features] == [100.0, 100.0]
    assert found[-1].outside_pct is None


def test_health_gets_the_worst_five():
    reference = DriftReference(knots={f"f{number}": KNOTS for number in range(9)})
    found = reports(Drift(reference, SETTINGS), 150, lambda _: {f"f{number}": 50.0 for number in range(9)})

    body = found[-1].as_json()
    assert len(body["features"]) == 5
    assert body["label_psi"] is None
    assert body["unusual"] is None


def test_the_card_is_the_reference():
    """Without one in the card, nothing is expected of labels."""
    with_reference = card(
        inputs=card_inputs(),
        reference={"labels": {"N": 0.7, "AFIB": 0.3}, "n_windows": 10, "abstained": 0.1, "outside": 0.02},
    )

    found = DriftReference.of_card(with_reference)

    assert found.knots == {"rr": (0.0, 1.0, 2.0)}
    assert found.label_ratios == {"N": 0.7, "AFIB": 0.3}
    assert (found.abstention_ratio, found.outside_ratio) == (0.1, 0.02)
    assert DriftReference.of_card(card()) == DriftReference()


def card_inputs():
    features = {"kind": "features", "name": "features", "features": [{"name": "rr", "knots": [0.0, 1.0, 2.0]}]}
    return [SAMPLES_INPUT, features]


@pytest.mark.parametrize("knots", [(), (1.0,)])
def test_a_feature_without_a_range_is_misuse(knots):
    with pytest.raises(ValueError, match="at least two knots"):
        DriftReference(knots={"rr": knots})


def test_an_empty_class_is_not_infinite():
    assert stability_index([(0.0, 0.5), (1.0, 0.5)]) == pytest.approx(0.499 * math.log(500) + 0.5 * math.log(2))
