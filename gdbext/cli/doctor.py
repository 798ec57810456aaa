"""`gdbext doctor`: what this GDB, its Python and this machine can do."""

from __future__ import annotations

import argparse
import json

from gdbext.cli.status import DONE, FAILED

HELP = "say what this GDB, its Python and this machine can do"


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command and its options."""
    command = commands.add_parser("doctor", help=HELP, description=f"{HELP.capitalize()}.")
    command.add_argument(
        "--gdb",
        action="append",
        default=[],
        metavar="PATH",
        help="a GDB to look at; may be given several times",
    )
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.set_defaults(command=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Examine and report; done if gdbext can work in the first GDB."""
    from gdbext.doctor import examination, text

    found = examination.examine(options.gdb)
    if options.json:
        print(json.dumps(examination.document(found), indent=2))
    else:
        print("\n".join(text.lines(found)))
    return DONE if found.works else FAILED
