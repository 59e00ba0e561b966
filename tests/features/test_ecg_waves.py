"""What the waveform looks like, on waveforms whose look is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.features.ecg_waves import EcgWaves, leakage
from tests.features.ecg_signals import blocks, ecg, regular

TIME_S = np.arange(20 * 250) / 250


def seconds(values, rate_hz=250.0, **kwargs):
    stage = EcgWaves()
    return [waves for item in blocks(values, rate_hz, **kwargs) for waves in stage.push(item)]


@pytest.mark.parametrize("frequency_hz", [3.0, 5.0, 7.0])
def test_a_sine_wave_leaks_next_to_nothing(frequency_hz):
    """Half a period later it is its own negative."""
    found = seconds(0.5 * np.sin(2 * np.pi * frequency_hz * TIME_S))

    assert all(waves.leads[0].leakage < 0.2 for waves in found[4:])


@pytest.mark.parametrize("rate_bpm", [40, 80, 150])
def test_beats_with_rest_between_them_leak_almost_everything(rate_bpm):
    """Above the 0.406 below which the published filter says fibrillation."""
    found = seconds(ecg(regular(rate_bpm, 20), 20))

    assert all(waves.leads[0].leakage > 0.5 for waves in found[4:])


def test_the_window_must_be_full():
    """A verdict on less than four seconds would be one on the start of the filter."""
    found = seconds(ecg(regular(80, 20), 20))

    assert [waves.leads[0].leakage is None for waves in found[:5]] == [True, True, True, False, False]
    assert [waves.sequence for waves in found] == [250 * k for k in range(1, 21)]


def test_a_missing_sample_leaves_no_leakage_while_it_is_in_the_window():
    """Nothing is made up where nothing was measured."""
    values = ecg(regular(80, 20), 20)
    values[2000] = np.nan

    found = seconds(values)

    assert [k for k, waves in enumerate(found) if waves.leads[0].leakage is None] == [0, 1, 2, 8, 9, 10, 11]


def test_a_hole_starts_anew():
    """A window never reaches over missing samples."""
    items = blocks(ecg(regular(80, 20), 20))
    stage = EcgWaves()

    found = [
        w
        for item in [*items[:50], *(replace(i, sequence=i.sequence + 500) for i in items[50:])]
        for w in stage.push(item)
    ]

    assert [waves.leads[0].leakage is None for waves in found[9:15]] == [False, True, True, True, False, False]


def test_sizes_are_in_millivolts_and_by_lead():
    """A wave of 0.5 mV in the first lead, nothing in the second."""
    values = np.stack([500 * np.sin(2 * np.pi * 5 * TIME_S), np.zeros(len(TIME_S))], axis=1)

    last = seconds(values, names=("I", "II"), unit="uV")[-1]

    assert [lead.name for lead in last.leads] == ["I", "II"]
    assert last.leads[0].largest_mv == pytest.approx(0.5, rel=0.05)
    assert (last.leads[1].largest_mv, last.leads[1].leakage) == (0.0, 1.0)


def test_a_flat_curve_leaks_everything():
    """It has no period."""
    assert leakage(np.zeros(1000)) == 1.0


def test_a_stream_too_slow_for_the_band_is_left_alone():
    """Ten samples a second show no wave of 15 Hz; the stage says nothing rather than failing."""
    assert seconds(np.zeros(200), rate_hz=10.0) == []
