"""Opening a bundle, and the worker that keeps a slow model from holding up anything."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import numpy as np
import pytest

from edge.clock import ManualClock
from edge.errors import ModelContractError, ModelFault
from edge.inference.lifecycle import InferenceCounts, InferenceWorker, ModelDemands, open_classifier, open_model
from edge.messages import Beat, Prediction, Window
from tests.fakes.tiny_model import (
    N_SAMPLES,
    OUTPUT_CARD,
    RATE_HZ,
    TRUST,
    classifier_model,
    golden_windows,
    write_bundle,
)

PATIENCE_S = 10.0  # for another thread to get its turn; no test waits that long unless it fails


def window(sequence=0, level=0.5):
    return Window(
        sensor="bed",
        stream="ecg",
        values=np.full((N_SAMPLES, 1), level),
        rate_hz=RATE_HZ,
        start_ns=0,
        sequence=sequence,
        quality=0.9,
    )


class ScriptedModel:
    """A model that answers when it is told to, or raises what it is told to."""

    def __init__(self):
        self.has_begun = threading.Semaphore(0)
        self.may_answer = threading.Semaphore(0)
        self.faults = []
        self.seen = []

    def push(self, item):
        self.seen.append(item.sequence)
        self.has_begun.release()
        assert self.may_answer.acquire(timeout=PATIENCE_S)
        fault = self.faults.pop(0) if self.faults else None
        if fault:
            raise fault
        return [Prediction(at_ns=item.sequence, label="N", probabilities={}, bundle_sha256="")]

    def reset(self, reason):
        self.seen.append(reason)

    def status(self):
        return "scripted"

    def wait_begun(self):
        assert self.has_begun.acquire(timeout=PATIENCE_S)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def model():
    return ScriptedModel()


@pytest.fixture
def worker(model, clock):
    worker = InferenceWorker(model, clock, queue_size=2, deadline_s=2.0)
    worker.start()
    yield worker
    model.may_answer.release(100)
    assert worker.stop(PATIENCE_S)


def answered(worker):
    """Return the numbers of the windows that the model itself answered."""
    return [prediction.at_ns for prediction in worker.results() if prediction.label]


def not_answered(worker):
    """Return the number and the reason of those that it will not answer."""
    return [(prediction.sequence, prediction.absent) for prediction in worker.results() if not prediction.label]


# --- opening ------------------------------------------------------------------------------------------------


class TestOpening:
    @pytest.fixture(autouse=True)
    def _runtime(self):
        pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")

    def test_a_verified_bundle_classifies(self, tmp_path, caplog):
        with caplog.at_level(logging.INFO, "edge"):
            classifier = open_classifier(write_bundle(tmp_path / "b"), trust=TRUST)

        assert [classifier.push(window(level=level))[0].label for level in (0.5, -0.5)] == ["N", "AFIB"]
        assert caplog.records[-1].getMessage().startswith("model.loaded model=tiny 0.1.0 backend=litert sha256=")

    def test_golden_windows_are_run_before_any_patient(self, tmp_path):
        """A runtime that computes otherwise is found at start, not at the bed."""
        golden = [found | {"output": [0, 0]} for found in golden_windows()]

        with pytest.raises(ModelContractError, match="golden case 0"):
            open_classifier(write_bundle(tmp_path / "b", golden=golden), trust=TRUST)

    def test_windows_other_than_the_model_was_trained_on_are_refused(self, tmp_path):
        """Serving never differs from training: the card names the stage and every setting of it."""
        bundle = write_bundle(tmp_path / "b")
        own = {"stage": "windows/1", "window_s": 2.0}

        assert open_classifier(bundle, trust=TRUST, preprocessing=own).card.name == "tiny"
        with pytest.raises(
            ModelContractError, match=r"window_s: the model wants 2\.0, this software has 4\.0"
        ) as caught:
            open_classifier(bundle, trust=TRUST, preprocessing=own | {"window_s": 4.0})
        assert caught.value.reason is ModelFault.MISMATCH

    def test_an_unsigned_bundle_needs_leave(self, tmp_path):
        """A trial may allow it; a ward does not."""
        bundle = write_bundle(tmp_path / "b", key=None)

        with pytest.raises(ModelContractError, match="not signed"):
            open_classifier(bundle, trust=TRUST)
        assert "unsigned" in open_classifier(bundle, trust=TRUST, allow_unsigned=True).status()

    def test_an_opened_model_gives_every_thread_its_own_interpreter(self, tmp_path):
        """The bytes that were proven are the bytes that run, whatever happens to the files meanwhile."""
        bundle = write_bundle(tmp_path / "b")
        opened = open_model(bundle, ModelDemands(task="rhythm", trust=TRUST))
        (bundle / "model.tflite").write_bytes(b"x")

        first, second = opened.classifier(), opened.classifier()

        assert first is not second
        assert [each.push(window(level=0.5))[0].label for each in (first, second)] == ["N", "N"]

    def test_a_model_of_another_task_is_refused(self, tmp_path):
        with pytest.raises(ModelContractError, match="expected a model for beat"):
            open_model(write_bundle(tmp_path / "b"), ModelDemands(task="beat", trust=TRUST))

    def test_a_float_model_is_refused(self, tmp_path):
        with pytest.raises(ModelContractError, match="float tensors"):
            open_classifier(write_bundle(tmp_path / "b", classifier_model(is_float=True)), trust=TRUST)

    def test_labels_that_do_not_fit_the_model_are_refused(self, tmp_path):
        output = OUTPUT_CARD | {"labels": ["A", "B", "C"], "thresholds": {"A": 0, "B": 0, "C": 0}, "codes": {}}
        golden = [found | {"output": [0, 0, 0]} for found in golden_windows()]

        with pytest.raises(ModelContractError, match="expected shape"):
            open_classifier(write_bundle(tmp_path / "b", golden=golden, output=output), trust=TRUST)


# --- the worker ---------------------------------------------------------------------------------------------


def test_answers_come_in_order(worker, model):
    model.may_answer.release(2)
    for sequence in (1, 2):
        worker.submit(window(sequence))

    assert worker.wait_idle(PATIENCE_S)
    assert answered(worker) == [1, 2]
    assert answered(worker) == []
    assert worker.status() == "scripted"


def test_a_full_queue_drops_the_oldest_and_counts_it(worker, model, caplog):
    """The newest window matters most; submitting never waits."""
    worker.submit(window(1))
    model.wait_begun()
    with caplog.at_level(logging.WARNING, "edge"):
        for sequence in (2, 3, 4):
            worker.submit(window(sequence))

    model.may_answer.release(3)
    assert worker.wait_idle(PATIENCE_S)

    assert answered(worker) == [1, 3, 4]
    assert worker.counts().n_dropped == 1
    assert worker.counts().peak_queued == 2
    assert caplog.records[-1].getMessage() == "inference.dropped reason=queue-full n_queued=2"


def test_a_hung_model_is_noticed_and_holds_up_nothing(worker, model, clock, caplog):
    """Past the deadline health says late, once counted, and the caller goes on."""
    worker.submit(window(1))
    model.wait_begun()
    assert worker.status() == "scripted"

    clock.advance(2.1)
    with caplog.at_level(logging.WARNING, "edge"):
        statuses = [worker.status(), worker.status()]

    assert statuses == ["scripted: late"] * 2
    assert worker.counts().n_late == 1
    assert [record.getMessage() for record in caplog.records] == ["inference.late n_windows=1 deadline_s=2.000"]
    assert not_answered(worker) == [(1, "late")]


def test_nobody_waits_for_an_answer_that_will_not_come(worker, model, clock):
    """Each window without an answer is told with its reason: at the deadline, when it is dropped, when the model raises.

    A rule that waits for the class of a beat decides then, and not seconds later.
    """
    model.faults = [None, RuntimeError("no way")]
    worker.submit(window(1))
    model.wait_begun()
    for sequence in (2, 3, 4):
        worker.submit(window(sequence))
    at_once = not_answered(worker)
    clock.advance(2.1)
    at_the_deadline = not_answered(worker)
    model.may_answer.release(2)
    assert worker.wait_idle(PATIENCE_S)
    worker.submit(window(5))
    assert worker.wait_idle(PATIENCE_S)

    assert at_once == [(2, "dropped")]
    assert at_the_deadline == [(1, "late"), (3, "late"), (4, "late")]
    assert not_answered(worker) == [(5, "failed")]
    assert worker.counts() == InferenceCounts(n_submitted=5, n_dropped=1, n_late=3, n_failed=1, peak_queued=2)


def test_what_stands_for_an_answer_is_about_the_same_instant(worker, model, clock):
    """Of a beat its R peak, of a rhythm the end of its window: where the model's own answer would be."""
    beat = Beat(sensor="bed", stream="ecg", at_ns=777, sequence=3, rr_ms=None, quality=1.0)
    worker.submit(replace(window(1), model="beat", beats=(beat,)))
    model.wait_begun()
    worker.submit(replace(window(2), model="rhythm", beats=(beat,), start_ns=10**9))
    clock.advance(2.1)

    found = worker.results()

    assert [each.at_ns for each in found] == [777, 10**9 + N_SAMPLES * 10**9 // int(RATE_HZ)]
    assert [(each.model, each.sensor, each.stream) for each in found] == [
        ("beat", "bed", "ecg"),
        ("rhythm", "bed", "ecg"),
    ]


def test_an_answer_after_the_deadline_is_thrown_away(worker, model, clock):
    """A stale judgement is never shown; the next window is answered as usual."""
    worker.submit(window(1))
    model.wait_begun()
    clock.advance(2.1)
    model.may_answer.release()
    assert worker.wait_idle(PATIENCE_S)

    model.may_answer.release()
    worker.submit(window(2))
    assert worker.wait_idle(PATIENCE_S)

    assert answered(worker) == [2]
    assert (worker.counts().n_late, worker.counts().n_done) == (1, 1)
    assert worker.status() == "scripted"


def test_what_comes_while_an_answer_is_late_is_not_kept_waiting(worker, model, clock):
    """Neither the window behind it nor a new one: rules decide at once, and after the hang the present is looked at."""
    worker.submit(window(1))
    model.wait_begun()
    worker.submit(window(2))
    clock.advance(2.1)
    worker.submit(window(3))
    told = not_answered(worker)

    model.may_answer.release(2)
    assert worker.wait_idle(PATIENCE_S)
    worker.submit(window(4))
    assert worker.wait_idle(PATIENCE_S)

    assert told == [(1, "late"), (2, "late"), (3, "late")]
    assert answered(worker) == [4]
    assert worker.counts().n_late == 3


def test_a_model_that_raises_is_counted_and_the_next_window_is_tried(worker, model, caplog):
    """One bad window ends neither the thread nor the monitoring."""
    model.faults = [RuntimeError("no way")]
    model.may_answer.release()
    with caplog.at_level(logging.INFO, "edge"):
        worker.submit(window(1))
        assert worker.wait_idle(PATIENCE_S)
        failing = worker.status()
        model.may_answer.release()
        worker.submit(window(2))
        assert worker.wait_idle(PATIENCE_S)
        assert worker.stop(PATIENCE_S)

    assert failing == "scripted: failing: RuntimeError: no way"
    assert answered(worker) == [2]
    assert (worker.counts().n_failed, worker.counts().n_done) == (1, 1)
    assert [record.getMessage() for record in caplog.records] == [
        "inference.failed error=RuntimeError: no way",
        "inference.recovered",
    ]


def test_every_window_is_accounted_for(worker, model, clock):
    """Invariant: submitted = done + dropped + late + failed + abandoned, once nothing waits."""
    model.faults = [ValueError("x")]
    for sequence in range(6):
        worker.submit(window(sequence))
    model.wait_begun()
    model.may_answer.release(6)
    worker.wait_idle(PATIENCE_S)
    worker.stop(PATIENCE_S)
    worker.submit(window(9))

    counts = worker.counts()

    parts = counts.n_done + counts.n_dropped + counts.n_late + counts.n_failed + counts.n_abandoned
    assert counts.n_submitted == 7 == parts


def test_no_window_is_lost_between_threads(clock):
    """Invariant: with windows coming as fast as they can, every one is answered or counted as dropped, in order."""
    model = ScriptedModel()
    model.may_answer.release(2000)
    worker = InferenceWorker(model, clock, queue_size=4)
    worker.start()
    seen = []
    for sequence in range(2000):
        worker.submit(window(sequence))
        seen += answered(worker)
    assert worker.wait_idle(PATIENCE_S)
    seen += answered(worker)
    assert worker.stop(PATIENCE_S)

    counts = worker.counts()
    assert counts.n_done == len(seen) == 2000 - counts.n_dropped
    assert seen == sorted(set(seen))


def test_a_gap_reaches_the_model_between_its_windows(worker, model):
    """The mean over several windows must not run over a hole, live as in a replay."""
    model.may_answer.release(2)
    worker.submit(window(1))
    worker.reset("gap")
    worker.submit(window(2))

    assert worker.wait_idle(PATIENCE_S)
    assert model.seen == [1, "gap", 2]


def test_a_gap_is_not_lost_with_the_window_that_is(worker, model, clock):
    """A window that is dropped or late hands the reset to the next one."""
    worker.submit(window(1))
    model.wait_begun()
    worker.reset("gap")
    for sequence in (2, 3, 4):  # 2 is pushed out
        worker.submit(window(sequence))
    clock.advance(2.1)  # 3 and 4 are too late
    worker.submit(window(5))  # not kept waiting
    model.may_answer.release(5)
    assert worker.wait_idle(PATIENCE_S)
    worker.submit(window(6))
    assert worker.wait_idle(PATIENCE_S)

    assert model.seen == [1, "gap", 6]


def test_stopping_finishes_the_window_in_work_and_leaves_the_rest(worker, model):
    worker.submit(window(1))
    model.wait_begun()
    worker.submit(window(2))
    model.may_answer.release()

    assert worker.stop(PATIENCE_S)
    worker.submit(window(3))

    assert answered(worker) == [1]
    assert worker.counts().n_abandoned == 2
    assert worker.status() == "scripted: stopped"


def test_a_hung_model_does_not_keep_the_process(worker, model):
    """Stopping gives up after its timeout and says so."""
    worker.submit(window(1))
    model.wait_begun()

    assert not worker.stop(0.01)


def test_a_worker_that_never_began_stops(model, clock):
    assert InferenceWorker(model, clock).stop()


@pytest.mark.parametrize(("queue_size", "deadline_s"), [(0, 1.0), (1, 0.0), (1, float("nan"))])
def test_an_impossible_worker_is_misuse(model, clock, queue_size, deadline_s):
    with pytest.raises(ValueError, match="expected queue_size"):
        InferenceWorker(model, clock, queue_size=queue_size, deadline_s=deadline_s)
