"""`gdbext run -- PROG ARGS`: run a program, and report if it crashes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from gdbext.cli.outputs import declare_outputs, make_report, show
from gdbext.elf.problem import Problem
from gdbext.render.printable import printable

if TYPE_CHECKING:
    from gdbext.postmortem.children import Child

HELP = "run a program and, if it crashes, say why"
_DESCRIPTION = """
Run PROG as a shell would and, if a signal that leaves a core ends it, report on it.
The program has your terminal, standard input, output and error for itself; the report is printed
when it has ended. The exit status is the program's own, 128 and the number of the signal if one
ended it, and 2 if the program could not be started or there is no report on its crash.
"""


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command and its options."""
    command = commands.add_parser(
        "run",
        help=HELP,
        description=_DESCRIPTION.strip(),
        usage="gdbext run [OPTIONS] -- PROG [ARG…]",
        allow_abbrev=False,
    )
    command.add_argument(
        "--native",
        action="store_true",
        help="at the program's own speed: no debugger, but a core and the dynamic linker's log",
    )
    command.add_argument(
        "--keep-core", metavar="FILE", help="with --native: keep the core of a crash there"
    )
    declare_outputs(command)
    command.add_argument("program", nargs="+", metavar="PROG ARG", help="the program to run")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Run a program and report on its crash; raises Problem."""
    from gdbext.postmortem.children import find_program

    if options.keep_core and not options.native:
        raise Problem("--keep-core needs --native: GDB needs no core")
    words = options.program
    path = find_program(words[0])
    with TemporaryDirectory(prefix="gdbext-") as name:
        if options.native:
            return _native(path, words, options, Path(name))
        return _in_gdb(path, words, options, Path(name))


def _in_gdb(path: str, words: list[str], options: argparse.Namespace, folder: Path) -> int:
    from gdbext.postmortem import children, supervised

    gate = folder / "gate"
    os.mkfifo(gate, 0o600)
    child = children.start(path, words, os.environ, gate)
    report = problem = None
    with children.signals_for(child):
        try:
            report = make_report(supervised.target(child.pid, gate), options, folder)
        except Problem as error:
            problem = error
        why = children.failure(child)
        if why == "" and problem is not None:
            children.end(child)
            raise problem
        status = os.waitpid(child.pid, 0)[1]
    _check_start(child, why)
    if report is not None:
        show(report)
    elif problem is not None and _is_crash(status):
        raise problem
    return _exit_status(status)


def _native(path: str, words: list[str], options: argparse.Namespace, folder: Path) -> int:
    from gdbext.postmortem import children, corepattern, native

    with native.prepared(path, folder) as surroundings:
        for note in surroundings.notes:
            print(f"gdbext: {note}", file=sys.stderr)
        child = children.start(path, words, surroundings.environment, cores=True)
        with children.signals_for(child):
            status, places = native.wait(child.pid)
        _check_start(child, children.failure(child))
        if _is_crash(status):
            with native.crashed(child.pid, status, places, surroundings, folder) as crash:
                try:
                    show(make_report(crash.target, options, folder))
                finally:
                    if options.keep_core:
                        native.keep(crash, Path(options.keep_core))
        for core, pid in corepattern.cores_of_others(places, surroundings.since):
            name = printable(core)
            print(f"gdbext: process {pid} crashed, too; its core is {name}", file=sys.stderr)
    return _exit_status(status)


def _check_start(child: Child, why: str | None) -> None:
    if why:
        raise Problem(f"{child.path} cannot be run: {why}")


def _is_crash(status: int) -> bool:
    import signal

    from gdbext.findings.crash.signals import CRASHES

    return os.WIFSIGNALED(status) and signal.Signals(os.WTERMSIG(status)).name in CRASHES


def _exit_status(status: int) -> int:
    """As a shell has it."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
