"""The heart rate against what the cardiac-monitor standard asks to disclose (IEC 60601-2-27)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.features.heart_rate import N_INTERVALS, heart_rate_bpm, mean_interval_ms

DELAY_S = 0.5
"""Beats are reported this long after their R peak; a pause is counted from 0.7 s after it."""


def shown(peaks_s, until_s):
    """The rate at each whole second, from the beats reported by then."""
    rates = {}
    for second in range(1, until_s + 1):
        known_s = peaks_s[peaks_s + DELAY_S <= second]
        rr_ms = 1000 * np.diff(known_s)[-N_INTERVALS:]
        running_ms = 1000 * (second - known_s[-1] - 0.7) if len(known_s) else 0.0
        rates[second] = heart_rate_bpm(rr_ms.tolist(), running_ms)
    return rates


def step(before_bpm, after_bpm, phase_s):
    """Beats that change their rate at about 40 s, and the last beat of the old rate."""
    first = np.arange(0, 40, 60 / before_bpm) + phase_s
    return np.concatenate([first, first[-1] + np.arange(1, 150) * 60 / after_bpm]), first[-1]


@pytest.mark.parametrize(
    ("before_bpm", "after_bpm", "most_s"),
    [(80, 120, 7.1), (80, 40, 7.6), (120, 80, 9.8), (60, 206, 4.8), (60, 195, 5.0)],
)
def test_a_step_shows_within_ten_seconds(before_bpm, after_bpm, most_s):
    """Whenever between two ticks it happens, the new rate stands within 1 /min after what the docstring states."""
    for phase_s in np.linspace(0, 0.95, 20):
        peaks_s, onset_s = step(before_bpm, after_bpm, phase_s)

        rates = shown(peaks_s, 60)

        reached_s = next(at for at, rate in rates.items() if at > onset_s and abs(rate - after_bpm) <= 1)
        assert reached_s - onset_s <= most_s
        assert all(abs(rate - after_bpm) <= 1 for at, rate in rates.items() if at > reached_s)


@pytest.mark.parametrize("bpm", [30, 31, 45, 49, 50, 51, 60, 100, 150, 179, 181, 200, 240, 290, 300])
@pytest.mark.parametrize("rate_hz", [125, 250])
def test_the_whole_range_is_shown_within_one(bpm, rate_hz):
    """30-300 /min, with R peaks on whole samples."""
    for phase_s in np.linspace(0, 0.9, 7):
        peaks_s = np.round((np.arange(0, 60, 60 / bpm) + phase_s) * rate_hz) / rate_hz

        rates = shown(peaks_s, 55)

        assert all(abs(rate - bpm) <= 1 for at, rate in rates.items() if at > 25)


@pytest.mark.parametrize(
    ("intervals_s", "bpm"),
    [((0.5, 1.0), 80), ((0.6, 1.4), 60), ((0.4, 0.6), 120), ((0.5, 5 / 6), 90)],
    ids=["ventricular bigeminy", "slow alternating", "rapid alternating", "bidirectional"],
)
def test_irregular_rhythms_show_every_beat(intervals_s, bpm):
    """After 20 s, as disclosed by other makers."""
    rates = shown(np.cumsum([0.0, *intervals_s * 60]), 50)

    assert all(abs(rate - bpm) <= 1 for at, rate in rates.items() if at > 20)


@pytest.mark.parametrize("change", ["missed", "extra"])
def test_one_wrong_beat_hardly_shows(change):
    """The longest and the shortest interval do not count."""
    peaks_s = np.arange(0, 60, 0.8)
    wrong_s = np.delete(peaks_s, 40) if change == "missed" else np.sort([*peaks_s, peaks_s[40] + 0.35])

    rates = shown(wrong_s, 55)

    assert all(abs(rate - 75) < 4 for at, rate in rates.items() if at > 20)


def test_a_pause_lowers_the_rate_while_it_lasts():
    """After two usual intervals the running one counts."""
    assert heart_rate_bpm([800.0] * 12, 1500.0) == pytest.approx(75)
    assert heart_rate_bpm([800.0] * 12, 2000.0) == pytest.approx(30)
    assert heart_rate_bpm([800.0] * 12, 3000.0) == pytest.approx(20)


def test_a_pause_once_over_is_trimmed():
    """One interval of 4 s among eleven usual ones."""
    assert heart_rate_bpm([800.0] * 11 + [4000.0], 0.0) == pytest.approx(75)


def test_slow_beats_are_averaged_over_four():
    """Three intervals above 1200 ms: the mean of the last four."""
    assert mean_interval_ms([800.0] * 9 + [1300.0, 1400.0, 1500.0]) == pytest.approx(1250.0)


@pytest.mark.parametrize("rr_ms", [[], [800.0], [800.0, 800.0]])
def test_too_few_intervals_show_nothing(rr_ms):
    """Three are needed."""
    assert heart_rate_bpm(rr_ms, 0.0) is None


@given(st.lists(st.floats(200, 3000), min_size=3, max_size=40), st.floats(0, 10_000))
def test_the_rate_lies_between_the_intervals(rr_ms, running_ms):
    """It is never faster than the shortest interval, nor slower than the longest, the running one included."""
    rate = heart_rate_bpm(rr_ms, running_ms)

    longest_ms, shortest_ms = max([*rr_ms, running_ms]), min(rr_ms)
    assert 60_000 / longest_ms * (1 - 1e-9) <= rate <= 60_000 / shortest_ms * (1 + 1e-9)
    assert math.isfinite(rate)
