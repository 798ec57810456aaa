"""`gdbext attach PID`: a report on a running process, which goes on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from gdbext.cli.outputs import answer, declare_outputs
from gdbext.cli.signals import ended_by_signals
from gdbext.render.printable import printable

HELP = "say what a running process does; it is stopped for a moment only"


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command and its options."""
    command = commands.add_parser(
        "attach", help=HELP, description=f"{HELP[0].upper()}{HELP[1:]}.", allow_abbrev=False
    )
    command.add_argument("pid", metavar="PID", type=int, help="the number of the process")
    declare_outputs(command)
    command.set_defaults(command=attach)


def attach(options: argparse.Namespace) -> int:
    """Report on a process; raises Problem."""
    from gdbext.postmortem import attached

    with ended_by_signals(), TemporaryDirectory(prefix="gdbext-") as folder:
        found = attached.attach(options.pid, Path(folder))
        print(
            f"gdbext: process {options.pid} ({printable(found.name)}) was stopped for "
            f"{found.seconds * 1000:.0f} ms and goes on",
            file=sys.stderr,
        )
        return answer(found.target, options, Path(folder))
