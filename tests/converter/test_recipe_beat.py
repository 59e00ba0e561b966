"""The recipe of the beat model: what it reads, what it solves, what decides S."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converter.examples import Examples
from converter.inputs import learn_inputs, scale
from converter.recipes import find_recipe, settings_file
from converter.recipes.beat import CLASSES, SAMPLES, SHAPE, TIMING, ridge_logistic
from converter.recipes.settings import load_settings
from edge.features.beat_windows import FEATURES, BeatWindows

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("VITALEDGE_DATA", "../shared/data"))


def settings():
    return load_settings(settings_file("beat"))


def synthetic(n: int = 240) -> Examples:
    """Wide beats are V, early ones S, of eight patients."""
    rng = np.random.default_rng(1)
    labels = np.arange(n) % 4
    at = np.linspace(-0.48, 0.664, 144)
    width = np.where((labels == 2) | (labels == 3), 0.05, 0.015)
    curve = np.exp(-0.5 * (at[None] / width[:, None]) ** 2) + 0.02 * rng.standard_normal((n, 144))
    usual = np.exp(-0.5 * (at / 0.015) ** 2)
    chosen = settings().data
    shape = rng.normal(0.5, 0.1, (n, len(chosen["shape"])))
    shape[:, list(chosen["shape"]).index("qrs_likeness")] = np.where(labels >= 2, 0.3, 0.99)
    timing = rng.normal(0.0, 0.1, (n, len(chosen["timing"])))
    timing[:, 0] = np.where(labels == 1, 4.0, 0.0) + 0.1 * rng.standard_normal(n)
    return Examples(
        inputs={
            SAMPLES: np.stack([curve, curve - usual], axis=2).astype(np.float32),
            SHAPE: shape.astype(np.float32),
            TIMING: timing.astype(np.float32),
        },
        labels=labels.astype(np.int64),
        classes=CLASSES,
        groups=np.array([f"p{k // 4 % 8}" for k in range(n)]),
        weights=np.ones(n, np.float32),
    )


def test_every_feature_is_one_of_the_stage():
    """What the recipe asks for is what the runtime's stage gives, and its card states that stage."""
    recipe, chosen = find_recipe("beat"), settings()

    assert {*chosen.data["shape"], *chosen.data["timing"]} <= set(FEATURES)
    assert recipe.card(chosen)["preprocessing"] == BeatWindows().describe()


def test_only_the_intervals_decide_between_normal_and_supraventricular():
    """No feature of the shape is among those of the timing."""
    chosen = settings()

    assert not set(chosen.data["shape"]) & {"early_p_change", "rr_prematurity"}
    assert next(iter(chosen.data["timing"])) == "rr_earliness"


def test_scales_are_fixed_whatever_the_patients():
    """The knots do not depend on the examples, so that no held patient has a say in them."""
    recipe, chosen, all_of_them = find_recipe("beat"), settings(), synthetic()
    few = all_of_them.select(all_of_them.labels == 0)

    both = [learn_inputs(recipe.inputs(chosen, each), each) for each in (all_of_them, few)]

    assert both[0] == both[1]
    assert np.abs(scale(all_of_them, both[0]).inputs[SHAPE]).max() <= 1.0


def test_regression_finds_the_direction_and_shrinks_with_the_ridge():
    """Newton's method separates two clouds; a large ridge keeps the coefficients small."""
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(-1, 1, (200, 2)), rng.normal(1, 1, (200, 2))]).astype(np.float32)
    is_positive = np.arange(400) >= 200

    free = ridge_logistic(x, is_positive, np.ones(400), 0.01)
    held = ridge_logistic(x, is_positive, np.ones(400), 1000.0)

    right = ((np.column_stack([x, np.ones(400)]) @ free > 0) == is_positive).mean()
    assert right > 0.88
    assert np.abs(held[:2]).max() < 0.2 * np.abs(free[:2]).max()


def test_score_counts_gross_sensitivity_and_predictivity():
    """Four beats, one V missed and one N called S."""
    labels, decided = np.array([0, 0, 2, 2, 1]), np.array([0, 1, 2, 0, 1])

    found = find_recipe("beat").score(labels, decided, CLASSES)

    assert (found["se_V"], found["ppv_V"], found["se_S"], found["ppv_S"]) == (0.5, 1.0, 1.0, 0.5)


_FIT = """
import dataclasses, json, sys
import numpy as np
sys.path.insert(0, ".")
from tests.converter.test_recipe_beat import synthetic, settings
from converter.cross_validation import fit_on
from converter.inputs import learn_inputs, scale
from converter.recipes import find_recipe
recipe, chosen, examples = find_recipe("beat"), settings(), synthetic()
chosen = dataclasses.replace(chosen, data={**chosen.data, "n_drawn": 512},
    model={**chosen.model, "shape_ridge": 1.0},
    fit=dataclasses.replace(chosen.fit, epochs=2, batch_size=32),
    augment=dataclasses.replace(chosen.augment, noise_ratio=0.0))
cards = learn_inputs(recipe.inputs(chosen, examples), examples)
scaled = scale(examples, cards)
fitted = fit_on(recipe, chosen, scaled, seed=1, noise={})
logits = recipe.predict(fitted, scaled.inputs)
other = dict(scaled.inputs)
other["beat"] = other["beat"][::-1].copy()
swapped = recipe.predict(fitted, other)
print(json.dumps({
    "right": float((logits.argmax(1) == examples.labels)[examples.labels < 3].mean()),
    "gap": float(np.abs((logits[:, 1] - logits[:, 0]) - (swapped[:, 1] - swapped[:, 0])).max()),
    "params": int(fitted.model.count_params()),
}))
"""


@pytest.fixture(scope="module")
def fitted() -> dict[str, float]:
    pytest.importorskip("tensorflow")
    done = subprocess.run([sys.executable, "-c", _FIT], capture_output=True, text=True, cwd=ROOT, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_network_learns_what_the_classes_are(fitted):
    """Early beats become S and wide ones V."""
    assert fitted["right"] > 0.9


def test_curve_has_no_say_between_normal_and_supraventricular(fitted):
    """With another curve the logits of S and N keep their distance."""
    assert fitted["gap"] < 1e-3


def test_network_is_small_enough_for_64_kib(fitted):
    """Int8 weights and what is around them."""
    assert fitted["params"] < 50_000


@pytest.mark.skipif(not (DATA / "mitdb" / "119.hea").is_file(), reason="MIT-BIH records are not here")
def test_beats_of_a_record_become_examples():
    """Of record 119, whose 444 V are unmistakable, nearly all beats are found, labelled and told apart."""
    recipe, chosen = find_recipe("beat"), settings()
    chosen = dataclasses.replace(chosen, data={**chosen.data, "records": ["119"]})

    examples = recipe.examples(DATA, chosen, jobs=1)

    counts = examples.counts()
    likeness = examples.inputs[SHAPE][:, list(chosen.data["shape"]).index("qrs_likeness")]
    assert counts["V"] >= 440
    assert counts["N"] >= 1530
    assert np.nanmedian(likeness[examples.labels == 2]) < 0.8 < np.nanmedian(likeness[examples.labels == 0])
