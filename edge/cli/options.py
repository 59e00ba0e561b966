"""Options that several verbs share."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from edge.config import LoadedConfig, config_paths, load_config
from edge.errors import ConfigError, ConfigProblem

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3


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


def positive(number: float, option: str) -> float:
    """Return `number` if it is above zero and finite.

    Raises
    ------
    ConfigError
        Otherwise.
    """
    if not 0 < number < math.inf:
        raise option_error(option, f"expected a number above 0, got {number:g}")
    return number


def option_error(option: str, message: str, *, hint: str = "") -> ConfigError:
    """Return the error for a wrong option."""
    return ConfigError([ConfigProblem(source="command line", line=None, key=option, message=message)], hint=hint)
