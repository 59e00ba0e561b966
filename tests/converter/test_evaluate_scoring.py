"""What the tables of an evaluation are counted from: every line here moves a published figure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.evaluation.beats import AAMI, BEAT_CLASSES, NO_BEAT, beat_statistics, class_indices, confusion
from converter.evaluation.bootstrap import intervals
from converter.evaluation.matching import BEAT_SYMBOLS, Reference, reference_of
from converter.evaluation.rhythms import (
    episode_counts,
    episode_statistics,
    label_confusion,
    label_of_rhythms,
    label_statistics,
    spans_of,
)

RATE_HZ = 360.0
N, S, V, F, Q = range(5)


def annotated(*beats, n_samples=400_000, flutter=()):
    """Beats given as (sample, symbol)."""
    return Reference(
        beats=np.array([at for at, _ in beats], dtype=np.int64),
        symbols=tuple(symbol for _, symbol in beats),
        flutter=flutter,
        rate_hz=RATE_HZ,
        n_samples=n_samples,
    )


def values(statistics):
    return {name: float(np.squeeze(value)) for name, value in statistics.items()}


class TestBeats:
    def test_escape_beats_of_atria_and_node_are_normal(self):
        """The division that all published results on these records use; a known page gets it wrong."""
        assert AAMI["e"] == AAMI["j"] == "N"
        assert [BEAT_CLASSES[k] for k in class_indices("NLRejAaJSVEF/fQ?")] == list("NNNNNSSSSVVFQQQQ")

    def test_every_symbol_that_is_matched_has_a_class(self):
        assert set(AAMI) >= BEAT_SYMBOLS

    def test_reading_annotations_keeps_the_symbol_of_each_beat(self):
        """Marks that are no beats, and beats in flutter, take none with them."""
        marks = reference_of([5, 10, 20, 30, 40, 50], ["+", "N", "[", "V", "]", "A"], RATE_HZ, 100)

        assert marks.beats.tolist() == [10, 50]
        assert marks.symbols == ("N", "A")

    def test_each_pair_is_counted_at_its_class_and_the_rest_as_missed_or_invented(self):
        beats = annotated((1000, "N"), (2000, "V"), (3000, "a"), (4000, "V"), (5000, "F"))

        counts = confusion(beats, [1010, 2010, 3010, 5000, 6000], [N, V, N, V, S])

        expected = np.zeros((6, 6), dtype=int)
        expected[N, N] = expected[V, V] = expected[S, N] = expected[F, V] = 1
        expected[V, NO_BEAT] = expected[NO_BEAT, S] = 1
        assert counts.tolist() == expected.tolist()

    def test_beats_of_the_learning_period_and_in_flutter_do_not_count(self):
        """One pair, one missed and one invented beat before five minutes; an invented one in flutter."""
        beats = annotated((1000, "V"), (50_000, "V"), (110_000, "V"), flutter=((200_000, 300_000),))

        counts = confusion(beats, [1000, 80_000, 110_000, 250_000], [V, V, V, V], from_s=300.0)

        assert counts.sum() == 1
        assert counts[V, V] == 1

    def test_statistics_are_those_of_the_standard(self):
        """Every cell has its own number, so that a cell in the wrong sum shows; the sums are written out as in bxb."""
        c = np.arange(1, 37).reshape(6, 6) ** 2
        c[NO_BEAT, NO_BEAT] = 0
        (nn, ns, nv, nf, nq, no), (sn, ss, sv, sf, sq, so), (vn, vs, vv, vf, vq, vo) = c[:3].tolist()
        (fn, fs, fv, ff, fq, _), (qn, qs, qv, qf, qq, _), (on, os, ov, of, oq, _) = c[3:].tolist()
        quiet = nn + ns + nf + nq + sn + ss + sf + sq + fn + fs + ff + fq + qn + qs + qf + qq + on + os + of + oq

        found = values(beat_statistics(c))

        assert found["veb_se_pct"] == pytest.approx(100 * vv / (vn + vs + vv + vf + vq + vo))
        assert found["veb_p_pct"] == pytest.approx(100 * vv / (vv + nv + sv + ov))
        assert found["veb_fpr_pct"] == pytest.approx(100 * (nv + sv + ov) / (nv + sv + ov + quiet))
        assert found["sveb_se_pct"] == pytest.approx(100 * ss / (sn + ss + sv + sf + sq + so))
        assert found["sveb_p_pct"] == pytest.approx(100 * ss / (ss + ns + vs + fs + os))
        assert found["f_se_pct"] == pytest.approx(100 * ff / c[F].sum())
        both = c[:5, :5].sum()
        assert found["qrs_se_pct"] == pytest.approx(100 * both / c[:5].sum())
        assert found["qrs_p_pct"] == pytest.approx(100 * both / c[:, :5].sum())
        assert found["accuracy_pct"] == pytest.approx(100 * (nn + ss + vv + ff + qq) / both)
        assert no > 0
        assert fv > 0
        assert qv > 0

    def test_no_beats_give_no_percentage(self):
        """Nothing of nothing is neither 0 nor 100."""
        assert np.isnan(list(values(beat_statistics(np.zeros((6, 6), dtype=int))).values())).all()

    @given(
        st.lists(st.tuples(st.integers(0, 5000), st.sampled_from("NVASF/")), unique_by=lambda b: b[0], max_size=30),
        st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 4)), unique_by=lambda b: b[0], max_size=30),
    )
    def test_every_beat_of_either_side_is_counted_once(self, beats, found):
        """The rows sum up to the annotations, the columns to the findings, class by class."""
        beats, found = sorted(beats), sorted(found)

        counts = confusion(annotated(*beats), [at for at, _ in found], [kind for _, kind in found])

        truth = class_indices([symbol for _, symbol in beats])
        assert counts[:5].sum(axis=1).tolist() == np.bincount(truth, minlength=5).tolist()
        given_classes = np.array([kind for _, kind in found], dtype=int)
        assert counts[:, :5].sum(axis=0).tolist() == np.bincount(given_classes, minlength=5).tolist()
        assert counts[NO_BEAT, NO_BEAT] == 0

    def test_a_beat_without_a_class_is_misuse(self):
        with pytest.raises(ValueError, match="class for each beat"):
            confusion(annotated((10, "N")), [10, 20], [N])


class TestRecordLabels:
    def test_scores_are_those_of_the_challenge(self):
        """By hand: 3 normal (2 right, 1 called O), 2 fibrillation (1 right, 1 without answer), 1 other right, 1 noisy called A."""
        pairs = [("N", "N"), ("N", "N"), ("N", "O"), ("A", "A"), ("A", None), ("O", "O"), ("~", "A")]

        found = values(label_statistics(sum(label_confusion(*each) for each in pairs)))

        assert found["f1_normal"] == pytest.approx(2 * 2 / (3 + 2))
        assert found["f1_af"] == pytest.approx(2 * 1 / (2 + 2))
        assert found["f1_other"] == pytest.approx(2 * 1 / (1 + 2))
        assert found["f1_noise"] == 0
        assert found["challenge_score"] == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
        assert (found["af_se_pct"], found["af_sp_pct"], found["af_p_pct"]) == (50, 80, 50)
        assert found["answered_pct"] == pytest.approx(100 * 6 / 7)
        assert found["accuracy_answered_pct"] == pytest.approx(100 * 4 / 6)

    def test_an_answer_that_is_no_class_is_no_answer(self):
        assert label_confusion("N", "AFIB")[0].tolist() == [0, 0, 0, 0, 1]

    def test_an_annotation_that_is_no_class_is_refused(self):
        with pytest.raises(ValueError, match="expected one of N, A, O, ~"):
            label_confusion("X", "N")

    @pytest.mark.parametrize(
        ("changes", "unreadable", "label"),
        [
            ([(0, "N")], [], "N"),
            ([(0, "N"), (400, "AFIB")], [], "A"),
            ([(0, "AFIB"), (400, "SVTA"), (700, "T")], [], "O"),
            ([(0, "AFIB")], [(100, 700)], "~"),
            ([(0, "AFIB")], [(100, 600)], "A"),
            ([], [], None),
        ],
    )
    def test_a_record_of_changes_gets_the_rhythm_that_lasted_longest(self, changes, unreadable, label):
        """Other rhythms count together; noise only where it is more than half."""
        assert label_of_rhythms(changes, unreadable, 1000) == label


class TestEpisodes:
    def test_changes_become_episodes(self):
        """In any order, neighbours joined, of two on one sample the later one, the last to the end of the record."""
        changes = [(0, "N"), (500, "N"), (100, "AFIB"), (200, "AFIB"), (700, "N"), (700, "AFIB")]

        assert spans_of(changes, frozenset({"AFIB"}), 1000) == ((100, 500), (700, 1000))

    def test_episodes_and_their_time_are_counted_from_both_sides(self):
        """Two annotated (one met twice), three found (one in vain)."""
        counts = episode_counts([(0, 3600), (7200, 10_800)], [(1800, 2160), (2520, 2880), (5000, 5360)], RATE_HZ)

        assert counts.tolist() == pytest.approx([2, 1, 3, 2, 20, 3, 2])
        assert values(episode_statistics(counts)) == pytest.approx(
            {
                "af_episode_se_pct": 50,
                "af_episode_p_pct": 100 * 2 / 3,
                "af_duration_se_pct": 10,
                "af_duration_p_pct": 100 * 2 / 3,
            }
        )

    def test_what_lies_in_the_learning_period_is_cut_off(self):
        counts = episode_counts([(0, 300 * 360 + 3600)], [(0, 300 * 360)], RATE_HZ, from_s=300.0)

        assert counts.tolist() == pytest.approx([1, 0, 0, 0, 10, 0, 0])

    def test_touching_episodes_do_not_meet(self):
        assert episode_counts([(0, 360)], [(360, 720)], RATE_HZ).tolist() == pytest.approx([1, 0, 1, 0, 1, 1, 0])


class TestIntervals:
    def counts(self, *right_of_100):
        """Records with 100 beats each, of which so many were called right."""
        counts = np.zeros((len(right_of_100), 6, 6), dtype=np.int64)
        counts[:, N, N] = right_of_100
        counts[:, N, V] = 100 - counts[:, N, N]
        return counts

    def test_the_value_is_that_of_all_records_together_and_lies_in_its_interval(self):
        found = intervals(self.counts(50, 60, 70, 80, 90, 100), list("abcdef"), beat_statistics)["accuracy_pct"]

        assert found.value == pytest.approx(75)
        assert 50 < found.low < 70
        assert 80 < found.high < 100

    def test_records_of_one_patient_are_drawn_together(self):
        """Ten copies of two patients say no more than two records: the interval spans both, whatever the copies."""
        counts = self.counts(*([50] * 10 + [100] * 10))

        apart = intervals(counts, [str(k) for k in range(20)], beat_statistics)["accuracy_pct"]
        together = intervals(counts, ["a"] * 10 + ["b"] * 10, beat_statistics)["accuracy_pct"]

        assert (together.low, together.high) == (50, 100)
        assert apart.high - apart.low < 30

    def test_the_same_seed_gives_the_same_intervals_and_another_one_others(self):
        counts = self.counts(*range(40, 100, 3))
        patients = [str(k) for k in range(20)]

        first, again, other = (intervals(counts, patients, beat_statistics, seed=seed) for seed in (1, 1, 2))

        assert first["accuracy_pct"] == again["accuracy_pct"]
        assert first["accuracy_pct"] != other["accuracy_pct"]

    def test_one_patient_or_no_draw_gives_no_interval(self):
        one = intervals(self.counts(50, 60), ["a", "a"], beat_statistics)["accuracy_pct"]
        none = intervals(self.counts(50, 60), ["a", "b"], beat_statistics, n_draws=0)["accuracy_pct"]

        assert one.value == none.value == 55
        assert np.isnan([one.low, one.high, none.low, none.high]).all()

    def test_the_interval_is_about_as_wide_as_theory_says(self):
        """Of 200 patients the mean of values spread evenly over 0-100 has a standard error of 28.9/sqrt(200) = 2.04."""
        right = np.linspace(0, 100, 200).round().astype(int)

        found = intervals(self.counts(*right), [str(k) for k in range(200)], beat_statistics)["accuracy_pct"]

        assert found.high - found.low == pytest.approx(2 * 1.96 * 2.04, rel=0.1)
