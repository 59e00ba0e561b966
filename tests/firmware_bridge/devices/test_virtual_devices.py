"""The virtual counterparts of serial devices: what they send, and how they answer."""

from __future__ import annotations

import numpy as np
import pytest

from edge.messages import ReadingStatus
from firmware_bridge.virtual.devices.boards import BANNER, VirtualCyton, VirtualHealthyPi4, VirtualHealthyPi5
from firmware_bridge.virtual.devices.oximeters import VirtualContec5Byte, VirtualContecV7, VirtualNonin
from firmware_bridge.virtual.devices.table import DEVICES
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario
from tests.acquisition.devices.every_device import DEVICES as CODECS
from tests.acquisition.devices.hearing import Heard, hear

S = 1_000_000_000
MODULES = {device.name.removesuffix("_7").removesuffix("_2"): device for device in CODECS}
each_device = pytest.mark.parametrize("name", DEVICES)


def talk(device, decoder, duration_s, *, step_s=0.1, start_s=0.0):
    """Let device and decoder talk to each other; everything that the decoder said."""
    heard = Heard()
    wanted = decoder.greeting()
    for k in range(1, round(duration_s / step_s) + 1):
        at_ns = round((start_s + k * step_s) * S)
        data = device.advance(at_ns) + b"".join(device.receive(each.data) for each in wanted)
        if data:
            heard += hear(decoder, data, at_s=at_ns / S, flush=False)
        wanted = decoder.requests(at_ns)
    return heard


@each_device
def test_decoder_and_device_understand_each_other(name):
    """Samples without a hole, the patient's values, nothing corrupt."""
    device = DEVICES[name](Scenario.simple(heart_rate_bpm=150))

    heard = talk(device, MODULES[name].make(), 30.0)

    stream = MODULES[name].stream
    numbers = heard.sequences(stream)[-round(20 * MODULES[name].rate_hz) :]  # after the dialogue
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) == 20 * MODULES[name].rate_hz
    assert heard.corrupt == []
    rates = [item.value for item in heard.readings if item.measure in {"pulse_rate_bpm", "heart_rate_bpm"}]
    assert name == "cyton" or 145 < rates[-1] < 155


@each_device
def test_steps_of_any_size_give_the_same_bytes(name):
    """Two runs of a scenario are alike to the last bit."""

    def line(step_s):
        device = DEVICES[name](Scenario.simple(faults=(Fault(kind=FaultKind.CORRUPTION, at_s=4.0),)))
        out = device.advance(S)
        out += b"".join(device.receive(item.data) for item in MODULES[name].make().greeting())
        out += b"".join(device.advance(round(k * step_s * S)) for k in range(int(1 / step_s), int(6 / step_s)))
        return out + device.advance(6 * S)

    assert line(0.02) == line(0.5)


@each_device
def test_time_does_not_go_back(name):
    """Misuse."""
    device = DEVICES[name](Scenario.simple())
    device.advance(S)

    with pytest.raises(ValueError, match="expected to_ns"):
        device.advance(S - 1)


@each_device
def test_pulled_cable_is_silence_and_forgetting(name):
    """Nothing goes either way while the cable is out; afterwards the device is as if just switched on."""
    fault = Fault(kind=FaultKind.DISCONNECT, at_s=5.0, duration_s=5.0)
    device = DEVICES[name](Scenario.simple(faults=(fault,)))
    talk(device, MODULES[name].make(), 5.0)

    assert not device.is_connected
    assert device.receive(b"\x7d\x81\xa1") == b""
    silent = device.advance(round(9.9 * S))
    assert silent == b""
    device.advance(12 * S)
    assert device.is_connected
    assert device.is_streaming == (name not in {"cyton", "contec_cms50_v7"})


def test_finger_out_is_told_by_every_oximeter():
    """Each in its own way; the decoders say the same of all."""
    fault = Fault(kind=FaultKind.LEAD_OFF, at_s=5.0, duration_s=5.0, stream="ppg")
    for make, name in (
        (VirtualContec5Byte, "contec_cms50"),
        (VirtualContecV7, "contec_cms50_v7"),
        (VirtualNonin, "nonin"),
    ):
        heard = talk(make(Scenario.simple(faults=(fault,))), MODULES[name].make(), 15.0)

        told = [item.is_active for item in heard.statuses if item.condition == "sensor-off"]
        assert told == [False, True, False], name
        assert "sensor-off" in heard.values("spo2_pct")


def test_loose_electrode_of_a_healthypi_5_is_flat_and_no_asystole():
    """Its firmware sends zeros then: no flat line is passed on."""
    fault = Fault(kind=FaultKind.LEAD_OFF, at_s=5.0, duration_s=5.0, stream="ecg")

    heard = talk(VirtualHealthyPi5(Scenario.simple(faults=(fault,))), MODULES["openview"].make(), 15.0)

    flat = [item.is_active for item in heard.statuses if (item.condition, item.stream) == ("flat", "ecg")]
    assert flat == [False, True, False]
    ecg = np.array(heard.samples("ecg"))
    assert len(ecg) == pytest.approx(10 * 128, abs=140)
    assert len(heard.samples("ppg")) == pytest.approx(15 * 128, abs=20)


def test_healthypi_v4_says_that_an_electrode_is_off():
    """Its rate is found to be 125, its ECG has the patient's height, and the lead-off bits become a condition."""
    fault = Fault(kind=FaultKind.LEAD_OFF, at_s=15.0, duration_s=5.0, stream="ecg")
    scenario = Scenario.simple(heart_rate_bpm=90, faults=(fault,))

    heard = talk(VirtualHealthyPi4(scenario), MODULES["openview"].make(), 30.0)

    assert heard.identities[0].model == "HealthyPi v4"
    assert {item.nominal_rate_hz for item in heard.blocks} == {125.0}
    told = [item.is_active for item in heard.statuses if (item.condition, item.stream) == ("lead-off", "ecg")]
    assert told == [False, True, False]
    same = talk(VirtualHealthyPi5(scenario), MODULES["openview"].make(), 12.0)
    height_mv = [np.ptp(said.samples("ecg")[256:1200]) for said in (heard, same)]
    assert height_mv[0] == pytest.approx(height_mv[1], rel=0.1)
    assert 85 < [value for value in heard.values("heart_rate_bpm") if isinstance(value, float)][-1] < 95
    assert not [item for item in heard.readings if "mmhg" in item.measure]


def test_contec_stops_after_half_a_minute_unless_asked_again():
    """As some firmware does; the decoder asks in time."""
    device = VirtualContecV7(Scenario.simple())
    device.receive(bytes.fromhex("7d81a1808080808080"))
    device.advance(0)
    device.receive(bytes.fromhex("7d81a1808080808080"))
    device.advance(40 * S)
    assert not device.is_streaming

    heard = talk(VirtualContecV7(Scenario.simple()), MODULES["contec_cms50_v7"].make(), 70.0)

    assert len(heard.samples("pleth")) > 68 * 60


def test_nonin_declines_a_format_that_it_does_not_know():
    """NAK, and the decoder is content with the older one."""
    device = VirtualNonin(Scenario.simple(), formats=(2,))

    heard = talk(device, MODULES["nonin"].make(), 10.0)

    assert {item.model for item in heard.identities} == {"Nonin (format 2)"}
    assert len(device.heard) == 1


def test_nonin_questions_its_values_while_the_patient_moves():
    """Artifacts are shown pulse by pulse; every value in between is questionable, and none before and after."""
    fault = Fault(kind=FaultKind.MOTION, at_s=15.0, duration_s=10.0)
    device = VirtualNonin(Scenario.simple(heart_rate_bpm=70, faults=(fault,)))

    heard = talk(device, MODULES["nonin"].make(), 40.0)

    questioned = [item for item in heard.readings if item.status is ReadingStatus.QUESTIONABLE]
    valid_s = [item.measured_at_ns / S for item in heard.readings if item.status is ReadingStatus.VALID]
    assert len(questioned) >= 10
    assert all(14.5 < item.measured_at_ns / S < 28.0 for item in questioned)
    assert not [at_s for at_s in valid_s if 17.0 < at_s < 25.0]
    assert valid_s[-1] > 38.0


def test_nonin_changes_its_format_when_asked():
    """ACK, then frames of sixteen bits."""
    device = VirtualNonin(Scenario.simple())

    heard = talk(device, MODULES["nonin"].make(), 10.0)

    assert heard.identities[-1].model == "Nonin (format 7)"
    assert device.heard == [bytes.fromhex("0270040207017e03")]


def test_cyton_says_who_it_is_and_waits_to_be_started():
    """Reset, text, start."""
    device = VirtualCyton(Scenario.simple())
    device.advance(S)
    device.receive(b"sv")

    assert device.advance(4 * S) == BANNER
    device.receive(b"b")
    assert len(device.advance(5 * S)) == 250 * 33


def test_cyton_that_restarts_is_started_again():
    """A firmware reset in the middle: the decoder hears nothing for two seconds and starts it."""
    fault = Fault(kind=FaultKind.FIRMWARE_RESET, at_s=8.0)
    device = VirtualCyton(Scenario.simple(faults=(fault,)))

    heard = talk(device, MODULES["cyton"].make(), 20.0)

    assert device.heard.count(b"b") == 2
    assert len(heard.samples("ecg")) > 13 * 250


@each_device
def test_lost_and_broken_frames_never_make_a_value(name):
    """A bad contact for ten seconds: gaps and counts, and only values that the patient had."""
    faults = (
        Fault(kind=FaultKind.CORRUPTION, at_s=10.0, parameters={"probability": 0.2}),
        Fault(kind=FaultKind.FRAME_LOSS, at_s=10.0, parameters={"probability": 0.1}),
    )
    device = DEVICES[name](Scenario.simple(heart_rate_bpm=80, faults=faults))
    decoder = MODULES[name].make()

    heard = talk(device, decoder, 30.0)

    assert sum(decoder.counters.n_corrupt.values()) == len(heard.corrupt) > 50
    limits = {
        "spo2_pct": (90, 100),
        "pulse_rate_bpm": (70, 90),
        "heart_rate_bpm": (70, 90),
        "respiratory_rate_bpm": (5, 30),
        "body_temperature_c": (36, 38),
    }
    for item in heard.readings:
        low, high = limits[item.measure]
        assert item.value is None or low <= item.value <= high, item
