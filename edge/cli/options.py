"""Options that several verbs share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from edge.config import LoadedConfig, config_paths, load_config


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--config`` and ``--set``."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="F",
        help="TOML file, or a directory with config.toml and conf.d/ (default: /etc/vitaledge where it exists)",
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one key, such as mqtt.host=broker.example; may be repeated",
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def loaded_config(args: argparse.Namespace) -> LoadedConfig:
    """Return the configuration that `args` and the environment ask for.

    Raises
    ------
    ConfigError
        With every problem found.
    """
    return load_config(config_paths(args.config), os.environ, args.overrides)
