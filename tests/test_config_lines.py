"""The scanner that finds the line of a key."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config_lines import key_lines, nearest_line
from edge.config_text import toml_value


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1", ("a",), 1),
        ("\n# c\na = 1\nb = 2", ("b",), 4),
        ("[t]\na = 1", ("t", "a"), 2),
        ("[ t . u ] # [x]\n a = 1", ("t", "u", "a"), 2),
        ("a.b.c = 1", ("a", "b"), 1),
        ('"a b"."c.d" = 1\n\'e\' = 2', ("a b", "c.d"), 1),
        ('"a b"."c.d" = 1\n\'e\' = 2', ("e",), 2),
        ('"\\u0061\\"\\n" = 1', ('a"\n',), 1),
        ("[[s]]\na = 1\n[[s]]\na = 2", ("s", 1, "a"), 4),
        ("[[s]]\n[s.t]\na = 1\n[[s]]\n[s.t]\na = 2", ("s", 1, "t", "a"), 6),
        ("[[s]]\n[[s.t]]\na = 1\n[[s.t]]\na = 2\n[[s]]\n[[s.t]]\na = 3", ("s", 1, "t", 0, "a"), 8),
        ("a = [\n  1, # ]\n  '[',\n]\nb = 1", ("b",), 5),
        ("a = { b = 1, c = { d = '}' } }\nb = 1", ("b",), 2),
        ("a = [\n { b = 1 },\n { c = 2 },\n]\nb = 1", ("b",), 5),
        ('a = """\nx = 1\n[t]\n\\""" y\n"""\nb = 1', ("b",), 6),
        ('a = """x""""\nb = 1', ("b",), 2),
        ('a = """"""\nb = 1', ("b",), 2),
        ("a = '''\nx = '1'\n'''''\nb = 1", ("b",), 4),
        ("a = ['''x'''', ']']\nb = 1", ("b",), 2),
        ('a = ["""x"""", "]"]\nb = 1', ("b",), 2),
        ("a = '# no comment'\nb = 1", ("b",), 2),
        ('a = "\\""\nb = 1', ("b",), 2),
        ("a = 1979-05-27T07:32:00Z # x\nb = 1", ("b",), 2),
    ],
)
def test_a_key_is_found_on_its_line(text, path, line):
    tomllib.loads(text)  # the scanner is only ever given valid TOML

    assert key_lines(text)[path] == line


def test_nothing_inside_a_string_is_taken_for_a_key():
    """What looks like a header in a text is text."""
    assert set(key_lines('a = """\n[t]\nx = 1\n"""')) == {("a",)}


def test_a_key_inside_an_inline_table_has_the_line_of_the_table():
    lines = key_lines("[t]\na = { b = 1 }")

    assert nearest_line(lines, ("t", "a", "b")) == 2
    assert nearest_line(lines, ("t", "missing")) == 1
    assert nearest_line(lines, ("missing",)) is None


KEYS = st.text(alphabet='ab-_ .#"[]=\n\\é', min_size=1, max_size=5)
SCALARS = st.integers() | st.booleans() | st.text(alphabet="ab[]{}#='\"\\\n,é", max_size=12)
VALUES = st.recursive(SCALARS, lambda below: st.lists(below, max_size=3), max_leaves=4)
TABLES = st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4)


@given(TABLES, st.data())
def test_every_key_of_any_text_is_found_on_its_own_line(tables, data):
    """Invariant: write tables with values over one or many lines, and each key is found where it was written."""
    lines, expected = [], {}
    for table, keys in tables.items():
        lines.append(f"[{toml_value(table)}]" + data.draw(st.sampled_from(["", " # [x] = 'y'"])))
        expected[table,] = len(lines)
        for key, value in keys.items():
            expected[table, key] = len(lines) + 1
            text = toml_value(value)
            if isinstance(value, list) and data.draw(st.booleans()):
                text = "[ # ]\n" + text[1:]
            elif isinstance(value, str) and "'''" not in value and not value.endswith("'") and data.draw(st.booleans()):
                text = f"'''\n{value}'''"
            lines += f"{toml_value(key)} = {text}".split("\n")
    text = "\n".join(lines)
    tomllib.loads(text)

    found = key_lines(text)

    assert {path: found[path] for path in expected} == expected
    assert len(found) == len(expected)
