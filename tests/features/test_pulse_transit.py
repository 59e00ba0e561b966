"""PulseTransit pairs beats with the pulses they made."""

from __future__ import annotations

import numpy as np
import pytest

from edge.features.pulse_transit import PulseTransit, PulseTransitSettings
from edge.messages import Beat, Gap, Pulse, Tick


def beat(at_s: float, *, stream: str = "ecg", is_noise_suspect: bool = False) -> Beat:
    at_ns = round(at_s * 1e9)
    return Beat(
        sensor="chest",
        stream=stream,
        at_ns=at_ns,
        sequence=0,
        rr_ms=None,
        quality=0.9,
        is_noise_suspect=is_noise_suspect,
    )


def pulse(at_s: float, *, is_noise_suspect: bool = False) -> Pulse:
    return Pulse(
        sensor="finger",
        stream="ppg",
        channel="IR",
        at_ns=round(at_s * 1e9),
        sequence=0,
        interval_ms=None,
        amplitude=1.0,
        baseline=100.0,
        quality=0.8,
        is_noise_suspect=is_noise_suspect,
    )


def told(items: list, at_s: float = 30.0):
    stage = PulseTransit()
    for item in items:
        stage.push(item)
    estimates = stage.push(Tick(at_ns=round(at_s * 1e9)))
    assert len(estimates) == 1
    return estimates[0]


R_S = np.arange(0.5, 30.0, 0.8)


def test_the_time_from_r_peak_to_foot_is_told():
    """A constant delay is found exactly, with the quality of the poorer signal."""
    found = told([*map(beat, R_S), *map(pulse, R_S + 0.22)])

    assert found.value == pytest.approx(220.0)
    assert (found.measure, found.unit, found.absent) == ("pulse_transit_ms", "ms", None)
    assert found.quality == pytest.approx(0.8)


@pytest.mark.parametrize("transit_s", [0.03, 0.6])
def test_an_impossible_delay_gives_no_value(transit_s):
    """A light signal that is not on the time line of the ECG makes no pairs."""
    found = told([*map(beat, R_S), *map(pulse, R_S + transit_s)])

    assert (found.value, found.absent, found.quality) == (None, "too-few-pairs", 0.0)


def test_a_delay_that_scatters_gives_no_value():
    """Pairs that do not agree are no transit time."""
    scatter_s = np.random.default_rng(0).uniform(0.08, 0.45, len(R_S))

    assert told([*map(beat, R_S), *map(pulse, R_S + scatter_s)]).absent == "spread"


def test_one_wild_pair_does_not_count():
    """The median passes over an ectopic beat."""
    transit_s = np.full(len(R_S), 0.2)
    transit_s[-5] = 0.4

    assert told([*map(beat, R_S), *map(pulse, R_S + transit_s)]).value == pytest.approx(200.0)


def test_suspect_beats_and_pulses_make_no_pairs():
    """Noise is not measured."""
    beats = [beat(at, is_noise_suspect=bool(at > 9)) for at in R_S]
    pulses = [pulse(at + 0.2, is_noise_suspect=bool(at < 18)) for at in R_S]

    assert told([*beats, *map(pulse, R_S + 0.2)]).absent == "too-few-pairs"
    assert told([*map(beat, R_S), *pulses], at_s=22.0).absent == "too-few-pairs"


def test_two_beats_in_reach_make_no_pair():
    """A foot 70 ms after one beat and 400 ms after another may come from either."""
    r_s = np.arange(0.5, 30.0, 0.33)

    assert told([*map(beat, r_s), *map(pulse, r_s + 0.4)]).absent == "too-few-pairs"


def test_what_is_younger_than_the_delay_does_not_count():
    """The answer at a tick is the same whether the last two seconds have come or not."""
    beats, pulses = list(map(beat, R_S)), list(map(pulse, R_S + 0.2 + 0.001 * np.arange(len(R_S))))
    late = [item for item in [*beats, *pulses] if item.at_ns <= 27.5e9]

    assert told([*beats, *pulses]) == told(late)


def test_old_pairs_are_no_value():
    """Nothing for 20 s: the value is not held."""
    assert told([*map(beat, R_S), *map(pulse, R_S + 0.2)], at_s=60.0).absent == "too-few-pairs"


def test_a_gap_starts_the_stream_anew():
    """Pairs from before a hole do not count."""
    gap = Gap(sensor="finger", stream="ppg", start_ns=0, end_ns=1, n_missing=None, reason="lost")

    assert told([*map(beat, R_S), *map(pulse, R_S + 0.2), gap]).absent == "too-few-pairs"


def test_the_stream_with_the_latest_beats_is_the_ecg():
    """A sensor that has stopped is not paired with."""
    old = [beat(at + 0.1, stream="old") for at in R_S if at < 10]

    assert told([*old, *map(beat, R_S), *map(pulse, R_S + 0.2)]).value == pytest.approx(200.0)


def test_impossible_settings_are_refused():
    """The reach must be a range."""
    with pytest.raises(ValueError, match="shortest_ms"):
        PulseTransitSettings(shortest_ms=500.0, longest_ms=50.0)
