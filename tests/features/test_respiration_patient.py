"""The virtual patient breathes: every source finds the rate, and breaths that it knows of are found."""

from __future__ import annotations

import numpy as np
import pytest

from edge.conditioning.quality import SignalQuality
from edge.conditioning.respiration_quality import RespirationQuality
from edge.features.breaths import BreathDetector
from edge.features.ecg_beats import EcgBeats
from edge.features.pulse_beats import PulseBeats
from edge.features.respiration import RespirationStage
from edge.messages import Breath, SampleBlock, Tick
from firmware_bridge.virtual.patient import CHANNELS, VirtualPatient
from firmware_bridge.virtual.scenario import PatientSettings, Scenario, SensorSettings, Step

S = 1_000_000_000
STAGES = {
    "ecg": (SignalQuality, EcgBeats),
    "ppg": (None, PulseBeats),
    "respiration": (RespirationQuality, BreathDetector),
}


def patient(bpm, seed=1):
    settings = PatientSettings(seed=seed, age_years=40, breath_pulse_ratio=0.03, cardiac_impedance_ohm=0.1)
    step = Step(at_s=0, respiratory_rate_bpm=bpm, heart_rate_bpm=85.0)
    return VirtualPatient(Scenario(patient=settings, steps=(step,)))


def listen(virtual, stream, duration_s):
    """Return what the stages of one stream find in it, each with the second at which it is known."""
    make_quality, make_detector = STAGES[stream]
    quality, detector = make_quality() if make_quality else None, make_detector()
    rate_hz = SensorSettings().rate_hz(stream)
    found = []
    for second in range(duration_s):
        block = SampleBlock(
            sensor="chest",
            stream=stream,
            channels=CHANNELS[stream],
            values=virtual.read(stream, rate_hz),
            rate_hz=float(rate_hz),
            start_ns=second * S,
            sequence=second * rate_hz,
        )
        verdicts = quality.push(block) if quality else []
        for verdict in verdicts:
            detector.push(verdict)
        found += [(second + 1, item) for item in [*verdicts, *detector.push(block)]]
    return found


def estimates(found, duration_s):
    stage, out = RespirationStage(), []
    for second in range(1, duration_s + 1):
        for known_s, item in found:
            if known_s == second:
                stage.push(item)
        out += stage.push(Tick(at_ns=second * S))
    return out


@pytest.mark.parametrize("bpm", [6, 14, 25, 38])
def test_the_breaths_of_the_patient_are_found(bpm):
    """Every one, and no other, with its beginning to a twelfth of its length."""
    virtual = patient(bpm)
    breaths = [item for _, item in listen(virtual, "respiration", 90) if isinstance(item, Breath)]
    truth = [breath.at_s for breath in virtual.truth(15.0, 85.0).breaths]

    late = [min((item.at_ns / S - at_s for item in breaths), key=abs) for at_s in truth]

    assert np.abs(late).max() < 60 / bpm / 12 + 0.1
    assert abs(sum(15 <= item.at_ns / S < 85 for item in breaths) - len(truth)) <= 1


@pytest.mark.parametrize("stream", ["ecg", "ppg", "respiration"])
@pytest.mark.parametrize("bpm", [9, 15, 24])
def test_every_source_finds_the_rate(stream, bpm):
    """Each alone, within 1/min after a minute."""
    found = estimates(listen(patient(bpm), stream, 80), 80)

    assert found[-1].value == pytest.approx(bpm, abs=1.0)


def test_at_40_a_minute_the_chest_is_right_and_the_fusion_keeps_it():
    """Near half the heart rate beats see little; counted breaths do."""
    virtual = patient(38)
    found = [*listen(virtual, "respiration", 80), *listen(patient(38), "ecg", 80)]

    assert estimates(found, 80)[-1].value == pytest.approx(38, abs=1.0)
