"""Sessions on live, attached and remote programs and on cores, all ended with the test."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.cores import Core
from tests.harness import NUMBERS, Gdb, HarnessError, environment
from tests.processes import PORTS, connect, process, waiting
from tests.programs import Program, marker


class Sessions:
    """Makes sessions for one test, and ends them and their processes with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.all: list[Gdb] = []
        self._stack = ExitStack()

    def gdb(self, *arguments: str, **options: Any) -> Gdb:  # noqa: ANN401
        """A Gdb with the ARGUMENTS of its command line; OPTIONS are those of Gdb."""
        session = Gdb(self.folder, *arguments, **options)
        self.all.append(session)
        self._stack.callback(session.close)
        return session

    def live(
        self,
        program: Program,
        *arguments: str,
        until: str | None = "loaded",
        env: dict[str, str] | None = None,
        before: Sequence[str] = (),
        gdbext: bool = True,
        cwd: Path | None = None,
    ) -> Gdb:
        """PROGRAM under GDB (qemu's stub for ARM64), stopped at a marker of its sources.

        UNTIL may also be a signal ("SIGSEGV"), or None for a stop at the first instruction. ENV is
        the program's alone; BEFORE are commands to run before the program starts."""
        output = self.folder / f"program-{next(NUMBERS)}.out"
        cwd = cwd or self.folder
        if program.arm64:
            gdb = self._under_qemu(program, arguments, output, env, before, gdbext, cwd)
            resume = "continue"
        else:
            gdb = self.gdb(
                "--args", str(program.path), *arguments, before=before, gdbext=gdbext, cwd=cwd
            )
            gdb.program_output = output
            # GDB counts the programs that are executed until its own, so there is one wrapper.
            words = [f"{name}={value}" for name, value in (env or {}).items()]
            wrapper = f"</dev/null >{shlex.quote(str(output))} 2>&1 env {shlex.join(words)}"
            gdb.cmd(f"set exec-wrapper {wrapper}")
            resume = "run" if until else "starti"
        if until is None:
            if resume == "starti":
                gdb.cmd(resume)
        elif until.startswith("SIG"):
            gdb.until_signal(until, resume)
        else:
            gdb.until(marker(program.scenario, until), resume)
        if not program.arm64:
            gdb.pid = int(gdb.python("gdb.selected_inferior().pid"))
        return gdb

    def _under_qemu(
        self,
        program: Program,
        arguments: Sequence[str],
        output: Path,
        env: dict[str, str] | None,
        before: Sequence[str],
        gdbext: bool,
        cwd: Path,
    ) -> Gdb:
        port = next(PORTS)
        qemu, *rest = program.command(*arguments, env=env)
        stub = self._stack.enter_context(
            process([qemu, "-g", str(port), *rest], output, cwd, environment())
        )
        gdb = self.gdb(str(program.path), arm64=True, before=before, gdbext=gdbext, cwd=cwd)
        gdb.program_output = output
        connect(gdb, port, stub)
        return gdb

    def gdbserver(
        self,
        program: Program,
        *arguments: str,
        until: str | None = "loaded",
        env: dict[str, str] | None = None,
        before: Sequence[str] = (),
        gdbext: bool = True,
    ) -> Gdb:
        """PROGRAM under gdbserver on this machine, stopped as live() would stop it."""
        assert not program.arm64, "gdbserver runs native programs"
        port = next(PORTS)
        output = self.folder / f"program-{next(NUMBERS)}.out"
        server = ["gdbserver", "--once", "--no-startup-with-shell", f"127.0.0.1:{port}"]
        stub = self._stack.enter_context(
            process(
                [*server, str(program.path), *arguments],
                output,
                self.folder,
                environment(**(env or {})),
            )
        )
        gdb = self.gdb(str(program.path), before=before, gdbext=gdbext)
        gdb.program_output = output
        connect(gdb, port, stub)
        gdb.pid = int(gdb.python("gdb.selected_inferior().pid"))
        if until is None:
            return gdb
        if until.startswith("SIG"):
            gdb.until_signal(until)
        else:
            gdb.until(marker(program.scenario, until))
        return gdb

    def attach(
        self,
        program: Program,
        *arguments: str,
        ready: str = "ready",
        env: dict[str, str] | None = None,
        before: Sequence[str] = (),
        gdbext: bool = True,
        cwd: Path | None = None,
    ) -> Gdb:
        """GDB attached to PROGRAM after it printed the line READY; gdb.pid is its pid."""
        started = self.start(program, *arguments, ready=ready, env=env, cwd=cwd)
        gdb = self.gdb(before=before, gdbext=gdbext, cwd=cwd)
        said = gdb.cmd(f"attach {started.pid}")
        gdb.pid = int(gdb.python("gdb.selected_inferior().pid"))
        if gdb.pid != started.pid:
            raise HarnessError(f"not attached:\n{said}")
        return gdb

    def start(
        self,
        program: Program,
        *arguments: str,
        ready: str = "ready",
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """PROGRAM, running without GDB, after it printed the line READY."""
        return self._stack.enter_context(
            waiting(
                program.command(*arguments),
                cwd or self.folder,
                ready,
                environment(**(env or {})),
            )
        )

    def waiting(
        self, command: Sequence[str], cwd: Path, ready: str = "ready"
    ) -> subprocess.Popen[bytes]:
        """COMMAND, running without GDB, after it printed the line READY."""
        return self._stack.enter_context(waiting(command, cwd, ready, environment()))

    def core(self, core: Core, *, with_program: bool = True, **options: Any) -> Gdb:  # noqa: ANN401
        """GDB on a core, with its program's file or (the worse case) without it."""
        arguments = [str(core.program)] if with_program else []
        options.setdefault("arm64", core.arm64)
        return self.gdb(*arguments, f"--core={core.path}", **options)

    def close(self) -> None:
        """End everything, the last first."""
        self._stack.close()
