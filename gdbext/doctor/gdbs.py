"""What one GDB can do: asked by running it once, with the lines that install would write."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gdbext import gdbinit, packages
from gdbext.doctor.check import Check

PROBE = "gdbext-probe: "
TIMEOUT = 60  # seconds; a GDB that takes longer to start and stop is not usable
# What GDB adds after a Python traceback.
SAYS_NOTHING = ("Error while executing Python code.", "Error in sourced command file:")
INSTALL_GDB = "sudo apt-get install gdb"

FEATURES = {
    "send_packet": (
        "can talk to a remote stub (RemoteTargetConnection.send_packet)",
        "no RemoteTargetConnection.send_packet: remote stubs tell less; GDB 12 has it",
    ),
    "corefile": (
        "describes core files itself (gdb.Corefile)",
        "no gdb.Corefile: core files are read from their own headers; nothing is lost",
    ),
}

# Tried on GDB 13.1 and 18.1: it opens the path itself, where /proc/self is GDB, and reads for ever
# from its own pipe. It does so before any extension is asked, and does not end at SIGTERM.
MEMFD = (
    "GDB hangs for ever when a program loads a library from a memfd (/proc/self/fd/N); "
    "set this before such a program runs"
)


@dataclass(frozen=True)
class Gdb:
    """One examined GDB; `version` and `python` are None where they cannot be told."""

    path: str
    version: str | None
    python: str | None
    works: bool
    checks: tuple[Check, ...]


def default_gdbs() -> list[str]:
    """List the GDBs on PATH, the one that a user gets first; two names for one file count once."""
    found = [path for name in ("gdb", "gdb-multiarch") if (path := shutil.which(name))]
    return list({os.path.realpath(path): path for path in reversed(found)}.values())[::-1]


def examine(path: str) -> Gdb:
    """Run one GDB and judge its answers."""
    try:
        lines = gdbinit.block_lines(packages.own_folder(), packages.elsewhere(), auto_load=False)
        done = run(path, lines)
    except (gdbinit.GdbinitError, OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Gdb(
            path,
            None,
            None,
            False,
            (Check("gdb", "missing", f"cannot be run: {reason}", INSTALL_GDB),),
        )
    for line in done.stdout.splitlines():
        if line.startswith(PROBE):
            facts = json.loads(line[len(PROBE) :])
            checks = (*judge(facts, done.stderr), *sessions(path))
            return Gdb(path, facts["version"], facts["python"], facts["sourced"], checks)
    return without_probe(path, done.stderr)


def run(path: str, lines: tuple[bytes, ...]) -> subprocess.CompletedProcess[str]:
    """Source gdbext and run the probe, in a folder that holds a folder named gdbext."""
    probe = os.path.join(packages.own_folder(), "doctor", "probe.py")
    with tempfile.TemporaryDirectory(prefix="gdbext-doctor-") as folder:
        os.mkdir(os.path.join(folder, "gdbext"))
        commands = [
            argument
            for line in lines
            if not line.startswith(b"#")
            for argument in ("-ex", os.fsdecode(line))
        ]
        command = [path, "-nx", "-batch", *commands, "-ex", "source gdbext", "-x", probe]
        return capture(command, folder)


def capture(command: list[str], folder: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command with no input, and collect what it prints."""
    return subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
        text=True,
        errors="backslashreplace",
    )


def without_probe(path: str, talk: str) -> Gdb:
    """Judge a GDB that did not answer: it has no Python, or it is no GDB."""
    first = (capture([path, "-nx", "--version"]).stdout.splitlines() or [""])[0]
    if not first.startswith("GNU gdb"):
        checks = (Check("gdb", "missing", "does not behave like GDB", INSTALL_GDB),)
        return Gdb(path, None, None, False, checks)
    version = first.rsplit(" ", 1)[-1]
    reason = "has no Python" if "not supported" in talk else f"did not answer: {last_line(talk)}"
    checks = (Check("python", "missing", f"GDB {version} {reason}", INSTALL_GDB),)
    return Gdb(path, version, None, False, checks)


def last_line(talk: str) -> str:
    """Give the last line on standard error that says what went wrong."""
    lines = [line for line in talk.splitlines() if line.strip() and not line.endswith(SAYS_NOTHING)]
    return lines[-1] if lines else "it printed nothing"


def judge(facts: dict[str, Any], talk: str) -> Iterator[Check]:
    """Turn the probe's answers into checks."""
    yield Check("gdb", "ok", f"GDB {facts['version']} with Python {facts['python']}")
    if facts["sourced"]:
        yield Check("source", "ok", "source gdbext works, also beside a folder named gdbext")
        yield Check("gdbext", "ok", f"gdbext comes from {os.path.dirname(facts['gdbext'])}")
    else:
        reason, _, remedy = last_line(talk).partition("; install with: ")
        yield Check("source", "missing", f"source gdbext fails: {reason}", remedy or None)
    for name, found in facts["packages"].items():
        yield package(packages.NEEDS[name], found)
    for cpu in ("i386:x86-64", "aarch64"):
        yield architecture(cpu, cpu in facts["architectures"])
    for name, (present, absent) in FEATURES.items():
        if facts["features"][name]:
            yield Check(name, "ok", present)
        else:
            yield Check(name, "ok" if name == "corefile" else "warning", absent)
    yield Check("memfd", "warning", MEMFD, "set sysroot /nonexistent")


def package(name: str, found: dict[str, str | None]) -> Check:
    """Judge one needed Python package."""
    if found["file"]:
        return Check(name, "ok", f"{name} comes from {os.path.dirname(found['file'])}")
    # The Python that runs this is the one that gdbext was installed with.
    remedy = f"{shlex.quote(sys.executable)} -m pip install {name} && gdbext install"
    return Check(name, "missing", f"{name} cannot be imported: {found['reason']}", remedy)


def architecture(cpu: str, present: bool) -> Check:
    """Judge one CPU."""
    name = {"i386:x86-64": "x86-64", "aarch64": "ARM64"}[cpu]
    if present:
        return Check(cpu, "ok", f"can debug {name} programs and cores")
    installed = shutil.which("gdb-multiarch")
    remedy = f"start {installed} instead" if installed else "sudo apt-get install gdb-multiarch"
    return Check(cpu, "warning", f"cannot debug {name}; gdb-multiarch can", remedy)


def sessions(path: str) -> Iterator[Check]:
    """Judge whether a session of this GDB, with the user's own gdbinit, knows gdbext's folder."""
    file = gdbinit.default_path(os.environ)
    try:
        current = gdbinit.is_current(
            gdbinit.read(file) or b"", packages.own_folder(), packages.elsewhere()
        )
        if not current:
            return  # said in the machine's part
        shown = capture([path, "-batch", "-ex", "show directories"]).stdout
    except (gdbinit.GdbinitError, OSError, subprocess.TimeoutExpired):
        return
    if packages.own_folder() in shown:
        yield Check("session", "ok", "a new session knows gdbext's folder")
    else:
        remedy = f"run {path} and see which line of {file} it complains of, or resets `directory`"
        yield Check("session", "warning", "a new session does not know gdbext's folder", remedy)
