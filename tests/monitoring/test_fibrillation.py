"""Ventricular fibrillation: alarmed in time on a virtual patient, and by the rules on scripted waveforms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.features.ecg_waves import LeadWaves, Waves
from edge.messages import Condition, Priority, RhythmChange, SampleBlock
from edge.monitoring.fibrillation import FibrillationRule, FibrillationSettings
from edge.pipeline import Pipeline, PipelineSettings
from edge.replay import counted_ids
from firmware_bridge.virtual.faults import FrontEnd
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Fault, FaultKind, Rhythm, Scenario, Step

S = 1_000_000_000
ONSET_S = 20.0


def waves(at_s, leakage=0.25, size_mv=0.6):
    lead = LeadWaves(name="II", leakage=leakage, size_mv=size_mv, largest_mv=size_mv)
    return Waves(sensor="chest", stream="ecg", at_ns=at_s * S, sequence=at_s * 250, leads=(lead,))


def judged(seconds, *, is_known=False):
    rule = FibrillationRule(FibrillationSettings())
    return [out for each in seconds for out in rule.second(each, each.leads[0], is_known=is_known)]


def replayed(rhythm, seed, faults=(), duration_s=32):
    """Return what a pipeline says of a patient whose sinus rhythm changes at `ONSET_S`."""
    scenario = replace(
        Scenario.simple(rhythm="sinus", heart_rate_bpm=72, seed=seed),
        steps=(Step(at_s=0.0, rhythm=Rhythm.SINUS), Step(at_s=ONSET_S, rhythm=rhythm)),
        faults=tuple(faults),
        duration_s=duration_s,
    )
    patient = VirtualPatient(scenario)
    stream = next(each for each in patient.streams if each.name == "ecg")
    rate_hz = stream.nominal_rate_hz
    values = FrontEnd(scenario.faults, seed).apply(stream, 0, patient.read("ecg", round(duration_s * rate_hz)))
    pipeline = Pipeline(PipelineSettings(), new_id=counted_ids("a"))
    out = []
    for first in range(0, len(values), 250):
        out += pipeline.push(
            SampleBlock(
                sensor="chest",
                stream="ecg",
                channels=stream.channels,
                values=np.ascontiguousarray(values[first : first + 250]),
                rate_hz=rate_hz,
                start_ns=round(first * S / rate_hz),
                sequence=first,
            )
        )
    return out


def urgent(findings):
    return [f for f in findings if isinstance(f, Condition) and f.is_active and f.priority is Priority.HIGH]


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param((), id="clean"),
        pytest.param((Fault(kind=FaultKind.NOISE, at_s=0, duration_s=60),), id="noise"),
        pytest.param((Fault(kind=FaultKind.MAINS, at_s=0, duration_s=60),), id="mains"),
        pytest.param((Fault(kind=FaultKind.BASELINE_WANDER, at_s=0, duration_s=60),), id="wander"),
    ],
)
@pytest.mark.parametrize("seed", range(1, 6))
def test_fibrillation_is_alarmed_within_ten_seconds(seed, faults):
    """Whatever the detector makes of the waves: a heart that pumps nothing is never met with silence."""
    found = urgent(replayed(Rhythm.VENTRICULAR_FIBRILLATION, seed, faults))

    assert {condition.code for condition in found} & {"ventricular-fibrillation", "ventricular-tachycardia"}
    assert ONSET_S < found[0].at_ns / S <= ONSET_S + 10


def test_fibrillation_has_a_name_in_the_record():
    """The rhythm file of the record says VF from where it was seen."""
    found = replayed(Rhythm.VENTRICULAR_FIBRILLATION, 4)

    named = [change for change in found if isinstance(change, RhythmChange) and change.label == "VF"]
    assert len(named) == 1
    assert ONSET_S < named[0].at_ns / S < ONSET_S + 5


@pytest.mark.parametrize("rhythm", [Rhythm.ATRIAL_FIBRILLATION, Rhythm.SUPRAVENTRICULAR_TACHYCARDIA, Rhythm.PACED])
def test_rhythms_with_beats_are_no_fibrillation(rhythm):
    """Fast, irregular or wide: there is rest between the complexes."""
    found = replayed(rhythm, 1, duration_s=40)

    assert "ventricular-fibrillation" not in {condition.code for condition in urgent(found)}


def test_three_seconds_in_a_row_are_needed():
    """A passing artefact is no fibrillation."""
    seconds = [waves(1), waves(2), waves(3, leakage=0.7), waves(4), waves(5), waves(6)]

    found = judged(seconds)

    assert [(c.at_ns // S, c.onset_at_ns // S, c.is_latching) for c in found] == [(6, 4, True)]


def test_it_ends_after_ten_seconds_without_waves():
    """Nine are not enough, and waves in between start the count anew."""
    calm = [waves(at_s, leakage=0.7) for at_s in range(4, 13)]
    again = [waves(13), *(waves(at_s, leakage=0.7) for at_s in range(14, 24))]

    found = judged([waves(1), waves(2), waves(3), *calm, *again])

    assert [(c.at_ns // S, c.is_active) for c in found] == [(3, True), (23, False)]


@pytest.mark.parametrize("quiet", [{"size_mv": 0.05}, {"leakage": None}])
def test_too_small_or_unknown_waves_begin_nothing(quiet):
    """Amplifier noise is left to the asystole rule."""
    assert judged([waves(at_s, **quiet) for at_s in range(1, 10)]) == []


def test_a_tachycardia_that_is_alarmed_is_not_alarmed_twice():
    """One emergency, one alarm."""
    assert judged([waves(at_s) for at_s in range(1, 10)], is_known=True) == []
