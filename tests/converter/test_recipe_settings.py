"""A recipe's settings: the TOML file is the schema."""

from __future__ import annotations

import pytest

from converter.recipes import find_recipe, recipe_names, settings_file
from converter.recipes.settings import load_settings
from edge.errors import ConfigError, EdgeError

TOML = """
[data]
records = ["101", "106"]
hop_s = 2.0
[model]
kind = "plain"
[fit]
epochs = 3
[augment]
snr_db = [6.0, 24.0]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(TOML)
    return path


def test_overrides_take_the_type_that_stands_there(file):
    settings = load_settings(
        file, ["fit.epochs=7", "fit.adversarial_step=0.05", "data.hop_s=3", "model.kind=wide", 'data.records=["119"]']
    )

    assert settings.fit.epochs == 7
    assert settings.fit.adversarial_step == 0.05  # of every recipe, though the file does not name it
    assert settings.augment.snr_db == (6.0, 24.0)
    assert settings.data["hop_s"] == 3.0
    assert isinstance(settings.data["hop_s"], float)
    assert settings.model["kind"] == "wide"
    assert settings.data["records"] == ["119"]
    assert settings.fit.batch_size == 64  # what the file does not name has the default of the code


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("fit.epoch=7", "nearest: fit.epochs"),
        ("epochs=7", "no such setting"),
        ("fit=7", "no such setting"),
        ("fit.epochs", "expected KEY=VALUE"),
        ("fit.epochs=many", "expected int"),
        ("fit.epochs=2.5", "expected int"),
        ("data.hop_s=true", "expected float"),
        ("fit.epochs=0", "expected epochs"),
    ],
)
def test_what_does_not_fit_is_refused(file, override, said):
    with pytest.raises(ConfigError, match=said):
        load_settings(file, [override])


def test_a_key_that_the_code_does_not_know_is_refused(file):
    file.write_text(TOML + "batch = 3\n")

    with pytest.raises(ConfigError, match="batch"):
        load_settings(file)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_settings_that_hold(name):
    """Its module, its name and its TOML file belong together; every setting is one of plain JSON."""
    assert find_recipe(name).name == name
    assert load_settings(settings_file(name)).as_json()["fit"]["epochs"] >= 1


def test_an_unknown_recipe_is_named_with_those_there_are():
    with pytest.raises(EdgeError, match="image_folder"):
        find_recipe("../cli")
