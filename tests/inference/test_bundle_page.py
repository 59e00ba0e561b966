"""The page on the format says what the code does."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from edge.errors import ModelFault
from edge.inference.bundle import trusted_keys
from edge.inference.card import ModelCard
from edge.inference.golden import GOLDEN_TOLERANCE_LSB
from edge.inference.trust import DOMAIN, TrustedKeys

PAGE = (Path(__file__).parents[2] / "docs" / "model-bundle.md").read_text(encoding="utf-8")


def first_cells(heading):
    """Return what stands in backticks in the first column of the table under a heading."""
    section = PAGE.split(heading)[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}


def test_every_reason_is_named():
    assert first_cells("## In which order it is checked") == {fault.value for fault in ModelFault} - {"other"}


def test_every_field_of_the_card_is_named():
    """Files, model and golden are in the table of files."""
    fields = {field.name for field in dataclasses.fields(ModelCard)} - {"files", "model", "golden"}

    assert first_cells("## The card") == fields


def test_the_example_of_a_key_is_one_that_is_trusted():
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)

    assert (
        TrustedKeys.parse(json.dumps(json.loads(example)).encode(), "page").keys.items() <= trusted_keys().keys.items()
    )


def test_what_is_signed_is_written_down():
    assert DOMAIN == b"vitaledge model bundle 2" + b"\0"
    assert f"`{DOMAIN[:-1].decode()}` and one zero byte" in PAGE
    assert f"within {GOLDEN_TOLERANCE_LSB} steps" in PAGE


def test_named_files_exist():
    root = Path(__file__).parents[2]
    named = set(re.findall(r"`(edge/[\w./-]+)`", PAGE))

    assert named
    assert all((root / name).exists() for name in named)
