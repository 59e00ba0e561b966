"""The virtual patient: coupled signals whose truth is known, independent of the pieces they are read in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.virtual.patient import CHANNELS, VirtualPatient
from firmware_bridge.virtual.scenario import (
    Activity,
    Conduction,
    Event,
    Fault,
    FaultKind,
    PatientSettings,
    Posture,
    Premature,
    Rhythm,
    Scenario,
    Step,
)

STORY = Scenario(
    patient=PatientSettings(seed=5, cardiac_impedance_ohm=0.1, breath_pulse_ratio=0.2),
    steps=(
        Step(at_s=0.0, heart_rate_bpm=80.0, posture=Posture.STANDING, activity=Activity.WALKING, qtc_ms=450.0),
        Step(at_s=1.7, event=Event.JUMP, step_rate_hz=2.2, respiratory_rate_bpm=0.0),
        Step(at_s=3.0, rhythm=Rhythm.ATRIAL_FIBRILLATION, spo2_pct=90.0, qrs_ms=120.0),
        Step(at_s=4.4, event=Event.FALL, respiratory_rate_bpm=20.0),
        Step(at_s=6.0, rhythm=Rhythm.VENTRICULAR_FIBRILLATION),
        Step(at_s=8.0, rhythm=Rhythm.SINUS, conduction=Conduction.BUNDLE_BRANCH_BLOCK),
    ),
)


@pytest.mark.parametrize("stream", list(CHANNELS))
@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(min_value=0, max_value=700), min_size=1, max_size=12))
def test_signals_do_not_depend_on_the_pieces_they_are_read_in(stream, sizes):
    """Invariant: reading in any pieces gives the same samples, to the last bit, as reading at once."""
    whole = VirtualPatient(STORY, streams=[stream])
    pieces = VirtualPatient(STORY, streams=[stream])

    at_once = whole.read(stream, sum(sizes))
    in_pieces = np.concatenate([pieces.read(stream, size) for size in sizes])

    assert np.array_equal(at_once, in_pieces)


def test_signals_do_not_depend_on_the_order_of_streams():
    """Reading one stream far ahead changes nothing about the others."""
    ahead = VirtualPatient(STORY)
    together = VirtualPatient(STORY)

    ahead.read("ecg", 250 * 60)
    ppg = ahead.read("ppg", 100 * 10)

    assert np.array_equal(ppg, together.take(10.0).ppg)


def test_two_seeds_are_two_people():
    """The seed decides everything; the same one repeats everything."""
    first, same, other = (VirtualPatient(Scenario.simple(seed=seed)).take(5.0).ecg_mv for seed in (1, 1, 2))

    assert np.array_equal(first, same)
    assert np.abs(first - other).max() > 0.1


def test_r_peaks_are_where_the_truth_says():
    """In sinus rhythm lead II has its maximum within one sample of each true beat."""
    signals = VirtualPatient(Scenario.simple(seed=3)).take(30.0)

    for beat in signals.truth.beats[:-1]:
        at = round(beat.at_s * 250)
        near = signals.ecg_mv[at - 25 : at + 25, 0]
        assert abs(int(near.argmax()) - 25) <= 1
        assert 0.7 < near.max() < 1.5
    assert 32 <= len(signals.truth.beats) <= 38


def test_pulse_follows_each_beat():
    """Each sinus beat is followed by a rise of the infrared light; its peak comes 0.25 to 0.45 s after the R peak."""
    signals = VirtualPatient(Scenario.simple(seed=3)).take(20.0)

    for beat in signals.truth.beats[1:-2]:
        at = round(beat.at_s * 100)
        delay_s = int(signals.ppg[at : at + 70, 1].argmax()) / 100
        assert 0.25 <= delay_s <= 0.48


@pytest.mark.parametrize("spo2_pct", [99.0, 90.0, 80.0])
def test_ratio_of_ratios_agrees_with_the_saturation(spo2_pct):
    """The usual formula applied to red and infrared light gives back the patient's saturation within 1.5 %."""
    patient = VirtualPatient(Scenario(steps=(Step(at_s=0.0, spo2_pct=spo2_pct),)))

    light = patient.take(60.0).ppg

    # Regression of red on infrared changes over 0.15 s: the rise of the pulse, and little of breathing and noise.
    relative = light / light.mean(axis=0)
    slope = relative[15:] - relative[:-15]
    ratio = (slope[:, 0] @ slope[:, 1]) / (slope[:, 1] @ slope[:, 1])
    assert 110.0 - 25.0 * ratio == pytest.approx(spo2_pct, abs=1.5)


def test_no_pulse_and_no_saturation_in_fibrillation():
    """Without beats there is neither pulse wave nor any value that needs one."""
    patient = VirtualPatient(Scenario.simple(rhythm="ventricular-fibrillation"))

    signals = patient.take(20.0)
    vitals = patient.vitals_at(20.0)

    assert not signals.truth.beats
    assert np.ptp(signals.ppg[:, 1]) < 0.015 * signals.ppg[:, 1].mean()
    assert vitals.pulse_rate_bpm is None
    assert vitals.spo2_pct is None
    assert vitals.systolic_mmhg is None
    assert vitals.temperature_c == pytest.approx(36.8)


def test_truth_of_a_stretch_covers_it_without_a_hole():
    """Rhythm spans follow each other from the first to the last second asked for."""
    truth = VirtualPatient(STORY).take(12.0).truth

    assert [span.label for span in truth.rhythms] == ["N", "AFIB", "VF", "N"]
    assert truth.rhythms[0].start_s == 0.0
    assert truth.rhythms[-1].end_s == 12.0
    for before, after in zip(truth.rhythms, truth.rhythms[1:], strict=False):
        assert before.end_s == after.start_s


@settings(max_examples=15, deadline=None)
@given(cut_s=st.floats(min_value=0.5, max_value=59.5), seed=st.integers(min_value=0, max_value=1000))
def test_the_truth_of_two_halves_is_the_truth_of_the_whole(cut_s, seed):
    """Invariant: nothing is told twice and nothing is lost, wherever a stretch is cut."""
    story = [Step(at_s=20.0, event=Event.FALL), Step(at_s=30.0, respiratory_rate_bpm=0.0)]
    scenario = Scenario(patient=PatientSettings(seed=seed), steps=(Step(at_s=0.0, premature=Premature.SINGLE), *story))
    patient = VirtualPatient(scenario)

    whole, first, second = (patient.truth(*span) for span in ((0.0, 60.0), (0.0, cut_s), (cut_s, 60.0)))

    for name in ("beats", "pulses", "events"):
        assert getattr(first, name) + getattr(second, name) == getattr(whole, name)
    breaths_s = [breath.at_s for half in (first, second) for breath in half.breaths]
    assert breaths_s == pytest.approx([breath.at_s for breath in whole.breaths], abs=0.01)
    assert first.motions[-1].end_s == second.motions[0].start_s == cut_s


def test_vitals_follow_the_scenario():
    """Heart and pulse rate are those of the beats, saturation approaches its target and the cuff has three values."""
    patient = VirtualPatient(Scenario.simple(heart_rate_bpm=90, seed=2))

    vitals = patient.vitals_at(60.0)

    assert vitals.heart_rate_bpm == pytest.approx(90, abs=4)
    assert vitals.pulse_rate_bpm == pytest.approx(vitals.heart_rate_bpm)
    assert vitals.spo2_pct == pytest.approx(97.0)
    assert vitals.mean_mmhg == pytest.approx(78 + (122 - 78) / 3)


def test_samples_pass_over_what_was_not_asked_for():
    """`samples` starts where it was told to, with the same values as reading everything; it does not go back."""
    patient = VirtualPatient(Scenario.simple())
    everything = VirtualPatient(Scenario.simple()).take(10.0)

    part = patient.samples(4.0, 6.0)

    assert np.array_equal(part.ecg_mv, everything.ecg_mv[1000:1500])
    with pytest.raises(ValueError, match="from_s"):
        patient.samples(4.0, 6.0)


def test_history_can_be_bounded():
    """A patient that runs for long forgets beats that are older than it was told to remember."""
    patient = VirtualPatient(Scenario.simple(), history_s=20.0)

    patient.take(120.0)

    assert patient.truth(0.0, 120.0).beats[0].at_s > 95.0


def test_a_patient_for_one_stream_remembers_no_more_than_that_needs():
    """A sensor that sends one signal for long does not keep beats for those it never reads."""
    patient = VirtualPatient(Scenario.simple(), history_s=20.0, streams=("respiration",))
    everything = VirtualPatient(Scenario.simple())

    breathing = patient.read("respiration", 25 * 600)

    assert np.array_equal(breathing, everything.read("respiration", 25 * 600))
    assert len(patient._recent) < 40
    with pytest.raises(ValueError, match="streams"):
        patient.take(1.0)


def test_take_acts_out_the_faults_and_read_does_not():
    """`take` shows what the converter sees, `read` what the body gives."""
    fault = Fault(kind=FaultKind.LEAD_OFF, at_s=2.0, duration_s=3.0)
    scenario = Scenario.simple(faults=(fault,))

    disturbed = VirtualPatient(scenario).take(10.0).ecg_mv
    clean = VirtualPatient(scenario).read("ecg", 2500)

    assert (disturbed[500:1250] == CHANNELS["ecg"][0].maximum).all()
    assert np.array_equal(np.delete(disturbed, np.s_[500:1250], axis=0), np.delete(clean, np.s_[500:1250], axis=0))
