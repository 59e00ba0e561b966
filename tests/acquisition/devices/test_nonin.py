"""Nonin data formats 2 and 7: 25 frames a packet, values spread over them."""

from __future__ import annotations

import pytest

from edge.acquisition.devices import nonin
from edge.acquisition.devices.nonin import NoninDecoder, NoninSettings, select_format
from edge.messages import ReadingStatus
from firmware_bridge.virtual.devices.oximeters import nonin_data, nonin_frame
from tests.acquisition.devices.hearing import NS_PER_S, hear, hear_in_time


def packet(rate=72, spo2=97, *, data_format=2, status=0x80, pleth=100, **data):
    values = nonin_data(rate, spo2, **data)
    return [
        nonin_frame(status | (1 if k == 0 else 0), pleth + k, value, data_format=data_format)
        for k, value in enumerate(values)
    ]


@pytest.fixture
def decoder():
    return NoninDecoder(NoninSettings(sensor="finger"))


def test_known_packet(decoder):
    """The published frames: pulse rate 72, SpO2 97, firmware revision 48."""
    first = bytes.fromhex("01 81 01 00 83 01 80 01 48 CA 01 80 01 61 E3 01 80 01 30 B2")

    heard = hear(decoder, first + bytes.fromhex("01 80 01 00 82") * 21)

    assert heard.values("pulse_rate_bpm") == [72.0]
    assert heard.values("spo2_pct") == [97.0]
    assert heard.identities[-1].firmware == "48"
    assert heard.samples("pleth") == [1.0] * 25


@pytest.mark.parametrize("rate", [18, 72, 127, 128, 185, 255, 256, 300, 321])
@pytest.mark.parametrize("data_format", [2, 7])
def test_pulse_rates_of_all_sizes(decoder, rate, data_format):
    """The upper bits are two, the lower seven: peers that shift by eight are wrong from 128 on."""
    heard = hear(decoder, b"".join(packet(rate, data_format=data_format)))

    assert heard.values("pulse_rate_bpm") == [float(rate)]


def test_missing_values_have_a_reason(decoder):
    """511 and 127 are no values."""
    heard = hear(decoder, b"".join(packet(511, 127)))

    assert heard.values("pulse_rate_bpm") == ["not-measured"]
    assert heard.values("spo2_pct") == ["not-measured"]


@pytest.mark.parametrize(
    ("status", "reason"), [(0xC0, "sensor-off"), (0x88, "sensor-off"), (0x90, "signal-poor"), (0xD0, "sensor-off")]
)
def test_status_bits_that_leave_no_value(decoder, status, reason):
    """Disconnected, alarm and out of track: the numbers beside them are not believed."""
    heard = hear(decoder, b"".join(packet(status=status)))

    assert heard.values("pulse_rate_bpm") == [reason]
    assert heard.values("spo2_pct") == [reason]
    assert (("sensor-off", True) in heard.conditions()) == (reason == "sensor-off")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0xA0, ReadingStatus.QUESTIONABLE),
        (0x84, ReadingStatus.QUESTIONABLE),
        (0x86, ReadingStatus.VALID),
        (0x82, ReadingStatus.VALID),
    ],
)
def test_status_bits_that_question_a_value(decoder, status, expected):
    """Artifact and red perfusion keep the value as a questionable one; yellow and green are sound."""
    heard = hear(decoder, b"".join(packet(status=status)))

    assert [(item.value, item.status) for item in heard.readings] == [(97.0, expected), (72.0, expected)]


def test_one_frame_with_an_artifact_questions_the_packet(decoder):
    """The value of a packet is that of all its beats."""
    frames = packet()
    frames[12] = nonin_frame(0xA0, 112, frames[12][3])

    assert {item.status for item in hear(decoder, b"".join(frames)).readings} == {ReadingStatus.QUESTIONABLE}


def test_question_holds_until_the_next_pulse(decoder):
    """The bits stand only while a pulse goes on; the packets between two pulses are as good as the last one."""
    red, green = packet(), packet()
    red[12] = nonin_frame(0x84, 112, red[12][3])
    green[12] = nonin_frame(0x82, 112, green[12][3])
    told = []
    for frames in (green, packet(), red, packet(), packet(), green, packet()):
        heard = hear(decoder, b"".join(frames), flush=False)
        told += [item.status for item in heard.readings if item.measure == "spo2_pct"]

    assert told == [ReadingStatus.VALID, ReadingStatus.QUESTIONABLE, ReadingStatus.VALID]


def test_question_does_not_hold_for_ever(decoder):
    """A module that shows no perfusion is not questioned for one artifact in the morning."""
    bad = packet()
    bad[12] = nonin_frame(0xA0, 112, bad[12][3])

    heard = hear(decoder, b"".join(bad + packet() * 10))

    assert [item.status for item in heard.readings if item.measure == "spo2_pct"][-1] is ReadingStatus.VALID


def test_battery_low_is_told(decoder):
    """Bit 0 of the second status byte."""
    heard = hear(decoder, b"".join([*packet(), *packet(status_2=1), *packet()]))

    assert [item for item in heard.conditions() if item[0] == "battery-low"] == [
        ("battery-low", False),
        ("battery-low", True),
        ("battery-low", False),
    ]


def test_format_7_has_sixteen_bits(decoder):
    """The pleth of format 7 goes to 65535, and its channel says so."""
    heard = hear(decoder, b"".join(packet(data_format=7, pleth=40_000)))

    assert heard.samples("pleth") == [40_000.0 + k for k in range(25)]
    assert heard.blocks[0].channels[0].maximum == 65_535.0


@pytest.mark.parametrize("data_format", [2, 7])
def test_wrong_checksum_costs_one_frame(decoder, data_format):
    """The sample is missing at its place, the packet has no values, and the next packet is whole."""
    frames = [*packet(80, data_format=data_format), *packet(90, data_format=data_format)]
    frames[7] = frames[7][:4] + bytes((frames[7][4] ^ 0x01,))

    heard = hear(decoder, b"".join(frames))

    assert heard.reasons() == ["checksum"]
    assert heard.sequences("pleth") == [k for k in range(50) if k != 7]
    assert heard.values("pulse_rate_bpm") == [90.0]
    assert decoder.counters.n_lost_samples == 1
    assert heard.gaps == []


def test_status_without_its_top_bit_is_a_framing_error(decoder):
    """Even where the checksum is right."""
    frames = packet()
    frames[3] = nonin_frame(0x00, 5, 5)

    assert hear(decoder, b"".join([*frames, *packet()])).reasons() == ["status"]


def test_frames_lost_without_a_trace_are_counted_at_the_mark(decoder):
    """SYNC before 25 frames: the rest of the packet is missing."""
    frames = [*packet(80)[:20], *packet(90)]

    heard = hear(decoder, b"".join(frames))

    assert heard.sequences("pleth") == [*range(20), *range(25, 50)]
    assert heard.values("pulse_rate_bpm") == [90.0]


def test_what_lies_between_two_holes_is_dropped(decoder):
    """Its place cannot be known: dropped and counted, never put anywhere."""
    frames = packet()
    frames[5] = frames[5][:4]
    frames[15] = frames[15][:4]

    heard = hear(decoder, b"".join([*frames, *packet()]))

    assert heard.sequences("pleth") == [*range(5), *range(16, 50)]
    assert decoder.counters.n_lost_samples == 11
    assert decoder.counters.n_lost_frames == 2


def test_lost_mark_joins_two_packets(decoder):
    """Without the first frame of a packet its values are not read, and the samples keep their places."""
    frames = [*packet(80), *packet(90)[1:], *packet(100)]

    heard = hear(decoder, b"".join(frames))

    assert 90.0 not in heard.values("pulse_rate_bpm")
    assert len(set(heard.sequences("pleth"))) == 74
    assert heard.sequences("pleth")[-25:] == list(range(50, 75))


def test_broken_mark_keeps_the_places(decoder):
    """The marked frame itself is damaged: the rest of its packet stands where it stood."""
    frames = [*packet(80), *packet(90), *packet(100)]
    frames[25] = frames[25][:4] + b"\xee"

    heard = hear(decoder, b"".join(frames))

    assert heard.sequences("pleth") == [k for k in range(75) if k != 25]
    assert heard.samples("pleth")[25:49] == [100.0 + k for k in range(1, 25)]
    assert heard.values("pulse_rate_bpm") == [80.0, 100.0]


def test_samples_of_a_packet_that_ends_with_the_link(decoder):
    """They are held until the packet is whole; at the end of the link they are delivered, its values are not."""
    heard = hear(decoder, b"".join(packet()[:10]))

    assert heard.sequences("pleth") == list(range(10))
    assert heard.readings == []


def test_listening_begins_at_a_mark(decoder):
    """Frames before the first mark have no place; no value is put together from halves of two packets."""
    heard = hear(decoder, b"".join([*packet(200)[10:], *packet(90)]))

    assert heard.samples("pleth") == [100.0 + k for k in range(25)]
    assert heard.values("pulse_rate_bpm") == [90.0]
    assert decoder.counters.n_corrupt == {"before-sync": 15}


def test_start_byte_in_the_data_is_no_frame(decoder):
    """01 is a frequent pleth and data value."""
    frames = [nonin_frame(0x81 if k == 0 else 0x80, 1, 1) for k in range(25)]

    heard = hear(decoder, b"\x01\x81\x01" + b"".join(frames))

    assert len(heard.samples("pleth")) == 25
    assert sum(item.n_bytes for item in heard.corrupt) == 3


def test_format_7_needs_two_frames_to_believe_one(decoder):
    """Only a bit and a checksum speak for a frame: a lone one in noise is none."""
    heard = hear(decoder, packet(data_format=7)[0] + bytes(5))

    assert heard.blocks == []
    assert heard.reasons() == ["unconfirmed"]


def test_pause_is_a_gap_of_unknown_size(decoder):
    """Whole packets may be missing, and the marks do not tell."""
    hear_in_time(decoder, packet() * 3, rate_hz=75, flush=False)

    heard = hear_in_time(decoder, packet() * 3, rate_hz=75, start_s=5.0)

    assert [(item.reason, item.n_missing) for item in heard.gaps] == [("stalled", None)]


def test_values_come_about_once_a_second(decoder):
    """Three packets a second lead to one reading, or one at once where the value changes."""
    heard = hear_in_time(decoder, packet(70) * 15 + packet(71) * 1, rate_hz=75)

    assert heard.values("pulse_rate_bpm") == [70.0] * 5 + [71.0]


def written(items):
    return [item.data for item in items]


def at(decoder, at_s):
    return written(decoder.requests(round(at_s * NS_PER_S)))


def test_format_is_selected_as_the_manual_says():
    """The two published commands."""
    assert select_format(2).hex() == "0270040202017903"
    assert select_format(7).hex() == "0270040207017e03"


def test_format_is_asked_for_three_times_then_taken_as_it_is(decoder):
    """A module whose format is set by a switch does not answer, and is read all the same."""
    asked = [*written(decoder.greeting()), *(data for at_s in range(20) for data in at(decoder, at_s))]

    assert asked == [select_format(7)] * 3


def test_answer_ends_the_asking(decoder):
    """After ACK nothing more is asked, and the answer is no garbage."""
    decoder.greeting()

    heard = hear(decoder, b"\x06" + b"".join(packet(data_format=7)), flush=False)

    assert heard.corrupt == []
    assert [data for at_s in range(20) for data in at(decoder, at_s)] == []


def test_module_that_declines_format_7_is_asked_for_2(decoder):
    """NAK: the older format, at the next opportunity."""
    decoder.greeting()
    hear(decoder, b"\x15", flush=False)

    assert at(decoder, 0.25) == [select_format(2)]
    hear(decoder, b"\x06", flush=False)
    assert at(decoder, 10.0) == []


def test_module_that_declines_and_sends_format_2_is_left_alone(decoder):
    """It does already what it would be asked for."""
    decoder.greeting()
    hear(decoder, b"".join(packet()) + b"\x15", flush=False)

    assert [data for at_s in range(20) for data in at(decoder, at_s)] == []


def test_change_of_format_begins_the_stream_anew(decoder):
    """Eight bits become sixteen: a gap between, and another channel."""
    decoder.greeting()

    heard = hear(decoder, b"".join(packet() * 2) + b"\x06" + b"".join(packet(data_format=7) * 2))

    assert [item.reason for item in heard.gaps] == ["stream-changed"]
    assert {item.channels[0].maximum for item in heard.blocks} == {255.0, 65_535.0}
    assert heard.corrupt == []


def test_unasked_answer_is_garbage(decoder):
    """A lone 06 that nobody waited for."""
    assert hear(decoder, b"\x06").reasons() == ["no-start"]


def test_line_settings():
    """9600 baud, eight bits, no parity."""
    assert nonin.LINE.name == "9600 8N1"
