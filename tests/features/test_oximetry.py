"""Oximetry finds the ratio of ratios that was put into the light, and the saturation of a table."""

from __future__ import annotations

import numpy as np
import pytest

from edge.conditioning.ppg_quality import PpgQuality
from edge.features.oximetry import GENERIC_CURVE, Oximetry, OximetrySettings, saturation_pct
from edge.features.pulse_beats import PulseBeats
from edge.messages import SensorStatus, Tick
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import PatientSettings, Scenario, Step
from tests.features.pulse_signals import INFRARED, PPG, RED, blocks, feet_at, ppg

RATE_HZ = 100.0
TABLE = ((0.4, 100.0), (1.0, 84.0), (1.6, 70.0))


def light(
    ratio: float | np.ndarray, *, perfusion: float = 0.02, duration_s: float = 30.0, noise: float = 20.0, seed: int = 0
) -> np.ndarray:
    """Red and infrared counts with breathing and noise, shape (n_samples, 2)."""
    rng = np.random.default_rng(seed)
    pulse = ppg(feet_at(75.0, duration_s), duration_s, RATE_HZ)
    time_s = np.arange(len(pulse)) / RATE_HZ
    breath = 0.005 * np.sin(2 * np.pi * 0.25 * time_s)
    clean = np.column_stack(
        [80_000 * (1 + ratio * perfusion * pulse + breath), 100_000 * (1 + perfusion * pulse + breath)]
    )
    return clean + noise * rng.standard_normal(clean.shape)


def estimates(values: np.ndarray, settings: OximetrySettings | None = None, channels=(RED, INFRARED), before=()):
    """What the chain of quality, pulses and oximetry says at every tick, by measure."""
    quality, beats, oximetry = PpgQuality(), PulseBeats(), Oximetry(settings or OximetrySettings())
    for status in before:
        quality.push(status)
    out: dict[str, list] = {}
    for block in blocks(values, RATE_HZ, channels=channels):
        for verdict in quality.push(block):
            oximetry.push(verdict)
            beats.push(verdict)
        oximetry.push(block)
        for pulse in beats.push(block):
            oximetry.push(pulse)
        if block.end_ns % 10**9 == 0:
            for estimate in oximetry.push(Tick(at_ns=block.end_ns)):
                out.setdefault(estimate.measure, []).append(estimate)
    return out


@pytest.mark.parametrize("ratio", [0.4, 0.5, 0.7, 1.0, 1.3, 1.6])
def test_the_ratio_of_ratios_is_found(ratio):
    """Red over infrared, not the other way round, within 2 % at a perfusion of 2 %."""
    found = estimates(light(ratio))["r_ratio"]

    assert [estimate.value for estimate in found[10:]] == pytest.approx([ratio] * (len(found) - 10), rel=0.02)


def test_without_a_table_the_measure_has_another_name():
    """An uncalibrated value can never be taken for a saturation that limits look at."""
    found = estimates(light(0.8))

    assert set(found) == {"spo2_uncalibrated_pct", "r_ratio"}
    last = found["spo2_uncalibrated_pct"][-1]
    assert (last.method, last.unit) == ("uncalibrated", "%")
    assert last.value == pytest.approx(90.0, abs=0.5)


def test_with_a_table_its_lines_are_followed():
    """Between two points of the table the value lies on the line."""
    found = estimates(light(0.7), OximetrySettings(calibration=TABLE))

    assert set(found) == {"spo2_pct", "r_ratio"}
    assert found["spo2_pct"][-1].value == pytest.approx(92.0, abs=0.5)
    assert found["spo2_pct"][-1].method == "calibrated"


def test_outside_of_the_table_there_is_no_value():
    """A ratio beyond the last point is not extrapolated; the ratio itself is still told."""
    found = estimates(light(1.9), OximetrySettings(calibration=TABLE))

    assert (found["spo2_pct"][-1].value, found["spo2_pct"][-1].absent) == (None, "out-of-calibration")
    assert found["spo2_pct"][-1].quality == 0.0
    assert found["r_ratio"][-1].value == pytest.approx(1.9, rel=0.02)


def test_noise_at_the_upper_end_is_no_loss_of_the_value():
    """A little below the smallest ratio the end of the table holds."""
    assert saturation_pct(0.38, GENERIC_CURVE, edge_pct=1.0) == 100.0
    assert saturation_pct(0.35, GENERIC_CURVE, edge_pct=1.0) is None
    assert saturation_pct(1.63, GENERIC_CURVE, edge_pct=1.0) == 70.0
    assert saturation_pct(1.65, GENERIC_CURVE, edge_pct=1.0) is None


def test_below_a_perfusion_of_three_per_mille_there_is_no_value():
    """A weak pulse is counted, but no saturation is made of it."""
    found = estimates(light(0.6, perfusion=0.002, noise=2.0))["spo2_uncalibrated_pct"]

    assert {estimate.absent for estimate in found[10:]} == {"low-perfusion"}


def test_colours_that_disagree_are_motion():
    """Where red does not follow infrared there is no ratio."""
    values = light(0.6)
    values[:, 0] += 2000 * np.sin(2 * np.pi * 1.7 * np.arange(len(values)) / RATE_HZ)

    found = estimates(values)["spo2_uncalibrated_pct"]

    assert {estimate.absent for estimate in found[10:]} == {"motion"}


def test_a_fall_of_the_saturation_is_followed_within_fifteen_seconds():
    """From 97.5 to 85 %: the new value stands 15 s later."""
    ratio = np.where(np.arange(6000) < 3000, 0.5, 1.0)

    found = estimates(light(ratio, duration_s=60.0))["spo2_uncalibrated_pct"]

    assert found[28].value == pytest.approx(97.5, abs=0.5)
    assert found[44].value == pytest.approx(85.0, abs=0.5)


def test_a_detached_probe_gives_no_value():
    """What the device says of its probe counts."""
    off = SensorStatus(sensor="finger", stream="ppg", condition="lead-off", is_active=True, at_ns=0)

    found = estimates(light(0.6), before=[off])["spo2_uncalibrated_pct"]

    assert {estimate.absent for estimate in found[3:]} == {"lead-off"}


def test_one_colour_is_no_oximeter():
    """A stream without red and infrared is not mentioned."""
    assert estimates(light(0.6)[:, 1], channels=(PPG,)) == {}


@pytest.mark.parametrize(
    "calibration",
    [((0.4, 100.0),), ((0.4, 100.0), (0.4, 90.0)), ((0.4, 90.0), (0.8, 95.0)), ((0.4, 101.0), (0.8, 95.0)), ()],
)
def test_a_table_that_does_not_fall_is_refused(calibration):
    """A saturation that rises with R comes from a ratio upside down."""
    with pytest.raises(ValueError, match="expected"):
        OximetrySettings(calibration=calibration)


@pytest.mark.parametrize("spo2_pct", [70.0, 80.0, 88.0, 94.0, 98.0, 100.0])
def test_the_virtual_patient_is_measured_within_one_percent(spo2_pct):
    """With the table of its front end the saturation is right from 70 to 100 %."""
    scenario = Scenario(patient=PatientSettings(seed=7), steps=(Step(at_s=0.0, spo2_pct=spo2_pct, perfusion_pct=1.0),))
    values = VirtualPatient(scenario).take(30.0)
    assert values.ppg_rate_hz == RATE_HZ

    found = estimates(values.ppg, OximetrySettings(calibration=GENERIC_CURVE))["spo2_pct"]

    assert [estimate.value for estimate in found[14:]] == pytest.approx([spo2_pct] * (len(found) - 14), abs=1.0)
