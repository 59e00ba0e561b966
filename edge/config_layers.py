"""The layers of the configuration, laid one over the other while every key remembers where it came from.

Tables are merged key by key.  An item of ``[[sensor]]``, ``[[subject]]`` or ``[[limit]]`` is laid over the item of an
earlier layer with the same name, else appended; any other list is replaced whole.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from edge.config_lines import KeyPath, key_lines, nearest_line
from edge.errors import ConfigProblem

ENVIRONMENT_PREFIX = "VITALEDGE__"
VERSION = 1

NAMED_BY: Mapping[str, tuple[str, ...]] = {"sensor": ("id",), "subject": ("id",), "limit": ("measure", "grade")}
"""The keys that name an item of an array of tables."""
_TOML_LINE = re.compile(r"\(at line (\d+), column (\d+)\)|\(at end of document\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value came from."""

    source: str
    """Path of a file, ``environment NAME``, or ``command line``."""
    line: int | None
    """Line in the file, counted from 1; None where there is none."""

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(slots=True)
class Tree:
    """The merged layers so far: plain values as TOML gives them, and the origin of each key."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)
    raw_texts: dict[KeyPath, str] = field(default_factory=dict)
    """Text of each override, before it was read as TOML."""

    def origin(self, path: KeyPath) -> Origin:
        """Return where the key, or the nearest table above it, came from."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return Origin(source="built-in", line=None)

    def report(self, path: KeyPath, message: str) -> None:
        """Add a problem at the place that the key came from."""
        origin = self.origin(path)
        problem = ConfigProblem(source=origin.source, line=origin.line, key=dotted(path), message=message)
        if problem not in self.problems:
            self.problems.append(problem)


def dotted(path: KeyPath) -> str:
    """Return a path as people write it.

    Examples
    --------
    >>> dotted(("sensor", 0, "port"))
    'sensor[0].port'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def item_name(table: str, item: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what an item of ``[[table]]`` is known by; two items of one name are one, or an error."""
    return tuple(str(item.get(part, "")) for part in NAMED_BY[table])


def lay_file(tree: Tree, path: Path) -> None:
    """Lay one TOML file over the tree; what is wrong with it becomes a problem."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        tree.problems.append(_problem(path, None, f"cannot be read: {error.strerror}"))
    except UnicodeDecodeError as error:
        tree.problems.append(_problem(path, None, f"expected UTF-8 text, got byte 0x{error.object[error.start]:02x}"))
    else:
        lay_text(tree, text, str(path))


def lay_text(tree: Tree, text: str, source: str) -> None:
    """Lay a TOML text over the tree."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")  # Windows editors add both
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _TOML_LINE.search(str(error))
        line = int(match[1]) if match and match[1] else text.count("\n") + 1
        tree.problems.append(_problem(source, line, f"no valid TOML: {_TOML_LINE.sub('', str(error)).strip()}"))
        return
    except RecursionError:
        tree.problems.append(_problem(source, None, "no valid TOML: nested too deeply"))
        return
    version = values.get("config_version", VERSION)
    lines = key_lines(text)
    if isinstance(version, int) and version > VERSION:
        message = f"expected config_version {VERSION}, got {version}: written for a later version of this software"
        tree.problems.append(_problem(source, lines[("config_version",)], message, key="config_version"))
        return  # its keys mean something else, so judging them would only mislead
    _Overlay(tree, source, lines).table(tree.values, values, (), ())


def lay_environment(tree: Tree, environ: Mapping[str, str]) -> None:
    """Lay every ``VITALEDGE__SECTION__KEY`` over the tree."""
    for name in sorted(environ):
        if name.startswith(ENVIRONMENT_PREFIX):
            parts = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
            lay_override(tree, parts, environ[name], source=f"environment {name}")


def lay_overrides(tree: Tree, overrides: Sequence[str]) -> None:
    """Lay every ``section.key=value`` of the command line over the tree."""
    for number, override in enumerate(overrides, start=1):
        key, equals, text = override.partition("=")
        if not equals:  # the text is not shown: it may be half of a secret
            message = "expected section.key=value, got no '='"
            tree.problems.append(_problem("command line", None, message, key=f"override {number}"))
            continue
        lay_override(tree, tuple(part.strip() for part in key.split(".")), text.strip(), source="command line")


def lay_override(tree: Tree, parts: tuple[str, ...], text: str, *, source: str) -> None:
    """Lay one value over the tree; an item of a list is addressed by its name, as in ``sensor.bed.port``."""
    table: Any = tree.values
    path: KeyPath = ()
    rest = list(parts)
    while len(rest) > 1:
        part = rest.pop(0)
        below = table.get(part, [] if not path and part in NAMED_BY else None)
        path = (*path, part)
        if isinstance(below, list):
            named = rest.pop(0)
            index = _index_named(below, NAMED_BY.get(part, ()), named)
            if index is None or not rest:
                tree.problems.append(_problem(source, None, _no_such(part, below, named), key=".".join(parts)))
                return
            table, path = below[index], (*path, index)
        else:
            if not isinstance(below, dict):
                table[part] = below = {}
                tree.origins[path] = Origin(source=source, line=None)
            table = below
    _set(tree, table, (*path, rest[0]), text, source)


def is_reference(table: Mapping[str, Any]) -> bool:
    """Return whether a table says where a secret is kept: one value, replaced whole by a later layer."""
    return bool(table) and table.keys() <= {"credential", "file", "env"}


def _set(tree: Tree, table: dict[str, Any], path: KeyPath, text: str, source: str) -> None:
    if is_reference(table) and is_reference({str(path[-1]): text}):
        table.clear()
        _forget(tree, path[:-1])
        tree.origins[path[:-1]] = Origin(source=source, line=None)
    _forget(tree, path)
    table[str(path[-1])] = _scalar(text)
    tree.origins[path] = Origin(source=source, line=None)
    tree.raw_texts[path] = text


def _scalar(text: str) -> Any:
    """Return an override read as a TOML value, or as it stands where it is none."""
    try:
        values = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return values["value"] if values.keys() == {"value"} else text  # a line break could smuggle in a second key


def _index_named(items: list[Any], named_by: tuple[str, ...], name: str) -> int | None:
    """Return the only item of that name; an environment variable cannot contain ``-``, so ``_`` stands for it."""
    if not named_by:
        return None
    wanted = name.replace("-", "_")
    found = [
        index
        for index, item in enumerate(items)
        if isinstance(item, dict) and str(item.get(named_by[0])).replace("-", "_") == wanted
    ]
    return found[0] if len(found) == 1 else None


def _no_such(table: str, items: list[Any], name: str) -> str:
    label = NAMED_BY.get(table, ("id",))[0]
    known = ", ".join(str(item.get(label)) for item in items if isinstance(item, dict)) or "none"
    return f"expected the {label} of one {table} and one of its keys, got {name!r}; known: {known}"


def _forget(tree: Tree, path: KeyPath) -> None:
    """Drop the origins below a value that is replaced whole."""
    for known in [known for known in tree.origins if known[: len(path)] == path]:
        del tree.origins[known]
        tree.raw_texts.pop(known, None)


class _Overlay:
    """Lays one parsed file over the tree."""

    def __init__(self, tree: Tree, source: str, lines: dict[KeyPath, int]) -> None:
        self._tree = tree
        self._source = source
        self._lines = lines

    def table(self, base: dict[str, Any], top: Mapping[str, Any], at: KeyPath, in_file: KeyPath) -> None:
        for key, value in top.items():
            path, file_path = (*at, key), (*in_file, key)
            below = base.get(key)
            if isinstance(value, dict) and isinstance(below, dict) and not is_reference(value):
                self.table(below, value, path, file_path)
            elif not at and key in NAMED_BY and _is_tables(value) and _is_tables(below):
                self._items(below, value, key)
            else:
                _forget(self._tree, path)
                base[key] = value
                self._note(value, path, file_path)

    def _items(self, base: list[dict[str, Any]], top: list[dict[str, Any]], key: str) -> None:
        """Lay named items over those of earlier layers; the same name twice in one file stays two, and an error."""
        by_name = {item_name(key, item): index for index, item in enumerate(base)}
        for number, item in enumerate(top):
            index = by_name.get(item_name(key, item))
            if index is None:
                base.append(item)
                self._note(item, (key, len(base) - 1), (key, number))
            else:
                self.table(base[index], item, (key, index), (key, number))

    def _note(self, value: Any, path: KeyPath, in_file: KeyPath) -> None:
        """Remember the origin of a value and of everything inside it that has a line of its own."""
        self._tree.origins[path] = Origin(source=self._source, line=nearest_line(self._lines, in_file))
        inside = value.items() if isinstance(value, dict) else enumerate(value) if _is_tables(value) else ()
        for key, below in inside:
            self._note(below, (*path, key), (*in_file, key))


def _is_tables(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _problem(source: str | Path, line: int | None, message: str, *, key: str = "") -> ConfigProblem:
    return ConfigProblem(source=str(source), line=line, key=key or "file", message=message)
