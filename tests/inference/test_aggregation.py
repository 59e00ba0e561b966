"""Several windows, one answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inference.aggregation import TrailingMean, WindowLogits, label_of_record
from edge.inference.card import OutputCard
from edge.inference.quantization import Quantization
from edge.messages import Prediction

S = 10**9
OUTPUT = OutputCard(name="logits", labels=("N", "A", "~"), thresholds={"N": 0.4, "A": 0.4, "~": 0.4})
STEPS_NS = [0, 1, S // 2, S, 2 * S, 2 * S + 1, 3 * S]
"""From one window of 2 s to the next: the last two leave a hole."""
QUANTIZATION = Quantization(scale=0.1, zero_point=10)


def judged(*logits):
    return Prediction(at_ns=0, label=None, probabilities={}, bundle_sha256="", evidence={"logits": list(logits)})


def refused():
    return Prediction(at_ns=0, label=None, probabilities={}, bundle_sha256="", absent="flat", evidence={"logits": None})


@given(st.lists(st.tuples(st.sampled_from(STEPS_NS), st.integers(-50, 50)), max_size=40), st.integers(S, 20 * S))
def test_the_mean_is_that_of_the_windows_in_the_span(steps, span_ns):
    """Invariant: equal to the plain mean over all windows since the last hole that lie in the span, newest included."""
    stage, everything, start_ns = TrailingMean(span_ns), [], 0
    for number, (step_ns, logit) in enumerate(steps):
        if everything and start_ns + step_ns > everything[-1].end_ns:
            everything.clear()
        start_ns += step_ns
        window = WindowLogits(start_ns=start_ns, end_ns=start_ns + 2 * S, sequence=number, logits=(logit / 10, 1.0))
        everything.append(window)

        (mean,) = stage.push(window)

        counted = [each for each in everything if each.start_ns >= window.end_ns - span_ns or each is window]
        assert mean.sequences == tuple(each.sequence for each in counted)
        assert mean.logits == pytest.approx((np.mean([each.logits[0] for each in counted]), 1.0))


def test_memory_is_bounded_whatever_comes():
    stage = TrailingMean(10**18)

    for number in range(5000):
        (mean,) = stage.push(WindowLogits(start_ns=number, end_ns=number + S, sequence=number, logits=(0.0, 0.0)))

    assert len(mean.sequences) == 4000


class TestRecord:
    def test_the_label_is_that_of_the_mean_of_all_windows(self):
        """Not a vote: one very certain window outweighs two that hardly lean the other way."""
        found = label_of_record([judged(12, 10, 10), judged(12, 10, 10), judged(10, 110, 10)], OUTPUT, QUANTIZATION)

        assert (found.label, found.absent, found.n_windows) == ("A", None, 3)
        logits = np.array([0.4 / 3, 10 / 3, 0.0])
        assert list(found.probabilities.values()) == pytest.approx(np.exp(logits) / np.exp(logits).sum())

    def test_windows_that_were_not_judged_do_not_count(self):
        found = label_of_record([refused(), judged(110, 10, 10), refused()], OUTPUT, QUANTIZATION)

        assert (found.label, found.n_windows) == ("N", 1)

    def test_a_record_shorter_than_a_window_is_told(self):
        found = label_of_record([], OUTPUT, QUANTIZATION)

        assert (found.label, found.absent, found.probabilities, found.n_windows) == (None, "no-window", {}, 0)

    def test_a_record_of_which_no_window_could_be_judged_is_told(self):
        assert label_of_record([refused()], OUTPUT, QUANTIZATION).absent == "no-answer"

    def test_a_record_without_a_likely_label_is_uncertain(self):
        found = label_of_record([judged(10, 10, 10)], OUTPUT, QUANTIZATION)

        assert (found.label, found.absent) == (None, "uncertain")
        assert found.probabilities["N"] == pytest.approx(1 / 3)
