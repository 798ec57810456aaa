"""The shell command `gdbext`. Standard output is the answer, standard error is talk.

Exit status: 0 done, 2 could not do the job."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gdbext import __version__, gdbinit, packages

DONE = 0
FAILED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        status = command(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader left early, as `head` does; Python's flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return status


def parser() -> argparse.ArgumentParser:
    """Declare the commands and their options."""
    top = argparse.ArgumentParser(
        prog="gdbext", description="Explain dynamic linking from inside GDB.", allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"gdbext {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    install_help = "make `source gdbext` work in every GDB session"
    command = commands.add_parser(
        "install", help=install_help, description=f"{install_help.capitalize()}."
    )
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

    report_help = "say what a core file tells: cause first, then everything around it"
    command = commands.add_parser("report", help=report_help, description=_sentence(report_help))
    command.add_argument("core", metavar="CORE", help="a core file, also compressed")
    command.add_argument("--exe", metavar="PROG", help="the program (default: the core names it)")
    command.add_argument("--sysroot", metavar="DIR", help="where the crashed machine's files are")
    command.add_argument("--gdb", metavar="PATH", help="the GDB to use")
    command.add_argument(
        "--json", metavar="FILE", help="write one JSON document too; - instead of the text"
    )
    command.set_defaults(command=report)

    doctor_help = "say what this GDB, its Python and this machine can do"
    command = commands.add_parser(
        "doctor", help=doctor_help, description=f"{doctor_help.capitalize()}."
    )
    command.add_argument(
        "--gdb",
        action="append",
        default=[],
        metavar="PATH",
        help="a GDB to look at; may be given several times",
    )
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.set_defaults(command=doctor)
    return top


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def report(options: argparse.Namespace) -> int:
    """Report on a core."""
    from gdbext.elf.problem import Problem
    from gdbext.postmortem import read_report
    from gdbext.render.printable import printable

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    try:
        program, found = read_report(
            options.core,
            options.exe,
            options.sysroot,
            options.gdb,
            width,
            document=options.json is not None,
        )
        if options.json not in (None, "-"):
            write_whole(Path(options.json), found.document or "")
    except Problem as problem:
        print(f"gdbext: {printable(str(problem))}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"gdbext: {error.filename}: {error.strerror}", file=sys.stderr)
        return FAILED
    if options.json == "-":
        print(found.document, end="")
        return DONE
    print(found.text, end="")
    for note in [program.note] if program.note else []:
        print(f"\nNote: {printable(note)}")
    if found.warnings:
        print("\nGDB's own warnings:")
        print("\n".join(f"  {printable(line)}" for line in found.warnings))
    return DONE


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all, mode 0600."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    except BaseException:
        draft.unlink()
        raise


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


def doctor(options: argparse.Namespace) -> int:
    """Examine and report; done if gdbext can work in the first GDB."""
    from gdbext.doctor import examination, text

    found = examination.examine(options.gdb)
    if options.json:
        print(json.dumps(examination.document(found), indent=2))
    else:
        print("\n".join(text.lines(found)))
    return DONE if found.works else FAILED
