"""What goes to a cluster by value: a scheduler, and a worker to begin with, may lack gdbext.

Nothing is imported here but within the functions, where a worker runs them.
"""

from __future__ import annotations


def version() -> str | None:
    """The version of gdbext where this runs; None where it is not installed."""
    try:
        from gdbext import __version__ as found
    except ImportError:
        return None
    return found


def run(
    core: str,
    identity: tuple[int, int] | None,
    settings: tuple[str | None, str | None, str | None],
    seconds: float,
    report: str | None,
) -> bytes:
    """Do a job, told by its fields, and give its outcome as a line."""
    from gdbext.triage.job import run_job
    from gdbext.triage.outcome import Identity, Job, Settings, line

    which = Identity(*identity) if identity else None
    return line(run_job(Job(core, which, Settings(*settings), seconds, report)))
