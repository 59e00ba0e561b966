"""The whole dataflow of one person, from samples to alerts, on a virtual patient whose truth is known."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from edge.messages import (
    Alert,
    AlertState,
    Beat,
    Channel,
    ChannelKind,
    Gap,
    LinkChange,
    LinkState,
    Priority,
    Quality,
    Reading,
    ReadingStatus,
    RhythmChange,
    RrIntervals,
    SampleBlock,
    Summary,
    Vitals,
)
from edge.monitoring.alarm_commands import AlarmCommand, CommandKind, CommandRefused
from edge.pipeline import Pipeline, PipelineSettings
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Scenario

RATE_HZ = 250
CHANNELS = (
    Channel(name="II", kind=ChannelKind.ECG, unit="mV"),
    Channel(name="V1", kind=ChannelKind.ECG, unit="mV"),
)


def new_pipeline():
    numbers = itertools.count(1)
    return Pipeline(PipelineSettings(), new_id=lambda: f"a-{next(numbers)}")


def ecg(rhythm, duration_s, *, rate_bpm=72.0, seed=1):
    scenario = Scenario.simple(rhythm=rhythm, heart_rate_bpm=rate_bpm, seed=seed)
    return np.asarray(VirtualPatient(scenario).take(duration_s).ecg_mv)


def blocks(values, n_samples, *, first=0):
    for start in range(0, len(values), n_samples):
        yield SampleBlock(
            sensor="bed",
            stream="ecg",
            channels=CHANNELS,
            values=values[start : start + n_samples].copy(),
            rate_hz=RATE_HZ,
            start_ns=round((first + start) * 1e9 / RATE_HZ),
            sequence=first + start,
        )


def run(pipeline, items):
    return [finding for item in items for finding in pipeline.push(item)]


def only(kind, findings):
    return [finding for finding in findings if isinstance(finding, kind)]


def rate_at(findings, at_s):
    (vitals,) = [each for each in only(Vitals, findings) if each.at_ns == at_s * 1_000_000_000]
    return vitals.measurements["heart_rate_bpm"]


@pytest.fixture(scope="module")
def night():
    """Sinus, ventricular tachycardia, asystole, sinus: 100 s with something to find in every part."""
    return np.concatenate(
        [
            ecg("sinus", 40),
            ecg("ventricular-tachycardia", 20, rate_bpm=180),
            ecg("asystole", 12),
            ecg("sinus", 28, rate_bpm=60, seed=2),
        ]
    )


def story(findings):
    """Everything that must not depend on the chunking, in order."""
    kinds = (Beat, Alert, Vitals, RhythmChange, Quality, Summary)
    return [finding for finding in findings if isinstance(finding, kinds)]


@pytest.mark.parametrize("n_samples", [1, 7, 250, 10_000])
def test_findings_do_not_depend_on_the_chunking(night, n_samples):
    """Chunk law end to end: beats, alerts, vital signs and summaries are identical for any block length."""
    whole = new_pipeline()
    expected = [*run(whole, blocks(night, len(night))), *whole.finish()]
    pipeline = new_pipeline()

    found = [*run(pipeline, blocks(night, n_samples)), *pipeline.finish()]

    assert story(found) == story(expected)
    assert {"a-1", "a-2"} <= {alert.id for alert in only(Alert, found)}


def test_heart_rate_of_a_virtual_patient_is_right():
    findings = run(new_pipeline(), blocks(ecg("sinus", 40, rate_bpm=72.0), 50))

    assert rate_at(findings, 35).value == pytest.approx(72, abs=1)


def test_asystole_raises_a_high_latched_alert_and_no_rate_is_shown(night):
    """Six seconds after the last beat at most; the rate is gone, not held."""
    findings = run(new_pipeline(), blocks(night, 50))

    asystole = [alert for alert in only(Alert, findings) if alert.condition == "asystole"]
    last_beat_ns = max(beat.at_ns for beat in only(Beat, findings) if beat.at_ns < 61e9)
    assert asystole[0].priority is Priority.HIGH
    assert asystole[0].is_latched
    assert (asystole[0].at_ns - last_beat_ns) / 1e9 <= 6.0
    assert rate_at(findings, 68).value is None


def test_no_rate_from_before_a_pause_is_shown_after_it(night):
    """The tachycardia of 180/min before twelve seconds of asystole says nothing about the beats after it."""
    findings = run(new_pipeline(), blocks(night, 50))

    after = [rate_at(findings, at_s).value for at_s in range(73, 90)]
    assert all(value is None or value < 100 for value in after)


def test_a_gap_is_announced_and_takes_the_rate_away():
    """Samples that never come: the gap is told, no rate is held over it, and it comes back without help."""
    pipeline = new_pipeline()
    values = ecg("sinus", 90)
    first, second = values[: 30 * RATE_HZ], values[50 * RATE_HZ :]
    gap = Gap(
        sensor="bed", stream="ecg", start_ns=30_000_000_000, end_ns=50_000_000_000, n_missing=5000, reason="lost-frames"
    )

    before = run(pipeline, blocks(first, 50))
    meanwhile = pipeline.advance(45_000_000_000)
    after = run(pipeline, [gap, *blocks(second, 50, first=50 * RATE_HZ)])

    assert rate_at(before, 29).value is not None
    assert rate_at(meanwhile, 40).value is None
    assert gap in after
    assert rate_at(after, 51).value is None
    assert rate_at(after, 80).value == pytest.approx(72, abs=2)
    assert only(Beat, [b for b in only(Beat, after) if b.at_ns > 50e9])[0].rr_ms is None


def test_after_a_device_reset_nothing_from_before_leaks_into_a_beat():
    """The size of the hole is unknown, so the sample counter shows no jump: only the announced gap separates the two."""
    pipeline = new_pipeline()
    values = ecg("sinus", 60)
    run(pipeline, blocks(values[: 30 * RATE_HZ], 50))
    gap = Gap(
        sensor="bed",
        stream="ecg",
        start_ns=30_000_000_000,
        end_ns=50_000_000_000,
        n_missing=None,
        reason="device-reset",
    )
    second = [
        replace(each, start_ns=each.start_ns + 20_000_000_000)
        for each in blocks(values[30 * RATE_HZ :], 50, first=30 * RATE_HZ)
    ]

    after = run(pipeline, [gap, *second])

    beats = [beat for beat in only(Beat, after) if beat.at_ns >= 50e9]
    qualities = [each for each in only(Quality, after) if each.at_ns > 50e9]
    assert beats[0].rr_ms is None
    assert "settling" in qualities[0].reasons


def test_a_lost_link_raises_a_technical_alert_by_the_passing_of_time_alone():
    """No data can be the reason for an alert that data would have to trigger."""
    pipeline = new_pipeline()
    run(pipeline, blocks(ecg("sinus", 20), 50))
    pipeline.push(LinkChange(sensor="bed", state=LinkState.LOST, reason="hang-up", at_ns=20_000_000_000))

    early, late = pipeline.advance(28_000_000_000), pipeline.advance(32_000_000_000)

    assert not only(Alert, early)
    assert [alert.condition for alert in only(Alert, late)] == ["link-lost:bed"]


def test_history_is_never_analysed_as_if_it_were_now():
    """Samples that the device stored while the link was down make no beats and no alarms."""
    stored = [replace(block, is_backfill=True) for block in blocks(ecg("asystole", 30), 250)]

    findings = run(new_pipeline(), stored)

    assert findings == stored


def test_an_acknowledgement_reaches_its_alert_and_a_stale_one_is_refused(night):
    pipeline = new_pipeline()
    findings = run(pipeline, blocks(night, 250))
    (alert, *_) = [each for each in pipeline.open_alerts() if each.condition == "asystole"]

    outcome = pipeline.command(
        AlarmCommand(
            kind=CommandKind.ACKNOWLEDGE,
            alert_id=alert.id,
            revision=alert.revision,
            by="nurse",
            via="test",
            at_ns=101_000_000_000,
        )
    )
    refused = pipeline.command(
        AlarmCommand(
            kind=CommandKind.ACKNOWLEDGE, alert_id="nobody", revision=1, by="nurse", via="test", at_ns=101_000_000_000
        )
    )

    assert only(Alert, findings)
    assert [each.state for each in outcome] == [AlertState.CLOSED]
    assert isinstance(refused[0], CommandRefused)


def test_an_open_alert_goes_on_after_a_restart(night):
    """A latched alert of the last run is still open in this one, with the same id."""
    before = new_pipeline()
    run(before, blocks(night, 250))
    after = new_pipeline()

    findings = after.restore(before.open_alerts(), 0)

    assert {alert.id for alert in only(Alert, findings)} >= {
        alert.id for alert in before.open_alerts() if alert.is_latched
    }
    assert {alert.id for alert in after.open_alerts()} == {alert.id for alert in before.open_alerts()}


def test_two_streams_of_one_person_do_not_disturb_each_other():
    """A respiration stream beside the ECG changes no beat."""
    values = ecg("sinus", 20)
    breath = (Channel(name="RESP", kind=ChannelKind.RESPIRATION, unit="1"),)
    alone = run(new_pipeline(), blocks(values, 50))
    pipeline = new_pipeline()
    findings = []
    for block in blocks(values, 50):
        findings += pipeline.push(block)
        findings += pipeline.push(
            replace(block, stream="respiration", channels=breath, values=np.zeros((block.n_samples, 1)))
        )

    assert only(Beat, findings) == only(Beat, alone)


def at(second):
    return round(second * 1_000_000_000)


def last_vitals(findings):
    return only(Vitals, findings)[-1].measurements


def test_a_strap_without_an_ecg_gives_variability():
    """RR intervals of a strap become RMSSD and SDNN, as those of an ECG do."""
    pipeline, found = new_pipeline(), []
    rng = np.random.default_rng(1)
    for second in range(1, 400):
        intervals_ms = (float(rng.normal(1000, 30)),)
        found += pipeline.push(RrIntervals(sensor="strap", intervals_ms=intervals_ms, received_at_ns=at(second)))
        found += pipeline.advance(at(second))

    # Independent intervals of 30 ms: their successive differences have sqrt(2) times that.
    assert last_vitals(found)["rmssd_ms"].value == pytest.approx(30 * 2**0.5, rel=0.2)
    assert last_vitals(found)["rmssd_ms"].method == "device-intervals"


@pytest.mark.parametrize("state", [LinkState.SILENT, LinkState.LOST])
def test_values_of_a_sensor_whose_link_is_gone_do_not_stand(state):
    """Nobody sees the saturation of a sensor that fell silent, long before the value itself is stale."""
    pipeline = new_pipeline()
    reading = Reading(
        sensor="finger", measure="spo2_pct", value=97.0, unit="%", measured_at_ns=at(9), status=ReadingStatus.VALID
    )
    before = [*pipeline.push(reading), *pipeline.advance(at(10))]

    gone = LinkChange(sensor="finger", state=state, reason="no data for 10 s", at_ns=at(10))
    after = [*pipeline.push(gone), *pipeline.advance(at(11))]

    assert last_vitals(before)["spo2_pct"].value == 97.0
    assert (last_vitals(after)["spo2_pct"].value, last_vitals(after)["spo2_pct"].absent) == (
        None,
        f"link-{state.value}",
    )
