"""What is taken down of an alert: the windows that decided, the signal around it, and what leaves the gateway."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge.alert_picture import picture_of
from edge.alert_record import encode
from edge.alert_watch import AlertWatch, AlertWatchSettings, without_samples
from edge.messages import (
    AlertKind,
    AlertState,
    ChannelKind,
    Prediction,
    Quality,
    Reading,
    ReadingStatus,
    Vitals,
)
from tests.fakes.alert_records import S, alert, beat, beat_window, block, classified, decision, heart

OFFSET_NS = 1_700_000_000 * S


class Kept:
    """Where records and revisions go."""

    def __init__(self) -> None:
        self.records = []
        self.revisions = []


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def watch(kept):
    return AlertWatch("p-1", lambda at_ns: at_ns + OFFSET_NS, kept.records.append, kept.revisions.append)


def feed(watch, start_s=0.0, until_s=30.0, odd=(22, 23, 24)):
    """Push an ECG with its beats, half a second at a time; beats 22-24 are ventricular."""
    values, peaks = heart(40.0, odd=odd)
    for at_s in np.arange(start_s, until_s, 0.5):
        first = round(at_s * 250)
        watch.observe(block(at_s, values[first : first + 125]))
        watch.observe(
            Quality(sensor="bed", stream="ecg", at_ns=round((at_s + 0.5) * S), index=0.9, is_usable=True, reasons=())
        )
        for k in np.flatnonzero((peaks >= at_s) & (peaks < at_s + 0.5)).tolist():
            watch.observe(beat(float(peaks[k]), similarity=0.2 if k in odd else 0.98))
            watch.observe(classified(float(peaks[k]), "V" if k in odd else "N", similarity=0.2 if k in odd else 0.98))
    return peaks


def predict(window, label="V", **evidence):
    return Prediction(
        at_ns=window.start_ns, label=label, probabilities={"V": 0.9, "N": 0.1}, bundle_sha256="ab" * 32,
        model=window.model, sensor="bed", stream="ecg", sequence=window.sequence, evidence=evidence,
    )  # fmt: skip


def test_an_alert_is_written_at_once_and_again_with_the_seconds_after_it(watch, kept):
    """Two records of one alert: the second has three seconds more."""
    feed(watch, until_s=20.0)

    watch.observe(alert(20.0))
    assert len(kept.records) == 1
    feed(watch, 20.0, 30.0)

    first, second = kept.records
    assert first.alert == second.alert
    assert len(first.strip.values_uv) == 12 * 250
    assert len(second.strip.values_uv) == 15 * 250
    assert second.beats[-1].beat.at_ns > 20 * S


def test_the_strip_is_the_clean_signal_in_microvolts(watch, kept):
    """Sample for sample, on the time line of the alert."""
    values, _ = heart(40.0, odd=(22, 23, 24))
    feed(watch, until_s=20.0)

    watch.observe(alert(20.0))

    strip = kept.records[0].strip
    assert strip.start_ns == 8 * S
    assert np.array_equal(strip.values_uv[:, 0], np.round(1000 * values[2000:5000]))


def test_a_hole_in_the_signal_stays_a_hole(watch, kept):
    """Samples after it stand where they belong."""
    values, _ = heart(40.0)
    for at_s in (8.0, 9.0, 11.0):
        watch.observe(block(at_s, values[round(at_s * 250) : round(at_s * 250) + 250]))

    watch.observe(alert(12.0))

    strip = kept.records[0].strip.values_uv[:, 0]
    assert np.isnan(strip[500:750]).all()
    assert np.array_equal(strip[750:1000], np.round(1000 * values[2750:3000]))


def test_only_the_windows_that_decided_are_kept_of_beats(watch, kept):
    """With what the model said of them."""
    peaks = feed(watch, until_s=20.0)
    windows = [beat_window(float(peaks[k])) for k in range(20, 25)]
    for window in windows:
        watch.observe(window)
        watch.observe(predict(window))

    watch.observe(alert(20.0, evidence={"decision": decision([windows[3].sequence, windows[4].sequence])}))

    (record,) = kept.records
    assert record.windows == tuple(windows[3:])
    assert [each.sequence for each in record.predictions] == [each.sequence for each in windows[3:]]
    assert record.decision["label"] == "V"


def test_of_a_rhythm_the_windows_of_the_minute_before_are_kept_too(watch, kept):
    """The decision is a mean over them."""
    feed(watch, until_s=20.0)
    windows = [replace(beat_window(10.0 + 5 * k), model="rhythm", beats=()) for k in range(6)]
    other = beat_window(12.0)
    for window in (*windows, other):
        watch.observe(window)

    watch.observe(alert(40.0, evidence={"decision": decision([windows[4].sequence], model="rhythm", label="A")}))

    assert kept.records[0].windows == tuple(windows[:5])


def test_of_a_rhythm_only_the_windows_of_its_mean_are_kept_where_they_are_named(watch, kept):
    """The prediction says over which it was taken."""
    feed(watch, until_s=20.0)
    windows = [replace(beat_window(10.0 + 5 * k), model="rhythm", beats=()) for k in range(6)]
    for k, window in enumerate(windows):
        watch.observe(window)
        watch.observe(predict(window, label="A", windows=[each.sequence for each in windows[max(0, k - 1) : k + 1]]))

    named = [windows[3].sequence, windows[4].sequence]
    watch.observe(alert(40.0, evidence={"decision": decision(named, model="rhythm", label="A")}))

    assert kept.records[0].windows == tuple(windows[3:5])


def test_the_class_of_a_beat_replaces_what_was_thought_of_it_first(watch, kept):
    """One mark for each beat, with the class that was decided."""
    peaks = feed(watch, until_s=20.0)

    watch.observe(alert(20.0))

    beats = kept.records[0].beats
    assert [each.beat.kind.value for each in beats if each.beat.at_ns >= round(peaks[21] * S)][:4] == list("NVVV")
    assert len({each.beat.at_ns for each in beats}) == len(beats)


def test_a_beat_whose_class_is_not_decided_yet_is_not_called_normal(watch, kept):
    """The class comes a second after the beat; the picture leaves it open until then."""
    feed(watch, until_s=19.0)
    watch.observe(beat(19.6))

    watch.observe(alert(20.0))

    beats = kept.records[0].beats
    marks = picture_of(kept.records[0], None, ()).beats
    assert [each.source for each in beats[-2:]] == ["model", "pending"]
    assert [each.kind for each in marks[-2:]] == ["V", ""]


def test_the_usual_beat_is_the_median_of_normal_ones(watch, kept):
    """Odd beats are no part of it, even where they are the most; nor are early ones and doubtful ones."""
    feed(watch, until_s=20.0, odd=tuple(k for k in range(25) if k % 3))

    watch.observe(alert(20.0))
    watch.finish()

    usual = kept.records[1].usual
    assert usual.values_uv[usual.r, 0] == pytest.approx(1000, abs=30)
    assert len(usual.values_uv) == 200


def test_beats_that_are_called_normal_but_look_odd_are_no_part_of_the_usual_one(watch, kept):
    """A rule that has no opinion calls everything normal."""
    odd = tuple(k for k in range(25) if k % 3)
    _, peaks = heart(40.0)
    feed(watch, until_s=20.0, odd=odd)
    for k in odd:
        watch.observe(classified(float(peaks[k]), "N", similarity=0.2))

    watch.observe(alert(20.0))
    watch.finish()

    usual = kept.records[1].usual
    assert usual.values_uv[usual.r, 0] == pytest.approx(1000, abs=30)


def test_without_beats_there_is_no_usual_one(watch, kept):
    """No average of nothing."""
    watch.observe(block(0.0, heart(10.0)[0]))

    watch.observe(alert(9.0))
    watch.finish()

    assert [record.usual for record in kept.records] == [None, None]
    assert kept.records[0].strip is not None


def test_an_alert_without_any_signal_is_kept(watch, kept):
    """A saturation from a finger clip, say."""
    found = watch.observe(alert(5.0, condition="spo2_pct-low"))

    assert kept.records[0].strip is None
    assert found.evidence == {"rule": "consecutive ventricular beats"}


def test_technical_alerts_and_later_revisions_make_no_record(watch, kept):
    """Only the raising of a physiological alert does; what was restored from before a restart has no signal here."""
    feed(watch, until_s=20.0)

    watch.observe(alert(20.0, kind=AlertKind.TECHNICAL))
    watch.observe(alert(20.0, alert_id="old", revision=4, state=AlertState.ACKNOWLEDGED))

    assert kept.records == []
    assert [each.revision for each in kept.revisions] == [4]


def test_published_evidence_says_where_and_how_well_but_shows_no_sample(watch):
    """At the privacy level ``numerics`` no sample leaves the gateway."""
    peaks = feed(watch, until_s=20.0)
    window = beat_window(float(peaks[23]))
    watch.observe(window)
    watch.observe(predict(window, contributions={"qrs": 1.5, "timing": 0.25}))

    found = watch.observe(alert(20.0, evidence={"rule": "r", "decision": decision([window.sequence])}))

    assert found.evidence["rule"] == "r"
    assert found.evidence["quality"] == 0.9
    assert found.evidence["contributions"] == {"qrs": 1.5, "timing": 0.25}
    assert found.evidence["window"]["from_s"] == pytest.approx((window.start_ns - 20 * S) / S, abs=0.01)
    assert found.evidence["strip"] == {
        "alert": "a-1", "sensor": "bed", "stream": "ecg", "from_s": -12.0, "duration_s": 12.0,
    }  # fmt: skip
    json.dumps(found.evidence)


def test_samples_are_published_only_where_that_is_allowed(kept):
    """And can be taken out again for a receiver who may not have them."""
    watch = AlertWatch(
        "p-1", lambda at_ns: at_ns, kept.records.append, settings=AlertWatchSettings(publish_samples=True)
    )
    feed(watch, until_s=20.0)

    found = watch.observe(alert(20.0))

    (values,) = found.evidence["strip"]["values_uv"]
    assert values == kept.records[0].strip.values_uv[:, 0].tolist()
    assert "values_uv" not in without_samples(found.evidence)["strip"]
    assert without_samples({"rule": "r"}) == {"rule": "r"}


def test_later_revisions_carry_the_same_evidence_until_the_end(watch, kept):
    """A receiver that missed the first one still learns why."""
    feed(watch, until_s=20.0)
    first = watch.observe(alert(20.0))

    second = watch.observe(alert(25.0, revision=2, state=AlertState.ACKNOWLEDGED))
    last = watch.observe(alert(26.0, revision=3, state=AlertState.CLOSED))

    assert second.evidence == last.evidence == first.evidence
    assert [each.revision for each in kept.revisions] == [2, 3]


def test_a_stream_that_falls_silent_does_not_keep_a_record_waiting(watch, kept):
    """After ten seconds it is written as it is."""
    feed(watch, until_s=20.0)
    watch.observe(alert(20.0))

    for at_s in range(20, 40):
        watch.observe(Vitals(at_ns=at_s * S, measurements={}, coverage_pct=0.0, quality=None))

    assert len(kept.records) == 2


def test_what_waits_at_the_end_is_written(watch, kept):
    """The recording is over, or the service stops."""
    feed(watch, until_s=20.0)
    watch.observe(alert(20.0))

    watch.finish()
    watch.finish()

    assert len(kept.records) == 2


def test_memory_is_bounded(watch):
    """An hour of signal leaves a minute and a half."""
    values, _ = heart(4.0)
    for at_s in range(0, 3600, 4):
        watch.observe(block(float(at_s), values))
        watch.observe(beat(float(at_s)))
        watch.observe(beat_window(float(at_s)))

    (memory,) = watch._streams.values()
    assert len(memory.blocks) <= 24
    assert len(memory.beats) <= 24
    assert len(memory.windows) <= 24


def test_records_do_not_depend_on_how_the_signal_was_cut_into_blocks(kept):
    """The same text, whatever the size of a block."""
    values, peaks = heart(24.0, odd=(22, 23, 24))
    texts = []
    for n in (25, 125, 1000):
        watch = AlertWatch("p-1", lambda at_ns: at_ns, kept.records.append)
        for first in range(0, 5000, n):
            watch.observe(block(first / 250, values[first : first + n]))
        for k, at_s in enumerate(peaks[peaks < 20].tolist()):
            watch.observe(classified(at_s, "V" if k in {22, 23, 24} else "N"))
        watch.observe(alert(20.0))
        texts.append(encode(kept.records[-1]))

    assert texts[0] == texts[1] == texts[2]


def test_odd_input_is_taken_without_a_word(watch, kept):
    """Backward time, other channels, NaN and empty blocks."""
    watch.observe(block(10.0, np.full(250, np.nan)))
    watch.observe(block(5.0, np.zeros(0)))
    watch.observe(block(5.0, np.full(250, 1e300)))
    watch.observe(block(6.0, np.zeros(250), kind=ChannelKind.PPG))
    watch.observe(block(6.0, np.zeros((250, 2)), names=("I", "II")))
    watch.observe(
        Reading(sensor="x", measure="spo2_pct", value=1.0, unit="%", measured_at_ns=0, status=ReadingStatus.VALID)
    )

    watch.observe(alert(7.0, evidence={"decision": {"model": 7, "window_sequences": "none", "sensor": []}}))

    encode(kept.records[0])
