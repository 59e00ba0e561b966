"""The contract as JSON Schema 2020-12, generated from `bodies`: what ``docs/schema/`` and the tests are made from.

A published schema allows fields that it does not know, so that an old reader accepts a newer runtime;
`strict` forbids them, which is how our own output is tested.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from edge.messages import Json
from edge.publishing.bodies import BODIES, Envelope, Seal

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TIMES = frozenset(
    {
        "at",
        "end_at",
        "measured_at",
        "onset_at",
        "published_at",
        "silenced_until",
        "start_at",
        "valid_until",
    }
)
_TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"
STATES = ("online", "stopped", "offline")
"""What the plain text of ``$state`` may be."""


def all_schemas() -> dict[str, Json]:
    """Return every schema of the contract by name, such as ``reading-1``; `schema_name` gives the name."""
    schemas: dict[str, Json] = {schema_name(body.SCHEMA): _schema(body) for body in BODIES}
    schemas["state-1"] = {
        "$schema": _DIALECT,
        "$id": "state/1",
        "title": "Presence of the gateway",
        "description": "Plain text, not JSON, on the retained topic $state; `offline` is the last will.",
        "type": "string",
        "enum": list(STATES),
    }
    return schemas


def schema_name(schema: str) -> str:
    """Return the file name, without its ending, of the schema that a body names.

    Examples
    --------
    >>> schema_name("reading/1")
    'reading-1'
    """
    return schema.replace("/", "-")


def strict(schema: Json) -> Json:
    """Return `schema` with unknown fields forbidden in every object that lists its fields."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tightened = {key: strict(value) for key, value in schema.items()}
    if "properties" in tightened:
        tightened["additionalProperties"] = False
    return tightened


def _schema(body: type[Envelope]) -> dict[str, Json]:
    """Return the schema of `body` with the fields of the seal among its own."""
    schema: dict[str, Any] = TypeAdapter(body).json_schema(mode="serialization")
    seal: dict[str, Any] = TypeAdapter(Seal).json_schema(mode="serialization")
    # What is sent has every field, also those that have a default when it is made.
    for part in (schema, *schema.get("$defs", {}).values()):
        if "properties" in part:
            part["required"] = sorted(part["properties"])
    schema["properties"] |= seal["properties"]
    schema["required"] = sorted(schema["properties"])
    schema["properties"]["schema"]["const"] = body.SCHEMA
    _with_formats(schema)
    return {"$schema": _DIALECT, "$id": body.SCHEMA, **schema}


def _with_formats(node: Any) -> None:
    """Mark the time fields, in place."""
    if isinstance(node, list):
        for item in node:
            _with_formats(item)
    if not isinstance(node, dict):
        return
    for name, field in node.get("properties", {}).items():
        for option in field.get("anyOf", [field]):
            if name in _TIMES and option.get("type") == "string":
                option["format"] = "date-time"
                option["pattern"] = _TIME_PATTERN  # many validators ignore formats
    for value in node.values():
        _with_formats(value)
