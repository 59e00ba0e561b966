"""Stories of a virtual patient in which one thing happens, for the tests of what a monitor says of it.

Each function returns a `Scenario`; the truth about it comes with its signals (`firmware_bridge.virtual.truth`).
"""

from __future__ import annotations

from dataclasses import replace

from firmware_bridge.virtual.scenario import (
    Activity,
    Event,
    Fault,
    FaultKind,
    PatientSettings,
    Posture,
    Scenario,
    SensorSettings,
    Step,
)

ALL_STREAMS = SensorSettings().streams
HEART_IN_IMPEDANCE_OHM = 0.1
"""A usual size: breathing moves the chest by +-0.8 Ohm."""


def story(*later, seed=1, faults=(), streams=ALL_STREAMS, person=None, **state):
    """Return a story: what is true from the beginning, then steps and faults."""
    return Scenario(
        patient=PatientSettings(seed=seed, **({"cardiac_impedance_ohm": HEART_IN_IMPEDANCE_OHM} | (person or {}))),
        sensor=SensorSettings(streams=tuple(streams)),
        steps=(Step(at_s=0.0, **state), *later),
        faults=tuple(faults),
    )


def only(scenario, *streams):
    """Return the story as a sensor with fewer signals tells it: what is not needed is not computed."""
    return replace(scenario, sensor=replace(scenario.sensor, streams=streams))


# --- breathing ---------------------------------------------------------------------------------------------


def apnoea(at_s=60.0, duration_s=40.0, *, rate_bpm=14.0, depth_ratio=1.0, cardiac_ohm=HEART_IN_IMPEDANCE_OHM, seed=1):
    """Breathing stops without any effort and comes back; the heart goes on and moves the chest a little."""
    return story(
        Step(at_s=at_s, respiratory_rate_bpm=0.0, note="Central apnoea"),
        Step(at_s=at_s + duration_s, respiratory_rate_bpm=rate_bpm, note="Breathing again"),
        seed=seed,
        respiratory_rate_bpm=rate_bpm,
        respiratory_depth_ratio=depth_ratio,
        person={"cardiac_impedance_ohm": cardiac_ohm},
    )


def short_pauses(*, seed=1):
    """Breathing pauses for less than ten seconds, again and again: no apnoea."""
    steps = []
    for at_s in range(40, 160, 30):
        steps += [Step(at_s=float(at_s), respiratory_rate_bpm=0.0), Step(at_s=at_s + 5.0, respiratory_rate_bpm=14.0)]
    return story(*steps, seed=seed)


def shallow_breathing(depth_ratio=0.3, *, at_s=60.0, seed=1):
    """Breaths become shallow and stay regular: no apnoea."""
    return story(Step(at_s=at_s, respiratory_depth_ratio=depth_ratio), seed=seed)


def detached_electrode(at_s=60.0, duration_s=60.0, *, seed=1):
    """The electrodes of ECG and respiration come off while everything is well."""
    return story(seed=seed, faults=(Fault(kind=FaultKind.LEAD_OFF, at_s=at_s, duration_s=duration_s),))


# --- movement ----------------------------------------------------------------------------------------------


def fall(at_s=60.0, *, posture=Posture.RIGHT, seed=1):
    """Somebody walks, falls and lies still."""
    return story(
        Step(at_s=at_s, event=Event.FALL, posture=posture, note="Falls"),
        seed=seed,
        posture=Posture.STANDING,
        activity=Activity.WALKING,
    )


def fall_and_up_again(at_s=60.0, *, up_after_s=5.0, seed=1):
    """Somebody stumbles, is up again at once and walks on."""
    return story(
        Step(at_s=at_s, event=Event.FALL),
        Step(at_s=at_s + up_after_s, posture=Posture.STANDING, activity=Activity.WALKING),
        seed=seed,
        posture=Posture.STANDING,
        activity=Activity.WALKING,
    )


def jump(at_s=60.0, *, seed=1):
    """Somebody jumps once and stands still."""
    return story(Step(at_s=at_s, event=Event.JUMP), seed=seed, posture=Posture.STANDING)


def hard_landing_on_a_chair(at_s=60.0, *, seed=1):
    """Somebody walks, drops into a chair and sits still."""
    return story(
        Step(at_s=at_s, event=Event.SIT_DOWN_HARD), seed=seed, posture=Posture.STANDING, activity=Activity.WALKING
    )


def going_to_bed(at_s=60.0, *, seed=1):
    """Somebody walks, lies down gently and lies still."""
    return story(
        Step(at_s=at_s, activity=Activity.REST, posture=Posture.SITTING),
        Step(at_s=at_s + 8.0, posture=Posture.SUPINE),
        seed=seed,
        posture=Posture.STANDING,
        activity=Activity.WALKING,
    )


def walk(at_s=60.0, duration_s=60.0, *, step_rate_hz=1.8, motion_light_ratio=0.05, heart_rate_bpm=85.0, seed=1):
    """Somebody stands, walks and stands again; the steps are in the light as well."""
    return story(
        Step(at_s=at_s, activity=Activity.WALKING, step_rate_hz=step_rate_hz),
        Step(at_s=at_s + duration_s, activity=Activity.REST),
        seed=seed,
        posture=Posture.STANDING,
        heart_rate_bpm=heart_rate_bpm,
        person={"motion_light_ratio": motion_light_ratio},
    )


# --- saturation --------------------------------------------------------------------------------------------


def desaturation(at_s=60.0, *, spo2_pct=76.0, perfusion_pct=2.0, seed=1):
    """The saturation falls far below every limit."""
    return story(Step(at_s=at_s, spo2_pct=spo2_pct), seed=seed, perfusion_pct=perfusion_pct)


def cold_hand(at_s=60.0, *, perfusion_pct=0.05, seed=1):
    """The finger is hardly perfused any more: there is a pulse, but too little of it."""
    return story(Step(at_s=at_s, perfusion_pct=perfusion_pct), seed=seed)


def clip_off(at_s=60.0, duration_s=60.0, *, seed=1):
    """The finger clip comes off."""
    fault = Fault(kind=FaultKind.LEAD_OFF, stream="ppg", at_s=at_s, duration_s=duration_s)
    return story(seed=seed, faults=(fault,))


# --- everything is poor ------------------------------------------------------------------------------------


def poor_signal(at_s=60.0, duration_s=120.0, *, rms_mv=0.5, intensity_ratio=3.0, seed=1):
    """The patient beats and breathes well under noise and motion in which nobody could see it."""
    faults = (
        Fault(kind=FaultKind.NOISE, at_s=at_s, duration_s=duration_s, parameters={"rms_mv": rms_mv}),
        Fault(kind=FaultKind.MOTION, at_s=at_s, duration_s=duration_s, parameters={"intensity_ratio": intensity_ratio}),
    )
    return story(seed=seed, faults=faults)
