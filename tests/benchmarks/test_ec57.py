"""Beats are scored as EC57 says: the benchmark tables depend on every line of this."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ec57 import (
    LEARNING_S,
    Reference,
    average,
    gross,
    pair,
    rate_error,
    reference_of,
    score,
    shutdown_spans,
    window_samples,
)

RATE_HZ = 360.0

instants = st.lists(st.integers(0, 3000), unique=True, max_size=40).map(sorted)


def reference(*beats, flutter=(), n_samples=100_000):
    return Reference(beats=np.array(beats, dtype=np.int64), flutter=flutter, rate_hz=RATE_HZ, n_samples=n_samples)


def counts(tally):
    return tally.n_matched, tally.n_missed, tally.n_invented


@pytest.mark.parametrize(("offset", "expected"), [(54, (1, 0, 0)), (-54, (1, 0, 0)), (55, (0, 1, 1)), (-55, (0, 1, 1))])
def test_a_detection_exactly_150_ms_away_still_matches(offset, expected):
    """54 samples at 360 Hz are 150 ms."""
    assert counts(score(reference(1000), [1000 + offset])) == expected


def test_the_window_never_exceeds_150_ms_at_any_rate():
    """37.5 samples at 250 Hz become 37, and 0.15 s at 100 Hz is 15 in spite of binary fractions."""
    assert [window_samples(rate_hz) for rate_hz in (100.0, 128.0, 250.0, 360.0, 500.0, 1000.0)] == [
        *(15, 19, 37, 54, 75, 150)
    ]


def test_of_two_detections_near_one_beat_the_nearer_one_counts():
    """Each annotation is used once: the other detection is invented."""
    tally = score(reference(1000), [960, 1010])

    assert counts(tally) == (1, 0, 1)
    assert tally.offsets_ms == pytest.approx([1000 * 10 / RATE_HZ])


def test_one_detection_between_two_beats_belongs_to_the_nearer_one():
    """The other beat is missed, although it lies within the window."""
    tally = score(reference(1000, 1060), [1040])

    assert counts(tally) == (1, 1, 0)
    assert tally.offsets_ms == pytest.approx([1000 * -20 / RATE_HZ])


def test_no_detection_and_no_beat_give_no_percentage():
    """Nothing found of nothing is neither 0 nor 100 per cent."""
    tally = score(reference(), [])

    assert counts(tally) == (0, 0, 0)
    assert np.isnan([tally.sensitivity_pct, tally.predictivity_pct, tally.f1_pct]).all()
    assert np.isnan(average([tally])).all()


def test_all_missed_and_all_invented_are_counted():
    """An empty side must not end the count early."""
    assert counts(score(reference(100, 500), [])) == (0, 2, 0)
    assert counts(score(reference(), [100, 500])) == (0, 0, 2)


def test_detections_in_flutter_count_neither_way():
    """No beats are annotated there; a beat just outside still matches a detection just inside."""
    flutter = ((2000, 5000),)

    tally = score(reference(1000, 1990, 6000, flutter=flutter), [1000, 2010, 3000, 4000, 6000])

    assert counts(tally) == (3, 0, 0)


def test_annotations_between_the_flutter_marks_are_no_beats():
    """An episode that is never ended lasts to the end of the record."""
    marks = reference_of([10, 20, 30, 40, 50, 60, 70], ["N", "[", "V", "]", "+", "r", "["], RATE_HZ, 100)

    assert marks.beats.tolist() == [10, 60]
    assert marks.flutter == ((20, 40), (70, 99))


def test_after_the_learning_period_only_later_beats_count():
    """The first scored beat keeps a detection from just before the border; a detection of an unscored beat is not invented."""
    border = round(LEARNING_S * RATE_HZ)
    beats = reference(border - 400, border - 3, border + 2, border + 400, n_samples=border + 1000)

    tally = score(beats, [border - 900, border - 1, border + 410, border + 800], from_s=LEARNING_S)

    assert counts(tally) == (1, 1, 1)
    assert tally.scored_s == pytest.approx(1000 / RATE_HZ)


def test_shutdown_is_tallied_apart_and_counts_as_missed_in_the_gross_sensitivity():
    """Beats that the device withheld are neither found nor missed in what it analysed."""
    shutdown = shutdown_spans([True, False, True], n_second=360)

    tally = score(reference(100, 400, 500, 800, n_samples=1080), [100, 400, 600, 950], shutdown=shutdown)

    assert shutdown == [(360, 719)]
    assert counts(tally) == (1, 1, 1)
    assert (tally.n_shut_down, tally.n_invented_shut_down) == (2, 1)
    assert tally.shutdown_s == pytest.approx(1.0)
    assert tally.shutdown_pct == pytest.approx(100 / 3)
    assert tally.sensitivity_pct == pytest.approx(50)
    assert tally.gross_sensitivity_pct == pytest.approx(25)


def test_gross_weighs_beats_and_average_weighs_records():
    """A short bad record counts little in the one and fully in the other."""
    good = score(reference(*range(1000, 10000, 1000)), range(1000, 10000, 1000))
    bad = score(reference(1000), [])

    assert gross([good, bad]).sensitivity_pct == pytest.approx(90)
    assert average([good, bad]) == (pytest.approx(50), pytest.approx(100))


def test_the_rate_error_is_zero_for_the_annotations_and_grows_with_invented_beats():
    """72 a minute, then every beat counted twice in the second half."""
    beats = np.arange(0, 100_000, 300)
    record = reference(*beats)
    doubled = np.sort(np.concatenate([beats, beats[len(beats) // 2 :] + 150]))

    assert rate_error(record, beats) == (0.0, 0.0)
    error_bpm, error_pct = rate_error(record, doubled)

    assert 45 < error_bpm < 72
    assert error_pct == pytest.approx(100 * error_bpm / 72, rel=1e-3)


@given(instants, instants, st.integers(1, 200))
def test_every_annotation_is_used_once_and_only_within_the_window(beats, found, n_window):
    """Pairs ascend strictly on both sides and lie within the window."""
    rows, columns = pair(beats, found, n_window)

    assert len(rows) == len(columns)
    assert (np.diff(rows) > 0).all()
    assert (np.diff(columns) > 0).all()
    assert all(abs(beats[i] - found[j]) <= n_window for i, j in zip(rows, columns, strict=True))


@given(instants, st.integers(0, 50))
def test_shifted_beats_that_lie_far_apart_all_match(beats, shift):
    """With intervals above twice the window, a constant delay within the window costs nothing."""
    spread = [at * 120 for at in beats]

    rows, _ = pair(spread, [at + shift for at in spread], 54)

    assert len(rows) == len(spread)


@pytest.mark.parametrize("seed", range(5))
def test_counts_agree_with_an_independent_comparator(seed):
    """`wfdb.processing.compare_annotations` on distorted beats; its window is exclusive, ours inclusive."""
    wfdb_processing = pytest.importorskip("wfdb.processing")
    random = np.random.default_rng(seed)
    beats = np.cumsum(random.integers(140, 450, 2000))
    found = (beats + random.integers(-60, 61, len(beats)))[random.random(len(beats)) > 0.05]
    found = np.unique(np.concatenate([found, random.integers(0, beats[-1], 60)]))

    tally = score(reference(*beats, n_samples=int(beats[-1]) + 1), found)
    other = wfdb_processing.compare_annotations(beats, found, window_samples(RATE_HZ) + 1)

    assert counts(tally) == (other.tp, other.fn, other.fp)
