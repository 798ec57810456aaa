"""The same jobs on a Dask cluster, whose workers read the cores by their paths."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from gdbext import __version__
from gdbext.elf.problem import Problem
from gdbext.triage import remote
from gdbext.triage.outcome import Job, Outcome, failed, from_line
from gdbext.triage.pool import TICK, bug

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")
_CONNECT = 5  # seconds in which a scheduler answers


def cluster_outcomes(
    jobs: Sequence[Job], address: str, patience: float
) -> Generator[Outcome | None, None, None]:
    """The outcomes as they come, and None where a while nothing did; raises Problem.

    A job whose worker goes away is run by another one (Dask: `allowed-failures`). That there is
    no worker at all is borne for `patience` seconds. Closing it leaves the jobs that run to
    their time limits, and takes back the others."""
    with closing(_connected(address)) as client:
        check_versions(client.run(_by_value(remote.version)))
        done: SimpleQueue[tuple[Job, Future[bytes]]] = SimpleQueue()
        run = _by_value(remote.run)
        futures = client.map(run, *_fields(jobs), key="gdbext", pure=False, batch_size=1000)
        for job, future in zip(jobs, futures):
            future.add_done_callback(partial(_put, done, job))
        left = len(jobs)
        seen = time.monotonic()  # when there was a worker last
        while left:
            try:
                job, future = done.get(timeout=TICK)
            except Empty:
                yield None
                seen = time.monotonic() if _workers(client) else seen
                if time.monotonic() - seen > patience:
                    raise Problem(
                        f"the cluster at {address} has had no worker for {patience:g} s"
                    ) from None
                continue
            left -= 1
            yield _outcome(job, future, address)


def _by_value(function: Callable[..., T]) -> Callable[..., T]:
    """A copy that plain pickle, which Dask tries first, cannot find by its name.

    The scheduler would have to import that name, though it never runs the function."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(remote)
    copy: Callable[..., T] = cloudpickle.loads(cloudpickle.dumps(function))
    return copy


def _fields(jobs: Sequence[Job]) -> Sequence[Sequence[object]]:
    """The fields of all jobs, each field's values together, of types that every Python has."""
    return (
        [job.core for job in jobs],
        [tuple(job.identity) if job.identity else None for job in jobs],
        [tuple(job.settings) for job in jobs],
        [job.seconds for job in jobs],
        [job.report for job in jobs],
    )


def _put(done: SimpleQueue[tuple[Job, Future[bytes]]], job: Job, future: Future[bytes]) -> None:
    done.put((job, future))


def _outcome(job: Job, future: Future[bytes], address: str) -> Outcome:
    from distributed import KilledWorker

    if future.status == "finished":
        return replace(from_line(future.result()), job=job)
    if future.status != "error":
        raise Problem(f"the cluster at {address} is gone")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return failed(job, "each worker of the cluster that tried it ended; --retry tries again")
    if isinstance(error, ImportError):
        return failed(job, f"a worker of the cluster lacks something: {error}")
    return bug(job, error, future.traceback())


def _connected(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        raise Problem(
            "--dask needs Dask's distributed; install it with: pip install 'gdbext[dask]'"
        ) from error
    # What matters is said as a Problem; Dask's own log, with a level for each part, would come
    # between.
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    # A Client that does not get through takes 10 s to go away, with a traceback.
    why = asyncio.run(_refusal(address))
    if why is not None:
        raise Problem(f"no Dask scheduler answers at {address!r}: {' '.join(why.split())}")
    return Client(address, timeout=_CONNECT, set_as_default=False, name="gdbext-triage")


async def _refusal(address: str) -> str | None:
    """Why nobody there speaks Dask's protocol; None if somebody does."""
    from distributed.comm.core import connect
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    trying = asyncio.ensure_future(connect(address, timeout=_CONNECT, **arguments))
    done, _ = await asyncio.wait({trying}, timeout=_CONNECT + 1)
    if not done:
        trying.cancel()
        return f"nothing that makes sense within {_CONNECT} s"
    error = trying.exception()
    if isinstance(error, (OSError, TypeError, ValueError)):
        return str(error)
    if error is not None:  # the lengths that another server seems to send can be any number
        return "what does is something else"
    trying.result().abort()
    return None


def check_versions(versions: Mapping[str, str | None]) -> None:
    """Refuse workers, {address: version}, on which the jobs would be others; raises Problem."""
    for worker, version in versions.items():
        if version != __version__:
            has = f"has gdbext {version}" if version else "has no gdbext"
            raise Problem(f"the worker at {worker} {has}, and this is gdbext {__version__}")


def _workers(client: Client) -> int:
    return len(client.scheduler_info(n_workers=-1)["workers"])
