"""What the virtual patient says of itself is what its signals show: every truth is measured back from the samples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from firmware_bridge.virtual import patient as patient_module
from firmware_bridge.virtual import pulse as pulse_module
from firmware_bridge.virtual.motion import STANDARD_GRAVITY_MPS2
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.pulse import INFRARED_DC
from firmware_bridge.virtual.scenario import (
    Activity,
    Conduction,
    Event,
    Fault,
    FaultKind,
    Origin,
    PatientSettings,
    Posture,
    Premature,
    Rhythm,
    Scenario,
    SensorSettings,
    Step,
)

RATE_HZ = 1000


@pytest.fixture(autouse=True)
def quiet_front_end(monkeypatch):
    """What is measured here is the generator, not its noise."""
    monkeypatch.setattr(patient_module, "NOISE_RMS", dict.fromkeys(patient_module.NOISE_RMS, 0.0))


def patient(*later, faults=(), person=None, **state):
    """Return a patient at 1 kHz in ECG and PPG with all other influences on the signal switched off."""
    still = {"breath_ecg_ratio": 0.0, "breath_baseline_mv": 0.0, "breath_light_ratio": 0.0}
    return VirtualPatient(
        Scenario(
            patient=PatientSettings(**(still | (person or {}))),
            sensor=SensorSettings(ecg_rate_hz=RATE_HZ, ppg_rate_hz=RATE_HZ),
            steps=(Step(at_s=0.0, **state), *later),
            faults=faults,
        )
    )


def tangent_s(signal, peak, side, rate_hz=RATE_HZ, reach_s=0.25):
    """Return where the tangent at the steepest point on one `side` (-1, 1) of a peak meets zero, in seconds."""
    part = (
        signal[peak : peak + round(reach_s * rate_hz)] if side > 0 else signal[peak - round(reach_s * rate_hz) : peak]
    )
    slope = np.gradient(np.abs(part)) * rate_hz
    k = int(np.argmin(slope) if side > 0 else np.argmax(slope))
    first = peak if side > 0 else peak - len(part)
    return (first + k) / rate_hz - abs(part[k]) / slope[k]


@pytest.mark.parametrize("heart_rate_bpm", [50.0, 60.0, 90.0])
def test_p_and_t_begin_and_end_where_the_tangents_meet_the_baseline(heart_rate_bpm):
    """Measured on lead II as with a ruler, P onset, P peak, T peak and T end are within 3 ms of the truth."""
    signals = patient(heart_rate_bpm=heart_rate_bpm).take(15.0)
    lead = signals.ecg_mv[:, 0] - np.median(signals.ecg_mv[:, 0])

    for beat in signals.truth.beats[2:-2]:
        waves = beat.waves
        p_peak, t_peak = round(waves.p_peak_s * RATE_HZ), round(waves.t_peak_s * RATE_HZ)
        assert abs(int(lead[p_peak - 40 : p_peak + 40].argmax()) - 40) <= 2
        assert abs(int(lead[t_peak - 60 : t_peak + 60].argmax()) - 60) <= 2
        # The baseline under the waves is that of the slow sway, taken just before P.
        flat = lead - lead[round(waves.p_onset_s * RATE_HZ) - 30]
        assert tangent_s(flat, t_peak, 1) == pytest.approx(waves.t_end_s, abs=0.004)
        assert tangent_s(flat, p_peak, -1, reach_s=0.06) == pytest.approx(waves.p_onset_s, abs=0.004)


def test_the_usual_intervals_are_those_of_a_textbook():
    """PR 160 ms, QRS 91 ms, QT 398 ms at 60 a minute."""
    waves = patient(heart_rate_bpm=60.0).take(10.0).truth.beats[3].waves

    assert waves.pr_ms == pytest.approx(160, abs=2)
    assert waves.qrs_ms == pytest.approx(91, abs=2)
    assert waves.qt_ms == pytest.approx(398, abs=3)


@pytest.mark.parametrize("heart_rate_bpm", [45.0, 60.0, 110.0])
def test_ordered_intervals_and_heights_are_kept(heart_rate_bpm):
    """PR, QRS and QT after Bazett are exactly what the scenario says; R and T are as tall as ordered."""
    ordered = {"pr_ms": 210.0, "qrs_ms": 124.0, "qtc_ms": 470.0, "qrs_mv": 0.6, "t_mv": -0.2}
    signals = patient(heart_rate_bpm=heart_rate_bpm, **ordered).take(10.0)

    for beat in signals.truth.beats[2:-1]:
        cycle_s = 60.0 / heart_rate_bpm
        assert beat.waves.pr_ms == pytest.approx(210.0)
        assert beat.waves.qrs_ms == pytest.approx(124.0)
        assert beat.waves.qt_ms == pytest.approx(470.0 * np.sqrt(cycle_s))
        at, t_at = round(beat.at_s * RATE_HZ), round(beat.waves.t_peak_s * RATE_HZ)
        level = np.median(signals.ecg_mv[:, 0])
        assert beat.height_mv[0] == pytest.approx(0.6, rel=0.1)
        assert signals.ecg_mv[at, 0] - level == pytest.approx(beat.height_mv[0], abs=0.08)
        assert signals.ecg_mv[t_at, 0] - level == pytest.approx(-0.2, abs=0.08)


def test_a_wider_qrs_pushes_t_and_leaves_p():
    """Where only the duration is ordered, T keeps its distance from the end of QRS and P from its beginning."""
    usual, wide = (patient(**order).take(5.0).truth.beats[2].waves for order in ({}, {"qrs_ms": 150.0}))

    assert wide.qrs_ms == pytest.approx(150.0)
    assert wide.t_end_s - wide.qrs_end_s == pytest.approx(usual.t_end_s - usual.qrs_end_s)
    assert wide.pr_ms == pytest.approx(usual.pr_ms)


@pytest.mark.parametrize("qrs_mv", [0.1, 1.0, 4.0])
def test_every_beat_is_as_tall_as_ordered(qrs_mv):
    """Ventricular beats keep their size relative to the usual ones."""
    usual = patient(premature=Premature.BIGEMINY).take(10.0)
    ordered = patient(premature=Premature.BIGEMINY, qrs_mv=qrs_mv).take(10.0)

    for before, after in zip(usual.truth.beats, ordered.truth.beats, strict=True):
        assert after.height_mv[0] / qrs_mv == pytest.approx(
            before.height_mv[0] / usual.truth.beats[0].height_mv[0], rel=0.1
        )


def test_no_p_wave_in_fibrillation_escape_and_ventricular_beats():
    """What has no P wave in the signal has none in the truth; a pacing spike is no part of the QRS complex."""
    for rhythm in (Rhythm.ATRIAL_FIBRILLATION, Rhythm.VENTRICULAR_TACHYCARDIA, Rhythm.JUNCTIONAL_ESCAPE):
        assert all(beat.waves.pr_ms is None for beat in patient(rhythm=rhythm).take(10.0).truth.beats)
    paced = patient(rhythm=Rhythm.PACED).take(10.0).truth.beats[1]
    assert paced.waves.qrs_ms == pytest.approx(160, abs=5)


@pytest.mark.parametrize(
    ("rhythm", "label", "kind", "rate_bpm", "least_ms"),
    [("junctional-escape", "NOD", "N", 46, 80), ("ventricular-escape", "IVR", "V", 34, 150)],
)
def test_escape_rhythms_are_slow_and_named(rhythm, label, kind, rate_bpm, least_ms):
    """Junctional escape is narrow, ventricular escape wide; both without P and at their usual rate."""
    truth = patient(rhythm=Rhythm(rhythm)).take(60.0).truth

    assert {span.label for span in truth.rhythms} == {label}
    assert {beat.kind for beat in truth.beats} == {kind}
    assert 60 / np.mean([b.at_s - a.at_s for a, b in itertools.pairwise(truth.beats)]) == pytest.approx(
        rate_bpm, rel=0.05
    )
    assert least_ms < truth.beats[1].waves.qrs_ms < 2 * least_ms


def test_bundle_branch_block_is_wide_and_only_early_beats_are_in_aberration():
    """With a block every beat is wide and still normal by class; with aberration only the premature ones are."""
    early = {"premature": Premature.SINGLE, "premature_origin": Origin.ATRIAL, "premature_per_min": 12.0}
    block = patient(conduction=Conduction.BUNDLE_BRANCH_BLOCK).take(20.0).truth.beats
    mixed = patient(conduction=Conduction.ABERRANT_PREMATURE, **early).take(60.0).truth.beats

    assert all(beat.waves.qrs_ms > 120 and beat.kind == "N" for beat in block)
    assert {(beat.is_premature, beat.kind, bool(beat.waves.qrs_ms > 120)) for beat in mixed} == {
        (False, "N", False),
        (True, "S", True),
    }


def test_premature_beats_and_their_pauses_are_marked():
    """After a single ventricular beat the pause is compensatory: the two intervals are two usual ones."""
    beats = patient(premature=Premature.SINGLE, premature_per_min=10.0).take(120.0).truth.beats

    premature = [k for k, beat in enumerate(beats[:-1]) if beat.is_premature]

    assert len(premature) >= 15
    for k in premature[1:]:
        assert beats[k].kind == "V"
        assert beats[k + 1].is_after_compensatory_pause
        assert beats[k + 1].at_s - beats[k - 1].at_s == pytest.approx(2 * beats[k - 1].rr_s, rel=0.15)
    assert sum(beat.is_after_compensatory_pause for beat in beats) == len(premature)


def test_breathing_moves_the_ecg_as_far_as_ordered():
    """R amplitude, baseline and rate swing with the breath by the depth that was asked for."""
    person = {"breath_ecg_ratio": 0.15, "breath_baseline_mv": 0.2, "breath_rr_ratio": 0.08}
    signals = patient(person=person, heart_rate_bpm=75.0).take(120.0)
    breath = signals.respiration_ohm[:, 0] / 0.8

    at_s = np.array([beat.at_s for beat in signals.truth.beats[1:]])
    wave = np.interp(at_s, np.arange(len(breath)) / 25.0, breath)
    heights = np.array([beat.height_mv[0] for beat in signals.truth.beats[1:]])
    levels = np.array([signals.ecg_mv[round((s - 0.28) * RATE_HZ), 0] for s in at_s])
    rates = 60.0 / np.array([beat.rr_s for beat in signals.truth.beats[1:]])
    before = np.interp(at_s - 60.0 / 75.0, np.arange(len(breath)) / 25.0, breath)

    assert np.polyfit(wave, heights / heights.mean(), 1)[0] == pytest.approx(0.15, abs=0.02)
    assert np.polyfit(np.interp(at_s - 0.28, np.arange(len(breath)) / 25.0, breath), levels, 1)[0] == pytest.approx(
        0.2, abs=0.02
    )
    assert np.polyfit(before, rates / 75.0, 1)[0] == pytest.approx(0.08, abs=0.02)


@pytest.mark.parametrize("heart_rate_bpm", [50.0, 75.0, 110.0])
def test_pulses_have_foot_peak_and_height_where_the_truth_says(heart_rate_bpm):
    """The tangent foot and the peak are within 9 ms, the height within 6 % of the truth: the dicrotic wave adds to both."""
    signals = patient(heart_rate_bpm=heart_rate_bpm, perfusion_pct=3.0).take(20.0)
    light = signals.ppg[:, 1] / INFRARED_DC - 1.0

    for pulse in signals.truth.pulses[2:-2]:
        near = round(pulse.peak_s * RATE_HZ)
        peak = near - 60 + int(light[near - 60 : near + 60].argmax())
        onset = light[round(pulse.onset_s * RATE_HZ)]
        assert peak / RATE_HZ == pytest.approx(pulse.peak_s, abs=0.009)
        assert light[peak] - onset == pytest.approx(pulse.perfusion_pct / 100.0, rel=0.06)
        assert tangent_s(light - onset, peak, -1, reach_s=0.15) == pytest.approx(pulse.foot_s, abs=0.006)
        assert pulse.beat_at_s < pulse.onset_s < pulse.foot_s < pulse.peak_s < pulse.dicrotic_s


def test_transit_and_dicrotic_wave_can_be_ordered():
    """A transit time of 300 ms moves every onset there."""
    truth = patient(person={"pulse_transit_ms": 300.0, "dicrotic_ratio": 0.6}).take(10.0).truth

    assert all(p.onset_s - p.beat_at_s == pytest.approx(0.3, abs=0.01) for p in truth.pulses)
    assert all(0.02 < p.transit_s - 0.3 < 0.05 for p in truth.pulses)


@pytest.mark.parametrize("spo2_pct", [70.0, 85.0, 97.0])
def test_saturation_of_each_pulse_is_in_the_ratio_of_its_colours(spo2_pct):
    """With the stated curve 110 - 25 R, foot to peak in both colours gives back the saturation within 0.2 %."""
    signals = patient(spo2_pct=spo2_pct, perfusion_pct=1.0).take(15.0)

    for pulse in signals.truth.pulses[1:-1]:
        foot, peak = round(pulse.onset_s * RATE_HZ), round(pulse.peak_s * RATE_HZ)
        swing = signals.ppg[peak] - signals.ppg[foot]
        ratio = (swing[0] / 80_000) / (swing[1] / 100_000)
        assert pulse.spo2_pct == pytest.approx(spo2_pct)
        assert 110.0 - 25.0 * ratio == pytest.approx(spo2_pct, abs=0.5)


def test_breathing_moves_the_pulse_as_far_as_ordered():
    """A ratio of 0.2 makes pulses 20 % taller at the top of a breath than in its middle."""
    signals = patient(person={"breath_pulse_ratio": 0.2, "breath_rr_ratio": 0.0}).take(90.0)
    heights = np.array([pulse.perfusion_pct for pulse in signals.truth.pulses])

    assert np.ptp(heights) / heights.mean() == pytest.approx(0.4, abs=0.06)


def test_stray_light_adds_to_both_colours():
    """The fault lifts the steady light by as much as it was told and leaves the pulse alone."""
    fault = Fault(kind=FaultKind.AMBIENT_LIGHT, at_s=5.0, duration_s=10.0, parameters={"light_counts": 30_000.0})

    lit, dark = patient(faults=(fault,)).take(20.0).ppg, patient().take(20.0).ppg

    assert np.ptp((lit - dark)[6000:14000]) < 1.0
    assert (lit - dark)[10_000] == pytest.approx([30_000, 30_000])
    assert (lit - dark)[:4900].max() == 0.0


def test_breaths_begin_at_the_troughs_of_the_wave():
    """Every trough of the impedance is a breath of the truth and the other way round, within 0.1 s."""
    signals = patient(respiratory_rate_bpm=16.0).take(120.0)
    wave = signals.respiration_ohm[:, 0]

    troughs_s = [k / 25.0 for k in range(1, len(wave) - 1) if wave[k - 1] > wave[k] <= wave[k + 1]]
    breaths = signals.truth.breaths

    assert len(troughs_s) == pytest.approx(32, abs=3)
    inner = [breath for breath in breaths if 0.1 < breath.at_s < 119.9]
    assert [breath.at_s for breath in inner] == pytest.approx(troughs_s[-len(inner) :], abs=0.1)
    for breath in inner:
        height = wave[min(len(wave) - 1, round(breath.peak_s * 25))]
        assert breath.peak_s > 119.9 or height == pytest.approx(0.8 * breath.depth_ratio, abs=0.05)


def test_apnoea_lasts_from_the_last_breath_to_the_first():
    """Between its two ends no breath begins, and the impedance is flat apart from the heart."""
    story = [
        Step(at_s=60.0, respiratory_rate_bpm=0.0),
        Step(at_s=90.0, respiratory_rate_bpm=15.0),
        Step(at_s=100.0, respiratory_rate_bpm=0.0),
        Step(at_s=104.0, respiratory_rate_bpm=15.0),
    ]
    signals = patient(*story, person={"cardiac_impedance_ohm": 0.1}).take(140.0)

    (apnoea,) = signals.truth.apnoeas
    at_s = [breath.at_s for breath in signals.truth.breaths]

    assert 55.0 < apnoea.start_s < 63.0
    assert 90.0 < apnoea.end_s < 100.0
    assert {apnoea.start_s, apnoea.end_s} <= set(at_s)
    assert not [s for s in at_s if apnoea.start_s < s < apnoea.end_s]
    assert 0.08 < np.ptp(signals.respiration_ohm[70 * 25 : 89 * 25]) < 0.25


def test_part_of_an_apnoea_is_known_in_full():
    """Asked in its midst, the truth still says when the last breath was."""
    story = (Step(at_s=60.0, respiratory_rate_bpm=0.0), Step(at_s=75.0, heart_rate_bpm=60.0))

    whole, part = (patient(*story).truth(from_s, 100.0).apnoeas for from_s in (0.0, 80.0))

    assert len(part) == 1
    assert part[0].start_s == pytest.approx(whole[0].start_s, abs=0.01)
    assert 50.0 < part[0].start_s < 64.0


def test_shallow_breaths_are_breaths():
    """At a third of the depth the swing is a third, the rate is the same and there is no apnoea."""
    usual = patient().take(60.0)
    shallow = patient(respiratory_depth_ratio=0.33).take(60.0)

    assert len(shallow.truth.breaths) == len(usual.truth.breaths)
    assert np.ptp(shallow.respiration_ohm) / np.ptp(usual.respiration_ohm) == pytest.approx(0.33, abs=0.01)
    assert not shallow.truth.apnoeas


def test_postures_and_walking_are_in_the_truth():
    """Spans follow each other without a hole, alike ones are one; the cadence is that of the vertical axis."""
    story = [
        Step(at_s=20.0, posture=Posture.STANDING, activity=Activity.WALKING, step_rate_hz=2.2),
        Step(at_s=40.0, heart_rate_bpm=90.0),
        Step(at_s=60.0, activity=Activity.REST),
    ]
    signals = patient(*story).take(80.0)

    spans = [(m.start_s, m.end_s, m.posture.value, m.activity.value, m.step_rate_hz) for m in signals.truth.motions]

    assert spans == [
        (0.0, 20.0, "supine", "rest", None),
        (20.0, 60.0, "standing", "walking", 2.2),
        (60.0, 80.0, "standing", "rest", None),
    ]
    vertical = signals.acceleration_mps2[30 * 50 : 55 * 50, 1]
    power = np.abs(np.fft.rfft(vertical - vertical.mean()))
    assert np.fft.rfftfreq(len(vertical), 0.02)[power.argmax()] == pytest.approx(2.2, abs=0.05)


def magnitude_g(signals):
    return np.linalg.norm(signals.acceleration_mps2, axis=1) / STANDARD_GRAVITY_MPS2


def test_a_fall_is_weightless_then_hard_then_still():
    """Below half a g, then above 2.5 g at the instant the truth names, then lying and still."""
    story = [Step(at_s=20.0, event=Event.FALL)]
    signals = patient(*story, posture=Posture.STANDING, activity=Activity.WALKING).take(40.0)
    (event,) = signals.truth.events
    force = magnitude_g(signals)

    assert event.event is Event.FALL
    assert force[round(event.start_s * 50) : round(event.impact_s * 50)].min() < 0.5
    assert force.max() > 2.5
    assert force.argmax() / 50 == pytest.approx(event.impact_s, abs=0.04)
    assert force[26 * 50 :].std() < 0.03
    assert signals.truth.motions[-1].posture is Posture.RIGHT
    assert signals.acceleration_mps2[35 * 50, 0] < -0.9 * STANDARD_GRAVITY_MPS2


@pytest.mark.parametrize(("event", "least_g", "most_g"), [("jump", 2.5, 4.0), ("sit-down-hard", 1.5, 2.5)])
def test_other_impacts_leave_the_patient_upright(event, least_g, most_g):
    """A jump lands as hard as a fall, a chair is softer; neither ends lying down."""
    signals = patient(Step(at_s=20.0, event=Event(event)), posture=Posture.STANDING).take(40.0)
    (true,) = signals.truth.events
    force = magnitude_g(signals)

    assert least_g < force.max() < most_g
    assert force.argmax() / 50 == pytest.approx(true.impact_s, abs=0.04)
    assert signals.acceleration_mps2[35 * 50, 1] > 0.9 * STANDARD_GRAVITY_MPS2


def test_an_event_happens_once():
    """The next step does not repeat it."""
    story = [Step(at_s=5.0, event=Event.JUMP), Step(at_s=10.0, heart_rate_bpm=80.0)]

    assert len(patient(*story).take(20.0).truth.events) == 1


def test_walking_moves_the_light_with_the_body():
    """The artefact in both colours is the acceleration of the chest a little later, as large as ordered."""
    walking = {"posture": Posture.STANDING, "activity": Activity.WALKING}
    moved = patient(person={"motion_light_ratio": 0.1}, **walking)
    still = patient(person={"motion_light_ratio": 0.0}, **walking)

    moved_signals = moved.take(30.0)
    artefact = moved_signals.ppg / still.take(30.0).ppg - 1.0

    assert artefact[:, 0] == pytest.approx(artefact[:, 1])
    assert artefact[:, 0] == pytest.approx(moved.light_motion(np.arange(30_000) / RATE_HZ), abs=1e-9)
    chest = np.repeat(moved_signals.acceleration_mps2 @ patient_module.LIGHT_PER_AXIS, RATE_HZ // 50)
    lags_ms = np.arange(0, 200, 10)
    likeness = [np.corrcoef(chest[10_000:29_000], artefact[10_000 + lag : 29_000 + lag, 0])[0, 1] for lag in lags_ms]
    # A sample of the acceleration stands for 20 ms, so that it seems 10 ms late itself.
    assert lags_ms[int(np.argmax(likeness))] == pytest.approx(1000 * patient_module.LIGHT_LAG_S - 10, abs=15)
    power = np.abs(np.fft.rfft(artefact[10_000:, 0]))
    assert np.fft.rfftfreq(20_000, 1 / RATE_HZ)[power.argmax()] == pytest.approx(1.8, abs=0.06)
    assert 0.02 < np.ptp(artefact[10_000:, 0]) < 0.2


def wrist(**state):
    scenario = Scenario(steps=(Step(at_s=0.0, **state),))
    return VirtualPatient(scenario, streams=(*patient_module.STREAMS, "wrist", "wrist-motion"))


def test_the_wrist_has_the_same_pulse_weaker_and_earlier():
    """Each foot in the green light is 20 ms before that at the finger, with two fifths of the perfusion."""
    signals = wrist(perfusion_pct=2.0, respiratory_rate_bpm=0.0).take(60.0)
    light = signals.wrist_light[:, 0] / pulse_module.GREEN_DC - 1.0

    for pulse in [each for each in signals.truth.pulses if each.foot_s > 30.0][:-2]:
        near = round((pulse.peak_s - pulse_module.WRIST_EARLIER_S) * 64)
        onset = light[round((pulse.onset_s - pulse_module.WRIST_EARLIER_S) * 64)]
        assert abs(int(light[near - 4 : near + 5].argmax()) - 4) <= 1
        assert light[near] - onset == pytest.approx(0.4 * pulse.perfusion_pct / 100.0, rel=0.15)


def test_a_walking_wrist_swings_once_every_two_steps():
    """Gravity hangs along the forearm, the swing is at half the cadence, and the light follows it."""
    signals = wrist(posture=Posture.STANDING, activity=Activity.WALKING, step_rate_hz=2.0).take(60.0)
    motion = signals.wrist_acceleration_mps2[10 * 32 :]
    light = signals.wrist_light[10 * 64 :, 0]

    assert motion.mean(axis=0) == pytest.approx([-STANDARD_GRAVITY_MPS2, 0, 0], abs=0.3)
    power = np.abs(np.fft.rfft(motion[:, 0] - motion[:, 0].mean()))
    assert np.fft.rfftfreq(len(motion), 1 / 32)[power.argmax()] == pytest.approx(1.0, abs=0.02)
    spectrum = np.abs(np.fft.rfft(light - light.mean()))
    at_hz = np.fft.rfftfreq(len(light), 1 / 64)
    assert spectrum[np.abs(at_hz - 1.0) < 0.03].max() > 0.5 * spectrum[np.abs(at_hz - 2.0) < 0.03].max()
    still = wrist(posture=Posture.STANDING).take(60.0).wrist_light[10 * 64 :, 0]
    assert light.std() > 1.5 * still.std()


def test_the_usual_patient_has_no_wrist():
    """Two more streams are there for those who ask for them."""
    signals = patient().take(1.0)

    assert signals.wrist_light is None
    assert signals.wrist_acceleration_mps2 is None


def test_new_orders_change_nothing_that_was_not_ordered():
    """The heart of a patient beats the same whatever is ordered of its waves: the seed alone decides."""
    plain, ordered = patient().take(20.0), patient(qrs_ms=120.0, qtc_ms=450.0, t_mv=0.1).take(20.0)

    assert [beat.at_s for beat in plain.truth.beats] == [beat.at_s for beat in ordered.truth.beats]
    assert np.array_equal(plain.ppg, ordered.ppg)
