"""The configuration as text: template, effective configuration, schema."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import config_sha256, effective_toml, init_template, json_schema, load_config
from edge.config_sections import Config
from edge.config_text import as_values, toml_value

FULL = """
[gateway]
id = "gw-7f3a"
[[sensor]]
id = "bed"
driver = "bridge_serial"
port = "/dev/ttyUSB0"
streams = ["ecg"]
[[subject]]
id = "p-9c1e"
sensors = ["bed"]
[model.rhythm]
bundle = "/models/a"
[[limit]]
measure = "spo2_pct"
low = 90
[mqtt]
host = "broker.example"
key = { credential = "mqtt-key" }
cert = "/c"
"""


@pytest.fixture
def full(tmp_path):
    path = tmp_path / "full.toml"
    path.write_text(FULL)
    return load_config([path])


def test_the_template_loads_to_the_defaults(tmp_path):
    """A new user can begin with it as it is."""
    path = tmp_path / "config.toml"
    path.write_text(init_template(), encoding="utf-8")

    loaded = load_config([path])

    assert loaded.config == Config()


def test_every_setting_of_the_template_may_be_uncommented(tmp_path):
    """Each line behind a bare # is valid, and so are all of them together."""
    path = tmp_path / "config.toml"
    path.write_text(re.sub(r"(?m)^#(?=[a-z\[])", "", init_template()), encoding="utf-8")

    loaded = load_config([path])

    assert loaded.config.sensor[0].id == "bed"
    assert loaded.config.subject_of("bed") == "p-9c1e"


def test_the_template_names_every_key_with_its_documentation():
    """No setting is hidden, and none is unexplained."""
    template = init_template()

    for definition in json_schema()["$defs"].values():
        for key in definition.get("properties", {}):
            assert key in {"keep", "credential", "file", "env"} or re.search(rf"(?m)^# .*\n#{key} = ", template), key


def test_the_effective_configuration_loads_to_itself(tmp_path, full):
    """What is shown is what holds, in full."""
    path = tmp_path / "shown.toml"
    path.write_text(effective_toml(full.config, full.origins), encoding="utf-8")

    again = load_config([path])

    assert again.config == full.config
    assert config_sha256(again.config) == config_sha256(full.config)


def test_the_effective_configuration_says_where_each_value_came_from(full):
    shown = effective_toml(full.config, full.origins)

    assert re.search(r'(?m)^host = "broker.example"  # .*full.toml:18$', shown)
    assert re.search(r"(?m)^bond = false  # built-in$", shown)


def test_the_schema_accepts_what_loads_and_refuses_what_does_not(full):
    """Editors and the care centre check against the same rules."""
    schema = json_schema()
    validator = jsonschema.Draft202012Validator(schema)

    validator.check_schema(schema)

    assert validator.is_valid(as_values(full.config))
    assert validator.is_valid(tomllib.loads(FULL))
    for wrong in ({"mqt": {}}, {"mqtt": {"port": 0}}, {"mqtt": {"password": "x"}}, {"sensor": [{"id": "a"}]}):
        assert not validator.is_valid(wrong)


def test_every_field_is_documented_in_the_schema():
    """The docstring under a field reaches whoever configures it."""
    for name, definition in json_schema()["$defs"].items():
        assert definition.get("description"), name
        for key, schema in definition.get("properties", {}).items():
            assert schema.get("description") or key == "keep", f"{name}.{key}"


@given(st.text())
def test_any_text_is_written_as_toml_reads_it(text):
    """Invariant: write, parse, compare."""
    assert tomllib.loads(f"a = {toml_value(text)}")["a"] == text


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1) | st.booleans())
def test_any_number_is_written_as_toml_reads_it(value):
    assert tomllib.loads(f"a = {toml_value(value)}")["a"] == value


def test_no_example_points_at_a_real_place():
    """Examples use names that are reserved for examples."""
    assert not re.findall(r"\b(?!broker\.example)[a-z0-9-]+\.(?:com|org|net|local)\b", init_template())
    assert str(Path.home()) not in init_template()
