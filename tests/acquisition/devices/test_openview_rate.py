"""The rate of a board that does not tell it, from the arrivals of its frames."""

from __future__ import annotations

import random

import pytest

from edge.acquisition.devices.openview import OpenViewDecoder, OpenViewSettings
from edge.acquisition.devices.openview_rate import MAX_FRAMES, RateMeter
from tests.acquisition.devices.every_device import DEVICES
from tests.acquisition.devices.hearing import NS_PER_S, Heard, hear_in_time

OPENVIEW = next(device for device in DEVICES if device.name == "openview")


def measured(rate_hz, *, chunk_s=0.016, jitter_s=0.01, backlog=0, seed=1):
    """What the meter says of frames that come in chunks, late by up to a jitter, some of them from a buffer."""
    rng, meter = random.Random(seed), RateMeter()
    late_s: dict[int, float] = {}
    k = -backlog
    while not meter.is_done:
        chunk = max(0, int(k / rate_hz // chunk_s) + 1)
        meter.add(round((chunk * chunk_s + late_s.setdefault(chunk, rng.uniform(0, jitter_s))) * NS_PER_S))
        k += 1
    return meter.rate_hz()


@pytest.mark.parametrize("rate_hz", [100, 125, 128, 200, 250, 256, 500])
@pytest.mark.parametrize("chunk_s", [0.001, 0.016, 0.1])
@pytest.mark.parametrize("backlog", [0, 300])
def test_rates_of_known_firmware_are_found(rate_hz, chunk_s, backlog):
    """Whatever the adapter gathers into one delivery, and whatever waited in a buffer on connecting."""
    assert measured(rate_hz, chunk_s=chunk_s, backlog=backlog) == rate_hz


@pytest.mark.parametrize("seed", range(20))
def test_a_crystal_s_error_does_not_matter(seed):
    """127.9 Hz is 128: how fast the crystal really is, the time line learns."""
    assert measured(127.9, jitter_s=0.03, seed=seed) == 128.0


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("rate_hz", [125.0, 128.0])
def test_late_deliveries_do_not_matter(rate_hz, seed):
    """A busy host reads late by up to a tenth of a second, now and then."""
    assert measured(rate_hz, jitter_s=0.1, seed=seed) == rate_hz


def test_another_rate_is_taken_as_it_is():
    """A board that nobody foresaw, to half a hertz."""
    assert measured(160.0) == pytest.approx(160.0, abs=1.0)


@pytest.mark.parametrize("spacing_ns", [0, 1000, 500_000])
def test_file_played_back_has_the_usual_rate(spacing_ns):
    """Arrivals that no board can have say nothing."""
    meter = RateMeter()

    for k in range(MAX_FRAMES):
        meter.add(k * spacing_ns)

    assert meter.is_done
    assert meter.rate_hz() == 128.0


def test_time_that_goes_back_does_no_harm():
    """Misbehaving arrivals lead to a rate all the same."""
    rng, meter = random.Random(3), RateMeter()

    for _ in range(MAX_FRAMES):
        meter.add(rng.randrange(-(1 << 62), 1 << 62))

    assert meter.rate_hz() > 0


@pytest.mark.parametrize("rate_hz", [125.0, 128.0, 250.0])
def test_streams_have_the_measured_rate_and_every_sample(rate_hz):
    """Nothing of the seconds that were measured is lost; the identity comes before the samples."""
    decoder = OpenViewDecoder(OpenViewSettings(sensor="board"))

    heard = hear_in_time(decoder, OPENVIEW.frames(2000), rate_hz=rate_hz)

    assert {item.nominal_rate_hz for item in heard.blocks} == {rate_hz}
    assert {info.nominal_rate_hz for info in heard.identities[0].streams} == {rate_hz}
    assert heard.sequences("ecg") == list(range(2000))


def test_values_do_not_wait_for_the_rate():
    """What the board computed needs no time line."""
    decoder = OpenViewDecoder(OpenViewSettings(sensor="board"))

    heard = hear_in_time(decoder, OPENVIEW.frames(100), rate_hz=128, flush=False)

    assert heard.readings
    assert heard.blocks == []


def test_rate_that_is_set_is_not_measured():
    """Samples at once."""
    decoder = OpenViewDecoder(OpenViewSettings(sensor="board", rate_hz=125.0))

    heard = hear_in_time(decoder, OPENVIEW.frames(100), rate_hz=250, flush=False)

    assert {item.nominal_rate_hz for item in heard.blocks} == {125.0}


def test_frame_lost_while_measuring_keeps_its_place():
    """The numbering goes on behind it."""
    decoder = OpenViewDecoder(OpenViewSettings(sensor="board"))
    frames = OPENVIEW.frames(1000)
    frames[50] = frames[50][:-1] + b"\x0c"

    heard = Heard(hear_in_time(decoder, frames, rate_hz=128))

    assert heard.sequences("ecg") == [k for k in range(1000) if k != 50]


@pytest.mark.parametrize("wrong", [{"rate_hz": 0.0}, {"rate_hz": float("nan")}, {"ecg_mv_per_count": -1.0}])
def test_wrong_settings_are_refused(wrong):
    """Misuse, told at once."""
    with pytest.raises(ValueError, match="expected a number"):
        OpenViewSettings(sensor="board", **wrong)
