"""One configuration from all layers: built-in, files, environment, command line; later ones win.

Nothing here looks at the process: the entry point passes the environment in.  `load_config` reports every
problem at once.  The parts: `config_sections` what can be set, `config_layers` how layers are laid over one another,
`config_lines` on which line a key stands, `config_checks` what is wrong, `config_text` the configuration as text,
`config_secrets` how a secret is read.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge.config_checks import validated, warnings_of
from edge.config_layers import VERSION, Origin, Tree, lay_environment, lay_file, lay_overrides
from edge.config_lines import KeyPath
from edge.config_secrets import Secret, read_secret, secret_path
from edge.config_sections import Config, SecretReference, duration_s
from edge.config_text import as_values, effective_toml, init_template, json_schema
from edge.errors import ConfigError, ConfigProblem

DEFAULT_DIRECTORY = Path("/etc/vitaledge")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """A configuration that can be used, and how it came about."""

    config: Config
    warnings: tuple[ConfigProblem, ...] = ()
    """What works but is probably not meant."""
    origins: Mapping[KeyPath, Origin] = field(default_factory=dict)
    """Where each key that is not built-in came from."""


def config_paths(given: Path | None = None, *, default: Path = DEFAULT_DIRECTORY) -> tuple[Path, ...]:
    """Return the files to read, in order.

    Parameters
    ----------
    given : Path, optional
        What the person named: a file is read alone; of a directory, ``config.toml`` and then ``conf.d/*.toml`` by
        name.
    default : Path
        The directory to read without it; nothing in that one needs to exist.

    Raises
    ------
    ConfigError
        If ``conf.d`` is there but cannot be listed: leaving out a layer in silence could drop an alarm limit.
    """
    if given is not None and not given.is_dir():
        return (given,)
    directory = given or default
    main = directory / "config.toml"
    return ((main,) if given is not None or _may_exist(main) else ()) + _toml_files(directory / "conf.d")


def _may_exist(path: Path) -> bool:
    """Return whether something may be there; where that cannot be known, opening it will tell why."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _toml_files(directory: Path) -> tuple[Path, ...]:
    try:
        return tuple(sorted(path for path in directory.iterdir() if path.suffix == ".toml"))
    except FileNotFoundError:
        return ()
    except OSError as error:
        message = f"cannot be listed: {error.strerror}"
        problem = ConfigProblem(source=str(directory), line=None, key="file", message=message)
        raise ConfigError([problem]) from error


def load_config(
    paths: Sequence[Path] = (), environ: Mapping[str, str] | None = None, overrides: Sequence[str] = ()
) -> LoadedConfig:
    """Return the configuration that holds, from all layers.

    Parameters
    ----------
    paths : sequence of Path
        TOML files, later ones over earlier ones; see `config_paths`.
    environ : mapping of str to str, optional
        The environment; ``VITALEDGE__MQTT__HOST`` sets ``mqtt.host``.
    overrides : sequence of str
        ``mqtt.host=broker.example``; an item of a list is addressed by its name, ``sensor.bed.port=/dev/ttyACM0``.

    Raises
    ------
    ConfigError
        With every problem found, each with file, line and key.
    """
    tree = Tree()
    for path in paths:
        lay_file(tree, path)
    lay_environment(tree, environ or {})
    lay_overrides(tree, overrides)
    config = validated(tree)
    if config is None:
        raise ConfigError(tree.problems, hint="vitaledge config schema lists every key")
    return LoadedConfig(config=config, warnings=warnings_of(config, tree), origins=tree.origins)


def config_sha256(config: Config) -> str:
    """Return the hash of what holds, in hexadecimal; equal settings give equal hashes, however they were written."""
    canonical = json.dumps(as_values(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def migrate(text: str) -> str:
    """Return a configuration text rewritten for this version of the software.

    Version 1 is the only one so far, so its text comes back as it is; later versions add their steps here.

    Raises
    ------
    ConfigError
        If it is no TOML, or of a version that this software does not know.
    """
    try:
        version = tomllib.loads(text).get("config_version", VERSION)
    except tomllib.TOMLDecodeError as error:
        raise _migration_error("file", f"no valid TOML: {error}") from error
    if version is True or version != VERSION:
        raise _migration_error("config_version", f"expected {VERSION}, got {version!r}")
    return text


def _migration_error(key: str, message: str) -> ConfigError:
    return ConfigError([ConfigProblem(source="migrate", line=None, key=key, message=message)])


__all__ = [
    "DEFAULT_DIRECTORY",
    "Config",
    "LoadedConfig",
    "Secret",
    "SecretReference",
    "config_paths",
    "config_sha256",
    "duration_s",
    "effective_toml",
    "init_template",
    "json_schema",
    "load_config",
    "migrate",
    "read_secret",
    "secret_path",
]
