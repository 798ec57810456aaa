"""What this machine allows: tracing, core files, ARM64; and whether GDB's start file is right."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from gdbext import gdbinit, packages
from gdbext.doctor.check import Check

PTRACE_SEIZE = 0x4206  # linux/ptrace.h
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")

# Documentation/admin-guide/LSM/Yama.rst
SCOPES = {
    "1": "only children can be traced (yama ptrace_scope 1): `run` works, attaching needs root",
    "2": "only root can trace (yama ptrace_scope 2)",
    "3": "nobody can trace (yama ptrace_scope 3); this stays until the next boot",
}


def examine() -> Iterator[Check]:
    """Yield every check of the machine."""
    yield ptrace(read_line(YAMA), can_trace_child())
    yield from cores(resource.getrlimit(resource.RLIMIT_CORE)[0], read_line(CORE_PATTERN) or "core")
    yield from arm64()
    yield start_file()


def read_line(path: Path) -> str | None:
    """Read a one-line file; None where it is not there or not readable."""
    try:
        return path.read_text(errors="backslashreplace").strip()
    except OSError:
        return None


def can_trace_child() -> bool:
    """Try to trace a process that we started, as GDB does."""
    libc = ctypes.CDLL(None, use_errno=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        traced: int = libc.ptrace(PTRACE_SEIZE, child.pid, None, None)
        child.kill()
    return traced == 0


def ptrace(scope: str | None, traced: bool) -> Check:
    """Judge whether GDB may run and attach."""
    if not traced:
        why = SCOPES.get(
            scope or "", "a container's seccomp profile or a security module forbids it"
        )
        remedy = (
            "sudo sysctl kernel.yama.ptrace_scope=1"
            if scope == "2"
            else "docker run --cap-add=SYS_PTRACE …"
        )
        return Check(
            "ptrace", "missing", f"processes cannot be traced: {why}; core files still work", remedy
        )
    if scope == "1" and os.geteuid() != 0:
        return Check("ptrace", "warning", SCOPES["1"], "sudo sysctl kernel.yama.ptrace_scope=0")
    return Check("ptrace", "ok", "processes can be run and attached to")


def cores(limit: int, pattern: str) -> Iterator[Check]:
    """Judge whether a crash leaves a core file, and where; a limit below 0 means none."""
    piped = pattern.startswith("|")
    # The kernel ignores the limit when it pipes, except that 1 means none: core(5).
    if limit == 0 and not piped:
        yield Check(
            "core_limit",
            "warning",
            "a crash leaves no core file (ulimit -c is 0)",
            "ulimit -c unlimited",
        )
    elif limit > 0 and not piped:
        size = f"{limit / 1024**2:.0f} MB"
        yield Check(
            "core_limit", "warning", f"core files are cut off at {size}", "ulimit -c unlimited"
        )
    else:
        yield Check("core_limit", "ok", "core files are not limited in size by ulimit -c")
    yield Check(
        "core_pattern", "ok", f"core files go {destination(pattern)} (core_pattern: {pattern})"
    )


def destination(pattern: str) -> str:
    """Say in words where the kernel puts a core file, core(5)."""
    if pattern.startswith("|"):
        program = os.path.basename((pattern[1:].split() or ["?"])[0])
        known = {
            "systemd-coredump": "to systemd's journal (coredumpctl dump -o CORE PID)",
            "apport": "to apport, under /var/crash or /var/lib/apport/coredump",
        }
        return known.get(program, f"to the program {program}")
    folder = os.path.dirname(pattern)
    return (
        f"to the folder {folder}"
        if folder
        else "to the working directory of the process that crashed"
    )


def arm64() -> Iterator[Check]:
    """Judge whether ARM64 programs can be run and debugged here."""
    qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if os.uname().machine == "aarch64":
        return
    if qemu:
        yield Check("qemu", "ok", f"ARM64 programs run with {qemu}")
    else:
        text = "ARM64 programs cannot be run here; ARM64 core files can be read"
        yield Check("qemu", "warning", text, "sudo apt-get install qemu-user")
    multiarch = shutil.which("gdb-multiarch")
    if multiarch:
        yield Check("gdb-multiarch", "ok", f"ARM64 programs can be debugged with {multiarch}")
    else:
        text = "gdb-multiarch is not installed; an ordinary gdb may know this machine's CPU alone"
        yield Check("gdb-multiarch", "warning", text, "sudo apt-get install gdb-multiarch")


def start_file() -> Check:
    """Judge whether install's lines are in the gdbinit, and are those that it would write now."""
    path = gdbinit.default_path(os.environ)
    try:
        current = gdbinit.is_current(
            gdbinit.read(path) or b"", packages.own_folder(), packages.elsewhere()
        )
    except (gdbinit.GdbinitError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Check("gdbinit", "warning", f"{path}: {reason}", f"edit {path}")
    if current is None:
        return Check("gdbinit", "warning", f"{path} does not have gdbext's lines", "gdbext install")
    if not current:
        return Check(
            "gdbinit",
            "warning",
            f"{path} has gdbext's lines, of another installation",
            "gdbext install",
        )
    return Check("gdbinit", "ok", f"{path} has gdbext's lines")
