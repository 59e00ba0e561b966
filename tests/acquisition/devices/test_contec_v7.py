"""The newer Contec oximeters: packets whose bytes keep their eighth bit in another byte."""

from __future__ import annotations

import pytest

from edge.acquisition.devices import contec_v7
from edge.acquisition.devices.contec_v7 import ContecV7Decoder, ContecV7Settings, command
from firmware_bridge.virtual.devices.oximeters import contec_v7_packet
from tests.acquisition.devices.hearing import NS_PER_S, hear, hear_in_time


def live(pleth=51, rate=65, spo2=97, *, flags=5, bar=0x16, index=0xFFFF):
    return contec_v7_packet(0x01, bytes((flags, pleth, bar, rate, spo2)) + index.to_bytes(2, "little"))


@pytest.fixture
def decoder():
    return ContecV7Decoder(ContecV7Settings(sensor="finger"))


@pytest.mark.parametrize(
    ("line", "rate", "spo2", "pleth"),
    [
        ("01 E0 85 B3 96 C1 E1 FF FF", 65.0, 97.0, 51.0),
        ("01 E0 84 93 92 BC E3 FF FF", 60.0, 99.0, 19.0),
        ("01 E8 85 B3 96 96 E1 FF FF", 150.0, 97.0, 51.0),
        ("01 E1 85 B3 96 C1 E1 FF FF", "sensor-off", "sensor-off", 51.0),
        ("01 E2 85 B3 96 C1 E1 FF FF", "measuring", "measuring", 51.0),
        ("01 E0 95 B3 96 C1 E1 FF FF", "signal-poor", "signal-poor", 51.0),
        ("01 E8 85 B3 96 FF FF FF FF", "not-measured", "not-measured", 51.0),
        ("01 E0 85 B3 96 80 80 FF FF", "not-measured", "not-measured", 51.0),
    ],
)
def test_known_packets(decoder, line, rate, spo2, pleth):
    """Captured and derived packets give what they say; who masks the eighth bit reads 150 as 22."""
    heard = hear(decoder, bytes.fromhex(line) * 3)

    assert heard.values("pulse_rate_bpm") == [rate]
    assert heard.values("spo2_pct") == [spo2]
    assert heard.samples("pleth") == [pleth] * 3
    assert heard.values("perfusion_index_pct") == []


def test_perfusion_index_where_the_device_has_one(decoder):
    """Two bytes in hundredths of a per cent; absent where the device says so or sends a filler."""
    heard = hear(decoder, live(bar=0x06, index=1234) * 3 + live(bar=0x06, index=0) * 3 + live(bar=0x16, index=700) * 3)

    assert heard.values("perfusion_index_pct") == [12.34]


def test_pleth_that_stands_still_is_a_finger_out(decoder):
    """Some firmware tells it only by a wave that rests at 0x40; a wave that passes through there is one."""
    wave = [live(pleth=60 + k % 9) for k in range(60)]

    heard = hear_in_time(decoder, [*wave, *[live(pleth=0x40)] * 60, *wave], rate_hz=60)

    told = [item for item in heard.conditions() if item[0] == "sensor-off"]
    assert told == [("sensor-off", False), ("sensor-off", True), ("sensor-off", False)]
    assert "sensor-off" in heard.values("spo2_pct")


def test_commands_are_encoded_as_captured():
    """The start of live data, byte for byte as a driver that works sends it."""
    assert command(0xA1).hex() == "7d81a1808080808080"
    assert command(0xAF).hex() == "7d81af808080808080"
    assert command(0xA2).hex() == "7d81a2808080808080"


def test_other_packets_pass_without_harm(decoder):
    """Answers and stored data between live packets are read over."""
    others = contec_v7_packet(0x0B, b"\xa1\x00") + contec_v7_packet(0x0C, b"") + contec_v7_packet(0x04, b"CMS50D+")

    heard = hear(decoder, live() * 3 + others + live() * 3)

    assert len(heard.samples("pleth")) == 6
    assert heard.corrupt == []
    assert heard.gaps == []
    assert decoder.counters.n_frames == 9


@pytest.mark.parametrize(
    ("spoil", "reason", "n_left"),
    [
        (lambda packet: packet[:4] + packet[5:], "short", 6),
        (lambda packet: packet[:4] + b"\x99" + packet[4:], "long", 6),
        (lambda packet: b"\x33" + packet[1:], "type", 6),
        (lambda packet: packet[1:], "long", 5),
    ],
    ids=["byte-lost", "byte-added", "type-broken", "type-lost"],
)
def test_spoiled_packet_is_dropped_alone(decoder, spoil, reason, n_left):
    """A byte lost, added or broken costs its packet, never a wrong value, and the next one counts.

    Where the type is lost, the rest looks like the end of the packet before, which is then not believed either.
    """
    heard = hear(decoder, live() * 3 + spoil(live()) + live() * 3)

    assert heard.reasons() == [reason]
    assert len(heard.samples("pleth")) == n_left
    assert set(heard.values("spo2_pct")) == {97.0}


def written(decoder, at_s):
    return [item.data for item in decoder.requests(round(at_s * NS_PER_S))]


def test_live_data_is_asked_for_and_kept_alive(decoder):
    """Asked at once, kept alive every five seconds, asked again every fifteen, for some firmware stops after thirty."""
    packets = {}
    greeting = [item.data for item in decoder.greeting()]
    for quarter in range(80):
        at_s = quarter / 4
        hear(decoder, live() * 15, at_s=at_s, flush=False)
        for data in written(decoder, at_s):
            packets.setdefault(data, []).append(at_s)

    assert greeting == [command(0xA1)]
    assert packets[command(0xA1)] == [15.0]
    assert packets[command(0xAF)] == [5.0, 10.0, 15.25]


def test_silent_device_is_asked_again(decoder):
    """Without live data the request is repeated every two seconds."""
    decoder.greeting()

    asked = [at_s for at_s in (0.0, 1.0, 2.0, 3.0, 4.0) if written(decoder, at_s) == [command(0xA1)]]

    assert asked == [2.0, 4.0]


def test_farewell_stops_live_data(decoder):
    """The device may go to sleep."""
    assert [item.data for item in decoder.farewell()] == [command(0xA2)]


def test_line_settings():
    """A UART bridge on the cable, eight bits without parity."""
    assert contec_v7.LINE.name == "115200 8N1"
