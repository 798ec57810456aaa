"""A running process as GDB's target: a core of it as it was at one moment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from gdbext.elf.problem import Problem
from gdbext.postmortem.cores import core_target
from gdbext.postmortem.debugger import Target
from gdbext.postmortem.processes import examine, refusal
from gdbext.postmortem.snapshot import take_snapshot, write_snapshot


class Attached(NamedTuple):
    """`seconds`: how long the process was stopped."""

    target: Target
    name: str
    seconds: float


def attach(pid: int, folder: Path) -> Attached:
    """Stop a process for a moment and copy it into a core in `folder`; raises Problem.

    Its files are read through its own root, if that is another one than ours.
    """
    running = examine(pid)
    try:
        snapshot = take_snapshot(pid, running.machine)
    except PermissionError as error:
        raise Problem(refusal(pid)) from error
    core = folder / "core"
    try:
        write_snapshot(snapshot, running.machine, running.name.encode(), core)
    except OSError as error:
        raise Problem(f"cannot write {str(core)!r}: {error.strerror}") from error
    target = core_target(str(core), _program(pid, running.root), running.root, folder)
    if size := snapshot.left_out >> 20:
        left = f"{size} MB of memory were not copied; a library whose data lies there is missing"
        target = target._replace(note="; ".join(filter(None, (target.note, left))))
    return Attached(target, running.name, snapshot.seconds)


def _program(pid: int, root: str | None) -> str | None:
    """What runs there, if it is not the file at its path any more: the kernel's link to it."""
    link = f"/proc/{pid}/exe"
    try:
        path = (root or "") + os.readlink(link)
        return None if os.path.exists(path) and os.path.samefile(path, link) else link
    except OSError:
        return None  # it has ended since
