"""A running process seen from outside, and why it cannot be looked at, in one line."""

from __future__ import annotations

import os
import pwd
import re
from typing import NamedTuple

from gdbext.doctor.machine import SCOPES, YAMA, read_line
from gdbext.elf.arch import ARCHES
from gdbext.elf.file import open_elf
from gdbext.elf.problem import Problem

OWN_MACHINES = {"x86_64": 62, "aarch64": 183}


class Running(NamedTuple):
    """A process. `name` is the kernel's short name of it; `root` is where its files are seen from
    here, None where it sees the same ones as we do."""

    pid: int
    name: str
    machine: int
    root: str | None


def examine(pid: int) -> Running:
    """A process that can be stopped, as far as that shows; raises Problem."""
    status = read_status(pid)
    name = status.get("Name", "?")
    if int(status.get("Tgid", pid)) != pid:
        raise Problem(f"{pid} is a thread of process {status['Tgid']}: name the process")
    if pid == os.getpid():
        raise Problem(f"{pid} is gdbext itself, which cannot stop and go on at the same time")
    if status.get("State", "")[:1] in ("Z", "X") and not _has_living_threads(pid):
        parent = status.get("PPid", "?")
        raise Problem(
            f"process {pid} ({name}) has ended; it is kept until its parent, process {parent}, "
            f"asks how"
        )
    if status.get("Kthread") == "1" or not (status.keys() & {"VmSize", "VmPeak"}):
        raise Problem(f"{pid} ({name}) is a thread of the kernel: it runs no program")
    tracer = int(status.get("TracerPid", "0"))
    if tracer:
        by = read_status(tracer).get("Name", "?")
        raise Problem(
            f"process {pid} ({name}) is traced already, by process {tracer} ({by}): "
            f"only one can; end that one first"
        )
    try:
        machine = open_elf(f"/proc/{pid}/exe").image.header.machine
    except Problem as error:
        if not os.access(f"/proc/{pid}/exe", os.R_OK):
            raise Problem(refusal(pid)) from error
        raise Problem(f"process {pid} ({name}) runs no program of a 64-bit CPU") from error
    own = os.uname().machine
    if machine != OWN_MACHINES.get(own):
        theirs = next((a.name for a in ARCHES if a.machine == machine), f"number {machine}")
        raise Problem(f"process {pid} ({name}) is of CPU {theirs}; this machine's is {own}")
    return Running(pid, name, machine, _other_root(pid))


def read_status(pid: int) -> dict[str, str]:
    """proc_pid_status(5) by key; raises Problem if there is no such process."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="backslashreplace") as file:
            rows = (line.rstrip("\n").partition(":\t") for line in file)
            return {key: value for key, _, value in rows}
    except (FileNotFoundError, ProcessLookupError):
        raise Problem(f"there is no process {pid}") from None


def refusal(pid: int) -> str:
    """Why the kernel does not let us look into a process, and what to do."""
    status = read_status(pid)
    name, uid = status.get("Name", "?"), int(status.get("Uid", "-1").split()[0])
    head = f"process {pid} ({name}) may not be looked into"
    scope = read_line(YAMA)
    if os.geteuid() == 0:
        if scope == "3":
            return f"{head}: {SCOPES['3']}"
        return (
            f"{head} even by root: a container's seccomp profile or a security module forbids it "
            f"(docker run --cap-add=SYS_PTRACE …)"
        )
    if uid != os.geteuid():
        return f"{head}: it is {_user(uid)}'s; use sudo"
    if scope in SCOPES:
        return f"{head}: {SCOPES[scope]}; use sudo, or: sudo sysctl kernel.yama.ptrace_scope=0"
    return f"{head}: it has more rights than you, or asked not to be looked into; use sudo"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _has_living_threads(pid: int) -> bool:
    """The first thread may have ended while others go on."""
    try:
        tids = os.listdir(f"/proc/{pid}/task")
        states = [read_status(int(tid)).get("State", "X") for tid in tids]
    except (OSError, Problem):
        return False
    return any(not re.match("[ZX]", state) for state in states)


def _other_root(pid: int) -> str | None:
    """Where a process's files are: below /proc if its root or its mounts are not ours."""
    root = f"/proc/{pid}/root"
    try:
        same_root = os.path.samestat(os.stat(root), os.stat("/"))
        same_mounts = os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    except OSError:
        return None
    return None if same_root and same_mounts else root
