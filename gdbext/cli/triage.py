"""`gdbext triage CORE…`: many cores, grouped by what crashed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from gdbext.cli.outputs import answering, has_color
from gdbext.cli.progress import Progress
from gdbext.cli.status import DONE, FAILED, FINDINGS, INTERRUPTED
from gdbext.elf.problem import Problem
from gdbext.render.printable import count, printable

if TYPE_CHECKING:
    from gdbext.triage.groups import Groups
    from gdbext.triage.journal import Journal
    from gdbext.triage.outcome import Job, Outcome, Settings

HELP = "read many cores and group them by what crashed"
_SECONDS = 300.0
_ANY_WIDTH = 1 << 20
_EPILOG = """\
Exit status: 0 if a core could be read, 1 if one could not and --fail-on failed is given, 2 if
none could be read or the call was wrong, 130 if it was interrupted."""


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command and its options."""
    command = commands.add_parser(
        "triage",
        help=HELP,
        description=f"{HELP.capitalize()}.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    command.add_argument(
        "cores",
        metavar="CORE",
        nargs="*",
        help="a core file, also compressed, or a folder: every core in it and below, told by "
        "content; none: what --jsonl FILE holds is shown",
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "-j", "--jobs", type=_jobs, metavar="N", help="so many at a time (default: one a CPU)"
    )
    where.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="let the workers of this Dask scheduler do it; they read the cores by the same paths",
    )
    command.add_argument(
        "--jsonl",
        metavar="FILE",
        help="keep a line of JSON for each core as soon as it is read; what is there already is "
        "not read again",
    )
    command.add_argument(
        "--retry", action="store_true", help="read those again that FILE says could not be read"
    )
    command.add_argument(
        "--reports", metavar="DIR", help="keep each core's whole report as JSON there"
    )
    command.add_argument(
        "--json", metavar="FILE", help="write the groups as JSON too; - instead of the text"
    )
    command.add_argument(
        "--timeout",
        type=_seconds,
        default=_SECONDS,
        metavar="SECONDS",
        help=f"for one core (default: {_SECONDS:g})",
    )
    command.add_argument(
        "--fail-on", choices=["failed"], help="exit status 1 if a core could not be read"
    )
    command.add_argument("--exe", metavar="PROG", help="the program (default: each core names it)")
    command.add_argument("--sysroot", metavar="DIR", help="where the crashed machine's files are")
    command.add_argument("--gdb", metavar="PATH", help="the GDB to use")
    command.set_defaults(command=triage)


def _jobs(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one at a time")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("a number of seconds above 0")
    return number


def triage(options: argparse.Namespace) -> int:
    """Read, group and answer; raises Problem."""
    from gdbext.triage.groups import grouped
    from gdbext.triage.journal import Journal

    if not options.cores and not options.jsonl:
        raise Problem("name cores or folders, or the --jsonl FILE of an earlier run")
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(options.jsonl)) if options.jsonl else None
        outcomes = list(journal.outcomes) if journal else []
        if options.cores:
            before, outcomes = outcomes, []
            try:
                _read(options, before, journal, outcomes)
            except KeyboardInterrupt:
                kept = f"; {journal.path} has it, the same command goes on" if journal else ""
                done = f"{count(len(outcomes), 'core')} done"
                print(f"gdbext: interrupted, {done}{printable(kept)}", file=sys.stderr)
                return INTERRUPTED
    found = grouped(outcomes)
    with answering():
        _answer(found, options.json)
    if not found.read:
        print(f"gdbext: none of {count(len(outcomes), 'core')} could be read", file=sys.stderr)
        return FAILED
    return FINDINGS if found.failed and options.fail_on else DONE


def _read(
    options: argparse.Namespace,
    before: Sequence[Outcome],
    journal: Journal | None,
    outcomes: list[Outcome],
) -> None:
    """Add the outcomes of all cores that are asked for to `outcomes`, as they come."""
    from gdbext.triage.plan import plan
    from gdbext.triage.search import find_cores

    found = find_cores(options.cores)
    for note in found.notes:
        print(f"gdbext: note: {printable(note)}", file=sys.stderr)
    if not found.cores:
        raise Problem("there is no core to read")
    todo = plan(
        found.cores,
        _settings(options),
        options.timeout,
        _folder(options.reports),
        before,
        retry=options.retry,
    )
    outcomes += todo.known
    with (
        _terminated_as_interrupted(),
        Progress() as progress,
        closing(_work(todo.jobs, options, progress, todo.known)) as work,
    ):
        for outcome in work:
            if journal is not None:
                journal.append(outcome)
            outcomes.append(outcome)


def _work(
    jobs: Sequence[Job], options: argparse.Namespace, progress: Progress, known: Sequence[Outcome]
) -> Generator[Outcome, None, None]:
    """Do the jobs, and say how far they are."""
    if not jobs:
        return
    if options.dask is not None:
        from gdbext.triage.cluster import cluster_outcomes

        source = cluster_outcomes(jobs, options.dask, options.timeout)
    else:
        from gdbext.triage.pool import cpus, local_outcomes

        source = local_outcomes(jobs, options.jobs or cpus())
    signatures = {outcome.crash.signature for outcome in known if outcome.crash}
    start, done = time.monotonic(), 0
    with closing(source):
        for outcome in source:
            if outcome is not None:
                done += 1
                signatures.update([outcome.crash.signature] if outcome.crash else [])
                yield outcome
            stage = f"{done} of {count(len(jobs), 'core')}, {count(len(signatures), 'signature')}"
            left = (time.monotonic() - start) / done * (len(jobs) - done) if done else None
            progress.say(stage if left is None else f"{stage}, about {_duration(left)} left")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _settings(options: argparse.Namespace) -> Settings:
    """Paths that mean the same to workers with another working directory."""
    from gdbext.triage.outcome import Settings

    gdb = options.gdb
    return Settings(
        os.path.abspath(options.exe) if options.exe else None,
        os.path.abspath(options.sysroot) if options.sysroot else None,
        os.path.abspath(gdb) if gdb and "/" in gdb else gdb,
    )


def _folder(path: str | None) -> str | None:
    """The folder for reports, made where it is not there; not everybody may read them."""
    if path is None:
        return None
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise Problem(f"cannot make {path!r}: {error.strerror}") from error
    return os.path.abspath(path)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends the GDBs too, as Ctrl-C does."""
    old = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _answer(found: Groups, path: str | None) -> None:
    from gdbext.triage.groups import document
    from gdbext.triage.text import lines

    if path is not None:
        data = json.dumps(document(found), indent=1) + "\n"
        if path == "-":
            print(data, end="")
            return
        _write(path, data)
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else _ANY_WIDTH
    for line in lines(found, width, terminal and has_color()):
        print(line)


def _write(path: str, text: str) -> None:
    from gdbext.render.files import whole_file

    try:
        with whole_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise Problem(f"cannot write {path!r}: {error.strerror}") from error
