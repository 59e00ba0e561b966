"""The pictures of ``vitaledge alerts``: SVG, and PNG where a converter is installed."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

from edge.alert_archive import ArchivedAlert
from edge.alert_picture import picture_of
from edge.cli.options import option_error
from edge.errors import EdgeError
from edge.inference.explain import Explanation
from edge.viewing.strip import draw_strip

NOT_A_DEVICE = "Research and engineering software. Not a medical device."

_PNG_DPI = "150"
_CONVERT_S = 60.0


def draw(
    args: argparse.Namespace, archived: ArchivedAlert, explanation: Explanation | None, sentences: tuple[str, ...]
) -> list[str]:
    """Write the pictures that were asked for and return their names."""
    if args.svg is None and args.png is None:
        return []
    footer = f"{NOT_A_DEVICE}  Alert {archived.record.alert.id}."
    svg = draw_strip(picture_of(archived.record, explanation, sentences, footer))
    files = []
    if args.svg is not None:
        _write(args.svg, svg)
        files.append(str(args.svg))
    if args.png is not None:
        _write_png(args.png, svg)
        files.append(str(args.png))
    return files


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise option_error("--svg", f"{path}: {error.strerror or error}") from error


def _write_png(path: Path, svg: str) -> None:
    converter = shutil.which("rsvg-convert")
    if converter is None:
        raise EdgeError(
            "cannot make a PNG: rsvg-convert is not installed",
            hint="install librsvg2-bin, or take --svg: every browser shows it and prints it",
        )
    command = [converter, "--dpi-x", _PNG_DPI, "--dpi-y", _PNG_DPI, "--format", "png", "--output", str(path)]
    try:
        done = subprocess.run(command, input=svg.encode(), capture_output=True, check=False, timeout=_CONVERT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgeError(f"cannot make a PNG: {error}", hint="take --svg instead") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[:200]
        raise option_error("--png", f"{path}: {said or 'rsvg-convert failed'}")
