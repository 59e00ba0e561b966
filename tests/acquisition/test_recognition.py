"""Recognising a device by its bytes: each by its own, none by noise, and never one for another."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.devices.line import LineSettings
from edge.acquisition.framing import Frame, FrameDecoder, encode_frame
from edge.acquisition.packets import Command, CommandCode, Hello, decode_packet, packet_line
from edge.acquisition.recognition import BRIDGE, BRIDGE_LINE, KINDS, LINES, bridge_words, questions, recognise
from edge.config_sensor import SerialDriver
from edge.messages import Chunk
from tests.fakes.device_bytes import CONTEC, CONTEC_V7, CYTON, CYTON_BANNER, OPENVIEW, nonin

HELLO = packet_line(
    Hello(boot_id=1, tick_rate_hz=1000, ticks=0, device_id="bed-4", model="Board", firmware="2.1", streams=()),
    sequence=0,
)
STREAMS = {
    BRIDGE: HELLO,
    "openview": OPENVIEW,
    "contec_cms50_v7": CONTEC_V7,
    "cyton": CYTON,
    "nonin": nonin(),
    "contec_cms50": CONTEC,
}


def test_every_driver_has_a_stream_in_these_tests():
    """A new kind of device must be told from all others here."""
    assert set(STREAMS) == set(KINDS)


def test_every_serial_driver_can_be_recognised():
    """A driver that the configuration knows is one that a scan can find."""
    assert set(KINDS) == set(get_args(SerialDriver))


@pytest.mark.parametrize("driver", STREAMS)
def test_stream_is_taken_for_its_own_device(driver):
    """From the start, from the middle of a frame, and with noise before it."""
    data = STREAMS[driver]

    for heard in (data, data[2:], b"\x00\xff\x13" + data) if driver != BRIDGE else (data, b"\x13" + data):
        found = recognise(heard)
        assert found is not None
        assert found.driver == driver
        assert found.line == KINDS[driver].line


@pytest.mark.parametrize("driver", sorted(set(STREAMS) - {BRIDGE}))
def test_stream_with_some_damage_is_still_told(driver):
    """A byte lost in every hundred: a poor cable is no reason to find nothing."""
    data = bytes(each for at, each in enumerate(STREAMS[driver]) if at % 100 != 50)

    found = recognise(data)

    assert found is not None
    assert found.driver == driver


@given(st.binary(max_size=400))
def test_noise_is_no_device(data):
    """Invariant: random bytes, few or many, are nobody's, and never an error."""
    assert recognise(data) is None


@pytest.mark.parametrize(
    "data", [b"", bytes(500), b"\xff" * 500, b"$GPGGA,123519,4807.038,N*47\r\n" * 20, b"\x80" * 500]
)
def test_what_other_things_send_is_no_device(data):
    """Silence, a line stuck high or low, a satellite receiver, a broken sensor."""
    assert recognise(data) is None


def test_what_a_board_prints_while_it_starts_does_not_hide_it():
    """Two kilobytes of boot messages, then the stream."""
    log = b"I (312) esp_image: segment 0: paddr=00010020 vaddr=3c020020 size=0x08a0c\r\n" * 30

    found = recognise(log + OPENVIEW + OPENVIEW)

    assert found is not None
    assert found.driver == "openview"


def test_two_frames_alone_prove_nothing():
    """Without a strong checksum a few bytes may look like anything."""
    assert recognise(CONTEC[:20]) is None
    assert recognise(nonin()[:20]) is None


def test_one_frame_of_ours_proves_it_and_says_who_it_is():
    """Its checksum leaves no doubt; the hello has the names."""
    found = recognise(HELLO)

    assert found is not None
    assert found.words == "Board 2.1, id bed-4"


def test_frame_of_ours_without_a_name_is_told_in_general_words():
    """Samples alone do not say whose they are."""
    found = recognise(encode_frame(2, b"\x01" * 20))

    assert found is not None
    assert found.driver == BRIDGE
    assert found.words == KINDS[BRIDGE].words
    assert bridge_words(encode_frame(2, b"\x01" * 20)) == ""


def test_board_that_was_not_started_is_told_by_its_name():
    """A Cyton sends samples only when told to; before, it says what it is when reset."""
    found = recognise(CYTON_BANNER)

    assert found is not None
    assert found.driver == "cyton"


def test_every_line_is_listened_at_once():
    """Three speeds for six devices, the most common first."""
    assert LINES[0] == BRIDGE_LINE
    assert len(set(LINES)) == len(LINES) == 3


def test_only_the_speed_of_devices_that_wait_is_asked():
    """Nothing is written where every device talks by itself."""
    assert questions(LineSettings(baud=9600)) == []
    assert len(questions(BRIDGE_LINE)) == 3


def test_first_question_is_who_are_you():
    """To our own firmware, at its usual and at any other speed; it changes nothing in the device."""
    for line in (BRIDGE_LINE, LineSettings(baud=921_600)):
        first = questions(line)[0]
        (frame,) = [x for x in FrameDecoder().push(Chunk(data=first, received_at_ns=0)) if isinstance(x, Frame)]
        packet = decode_packet(frame)
        assert isinstance(packet, Command)
        assert packet.code == CommandCode.IDENTIFY
    assert len(questions(LineSettings(baud=921_600))) == 1
