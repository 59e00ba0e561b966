"""An ECG strip that says why: paper, leads, beats with their classes, what carried the decision, and words.  SVG text.

25 mm/s and 10 mm/mV as on paper, so that a ruler and a trained eye work as usual.  Pure: it is given what to draw.

::

    headline, when and who
    beat letters and intervals            V ▲  S ●, others small
    lead by lead, on paper                shaded where the decision came from; dashed: the moment of the alert
    usual beat beside the odd one   |  words
    or the intervals of a minute    |
    what spoke for it, as bars      |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.viewing.strip_panels import Bar, Interval, bars, beside, tachogram
from edge.viewing.svg import BEAT_COLOURS, FAINT, INK, SHADE, Drawing

MM_PER_S = 25.0
MM_PER_MV = 10.0

_WIDTH = 297.0
_MARGIN = 12.0
_SHOWN_S = 10.6
"""Seconds drawn: what fits across a page of A4 at 25 mm/s."""
_LEFT = 96.0
"""Width of the panels beside the words."""
_LANE = (22.0, 60.0)
"""Least and largest height of a lead, mm."""
_AFTER_S = 2.6
"""Shown after the last beat that was decided on, s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatMark:
    """One beat on the strip."""

    at_s: float
    kind: str
    """AAMI class; empty while it is not decided."""
    rr_ms: float | None = None
    is_decisive: bool = False
    """One of those that the alert was raised for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """A stretch that carried the decision."""

    start_s: float
    end_s: float
    weight: float
    """0 to 1."""
    is_interval: bool = False
    """The time between two beats, rather than the curve: drawn as a bracket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Samples of all leads, evenly spaced."""

    start_s: float
    rate_hz: float
    leads: tuple[str, ...]
    values_mv: NDArray[np.float64]
    """Shape (n_samples, n_leads); NaN where missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StripPicture:
    """What to draw; instants in seconds, 0 is the moment of the alert."""

    headline: str
    subtitle: str
    curve: Curve | None
    beats: tuple[BeatMark, ...] = ()
    shades: tuple[Shade, ...] = ()
    judged_lead: str | None = None
    """The lead that the model saw; only there is anything shaded.  None: all of them."""
    usual: Curve | None = None
    """This patient's usual beat, R peak at 0 s."""
    intervals: tuple[Interval, ...] = ()
    """Of the last minute or so: drawn instead of the usual beat where they are given."""
    bars: tuple[Bar, ...] = ()
    sentences: tuple[str, ...] = ()
    footer: str = ""


def draw_strip(picture: StripPicture) -> str:
    """Return the picture as an SVG document, about 100 kB for two leads."""
    drawing = Drawing(_WIDTH)
    inner = _WIDTH - 2 * _MARGIN
    y = drawing.paragraph(_MARGIN, 11.0, inner, picture.headline, size=5.6, is_bold=True)
    y = drawing.paragraph(_MARGIN, y - 1.0, inner, picture.subtitle, size=3.1, colour=FAINT)
    if picture.curve is not None and len(picture.curve.values_mv):
        y = _leads(drawing, y, picture, picture.curve)
    left = _MARGIN
    bottom_left = y + 4.0
    if picture.intervals:
        bottom_left = tachogram(drawing, left, bottom_left, _LEFT, picture.intervals)
    elif picture.usual is not None and picture.curve is not None:
        odd = [mark for mark in picture.beats if mark.is_decisive]
        bottom_left = beside(drawing, left, bottom_left, _LEFT, *_beats_beside(picture, odd)) if odd else bottom_left
    if picture.bars:
        bottom_left = bars(drawing, left, bottom_left + 3.0, _LEFT, picture.bars)
    x = left + _LEFT + 8.0 if bottom_left > y + 5.0 else left
    bottom_right = y + 7.5
    for number, sentence in enumerate(picture.sentences):
        bottom_right = drawing.paragraph(x, bottom_right, _WIDTH - _MARGIN - x, sentence, size=3.5, is_bold=number == 0)
        bottom_right += 1.3
    height = max(bottom_left, bottom_right) + 4.0
    if picture.footer:
        drawing.text(_MARGIN, height, picture.footer, size=2.8, colour=FAINT)
        height += 2.0
    return drawing.finish(height + 3.0, picture.headline)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the leads are drawn, and which time that is."""

    start_s: float
    end_s: float
    left: float
    top: float
    height: float

    @property
    def width(self) -> float:
        """On paper, mm."""
        return (self.end_s - self.start_s) * MM_PER_S

    def x(self, at_s: float) -> float:
        """Return where an instant lies."""
        return self.left + (at_s - self.start_s) * MM_PER_S


def _leads(drawing: Drawing, y: float, picture: StripPicture, curve: Curve) -> float:
    """Draw the leads and what belongs to them; return where they end."""
    start_s, end_s = _shown(picture, curve)
    first = max(0, round((start_s - curve.start_s) * curve.rate_hz))
    last = max(first, round((end_s - curve.start_s) * curve.rate_hz))
    values = curve.values_mv[first:last]
    lanes = [_lane(values[:, k]) for k in range(len(curve.leads))]
    frame = _Frame(start_s, end_s, _MARGIN + 8.0, y + 8.0, sum(lane.height for lane in lanes))
    x = frame.left + (curve.start_s + np.arange(first, first + len(values)) / curve.rate_hz - start_s) * MM_PER_S

    drawing.paper(frame.left, frame.top, frame.width, frame.height, "paper")
    lane_top = frame.top
    for k, (name, lane) in enumerate(zip(curve.leads, lanes, strict=True)):
        is_judged = picture.judged_lead in {None, name} or picture.judged_lead not in curve.leads
        if is_judged:
            _shade(drawing, picture.shades, replace(frame, top=lane_top, height=lane.height))
        zero = lane_top + lane.zero
        clip = drawing.clip(frame.left, lane_top, frame.width, lane.height)
        drawing.curve(x, zero - values[:, k] * MM_PER_MV, width=0.32, clip=clip)
        _calibration(drawing, frame.left - 7.0, lane_top + lane.height / 2)
        drawing.text(frame.left + 1.2, lane_top + 4.4, name, size=3.6, is_bold=True)
        if picture.judged_lead == name and len(curve.leads) > 1:
            at = frame.left + 3.0 + 3.6 * 0.7 * len(name)
            drawing.text(at, lane_top + 4.4, "the lead that the model saw", size=2.8, colour=FAINT)
        lane_top += lane.height
    _marks(drawing, picture.beats, frame, y + 3.0)
    if start_s <= 0 <= end_s:
        edges = [(frame.x(0), frame.top - 1.0), (frame.x(0), frame.top + frame.height + 1.0)]
        drawing.line(edges, colour=INK, width=0.3, dash="1.6 1.2")
    is_shaded = any(shade.start_s < end_s and shade.end_s > start_s for shade in picture.shades)
    return _time_axis(drawing, frame, is_shaded=is_shaded)


def _shown(picture: StripPicture, curve: Curve) -> tuple[float, float]:
    """Return the stretch to draw: the last beats that were decided on in it, else the end of what is there."""
    begins = curve.start_s
    ends = curve.start_s + len(curve.values_mv) / curve.rate_hz
    decisive = [mark.at_s for mark in picture.beats if mark.is_decisive and begins <= mark.at_s <= ends]
    wanted = max(decisive) + _AFTER_S if decisive else ends
    # A whole number of big squares, so that the grid begins and ends with a strong line.
    span = min(_SHOWN_S, math.floor((ends - begins) * 5) / 5) or ends - begins
    end = min(ends, max(wanted, begins + span))
    if decisive and min(decisive) < end - span + 0.3:
        end = max(min(decisive) - 0.8 + span, begins + span)
    end = min(end, ends)
    return end - span, end


@dataclass(frozen=True, slots=True)
class _Lane:
    height: float
    zero: float
    """Where 0 mV lies below the top of the lane, mm."""


def _lane(values: NDArray[np.float64]) -> _Lane:
    """Return a lane as high as the lead needs, in whole big squares."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return _Lane(_LANE[0], _LANE[0] / 2)
    low, high = (float(edge) for edge in np.percentile(known, [0.1, 99.9]))
    needed = (high - low) * MM_PER_MV + 8.0
    height = 5.0 * math.ceil(min(_LANE[1], max(_LANE[0], needed)) / 5.0)
    return _Lane(height, height / 2 + (high + low) / 2 * MM_PER_MV)


def _shade(drawing: Drawing, shades: Sequence[Shade], frame: _Frame) -> None:
    for shade in shades:
        first, last = max(frame.start_s, shade.start_s), min(frame.end_s, shade.end_s)
        if last <= first:
            continue
        x, width = frame.x(first), (last - first) * MM_PER_S
        if shade.is_interval:
            y = frame.top + 1.6
            drawing.line([(x, y), (x + width, y)], colour=SHADE, width=round(0.3 + 0.9 * shade.weight, 2))
            for end in (x, x + width):
                drawing.line([(end, y - 1.2), (end, y + 1.2)], colour=SHADE, width=0.4)
            continue
        drawing.rectangle(x, frame.top, width, frame.height, fill=SHADE, opacity=0.04 + 0.18 * shade.weight)
        # The same once more as a bar below, whose height a grey printer keeps.
        bar = 0.6 + 1.8 * shade.weight
        drawing.rectangle(x, frame.top + frame.height - bar, width, bar, fill=SHADE)


def _calibration(drawing: Drawing, x: float, middle: float) -> None:
    """Draw the mark that every ECG begins with: 1 mV high, 0.2 s long."""
    low, high = middle + MM_PER_MV / 2, middle - MM_PER_MV / 2
    drawing.line(
        [(x, low), (x + 0.8, low), (x + 0.8, high), (x + 5.2, high), (x + 5.2, low), (x + 6.0, low)], width=0.3
    )


def _marks(drawing: Drawing, beats: Sequence[BeatMark], frame: _Frame, y: float) -> None:
    """Write the class of each beat above it, and between two beats the interval in milliseconds."""
    drawing.text(_MARGIN - 2.0, y + 1.0, "beat", size=2.6, colour=FAINT)
    drawing.text(_MARGIN - 2.0, y + 4.4, "ms", size=2.6, colour=FAINT)
    before: float | None = None
    for mark in beats:
        if not frame.start_s <= mark.at_s <= frame.end_s:
            continue
        x = frame.x(mark.at_s)
        colour = BEAT_COLOURS.get(mark.kind, INK)
        is_odd = mark.kind not in {"N", ""}
        if is_odd:
            drawing.rectangle(x - 2.2, y - 2.8, 4.4, 4.4, fill=colour)
            drawing.text(x, y + 0.75, mark.kind, size=3.7, colour="#ffffff", anchor="middle", is_bold=True)
            drawing.line([(x, y + 1.6), (x, frame.top)], colour=colour, width=0.35)
        else:
            drawing.text(x, y + 0.6, mark.kind, size=3.0, colour=colour, anchor="middle")
            drawing.line([(x, frame.top - 1.2), (x, frame.top)], colour=colour, width=0.25)
        if before is not None and mark.rr_ms is not None and x - before > 6.5:
            drawing.text((x + before) / 2, y + 4.4, f"{mark.rr_ms:.0f}", size=2.6, colour=FAINT, anchor="middle")
        before = x


def _time_axis(drawing: Drawing, frame: _Frame, *, is_shaded: bool) -> float:
    y = frame.top + frame.height
    for second in range(math.ceil(frame.start_s), math.floor(frame.end_s) + 1):
        x = frame.x(second)
        drawing.line([(x, y), (x, y + 1.5)], width=0.3)
        words = "alert" if second == 0 else f"{second:+d} s".replace("-", "\N{MINUS SIGN}")
        drawing.text(x, y + 4.6, words, size=2.9, colour=INK if second == 0 else FAINT, anchor="middle")
    if is_shaded:
        drawing.rectangle(frame.left, y + 5.9, 3.0, 3.0, fill=SHADE, opacity=0.4)
        drawing.text(
            frame.left + 4.2, y + 8.4, "shaded: what the decision rests on, the darker the more", size=2.8, colour=FAINT
        )
    words = "25 mm/s, 10 mm/mV; the mark at the left is 1 mV"
    drawing.text(frame.left + frame.width, y + 8.4, words, size=2.6, colour=FAINT, anchor="end")
    return y + 8.5


def _beats_beside(
    picture: StripPicture, odd: Sequence[BeatMark]
) -> tuple[str, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], str]:
    """Return lead, time, the usual beat and the odd one, both against their own level, and the class of the odd one."""
    curve, usual = picture.curve, picture.usual
    assert curve is not None
    assert usual is not None
    judged = [k for k, name in enumerate(curve.leads) if name == picture.judged_lead]
    n, k = len(usual.values_mv), judged[0] if judged else _largest(usual.values_mv)
    time_s = usual.start_s + np.arange(n) / usual.rate_hz
    own = _level(usual.values_mv[:, k])
    pieces = [(_level(_cut(curve, k, mark.at_s + usual.start_s, n)), mark.kind) for mark in odd]
    # The one that is most unlike the usual beat shows best what is meant.
    piece, kind = max(pieces, key=lambda item: float(np.nan_to_num((item[0] - own) ** 2).sum()))
    return curve.leads[k], time_s, own, piece, kind


def _cut(curve: Curve, lead: int, start_s: float, n: int) -> NDArray[np.float64]:
    """Return `n` samples of a lead from an instant on; NaN where there are none."""
    piece = np.full(n, np.nan)
    first = round((start_s - curve.start_s) * curve.rate_hz)
    shown = curve.values_mv[max(0, first) : max(0, first + n), lead]
    at = max(0, -first)
    piece[at : at + len(shown)] = shown
    return piece


def _level(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values against their own median."""
    return values - (float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0)


def _largest(values: NDArray[np.float64]) -> int:
    """Return the lead with the largest usual beat."""
    swings = np.ptp(np.nan_to_num(values), axis=0)
    return int(np.argmax(swings)) if len(swings) else 0
