"""The picture of an alert: right to scale, complete, safe as XML, and small."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from edge.viewing.strip import BeatMark, Curve, Shade, StripPicture, draw_strip
from edge.viewing.strip_panels import Bar, Interval

RATE_HZ = 250.0
SVG = "{http://www.w3.org/2000/svg}"


def curve(values=None, *, leads=("II",), start_s=-12.0):
    """Return 15 s of a spike of 1 mV every second."""
    if values is None:
        values = np.zeros((round(15 * RATE_HZ), len(leads)))
        values[:: round(RATE_HZ)] = 1.0
    return Curve(start_s=start_s, rate_hz=RATE_HZ, leads=leads, values_mv=values)


def picture(**changes):
    given = {
        "headline": "Run of 3 ventricular beats at 150/min.",
        "subtitle": "2026-11-22 19:02:55 UTC",
        "curve": curve(),
        "beats": tuple(
            BeatMark(at_s=float(k), kind="V" if k in {-2, -1, 0} else "N", rr_ms=1000.0, is_decisive=k in {-2, -1, 0})
            for k in range(-12, 3)
        ),
    }
    return StripPicture(**given | changes)


def root(text):
    return ET.fromstring(text)


def texts(text) -> list[str]:
    return ["".join(node.itertext()) for node in root(text).iter(f"{SVG}text")]


def points(path) -> np.ndarray:
    """Return the corners of a path of `Drawing.curve`, mm."""
    start, steps = re.fullmatch(r"M(-?\d+ -?\d+)l([-\d ]+)", path.get("d")).groups()
    moves = np.array([*start.split(), *steps.split()], dtype=float).reshape(-1, 2)
    return np.cumsum(moves, axis=0) / 100


def lead_paths(text) -> list:
    return [node for node in root(text).iter(f"{SVG}path") if node.get("transform") == "scale(.01)"]


def test_the_paper_is_to_scale():
    """25 mm a second and 10 mm a millivolt, in a drawing whose unit is the millimetre."""
    text = draw_strip(picture())

    (path,) = lead_paths(text)
    corners = points(path)
    tops = corners[corners[:, 1] < corners[:, 1].max() - 5]
    assert np.ptp(corners[:, 1]) == pytest.approx(10.0, abs=0.02)
    assert np.diff(tops[:, 0]) == pytest.approx(25.0, abs=0.02)
    page = root(text)
    assert page.get("width") == "297mm"
    assert page.get("viewBox").split()[2] == "297"


def test_every_lead_is_drawn_and_named():
    """Three of them, below each other."""
    text = draw_strip(picture(curve=curve(leads=("I", "II", "V1"))))

    assert len(lead_paths(text)) == 3
    assert [each for each in texts(text) if each in {"I", "II", "V1"}] == ["I", "II", "V1"]


def test_the_beats_that_were_decided_on_are_shown():
    """Even where they lie at the beginning of what was kept."""
    beats = tuple(BeatMark(at_s=-11.0 + 0.5 * k, kind="V", is_decisive=True) for k in range(3))

    assert texts(draw_strip(picture(beats=beats))).count("V") == 3


def test_the_alert_and_the_seconds_around_it_are_marked():
    """With a real minus sign."""
    said = texts(draw_strip(picture()))

    assert "alert" in said
    assert {"\N{MINUS SIGN}5 s", "+2 s"} <= set(said)


def test_the_class_of_a_beat_is_a_letter_and_not_colour_alone():
    """Whoever sees no red, or a grey print, still reads it."""
    said = texts(draw_strip(picture()))

    assert said.count("V") == 3
    assert said.count("N") >= 7
    assert "1000" in said


def test_stretches_are_shaded_by_weight():
    """The stronger one darker and with a higher bar."""
    shades = (Shade(start_s=-2.2, end_s=-2.1, weight=1.0), Shade(start_s=-1.2, end_s=-1.1, weight=0.2))

    text = draw_strip(picture(shades=shades))

    found = [node for node in root(text).iter(f"{SVG}rect") if node.get("fill") == "#0072b2"]
    opacity = [float(node.get("fill-opacity")) for node in found if node.get("fill-opacity")]
    bars = [float(node.get("height")) for node in found if not node.get("fill-opacity")]
    assert opacity[0] > 2 * opacity[1]
    assert bars[0] > 2 * bars[1]


def test_only_the_lead_that_the_model_saw_is_shaded():
    """And it is named; nothing of the other was looked at."""
    shades = (Shade(start_s=-2.2, end_s=-2.1, weight=1.0),)

    given = picture(shades=shades, curve=curve(leads=("I", "II")))
    all_leads, one = draw_strip(given), draw_strip(replace(given, judged_lead="II"))

    def n_shaded(text):
        return sum(node.get("fill-opacity") == "0.22" for node in root(text).iter(f"{SVG}rect"))

    assert (n_shaded(all_leads), n_shaded(one)) == (2, 1)
    assert "the lead that the model saw" in texts(one)


def test_an_interval_is_a_bracket():
    """When a beat came is no part of the curve."""
    text = draw_strip(picture(shades=(Shade(start_s=-2.0, end_s=-1.0, weight=1.0, is_interval=True),)))

    lines = [node for node in root(text).iter(f"{SVG}polyline") if node.get("stroke") == "#0072b2"]
    (first, second) = (tuple(map(float, each.split(","))) for each in lines[0].get("points").split())
    assert second[0] - first[0] == pytest.approx(25.0, abs=0.02)


def test_the_odd_beat_is_laid_over_the_usual_one():
    """Two more curves, and what they are."""
    usual = Curve(start_s=-0.3, rate_hz=RATE_HZ, leads=("II",), values_mv=np.zeros((200, 1)))

    text = draw_strip(picture(usual=usual))

    assert len(lead_paths(text)) == 3
    assert {"usual beat", "this beat (V)"} <= set(texts(text))


def test_intervals_are_drawn_with_the_band_of_a_regular_rhythm():
    """One dot a beat."""
    intervals = tuple(Interval(at_s=-60 + k, rr_ms=800 + 200 * math.sin(k)) for k in range(60))

    text = draw_strip(picture(intervals=intervals))

    assert len(list(root(text).iter(f"{SVG}circle"))) == 60
    assert any("regular rhythm" in each for each in texts(text))


def test_reasons_are_bars_with_their_figures():
    """What speaks against is hollow."""
    given = (
        Bar(words="when the beat came", drop=1.5, text="93 % \u2192 21 %"),
        Bar(words="quality", drop=-0.3, text="x"),
    )

    text = draw_strip(picture(bars=given))

    assert {"when the beat came", "93 % \u2192 21 %"} <= set(texts(text))
    assert [node for node in root(text).iter(f"{SVG}rect") if node.get("stroke") == "#1a1a1a"]


def test_words_stay_on_the_page():
    """Broken into lines that fit the widest font that is asked for."""
    sentence = "wide words " * 60

    text = draw_strip(picture(sentences=(sentence, sentence)))

    for node in root(text).iter(f"{SVG}text"):
        if "wide" in "".join(node.itertext()):
            width = len("".join(node.itertext())) * float(node.get("font-size")) * 0.56
            assert float(node.get("x")) + width <= 297 - 10


def test_missing_samples_leave_a_hole():
    """A straight line over it would be an invention."""
    values = np.sin(np.arange(3750.0) / 20)[:, np.newaxis]
    values[2000:2250] = math.nan

    (path,) = lead_paths(draw_strip(picture(curve=curve(values))))

    assert path.get("d").count("M") == 2


@pytest.mark.parametrize(
    "nasty", ["<script>alert(1)</script>", "a & b", "\"'", "\x00\x1b[31m", "\ud800", "\uffff", "ä → ♥"]
)
def test_words_cannot_break_the_drawing(nasty):
    """Names come from sensors and recordings."""
    text = draw_strip(picture(headline=nasty, sentences=(nasty,), curve=curve(leads=(nasty,)), footer=nasty))

    assert not list(root(text).iter(f"{SVG}script"))
    text.encode("utf-8")


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((0, 1)),
        np.zeros((1, 1)),
        np.full((3750, 1), math.nan),
        np.full((3750, 1), 1e9),
        np.zeros((10, 0)),
        np.where(np.arange(3750) % 7 == 0, math.inf, 0.0)[:, np.newaxis],
    ],
)
def test_any_signal_can_be_drawn(values):
    """Nothing, one sample, none known, far too large, no lead, infinities."""
    leads = ("II",) * values.shape[1]

    root(draw_strip(picture(curve=curve(values, leads=leads))))


def test_a_picture_without_anything_can_be_drawn():
    """An alert without a signal still has words."""
    empty = StripPicture(headline="", subtitle="", curve=None)

    root(draw_strip(empty))
    root(
        draw_strip(
            replace(
                empty,
                sentences=("x",),
                bars=(Bar(words="x", drop=0.0, text=""),),
                intervals=(Interval(at_s=0, rr_ms=1),),
            )
        )
    )


def test_fifteen_seconds_of_two_leads_are_small():
    """It goes into mails and README files."""
    random = np.random.default_rng(3)
    values = np.cumsum(random.normal(0, 0.01, (5400, 2)), axis=0)
    given = Curve(start_s=-12.0, rate_hz=360.0, leads=("MLII", "V1"), values_mv=values)

    assert len(draw_strip(picture(curve=given))) < 150_000


def test_the_drawing_loads_nothing_from_elsewhere():
    """No font, picture or script from the web."""
    text = draw_strip(picture())

    assert text.count("http") == text.count("http://www.w3.org/2000/svg")
