"""Recipes: what is learned from which examples by which network; one module and one TOML of settings each.

`base.Recipe` is what a recipe has to say; `find_recipe` finds one by its name.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from converter.recipes.base import Recipe
from edge.errors import EdgeError

HERE = Path(__file__).parent


def recipe_names() -> list[str]:
    """Return the recipes of this installation: every module here that has a TOML file beside it."""
    return sorted(path.stem for path in HERE.glob("*.toml") if path.with_suffix(".py").is_file())


def find_recipe(name: str) -> Recipe:
    """Return the recipe ``converter/recipes/<name>.py`` has as its ``RECIPE``.

    Raises
    ------
    EdgeError
        If there is none of this name.
    """
    names = recipe_names()
    if name not in names:
        raise EdgeError(f"expected one of the recipes {', '.join(names)}; got {name!r}")
    recipe: Recipe = importlib.import_module(f"converter.recipes.{name}").RECIPE
    return recipe


def settings_file(name: str) -> Path:
    """Return the TOML file with the recipe's settings and their defaults."""
    return HERE / f"{name}.toml"
