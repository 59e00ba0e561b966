"""A thread that hangs is noticed by a tick, left behind, and followed by one more; then rules go on alone."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from edge.clock import ManualClock
from edge.inference.lifecycle import InferenceWorker, InThread, Supervision, WorkerState
from edge.inference.window_stage import Deferred, InferenceCounts, PolledStage, poll, unanswered
from edge.messages import Prediction
from tests.inference.test_lifecycle import PATIENCE_S, ScriptedModel, window

DEADLINE_S = 2.0
HUNG_S = 10.0
AGAIN_S = 300.0


class Bench:
    """One stage over models that answer only when told to."""

    def __init__(self, n_more=1):
        self.clock = ManualClock()
        self.models = []
        self.workers = []
        supervision = Supervision(hung_s=HUNG_S, again_s=AGAIN_S, n_more=n_more)
        self.stage = InThread(self.worker(), clock=self.clock, make_another=self.worker, supervision=supervision)

    def worker(self):
        self.models.append(ScriptedModel())
        self.workers.append(InferenceWorker(self.models[-1], self.clock, deadline_s=DEADLINE_S))
        return self.workers[-1]

    def hang(self):
        """Let the present model begin with a window and never end."""
        self.stage.push(window(1))
        self.models[-1].wait_begun()

    def close(self):
        for model in self.models:
            model.may_answer.release(100)
        for worker in self.workers:
            assert worker.stop(PATIENCE_S)


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.close()


def test_an_answer_comes_out_without_another_window(bench):
    """A beat must not wait for the next beat to learn its class."""
    found = bench.stage.push(window(7))
    bench.models[0].may_answer.release()
    assert bench.workers[0].wait_idle(PATIENCE_S)

    assert found == []
    assert [each.at_ns for each in poll(bench.stage)] == [7]


def test_a_late_inference_is_noticed_by_a_tick_alone(bench):
    """No window and no answer comes, and it is noticed all the same."""
    bench.hang()
    assert bench.stage.watch() is WorkerState.WORKING

    bench.clock.advance(DEADLINE_S + 0.25)

    assert bench.stage.watch() is WorkerState.LATE
    assert bench.stage.counts().n_late == 1


def test_a_hung_thread_is_left_behind_and_another_tried_after_a_while(bench):
    """The second one has an interpreter of its own and answers."""
    bench.hang()
    bench.clock.advance(DEADLINE_S + HUNG_S + 0.25)

    states = [bench.stage.watch()]
    meanwhile = [(each.sequence, each.absent) for each in bench.stage.push(window(2))]
    bench.clock.advance(AGAIN_S - 1)
    states.append(bench.stage.watch())
    left = bench.stage.status()
    bench.clock.advance(1)
    states.append(bench.stage.watch())
    bench.models[1].may_answer.release()
    found = bench.stage.push(window(3))
    assert bench.workers[1].wait_idle(PATIENCE_S)

    assert states == [WorkerState.LEFT, WorkerState.LEFT, WorkerState.WORKING]
    assert meanwhile == [(1, "late"), (2, "hung")]  # nobody waits for what will not come
    assert left == "scripted: hung, tried again soon"
    assert [each.at_ns for each in [*found, *bench.stage.poll()]] == [3]
    assert bench.stage.counts() == InferenceCounts(
        n_submitted=3, n_done=1, n_late=1, n_hung=1, n_abandoned=1, peak_queued=1
    )


def test_when_the_second_hangs_too_rules_go_on_alone(bench):
    """A third would only cost more memory; what it says stays until the service starts again."""
    for _ in range(2):
        bench.hang()
        bench.clock.advance(DEADLINE_S + HUNG_S + 0.25)
        bench.stage.watch()
        bench.clock.advance(AGAIN_S)
        bench.stage.watch()

    bench.clock.advance(100 * AGAIN_S)

    assert bench.stage.watch() is WorkerState.GIVEN_UP
    assert [each.absent for each in bench.stage.push(window(9))][-1] == "hung"
    assert bench.stage.status() == "scripted: hung, rules alone"
    assert len(bench.models) == 2
    assert bench.stage.counts().n_hung == 2


def test_what_a_hung_thread_had_answered_before_is_not_lost(bench):
    """The answer to the window before the one that hangs is as good as any."""
    bench.models[0].may_answer.release()
    found = bench.stage.push(window(1))
    assert bench.workers[0].wait_idle(PATIENCE_S)
    bench.models[0].wait_begun()
    bench.workers[0].submit(window(2))
    bench.models[0].wait_begun()

    bench.clock.advance(DEADLINE_S + HUNG_S + 0.25)
    bench.stage.watch()

    assert [each.at_ns for each in [*found, *bench.stage.poll()] if each.label] == [1]


def test_what_a_hung_model_says_at_last_is_thrown_away(bench):
    """It comes back when nobody waits for it any more."""
    bench.hang()
    bench.clock.advance(DEADLINE_S + HUNG_S + 0.25)
    bench.stage.watch()
    told = [each.absent for each in bench.stage.poll()]

    bench.models[0].may_answer.release()
    assert bench.workers[0].stop(PATIENCE_S)

    assert told == ["late"]
    assert bench.stage.poll() == []


def test_without_another_nothing_is_tried_again():
    """A stage of one worker gives up at once."""
    bench = Bench(n_more=0)
    try:
        bench.hang()
        bench.clock.advance(DEADLINE_S + HUNG_S + 0.25)

        assert bench.stage.watch() is WorkerState.GIVEN_UP
        assert bench.stage.status() == "scripted: hung, rules alone"
    finally:
        bench.close()


def test_a_stage_is_stopped_in_any_state(bench):
    """The service ends whatever its models do."""
    bench.hang()
    bench.clock.advance(DEADLINE_S + HUNG_S + 0.25)
    bench.stage.watch()

    assert bench.stage.stop()
    bench.clock.advance(AGAIN_S)

    assert bench.stage.watch() is WorkerState.GIVEN_UP
    assert len(bench.models) == 1


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), float("inf"), 1e-300])
def test_a_window_of_an_impossible_rate_is_no_trouble_for_what_stands_in(rate_hz):
    """The worker passes windows over in the thread that monitors: it must not raise there."""
    assert unanswered(replace(window(1), rate_hz=rate_hz, start_ns=5), "late").at_ns == 5


@pytest.mark.parametrize("settings", [{"hung_s": 0.0}, {"again_s": -1.0}, {"n_more": -1}])
def test_impossible_supervision_is_misuse(settings):
    with pytest.raises(ValueError, match="expected hung_s > 0"):
        Supervision(**settings)


# --- made when the first window comes -----------------------------------------------------------------------


class AtOnce:
    """Answers where it is asked."""

    def __init__(self):
        self.thread = threading.current_thread()
        self.resets = []

    def push(self, item):
        return [Prediction(at_ns=item.sequence, label="N", probabilities={}, bundle_sha256="")]

    def reset(self, reason):
        self.resets.append(reason)

    def status(self):
        return "made"


def test_a_deferred_model_is_opened_by_the_thread_that_is_watched():
    """Golden windows that hang must not hang the monitoring."""
    made = []

    def make():
        made.append(AtOnce())
        return made[-1]

    stage = InThread(InferenceWorker(Deferred(make, "opening"), ManualClock()))
    before = stage.status()
    stage.push(window(1))
    assert stage._worker.wait_idle(PATIENCE_S)

    assert before == "opening"
    assert stage.status() == "made"
    assert made[0].thread is not threading.current_thread()
    assert stage.stop(PATIENCE_S)


def test_a_deferred_model_that_cannot_be_opened_is_tried_with_the_next_window():
    """The fault is counted by whoever runs it."""
    faults = [RuntimeError("busy")]

    def make():
        if faults:
            raise faults.pop()
        return AtOnce()

    stage = Deferred(make, "opening")
    stage.reset("gap")
    with pytest.raises(RuntimeError, match="busy"):
        stage.push(window(1))

    assert [each.at_ns for each in stage.push(window(2))] == [2]
    stage.reset("gap")
    assert stage._stage.resets == ["gap"]


def test_a_model_that_answers_at_once_has_nothing_to_poll():
    """A replay calls it directly and stays deterministic."""
    assert not isinstance(AtOnce(), PolledStage)
    assert poll(AtOnce()) == []
