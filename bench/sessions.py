"""Start GDB for the benchmark: sessions with inside_gdb.py, or whole processes by the clock."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sysconfig
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from generate import BuildError, Workload, make_core

HERE = Path(__file__).resolve().parent
PLACES = ("live", "core")


class SessionError(Exception):
    """GDB did not do what the benchmark needs; the message says why."""


@dataclass(frozen=True)
class Setup:
    """Which GDB and which gdbext are measured."""

    gdb: str
    package: Path  # the folder that `directory` names to GDB
    timeout: float  # seconds for one GDB process
    problem: str = ""  # why gdbext cannot be sourced, see checked()

    def command(self, *arguments: str) -> list[str]:
        """A GDB command line that reads nobody's gdbinit and asks nothing."""
        return [self.gdb, "-nx", "-batch", *arguments]

    def sourcing(self) -> list[str]:
        """The GDB options that load gdbext."""
        return ["-ex", f"directory {self.package}", "-ex", "source gdbext"]

    def environment(self) -> dict[str, str]:
        """The caller's environment, with gdbext's dependencies on GDB's Python path."""
        names = ("LD_BIND_NOW", "LD_PRELOAD", "DEBUGINFOD_URLS")
        environment = {key: value for key, value in os.environ.items() if key not in names}
        if not (self.package.parent / ".venv").is_dir():
            paths = [sysconfig.get_path("purelib"), environment.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        environment.update(LC_ALL="C", TERM="dumb", SHELL="/bin/sh")
        return environment


@dataclass(frozen=True)
class Request:
    """What inside_gdb.py shall do in one session."""

    answer: str
    core: str = ""  # empty: run the program
    gdbext: str = ""  # the folder to name to `directory`; empty: without gdbext
    commands: dict[str, str] = field(default_factory=dict)  # name to GDB command
    runs: int = 5
    seconds_at_most: float = 20.0  # no further run of a command after that
    info_symbol: bool = False
    sample: int | None = None  # how many slots the `info symbol` loop asks; None is all


def run_gdb(setup: Setup, command: list[str], **variables: str) -> tuple[float, str, str]:
    """Run one GDB process; return its wall time, its stdout and its stderr."""
    environment = {**setup.environment(), **variables}
    with tempfile.TemporaryDirectory(prefix="gdbext-bench-") as scratch:
        out, err = Path(scratch) / "out", Path(scratch) / "err"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            seconds = clocked(setup, command, environment, out_file, err_file)
        return seconds, out.read_text(errors="replace"), err.read_text(errors="replace")


def clocked(
    setup: Setup, command: list[str], environment: dict[str, str], out: BinaryIO, err: BinaryIO
) -> float:
    """Wall time of one GDB process, which is killed when it takes too long."""
    start = time.perf_counter()
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment
        )
    except OSError as problem:
        raise SessionError(f"{setup.gdb}: {problem.strerror}") from problem
    # Not wait(timeout): Python polls then, with naps of up to 50 ms that would be measured too.
    watch = threading.Timer(setup.timeout, process.kill)
    watch.start()
    try:
        process.wait()
    finally:
        watch.cancel()
    seconds = time.perf_counter() - start
    if process.returncode == -signal.SIGKILL and seconds >= setup.timeout:
        raise SessionError(f"GDB did not end within {setup.timeout:g} s")
    return seconds


def session(setup: Setup, workload: Workload, place: str, request: Request) -> dict[str, Any]:
    """Run one session of inside_gdb.py on the workload, live or on its core."""
    with tempfile.TemporaryDirectory(prefix="gdbext-bench-") as scratch:
        answer = Path(scratch) / "answer.json"
        core = core_of(workload) if place == "core" else ""
        request = dataclasses.replace(request, answer=str(answer), core=core)
        asked = Path(scratch) / "request.json"
        asked.write_text(json.dumps(dataclasses.asdict(request)))
        program = [workload.command[0], core] if core else ["--args", *workload.command]
        command = setup.command("-x", str(HERE / "inside_gdb.py"), *program)
        _, _, errors = run_gdb(setup, command, GDBEXT_BENCH_REQUEST=str(asked))
        if not answer.exists():
            raise SessionError(f"no answer from GDB: {one_line(errors)}")
        result: dict[str, Any] = json.loads(answer.read_text())
        return result


def core_of(workload: Workload) -> str:
    """The path of the workload's core, made now if it is not there."""
    try:
        return str(make_core(workload))
    except (BuildError, OSError) as problem:
        raise SessionError(str(problem)) from problem


def one_line(text: str) -> str:
    """What GDB said on stderr, as one line of bearable length."""
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())[-300:]


def checked(setup: Setup) -> Setup:
    """The setup with `problem` filled in: gdbext is sourced once, unmeasured."""
    if not (setup.package / "gdbext").is_file():
        return dataclasses.replace(setup, problem=f"there is no {setup.package / 'gdbext'}")
    ask = ["-ex", "python import gdbext; print('gdbext', gdbext.__version__)"]
    _, out, errors = run_gdb(setup, setup.command(*setup.sourcing(), *ask))
    if "gdbext " in out and not errors.strip():
        return setup
    return dataclasses.replace(setup, problem=f"source gdbext failed: {one_line(errors)}")
