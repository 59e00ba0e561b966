"""The stages of one ECG stream together: what one of them knows must reach the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.ecg_chain import EcgChain, EcgChainSettings
from edge.messages import Beat, Quality
from firmware_bridge.virtual.patient import CHANNELS, VirtualPatient
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario
from tests.conformance.case import block
from tests.features.ecg_signals import ecg, regular

RATE_HZ = 250
LEADS = CHANNELS["ecg"]


def run(values_mv, block_s=0.2):
    """Everything that the chain says of two leads at 250 Hz, shape (n_samples, 2)."""
    chain, out, n = EcgChain(EcgChainSettings()), [], round(block_s * RATE_HZ)
    for first in range(0, len(values_mv), n):
        part = np.ascontiguousarray(values_mv[first : first + n])
        out += chain.push(block(part, sequence=first, start_ns=round(first * 1e9 / RATE_HZ), channels=LEADS))
    return out + chain.flush()


def only(kind, outputs):
    return [item for item in outputs if isinstance(item, kind)]


def second(quality):
    return round(quality.at_ns / 1e9)


def test_a_lead_that_never_showed_beats_does_not_stand_for_the_heart():
    """The good lead is lost; the other is clean and silent, and that is not the silence of the heart."""
    truth = regular(75, 60)
    weak = ecg(truth, 60, qrs_mv=0.1, t_mv=0.02, noise_mv=0.01)
    values = np.stack([ecg(truth, 60), weak], axis=1)
    values[40 * RATE_HZ :, 0] = 0.0

    late = [quality for quality in only(Quality, run(values)) if second(quality) > 45]

    assert {quality.reasons[0] for quality in late} == {"weak-lead"}
    assert not any(quality.is_usable for quality in late)


def test_a_lead_that_showed_beats_stands_for_the_heart_alone():
    """Where the lead that is left showed beats as well, its silence is the heart's: the signal stays usable."""
    truth = regular(75, 40)
    values = np.stack([ecg(truth, 60), ecg(truth, 60, qrs_mv=0.8)], axis=1)
    values[40 * RATE_HZ :, 0] = 0.0

    late = [quality for quality in only(Quality, run(values)) if second(quality) > 45]

    assert all(quality.is_usable for quality in late)


@pytest.mark.parametrize("block_s", [0.2, 1.0])
def test_what_is_found_in_waves_without_beats_counts_for_nothing(block_s):
    """A shaken electrode stays usable for the rule on fibrillation; its 'beats' are suspects to every other rule."""
    faults = (
        Fault(kind=FaultKind.MOTION, at_s=30.0, duration_s=40.0, parameters={"intensity_ratio": 3.0}),
        Fault(kind=FaultKind.NOISE, at_s=30.0, duration_s=40.0, parameters={"rms_mv": 0.5}),
    )
    taken = VirtualPatient(replace(Scenario.simple(heart_rate_bpm=70, seed=1), faults=faults)).take(70.0)

    out = run(np.asarray(taken.ecg_mv), block_s)

    waves = {second(quality) for quality in only(Quality, out) if "waves" in quality.reasons and quality.is_usable}
    in_waves = [beat for beat in only(Beat, out) if {int(beat.at_ns / 1e9), int(beat.at_ns / 1e9) + 1} <= waves]
    assert len(in_waves) > 10
    assert all(beat.is_noise_suspect for beat in in_waves)
