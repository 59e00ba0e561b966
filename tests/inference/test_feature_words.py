"""Every feature that a model reads can be said to a nurse."""

from __future__ import annotations

import json
import math

import pytest

from edge.features import beat_windows, rhythm_windows
from edge.inference.bundle import builtin_bundle
from edge.inference.explain_words import fact_sentence
from edge.inference.feature_words import BEAT_GROUPS, RHYTHM_GROUPS, value_words, words_of


@pytest.mark.parametrize(
    ("names", "groups"), [(beat_windows.FEATURES, BEAT_GROUPS), (rhythm_windows.FEATURES, RHYTHM_GROUPS)]
)
def test_every_feature_that_the_stages_make_has_words_and_a_question(names, groups):
    """None falls back on its own name."""
    assert [name for name in names if words_of(name).group not in groups] == []


@pytest.mark.parametrize("task", ["beat", "rhythm"])
def test_every_feature_of_the_shipped_models_has_words(task):
    """Whatever the bundles in the repository name."""
    manifest = builtin_bundle(task) / "manifest.json"
    if not manifest.is_file():
        pytest.skip(f"no bundle is built in for {task}")
    names = [
        feature["name"] for each in json.loads(manifest.read_text())["inputs"] for feature in each.get("features", [])
    ]

    assert [name for name in names if words_of(name).group not in {**BEAT_GROUPS, **RHYTHM_GROUPS}] == []


@pytest.mark.parametrize("value", [0.0, 1.0, -0.3, 1e12, math.nan, math.inf])
def test_every_feature_can_be_said_with_any_value(value):
    """One sentence, with the typical value behind it, and no float or name as a program writes it."""
    for name in (*beat_windows.FEATURES, *rhythm_windows.FEATURES, "shoe_size_ms", "x"):
        said = fact_sentence(name, {name: value}, "98 %")

        assert said.endswith("(typical: 98 %)"), name
        assert "nan" not in said, name
        assert "_" not in said, name


def test_an_unknown_feature_is_said_by_its_name_and_unit():
    """A model of somebody else's is explained, if clumsily."""
    assert fact_sentence("muscle_tone_share", {"muscle_tone_share": 0.25}, "3 %") == "muscle tone: 25 % (typical: 3 %)"


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("rr_to_level", {"rr_to_level": 0.62, "rr_ms": 506}, "it came 310 ms early, after 62 % of this patient's usual interval"),
        ("rr_to_level", {"rr_to_level": 1.5, "rr_ms": 1200}, "it came 400 ms late, after 150 % of this patient's usual interval"),
        ("rr_to_level", {"rr_to_level": 0.5, "rr_ms": math.nan}, "it came early, after 50 % of this patient's usual interval"),
        ("p_likeness", {"p_likeness": 0.12}, "no P wave before it like this patient's usual one: 12 % alike"),
        ("p_likeness", {"p_likeness": 0.95}, "the stretch before it is like this patient's usual P wave to 95 %"),
        ("width_ratio", {"width_ratio": 1.48}, "its QRS complex lasts 148 % of the usual time"),
        ("similarity", {"similarity": -0.29}, "the beat detector finds it like the usual beat to 0 %"),
        ("width_median_ms", {"width_median_ms": 98.4}, "QRS complexes last 98 ms"),
        ("rr_cv_ratio", {"rr_cv_ratio": 0.24}, "the intervals between beats vary by 24 %"),
        ("form_is_usual", {"form_is_usual": 0.0}, "it does not have this patient's usual shape"),
        ("heart_rate_bpm", {"heart_rate_bpm": 111.6}, "heart rate: 112/min"),
    ],
)  # fmt: skip
def test_figures_are_said_plainly(name, values, sentence):
    """As a nurse would say them."""
    assert fact_sentence(name, values, "x") == f"{sentence} (typical: x)"


def test_small_figures_keep_two_digits():
    """0.004 is not 0."""
    assert value_words(0.0042, "mV") == "0.0042 mV"
    assert value_words(3.0, "") == "3"
