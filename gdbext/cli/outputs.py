"""What the commands that report have in common: where the answer goes."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gdbext.cli.progress import Progress
from gdbext.cli.status import DONE
from gdbext.elf.problem import Problem

if TYPE_CHECKING:
    from gdbext.postmortem.debugger import Target


# What a bundle holds only where it is asked for; plug-report has the same options.
PRIVATE = (
    ("--with-args", "the program's arguments"),
    ("--with-environment", "its environment"),
)


def declare_outputs(command: argparse.ArgumentParser) -> None:
    """Declare --gdb, --json, --html, --bundle and what a bundle may hold."""
    command.add_argument("--gdb", metavar="PATH", help="the GDB to use")
    command.add_argument(
        "--json", metavar="FILE", help="write one JSON document too; - instead of the text"
    )
    command.add_argument("--html", metavar="FILE", help="write a page for the browser too")
    command.add_argument(
        "--bundle", metavar="FILE", help="write report and facts into one ZIP archive too"
    )
    for name, what in PRIVATE:
        command.add_argument(name, action="store_true", help=f"put {what} into the bundle")


def answer(target: Target, options: argparse.Namespace, folder: Path) -> int:
    """Report on what GDB is to look at, and print the text; see make_report."""
    show(make_report(target, options, folder))
    return DONE


def make_report(target: Target, options: argparse.Namespace, folder: Path) -> Path:
    """Write the files that are asked for; gives the one that is to be printed.

    `folder` is for what is needed in between. Raises Problem; the files are whole or not there.
    """
    from gdbext.postmortem.debugger import Outputs, run_report

    private = tuple(name for name, _ in PRIVATE if getattr(options, _attribute(name)))
    if private and options.bundle is None:
        raise Problem(f"{private[0]} says what a bundle holds, and --bundle names none")
    instead = options.json == "-"
    terminal = sys.stdout.isatty()
    outputs = Outputs(
        text=None if instead else folder / "report.txt",
        document=folder / "report.json" if instead else _absolute(options.json),
        page=_absolute(options.html),
        bundle=_absolute(options.bundle),
        private=private,
        width=shutil.get_terminal_size().columns if terminal else 0,
        color=terminal and has_color(),
    )
    with Progress() as progress:
        run_report(target, outputs, options.gdb, folder, progress.say)
    shown = outputs.document if instead else outputs.text
    assert shown is not None
    return shown


def show(report: Path) -> None:
    """Print what make_report wrote."""
    with answering(), report.open(encoding="utf-8") as file:
        shutil.copyfileobj(file, sys.stdout)


@contextmanager
def answering() -> Iterator[None]:
    """Print the answer in this block: a reader that leaves early, as `head` does, ends it and
    changes no exit status."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # also for Python's own flush at the end, which would complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _attribute(option: str) -> str:
    return option.lstrip("-").replace("-", "_")


def has_color() -> bool:
    """By TERM and NO_COLOR, as no-color.org has it."""
    return os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")


def _absolute(path: str | None) -> Path | None:
    """A file to write: GDB may have another working directory."""
    return None if path is None else Path(path).absolute()
