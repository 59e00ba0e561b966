"""The configuration as text: the effective one with origins, the commented template, and the JSON Schema."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from edge import config_sections, config_sensor
from edge.config_checks import adapter
from edge.config_layers import Origin, is_reference
from edge.config_lines import KeyPath
from edge.config_sections import Config
from edge.messages import Json

_TABLES = ("sensor", "subject", "limit")
_WIDTH = 110


def as_values(config: Config) -> dict[str, Any]:
    """Return the whole tree as plain values, defaults included; secrets are references and stay references."""
    values: dict[str, Any] = adapter().dump_python(config, mode="json", exclude_none=True)
    return values


def effective_toml(config: Config, origins: Mapping[KeyPath, Origin] | None = None) -> str:
    """Return the whole configuration as TOML that loads to the same configuration.

    Parameters
    ----------
    config : Config
        What to show.
    origins : mapping, optional
        Where each key came from; each line then ends with it in a comment.
    """
    lines = list(_table(as_values(config), (), origins))
    return "\n".join(lines).strip("\n") + "\n"


def _table(values: Mapping[str, Any], path: KeyPath, origins: Mapping[KeyPath, Origin] | None) -> Iterator[str]:
    below = []
    for key, value in values.items():
        at = (*path, key)
        if isinstance(value, dict) and not is_reference(value):
            below.append((at, value, f"[{_header(at)}]"))
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            below += [((*at, index), item, f"[[{_header(at)}]]") for index, item in enumerate(value)]
        elif not (isinstance(value, list) and not value and key in _TABLES and not path):
            yield f"{key} = {toml_value(value)}" + _origin_comment(at, origins)
    for at, table, header in below:
        if any(not isinstance(value, dict) or is_reference(value) for value in table.values()):
            yield from ("", header)
        yield from _table(table, at, origins)


def _origin_comment(path: KeyPath, origins: Mapping[KeyPath, Origin] | None) -> str:
    if origins is None:
        return ""
    return f"  # {origins[path]}" if path in origins else "  # built-in"


def _header(path: KeyPath) -> str:
    return ".".join(part for part in path if isinstance(part, str))


def toml_value(value: Json) -> str:
    """Return a value as TOML writes it on one line.

    Examples
    --------
    >>> toml_value([0.5, 40.0])
    '[0.5, 40.0]'
    """
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    # JSON and TOML agree on numbers, booleans and strings but for this one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the configuration, with every field's documentation."""
    schema = adapter().json_schema()
    documentation = _field_documentation()
    for name, section in [("Config", schema), *schema["$defs"].items()]:
        for key, property_ in section.get("properties", {}).items():
            if key in documentation.get(name, {}):
                property_["description"] = documentation[name][key]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "VitalEdge configuration"} | schema


def _field_documentation() -> dict[str, dict[str, str]]:
    """Return the docstring under each field of each section.

    Python keeps no docstrings of fields, so the source is read.  pydantic can do it too, but for every validation: it
    took 135 of the 199 ms of the first load.
    """
    found: dict[str, dict[str, str]] = {}
    sources = [inspect.getsource(module) for module in (config_sections, config_sensor)]
    for section in itertools.chain.from_iterable(ast.parse(source).body for source in sources):
        if isinstance(section, ast.ClassDef):
            found[section.name] = {
                item.target.id: inspect.cleandoc(below.value.value)
                for item, below in itertools.pairwise(section.body)
                if isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            }
    return found


def init_template() -> str:
    """Return a configuration to begin with: every key with its documentation, and every value commented out.

    Prose begins with ``# ``, a setting that may be uncommented with ``#`` alone.  Loaded as it is, it gives the defaults.
    """
    schema = json_schema()
    lines = [
        "# VitalEdge configuration.  Show what holds in the end: vitaledge config show",
        "# Lines that begin with '# ' explain; remove the '#' of the others to change a value.",
        "",
        "config_version = 1",
    ]
    defaults = as_values(Config())
    for item in fields(Config):
        if item.name != "config_version":
            lines += _section(item.name, schema["properties"][item.name], defaults.get(item.name), schema["$defs"])
    return "\n".join(lines) + "\n"


def _section(path: str, property_: Mapping[str, Any], defaults: Any, definitions: Mapping[str, Any]) -> Iterator[str]:
    is_list, is_named = "items" in property_, "patternProperties" in property_
    if is_list:
        reference = property_["items"]["$ref"]
    elif is_named:
        (named,) = property_["patternProperties"].values()
        reference = named["$ref"]
    else:
        reference = property_["$ref"]
    section = definitions[reference.rsplit("/", 1)[-1]]
    yield ""
    yield from _prose(section["description"])
    header = f"[[{path}]]" if is_list else f"[{path}.rhythm]" if is_named else f"[{path}]"
    yield f"#{header}" if is_list or is_named else header
    below = []
    for key, field_schema in section["properties"].items():
        target = definitions.get(str(field_schema.get("$ref", "")).rsplit("/", 1)[-1], {})
        if target.get("type") == "object":
            below.append((key, field_schema))
            continue
        default = defaults.get(key) if defaults else field_schema.get("default")
        value = field_schema["examples"][0] if default is None or default == [] else default
        yield from _prose(field_schema["description"])
        yield f"#{key} = {toml_value(value)}"
    for key, field_schema in below:
        yield from _section(f"{path}.{key}", field_schema, defaults[key], definitions)


def _prose(text: str) -> Iterator[str]:
    paragraph = " ".join(text.split()).replace("``", "")
    return (f"# {line}" for line in textwrap.wrap(paragraph, _WIDTH))
