"""What is wrong with a merged configuration: every problem in words, with its place.

pydantic judges each section; this module says its findings plainly, names the nearest known key, and adds what no
section can see alone, such as a sensor that is bound to two subjects.
"""

from __future__ import annotations

import datetime as dt
import difflib
import ipaddress
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from edge.config_layers import NAMED_BY, Tree, item_name
from edge.config_lines import KeyPath
from edge.config_sections import Config, SecretReference
from edge.config_types import PATTERN_WORDS
from edge.errors import ConfigProblem
from edge.numerics_file import MEASURES

_MEASURES = (*MEASURES, "rr_ms", "body_mass_kg", "height_m", "bmi_kg_m2", "glucose_mmol_l")
_USE_REFERENCE = 'a secret never stands here; write { credential = "name" }, { file = "/path" } or { env = "NAME" }'


@cache
def adapter() -> TypeAdapter[Config]:
    """Return the validator of the whole tree, built once on first use."""
    return TypeAdapter(Config)


def validated(tree: Tree) -> Config | None:
    """Return the configuration; None where it is wrong, with every problem added to `tree`."""
    _report_dates(tree, tree.values, ())
    try:
        config = adapter().validate_json(_as_json(tree.values))
    except ValidationError as error:
        if _take_literally(tree, error):
            return validated(tree)
        config = None
        for detail in error.errors(include_url=False):
            _report(tree, detail)
    _check_names(tree)
    _check_bindings(tree)
    return None if tree.problems else config


def _as_json(values: Mapping[str, Any]) -> str:
    """Return the tree as JSON: strict validation then takes lists as tuples and strings as enumerations."""
    return json.dumps(values, default=lambda date: {"date": str(date)})


def _take_literally(tree: Tree, error: ValidationError) -> bool:
    """Turn overrides that TOML read as a number back into the text they were, where text was wanted.

    Without quotes, which shells eat, ``VITALEDGE__MQTT__PROTOCOL=5`` would be the number five.
    """
    has_changed = False
    for detail in error.errors(include_url=False):
        path = detail["loc"]
        text = tree.raw_texts.pop(path, None)
        is_text_wanted = detail["type"] in {"string_type", "literal_error"}
        if text is not None and is_text_wanted and not isinstance(detail["input"], str):
            table: Any = tree.values
            for part in path[:-1]:
                table = table[part]
            table[path[-1]] = text
            has_changed = True
    return has_changed


def _report_dates(tree: Tree, value: Any, path: KeyPath) -> None:
    if isinstance(value, dt.date | dt.time):
        tree.report(path, "expected no date or time here; write it in quotes if it is a name")
    for key, below in _inside(value):
        _report_dates(tree, below, (*path, key))


def _inside(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


# --- pydantic's findings in words ---------------------------------------------------------------------------


def _report(tree: Tree, detail: Mapping[str, Any]) -> None:
    path: KeyPath = detail["loc"]
    if path and path[-1] == "[key]":  # a name such as that of a model, wrong itself
        path = path[:-1]
    kind = detail["type"]
    if kind == "unexpected_keyword_argument":
        message = _unknown(path)
    elif kind in {"missing", "missing_argument"}:
        message = "is required and missing"
    elif kind == "value_error":
        message = str(detail["ctx"]["error"])
    elif _is_secret(path):  # never with what was given
        message = _USE_REFERENCE if kind == "dataclass_type" else _expected(detail)
    else:
        message = _expected(detail) + _given(detail["input"])
    tree.report(path, message)


def _expected(detail: Mapping[str, Any]) -> str:
    """Return what pydantic wanted, in the words of a TOML file."""
    ctx = detail.get("ctx", {})
    words = {
        "float_type": "a number",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "finite_number": "a finite number",
        "string_type": "text in quotes",
        "bool_type": "true or false",
        "tuple_type": "a list in [ ]",
        "too_long": f"a list of at most {ctx.get('max_length')}",
        "dataclass_type": "a table",
        "mapping_type": "a table",
        "string_too_short": "text that is not empty",
        "greater_than": f"a number > {ctx.get('gt')}",
        "greater_than_equal": f"a number >= {ctx.get('ge')}",
        "less_than": f"a number < {ctx.get('lt')}",
        "less_than_equal": f"a number <= {ctx.get('le')}",
        "literal_error": f"{ctx.get('expected')}",
        "enum": f"{ctx.get('expected')}",
        "string_pattern_mismatch": PATTERN_WORDS.get(str(ctx.get("pattern")), "other text"),
    }
    return f"expected {words[detail['type']]}" if detail["type"] in words else str(detail["msg"])


def _given(value: Any) -> str:
    if isinstance(value, dict):
        return ", got a table"
    if isinstance(value, list):
        return f", got a list of {len(value)}"
    text = json.dumps(value, ensure_ascii=False)
    return f", got {text if len(text) <= 80 else text[:80] + '…'}"


def _unknown(path: KeyPath) -> str:
    known = _keys_of(_section_at(path[:-1]))
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"unknown key; did you mean {near[0]!r}?" if near else f"unknown key; known here: {', '.join(known)}"


def _keys_of(section: Any) -> list[str]:
    return [item.name for item in fields(section)] if is_dataclass(section) else []


def _is_secret(path: KeyPath) -> bool:
    return any(_section_at(path[:length]) is SecretReference for length in range(1, len(path) + 1))


def _section_at(path: KeyPath) -> Any:
    """Return the type that the tree has at `path`; None for a path that it does not have."""
    at: Any = Config
    for part in path:
        if is_dataclass(at):
            at = get_type_hints(at).get(str(part)) if isinstance(at, type) else None
        elif get_origin(at) is tuple:
            at = get_args(at)[0]
        elif get_args(at):  # Mapping[Name, section]
            at = get_args(at)[1]
        else:
            return None
        if get_origin(at) in {Union, UnionType}:
            at = next((option for option in get_args(at) if option is not NoneType), None)
    return at


# --- what no section sees alone -----------------------------------------------------------------------------


def _tables(tree: Tree, name: str) -> list[tuple[int, dict[str, Any]]]:
    items = tree.values.get(name)
    return [(i, item) for i, item in enumerate(items) if isinstance(item, dict)] if isinstance(items, list) else []


def _check_names(tree: Tree) -> None:
    for table, named_by in NAMED_BY.items():
        seen: dict[tuple[str, ...], int] = {}
        for index, item in _tables(tree, table):
            if named_by[0] not in item:
                continue
            name = item_name(table, item)
            first = seen.setdefault(name, index)
            if first != index:
                where = tree.origin((table, first))
                tree.report((table, index, named_by[0]), f"{' '.join(name).strip()!r} is given twice, first at {where}")


def _check_bindings(tree: Tree) -> None:
    known = [str(item["id"]) for _, item in _tables(tree, "sensor") if "id" in item]
    bound: dict[str, str] = {}
    for index, item in _tables(tree, "subject"):
        sensors = item.get("sensors")
        for sensor in sensors if isinstance(sensors, list) else ():
            path = ("subject", index, "sensors")
            if sensor not in known:
                near = difflib.get_close_matches(str(sensor), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
                tree.report(path, f"no sensor has the id {sensor!r}; {hint}")
            elif sensor in bound:
                tree.report(path, f"sensor {sensor!r} is bound twice, first to subject {bound[sensor]!r}")
            bound.setdefault(str(sensor), str(item.get("id")))


def warnings_of(config: Config, tree: Tree) -> tuple[ConfigProblem, ...]:
    """Return what can be used as it is but is probably not meant."""
    found = Tree(origins=tree.origins)
    for index, sensor in enumerate(config.sensor):
        if config.subject_of(sensor.id) is None:
            found.report(
                ("sensor", index, "id"),
                f"sensor {sensor.id!r} belongs to no subject: its data will say unassigned; add it to a [[subject]]",
            )
    for port, n_uses in Counter(sensor.port for sensor in config.sensor if sensor.port is not None).items():
        if n_uses > 1:
            found.report(("sensor",), f"{n_uses} sensors share the port {port!r}; only one of them can open it")
    for index, limit in enumerate(config.limit):
        if limit.measure not in _MEASURES:
            near = difflib.get_close_matches(limit.measure, _MEASURES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_MEASURES)}"
            found.report(
                ("limit", index, "measure"), f"nothing here measures {limit.measure!r}, so it cannot alarm; {hint}"
            )
    mqtt = config.mqtt
    if mqtt.host is not None and not is_loopback(mqtt.host):
        if not mqtt.tls:
            found.report(("mqtt", "tls"), f"health data will go to {mqtt.host!r} unencrypted; set tls = true")
        if "id" not in tree.values.get("gateway", {}):
            found.report(
                ("gateway", "id"), "is the built-in one; give every device at a shared broker a name of its own"
            )
    return tuple(found.problems)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, judged by its name alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
