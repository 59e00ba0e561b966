"""``vitaledge config init|show|schema|migrate``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edge.cli.options import add_config_options, add_json_option, loaded_config
from edge.config import config_sha256, effective_toml, init_template, json_schema, migrate
from edge.config_text import as_values
from edge.errors import ConfigError, ConfigProblem


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("config", help="write, show and check the configuration")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = actions.add_parser("init", help="print a commented configuration to start from")
    init.add_argument("file", nargs="?", type=Path, help="write it there instead; an existing file is left alone")
    add_json_option(init)
    init.set_defaults(run=run_init)
    show = actions.add_parser("show", help="print what holds, from all layers, and its hash")
    add_config_options(show)
    add_json_option(show)
    show.set_defaults(run=run_show)
    schema = actions.add_parser("schema", help="print the JSON Schema of the configuration")
    add_json_option(schema)  # it is JSON anyway
    schema.set_defaults(run=run_schema)
    migration = actions.add_parser("migrate", help="print a configuration file rewritten for this version")
    migration.add_argument("file", type=Path)
    add_json_option(migration)
    migration.set_defaults(run=run_migrate)


def run_init(args: argparse.Namespace) -> int:
    """Print the template, or write it to a file that does not exist yet."""
    if args.file is None:
        print(json.dumps({"toml": init_template()}) if args.json else init_template().rstrip("\n"))
        return 0
    try:
        with args.file.open("x", encoding="utf-8") as file:
            file.write(init_template())
    except OSError as error:
        raise _file_error(args.file, error) from error
    check = f"vitaledge run --config {args.file} --check"
    print(json.dumps({"file": str(args.file)}) if args.json else f"wrote {args.file}; check it with: {check}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print the effective configuration, its hash and its warnings."""
    loaded = loaded_config(args)
    sha256 = config_sha256(loaded.config)
    if args.json:
        warnings = [str(problem) for problem in loaded.warnings]
        print(json.dumps({"config": as_values(loaded.config), "sha256": sha256, "warnings": warnings}, indent=2))
        return 0
    print(effective_toml(loaded.config, loaded.origins), end="")
    print(f"# sha256 {sha256}")
    for problem in loaded.warnings:
        print(f"warning: {problem}", file=sys.stderr)
    return 0


def run_schema(args: argparse.Namespace) -> int:  # noqa: ARG001 - the shape that every verb has
    """Print the JSON Schema of the configuration."""
    print(json.dumps(json_schema(), indent=2))
    return 0


def run_migrate(args: argparse.Namespace) -> int:
    """Print the file's text for this version."""
    try:
        text = args.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _file_error(args.file, error) from error
    print(json.dumps({"toml": migrate(text)}) if args.json else migrate(text).rstrip("\n"))
    return 0


def _file_error(path: Path, error: Exception) -> ConfigError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ConfigError([ConfigProblem(source=str(path), line=None, key="file", message=reason)])
