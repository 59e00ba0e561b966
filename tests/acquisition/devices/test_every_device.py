"""What holds for every serial device, whatever its frames look like."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from edge.acquisition.devices.line import LineSettings
from edge.conditioning.timeline import Timeline
from edge.messages import Chunk, DeviceBlock, Gap, ReadingStatus
from tests.acquisition.devices.every_device import DEVICES
from tests.acquisition.devices.hearing import Heard, hear, hear_in_time, plain

each_device = pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)


@each_device
def test_one_byte_at_a_time_gives_the_same(device):
    """A frame is the same frame in whatever pieces it comes."""
    data = b"".join(device.frames(200))
    whole = hear(device.make(), data)

    decoder, pieces = device.make(), Heard()
    for byte in data:
        pieces += decoder.push(Chunk(data=bytes((byte,)), received_at_ns=0))
    pieces += decoder.flush()

    assert plain(pieces) == plain(whole)
    assert len(whole.samples(device.stream)) == 200
    assert whole.corrupt == []


@each_device
def test_samples_come_once_and_in_order(device):
    """No sample is lost, repeated or invented on a sound line."""
    heard = hear_in_time(device.make(), device.frames(1000), rate_hz=device.rate_hz)

    assert heard.sequences(device.stream) == list(range(1000))
    assert heard.gaps == []


@each_device
def test_identity_is_told_once_and_names_the_streams(device):
    """Who it is comes before the first sample."""
    heard = hear_in_time(device.make(), device.frames(1000), rate_hz=device.rate_hz)

    told = {(item.sensor, item.model, item.streams) for item in heard.identities}
    assert len(told) == 1
    assert heard.index(heard.identities[0]) < heard.index(heard.blocks[0])
    assert {item.stream for item in heard.blocks} <= {info.name for info in heard.identities[0].streams}


@each_device
def test_connecting_in_the_middle_of_a_frame(device):
    """The rest of a frame is dropped, and every whole packet after it counts."""
    data = device.frames(100)

    heard = hear(device.make(), data[0][len(data[0]) // 2 :] + b"".join(data[25:]))

    assert heard.sequences(device.stream) == list(range(75))
    assert sum(item.n_bytes for item in heard.corrupt) == len(data[0]) - len(data[0]) // 2


@each_device
def test_unplugging_in_the_middle_of_a_frame(device):
    """What was whole is delivered; the half frame is told and counted."""
    data = b"".join(device.frames(50))
    decoder = device.make()

    heard = hear(decoder, data + device.frame(50)[:-2])

    assert heard.sequences(device.stream) == list(range(50))
    assert sum(decoder.counters.n_corrupt.values()) == len(heard.corrupt) == 1


@each_device
@pytest.mark.parametrize("garbage", [b"\x00", b"\xff" * 7, bytes(range(100, 120)), b"\x81\x01\xa0\x0a\xfa\xc0" * 5])
def test_good_frames_behind_garbage_are_not_lost(device, garbage):
    """Where the search goes on byte by byte, the next good frame is found."""
    data = device.frames(100)

    heard = hear(device.make(), b"".join(data[:50]) + garbage + b"".join(data[50:]))

    values = heard.samples(device.stream)
    expected = hear(device.make(), b"".join(data)).samples(device.stream)
    assert values[-50:] == expected[-50:]
    assert len(values) >= 99  # the frame before garbage that looks like more of it may not be believed
    assert heard.corrupt


@each_device
def test_random_garbage_between_frames_never_makes_a_value(device):
    """Noise bursts cost frames; every value that is told is one that was sent."""
    rng = random.Random(5)
    line = b""
    for k, frame in enumerate(device.frames(2000)):
        line += frame
        if k % 100 == 99:
            line += rng.randbytes(rng.randrange(1, 40))
    decoder = device.make()

    heard = hear(decoder, line)

    sent = {97.0, 36.7, 15.0, *(float(60 + k) for k in range(40))}
    told = [item.value for item in heard.readings if item.value is not None]
    assert Counter(value in sent for value in told)[False] <= 1  # eight bits of noise may pass a sum of eight bits
    assert len(heard.samples(device.stream)) > 1900
    assert dict(Counter(heard.reasons())) == dict(decoder.counters.n_corrupt)


@each_device
def test_reset_forgets_the_link(device):
    """The next link begins with an identity, at sample 0, with the state of every condition."""
    decoder = device.make()
    first = plain(hear(decoder, b"".join(device.frames(100))))

    decoder.reset("link-lost")

    assert plain(hear(decoder, b"".join(device.frames(100)))) == first


@each_device
def test_counters_survive_a_reset(device):
    """They are of the decoder, not of the link."""
    decoder = device.make()
    hear(decoder, b"\x00\x00" + b"".join(device.frames(50)))
    before = decoder.counters

    decoder.reset("link-lost")

    assert decoder.counters == before
    assert before.n_frames == 50


@each_device
def test_readings_have_a_value_or_a_reason(device):
    """Never both, never neither; an invalid one has no value."""
    for item in hear_in_time(device.make(), device.frames(500), rate_hz=device.rate_hz).readings:
        assert (item.value is None) == (item.absent is not None) == (item.status is ReadingStatus.INVALID)


@each_device
def test_blocks_come_several_times_a_second(device):
    """A wave on a screen must not stutter, and alarms must not wait."""
    heard = hear_in_time(device.make(), device.frames(1000), rate_hz=device.rate_hz)

    longest = max(len(item.values) for item in heard.blocks if item.stream == device.stream)
    assert longest / device.rate_hz <= 0.34


@each_device
def test_own_bytes_are_recognised_and_no_others(device):
    """For `vitaledge scan`: listen to a port and say what is on it."""
    recognise = device.module.recognise

    shares = {other.name: recognise(b"".join(other.frames(100))[7:]) for other in DEVICES}

    own = {name for name in shares if name.split("_")[0] == device.name.split("_")[0]}
    assert shares[device.name] > 0.95
    assert all(share < 0.5 for name, share in shares.items() if name not in own)


@each_device
@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 500, b"\xff" * 500, b"hello world\r\n" * 40, random.Random(1).randbytes(2000)]
)
def test_noise_is_not_recognised(device, data):
    """A port on which something else talks."""
    assert device.module.recognise(data) < 0.2


@each_device
def test_half_of_the_noise_is_not_all_of_it(device):
    """A wrong first second after opening does not hide the device."""
    assert device.module.recognise(random.Random(2).randbytes(100) + b"".join(device.frames(200))) > 0.7


@each_device
def test_line_settings_are_there(device):
    """Every module says how its line is set."""
    assert isinstance(device.module.LINE, LineSettings)


@pytest.mark.parametrize("wrong", [{"baud": 0}, {"baud": 9600, "parity": "X"}, {"baud": 9600, "stop_bits": 3}])
def test_impossible_line_settings_are_refused(wrong):
    """Misuse, told at once."""
    with pytest.raises(ValueError, match="expected"):
        LineSettings(**wrong)


@pytest.mark.long
@each_device
def test_an_hour_without_a_hole(device):
    """The crystal is 60 ppm off, deliveries are late by up to 30 ms: every sample is placed, and no gap is seen."""
    rng, decoder, lines, gaps = random.Random(9), device.make(), {}, []
    n_frames, per_chunk, n_samples = round(3600 * device.rate_hz), max(1, round(device.rate_hz * 0.016)), 0

    for first in range(0, n_frames, per_chunk):
        taken_s = (first + per_chunk - 1) / (device.rate_hz * (1 + 60e-6))
        at_ns = round((taken_s + rng.uniform(0, 0.03)) * 1e9)
        data = b"".join(device.frame(k % 57_600) for k in range(first, first + per_chunk))
        for item in decoder.push(Chunk(data=data, received_at_ns=at_ns)):
            if isinstance(item, Gap):
                gaps.append(item)
            elif isinstance(item, DeviceBlock):
                n_samples += len(item.values) if item.stream == device.stream else 0
                gaps += [g for g in lines.setdefault(item.stream, Timeline()).push(item) if isinstance(g, Gap)]

    assert gaps == []
    assert n_samples == pytest.approx(n_frames, abs=device.rate_hz)
    assert decoder.counters.n_corrupt == {}
    true_rate_hz = lines[device.stream].estimate.true_rate_hz
    assert true_rate_hz == pytest.approx(device.rate_hz * (1 + 60e-6), rel=100e-6)
