"""The shell command `gdbext`. Standard output is the answer, standard error is talk.

Exit status: 0 done, 1 findings where an option asks for that, 2 could not do the job."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from gdbext import __version__
from gdbext.cli import attach, diff, doctor, install, report, run, triage
from gdbext.cli.outputs import answering
from gdbext.cli.status import DONE, FAILED
from gdbext.elf.problem import Problem
from gdbext.render.printable import printable

# Each declares itself and sets `command`, which takes the options and gives the exit status.
COMMANDS = (report, run, attach, triage, diff, install, doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    status = DONE
    try:
        with answering():
            status = command(options)
    except Problem as problem:
        print(f"gdbext: {printable(str(problem))}", file=sys.stderr)
        return FAILED
    return status


def parser() -> argparse.ArgumentParser:
    """Declare the commands and their options."""
    top = argparse.ArgumentParser(
        prog="gdbext", description="Explain dynamic linking from inside GDB.", allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"gdbext {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.declare(commands)
    return top
