"""Waiting that ends: limits in the clock's time, and clean-up that no cancellation cuts short."""

from __future__ import annotations

import asyncio

import pytest

from edge.acquisition import waiting
from edge.acquisition.waiting import ended, to_the_end, within
from edge.clock import ManualClock
from tests.conformance.transport_battery import run


async def spin(n: int = 5) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


def others() -> set[asyncio.Task]:
    return asyncio.all_tasks() - {asyncio.current_task()}


def test_result_comes_back_and_no_task_stays():
    """A job that ends in time costs nothing more than its own time."""

    async def scenario():
        before = others()

        async def job():
            await asyncio.sleep(0)
            return 7

        result = await within(ManualClock(), 5.0, job(), "job")
        return result, others() - before

    assert run(scenario()) == (7, set())


def test_errors_of_the_job_pass():
    """What the job raises is what the caller sees."""

    async def scenario():
        async def job():
            raise KeyError("vanished")

        with pytest.raises(KeyError):
            await within(ManualClock(), 5.0, job(), "job")

    run(scenario())


def test_limit_counts_in_the_time_of_the_clock():
    """A job that takes longer is cancelled, tidies up, and the caller gets TimeoutError."""
    tidied = []

    async def scenario():
        clock = ManualClock()

        async def job():
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                tidied.append("up")

        waiting_task = asyncio.create_task(within(clock, 5.0, job(), "job"))
        await spin()
        clock.advance(4.9)
        await spin()
        was_early = waiting_task.done()
        clock.advance(0.2)
        with pytest.raises(TimeoutError):
            await waiting_task
        return was_early

    assert run(scenario()) is False
    assert tidied == ["up"]


def test_cancelling_the_caller_ends_the_job_first():
    """When the caller is gone the job is gone too, tidied up."""
    tidied = []

    async def scenario():
        before = others()

        async def job():
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                tidied.append("up")

        caller = asyncio.create_task(within(ManualClock(), 5.0, job(), "job"))
        await spin()
        caller.cancel()
        await asyncio.wait({caller})
        return caller.cancelled(), others() - before

    assert run(scenario()) == (True, set())
    assert tidied == ["up"]


def test_job_that_ignores_its_cancellation_is_given_up(monkeypatch, caplog):
    """A call that waits for a hung service even when cancelled costs seconds, not for ever, and is reported."""
    monkeypatch.setattr(waiting, "UNWIND_S", 0.02)
    monkeypatch.setattr(waiting, "_SECOND_UNWIND_S", 0.02)

    async def scenario():
        release = asyncio.Event()

        async def stubborn():
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        task = asyncio.create_task(stubborn(), name="stubborn")
        await spin()
        was_cancelled = await ended(task)
        is_done = task.done()
        release.set()
        await task
        return was_cancelled, is_done

    assert run(scenario()) == (False, False)
    assert [record.getMessage() for record in caplog.records] == ["waiting.stuck task=stubborn"]


def test_call_that_hangs_while_tidying_up_is_cancelled_again(monkeypatch):
    """bleak's cancelled connect asks bluetoothd to disconnect, and waits for that too: the second cancel ends it."""
    monkeypatch.setattr(waiting, "UNWIND_S", 0.02)

    async def scenario():
        async def job():
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.Event().wait()

        task = asyncio.create_task(job())
        await spin()
        await ended(task)
        return task.cancelled()

    assert run(scenario())


def test_cancellation_waits_for_what_must_be_finished():
    """Switching something off again is not cut short: the caller is cancelled afterwards."""
    steps = []

    async def scenario():
        may_finish = asyncio.Event()

        async def job():
            steps.append("begun")
            await may_finish.wait()
            steps.append("finished")

        async def caller():
            try:
                await to_the_end(job(), "job")
            finally:
                steps.append("caller ended")

        task = asyncio.create_task(caller())
        await spin()
        task.cancel()
        await spin()
        task.cancel()
        await spin()
        assert steps == ["begun"]
        may_finish.set()
        await asyncio.wait({task})
        return task.cancelled()

    assert run(scenario())
    assert steps == ["begun", "finished", "caller ended"]


def test_what_must_be_finished_has_a_limit_nevertheless():
    """A hung service does not hang us."""

    async def scenario():
        with pytest.raises(TimeoutError):
            await to_the_end(asyncio.Event().wait(), "job", patience_s=0.02)

    run(scenario())
