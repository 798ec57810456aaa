"""`gdbext install`: gdbext's lines in the user's gdbinit, or out of it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from gdbext import gdbinit, packages
from gdbext.cli.status import DONE, FAILED

HELP = "make `source gdbext` work in every GDB session"


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command and its options."""
    command = commands.add_parser("install", help=HELP, description=f"{HELP.capitalize()}.")
    command.add_argument(
        "--gdbinit",
        type=Path,
        metavar="FILE",
        help="the gdbinit to change (default: the one GDB reads)",
    )
    what = command.add_mutually_exclusive_group()
    what.add_argument("--remove", action="store_true", help="take the lines out again")
    what.add_argument(
        "--auto-load", action="store_true", help="also load gdbext at each start of GDB"
    )
    command.set_defaults(command=install)


def install(options: argparse.Namespace) -> int:
    """Put gdbext's lines into the gdbinit, or take them out."""
    path: Path = options.gdbinit or gdbinit.default_path(os.environ)
    try:
        old = gdbinit.read(path)
        new = (
            gdbinit.without_block(old or b"")
            if options.remove
            else wanted(old, auto_load=options.auto_load)
        )
        changed = new != old and not (old is None and options.remove)
        if changed:
            gdbinit.replace(path, new)
    except (gdbinit.GdbinitError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        print(f"gdbext: {path}: {reason}; nothing was changed", file=sys.stderr)
        return FAILED
    for line in (
        removed(path, changed) if options.remove else installed(path, changed, options.auto_load)
    ):
        print(line)
    warn(path, options)
    return DONE


def wanted(old: bytes | None, *, auto_load: bool) -> bytes:
    """Give the gdbinit's new content."""
    lines = gdbinit.block_lines(packages.own_folder(), packages.elsewhere(), auto_load=auto_load)
    return gdbinit.with_block(old, lines)


def installed(path: Path, changed: bool, auto_load: bool) -> Iterator[str]:
    """Say what was done and what comes next."""
    yield f"{path}: gdbext's lines {'are written' if changed else 'were there already'}."
    yield (
        "Next: start gdb; gdbext is loaded."
        if auto_load
        else "Next: start gdb and type: source gdbext"
    )
    yield "To check this GDB and this machine: gdbext doctor"


def removed(path: Path, changed: bool) -> Iterator[str]:
    """Say what was taken out."""
    yield f"{path}: gdbext's lines {'are taken out' if changed else 'were not there'}."


def warn(path: Path, options: argparse.Namespace) -> None:
    """Say on standard error what may keep the lines from having their effect."""
    home = Path.home() / ".gdbinit"
    if options.gdbinit is None and path != home and home.exists():
        print(f"gdbext: note: GDB before 11 reads {home} instead of this file", file=sys.stderr)
    missing = [packages.NEEDS[name] for name, folder in packages.locate().items() if folder is None]
    if missing and not options.remove:
        print(
            f"gdbext: warning: this Python does not find {', '.join(missing)}; see gdbext doctor",
            file=sys.stderr,
        )
