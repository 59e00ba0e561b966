"""The published schemas are those that the code makes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from edge.publishing.bodies import BODIES
from edge.publishing.schemas import all_schemas, schema_name, strict

PUBLISHED = Path(__file__).parents[2] / "docs" / "schema"


@pytest.mark.parametrize("name", sorted(all_schemas()))
def test_each_schema_is_a_schema_of_its_dialect(name):
    schema = all_schemas()[name]

    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", sorted(all_schemas()))
def test_the_files_in_docs_are_up_to_date(name):
    """Somebody who never reads our code works from these files."""
    assert json.loads((PUBLISHED / f"{name}.json").read_text()) == all_schemas()[name]


def test_no_file_in_docs_is_left_over():
    assert {path.stem for path in PUBLISHED.glob("*.json")} == set(all_schemas())


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.SCHEMA)
def test_every_field_says_what_it_is_or_has_a_plain_type(body):
    """Fields and their seal are all required; the name of the schema is fixed."""
    schema = all_schemas()[schema_name(body.SCHEMA)]

    assert set(schema["required"]) == set(schema["properties"])
    assert schema["properties"]["schema"]["const"] == body.SCHEMA
    assert {"id", "seq", "epoch", "published_at", "hist"} <= set(schema["properties"])


def test_strict_forbids_unknown_fields_everywhere_but_in_open_maps():
    schema = strict(all_schemas()["alert-1"])

    assert schema["additionalProperties"] is False
    assert schema["$defs"]["ConditionBody"]["additionalProperties"] is False
    assert schema["properties"]["evidence"]["additionalProperties"] is True
