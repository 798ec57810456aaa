"""`gdbext report CORE`: from a core to an answer."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from gdbext.cli.outputs import answer, declare_outputs

HELP = "say what a core file tells: cause first, then everything around it"


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command and its options."""
    command = commands.add_parser(
        "report", help=HELP, description=f"{HELP[0].upper()}{HELP[1:]}.", allow_abbrev=False
    )
    command.add_argument("core", metavar="CORE", help="a core file, also compressed")
    command.add_argument("--exe", metavar="PROG", help="the program (default: the core names it)")
    command.add_argument("--sysroot", metavar="DIR", help="where the crashed machine's files are")
    command.add_argument(
        "--log", metavar="FILE", help="what the dynamic linker wrote of it with LD_DEBUG=files"
    )
    declare_outputs(command)
    command.set_defaults(command=report)


def report(options: argparse.Namespace) -> int:
    """Report on a core; raises Problem."""
    from gdbext.postmortem.cores import core_target

    with TemporaryDirectory(prefix="gdbext-") as folder:
        target = core_target(options.core, options.exe, options.sysroot, Path(folder))
        if options.log is not None:
            target = target._replace(log=Path(options.log).absolute())
        return answer(target, options, Path(folder))
