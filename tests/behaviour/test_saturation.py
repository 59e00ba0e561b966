"""What a monitor says of oxygen in the blood: only what it can know, and when it cannot know, that."""

from __future__ import annotations

import pytest

from edge.features.oximetry import GENERIC_CURVE
from edge.messages import Reading, ReadingStatus
from edge.pipeline import PipelineSettings
from edge.signal_chain import SensorTraits
from tests.behaviour import stories
from tests.behaviour.monitor import NS_PER_S, nurse

CALIBRATED = PipelineSettings(traits={"bed": SensorTraits(spo2_calibration=GENERIC_CURVE)})


def told(at_s, spo2_pct):
    return stories.only(stories.desaturation(at_s, spo2_pct=spo2_pct), "ppg")


def test_without_a_calibration_a_saturation_never_alarms():
    """It falls to 76 %, is shown under a name that says it is uncalibrated, and no alert is raised."""
    monitor, truth = nurse(told(40.0, spo2_pct=76.0), 160.0)

    assert truth.pulses[-1].spo2_pct == pytest.approx(76.0, abs=0.1)
    assert monitor.value("spo2_uncalibrated_pct", 150) == pytest.approx(76.0, abs=2.0)
    assert monitor.measurement("spo2_pct", 150) is None
    assert not monitor.conditions()


@pytest.mark.parametrize("spo2_pct", [72.0, 80.0, 88.0, 96.0])
def test_with_the_curve_of_the_sensor_the_saturation_is_right(spo2_pct):
    """Within 2 % from 70 to 100 % (what oximeters promise), half a minute after it settled."""
    monitor, truth = nurse(told(20.0, spo2_pct=spo2_pct), 120.0, settings=CALIBRATED)

    shown = monitor.values("spo2_pct", 95, 117)

    assert None not in shown
    assert shown == pytest.approx([truth.pulses[-1].spo2_pct] * 23, abs=2.0)


def test_a_calibrated_saturation_alarms():
    """Below 90 and then below 80: a medium and a high alert."""
    monitor, _ = nurse(told(40.0, spo2_pct=74.0), 160.0, settings=CALIBRATED)

    (low_s,) = monitor.raised_s("spo2_pct-low")
    (extreme_s,) = monitor.raised_s("spo2_pct-extreme-low")

    assert 60.0 < low_s < 90.0
    assert 60.0 < extreme_s < 110.0


def test_the_saturation_of_a_device_passes_through_and_alarms():
    """What a device computed itself is shown with its status, and its limits count."""
    readings = [
        Reading(
            sensor="clip",
            measure="spo2_pct",
            value=82.0,
            unit="%",
            measured_at_ns=at_s * NS_PER_S + 1,
            status=ReadingStatus.VALID,
        )
        for at_s in range(20, 60)
    ]

    monitor, _ = nurse(stories.story(streams=("ecg",)), 60.0, readings=readings)

    assert monitor.value("spo2_pct", 55) == 82.0
    assert monitor.raised_s("spo2_pct-low")


@pytest.mark.parametrize("story", [stories.cold_hand(40.0), stories.clip_off(40.0, 80.0)])
def test_without_enough_light_there_is_a_reason_instead_of_a_value(story):
    """A cold hand or a clip that fell off: no saturation, no alarm on it, and in the end a technical alert."""
    monitor, _ = nurse(stories.only(story, "ppg"), 125.0, settings=CALIBRATED)

    assert monitor.values("spo2_pct", 75, 118) == [None] * 44
    assert monitor.measurement("spo2_pct", 100).absent
    assert {condition.split(":")[0] for condition in monitor.conditions()} == {"signal-poor"}
