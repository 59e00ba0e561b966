"""The older Contec oximeters: five bytes a frame, no checksum."""

from __future__ import annotations

import itertools

import pytest

from edge.acquisition.devices import contec_5byte
from edge.acquisition.devices.contec_5byte import Contec5ByteDecoder, Contec5ByteSettings
from edge.messages import ReadingStatus
from firmware_bridge.virtual.devices.oximeters import contec_5byte_frame
from tests.acquisition.devices.hearing import hear, hear_in_time


def frame(pleth=51, rate=65, spo2=97):
    return contec_5byte_frame(pleth=pleth, pulse_rate_bpm=rate, spo2_pct=spo2)


@pytest.fixture
def decoder():
    return Contec5ByteDecoder(Contec5ByteSettings(sensor="finger"))


@pytest.mark.parametrize(
    ("line", "rate", "spo2", "pleth"),
    [
        ("85 33 06 41 61", 65.0, 97.0, 51.0),
        ("C5 40 48 16 60", 150.0, 96.0, 64.0),
        ("90 00 20 7F 7F", "sensor-off", "sensor-off", 0.0),
        ("80 00 00 00 00", "not-measured", "not-measured", 0.0),
        ("80 00 20 41 61", "measuring", "measuring", 0.0),
        ("80 00 10 41 61", "device-error", "device-error", 0.0),
        ("80 00 40 7F 7F", "not-measured", "not-measured", 0.0),
        ("80 00 00 7F 61", 127.0, 97.0, 0.0),
        ("80 00 00 41 65", 65.0, "out-of-range", 0.0),
    ],
)
def test_known_frames(decoder, line, rate, spo2, pleth):
    """Captured and derived frames give what the layout says; the pulse rate has eight bits."""
    heard = hear(decoder, bytes.fromhex(line) * 3)

    assert heard.values("pulse_rate_bpm") == [rate]
    assert heard.values("spo2_pct") == [spo2]
    assert heard.samples("pleth") == [pleth] * 3
    assert all((item.value is None) == (item.status is ReadingStatus.INVALID) for item in heard.readings)


def test_finger_out_and_in_again_is_told_once_each(decoder):
    """A condition is told when it changes, before the samples that it concerns."""
    out = contec_5byte_frame(pleth=0, pulse_rate_bpm=127, spo2_pct=127, is_finger_out=True)

    heard = hear(decoder, frame() * 10 + out * 10 + frame() * 10)

    told = [item for item in heard.conditions() if item[0] == "sensor-off"]
    assert told == [("sensor-off", False), ("sensor-off", True), ("sensor-off", False)]
    assert {item.stream for item in heard.statuses if item.condition == "sensor-off"} == {"pleth"}


def test_probe_error_is_the_device_s_trouble(decoder):
    """The bit that says the probe is broken becomes a condition of the whole device."""
    heard = hear(decoder, bytes.fromhex("80 00 10 41 61") * 3)

    assert ("device-error", True) in heard.conditions()


def test_unchanged_values_come_once_a_second(decoder):
    """Sixty frames a second lead to one reading a second, and to one at once where the value changes."""
    heard = hear_in_time(decoder, [frame()] * 300 + [frame(rate=66)] * 30, rate_hz=60)

    assert heard.values("pulse_rate_bpm") == [65.0] * 5 + [66.0]
    assert heard.values("spo2_pct") == [97.0] * 6


def test_value_is_believed_when_three_frames_agree(decoder):
    """One broken bit would be a desaturation that nobody had."""
    broken = frame(spo2=97 - 64)

    heard = hear(decoder, frame() * 10 + broken + frame() * 10 + frame(spo2=90) * 3)

    assert heard.values("spo2_pct") == [97.0, 90.0]


def test_byte_too_many_spoils_one_frame_only(decoder):
    """A byte put into a frame shifts its values: without this check SpO2 would be read from the pulse rate."""
    good = frame(rate=80, spo2=95)
    spoiled = good[:2] + b"\x05" + good[2:]

    heard = hear(decoder, good * 3 + spoiled + good * 3)

    assert set(heard.values("pulse_rate_bpm")) == {80.0}
    assert set(heard.values("spo2_pct")) == {95.0}
    assert len(heard.samples("pleth")) == 6
    assert heard.reasons() == ["long"]


def test_byte_too_few_spoils_one_frame_only(decoder):
    """A frame that lost a byte is dropped as far as it goes; the next one counts."""
    good = frame()

    heard = hear(decoder, good * 3 + good[:2] + good[3:] + good * 3)

    assert heard.reasons() == ["short"]
    assert len(heard.samples("pleth")) == 6
    assert [item.reason for item in heard.gaps] == ["lost-bytes"]
    assert [item.n_missing for item in heard.gaps] == [None]


def test_lone_frame_in_noise_is_none(decoder):
    """One noise byte in two has the start bit: five bytes of the right form prove little."""
    heard = hear(decoder, b"\x11" + frame() + b"\x80\x80")

    assert heard.blocks == []
    assert heard.reasons()[:2] == ["no-start", "unconfirmed"]


def test_pause_is_a_gap_of_unknown_size(decoder):
    """The device numbers nothing: after a second of silence nobody knows how much is missing, and none is invented."""
    hear_in_time(decoder, [frame()] * 60, rate_hz=60, flush=False)

    heard = hear_in_time(decoder, [frame()] * 60, rate_hz=60, start_s=4.0)

    assert [(item.reason, item.n_missing) for item in heard.gaps] == [("stalled", None)]
    assert heard.gaps[0].end_ns - heard.gaps[0].start_ns == pytest.approx(3e9, abs=50e6)
    assert heard.sequences("pleth")[-60:] == list(range(60, 120))
    assert heard.blocks[-1].device_time_ns == pytest.approx(4.9e9, abs=50e6)  # the clock begins anew with it


def test_pause_that_a_busy_host_makes_is_none(decoder):
    """Frames that come late but within a second are taken as whole."""
    hear_in_time(decoder, [frame()] * 60, rate_hz=60, flush=False)

    assert hear_in_time(decoder, [frame()] * 60, rate_hz=60, start_s=1.9).gaps == []


def test_device_time_follows_the_samples(decoder):
    """Without a clock of its own, a sample's device time is the first one's arrival and its index."""
    heard = hear_in_time(decoder, [frame()] * 60, rate_hz=60, start_s=100.0)

    times = [item.device_time_ns for item in heard.blocks]
    assert times[0] == pytest.approx(100e9, abs=50e6)
    assert [late - early for early, late in itertools.pairwise(times)] == [100_000_000] * 9


def test_line_settings_are_odd_parity():
    """Even or no parity gives garbage from this device."""
    assert contec_5byte.LINE.name == "19200 8O1"
