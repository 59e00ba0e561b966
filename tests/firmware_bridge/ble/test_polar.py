"""The virtual ECG strap without a link: what it answers, and when its samples were taken."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest

from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Scenario

pytest.importorskip("bumble", reason="virtual Bluetooth needs the extra 'simulate' (bumble)")

from firmware_bridge.virtual.ble.body import Body
from firmware_bridge.virtual.ble.polar import UNSET_CLOCK_NS, PolarData
from firmware_bridge.virtual.ble.services import Wearing

SCENARIO = Scenario.simple(seed=7)
START_ECG = "02000001820001010e00"
START_ACCELERATION = "02020001c8000101100002010200"
RATE_HZ = 130.0452


class Strap:
    """The service with a hand on its clock and its control point."""

    def __init__(self, **options) -> None:
        self.now_s, self.sent, self.wearing = 0.0, [], Wearing()
        self.part = PolarData(Body(SCENARIO, ("ecg", "acceleration")), self.wearing, **options)
        self.part.attach(lambda target, data, n: self.sent.append((str(target.uuid), data, n)), lambda: self.now_s)

    def ask(self, hexadecimal, mtu=247):
        """Write to the control point; return the answer."""
        (control, _) = self.part.services[0].characteristics
        control.value.write(SimpleNamespace(att_mtu=mtu), bytes.fromhex(hexadecimal))
        return self.sent.pop()[1].hex()

    def run_until(self, at_s):
        """Let time pass; return the frames."""
        while self.part.due_s <= at_s:
            self.now_s = self.part.due_s
            self.part.act(self.now_s)
        self.now_s = at_s
        frames, self.sent = [data for _, data, _ in self.sent], []
        return frames


def samples(frames, kind, width, n_columns):
    """Return the instant of each frame's last sample in the story, and all values."""
    mine = [frame for frame in frames if frame[0] == kind]
    stamps_s = [(struct.unpack_from("<Q", frame, 1)[0] - UNSET_CLOCK_NS) * 1e-9 for frame in mine]
    values = [
        int.from_bytes(frame[k : k + width], "little", signed=True)
        for frame in mine
        for k in range(10, len(frame), width)
    ]
    return np.array(stamps_s), np.array(values).reshape(-1, n_columns)


def test_timestamps_say_when_the_last_sample_was_taken():
    """By them, every R peak lies where the patient's heart beat, within half a sample."""
    strap = Strap()
    strap.run_until(3.3)
    assert strap.ask(START_ECG) == "f00200000000"

    stamps_s, values = samples(strap.run_until(33.0), 0, 3, 1)

    at_s = np.concatenate([stamp - np.arange(72, -1, -1) / RATE_HZ for stamp in stamps_s])
    beats = [beat.at_s for beat in VirtualPatient(SCENARIO).truth(4, 32).beats]
    assert len(beats) > 25
    for beat_s in beats:
        near = np.flatnonzero(np.abs(at_s - beat_s) < 0.1)
        peak_s = at_s[near[np.argmax(values[near, 0])]]
        assert abs(peak_s - beat_s) <= 0.6 / RATE_HZ


def test_the_clock_of_the_strap_can_run_fast():
    """200 ppm are 2 ms in ten seconds of stamps, while the samples stay the patient's."""
    true, fast = Strap(), Strap(clock_ppm=200.0)
    frames = []
    for strap in (true, fast):
        strap.ask(START_ECG)
        frames.append(samples(strap.run_until(10.0), 0, 3, 1))

    assert (frames[1][0] - frames[0][0]) == pytest.approx(frames[0][0] * 200e-6, abs=1e-7)
    np.testing.assert_array_equal(frames[0][1], frames[1][1])


def test_acceleration_comes_in_thousandths_of_gravity():
    """At rest on the back the whole of gravity is on one axis; 36 samples of three axes fill a frame."""
    strap = Strap()
    assert strap.ask(START_ACCELERATION) == "f00202000000"

    frames = strap.run_until(5.0)

    assert {len(frame) for frame in frames} == {10 + 36 * 6}
    stamps_s, values = samples(frames, 2, 2, 3)
    assert np.linalg.norm(values, axis=1) == pytest.approx(1000, abs=60)
    assert np.diff(stamps_s) == pytest.approx(36 / (200 * RATE_HZ / 130), abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("0100", "f0010000000001820001010e00"),
        ("0102", "f0010200000004190032006400c800010110000203020004000800"),
        ("0101", "f001010300"),
        ("0900", "f009000100"),
        ("0300", "f003000600"),
        ("02000001000101010e00", "f002000500"),
        ("0200000182", "f002000500"),
        ("", "f000ff0100"),
    ],
)
def test_every_request_has_an_answer(asked, answer):
    """Known settings, and an error number for what is unknown, unsupported, not running or not offered."""
    assert Strap().ask(asked) == answer


def test_measurements_end_with_stop_with_the_link_and_by_themselves():
    """After each of the three no frame comes."""
    strap = Strap()
    strap.ask(START_ECG)
    assert strap.run_until(2.0)

    assert strap.ask("0300") == "f003000000"
    assert not strap.run_until(4.0)
    strap.ask(START_ECG)
    strap.part.connection_ended()
    assert not strap.run_until(6.0)
    strap.ask(START_ECG)
    strap.part.stop_by_itself()
    assert [data.hex() for _, data, _ in strap.sent] == ["0100"]
    assert strap.run_until(8.0) == [bytes.fromhex("0100")]


def test_a_strap_in_the_hand_sees_no_heart():
    """Taken off, the samples go on and show nothing."""
    strap = Strap()
    strap.ask(START_ECG)
    strap.wearing.is_taken_off = True

    _, values = samples(strap.run_until(3.0), 0, 3, 1)

    assert len(values) >= 300
    assert not values.any()
