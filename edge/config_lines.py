"""Where in a TOML text each key stands, so that an error can name the line.

`tomllib` gives values without positions.  This scanner walks a text that `tomllib` has already accepted, so it
need not judge it: it finds headers and keys and skips values, strings and comments.
"""

from __future__ import annotations

import re

KeyPath = tuple[str | int, ...]
"""``("sensor", 0, "port")`` for ``port`` in the first ``[[sensor]]``."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_NOT_A_STATEMENT = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
# Longest first, so that """ is not read as an empty string followed by a quote.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'  # up to two quotes may stand directly before the closing three
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_COMMENT = re.compile(r"#[^\n]*")


def key_lines(text: str) -> dict[KeyPath, int]:
    r"""Return the line, counted from 1, of every table header and key of a valid TOML text.

    Keys inside an inline table or array are not listed: take the nearest path above, as `nearest_line` does.

    Examples
    --------
    >>> key_lines('[mqtt]\nport = 1')[("mqtt", "port")]
    2
    """
    return _Scanner(text).scan()


def nearest_line(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """Return the line of `path`, or of the nearest table above it that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


class _Scanner:
    """One pass over one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[KeyPath, int] = {}
        self._table: KeyPath = ()
        self._n_items: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        self._skip(_NOT_A_STATEMENT)
        while self._at < len(self._text):
            line = self._text.count("\n", 0, self._at) + 1
            if self._text[self._at] == "[":
                self._header(line)
            else:
                self._found(self._table, self._key(), line)
                self._value()
            self._skip(_NOT_A_STATEMENT)
        return self._lines

    def _header(self, line: int) -> None:
        is_item = self._text.startswith("[[", self._at)
        self._at += 2 if is_item else 1
        *parents, last = self._key()
        path: KeyPath = ()
        for part in parents:
            self._found(path, (part,), line)
            path = self._inside((*path, part))
        path = (*path, last)
        if is_item:
            index = self._n_items.get(path, 0)
            self._n_items[path] = index + 1
            self._lines.setdefault(path, line)
            path = (*path, index)
        self._table = path
        self._lines.setdefault(path, line)
        self._at += 2 if is_item else 1

    def _inside(self, path: KeyPath) -> KeyPath:
        """Return `path`, or its latest item where it is an array of tables."""
        return (*path, self._n_items[path] - 1) if path in self._n_items else path

    def _found(self, table: KeyPath, key: tuple[str, ...], line: int) -> None:
        """Note a key and the tables that a dotted one opens; the first mention is the one to show."""
        for length in range(1, len(key) + 1):
            self._lines.setdefault(table + key[:length], line)

    def _key(self) -> tuple[str, ...]:
        """Read a dotted key and stop at what follows it."""
        parts = []
        while True:
            self._skip(_BLANK)
            match = _STRING.match(self._text, self._at) or _BARE.match(self._text, self._at)
            if match is None:
                raise ValueError(f"expected a key at character {self._at}; the text is no valid TOML")
            parts.append(_unquoted(match[0]))
            self._at = match.end()
            self._skip(_BLANK)
            if not self._text.startswith(".", self._at):
                return tuple(parts)
            self._at += 1

    def _value(self) -> None:
        """Skip ``= value`` up to the end of its last line."""
        depth = 0
        while self._at < len(self._text):
            char = self._text[self._at]
            skipped = _STRING.match(self._text, self._at) or _COMMENT.match(self._text, self._at)
            if skipped is not None:
                self._at = skipped.end()
                continue
            if char == "\n" and depth == 0:
                return
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(char, 0)
            self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()


def _unquoted(key: str) -> str:
    """Return a key without its quotes; escapes are rare in keys and are resolved as TOML does."""
    if key.startswith("'"):
        return key[1:-1]
    if key.startswith('"'):
        return _ESCAPE.sub(_unescaped, key[1:-1])
    return key


_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)
