"""The small panels below an ECG strip: two beats beside each other, the intervals of a minute, bars of reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.viewing.svg import BEAT_COLOURS, FAINT, INK, SHADE, Drawing

_TITLE = 3.4
_USUAL = "#a0a0a0"
_BAND = 0.10
"""A regular rhythm keeps within a tenth of its usual interval (own choice: the width of the drawn band)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Time from one beat to the next, at the second beat."""

    at_s: float
    rr_ms: float
    kind: str = "N"
    """Class of the second beat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """How much one question spoke for the decision."""

    words: str
    drop: float
    """Fall of the logarithm of the probability without it; negative spoke against."""
    text: str
    """Behind the bar."""


def beside(
    drawing: Drawing,
    x: float,
    y: float,
    width: float,
    lead: str,
    time_s: NDArray[np.float64],
    usual_mv: NDArray[np.float64],
    odd_mv: NDArray[np.float64],
    kind: str,
) -> float:
    """Draw the odd beat over the usual one at twice the speed of the strip; return where the panel ends."""
    drawing.text(x, y + _TITLE, f"The odd beat and the usual one ({lead}, 50 mm/s)", size=_TITLE, is_bold=True)
    top, scale = y + _TITLE + 2.5, 50.0
    both = np.concatenate([usual_mv, odd_mv])
    known = both[np.isfinite(both)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    height = 5.0 * math.ceil(min(45.0, max(20.0, (high - low) * 10.0 + 4.0)) / 5.0)
    panel = 5.0 * math.floor(min(width - 42.0, len(time_s) and (time_s[-1] - time_s[0]) * scale + 2.0) / 5.0)
    drawing.paper(x, top, panel, height, "beside")
    zero = top + height / 2 + (high + low) / 2 * 10.0
    place = x + (time_s - time_s[0]) * scale
    clip = drawing.clip(x, top, panel, height)
    colour = BEAT_COLOURS.get(kind, INK)
    drawing.curve(place, zero - usual_mv * 10.0, colour=_USUAL, width=1.1, clip=clip)
    drawing.curve(place, zero - odd_mv * 10.0, colour=colour, width=0.55, clip=clip)
    key = x + panel + 4.0
    for row, (line, words, thick) in enumerate(((_USUAL, "usual beat", 1.1), (colour, f"this beat ({kind})", 0.55))):
        at = top + 6.0 + 6.0 * row
        drawing.line([(key, at - 1.1), (key + 8.0, at - 1.1)], colour=line, width=thick)
        drawing.text(key + 10.0, at, words, size=3.2)
    return top + height


def tachogram(drawing: Drawing, x: float, y: float, width: float, intervals: Sequence[Interval]) -> float:
    """Draw the interval before each beat over time, with the band of a regular rhythm; return where the panel ends."""
    drawing.text(x, y + _TITLE, "Time between beats: each dot is one beat", size=_TITLE, is_bold=True)
    known = [each for each in intervals if math.isfinite(each.rr_ms) and math.isfinite(each.at_s)]
    legend = y + _TITLE + 5.0
    drawing.rectangle(x + 12.0, legend - 2.4, 4.0, 2.8, fill=SHADE, opacity=0.25)
    words = "a regular rhythm stays within the band"
    if any(each.kind != "N" for each in known):
        words += "; red, orange: V, S"
    drawing.text(x + 17.0, legend, words, size=2.9, colour=FAINT)
    top, left, height = legend + 3.0, x + 12.0, 38.0
    panel = width - 12.0
    if len(known) < 2:
        drawing.text(x, top + 5.0, "too few beats to draw", size=3.0, colour=FAINT)
        return top + 7.0
    usual = float(np.median([each.rr_ms for each in known]))
    low = 100.0 * math.floor(min(0.85 * usual, *(each.rr_ms for each in known)) / 100.0)
    high = 100.0 * math.ceil(max(1.15 * usual, *(each.rr_ms for each in known)) / 100.0)
    high = min(high, 100.0 * math.ceil(2.5 * usual / 100.0))
    first_s, last_s = known[0].at_s, max(known[-1].at_s, known[0].at_s + 1.0)

    def place(each: Interval) -> tuple[float, float]:
        share = min(1.0, max(0.0, (each.rr_ms - low) / (high - low)))
        return left + (each.at_s - first_s) / (last_s - first_s) * panel, top + height * (1 - share)

    drawing.rectangle(left, top, panel, height, fill="#ffffff", stroke=FAINT)
    bottom, roof = (top + height * (1 - (usual * (1 + side) - low) / (high - low)) for side in (-_BAND, _BAND))
    drawing.rectangle(left, roof, panel, bottom - roof, fill=SHADE, opacity=0.16)
    step = 100.0 if high - low <= 500 else 200.0 if high - low <= 1200 else 500.0
    for value in np.arange(math.ceil(low / step) * step, high + 1, step).tolist():
        at = top + height * (1 - (value - low) / (high - low))
        drawing.line([(left - 1.2, at), (left, at)], width=0.2)
        drawing.text(left - 2.0, at + 1.0, f"{value:.0f}", size=2.7, anchor="end", colour=FAINT)
    drawing.text(left - 2.0, top - 2.2, "ms", size=2.7, colour=FAINT, anchor="end")
    drawing.line([place(each) for each in known], colour="#9a9a9a", width=0.2)
    for each in known:
        drawing.circle(*place(each), 0.65 if each.kind == "N" else 0.9, fill=BEAT_COLOURS.get(each.kind, INK))
    for second in range(math.ceil(first_s / 10) * 10, math.floor(last_s) + 1, 10):
        at = left + (second - first_s) / (last_s - first_s) * panel
        drawing.line([(at, top + height), (at, top + height + 1.2)], width=0.2)
        words = f"{second} s".replace("-", "\N{MINUS SIGN}")
        drawing.text(at, top + height + 4.0, words, size=2.7, anchor="middle", colour=FAINT)
    return top + height + 5.0


def bars(drawing: Drawing, x: float, y: float, width: float, items: Sequence[Bar]) -> float:
    """Draw what spoke for the decision and what against it; return where the panel ends."""
    drawing.text(x, y + _TITLE, "What the decision rests on", size=_TITLE, is_bold=True)
    y += _TITLE + 2.2
    largest = max((abs(each.drop) for each in items), default=0.0) or 1.0
    room = width - 34.0
    for each in items:
        y = drawing.paragraph(x, y + 2.6, width, each.words, size=3.0)
        length = max(0.4, abs(each.drop) / largest * room)
        if each.drop >= 0:
            drawing.rectangle(x, y - 2.2, length, 2.4, fill=SHADE)
        else:
            drawing.rectangle(x, y - 2.2, length, 2.4, fill="#ffffff", stroke=INK)
        drawing.text(x + length + 1.5, y, each.text, size=2.8, colour=FAINT)
        y += 1.6
    return y
