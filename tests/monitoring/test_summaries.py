"""Summaries: whole minutes of the time line, nothing counted twice, nothing lost."""

from __future__ import annotations

import pytest

from edge.messages import (
    Alert,
    AlertKind,
    AlertState,
    Corrupt,
    Gap,
    Measurement,
    Priority,
    RhythmChange,
    Tick,
    Vitals,
)
from edge.monitoring.summaries import Summaries, SummarySettings
from tests.monitoring.hearts import S, beat, quality, stream, train


def vitals(at_s, value):
    measurement = Measurement(value=value, unit="/min", absent=None if value is not None else "noise")
    return Vitals(at_ns=at_s * S, measurements={"heart_rate_bpm": measurement}, coverage_pct=100.0, quality=0.9)


def alert(alert_id="a1", revision=1, state=AlertState.RAISED, onset_s=10, at_s=10, condition="asystole"):
    return Alert(
        id=alert_id,
        revision=revision,
        episode=1,
        kind=AlertKind.PHYSIOLOGICAL,
        priority=Priority.HIGH,
        condition=condition,
        sentence="",
        state=state,
        is_latched=True,
        onset_at_ns=onset_s * S,
        at_ns=at_s * S,
    )


def run(items, *, flush=True, settings=None):
    summaries = Summaries(settings or SummarySettings())
    outputs = [out for item in items for out in summaries.push(item)]
    return outputs + (summaries.flush() if flush else [])


def seconds(until_s, start_s=0, value=lambda _: 75.0, usable=lambda _: True):
    items = []
    for at_s in range(start_s + 1, until_s + 1):
        items += [quality(at_s, is_usable=usable(at_s)), vitals(at_s, value(at_s)), Tick(at_ns=at_s * S)]
    return items


def test_one_summary_per_whole_minute():
    """Three minutes and a half: three whole ones, then the rest."""
    outputs = run(seconds(210))

    assert [(out.start_ns // S, out.end_ns // S) for out in outputs] == [(0, 60), (60, 120), (120, 180), (180, 210)]
    assert [out.statistics["heart_rate_bpm"].n for out in outputs] == [60, 60, 60, 30]
    assert [out.coverage_pct for out in outputs] == [100.0] * 4


def test_the_first_minute_may_be_short():
    """A session that begins at 40 s has its first summary at 60 s, with full coverage of 20 s."""
    outputs = run(seconds(120, start_s=40))

    assert [(out.start_ns // S, out.end_ns // S) for out in outputs] == [(40, 60), (60, 120)]
    assert outputs[0].statistics["heart_rate_bpm"].coverage_pct == 100.0


def test_statistics_are_of_the_values_alone():
    """Minimum, median and maximum of what was measured; the rest shows as coverage."""
    outputs = run(seconds(60, value=lambda t: float(t) if t <= 45 else None))

    statistic = outputs[0].statistics["heart_rate_bpm"]
    assert (statistic.minimum, statistic.median, statistic.maximum) == (1.0, 23.0, 45.0)
    assert statistic.coverage_pct == 75.0
    assert statistic.unit == "/min"


def test_a_measure_without_any_value_is_listed_as_empty():
    """Absent is shown, never left out."""
    outputs = run(seconds(60, value=lambda _: None))

    statistic = outputs[0].statistics["heart_rate_bpm"]
    assert (statistic.n, statistic.minimum, statistic.coverage_pct) == (0, None, 0.0)


def test_coverage_is_the_usable_share():
    """A quarter of the minute was motion."""
    outputs = run(seconds(60, usable=lambda t: t % 4 != 0))

    assert outputs[0].coverage_pct == 75.0
    assert 0.2 < outputs[0].quality < 0.9


def test_minutes_without_any_signal_are_summarised_too():
    """The time line goes on: an empty minute says so."""
    outputs = run([Tick(at_ns=t * S) for t in range(181)])

    assert [(out.n_beats, out.coverage_pct, out.quality) for out in outputs] == [(0, 0.0, None)] * 3


def test_a_late_beat_is_counted_in_its_own_minute():
    """Found by search-back a second after the minute ended."""
    items = seconds(61)
    items.insert(len(items) - 1, beat(59.5))

    outputs = run([*items, *seconds(120, start_s=61)])

    assert [out.n_beats for out in outputs] == [1, 0]


def test_beats_in_doubt_are_not_counted():
    """What may be noise is no beat."""
    items = [*stream(train([0.8] * 50), 60), beat(55.0, is_noise_suspect=True)]

    assert run(items)[0].n_beats == 51


def test_two_sensors_on_one_heart_do_not_double_the_beats():
    """The stream that saw most beats counts."""
    beats = train([0.8] * 50)
    second = [type(item)(**{**{f: getattr(item, f) for f in item.__slots__}, "sensor": "finger"}) for item in beats[1:]]

    assert run([*stream(beats, 60), *second])[0].n_beats == 51


def test_losses_are_counted_by_reason():
    """Samples of gaps, frames that were damaged, and gaps of unknown length."""
    gap = Gap(sensor="chest", stream="ecg", start_ns=10 * S, end_ns=12 * S, n_missing=500, reason="link")
    reset = Gap(sensor="chest", stream="ecg", start_ns=20 * S, end_ns=22 * S, n_missing=None, reason="device-reset")
    crc = Corrupt(reason="crc", offset=0, n_bytes=9)

    outputs = run([*seconds(30), gap, gap, reset, crc, crc, crc, *seconds(60, start_s=30)])

    assert outputs[0].losses == {"link": 1000, "device-reset-unknown-length": 1, "frame-crc": 3}


def test_alerts_are_counted_when_they_are_raised():
    """Later revisions are no new alerts, a new onset under the same id is one."""
    items = [
        *seconds(30),
        alert(at_s=30),
        alert(revision=2, state=AlertState.CLEARED_UNACKNOWLEDGED, at_s=35),
        alert(revision=3, onset_s=40, at_s=40),
        alert(revision=4, state=AlertState.ACKNOWLEDGED, onset_s=40, at_s=45),
        alert("a2", condition="pause", at_s=45),
        alert("a2", revision=2, state=AlertState.CLOSED, condition="pause", at_s=50),
        *seconds(60, start_s=50),
    ]

    assert run(items)[0].alerts == {"asystole": 2, "pause": 1}


def test_an_alert_of_the_last_run_is_not_raised_again():
    """Restored alerts come with a later revision."""
    assert run([*seconds(30), alert(revision=7, at_s=30), *seconds(60, start_s=30)])[0].alerts == {}


def test_seconds_per_rhythm_add_up_over_minutes():
    """Sinus, fibrillation from 30 s to 90 s, sinus again."""
    items = [
        RhythmChange(at_ns=0, sequence=0, label="N"),
        *seconds(30),
        RhythmChange(at_ns=30 * S, sequence=7500, label="AFIB"),
        *seconds(91, start_s=30),
        RhythmChange(at_ns=90 * S, sequence=22500, label="N"),
        *seconds(120, start_s=91),
    ]

    outputs = run(items)

    assert [out.rhythm_s for out in outputs] == [{"AFIB": 30.0, "N": 30.0}] * 2


def test_a_rhythm_that_began_before_its_minute_counts_from_its_start():
    """Fibrillation is certain only after a minute: what has been published stays."""
    items = [
        RhythmChange(at_ns=0, sequence=0, label="N"),
        *seconds(100),
        RhythmChange(at_ns=30 * S, sequence=7500, label="AFIB"),
        *seconds(120, start_s=100),
    ]

    outputs = run(items)

    assert outputs[0].rhythm_s == {"N": 60.0}
    assert outputs[1].rhythm_s == {"AFIB": 60.0}


def test_a_jump_of_the_time_line_does_not_make_a_million_summaries():
    """A suspended machine wakes up a year later."""
    items = [*seconds(30), *[Tick(at_ns=31_000_000 * S + t * S) for t in range(120)]]

    assert len(run(items)) <= 4


@pytest.mark.parametrize("settings", [{"period_s": 0}, {"grace_s": -1.0}])
def test_impossible_settings_are_misuse(settings):
    """An interval has a length."""
    with pytest.raises(ValueError, match="expected"):
        SummarySettings(**settings)


def test_nothing_in_nothing_out():
    """No data, no summary."""
    assert run([]) == []
