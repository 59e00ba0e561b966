"""A recipe's settings: its TOML file, and what the command line changes in it.

The sections ``data`` and ``model`` are the recipe's own, and its file is their schema; ``augment``, ``fit`` and
``validation`` are those of every recipe, and the file says where it differs from their defaults.  A key that is in neither
is refused, and a value must be of the type that stands there.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from converter.augment import AugmentSettings
from converter.fitting import FitSettings
from converter.folds import ValidationSettings
from edge.errors import ConfigError, ConfigProblem
from edge.messages import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeSettings:
    """Everything that decides what is trained; two trainings with equal settings, seeds and data are equal."""

    data: Mapping[str, Any] = field(default_factory=dict)
    """The recipe's own: which recordings, how examples are cut and labelled."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """The recipe's own: the network."""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)

    def as_json(self) -> dict[str, Json]:
        """Return the settings for a report or a hash."""
        return {name: _plain(value) for name, value in asdict(self).items()}


_SHARED: Mapping[str, type[AugmentSettings | FitSettings | ValidationSettings]] = {
    "augment": AugmentSettings,
    "fit": FitSettings,
    "validation": ValidationSettings,
}


def load_settings(path: Path, overrides: Sequence[str] = ()) -> RecipeSettings:
    """Return the settings of a TOML file with `overrides` such as ``fit.epochs=3`` put in.

    Raises
    ------
    ConfigError
        With every key that does not exist and every value of another type.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise _problem(str(path), "", f"cannot be read: {error}") from error
    for name, kind in _SHARED.items():
        defaults = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(kind()).items()}
        tree[name] = {**defaults, **tree.get(name, {})}
    for override in overrides:
        _put(tree, override)
    try:
        return TypeAdapter(RecipeSettings).validate_python(tree, extra="forbid")
    except ValidationError as error:
        problems = [
            ConfigProblem(source=path.name, line=None, key=".".join(map(str, each["loc"])), message=_said(each["msg"]))
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigError(problems) from error


def _put(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise _problem("--set", override, "expected KEY=VALUE")
    *sections, last = key.split(".")
    inner: Any = tree
    for section in sections:
        inner = inner.get(section, {}) if isinstance(inner, dict) else {}
    if not isinstance(inner, dict) or last not in inner or isinstance(inner[last], dict):
        known = sorted(_keys(tree))
        near = difflib.get_close_matches(key, known, n=1)
        raise _problem("--set", key, "no such setting" + (f"; nearest: {near[0]}" if near else ""))
    inner[last] = _value(key, text, inner[last])


def _value(key: str, text: str, old: Any) -> Any:
    """Return `text` as TOML, or as it stands where the setting is a text; its type is that of the old value."""
    if isinstance(old, str):
        return text.strip("\"'")
    try:
        new = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise _problem("--set", key, f"expected {type(old).__name__}, got {text!r}") from error
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
        new = float(new)
    if type(new) is not type(old):
        raise _problem("--set", key, f"expected {type(old).__name__}, got {text!r}")
    return new


def _keys(tree: Mapping[str, Any], before: str = "") -> list[str]:
    found: list[str] = []
    for name, value in tree.items():
        found += _keys(value, f"{before}{name}.") if isinstance(value, dict) else [f"{before}{name}"]
    return found


def _problem(source: str, key: str, message: str) -> ConfigError:
    return ConfigError([ConfigProblem(source=source, line=None, key=key, message=message)])


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")


def _plain(value: Any) -> Json:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
