"""Windows: on a fixed grid, inside whole signal, with their beats."""

from __future__ import annotations

import numpy as np
import pytest

from edge.features.windows import Windows, WindowSettings
from edge.messages import Beat, Quality
from tests.conformance.case import block

S = 10**9


def beat(at_s):
    return Beat(sensor="s", stream="ecg", at_ns=round(at_s * S), sequence=round(at_s * 250), rr_ms=None, quality=1.0)


def feed(stage, first, end, values=None):
    out = []
    for at in range(first, end, 50):
        part = np.arange(at, min(at + 50, end), dtype=float)[:, None] if values is None else values[at : at + 50]
        out += stage.push(block(part.copy(), sequence=at, start_ns=at * 4_000_000))
    return out


def test_windows_end_on_multiples_of_the_hop():
    """Ten seconds each, two seconds apart, with the samples of their time."""
    out = feed(Windows(), 0, 250 * 20)

    assert [w.sequence / 250 for w in out] == [0, 2, 4, 6, 8]
    assert [w.start_ns for w in out] == [k * S for k in (0, 2, 4, 6, 8)]
    assert all(np.array_equal(w.values[:, 0], np.arange(w.sequence, w.sequence + 2500)) for w in out)


def test_a_window_waits_for_its_last_beats():
    """It comes a second after its end, with exactly the beats of its time."""
    stage = Windows()
    feed(stage, 0, 2500)
    for at_s in (0.5, 5.0, 9.9, 10.1):
        stage.push(beat(at_s))

    assert feed(stage, 2500, 2700) == []
    (window,) = feed(stage, 2700, 2750)

    assert [b.at_ns / S for b in window.beats] == [0.5, 5.0, 9.9]


def test_no_window_reaches_over_a_hole():
    """After a jump of the sequence the first window begins with the new stretch, on the grid."""
    stage = Windows()

    out = feed(stage, 0, 3000) + feed(stage, 3100, 3100 + 250 * 15)

    assert [w.sequence for w in out] == [0, 3500, 4000]


def test_no_window_holds_a_missing_value():
    """A NaN anywhere in it withholds a window."""
    values = np.zeros((250 * 30, 1))
    values[250 * 13] = np.nan

    out = feed(Windows(), 0, len(values), values)

    assert [w.sequence / 250 for w in out] == [0, 2, 14, 16, 18]


def test_the_worst_second_is_the_quality():
    """One second of noise is the quality of every window that holds it, and of no other."""
    stage = Windows()
    out = []
    for second in range(1, 31):
        index = 0.3 if second == 14 else 0.9
        stage.push(Quality(sensor="s", stream="ecg", at_ns=second * S, index=index, is_usable=index > 0.6, reasons=()))
        out += feed(stage, (second - 1) * 250, second * 250)

    assert {round(w.start_ns / S): w.quality for w in out} == {
        start: (0.3 if start < 14 < start + 11 else 0.9) for start in range(0, 20, 2)
    }


def test_a_window_may_be_kept():
    """Its samples do not change when later ones come, and cannot be written."""
    stage = Windows()
    (window,) = feed(stage, 0, 2750)
    before = window.values.copy()

    feed(stage, 2750, 9000)

    assert np.array_equal(window.values, before)
    with pytest.raises(ValueError, match="read-only"):
        window.values[0, 0] = 1.0


def test_another_rate_is_refused():
    """The model was trained at one rate."""
    with pytest.raises(ValueError, match="250"):
        Windows().push(block(np.zeros((10, 1)), rate_hz=360.0))


def test_senseless_settings_are_refused():
    """A hop longer than the window would leave holes."""
    with pytest.raises(ValueError, match="hop_s"):
        WindowSettings(hop_s=20.0)
