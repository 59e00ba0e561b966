"""Fitting a network: what the loss counts, and that training follows its settings and its seed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converter.fitting import FitSettings, bag_logits, class_weights, first_of_bags

ROOT = Path(__file__).parents[2]

TRAINING = """
import json, sys
import numpy as np
from converter.examples import Examples
from converter.fitting import FitSettings, bag_logits, fit_network, predict_logits, set_seed
from converter.keras_backend import load_keras

keras = load_keras()
rng = np.random.default_rng(0)
n = 600
labels = (rng.random(n) < 0.15).astype(np.int64)
signal = rng.standard_normal((n, 40, 1)).astype(np.float32)
signal[:, 15:25, 0] += 2.0 * labels[:, None]
number = rng.standard_normal((n, 2)).astype(np.float32)


def examples(bags=None):
    return Examples(inputs={"signal": signal, "number": number}, labels=labels if bags is None else labels[3 * bags],
                    classes=("a", "b"), groups=np.arange(n).astype(str), weights=np.ones(n, np.float32), bags=bags)


def network():
    one, other = keras.Input((40, 1), name="signal"), keras.Input((2,), name="number")
    value = keras.layers.Conv1D(4, 9, activation="relu")(one)
    value = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling1D()(value), other])
    return keras.Model({"number": other, "signal": one}, keras.layers.Dense(2, name="logits")(value))


def run(seed=1, bags=None, held=None, change=None, **settings):
    set_seed(seed)
    every = examples(bags)
    train = every if held is None else every.select(np.arange(n) < held)
    judged = None if held is None else every.select(np.arange(n) >= held)
    chosen = {"epochs": 6, "learning_rate": 0.02} | settings
    done = fit_network(network(), train, judged, FitSettings(**chosen), seed=seed, change=change)
    logits = predict_logits(done.model, every.inputs)
    if bags is not None:
        logits, truth = bag_logits(logits, bags), labels[::3]
    else:
        truth = labels
    said = logits.argmax(axis=1)
    se = float((said[truth == 1] == 1).mean())
    return done, float(logits.sum()), se, float((said == truth).mean())


facts = {}
done, first, se, facts["accuracy"] = run()
facts["loss"] = done.history["loss"]
facts["again"], facts["first"], facts["other"] = run()[1], first, run(seed=2)[1]
facts["se"] = se
facts["se_weights"] = run(balance="weights", balance_power=1.0)[2]
facts["se_sampling"] = run(balance="sampling", balance_power=1.0)[2]
bagged = run(bags=np.repeat(np.arange(n // 3), 3), epochs=25, batch_size=16)
facts["bag_loss"], facts["bag_se"] = bagged[0].history["loss"], bagged[2]
stopped = run(held=400, epochs=60, patience=2, learning_rate=0.1)[0]
facts["stopped"], facts["best"], facts["held"] = len(stopped.history["loss"]), stopped.best_epoch, stopped.history["held_loss"]
facts["adversarial"] = run(adversarial_step=0.3)[0].history["loss"]
facts["averaged"] = run(average_decay=0.95)[3]
seen = []
def change(inputs, rng):
    seen.append(float(rng.random()))
    return {**inputs, "signal": inputs["signal"] * 0}
facts["blind"] = run(change=change)[0].history["loss"]
facts["changes"] = len(seen)
try:
    run(learning_rate=1e30, clip_norm=0.0)
except Exception as error:
    facts["diverged"] = f"{type(error).__name__}: {error.hint}"
print(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def facts():
    if importlib.util.find_spec("tensorflow") is None:  # not imported here: that takes seconds and is noisy
        pytest.skip("needs the convert extra")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRAINING], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not done.stderr  # TensorFlow says nothing
    return json.loads(done.stdout)


def test_it_learns(facts):
    assert facts["accuracy"] > 0.9
    assert facts["loss"][-1] < 0.8 * facts["loss"][0]


def test_equal_seeds_give_equal_networks(facts):
    assert facts["first"] == facts["again"]
    assert facts["first"] != facts["other"]


def test_balance_finds_more_of_the_rare_class(facts):
    assert facts["se_weights"] > facts["se"] + 0.1
    assert facts["se_sampling"] > facts["se"] + 0.1


def test_bags_are_judged_by_their_mean(facts):
    """Two of three examples of a bag say nothing: the mean of their logits must carry the label all the same."""
    assert facts["bag_loss"][0] > 0.38  # the shares of the classes: 0.41
    assert facts["bag_loss"][-1] < 0.3
    assert facts["bag_se"] > 0.3


def test_it_stops_when_the_held_patients_get_worse_and_keeps_the_best(facts):
    held = facts["held"]

    assert facts["stopped"] < 60
    assert facts["best"] == int(np.argmin(held)) + 1 == facts["stopped"] - 2


def test_adversarial_training_has_a_higher_loss(facts):
    """The loss told is that of the moved samples too."""
    assert facts["adversarial"][-1] > 1.1 * facts["loss"][-1]


def test_averaged_weights_decide_as_well(facts):
    assert facts["averaged"] > 0.85


def test_the_network_learns_from_the_changed_inputs(facts):
    """Blinded by its augmentation it learns no more than the shares of the classes: 0.42 nats of 15 in 100."""
    assert facts["changes"] == 6 * 10
    assert facts["blind"][-1] > 0.4
    assert facts["loss"][-1] < 0.3


def test_a_loss_that_is_no_number_ends_training_with_a_hint(facts):
    assert facts["diverged"].startswith("EdgeError: lower fit.learning_rate")


def test_class_weights_equalise():
    weights = class_weights(np.array([0] * 90 + [1] * 10), 3, 1.0)

    assert 90 * weights[0] == pytest.approx(10 * weights[1])
    assert weights[2] == 0
    assert (90 * weights[0] + 10 * weights[1]) / 100 == pytest.approx(1.0)
    assert class_weights(np.array([0] * 90 + [1] * 10), 2, 0.0).tolist() == [1.0, 1.0]


def test_bags_come_in_the_order_of_their_numbers():
    logits = np.array([[1.0, 0.0], [5.0, 5.0], [3.0, 2.0]], np.float32)
    bags = np.array([7, 2, 7])

    assert bag_logits(logits, bags).tolist() == [[5.0, 5.0], [2.0, 1.0]]
    assert first_of_bags(np.array([10, 20, 30]), bags).tolist() == [20, 10]
    assert bag_logits(logits, None) is logits


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"learning_rate": 0.0}, {"label_smoothing": 1.0}, {"adversarial_step": -0.1}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        FitSettings(**wrong)
