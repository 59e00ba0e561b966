"""On what a figure was measured: the lines that stand above every table."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path


def installed_version(package: str) -> str | None:
    """Return the version of an installed package; None where it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def machine() -> str:
    """Return processor, cores and memory in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields = [line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line]
        names = [value.strip() for key, value in fields if key.strip() in {"model name", "Model"}]
        model = names[-1] if names else model
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model} ({platform.machine()}), {os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()}"


def versions(packages: Sequence[str] = ("numpy", "scipy")) -> str:
    """Return Python's version and those of the installed ones of `packages`."""
    found = [(name, installed_version(name)) for name in packages]
    return ", ".join(
        [f"Python {platform.python_version()}", *(f"{name} {version}" for name, version in found if version)]
    )


def commit() -> str:
    """Return the commit that is checked out, marked where the tree has changes; empty outside a repository."""
    root = Path(__file__).resolve().parent.parent
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=8"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def heading(packages: Sequence[str] = ("numpy", "scipy")) -> str:
    """Return the lines above a table: when, where, with what, by which command; no path of this machine."""
    arguments = [_shown(word) for word in sys.argv[1:]]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *arguments])
    return f"`{command}` at commit {commit() or 'unknown'} on {datetime.now(UTC):%Y-%m-%d}: {machine()}; {versions(packages)}.\n"


def _shown(word: str) -> str:
    """Return a word of the command line without the folders of this machine."""
    name, equals, path = word.rpartition("=")
    if equals and Path(path).is_absolute():
        return f"{name}={_shown(path)}"
    if not Path(word).is_absolute():
        return word
    return "RECORDINGS" if Path(word).is_dir() else Path(word).name
