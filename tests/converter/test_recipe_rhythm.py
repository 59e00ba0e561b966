"""The rhythm recipe: examples from recordings, a network that the device can run, and the score of the challenge."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from converter.recipes import find_recipe, settings_file
from converter.recipes.rhythm import CLASSES, NUMBERS, SAMPLES
from converter.recipes.settings import load_settings
from edge.features.rhythm_windows import FEATURES, STAGE, RhythmWindowsSettings
from tests.fakes.record_files import write_wfdb16
from tests.features.average_beats import train, waves

RATE_HZ = 300.0
"""That of the recordings of the challenge."""


@pytest.fixture(scope="module")
def settings():
    return load_settings(settings_file("rhythm"), ["augment.noise_ratio=0.0"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six recordings of 9 to 26 s in the layout of the challenge."""
    pytest.importorskip("wfdb")
    root = tmp_path_factory.mktemp("data")
    where = root / "cinc2017"
    where.mkdir()
    rng = np.random.default_rng(1)
    rows = []
    for k, (label, seconds) in enumerate([("N", 26), ("A", 20), ("O", 16), ("~", 13), ("N", 9), ("A", 12)]):
        irregular = 0.25 if label == "A" else 0.01
        peaks_s = 0.5 + np.cumsum(0.8 + irregular * rng.uniform(-1, 1, 60))
        values = train(waves(), peaks_s[peaks_s < seconds - 0.5], seconds, RATE_HZ, seed=k)
        if label == "~":
            values += 2.0 * rng.standard_normal(len(values))
        counts = np.round(1000.0 * values).astype(int)[:, None]
        write_wfdb16(where, f"A{k:05d}", counts, names=["ECG"], rate="300", gains=["1000(0)/mV"])
        rows.append(f"A{k:05d},{label}")
    (where / "REFERENCE.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def examples(folder, settings):
    return find_recipe("rhythm").examples(folder, settings, jobs=1)


def test_each_recording_is_one_bag_of_windows(examples):
    """Its label goes with all of its windows, and one shorter than a window has one."""
    assert examples.classes == CLASSES
    assert examples.inputs[SAMPLES].shape == (len(examples), 1250, 1)
    assert examples.inputs[NUMBERS].shape == (len(examples), len(FEATURES))
    per_bag = [int((examples.bags == bag).sum()) for bag in np.unique(examples.bags)]
    assert per_bag == [4, 3, 2, 2, 1, 2]
    labels = [CLASSES[examples.labels[examples.bags == bag][0]] for bag in np.unique(examples.bags)]
    assert labels == ["N", "A", "O", "~", "N", "A"]


def test_a_short_recording_is_padded_in_front(examples):
    """Nine seconds at the end of a window, silence before them."""
    short = examples.inputs[SAMPLES][examples.bags == np.unique(examples.bags)[4]][0, :, 0]

    assert not short[:120].any()
    assert np.abs(short[200:]).max() > 0.5


def test_the_card_says_what_the_stage_says(settings):
    """A device whose stage says otherwise refuses the model."""
    card = find_recipe("rhythm").card(settings)

    assert card["preprocessing"] == RhythmWindowsSettings().describe()
    assert card["preprocessing"]["stage"] == STAGE
    assert card["aggregation"] == {"span_s": 30.0}
    assert card["judges_noise"] is True
    assert set(card["codes"]) <= set(CLASSES)


def test_the_score_is_that_of_the_challenge():
    """Mean F1 of normal, fibrillation and other; noisy recordings count only where they are taken for one of them."""
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    decided = np.array([0, 0, 2, 1, 2, 2, -1, 0])

    found = find_recipe("rhythm").score(labels, decided, CLASSES)

    assert next(iter(found)) == "challenge"
    f1_n, f1_a, f1_o = 2 * 2 / (3 + 3), 2 * 1 / (2 + 1), 2 * 1 / (2 + 3)
    assert found["challenge"] == pytest.approx((f1_n + f1_a + f1_o) / 3)
    assert found["se_A"] == 0.5
    assert found["sp_A"] == 1.0


def test_a_false_fibrillation_lowers_the_specificity():
    """One of four others."""
    found = find_recipe("rhythm").score(np.array([0, 0, 2, 3, 1]), np.array([0, 1, 2, 3, 1]), CLASSES)

    assert found["sp_A"] == 0.75


SCRIPT = """
import numpy as np
from converter.fitting import bag_logits, set_seed
from converter.recipes import find_recipe, settings_file
from converter.recipes.settings import load_settings
from converter.examples import Examples
from converter.recipes.base import Fold

rng = np.random.default_rng(0)
n = 48
labels = np.repeat(np.arange(4), n // 4)
bags = np.arange(n) // 3
numbers = rng.uniform(-1, 1, (n, 5)).astype(np.float32)
numbers[:, 0] = labels / 1.5 - 1
windows = rng.standard_normal((n, 1250, 1)).astype(np.float32)
found = Examples(inputs={"ecg": windows, "features": numbers}, labels=labels, classes=("N", "A", "O", "~"),
                 groups=bags.astype(np.str_), weights=np.ones(n, np.float32), bags=bags)
recipe = find_recipe("rhythm")
settings = load_settings(settings_file("rhythm"), ["fit.epochs=12", "fit.batch_size=4", "fit.learning_rate=0.02", "augment.noise_ratio=0.0",
                                                   "model.channels=[4, 8]", "model.dropout=0.0",
                                                   "model.hinges=[0.0]", "model.mixing=0.2"])
set_seed(1)
fold = Fold(train=found, held=None, seed=1, inputs=recipe.inputs(settings, found), noise={})
changed = recipe.augment(found.inputs, settings, fold, np.random.default_rng(2))
assert changed["ecg"].shape == windows.shape and changed["ecg"].dtype == np.float32, "augmented"
assert np.allclose(changed["ecg"].std(axis=1), 1.0, atol=1e-3), "normalised again"
assert not np.array_equal(changed["features"], numbers), "blurred"
assert np.array_equal(numbers[:, 0], (labels / 1.5 - 1).astype(np.float32)), "inputs untouched"
fitted = recipe.fit(settings, fold)
assert sorted(each.name for each in fitted.model.inputs) == ["ecg", "features"], "inputs by name"
logits = recipe.predict(fitted, found.inputs)
assert logits.shape == (n, 4)
decided = bag_logits(logits, bags).argmax(axis=1)
print("learned", (decided == labels[::3]).mean())
"""


def test_a_tiny_set_is_learned():
    """The whole way through the trainer's own fit, in a process of its own: TensorFlow is slow to load and prints."""
    pytest.importorskip("tensorflow")

    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split("learned")[1]) >= 0.9
