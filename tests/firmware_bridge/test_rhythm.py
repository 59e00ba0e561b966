"""The heart's sequence of beats: each rhythm has the intervals, kinds and pauses that define it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.messages import BeatKind
from firmware_bridge.virtual.respiration import Respiration
from firmware_bridge.virtual.rhythm import BeatSequence
from firmware_bridge.virtual.scenario import Origin, Premature, Rhythm, Scenario, Step
from firmware_bridge.virtual.waves import Morphology


def sequence(*steps, seed=1, age_years=60.0):
    states = Scenario(steps=steps).states()
    return BeatSequence(
        states, Respiration(states, np.random.default_rng(seed)), np.random.default_rng(seed), age_years=age_years
    )


def beats_of(*steps, until_s=120.0, seed=1, age_years=60.0):
    return sequence(*steps, seed=seed, age_years=age_years).until(until_s)[0]


def rr_s(beats):
    return np.diff([beat.at_s for beat in beats])


def step(rhythm="sinus", at_s=0.0, **changes):
    return Step(at_s=at_s, rhythm=Rhythm(rhythm), **changes)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(min_value=0, max_value=20), min_size=1, max_size=15),
    st.lists(st.sampled_from([*Rhythm]), min_size=1, max_size=5),
    st.sampled_from([*Premature]),
)
def test_beats_do_not_depend_on_how_far_ahead_is_asked(increments_s, rhythms, premature):
    """Invariant: asking in any portions gives the same beats and rhythm changes, in strictly rising order."""
    steps = [Step(at_s=8.0 * k, rhythm=rhythm, premature=premature) for k, rhythm in enumerate(rhythms)]
    end_s = sum(increments_s)
    portioned = sequence(*steps)

    whole_beats, whole_starts = sequence(*steps).until(end_s)
    portions = [portioned.until(sum(increments_s[: k + 1])) for k in range(len(increments_s))]

    beats = [beat for part, _ in portions for beat in part]
    starts = [start for _, part in portions for start in part]
    n_beats = sum(beat.at_s <= end_s for beat in whole_beats)
    assert beats[:n_beats] == whole_beats[:n_beats]
    assert [s for s in starts if s.at_s <= end_s] == [s for s in whole_starts if s.at_s <= end_s]
    assert all(a.at_s < b.at_s for a, b in itertools.pairwise(beats))
    assert all(a.at_s <= b.at_s for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize(
    ("rhythm", "bpm", "spread"),
    [
        ("sinus", 70, (0.005, 0.06)),
        ("sinus-bradycardia", 42, (0.005, 0.06)),
        ("sinus-tachycardia", 125, (0.005, 0.06)),
        ("supraventricular-tachycardia", 175, (0.003, 0.03)),
        ("ventricular-tachycardia", 180, (0.003, 0.03)),
        ("paced", 60, (0.0, 0.002)),
        ("atrial-fibrillation", 110, (0.18, 0.32)),
    ],
)
def test_each_rhythm_has_its_rate_and_regularity(rhythm, bpm, spread):
    """Mean rate within 5 % and coefficient of variation as the rhythm has it: irregular only in fibrillation."""
    intervals_s = rr_s(beats_of(step(rhythm), until_s=300.0))

    assert 60.0 / intervals_s.mean() == pytest.approx(bpm, rel=0.05)
    assert spread[0] <= intervals_s.std() / intervals_s.mean() <= spread[1]


def test_atrial_fibrillation_is_irregularly_irregular():
    """One interval says nothing about the next: their correlation is within what chance gives for 500 beats."""
    intervals_s = rr_s(beats_of(step("atrial-fibrillation"), until_s=300.0))

    correlation = np.corrcoef(intervals_s[:-1], intervals_s[1:])[0, 1]

    assert abs(correlation) < 0.13
    assert intervals_s.min() > 0.27


def test_sinus_rhythm_breathes():
    """The spectrum of the heart rate has its respiratory peak at the breathing rate; it is weaker at eighty."""
    young, old = (beats_of(step(respiratory_rate_bpm=15.0), until_s=300.0, age_years=age) for age in (25.0, 80.0))

    grid_s = np.arange(5.0, 295.0, 0.25)
    rate_hz = np.fft.rfftfreq(len(grid_s), 0.25)
    power = []
    for beats in (young, old):
        at_s = np.array([beat.at_s for beat in beats])
        resampled = np.interp(grid_s, at_s[1:], np.diff(at_s))
        spectrum = np.abs(np.fft.rfft((resampled - resampled.mean()) * np.hanning(len(grid_s)))) ** 2
        band = (rate_hz > 0.18) & (rate_hz < 0.35)
        power.append(spectrum[band].sum())
        assert rate_hz[band][spectrum[band].argmax()] == pytest.approx(0.25, abs=0.03)

    assert power[0] > 2 * power[1]


def test_a_single_premature_beat_has_a_compensatory_pause():
    """Early, wide, and followed by a pause that makes the two intervals together two sinus intervals."""
    beats = beats_of(step(premature=Premature.SINGLE, premature_per_min=10.0), until_s=300.0)

    premature = [k for k, beat in enumerate(beats) if beat.kind is BeatKind.VENTRICULAR]

    assert 45 <= len(premature) <= 55
    for k in premature[:-1]:
        usual_s = beats[k - 1].rr_s if beats[k - 2].kind is BeatKind.NORMAL else beats[k].cycle_s
        assert beats[k].rr_s < 0.72 * usual_s
        assert beats[k + 1].rr_s > 1.2 * usual_s
        assert beats[k + 1].at_s - beats[k - 1].at_s == pytest.approx(2 * usual_s, rel=0.12)
        assert beats[k].morphology is Morphology.VENTRICULAR
        assert beats[k].pulse_ratio < 0.6


def test_an_atrial_premature_beat_resets_the_sinus():
    """Early, narrow, class S, and the pause after it is shorter than compensatory."""
    beats = beats_of(
        Step(
            at_s=0.0,
            premature=Premature.SINGLE,
            premature_origin=Origin.ATRIAL,
        ),
        until_s=120.0,
    )

    early = [k for k, beat in enumerate(beats[:-1]) if beat.kind is BeatKind.SUPRAVENTRICULAR]

    assert early
    for k in early:
        assert beats[k + 1].at_s - beats[k - 1].at_s < 1.95 * beats[k].cycle_s


@pytest.mark.parametrize(("premature", "pattern"), [("bigeminy", "VN"), ("trigeminy", "VNN")])
def test_fixed_patterns_keep_their_order(premature, pattern):
    """Every second or every third beat is ventricular, without an exception."""
    beats = beats_of(step(premature=Premature(premature)), until_s=60.0)

    kinds = "".join(beat.kind.value for beat in beats)

    assert kinds.lstrip("N").startswith(pattern * 10)


def test_a_run_is_fast_and_named_ventricular_tachycardia():
    """Five wide beats in a row at the rate of the run; the rhythm is named VT for as long as it lasts."""
    heart = sequence(step(premature=Premature.RUN, premature_run_beats=5, premature_run_bpm=150.0))

    beats, starts = heart.until(60.0)

    runs = [list(group) for kind, group in itertools.groupby(beats, key=lambda b: b.kind) if kind == "V"]
    assert {len(run) for run in runs[:-1]} == {5}
    assert 60.0 / rr_s(runs[0]).mean() == pytest.approx(150.0, rel=0.05)
    named = [(a.at_s, b.at_s) for a, b in itertools.pairwise(starts) if a.label == "VT"]
    for run, (start_s, end_s) in zip(runs, named, strict=False):
        assert start_s < run[0].at_s
        assert run[-1].at_s < end_s


def test_a_new_rhythm_begins_at_a_beat():
    """The rhythm ordered at 30 s is there from the first beat after; nothing of the old one comes later."""
    beats, starts = sequence(step(), step("ventricular-tachycardia", at_s=30.0)).until(40.0)

    kinds = [(beat.at_s, beat.kind) for beat in beats]
    first_s = next(at_s for at_s, kind in kinds if kind is BeatKind.VENTRICULAR)
    assert 30.0 <= first_s < 31.3
    assert all(kind is BeatKind.VENTRICULAR for at_s, kind in kinds if at_s > first_s)
    assert [start.label for start in starts] == ["N", "VT"]
    assert 30.0 <= starts[1].at_s < first_s


@pytest.mark.parametrize("rhythm", ["asystole", "ventricular-fibrillation"])
def test_standstill_has_no_beats_and_ends_at_once(rhythm):
    """No beat during the standstill; the heart starts again within a second of the order."""
    beats = beats_of(step(), step(rhythm, at_s=20.0), step("sinus", at_s=40.0), until_s=60.0)

    at_s = np.array([beat.at_s for beat in beats])

    assert not ((at_s > 21.2) & (at_s < 40.0)).any()
    assert ((at_s > 40.0) & (at_s < 41.0)).any()


def test_the_rate_glides_within_a_rhythm():
    """A new rate is approached over several seconds, not jumped to."""
    beats = beats_of(step(heart_rate_bpm=60.0), Step(at_s=60.0, heart_rate_bpm=120.0), until_s=120.0)

    def rate_at(at_s):
        near = [beat.rr_s for beat in beats if abs(beat.at_s - at_s) < 2.0]
        return 60.0 / np.mean(near)

    assert rate_at(58.0) == pytest.approx(60.0, abs=4.0)
    assert 70.0 < rate_at(63.0) < 105.0
    assert rate_at(90.0) == pytest.approx(120.0, abs=6.0)


def test_a_heart_that_fills_less_ejects_less():
    """In ventricular tachycardia the pulse is weak, in sinus rhythm nearly full."""
    assert all(beat.pulse_ratio < 0.35 for beat in beats_of(step("ventricular-tachycardia"))[1:])
    assert all(beat.pulse_ratio > 0.9 for beat in beats_of(step())[1:])
