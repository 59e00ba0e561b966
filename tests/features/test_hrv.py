"""Heart-rate variability: the patterns of the Holter standard, and what must not count."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.features.hrv import HrvSettings, HrvWindow
from edge.messages import Beat, BeatKind

S = 1_000_000_000


def pattern(mean_s, depth_s, at_hz, duration_s=300.0):
    """RR intervals of the test pattern rr(k) = a + d sin(2 pi f T(k)) (IEC 60601-2-47), in ms."""
    intervals, at_s = [], 0.0
    while at_s < duration_s:
        rr_s = mean_s + depth_s * math.sin(2 * math.pi * at_hz * at_s)
        at_s += rr_s
        intervals.append(1000 * rr_s)
    return intervals


def train(rr_ms, start_ns=S, **fields):
    """A beat, then one at the end of each interval."""
    ends_ns = [start_ns, *(start_ns + np.round(np.cumsum(rr_ms) * 1e6).astype(np.int64)).tolist()]
    return [
        Beat(
            sensor="s",
            stream="ecg",
            at_ns=at_ns,
            sequence=at_ns // 4_000_000,
            rr_ms=None if k == 0 else rr_ms[k - 1],
            quality=1.0,
            **({"similarity": 0.99} | fields),
        )
        for k, at_ns in enumerate(ends_ns)
    ]


def fed(beats, **kwargs):
    window = HrvWindow(HrvSettings(**kwargs))
    for beat in beats:
        window.add(beat)
    return window


def five_minutes(beats):
    return fed(beats).values(beats[-1].at_ns)[1]


def swinging(n=400):
    """Intervals of 800 ms that sway by 10 ms from beat to beat: RMSSD 10 ms."""
    return [800.0 + 10 * (k % 2) for k in range(n)]


def with_changed(beats, k, **fields):
    return [*beats[:k], replace(beats[k], **fields), *beats[k + 1 :]]


@pytest.mark.parametrize(
    ("mean_s", "depth_s", "at_hz", "sdnn_ms", "rmssd_ms"),
    [(0.8, 0.035, 0.25, 24.76, 29.07), (1.0, 0.07, 0.1, 49.53, 30.53)],
)
def test_patterns_of_the_standard(mean_s, depth_s, at_hz, sdnn_ms, rmssd_ms):
    """SDNN is the depth over the square root of two, within 1 %."""
    result = five_minutes(train(pattern(mean_s, depth_s, at_hz)))

    assert result.sdnn_ms == pytest.approx(sdnn_ms, rel=0.01)
    assert result.rmssd_ms == pytest.approx(rmssd_ms, rel=0.01)
    assert result.coverage_ratio == pytest.approx(1.0, abs=0.01)
    assert result.absent is None


def test_both_windows_are_told_in_the_order_of_the_settings():
    """The last minute sways more than the four before it."""
    rr_ms = [*swinging(310), *(800.0 + 40 * (k % 2) for k in range(74))]
    beats = train(rr_ms)

    minute, whole = fed(beats).values(beats[-1].at_ns)

    assert minute.rmssd_ms == pytest.approx(40.0, rel=0.02)
    assert 10.0 < whole.rmssd_ms < 25.0


def test_pnn50_counts_differences_above_50_ms():
    """Every second difference is 60 ms, the others 0."""
    result = five_minutes(train([800.0, 800.0, 860.0, 860.0] * 90))

    assert result.pnn50_pct == pytest.approx(50, abs=0.5)


@pytest.mark.parametrize(
    "fields",
    [
        {"is_premature": True},
        {"kind": BeatKind.SUPRAVENTRICULAR},
        {"is_noise_suspect": True},
        {"similarity": 0.5},
        {"is_late": True, "similarity": None},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_intervals_on_both_sides_of_a_beat_that_is_not_normal_do_not_count(fields):
    """The beat is 30 ms early: nothing of that is seen, and no difference reaches over it."""
    rr_ms = swinging()
    rr_ms[300:302] = [rr_ms[300] - 100, rr_ms[301] + 100]
    beats = with_changed(train(rr_ms), 301, **fields)

    result = five_minutes(beats)

    assert result.rmssd_ms == pytest.approx(10.0)
    assert result.coverage_ratio == pytest.approx(1 - 1.61 / 300, abs=0.003)


def test_a_beat_found_late_counts_when_its_shape_vouches_for_it():
    """Search-back finds small beats, which are as normal as the others."""
    beats = with_changed(train(swinging()), 301, is_late=True, similarity=0.95)

    assert five_minutes(beats).coverage_ratio == five_minutes(train(swinging())).coverage_ratio


def test_an_ectopic_beat_that_nobody_marked_does_not_count():
    """The 20 % rule leaves out a premature beat and its pause."""
    rr_ms = swinging()
    rr_ms[300:302] = [500.0, 1100.0]

    assert five_minutes(train(rr_ms)).rmssd_ms == pytest.approx(10.0)


def test_missed_and_extra_beats_do_not_count():
    """Two intervals in one, and one cut in two."""
    rr_ms = [*swinging(100), 1605.0, *swinging(100), 300.0, 505.0, *swinging(170)]

    result = five_minutes(train(rr_ms))

    assert result.rmssd_ms == pytest.approx(10.0, rel=0.01)
    assert result.sdnn_ms == pytest.approx(5.0, rel=0.05)


def test_nothing_reaches_over_a_gap():
    """The first beat after a hole has no interval, and the differences begin anew after it."""
    before = train([800.0 + 10 * (k % 2) for k in range(180)])
    after = train([1000.0 + 10 * (k % 2) for k in range(130)], start_ns=before[-1].at_ns + 10 * S)

    result = five_minutes([*before, *after])

    assert result.rmssd_ms == pytest.approx(10.0)
    assert 0.9 < result.coverage_ratio < 0.98


def test_a_doubt_that_comes_afterwards_takes_the_beats_out():
    """A second turns out to be unusable after its beats were counted."""
    rr_ms = swinging()
    rr_ms[398] += 90
    beats = train(rr_ms)
    window = fed(beats)
    before = window.values(beats[-1].at_ns)[1]

    window.doubt(beats[397].at_ns)

    after = window.values(beats[-1].at_ns)[1]
    assert before.rmssd_ms > 11.0
    assert after.rmssd_ms == pytest.approx(10.0)
    assert after.coverage_ratio == pytest.approx(before.coverage_ratio - 2.5 / 300, abs=0.001)


def test_the_interval_after_a_beat_in_doubt_does_not_count():
    """It begins with a beat that may not be there."""
    beats = train(swinging())
    window = fed(beats[:-1])
    window.doubt(beats[-3].at_ns)

    window.add(beats[-1])

    assert window.values(beats[-1].at_ns)[1] == five_minutes(
        with_changed(beats, -2 + len(beats), is_noise_suspect=True)
    )


def test_a_beat_in_a_second_known_to_be_unusable_is_in_doubt_at_once():
    """The same as if the doubt came afterwards."""
    beats = train(swinging())
    told, doubted = fed(beats[:-1]), fed(beats)

    told.add(beats[-1], is_doubtful=True)
    doubted.doubt(beats[-2].at_ns)

    assert told.values(beats[-1].at_ns) == doubted.values(beats[-1].at_ns)


@pytest.mark.parametrize(
    "intervals", [[800.0], [math.nan] * 400, [800.0] * 250, [-1.0] * 400, [math.inf] * 400, [1e300] * 400]
)
def test_too_little_gives_no_value(intervals):
    """Below 80 % coverage nothing is said."""
    beats = [replace(beat, at_ns=k * S // 2) for k, beat in enumerate(train([1.0] * len(intervals)))]
    beats = [replace(beat, rr_ms=rr) for beat, rr in zip(beats, [None, *intervals], strict=True)]

    result = fed(beats).values(300 * S)[1]

    assert (result.rmssd_ms, result.sdnn_ms, result.pnn50_pct) == (None, None, None)
    assert result.absent == "coverage"
    assert 0 <= result.coverage_ratio < 0.8


def test_without_beats_there_is_no_value():
    """A window that was never fed answers."""
    assert [result.absent for result in HrvWindow().values(0)] == ["coverage", "coverage"]


def test_old_intervals_leave_the_window():
    """A minute after the last beat the minute is empty, and the five minutes are too poor."""
    beats = train(swinging())

    minute, whole = fed(beats).values(beats[-1].at_ns + 61 * S)

    assert minute.coverage_ratio == 0.0
    assert whole.coverage_ratio == pytest.approx(239 / 300, abs=0.01)
    assert whole.absent == "coverage"


def test_fibrillation_has_no_variability():
    """Intervals without order: the 20 % rule would show what it leaves over, so the rhythm is named instead."""
    rr_ms = np.random.default_rng(0).gamma(16, 45, 500).tolist()

    result = five_minutes(train(rr_ms))

    assert (result.rmssd_ms, result.absent) == (None, "irregular")


def test_strong_sinus_arrhythmia_has_a_value():
    """Breathing that sways the intervals by 12 % is order, not fibrillation."""
    result = five_minutes(train(pattern(0.9, 0.11, 0.2)))

    assert result.rmssd_ms is not None
    assert result.sdnn_ms == pytest.approx(110 / math.sqrt(2), rel=0.05)


def test_ectopy_is_not_called_irregular():
    """Every other beat is ventricular: nothing normal is left, but the atria are not fibrillating."""
    beats = train([600.0, 1000.0] * 190)
    beats = [replace(beat, similarity=0.3) if k % 2 else beat for k, beat in enumerate(beats)]

    assert five_minutes(beats).absent == "coverage"


def test_a_time_line_that_goes_back_begins_anew():
    """What came before belongs to another time line."""
    beats = train(swinging())
    window = fed(train(swinging(), start_ns=10**15))

    for beat in beats:
        window.add(beat)

    assert window.values(beats[-1].at_ns) == fed(beats).values(beats[-1].at_ns)


@pytest.mark.parametrize(
    "kwargs",
    [{"windows_s": (300.0, 60.0)}, {"min_coverage_ratio": 1.5}, {"n_neighbours": 0}],
    ids=lambda kwargs: next(iter(kwargs)),
)
def test_settings_without_sense_are_refused(kwargs):
    """The error says what was expected and what was given."""
    with pytest.raises(ValueError, match="expected"):
        HrvSettings(**kwargs)


def test_memory_is_bounded():
    """Two hours of beats, and nobody asks: no more than five minutes are kept."""
    window = fed(train([500.0] * 14_400))

    assert sum(len(part.intervals) for part in window._windows) <= 2 * 60 * 6 + 2


def one_shot(beats, at_ns, window_s):
    """The definitions written down for whole arrays: RMSSD, SDNN, pNN50, coverage."""
    normal = [beat.similarity >= 0.9 and not beat.is_premature and not beat.is_noise_suspect for beat in beats]
    rr = np.array([beat.rr_ms or np.nan for beat in beats])
    rr[[k == 0 or not (normal[k] and normal[k - 1]) for k in range(len(beats))]] = np.nan
    nn = rr.copy()
    for k in range(len(rr)):
        around = rr[max(0, k - 5) : k + 6]
        around = around[~np.isnan(around)]
        if not len(around) or not abs(rr[k] - np.median(around)) <= 0.2 * np.median(around):
            nn[k] = np.nan
    steps = np.diff(nn, prepend=np.nan)
    is_inside = np.array([beat.at_ns > at_ns - window_s * S for beat in beats])
    nn, steps = nn[is_inside & ~np.isnan(nn)], steps[is_inside & ~np.isnan(steps)]
    return np.sqrt(np.mean(steps**2)), np.std(nn, ddof=1), 100 * np.mean(np.abs(steps) > 50), nn.sum() / 1e3 / window_s


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_beat_by_beat_equals_the_definition(seed):
    """Whatever the beats and the doubts, the running sums are those of the whole window."""
    rng = np.random.default_rng(seed)
    rr_ms = np.round(rng.normal(800, rng.uniform(1, 90), 450), 3).clip(300).tolist()
    beats = train(rr_ms)
    for k in np.flatnonzero(rng.random(451) < 0.05):
        fields = [{"similarity": 0.2}, {"is_premature": True}, {"is_noise_suspect": True}]
        beats[k] = replace(beats[k], **fields[int(rng.integers(3))])
    doubts = sorted(rng.choice(450, 3, replace=False).tolist())

    window = HrvWindow(HrvSettings(min_coverage_ratio=0.0))
    for k, beat in enumerate(beats):
        window.add(beat)
        if k in doubts:
            window.doubt(beats[max(0, k - 3)].at_ns)
        if k % 7 == 0:
            window.values(beat.at_ns)
    for k in doubts:
        for near in range(max(0, k - 3) + 1, k + 1):
            beats[near] = replace(beats[near], is_noise_suspect=True)

    for result, window_s in zip(window.values(beats[-1].at_ns), (60, 300), strict=True):
        expected = one_shot(beats, beats[-1].at_ns, window_s)
        assert result.coverage_ratio == pytest.approx(expected[3], rel=1e-6)
        if result.absent is None:
            assert (result.rmssd_ms, result.sdnn_ms, result.pnn50_pct) == pytest.approx(expected[:3], rel=1e-5)


@pytest.mark.parametrize("n_later", [0, 1, 3])
def test_a_class_that_comes_later_counts_as_if_it_had_come_with_the_beat(n_later):
    """The intervals before and after an ectopic beat leave the values, however many beats have come since."""
    rr_ms = np.round(np.random.default_rng(1).normal(800, 30, 200), 3).tolist()
    beats = train(rr_ms)
    ectopic = {40, 41, 100, 150}

    told_late, told_at_once = HrvWindow(), HrvWindow()
    for k, beat in enumerate(beats):
        told_late.add(beat)
        if k - n_later in ectopic:
            told_late.call_abnormal(replace(beats[k - n_later], kind=BeatKind.SUPRAVENTRICULAR))
        told_at_once.add(replace(beat, kind=BeatKind.SUPRAVENTRICULAR) if k in ectopic else beat)

    assert told_late.values(beats[-1].at_ns) == told_at_once.values(beats[-1].at_ns)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([-(10**18), 0, 1, 10**9, 2**63]),
            st.integers(0, 10**11),
            st.one_of(st.none(), st.floats()),
        ),
        max_size=60,
    )
)
def test_impossible_beats_give_values_or_none(items):
    """Any instants and intervals, in any order."""
    window = HrvWindow()
    for base_ns, offset_ns, rr_ms in items:
        beat = Beat(sensor="s", stream="e", at_ns=base_ns + offset_ns, sequence=0, rr_ms=rr_ms, quality=1.0)
        window.add(beat)
        window.doubt(offset_ns)
        for result in itertools.chain(window.values(base_ns), window.values(offset_ns)):
            assert (result.rmssd_ms is None) == (result.absent is not None)
            assert result.coverage_ratio >= 0
