"""The patient under a Bluetooth sensor: any rate, any pieces, the same heart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario

pytest.importorskip("bumble", reason="virtual Bluetooth needs the extra 'simulate' (bumble)")

from firmware_bridge.virtual.ble.body import Body

RATE_HZ = 130.0452
SCENARIO = Scenario.simple(rhythm="sinus", seed=3)


def ecg(body, n_samples, pieces=(), start_s=0.0):
    at_s = start_s + np.arange(n_samples) / RATE_HZ
    return np.concatenate([body.signal("ecg").at(part) for part in np.split(at_s, list(pieces))])


def test_a_signal_is_the_same_in_any_pieces():
    """Bit by bit, however it is asked for."""
    whole = ecg(Body(SCENARIO, ("ecg",)), 2000)

    in_frames = ecg(Body(SCENARIO, ("ecg",)), 2000, pieces=range(73, 2000, 73))

    np.testing.assert_array_equal(whole, in_frames)


def test_a_crystal_that_is_off_samples_the_same_signal():
    """At 130.0452 Hz the strap sees the wave that 2000 Hz shows, but for the noise of the front end."""
    fine = VirtualPatient(replace(SCENARIO, sensor=replace(SCENARIO.sensor, ecg_rate_hz=2000)), streams=("ecg",))
    fine_mv = fine.read("ecg", 12 * 2000)
    at_s = np.arange(1, int(10 * RATE_HZ)) / RATE_HZ

    seen_mv = Body(SCENARIO, ("ecg",)).signal("ecg").at(at_s)

    expected = np.interp(at_s, np.arange(len(fine_mv)) / 2000, fine_mv[:, 0])
    assert np.ptp(expected) > 1.0
    # Two front ends with 8 uV of noise each; the steepest edge moves 0.03 mV in half a sample of 2000 Hz.
    assert np.abs(seen_mv[:, 0] - expected).max() < 0.08
    assert np.sqrt(np.mean((seen_mv[:, 0] - expected) ** 2)) < 0.015


def test_what_was_passed_over_does_not_change_what_comes():
    """A measurement that is started late shows what it would have shown."""
    early = Body(SCENARIO, ("ecg",))
    whole = ecg(early, 3000)
    late = Body(SCENARIO, ("ecg",))
    for at_s in range(1, 15):
        late.signal("ecg").skip_to(float(at_s))

    start = 2000
    tail = ecg(late, 1000, start_s=start / RATE_HZ)

    np.testing.assert_allclose(tail, whole[start:], atol=1e-9)


def test_two_sensors_feel_the_same_heart():
    """Beats and values of two bodies are alike, whether they read signals or not."""
    strap, clip = Body(SCENARIO, ("ecg", "acceleration")), Body(SCENARIO)
    ecg(strap, 1000)

    beats = [[each.at_s for each in body.beats_until(7.0)] for body in (strap, clip)]

    assert beats[0] == beats[1]
    assert len(beats[0]) >= 6
    assert strap.vitals_at(7.5) == clip.vitals_at(7.5)


def test_every_beat_is_felt_once():
    """However often it is asked."""
    body, patient = Body(SCENARIO), VirtualPatient(SCENARIO)

    felt = [beat.at_s for k in range(1, 40) for beat in body.beats_until(k / 2)]

    assert felt == [beat.at_s for beat in patient.truth(0, 19.5).beats]


def test_a_loose_electrode_reaches_the_signal():
    """The scenario's faults spoil what the strap sends."""
    fault = Fault(kind=FaultKind.LEAD_OFF, at_s=2, duration_s=2)
    body = Body(Scenario.simple(faults=(fault,)), ("ecg",))

    values_mv = ecg(body, 1000)[:, 0]

    at_s = np.arange(1000) / RATE_HZ
    assert (values_mv[(at_s > 2.05) & (at_s < 3.95)] > 4.9).all()
    assert (np.abs(values_mv[at_s < 1.95]) < 3.0).all()
    assert body.fault(FaultKind.LEAD_OFF, 3.0, "ecg") is fault
    assert body.fault(FaultKind.LEAD_OFF, 3.0, "ppg") is None
