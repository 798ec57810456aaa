"""One core's job: a GDB of its own reads it within a time limit. It runs here or on a cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from gdbext.elf.problem import Problem
from gdbext.findings.crash.signature import signature
from gdbext.triage.outcome import Crash, Job, Outcome, failed


def run_job(job: Job, stopped: Callable[[], bool] | None = None) -> Outcome:
    """Read one core; what is wrong with it is part of the outcome.

    `stopped` is asked now and then; once it says so the job ends, and its outcome says nothing."""
    start = time.monotonic()
    end = start + job.seconds

    def watch(stage: str) -> None:
        if stopped is not None and stopped():
            raise Problem("it was stopped")
        if time.monotonic() > end:
            raise Problem(
                f"not done after {job.seconds:g} s, GDB was {stage}; --timeout allows more"
            )

    try:
        crash = _read(job, watch)
    except Problem as problem:
        return failed(job, str(problem), time.monotonic() - start)
    return Outcome(job, crash, None, time.monotonic() - start)


def _read(job: Job, watch: Callable[[str], None]) -> Crash:
    from gdbext.postmortem.cores import core_target
    from gdbext.postmortem.debugger import Outputs, run_report

    exe, sysroot, gdb = job.settings
    with TemporaryDirectory(prefix="gdbext-") as name:
        folder = Path(name)
        target = core_target(job.core, exe, sysroot, folder, job.seconds)
        written = Path(job.report) if job.report else folder / "report.json"
        run_report(target, Outputs(None, written, None), gdb, folder, watch)
        with written.open(encoding="utf-8") as file:
            document = json.load(file)
    found = signature(document)
    return Crash(
        signature=found.id,
        what=found.what,
        text=document["cause"]["text"] if document["cause"] else None,
        signal=document["signal"],
        program=document["program"],
        sites=found.sites,
    )
