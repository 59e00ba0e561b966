"""One person with every kind of signal: what the virtual patient knows, the vital signs say."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from edge.features.activity import Placement
from edge.messages import (
    Activity,
    Alert,
    Breath,
    Estimate,
    Gap,
    Pulse,
    Quality,
    SampleBlock,
    SensorStatus,
    Vitals,
)
from edge.pipeline import Pipeline, PipelineSettings
from edge.signal_chain import SensorTraits
from firmware_bridge.virtual.patient import CHANNELS, VirtualPatient
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario

S = 1_000_000_000
CALIBRATION = ((0.4, 100.0), (1.6, 70.0))


def new_pipeline(**traits):
    numbers = itertools.count(1)
    return Pipeline(PipelineSettings(traits={"bed": SensorTraits(**traits)}), new_id=lambda: f"a-{next(numbers)}")


def signals(duration_s, *, seed=4, **scenario):
    taken = VirtualPatient(Scenario.simple(seed=seed, **scenario)).take(duration_s)
    return {
        "ecg": (taken.ecg_mv, taken.ecg_rate_hz),
        "ppg": (taken.ppg, taken.ppg_rate_hz),
        "respiration": (taken.respiration_ohm, taken.respiration_rate_hz),
        "acceleration": (taken.acceleration_mps2, taken.acceleration_rate_hz),
    }


def interleaved(parts, *, block_s=0.2, order=("ecg", "ppg", "respiration", "acceleration")):
    """Blocks of every stream as a sensor sends them, the streams in `order` within each stretch of time."""
    duration_s = min(len(values) / rate_hz for values, rate_hz in parts.values())
    for k in range(round(duration_s / block_s)):
        for stream in order:
            values, rate_hz = parts[stream]
            first, end = (round(at * block_s * rate_hz) for at in (k, k + 1))
            yield SampleBlock(
                sensor="bed",
                stream=stream,
                channels=CHANNELS[stream],
                values=np.ascontiguousarray(values[first:end]),
                rate_hz=rate_hz,
                start_ns=round(first * S / rate_hz),
                sequence=first,
            )


def run(pipeline, items):
    return [finding for item in items for finding in pipeline.push(item)]


def only(kind, findings):
    return [finding for finding in findings if isinstance(finding, kind)]


@pytest.fixture(scope="module")
def at_rest():
    return run(new_pipeline(placement=Placement.CHEST, spo2_calibration=CALIBRATION), interleaved(signals(100.0)))


def test_every_signal_becomes_vital_signs(at_rest):
    """Heart, pulse, breathing and saturation of a person at rest are known and agree with each other."""
    last = only(Vitals, at_rest)[-1].measurements

    assert last["heart_rate_bpm"].value == pytest.approx(72, abs=4)
    assert last["pulse_rate_bpm"].value == pytest.approx(last["heart_rate_bpm"].value, abs=3)
    assert last["respiratory_rate_bpm"].value == pytest.approx(14, abs=4)
    assert last["spo2_pct"].value == pytest.approx(97, abs=3)
    assert "spo2_uncalibrated_pct" not in last
    assert last["perfusion_index_pct"].value > 0
    assert 100 < last["pulse_transit_ms"].value < 500
    assert last["qrs_ms"].value == pytest.approx(90, abs=30)


def test_events_of_every_signal_come_out(at_rest):
    """Pulses, breaths and seconds of activity are findings: they can be stored, drawn and scored."""
    assert len(only(Pulse, at_rest)) == pytest.approx(120, abs=10)
    assert len(only(Breath, at_rest)) == pytest.approx(23, abs=6)
    assert {activity.posture for activity in only(Activity, at_rest)} - {None}
    assert {(quality.stream, quality.kind.value) for quality in only(Quality, at_rest)} == {
        ("ecg", "ecg"),
        ("ppg", "ppg_infrared"),
        ("respiration", "respiration"),
    }


def test_a_person_at_rest_raises_no_alert(at_rest):
    """Four signals of a healthy person, and nobody is called."""
    assert only(Alert, at_rest) == []


def test_the_order_of_streams_does_not_matter():
    """Which of two sensors' blocks is first within a fifth of a second is chance: the vital signs are the same."""
    parts = signals(60.0)
    one = run(new_pipeline(), interleaved(parts))
    other = run(new_pipeline(), interleaved(parts, order=("acceleration", "respiration", "ppg", "ecg")))

    joined = ("respiratory_rate_bpm", "pulse_transit_ms")
    values = [
        [[vitals.measurements.get(measure) for measure in joined] for vitals in only(Vitals, findings)]
        for findings in (one, other)
    ]
    assert values[0] == values[1]


def test_without_a_calibration_the_saturation_has_another_name():
    """Nothing that listens for ``spo2_pct``, least of all its limits, sees an uncalibrated number."""
    vitals = only(Vitals, run(new_pipeline(), interleaved(signals(40.0))))[-1].measurements

    assert "spo2_pct" not in vitals
    assert vitals["spo2_uncalibrated_pct"].value is not None


def test_a_hole_in_the_light_ends_its_values_and_no_others():
    """Ten seconds without light: no pulse rate, with a reason; the heart rate goes on."""
    blocks = list(interleaved(signals(60.0)))
    kept = [block for block in blocks if block.stream != "ppg" or not 30 * S <= block.start_ns < 42 * S]
    pipeline = new_pipeline()
    before = run(pipeline, [block for block in kept if block.start_ns < 30 * S])
    hole = Gap(sensor="bed", stream="ppg", start_ns=30 * S, end_ns=42 * S, n_missing=1200, reason="lost-frames")
    middle = run(pipeline, [block for block in kept if 30 * S <= block.start_ns < 42 * S])
    after = run(pipeline, [hole, *(block for block in kept if block.start_ns >= 42 * S)])

    in_hole = only(Vitals, middle)[-1].measurements
    assert only(Vitals, before)[-1].measurements["pulse_rate_bpm"].value is not None
    assert (in_hole["pulse_rate_bpm"].value, in_hole["heart_rate_bpm"].value is not None) == (None, True)
    assert in_hole["pulse_rate_bpm"].absent
    assert only(Vitals, after)[-1].measurements["pulse_rate_bpm"].value is not None


def test_a_report_before_the_first_sample_counts():
    """A probe that is off when the sensor starts is off in the first verdict: the report came before any sample."""
    pipeline = new_pipeline()
    status = SensorStatus(sensor="bed", stream="ppg", condition="lead-off", is_active=True, at_ns=0)
    blocks = [block for block in interleaved(signals(10.0)) if block.stream == "ppg"]

    findings = run(pipeline, [status, *blocks])

    assert {quality.is_usable for quality in only(Quality, findings)} == {False}
    assert not [estimate for estimate in only(Estimate, findings) if estimate.value is not None]


def test_channels_that_appear_later_get_their_chain():
    """A sensor that adds a lead in the middle of a session is read from then on; what was there goes on."""
    ecg = [block for block in interleaved(signals(30.0)) if block.stream == "ecg"]
    narrow = [replace(block, channels=block.channels[:1], values=block.values[:, :1].copy()) for block in ecg[:75]]

    findings = run(new_pipeline(), [*narrow, *ecg[75:]])

    assert only(Vitals, findings)[-1].measurements["heart_rate_bpm"].value is not None


def test_a_shaken_electrode_gives_no_wrong_heart_rate():
    """Slow waves of several millivolts over a heart at 70/min: no rate rather than that of the waves."""
    motion = Fault(kind=FaultKind("motion"), at_s=30.0, duration_s=60.0, parameters={"intensity_ratio": 3.0})
    taken = VirtualPatient(replace(Scenario.simple(heart_rate_bpm=70, seed=2), faults=(motion,))).take(90.0)
    ecg = {"ecg": (taken.ecg_mv, taken.ecg_rate_hz)}

    findings = run(new_pipeline(), interleaved(ecg, order=("ecg",)))

    rates = [vitals.measurements["heart_rate_bpm"].value for vitals in only(Vitals, findings)]
    assert rates[25] == pytest.approx(70, abs=5)
    assert all(value is None or abs(value - 70) < 10 for value in rates[34:88])
