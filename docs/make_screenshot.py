"""Draw ``docs/demo.svg``, the picture in the README, from a real run of the demo.

Run it from anywhere in the project, with the extra ``terminal`` installed::

    .venv/bin/python docs/make_screenshot.py            # the first alert in step "Ventricular tachycardia"
    .venv/bin/python docs/make_screenshot.py "Atrial fibrillation"

Everything is what ``vitaledge demo`` does; only the screen is kept instead of shown.  The demo is stopped when the
picture is taken.
"""

# ruff: noqa: INP001 - a script, not a package

from __future__ import annotations

import asyncio
import io
import logging
import re
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType

from edge.demo import Demo
from edge.messages import Alert, AlertState
from edge.pipeline import Finding
from edge.viewing.bed import BedState
from edge.viewing.gateway import GatewayView
from edge.viewing.terminal import render
from firmware_bridge.virtual.scenario_file import load_scenario

WIDTH, HEIGHT = 118, 34
_FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_AFTER_ALERT_FRAMES = 6  # the alert has reached the broker and the subscriber by then


class Camera:
    """Keeps one frame: a few frames after an alert was raised in the wanted step of the story."""

    def __init__(self, phase: str, taken: asyncio.Event) -> None:
        self.frame: RenderableType | None = None
        self._phase = phase
        self._taken = taken
        self._is_phase = False
        self._n_left: int | None = None

    def show(self, bed: BedState, gateway: GatewayView) -> None:
        """Look at one frame of the demo."""
        self._is_phase = gateway.phase == self._phase
        if self._n_left is None or self.frame is not None:
            return
        self._n_left -= 1
        if self._n_left <= 0:
            self.frame = render(bed, gateway, WIDTH)
            self._taken.set()

    def tell(self, finding: Finding) -> None:
        """Begin to count when the first alert of the step is raised."""
        is_raised = isinstance(finding, Alert) and finding.state is AlertState.RAISED
        if is_raised and self._is_phase and self._n_left is None:
            self._n_left = _AFTER_ALERT_FRAMES


async def photograph(phase: str, folder: Path) -> RenderableType | None:
    """Return the screen in step `phase` of the demo; None if no alert was raised in it."""
    taken = asyncio.Event()
    camera = Camera(phase, taken)
    await Demo(load_scenario("demo"), folder).play(camera.show, taken, camera.tell)
    return camera.frame


def self_contained(template: str) -> str:
    """Return rich's SVG template without its fonts from the web: a picture in a README may load nothing."""
    without_faces = re.sub(r"@font-face \{\{.*?\}\}\s*", "", template, flags=re.DOTALL)
    return re.sub(r"font-family: (Fira Code|arial)[^;]*;", f"font-family: {_FONTS};", without_faces)


def main() -> int:
    """Take the picture and write it beside this file."""
    phase = sys.argv[1] if len(sys.argv) > 1 else "Ventricular tachycardia"
    logging.getLogger("edge").addHandler(logging.NullHandler())
    logging.getLogger("firmware_bridge").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory(prefix="vitaledge-demo-") as folder:
        frame = asyncio.run(photograph(phase, Path(folder)))
    if frame is None:
        sys.stderr.write(f"no alert was raised in a step called {phase!r}\n")
        return 1
    console = Console(
        record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(frame)
    out = Path(__file__).with_name("demo.svg")
    out.write_text(
        console.export_svg(title="vitaledge demo", code_format=self_contained(CONSOLE_SVG_FORMAT)), encoding="utf-8"
    )
    sys.stdout.write(f"wrote {out.name}, {out.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
