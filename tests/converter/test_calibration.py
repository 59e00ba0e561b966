"""Probabilities that hold what they promise, and abstention with a stated error."""

from __future__ import annotations

import numpy as np
import pytest

from converter.calibration import (
    Calibration,
    class_thresholds,
    coverage_curve,
    energy,
    expected_calibration_error,
    fit_bias,
    fit_temperature,
    nested_bias,
    outside_share,
    softmax,
)
from converter.scoring import class_scores


def drawn(n, *, seed=1, sharpness=1.0, n_classes=3):
    """Logits, and labels drawn from the very probabilities that the logits divided by `sharpness` state."""
    rng = np.random.default_rng(seed)
    true_logits = rng.normal(0.0, 2.0, (n, n_classes))
    chances = softmax(true_logits)
    labels = (rng.random(n)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    return (true_logits * sharpness).astype(np.float32), np.minimum(labels, n_classes - 1).astype(np.int64)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_temperature_undoes_too_much_confidence(sharpness):
    """Logits that were multiplied by a number get this number as their temperature."""
    logits, labels = drawn(20_000, sharpness=sharpness)

    assert fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.05)


def test_calibration_error_is_small_only_after_calibration():
    logits, labels = drawn(20_000, sharpness=3.0)
    temperature = fit_temperature(logits, labels)

    before = expected_calibration_error(Calibration().probabilities(logits), labels)
    after = expected_calibration_error(Calibration(temperature=temperature).probabilities(logits), labels)

    assert before > 0.1
    assert after < 0.02


def test_calibration_error_of_a_known_case():
    """Half of the decisions are right, all are 80 % sure: the error is 0.3."""
    probabilities = np.array([[0.8, 0.2]] * 10)
    labels = np.array([0, 1] * 5)

    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.3)


def test_thresholds_keep_the_promised_error_on_other_patients():
    """On fresh examples the accepted decisions of each class err at most as often as promised."""
    logits, labels = drawn(30_000, seed=1)
    fresh, truth = drawn(30_000, seed=2)
    chances = Calibration().probabilities

    calibration = Calibration(thresholds=class_thresholds(chances(logits), labels, target_error=0.1))
    decided = calibration.decide(fresh)

    accepted = decided >= 0
    assert 0.3 < accepted.mean() < 0.95
    for index in range(3):
        assert (truth[decided == index] != index).mean() < 0.11
    everything = Calibration().decide(fresh)
    assert (truth != everything).mean() > 0.2


def test_few_right_decisions_prove_little():
    """Ten of ten right do not show an error below 5 %: the surest alone are accepted, not all."""
    sure = np.linspace(0.6, 0.95, 10)

    (threshold, _) = class_thresholds(np.stack([sure, 1 - sure], axis=1), np.zeros(10, np.int64), target_error=0.05)

    assert threshold == pytest.approx(0.6)  # the limit falls with each right one: all ten together prove most
    (generous, _) = class_thresholds(np.stack([sure, 1 - sure], axis=1), np.zeros(10, np.int64), target_error=0.3)
    assert generous == 0.0


def test_unknown_shapes_have_low_energy():
    """A flat row of small logits is less familiar than one with a clear answer."""
    assert energy(np.array([[8.0, 0.0, 0.0]], np.float32))[0] > energy(np.array([[0.1, 0.0, 0.1]], np.float32))[0]


def test_abstention_by_energy_and_by_features():
    logits = np.array([[5.0, 0.0], [5.0, 0.0], [0.1, 0.0]], np.float32)
    calibration = Calibration(min_energy=3.0, max_outside=0.25)

    assert calibration.decide(logits, np.array([0.0, 0.5, 0.0])).tolist() == [0, -1, -1]


def test_unknown_features_are_not_outside():
    """NaN lies nowhere; the share is of all features, as on the device."""
    features = np.array([[0.5, 9.0, np.nan, -1.0], [0.5, 0.5, 0.5, 1.0], [np.nan] * 4], np.float32)

    assert outside_share(features, [(0.0, 1.0)] * 4).tolist() == [0.5, 0.0, 0.0]


def test_bias_finds_the_rare_class():
    """Where a rare class is never the likeliest, macro F1 rises by favouring it."""
    rng = np.random.default_rng(3)
    labels = (rng.random(6000) < 0.06).astype(np.int64)
    evidence = rng.normal(labels * 1.5, 1.0)
    logits = np.stack([np.full(6000, 6.0), evidence * 1.5], axis=1).astype(np.float32)
    folds = np.arange(6000) % 5

    def macro(truth, decided):
        return class_scores(truth, decided, ("N", "A"))["macro_f1"]

    decided, bias = nested_bias(logits, labels, folds, macro)

    assert macro(labels, decided) > macro(labels, logits.argmax(axis=1)) + 0.05
    assert bias[1] > 0.3
    assert sum(bias) == pytest.approx(0.0, abs=1e-9)


def test_nested_bias_does_not_see_what_it_decides():
    """Labels of pure chance: tuned on the same examples macro F1 rises, tuned on others it stays at chance."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 1, (60, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 60)

    def accuracy(truth, decided):
        return float((truth == decided).mean())

    cheating = (logits + np.array(fit_bias(logits, labels, accuracy))).argmax(axis=1)
    honest, _ = nested_bias(logits, labels, np.arange(60) % 5, accuracy)

    assert accuracy(labels, cheating) > accuracy(labels, logits.argmax(axis=1))
    assert accuracy(labels, honest) < accuracy(labels, cheating)


def test_coverage_curve_ends_at_the_whole_error():
    right = np.array([True, True, False, True])
    curve = coverage_curve(np.array([0.9, 0.8, 0.5, 0.7]), right)

    assert curve[-1].tolist() == [1.0, 0.25]
    assert curve[:3, 1].tolist() == [0.0, 0.0, 0.0]
