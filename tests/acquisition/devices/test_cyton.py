"""OpenBCI Cyton: numbered frames without a checksum, and a board that wants to be spoken to."""

from __future__ import annotations

import itertools

import pytest

from edge.acquisition.devices import cyton
from edge.acquisition.devices.cyton import CytonDecoder, CytonSettings
from edge.messages import ChannelKind, Chunk
from firmware_bridge.virtual.devices.boards import BANNER, cyton_frame
from tests.acquisition.devices.hearing import NS_PER_S, Heard, hear, hear_in_time

KNOWN = bytes.fromhex("A0 07 000001 FFFFFF 7FFFFF 800000 000000 0003E8 FFFC18 01E240 07D0 F830 0000 C0")
MV = 4500 / 24 / (2**23 - 1)


def frames(n_frames, first=0, value=1000):
    return [cyton_frame(k, (value,) * 8) for k in range(first, first + n_frames)]


@pytest.fixture
def decoder():
    return CytonDecoder(CytonSettings(sensor="chest"))


def test_known_frame(decoder):
    """Eight channels with their signs at gain 24, and the accelerometer: 0.25 g, -0.25 g, 0."""
    heard = hear(decoder, KNOWN)

    counts = [1, -1, 8388607, -8388608, 0, 1000, -1000, 123456]
    assert heard.blocks[0].values[0].tolist() == pytest.approx([count * MV for count in counts])
    assert heard.blocks[1].values[0].tolist() == pytest.approx([0.25 * 9.80665, -0.25 * 9.80665, 0.0])
    assert pytest.approx(2.23517e-5, rel=1e-5) == MV


def test_gain_scales_and_bounds():
    """A smaller gain has a larger range."""
    decoder = CytonDecoder(CytonSettings(sensor="chest", gain=6.0))

    block = hear(decoder, KNOWN).blocks[0]

    assert block.values[0][2] == pytest.approx(750.0)
    assert block.channels[0].maximum == 750.0


def test_channels_with_electrodes_are_ecg():
    """The others are passed on, and no beat is looked for in them."""
    decoder = CytonDecoder(CytonSettings(sensor="chest", ecg_channels=(2,)))

    kinds = [channel.kind for channel in hear(decoder, KNOWN).blocks[0].channels]

    assert kinds == [ChannelKind.OTHER, ChannelKind.ECG, *[ChannelKind.OTHER] * 6]


@pytest.mark.parametrize(
    "wrong", [{"gain": 0.0}, {"gain": float("nan")}, {"ecg_channels": (0,)}, {"ecg_channels": (9,)}]
)
def test_wrong_settings_are_refused(wrong):
    """They would scale or name the signal wrongly."""
    with pytest.raises(ValueError, match="expected"):
        CytonSettings(sensor="chest", **wrong)


# --- losses ---------------------------------------------------------------------------------------------


def sent(n_frames, lost=()):
    return [b"" if k in lost else cyton_frame(k, (k,) * 8) for k in range(n_frames)]


@pytest.mark.parametrize("n_lost", [1, 2, 127, 128, 200, 255, 256, 257, 512, 768, 2560, 5000])
def test_every_loss_is_counted(decoder, n_lost):
    """Also whole turns of the sample number, which the numbers alone do not show."""
    heard = hear_in_time(decoder, sent(12_000, set(range(500, 500 + n_lost))), rate_hz=250)

    assert heard.sequences("ecg") == [*range(500), *range(500 + n_lost, 12_000)]
    assert decoder.counters.n_lost_samples == n_lost
    assert heard.gaps == []


@pytest.mark.parametrize("delay_s", [0.1, 0.6, 1.1, 2.5])
def test_late_delivery_is_no_loss(decoder, delay_s):
    """A buffer that is read late gives all frames at once: nothing is missing, whatever the clock says."""
    n_late = round(delay_s * 250)
    heard = hear_in_time(decoder, sent(500), rate_hz=250, flush=False)
    late_ns = round((500 + n_late) / 250 * NS_PER_S)
    for k in range(500, 500 + n_late, 7):  # the reader takes it in pieces
        data = b"".join(cyton_frame(j, (j,) * 8) for j in range(k, min(k + 7, 500 + n_late)))
        heard += decoder.push(Chunk(data=data, received_at_ns=late_ns + k * 1000))
    heard += list(hear_in_time(decoder, sent(1500)[500 + n_late :], rate_hz=250, start_s=(501 + n_late) / 250))

    assert Heard(heard).sequences("ecg") == list(range(1500))
    assert decoder.counters.n_lost_samples == 0


def test_frame_that_comes_twice_counts_once(decoder):
    """A repeat of the radio is dropped and counted."""
    data = frames(10)

    heard = hear_in_time(decoder, [*data[:5], data[4], *data[5:]], rate_hz=250)

    assert heard.sequences("ecg") == list(range(10))
    assert heard.reasons() == ["duplicate"]


def test_stretch_that_comes_twice_counts_once(decoder):
    """A relay that sends its last bytes again."""
    data = frames(40)

    heard = hear_in_time(decoder, [*data[:20], *data[10:20], *data[20:]], rate_hz=250)

    assert heard.sequences("ecg") == list(range(40))
    assert heard.reasons() == ["duplicate"] * 10
    assert heard.gaps == []


def test_number_that_goes_back_is_a_restart(decoder):
    """Nobody knows what is missing then."""
    heard = hear_in_time(decoder, frames(51, first=50) + frames(50), rate_hz=250)

    assert {(item.stream, item.reason, item.n_missing) for item in heard.gaps} == {("ecg", "device-reset", None)}
    assert len(heard.samples("ecg")) == 101
    assert decoder.counters.n_device_resets == 1


def test_very_long_pause_is_a_gap_of_unknown_size(decoder):
    """After a minute the two clocks may differ by a turn of the sample number."""
    heard = hear_in_time(decoder, sent(100), rate_hz=250, flush=False)
    heard += hear_in_time(decoder, sent(300)[100:], rate_hz=250, start_s=200.0)

    assert [(item.reason, item.n_missing) for item in heard.gaps] == [("stalled", None)]
    assert len(heard.samples("ecg")) == 300


# --- finding frames -------------------------------------------------------------------------------------


def test_start_byte_in_the_data_is_no_frame(decoder):
    """Samples full of A0 and C0: the frames are found where they are."""
    tricky = [cyton_frame(k, (-0x5F5F60, 0xA0C0, -0x3F5F40, 0xA0A0, 0xC0C0, -96, 160, 192)) for k in range(50)]

    heard = hear(decoder, tricky[0][9:] + b"".join(tricky[1:]))

    assert len(heard.samples("ecg")) == 49
    assert heard.sequences("ecg")[0] == 0
    assert sum(item.n_bytes for item in heard.corrupt) == 24


@pytest.mark.parametrize("n_cut", [1, 5, 20, 32])
def test_spoiled_frame_costs_one_sample(decoder, n_cut):
    """Bytes are missing in the middle: the number of the next frame says that it is one."""
    data = frames(20)
    data[10] = data[10][:1] + data[10][1 + n_cut :]

    heard = hear(decoder, b"".join(data))

    assert heard.sequences("ecg") == [k for k in range(20) if k != 10]
    assert decoder.counters.n_lost_samples == 1


def test_wrong_stop_byte_costs_one_sample(decoder):
    """The form is all that speaks for a frame."""
    data = frames(20)
    data[10] = data[10][:-1] + b"\x0c"

    heard = hear(decoder, b"".join(data))

    assert heard.reasons() == ["stop"]
    assert heard.sequences("ecg") == [k for k in range(20) if k != 10]


def test_garbage_between_all_frames(decoder):
    """Every frame counts whose number continues the last one's."""
    data = frames(20)

    heard = hear(decoder, data[0] + data[1] + b"".join(b"\x00\xa0\x11" + frame for frame in data[2:]))

    assert heard.sequences("ecg") == list(range(20))


@pytest.mark.parametrize("stop", range(0xC1, 0xD0))
def test_other_auxiliary_bytes_are_no_acceleration(decoder, stop):
    """Only C0 says that the last bytes are the accelerometer's."""
    heard = hear(decoder, KNOWN[:-1] + bytes((stop,)))

    assert {item.stream for item in heard.blocks} == {"ecg"}


def test_acceleration_comes_with_every_tenth_frame(decoder):
    """Zeros are no free fall: the accelerometer has nothing new."""
    data = [cyton_frame(k, (0,) * 8, (0, 0, 8000) if k % 10 == 3 else (0, 0, 0)) for k in range(500)]

    heard = hear_in_time(decoder, data, rate_hz=250)

    assert heard.samples("acceleration", 2) == [pytest.approx(9.80665)] * 50
    assert heard.sequences("acceleration") == list(range(50))
    times = [item.device_time_ns for item in heard.blocks if item.stream == "acceleration"]
    assert {late - early for early, late in itertools.pairwise(times)} == {200_000_000}


def test_acceleration_is_timed_by_the_frames(decoder):
    """The accelerometer has an oscillator of its own, 8 % fast here; the crystal that counts the frames tells."""
    taken = {round(k * 250 / 27) for k in range(200)}
    data = [cyton_frame(k, (0,) * 8, (0, 0, 8000) if k in taken else (0, 0, 0)) for k in range(1500)]

    heard = hear_in_time(decoder, data, rate_hz=250)

    blocks = [item for item in heard.blocks if item.stream == "acceleration"]
    periods_ns = [late.device_time_ns - early.device_time_ns for early, late in itertools.pairwise(blocks)]
    assert sum(periods_ns[:30]) / 30 == pytest.approx(5 / 27 * 1e9, rel=0.005)


def test_acceleration_that_is_repeated_in_every_frame(decoder):
    """Other firmware sends the last sample again instead of zeros: still 25 a second."""
    data = [cyton_frame(k, (0,) * 8, (0, 0, 8000 + k // 10)) for k in range(500)]

    heard = hear_in_time(decoder, data, rate_hz=250)

    assert len(heard.samples("acceleration", 2)) == 50
    assert len(set(heard.samples("acceleration", 2))) == 50


def test_loss_is_a_gap_in_the_acceleration(decoder):
    """Its samples have no number of their own."""
    data = [
        b"" if 200 <= k < 300 else cyton_frame(k, (0,) * 8, (0, 0, 8000) if k % 10 == 0 else (0, 0, 0))
        for k in range(500)
    ]

    heard = hear_in_time(decoder, data, rate_hz=250)

    assert [(item.stream, item.n_missing) for item in heard.gaps] == [("acceleration", None)]


# --- dialogue -------------------------------------------------------------------------------------------


def written(items):
    return [item.data for item in items]


def due(decoder, at_s):
    return written(decoder.requests(round(at_s * NS_PER_S)))


def test_board_is_stopped_reset_and_started(decoder):
    """The start waits for the text that says "ready"; the text is no garbage and names the firmware."""
    assert written(decoder.greeting()) == [b"s", b"v"]
    assert due(decoder, 0.0) == []
    assert due(decoder, 1.0) == []

    heard = hear(decoder, BANNER, at_s=1.2, flush=False)

    assert due(decoder, 1.25) == [b"b"]
    assert due(decoder, 1.5) == []
    assert [(item.model, item.firmware) for item in heard.identities] == [("OpenBCI Cyton", "v3.1.2")]
    assert heard.corrupt == []


@pytest.mark.parametrize(
    ("banner", "firmware"),
    [
        (
            b"OpenBCI V3 8bit Board\nSetting ADS1299 Channel Values\nADS1299 Device ID: 0x3E\nLIS3DH Device ID: 0x33\n$$$",
            "",
        ),
        (
            b"OpenBCI V3 8-16 channel\r\nADS1299 Device ID: 0x3E\r\nLIS3DH Device ID: 0x33\r\nFirmware: v2.0.0\r\n$$$",
            "v2.0.0",
        ),
    ],
)
def test_texts_of_older_firmware(decoder, banner, firmware):
    """Each version says it a little differently."""
    assert [item.firmware for item in hear(decoder, banner).identities] == [firmware]


def test_daisy_module_is_switched_off(decoder):
    """With it every other frame would hold other channels under the same names."""
    decoder.greeting()
    hear(decoder, BANNER.replace(b"LIS3DH", b"On Daisy ADS1299 Device ID: 0x3E\r\nLIS3DH"), flush=False)

    assert due(decoder, 0.0) == [b"c", b"b"]


def test_board_that_says_nothing_is_started_all_the_same(decoder):
    """Its text was lost: start twice, then reset again."""
    decoder.greeting()

    asked = [(at_s, wanted) for at_s in range(13) if (wanted := due(decoder, float(at_s)))]

    assert asked == [(4, [b"b"]), (6, [b"b"]), (8, [b"s", b"v"]), (12, [b"b"])]


def test_streaming_board_is_left_alone(decoder):
    """Frames are what was asked for."""
    decoder.greeting()
    hear(decoder, BANNER, flush=False)
    due(decoder, 0.0)

    asked = []
    for second in range(10):
        hear_in_time(decoder, frames(250, first=250 * second), rate_hz=250, start_s=second, flush=False)
        asked += due(decoder, second + 1.0)

    assert asked == []


def test_board_that_restarts_by_itself_is_started_again(decoder):
    """Its text in the middle of the stream: a gap, another boot, and the start."""
    decoder.greeting()
    hear(decoder, BANNER, flush=False)
    due(decoder, 0.0)
    heard = hear_in_time(decoder, frames(100), rate_hz=250, flush=False)

    heard += hear(decoder, BANNER, at_s=2.0, flush=False)

    assert due(decoder, 2.25) == [b"b"]
    assert [item.reason for item in heard.gaps] == ["device-reset"]
    assert heard.identities[-1].boot_id == 1
    assert decoder.counters.n_device_resets == 1


def test_dongle_without_board_says_so(decoder):
    """The dongle's own text becomes a condition, which ends with the next frame."""
    heard = hear(decoder, b"Failure: Communications timeout - Device failed to poll Host$$$", flush=False)
    heard += hear(decoder, b"".join(frames(3)))

    assert heard.conditions() == [("device-error", True), ("device-error", False)]
    assert "failed to poll" in heard.statuses[0].detail


def test_text_without_end_is_garbage(decoder):
    """Printable noise is not waited for for ever."""
    heard = hear(decoder, b"x" * 2000 + b"".join(frames(10)), flush=False)

    assert heard.reasons() == ["text"] * 8
    assert sum(item.n_bytes for item in heard.corrupt) == 2000


def test_farewell_stops_the_board(decoder):
    """Its battery lasts longer."""
    assert written(decoder.farewell()) == [b"s"]


def test_line_settings():
    """The dongle's UART bridge."""
    assert cyton.LINE.name == "115200 8N1"
