"""A small drawing in SVG text: lengths in millimetres, colours that colour-blind eyes and a grey printer tell apart."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

INK = "#1a1a1a"
FAINT = "#6b6b6b"
PAPER_FINE = "#f7d9d4"
PAPER_COARSE = "#eab3a9"
SHADE = "#0072b2"
"""Blue of Okabe and Ito: stands out from the paper's red for every kind of colour vision."""
BEAT_COLOURS = {"N": "#4d4d4d", "S": "#c77700", "V": "#b2182b", "F": "#8e3a80", "Q": "#6b6b6b"}
"""By AAMI class; every mark also carries its letter, so no meaning hangs on colour alone."""

_FONT = "Helvetica, Arial, 'DejaVu Sans', 'Liberation Sans', sans-serif"
_CHARACTER_WIDTH = 0.56
"""Mean width of a character, in font sizes, of running text in the widest of these fonts (DejaVu Sans)."""

_UNIT = re.compile(r"(?<=\d) (?=%|ms\b|s\b|/min|mV\b)")
"""Blank between a number and its unit: no line breaks there."""


class Drawing:
    """Collect shapes and return them as one SVG document.

    Parameters
    ----------
    width_mm : float
        Of the page.
    """

    def __init__(self, width_mm: float) -> None:
        self._width_mm = width_mm
        self._parts: list[str] = []
        self._n_clips = 0

    def add(self, part: str) -> None:
        """Add a finished piece of SVG."""
        self._parts.append(part)

    def rectangle(
        self, x: float, y: float, width: float, height: float, *, fill: str, opacity: float = 1.0, stroke: str = "none"
    ) -> None:
        """Add a filled rectangle."""
        shade = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
        edge = f' stroke="{stroke}" stroke-width="0.2"' if stroke != "none" else ""
        self.add(
            f'<rect x="{x:.2f}" y="{y:.2f}" width="{max(0.0, width):.2f}" height="{max(0.0, height):.2f}" '
            f'fill="{fill}"{shade}{edge}/>'
        )

    def line(
        self, points: Sequence[tuple[float, float]], *, colour: str = INK, width: float = 0.25, dash: str = ""
    ) -> None:
        """Add straight lines through points."""
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.add(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>')

    def circle(self, x: float, y: float, radius: float, *, fill: str) -> None:
        """Add a dot."""
        self.add(f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{radius:.2f}" fill="{fill}"/>')

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 3.2,
        colour: str = INK,
        anchor: str = "start",
        is_bold: bool = False,
    ) -> None:
        """Add one line of text; `y` is its base line."""
        weight = ' font-weight="bold"' if is_bold else ""
        place = f' text-anchor="{anchor}"' if anchor != "start" else ""
        self.add(
            f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size:.2f}" fill="{colour}"{place}{weight}>{_safe(words)}</text>'
        )

    def paragraph(
        self,
        x: float,
        y: float,
        width: float,
        words: str,
        *,
        size: float = 3.2,
        colour: str = INK,
        is_bold: bool = False,
    ) -> float:
        """Add text that is broken into lines and return the base line of the next paragraph."""
        n = max(8, int(width / (size * _CHARACTER_WIDTH * (1.08 if is_bold else 1.0))))
        for line in textwrap.wrap(_UNIT.sub("\N{NO-BREAK SPACE}", words), n):
            self.text(x, y, line, size=size, colour=colour, is_bold=is_bold)
            y += size * 1.3
        return y

    def paper(self, x: float, y: float, width: float, height: float, name: str) -> None:
        """Add ECG paper: a line every millimetre, a stronger one every five; `name` is unique in the document."""
        self.add(
            f'<defs><pattern id="{name}" x="{x:.2f}" y="{y:.2f}" width="5" height="5" patternUnits="userSpaceOnUse">'
            f'<path d="M1 0V5M2 0V5M3 0V5M4 0V5M0 1H5M0 2H5M0 3H5M0 4H5" stroke="{PAPER_FINE}" stroke-width="0.12"/>'
            f'<path d="M0 0V5M0 0H5" stroke="{PAPER_COARSE}" stroke-width="0.3"/></pattern></defs>'
        )
        self.rectangle(x, y, width, height, fill=f"url(#{name})", stroke=PAPER_COARSE)

    def clip(self, x: float, y: float, width: float, height: float) -> str:
        """Return the name of a clip of that size."""
        self._n_clips += 1
        name = f"clip{self._n_clips}"
        self.add(
            f'<defs><clipPath id="{name}"><rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"/>'
            "</clipPath></defs>"
        )
        return name

    def curve(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        *,
        colour: str = INK,
        width: float = 0.3,
        clip: str | None = None,
    ) -> None:
        """Add a curve; where `y` is NaN it is interrupted.  Coordinates are kept to a hundredth of a millimetre."""
        commands = "".join(_pieces(np.round(x * 100), np.round(y * 100)))
        if not commands:
            return
        clipped = f' clip-path="url(#{clip})"' if clip else ""
        self.add(
            f'<g{clipped}><path transform="scale(.01)" d="{commands}" fill="none" stroke="{colour}" '
            f'stroke-width="{width * 100:.0f}" stroke-linejoin="round" stroke-linecap="round"/></g>'
        )

    def finish(self, height_mm: float, title: str) -> str:
        """Return the document."""
        width = self._width_mm
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height_mm:.1f}mm" '
            f'viewBox="0 0 {width:g} {height_mm:.1f}" font-family="{_FONT}">\n<title>{_safe(title)}</title>\n'
            f'<rect width="{width:g}" height="{height_mm:.1f}" fill="#ffffff"/>\n'
        )
        return head + "\n".join(self._parts) + "\n</svg>\n"


def _pieces(x: NDArray[np.float64], y: NDArray[np.float64]) -> Iterable[str]:
    """Yield path commands, one run of known points at a time."""
    is_known = np.isfinite(x) & np.isfinite(y)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_known, [False]]).astype(np.int8)))
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        dx = np.diff(x[first:end]).astype(np.int64).tolist()
        dy = np.diff(y[first:end]).astype(np.int64).tolist()
        steps = " ".join(f"{a} {b}" for a, b in zip(dx, dy, strict=True))
        yield f"M{int(x[first])} {int(y[first])}" + (f"l{steps}" if steps else "h1")


def _safe(words: str) -> str:
    """Return text that is safe in XML: markup escaped, control characters left out."""
    sound = words.encode("utf-8", "replace").decode()
    return escape("".join(each for each in sound if each >= " " and each not in "\ufffe\uffff"))
