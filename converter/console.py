"""What all commands of ``vitaledge-convert`` share: exit codes, and the one place that prints."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping

EXIT_DONE = 0
EXIT_FAILED = 1
"""It ran, and the answer is no: a model got worse, a bundle is not what it says."""
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
"""A package or a file system is missing what is needed."""


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def say(text: str, facts: Mapping[str, object], *, as_json: bool) -> None:
    """Print what was found: words for people, or one JSON object."""
    sys.stdout.write((json.dumps(facts, default=str) if as_json else text) + "\n")


def note(line: str) -> None:
    """Print a line of progress to stderr, where it is in nobody's way."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
