"""``vitaledge simulate --noise``: what is added, and what is refused."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from edge.__main__ import main
from edge.cli.noise import add_noise_options, with_noise
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Scenario

RATE = 250


def options(*words):
    parser = argparse.ArgumentParser()
    add_noise_options(parser)
    return parser.parse_args(words)


def quiet():
    return VirtualPatient(Scenario.simple(seed=7))


def added(*words, seconds=20):
    """What the options add to the first seconds of a quiet patient's ECG."""
    n = seconds * RATE
    return with_noise(quiet, options(*words)).read("ecg", n) - quiet().read("ecg", n)


def noise_record(folder, rate_hz=100, n=6000):
    """A WFDB record with one signal of white noise, 16 bit, 200 steps a millivolt."""
    samples = np.random.default_rng(1).integers(-200, 200, n).astype("<i2")
    (folder / "hiss.dat").write_bytes(samples.tobytes())
    (folder / "hiss.hea").write_text(f"hiss 1 {rate_hz} {n}\nhiss.dat 16 200 16 0 {samples[0]} 0 0 noise\n")
    return str(folder / "hiss")


@pytest.mark.parametrize("kind", ["bw", "em", "ma"])
def test_noise_begins_when_asked(kind):
    """Clean before ``--noise-after``, noisy from there on."""
    noise = added("--noise", kind, "--noise-after", "10")

    assert not noise[: 10 * RATE].any()
    assert noise[10 * RATE :].any(axis=0).all()


def test_six_decibels_less_is_twice_the_noise():
    """``--snr`` counts in decibels of power."""
    loud, soft = (added("--noise", "ma", "--noise-after", "0", "--snr", snr).std(axis=0) for snr in ("0", "6"))

    assert loud / soft == pytest.approx(10 ** (6 / 20), rel=0.02)


def test_the_noise_can_be_a_recording(tmp_path):
    """A recording of another rate is brought to that of the ECG."""
    noise = added("--noise", noise_record(tmp_path), "--noise-after", "5")

    assert not noise[: 5 * RATE].any()
    assert noise[5 * RATE :].std(axis=0).min() > 0.01


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--noise", "ma", "--snr", "nan"], "--snr"),
        (["--noise", "ma", "--noise-after", "-1"], "--noise-after"),
        (["--noise", "no/such/record"], "no/such/record"),
    ],
)
def test_impossible_noise_is_told(words, told, capsys, tmp_path):
    """The command ends with a sentence that names what is wrong, before any link is made."""
    code = main(["simulate", "quiet", "--serial", str(tmp_path / "port"), *words])

    assert code in {2, 3}
    assert told in capsys.readouterr().err
    assert not (tmp_path / "port").exists()


def test_noise_needs_beats_to_be_measured_against(capsys, tmp_path):
    """Without any beat there is no signal whose power the noise could be held against."""
    story = tmp_path / "still.toml"
    story.write_text('title = "still"\nduration_s = 20\n[[step]]\nat_s = 0\nrhythm = "asystole"\n')

    code = main(["simulate", str(story), "--noise", "ma", "--serial", str(tmp_path / "port")])

    assert code == 2
    assert "at least one beat" in capsys.readouterr().err
