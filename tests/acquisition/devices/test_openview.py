"""OpenView frames of HealthyPi boards and the AFE4490 breakout."""

from __future__ import annotations

import math
import struct

import pytest

from edge.acquisition.devices import openview
from edge.acquisition.devices.openview import OpenViewDecoder, OpenViewSettings, decode_payload
from edge.messages import ChannelKind
from firmware_bridge.virtual.devices.boards import healthypi_5_payload, openview_frame
from tests.acquisition.devices.hearing import hear, hear_in_time

OV2 = bytes.fromhex("0AFA1600022EFBFFFF2E16000000A0860100C0D40100580E624810000B")
V4 = bytes.fromhex("0AFA14000200FE6400C0D40100A0860100580E106248507800000B")


def sample(ecg=500, *, bioz=5000, red=100_000, infrared=120_000, **more):
    more = {"temperature_c": 36.72, "spo2_pct": 98, "heart_rate_bpm": 72, "respiratory_rate_bpm": 16, **more}
    return openview_frame(healthypi_5_payload(ecg=ecg, bioz=bioz, red=red, infrared=infrared, **more))


@pytest.fixture
def decoder():
    return OpenViewDecoder(OpenViewSettings(sensor="board"))


def test_known_frame_of_a_healthypi_5(decoder):
    """The published layout: ECG -1234, impedance 5678, red 100000, infrared 120000, 36.72 °C, 98 %, 72, 16."""
    heard = hear(decoder, OV2 * 3)

    assert heard.samples("ecg") == [pytest.approx(-1234 * 1000 / 2621440)] * 3
    assert heard.samples("respiration") == [5678.0] * 3
    assert heard.samples("ppg", 0) == [100_000.0] * 3
    assert heard.samples("ppg", 1) == [120_000.0] * 3
    assert heard.values("body_temperature_c") == [36.72]
    assert heard.values("spo2_pct") == [98.0]
    assert heard.values("heart_rate_bpm") == [72.0]
    assert heard.values("respiratory_rate_bpm") == [16.0]
    assert [item.model for item in heard.identities] == ["HealthyPi 5"]


def test_known_frame_of_a_healthypi_v4(decoder):
    """Infrared comes before red, and the blood pressure in the frame is a placeholder that nobody measured."""
    heard = hear(decoder, V4 * 3)

    assert heard.samples("ecg") == [pytest.approx(-512 * 2 * 2420 / 12 / 65536)] * 3
    assert heard.samples("respiration") == [100.0] * 3
    assert heard.samples("ppg", 0) == [100_000.0] * 3
    assert heard.samples("ppg", 1) == [120_000.0] * 3
    assert {item.measure for item in heard.readings} == {
        "spo2_pct",
        "heart_rate_bpm",
        "respiratory_rate_bpm",
        "body_temperature_c",
    }
    assert ("lead-off", False) in heard.conditions()


def test_known_frame_of_an_afe4490(decoder):
    """Ten bytes: two lights, saturation and a pulse rate that is stale where there is no saturation."""
    good = openview_frame(struct.pack("<iiBB", 120_000, 100_000, 97, 75))
    stale = openview_frame(struct.pack("<iiBB", 120_000, 100_000, 0, 75))

    heard = hear(decoder, good * 3 + stale * 3)

    assert heard.samples("ppg", 0) == [100_000.0] * 6
    assert heard.values("pulse_rate_bpm") == [75.0, "not-measured"]
    assert heard.values("spo2_pct") == [97.0, "not-measured"]
    assert {item.stream for item in heard.blocks} == {"ppg"}


def test_older_sketches_send_red_first():
    """The same length with the colours swapped: told by a setting, for nothing in the frame tells it."""
    decoder = OpenViewDecoder(OpenViewSettings(sensor="board", is_red_first=True))

    assert hear(decoder, V4).samples("ppg", 0) == [120_000.0]


def test_channels_are_of_the_kinds_that_the_pipeline_reads(decoder):
    """ECG in mV, two colours of light, breathing."""
    kinds = {channel.kind for stream in hear(decoder, OV2).identities[0].streams for channel in stream.channels}

    assert kinds == {ChannelKind.ECG, ChannelKind.PPG_RED, ChannelKind.PPG_INFRARED, ChannelKind.RESPIRATION}


@pytest.mark.parametrize(
    ("field", "value", "measure", "expected"),
    [
        ("spo2_pct", 0, "spo2_pct", "not-measured"),
        ("spo2_pct", 25, "spo2_pct", "not-measured"),
        ("spo2_pct", 101, "spo2_pct", "out-of-range"),
        ("spo2_pct", 12, "spo2_pct", "out-of-range"),
        ("heart_rate_bpm", 0, "heart_rate_bpm", "not-measured"),
        ("heart_rate_bpm", 255, "heart_rate_bpm", "out-of-range"),
        ("respiratory_rate_bpm", 0, "respiratory_rate_bpm", "not-measured"),
        ("respiratory_rate_bpm", 200, "respiratory_rate_bpm", "out-of-range"),
        ("temperature_c", 0, "body_temperature_c", "not-measured"),
        ("temperature_c", 85.0, "body_temperature_c", "out-of-range"),
        ("temperature_c", -20.0, "body_temperature_c", "out-of-range"),
    ],
)
def test_impossible_values_are_none(decoder, field, value, measure, expected):
    """Zero, the low byte of -999 and what no body has are no values, each with its reason."""
    assert hear(decoder, sample(**{field: value}) * 3).values(measure) == [expected]


def test_lead_off_of_a_healthypi_v4(decoder):
    """The lowest five bits of the last byte, three frames long; the others mean something else."""
    off = V4[:24] + b"\x01" + V4[25:]
    other = V4[:24] + b"\x20" + V4[25:]

    heard = hear(decoder, V4 * 3 + off + V4 * 3 + other * 3 + V4 * 3 + off * 3 + V4 * 3)

    told = [item.is_active for item in heard.statuses if (item.condition, item.stream) == ("lead-off", "ecg")]
    assert told == [False, True, False]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda frame: frame[:10] + frame[11:], "stop"),
        (lambda frame: frame[:10] + b"\x00" + frame[10:], "stop"),
        (lambda frame: frame[:2] + b"\x17" + frame[3:], "length"),
        (lambda frame: frame[:3] + b"\x01" + frame[4:], "length"),
        (lambda frame: frame[:4] + b"\x03" + frame[5:], "type"),
        (lambda frame: b"\x0b" + frame[1:], "no-start"),
        (lambda frame: frame[:-1] + b"\x0c", "stop"),
    ],
    ids=["byte-lost", "byte-added", "length", "length-msb", "type", "start", "stop"],
)
def test_spoiled_frame_is_dropped_alone(decoder, spoil, reason):
    """Without a checksum the frame's form is all there is; the next good frame is not lost with it."""
    heard = hear(decoder, sample() * 3 + spoil(sample(ecg=30_000)) + sample() * 3)

    assert heard.reasons() == [reason]
    assert heard.samples("ecg") == [pytest.approx(500 * 1000 / 2621440)] * 6


def test_spoiled_frame_of_full_length_is_one_missing_sample(decoder):
    """The bytes of a frame were all there: what is missing is known."""
    heard = hear(decoder, sample() * 3 + sample()[:-1] + b"\x0c" + sample() * 3)

    assert heard.gaps == []
    assert heard.sequences("ecg") == [0, 1, 2, 4, 5, 6]
    assert decoder.counters.n_lost_frames == 1


def test_bytes_that_are_no_frame_are_a_gap_of_unknown_size(decoder):
    """Half a frame is missing: perhaps one sample, perhaps a hundred; none is invented."""
    heard = hear(decoder, sample() * 3 + sample()[:12] + sample() * 3)

    assert {(item.stream, item.reason, item.n_missing) for item in heard.gaps} == {
        (stream, "lost-bytes", None) for stream in ("ecg", "respiration", "ppg")
    }
    assert heard.sequences("ecg") == list(range(6))


def test_false_start_in_the_data_hides_no_frame(decoder):
    """0A FA 16 00 02 as light values, and a half frame before a whole one."""
    false = openview_frame(struct.pack("<iiB", 0, 0, 0) + b"\x0a\xfa\x16\x00\x02" + bytes(8))

    heard = hear(decoder, b"\x0a\xfa\x16\x00\x02" + sample() + false + sample())

    assert len(heard.samples("ecg")) >= 2
    assert decoder.counters.n_frames == 3


def test_frame_of_another_length_in_between_is_damage(decoder):
    """One frame that says it is another device is dropped; eight in a row are one."""
    heard = hear(decoder, OV2 * 20 + V4 + OV2 * 20 + V4 * 20)

    assert [item.model for item in heard.identities] == ["HealthyPi 5", "HealthyPi v4"]
    assert heard.reasons() == ["layout"] * 8
    assert {item.reason for item in heard.gaps} == {"stream-changed"}


# --- zeros that stand for "no sample" -------------------------------------------------------------------


def test_single_zero_far_from_the_signal_is_missing(decoder):
    """The firmware fills a frame with zeros when its buffer is empty: a spike that nobody's heart made."""
    heard = hear(decoder, sample(5000) * 5 + sample(0) + sample(5000) * 5)

    ecg = heard.samples("ecg")
    assert len(ecg) == 11
    assert math.isnan(ecg[5])
    assert heard.sequences("ecg") == list(range(11))


@pytest.mark.parametrize(("before", "after"), [(400, -400), (20, 30), (-30, 10)])
def test_zero_that_the_signal_may_have_is_passed_on(decoder, before, after):
    """A steep slope through zero, or a trace along it."""
    assert hear(decoder, sample(before) + sample(0) + sample(after)).samples("ecg")[1] == 0.0


def test_long_run_of_zeros_is_left_out_and_counted(decoder):
    """No converter's noise stands still for nine samples: those are lost, and their number is known."""
    heard = hear_in_time(decoder, [sample()] * 20 + [sample(0)] * 40 + [sample()] * 20, rate_hz=128)

    assert heard.sequences("ecg") == [*range(20), *range(60, 80)]
    assert 0.0 not in heard.samples("ecg")
    assert decoder.counters.n_lost_samples == 40
    assert ("flat", True) not in heard.conditions()


def test_second_of_zeros_is_flat(decoder):
    """A board that sends only zeros measures nothing: a condition, no flat line that looks like asystole."""
    heard = hear_in_time(decoder, [sample()] * 20 + [sample(0)] * 300 + [sample()] * 20, rate_hz=128)

    flat = [item.is_active for item in heard.statuses if (item.condition, item.stream) == ("flat", "ecg")]
    assert flat == [False, True, False]
    assert len(heard.samples("ecg")) == 40
    assert len(heard.samples("ppg")) == 340


def test_zero_light_is_no_light(decoder):
    """Both colours exactly zero is a converter that was not read; even a dark finger has stray light."""
    heard = hear(decoder, sample() * 3 + sample(red=0, infrared=0) + sample() * 3)

    assert heard.sequences("ppg") == [0, 1, 2, 4, 5, 6]
    assert len(heard.samples("ecg")) == 7


def test_old_impedance_is_held_and_not_for_long(decoder):
    """Every second frame repeats the last impedance; one that never comes again is no signal."""
    frames = [sample(bioz=5000 + k, is_bioz_old=bool(k % 2)) for k in range(40)]
    heard = hear(decoder, b"".join(frames), flush=False)
    heard += hear(decoder, sample(bioz=9999, is_bioz_old=True) * 40)

    breathing = heard.samples("respiration")
    assert breathing[:6] == [5000.0, 5000.0, 5002.0, 5002.0, 5004.0, 5004.0]
    assert 9999.0 not in breathing
    assert len(breathing) <= 44


def test_streams_that_nobody_wants_are_left_out():
    """An open ECG input is no trouble where the board is used as an oximeter; its values stay."""
    decoder = OpenViewDecoder(OpenViewSettings(sensor="board", streams=("ppg",)))

    heard = hear_in_time(decoder, [sample(0)] * 300 + [b""] * 300 + [sample(0)] * 20, rate_hz=128)

    assert {item.stream for item in heard.blocks} == {"ppg"}
    assert {item.stream for item in heard.statuses} == {"ppg"}
    assert {item.stream for item in heard.gaps} == {"ppg"}
    assert [info.name for info in heard.identities[0].streams] == ["ppg"]
    assert heard.values("spo2_pct")


# --- silence --------------------------------------------------------------------------------------------


def test_pause_is_a_gap_of_unknown_size_in_every_stream(decoder):
    """There is no sample number: nobody can say how much is missing."""
    hear_in_time(decoder, [sample()] * 128, rate_hz=128, flush=False)

    heard = hear_in_time(decoder, [sample()] * 128, rate_hz=128, start_s=10.0)

    assert {(item.stream, item.reason, item.n_missing) for item in heard.gaps} == {
        (stream, "stalled", None) for stream in ("ecg", "respiration", "ppg")
    }


def test_rate_is_a_setting():
    """Boards differ: 125 Hz where the converter is set so."""
    decoder = OpenViewDecoder(OpenViewSettings(sensor="board", rate_hz=125.0))

    heard = hear_in_time(decoder, [sample()] * 32, rate_hz=125)

    assert {item.nominal_rate_hz for item in heard.blocks} == {125.0}
    assert heard.blocks[-1].device_time_ns - heard.blocks[0].device_time_ns == 128_000_000


def test_payload_of_another_length_is_misuse():
    """A caller's mistake, not the device's."""
    with pytest.raises(ValueError, match="22, 20, 10"):
        decode_payload(bytes(12))


def test_line_settings():
    """USB serial: the speed is without meaning there, and right on the Raspberry Pi's UART."""
    assert openview.LINE.name == "115200 8N1"
