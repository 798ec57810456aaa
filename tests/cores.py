"""Core files, each made once, by the kernel or by qemu."""

from __future__ import annotations

import hashlib
import resource
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness import TIMEOUT, environment, gdb_program
from tests.programs import Program, locked


@dataclass(frozen=True)
class Core:
    """A core file. PROGRAM is the file it came from, which need not exist any more.

    KIND: "kernel", "gdb" (this machine's kernel pipes its cores elsewhere) or "qemu"."""

    path: Path
    program: Path
    kind: str

    @property
    def arm64(self) -> bool:
        """Whether it is of an ARM64 program."""
        return self.kind == "qemu"


def kernel_writes_here() -> bool:
    """Whether the kernel puts cores into the working directory."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    return "/" not in pattern and not pattern.startswith("|") and hard == resource.RLIM_INFINITY


def crash(command: Sequence[str], cwd: Path, filter: int | None, stdin: str) -> None:  # noqa: A002
    """Run COMMAND to its end with cores allowed; FILTER is its /proc/PID/coredump_filter."""

    def allow_cores() -> None:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        if filter is not None:
            Path("/proc/self/coredump_filter").write_text(hex(filter))

    with (cwd / "program.out").open("wb") as output:
        subprocess.run(
            command,
            input=stdin.encode(),
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=environment(),
            preexec_fn=allow_cores,
            timeout=TIMEOUT,
        )


def crash_in_gdb(
    command: Sequence[str],
    cwd: Path,
    filter: int | None,  # noqa: A002
) -> None:
    """The same by GDB's own core writer, for a machine whose kernel hands cores to a program."""
    filtering = f"echo {hex(filter)} >/proc/self/coredump_filter; " if filter is not None else ""
    script = f"{filtering}exec {gdb_program()} -nx -q -batch"
    for line in ("set use-coredump-filter on", "run </dev/null", "generate-core-file core"):
        script += f" -ex {shlex.quote(line)}"
    done = subprocess.run(
        ["sh", "-c", f"{script} --args {shlex.join(command)}"],
        capture_output=True,
        cwd=cwd,
        env=environment(),
        timeout=TIMEOUT,
    )
    (cwd / "program.out").write_bytes(done.stdout + done.stderr)


def make_core(
    cache: Path,
    program: Program,
    *arguments: str,
    filter: int | None = None,  # noqa: A002
    env: dict[str, str] | None = None,
    stdin: str = "",
    gone: bool = False,
) -> Core:
    """PROGRAM's core, made once for each choice of arguments and kept in the folder CACHE.

    FILTER is a coredump_filter (core(5); x86-64 alone). With GONE it is the core of a copy of the
    whole scenario's folder, and that copy has been deleted."""
    assert filter is None or not program.arm64, "qemu knows no coredump_filter"
    newest = max(path.stat().st_mtime_ns for path in program.folder.rglob("*"))
    key = repr((str(program.path), arguments, filter, env, stdin, gone, newest))
    name = f"{program.scenario}-{program.set}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    folder = cache / name
    with locked(cache / f"{name}.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _fill(folder, program, arguments, filter, env, stdin, gone)
            (folder / "done").touch()
    kind, path, file = (folder / "made").read_text().split("\n")
    return Core(Path(path), Path(file), kind)


def _fill(
    folder: Path,
    program: Program,
    arguments: Sequence[str],
    filter: int | None,  # noqa: A002
    env: dict[str, str] | None,
    stdin: str,
    gone: bool,
) -> None:
    ran = program
    if gone:
        shutil.copytree(program.folder, folder / "files")
        copy = folder / "files" / program.path.relative_to(program.folder)
        ran = Program(program.scenario, copy, program.set)
    command = ran.command(*arguments, env=env)
    if program.arm64:
        kind, pattern = "qemu", "qemu_*.core"
        crash(command, folder, None, stdin)
    elif kernel_writes_here():
        kind, pattern = "kernel", "core*"
        crash(command, folder, filter, stdin)
    else:
        kind, pattern = "gdb", "core"
        crash_in_gdb(command, folder, filter)
    cores = list(folder.glob(pattern))
    said = (folder / "program.out").read_text(errors="backslashreplace")
    assert len(cores) == 1, f"{shlex.join(command)} left {len(cores)} cores in {folder}:\n{said}"
    if gone:
        shutil.rmtree(folder / "files")
    (folder / "made").write_text(f"{kind}\n{cores[0]}\n{ran.path}")
