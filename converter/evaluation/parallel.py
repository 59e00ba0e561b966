"""The same function over many records: one after another, over processes (joblib) or over a cluster (Dask).

Results come back in the order of the jobs, whoever finished first, so that a report does not depend on the way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool

from converter.evaluation.results import RecordResult
from converter.evaluation.work import Job, failed, score_record
from converter.progress import progress
from edge.errors import EdgeError

_DIED = "the process that scored it ended without an answer (killed, out of memory, or a crash in a library)"
_DASK_HINT = "install it here and on the workers: pip install distributed"
_CONNECT_S = 15.0


def score_all(jobs: Sequence[Job], *, n_processes: int = 1, dask: str | None = None) -> list[RecordResult]:
    """Return one result for each job, in the order of the jobs; a bar shows the way on a terminal.

    Parameters
    ----------
    jobs : sequence of Job
        What is to be scored.
    n_processes : int
        Processes on this machine; 1 works in this one, 0 or less takes one for each processor.
    dask : str, optional
        Address of a Dask scheduler, ``tcp://host:8786``, to use instead; its workers need this package and must see
        the same folders.

    Raises
    ------
    EdgeError
        If a way to run is not installed or the scheduler cannot be reached.
    """
    results = dict(progress(_scored(jobs, n_processes, dask), total=len(jobs), what="records"))
    return [results.get(number) or failed(job, _DIED) for number, job in enumerate(jobs)]


def _scored(jobs: Sequence[Job], n_processes: int, dask: str | None) -> Iterator[tuple[int, RecordResult]]:
    if dask is not None:
        return _over_dask(jobs, dask)
    n_processes = n_processes if n_processes > 0 else os.cpu_count() or 1
    if n_processes == 1 or len(jobs) < 2:
        return ((number, score_record(job)) for number, job in enumerate(jobs))
    return _over_processes(jobs, min(n_processes, len(jobs)))


def _over_processes(jobs: Sequence[Job], n_processes: int) -> Iterator[tuple[int, RecordResult]]:
    try:
        import joblib
    except ImportError as error:
        raise EdgeError("several processes need the package joblib", hint="pip install 'vitaledge[convert]'") from error
    waiting = dict(enumerate(jobs))
    try:
        # Batches of one: the records are long, and one that kills its process must not take others with it.
        pool = joblib.Parallel(n_jobs=n_processes, return_as="generator_unordered", batch_size=1)
        for number, result in pool(joblib.delayed(score_numbered)(number, job) for number, job in enumerate(jobs)):
            del waiting[number]
            yield number, result
    except BrokenProcessPool:
        # One record killed its process, and the pool with it: the rest one by one, each in a process of its own.
        for number, job in waiting.items():
            yield number, _isolated(job)


def _isolated(job: Job) -> RecordResult:
    from joblib.externals.loky import get_reusable_executor

    executor = get_reusable_executor(max_workers=1, reuse=False)
    try:
        result: RecordResult = executor.submit(score_record, job).result()
    except BrokenProcessPool:
        return failed(job, _DIED)
    finally:
        executor.shutdown(wait=True, kill_workers=True)
    return result


def score_numbered(number: int, job: Job) -> tuple[int, RecordResult]:
    """Return a result with the number of its job, for results that come back in any order."""
    return number, score_record(job)


def _over_dask(jobs: Sequence[Job], address: str) -> Iterator[tuple[int, RecordResult]]:
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise EdgeError("--dask needs the package distributed, which is not installed", hint=_DASK_HINT) from error
    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise EdgeError(
            f"no Dask scheduler answers at {address}: {error}", hint="start one with `dask scheduler`, then workers"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_CONNECT_S)
        except TimeoutError as error:
            raise EdgeError(f"the Dask scheduler at {address} has no worker", hint="start `dask worker`s") from error
        # Not pure: two runs over a folder whose files changed in between must not share an answer.
        futures = client.map(score_numbered, range(len(jobs)), jobs, pure=False, retries=0)
        number_of = {future.key: number for number, future in enumerate(futures)}
        for future in as_completed(futures, loop=client.loop):
            number = number_of[future.key]
            if future.status == "finished":
                yield future.result()
            else:
                yield number, failed(jobs[number], f"on the cluster: {future.exception()}")
