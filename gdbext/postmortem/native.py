"""A program that runs without a debugger: what it leaves behind tells of its crash.

That is a core, and the log that ld.so itself writes of what it maps and unmaps.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from gdbext.elf.problem import Problem
from gdbext.postmortem import corepattern
from gdbext.postmortem.cores import core_target
from gdbext.postmortem.debugger import Target

_POLL = 0.2  # seconds between two looks at the working directory


class Surroundings(NamedTuple):
    """What a program is started with; `log` is how the name of ld.so's log begins, None where
    there will be none; `since`: when, in seconds of time.time."""

    path: str
    environment: Mapping[str, str]
    log: Path | None
    since: float
    notes: list[str]


class Crash(NamedTuple):
    """GDB's target, and the core that it is of."""

    target: Target
    core: str


@contextmanager
def prepared(path: str, folder: Path) -> Iterator[Surroundings]:
    """The environment of a program whose log goes into `folder`.

    A core that is in the working directory already is out of the kernel's way in the block.
    """
    environment = dict(os.environ)
    log: Path | None = None
    notes = []
    if corepattern.gains_rights(path):
        notes.append(
            f"{path} runs with other rights than yours: the dynamic linker writes no log of it, "
            f"and the kernel no core"
        )
    elif environment.get("LD_DEBUG"):
        notes.append("LD_DEBUG is set already: there is no log of unloaded libraries")
    else:
        log = folder / "files"
        environment |= {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(log)}
    old = corepattern.existing(corepattern.pattern(), os.getcwd())
    aside = f"{old}.before-{os.getpid()}"
    try:
        if old is not None:
            os.rename(old, aside)
        yield Surroundings(path, environment, log, time.time(), notes)
    finally:
        if old is not None:
            os.rename(aside, old)


def wait(pid: int) -> tuple[int, list[str]]:
    """Wait for the end of a child: its status, and the folders that it was in, the last first."""
    descriptor = os.pidfd_open(pid)
    places: list[str] = []
    try:
        ended = False
        while not ended:
            ended = bool(select.select([descriptor], [], [], _POLL)[0])
            with suppress(OSError):  # what has ended has no working directory
                place = os.readlink(f"/proc/{pid}/cwd")
                places = [place, *(other for other in places if other != place)]
    finally:
        os.close(descriptor)
    return os.waitpid(pid, 0)[1], [*places, os.getcwd()]


@contextmanager
def crashed(
    pid: int, status: int, places: list[str], surroundings: Surroundings, folder: Path
) -> Iterator[Crash]:
    """The core of a child that a signal ended, which is removed after the block.

    Raises Problem with the reason if there is none.
    """
    if not os.WCOREDUMP(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        reasons = "; or ".join(corepattern.no_core_reasons(surroundings.path))
        raise Problem(f"{name} ended the program, but the kernel wrote no core: {reasons}")
    core = corepattern.find_core(pid, places, surroundings.since, folder)
    try:
        log = (
            surroundings.log.with_name(f"{surroundings.log.name}.{pid}")
            if surroundings.log
            else None
        )
        found = log if log is not None and log.exists() else None  # musl and static programs: none
        target = core_target(core, None, None, folder)
        yield Crash(target._replace(log=found), core)
    finally:
        with suppress(FileNotFoundError):  # it was kept elsewhere
            os.unlink(core)


def keep(crash: Crash, path: Path) -> None:
    """Put the core where the user wants it; raises Problem."""
    try:
        shutil.move(crash.core, path)
    except OSError as error:
        raise Problem(f"cannot keep the core as {str(path)!r}: {error.strerror}") from error
