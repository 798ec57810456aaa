"""Where the kernel put the core of a process that we started: core(5)."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gdbext.doctor.machine import CORE_PATTERN, destination, read_line
from gdbext.elf.core import open_core
from gdbext.elf.problem import Problem

_USES_PID = Path("/proc/sys/kernel/core_uses_pid")
_SPECIFIER = re.compile(r"%(.?)")
_PATIENCE = 20.0  # seconds that systemd-coredump may take
_POLL = 0.5
_REMEDY = "sudo sysctl kernel.core_pattern=core, or gdbext run without --native"


def pattern() -> str:
    """The kernel's core_pattern, a pipe as it stands, else the name of a file."""
    text = read_line(CORE_PATTERN) or "core"
    if not text.startswith("|") and "%p" not in text and (read_line(_USES_PID) or "0") != "0":
        text += ".%p"
    return text


def existing(text: str, folder: str) -> str | None:
    """A core that is there already and that the kernel would overwrite."""
    if text.startswith("|") or _SPECIFIER.search(text):
        return None
    path = os.path.join(folder, text)
    return path if os.path.isfile(path) and not os.path.islink(path) else None


def find_core(pid: int, folders: Sequence[str], since: float, folder: Path) -> str:
    """The core of a process that began after `since` (seconds, time.time) and was in `folders`.

    `folder` takes a copy where the kernel hands cores to a program. Raises Problem with what to do.
    """
    text = pattern()
    if text.startswith("|"):
        return _from_program(text, pid, folder)
    for path, whose in _new_cores(_as_glob(text, str(pid)), folders, since):
        if whose == pid:
            return path
    where = destination(text)
    raise Problem(f"no core of process {pid} was found; core_pattern is {text!r}, cores go {where}")


def cores_of_others(folders: Sequence[str], since: float) -> Iterator[tuple[str, int]]:
    """(path, process id) of further cores that came since then: of children of a program."""
    text = pattern()
    if text.startswith("|"):
        return
    for path, pid in _new_cores(_as_glob(text, "*"), folders, since):
        if path.endswith(str(pid)):
            yield path, pid
            continue
        own = f"{path}.{pid}"  # where the next one would be written over it
        os.rename(path, own)
        yield own, pid


def _new_cores(name: str, folders: Sequence[str], since: float) -> Iterator[tuple[str, int]]:
    for place in dict.fromkeys(folders):
        for path in glob.glob(os.path.join(glob.escape(place), name)):
            pid = _pid_of(path) if os.stat(path).st_mtime >= since - 1 else None
            if pid is not None:
                yield path, pid


def _as_glob(text: str, pid: str) -> str:
    """A core_pattern as glob(7) has it; what is not known before is any text."""

    def expand(match: re.Match[str]) -> str:
        known = {"%": "%", "p": pid, "P": pid, "": ""}
        return known.get(match.group(1), "*")

    parts = _SPECIFIER.split(text)
    plain = [glob.escape(part) for part in parts[::2]]
    found = [expand(match) for match in _SPECIFIER.finditer(text)]
    return "".join(a + b for a, b in zip(plain, [*found, ""]))


def _pid_of(path: str) -> int | None:
    try:
        return open_core(path).pid
    except Problem:
        return None


def _from_program(text: str, pid: int, folder: Path) -> str:
    program = os.path.basename((text[1:].split() or ["?"])[0])
    if program == "systemd-coredump" and shutil.which("coredumpctl"):
        return _from_systemd(pid, folder / "core")
    missing = ", and coredumpctl is not installed" if program == "systemd-coredump" else ""
    raise Problem(
        f"the kernel hands cores to {program} (core_pattern){missing}: gdbext cannot get at "
        f"this one; {_REMEDY}"
    )


def _from_systemd(pid: int, target: Path) -> str:
    """systemd-coredump may still be writing when the process has ended."""
    command = ["coredumpctl", "--quiet", f"--output={target}", "dump", str(pid)]
    deadline = time.monotonic() + _PATIENCE
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 and target.exists():
            return str(target)
        if time.monotonic() > deadline:
            said = next(iter(reversed(done.stderr.strip().splitlines())), "it does not say why")
            raise Problem(f"coredumpctl has no core of process {pid}: {said}; {_REMEDY}")
        time.sleep(_POLL)


def no_core_reasons(path: str) -> Iterator[str]:
    """Why the kernel wrote no core of a program, as far as that shows."""
    import resource

    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 and not pattern().startswith("|"):
        yield "core files are forbidden (ulimit -H -c is 0)"
    if gains_rights(path):
        yield "it runs with other rights than yours (set-user-ID or capabilities)"
    yield "its working directory may not be writable, or it asked for none (prctl)"


def gains_rights(path: str) -> bool:
    """Whether a program gets rights by its file: no core is written of it, and ld.so ignores
    LD_DEBUG."""
    try:
        status = os.stat(path)
        if status.st_mode & 0o4000 and status.st_uid != os.getuid():
            return True
        if status.st_mode & 0o2010 == 0o2010 and status.st_gid != os.getgid():
            return True
        return bool(os.getuid()) and "security.capability" in os.listxattr(path)
    except OSError:
        return False
