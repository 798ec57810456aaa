"""Jobs on this machine: some at a time, each in a GDB of its own."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType

from gdbext.triage.job import run_job
from gdbext.triage.outcome import Job, Outcome, failed

TICK = 0.5  # seconds after which somebody may want to say how far it is


def cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def local_outcomes(jobs: Sequence[Job], workers: int) -> Generator[Outcome | None, None, None]:
    """The outcomes as they come, and None where a while nothing did.

    Closing it ends the GDBs that run. The work is done by GDB, so threads are enough."""
    stop = threading.Event()
    done: SimpleQueue[tuple[Job, Future[Outcome]]] = SimpleQueue()
    pool = ThreadPoolExecutor(workers)
    try:
        for job in jobs:
            future = pool.submit(run_job, job, stop.is_set)
            future.add_done_callback(partial(_put, done, job))
        left = len(jobs)
        while left:
            try:
                job, future = done.get(timeout=TICK)
            except Empty:
                yield None
                continue
            left -= 1
            error = future.exception()
            yield future.result() if error is None else bug(job, error, error.__traceback__)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _put(done: SimpleQueue[tuple[Job, Future[Outcome]]], job: Job, future: Future[Outcome]) -> None:
    done.put((job, future))


def bug(job: Job, error: BaseException, trace: TracebackType | None) -> Outcome:
    """The outcome of a job that ran into a bug of gdbext: the others must not suffer from it."""
    place = traceback.extract_tb(trace)[-1:]
    where = "".join(f" at {frame.filename}:{frame.lineno}" for frame in place)
    return failed(job, f"a bug of gdbext: {type(error).__name__}: {error}{where}")
