from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.messages import (
    Alert,
    AlertKind,
    AlertState,
    Channel,
    ChannelKind,
    LinkChange,
    LinkState,
    Priority,
    Quality,
    RhythmChange,
)
from edge.viewing.bed import BedState, braille_trace, open_alert_words
from tests.conformance.case import block

ALERT = Alert(
    id="a-1",
    revision=1,
    episode=1,
    kind=AlertKind.PHYSIOLOGICAL,
    priority=Priority.MEDIUM,
    condition="heart_rate_bpm-high",
    sentence="Heart rate 134/min is above the limit",
    state=AlertState.RAISED,
    is_latched=False,
    onset_at_ns=5,
    at_ns=10,
)


def ramp(n_samples, sequence=0):
    return block(np.arange(sequence, sequence + n_samples, dtype=float)[:, None], sequence=sequence)


def test_open_alerts_come_highest_priority_first_then_newest():
    """What needs action soonest stands at the top."""
    bed = BedState("p-1")

    bed.observe(ALERT)
    bed.observe(replace(ALERT, id="a-2", priority=Priority.HIGH))
    bed.observe(replace(ALERT, id="a-3", onset_at_ns=9))

    assert [alert.id for alert in bed.open_alerts()] == ["a-2", "a-3", "a-1"]


def test_the_quality_shown_is_that_of_the_trace():
    """A moving finger must not make the ECG on the screen look poor; without an ECG the finger is what there is."""
    light = Quality(sensor="s", stream="ppg", at_ns=1, index=0.1, is_usable=False, reasons=(), kind=ChannelKind.PPG)
    ecg = Quality(sensor="s", stream="ecg", at_ns=1, index=0.9, is_usable=True, reasons=())
    bed, alone = BedState("p-1"), BedState("p-2")

    for verdict in (light, ecg, light):
        bed.observe(verdict)
    alone.observe(light)

    assert (bed.quality, alone.quality) == (ecg, light)


def test_a_closed_alert_leaves_the_list_but_stays_in_the_history():
    bed = BedState("p-1")

    bed.observe(ALERT)
    bed.observe(replace(ALERT, revision=2, state=AlertState.CLOSED))

    assert bed.open_alerts() == []
    assert [line.state for line in bed.history] == [AlertState.RAISED, AlertState.CLOSED]


def test_trace_keeps_the_last_seconds_only():
    """Six seconds at 250 Hz are shown however the blocks came."""
    bed = BedState("p-1")

    for start in range(0, 5000, 50):
        bed.observe(ramp(50, start))

    assert bed.trace()[-1] == 4999
    assert len(bed.trace()) == 1500


def test_trace_never_joins_signal_across_a_gap():
    bed = BedState("p-1")

    bed.observe(ramp(500))
    bed.observe(ramp(50, sequence=900))

    assert bed.trace()[0] == 900


def test_a_lost_link_empties_the_trace():
    """An old trace under a lost link would look alive."""
    bed = BedState("p-1")
    bed.observe(ramp(500))

    bed.observe(LinkChange(sensor="bed", state=LinkState.LOST, reason="hang-up", at_ns=1))

    assert bed.trace().size == 0


def test_other_kinds_of_samples_are_not_drawn_as_ecg():
    bed = BedState("p-1")

    bed.observe(block(np.ones((50, 1)), channels=(Channel(name="PLETH", kind=ChannelKind.PPG, unit="1"),)))

    assert bed.trace().size == 0


def test_unknown_findings_are_ignored():
    bed = BedState("p-1")

    bed.observe(RhythmChange(at_ns=0, sequence=0, label="AFIB"))
    bed.observe("something else")

    assert bed.rhythm == "AFIB"


@pytest.mark.parametrize(
    "values",
    [
        np.empty(0),
        np.full(100, np.nan),
        np.zeros(3),
        np.array([1e300, -1e300]),
        np.random.default_rng(1).normal(size=999),
    ],
    ids=["empty", "nan", "short", "huge", "noise"],
)
def test_braille_trace_is_always_a_full_rectangle(values):
    """Whatever the signal, the screen keeps its shape."""
    with np.errstate(all="ignore"):
        lines = braille_trace(values, 20, 4)

    assert [len(line) for line in lines] == [20] * 4


def test_braille_trace_draws_a_spike_from_bottom_to_top():
    values = np.zeros(40)
    values[20] = 1.0

    lines = braille_trace(values, 20, 4)

    assert all(line[10] != chr(0x2800) for line in lines)
    assert lines[0].replace(chr(0x2800), "") == lines[0][10]


def test_open_alert_words_count_by_priority():
    assert open_alert_words([]) == "none"
    assert open_alert_words([ALERT, replace(ALERT, priority=Priority.HIGH)]) == "1 high, 1 medium"
