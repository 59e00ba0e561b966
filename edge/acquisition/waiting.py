"""Waiting that ends: a limit in the clock's own time, and clean-up that a cancellation cannot cut short.

Wiring for adapters whose vendor library waits without limits of its own.  A D-Bus call has none: while bluetoothd
hangs, so does whoever called it, and the cancellation of that call waits for bluetoothd once more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from edge.clock import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")

UNWIND_S = 5.0
"""Real seconds that a cancelled call gets to tidy up before it is cancelled a second time.  A BlueZ disconnect takes
1 to 2 s where the peer is gone; the supervision timeout of a link is at most 32 s, but nobody waits for that here."""
_SECOND_UNWIND_S = 1.0


async def within(clock: Clock, limit_s: float, job: Coroutine[Any, Any, T], name: str) -> T:
    """Return what `job` returns, unless that takes longer than `limit_s` seconds of `clock`.

    However this ends, `job` has ended too (or was cancelled twice and given 6 s): nothing of it runs on.

    Parameters
    ----------
    clock : Clock
        Measures the limit.
    limit_s : float
        In seconds.
    job : coroutine
        Runs as a task of its own.
    name : str
        Of the task.

    Raises
    ------
    TimeoutError
        If the limit passed first.
    """
    task = asyncio.create_task(job, name=name)
    alarm = asyncio.create_task(clock.sleep(limit_s), name=f"{name}-limit")
    try:
        await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        is_done = task.done()
        is_cancelled = await ended(alarm) | await ended(task)
        if is_cancelled:
            raise asyncio.CancelledError
    if not is_done:
        raise TimeoutError(f"{name} took longer than {limit_s:g} s")
    return task.result()


async def to_the_end(job: Coroutine[Any, Any, T], name: str, patience_s: float = UNWIND_S) -> T:
    """Return what `job` returns, and let a cancellation of the caller wait until then.

    For calls whose half is worse than none, such as switching something off again.

    Parameters
    ----------
    job : coroutine
        Runs as a task of its own.
    name : str
        Of the task.
    patience_s : float
        Real seconds; then `job` is cancelled after all.

    Raises
    ------
    TimeoutError
        If `job` took longer.
    """
    task = asyncio.create_task(job, name=name)
    is_cancelled = await _waited(task, patience_s)
    is_done = task.done()
    is_cancelled |= await ended(task)
    if is_cancelled:
        raise asyncio.CancelledError
    if not is_done:
        raise TimeoutError(f"{name} took longer than {patience_s:g} s")
    return task.result()


async def ended(task: asyncio.Task[Any]) -> bool:
    """Cancel `task`, unless it is done, and wait until it has ended; return whether we were cancelled meanwhile.

    The caller raises `asyncio.CancelledError` if it was, after its own clean-up.
    """
    is_cancelled = False
    for patience_s in (UNWIND_S, _SECOND_UNWIND_S):
        if not task.done():
            task.cancel()
            is_cancelled |= await _waited(task, patience_s)
    if not task.done():
        log.error("waiting.stuck task=%s", task.get_name())
    elif not task.cancelled():
        task.exception()  # seen, so that asyncio does not report it as forgotten
    return is_cancelled


async def _waited(task: asyncio.Task[Any], patience_s: float) -> bool:
    """Wait for `task`, at most `patience_s` real seconds, whoever cancels us; return whether somebody did."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_s
    is_cancelled = False
    while not task.done() and loop.time() < end:
        try:
            await asyncio.wait({task}, timeout=end - loop.time())
        except asyncio.CancelledError:  # kept, and raised by the caller once the task has ended
            is_cancelled = True
    return is_cancelled
