"""One GDB, run for one report: what it is told, and how its failure is told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gdbext import packages
from gdbext.elf.problem import Problem

STAGE = "plug-report: now "  # plug-report -progress begins its lines with it
# No network, and no scripts that the target's files ask GDB to run.
_CAREFUL = (
    "set debuginfod enabled off",
    "set auto-load gdb-scripts off",
    "set auto-load python-scripts off",
)
_POLL = 0.1  # seconds between two looks at what GDB says


class Target(NamedTuple):
    """What GDB is to look at.

    `gdb`: the GDB that knows this CPU. `arguments`: of GDB's command line; `before` and `after`:
    GDB commands around the report; `opening`: those between gdbext and the report, and what is
    said while they run. `note`: what the user must know of the target. `log`: ld.so's own.
    """

    gdb: str
    arguments: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    note: str | None = None
    opening: tuple[str, ...] = ()
    stage: str | None = "opening it in GDB"
    log: Path | None = None


class Outputs(NamedTuple):
    """The files to write, None for those that nobody wants; text in `width` columns, 0 for any.
    `private`: options that put the program's arguments or environment into the bundle."""

    text: Path | None
    document: Path | None
    page: Path | None
    bundle: Path | None = None
    private: tuple[str, ...] = ()
    width: int = 0
    color: bool = False


def run_report(
    target: Target,
    outputs: Outputs,
    gdb: str | None,
    folder: Path,
    progress: Callable[[str], None],
) -> None:
    """Write the report of a target; raises Problem, and then a file may be missing but not cut.

    `gdb` is the user's own choice; `folder` takes what GDB says; `progress` is told the stages.
    """
    talk = folder / "talk.txt"
    with talk.open("w", encoding="utf-8") as file:
        if target.note:
            file.write(f"note: {' '.join(target.note.split())}\n")
    program = gdb or target.gdb
    command = [program, *_options(target, outputs, talk)]
    status = _run(command, talk, target.stage, progress)
    said = talk.read_text(encoding="utf-8", errors="backslashreplace").splitlines()
    if status:
        raise Problem(f"no report: {_reason(said)}")


def _options(target: Target, outputs: Outputs, talk: Path) -> Iterator[str]:
    own = packages.own_folder()
    yield from ("-nx", "-q", "-batch")
    for command in (*_CAREFUL, *target.before):
        yield from ("-iex", command)
    commands = [f"set width {outputs.width}", f"directory {own}", f"source {own}/gdbext"]
    commands += [*target.opening, _report_command(outputs, talk, target.log), *target.after]
    for command in commands:
        yield from ("-ex", command)
    yield from target.arguments


def _report_command(outputs: Outputs, talk: Path, log: Path | None) -> str:
    words = ["plug-report", "-progress", "-symbols", "-talk", quoted(talk)]
    if outputs.text is None and outputs.document is not None:
        words += ["-json", "-out", quoted(outputs.document)]
    else:
        words += ["-out", quoted(outputs.text or Path(os.devnull))]
        words += ["-document", quoted(outputs.document)] if outputs.document else []
    words += ["-html", quoted(outputs.page)] if outputs.page else []
    words += ["-log", quoted(log)] if log else []
    if outputs.bundle:
        words += ["-bundle", quoted(outputs.bundle), *outputs.private]
    words += ["-color"] if outputs.color else []
    return " ".join(words)


def quoted(path: Path) -> str:
    """A path as one word of a GDB command (libiberty, argv.c, buildargv)."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _run(
    command: Sequence[str], talk: Path, opening: str | None, progress: Callable[[str], None]
) -> int:
    """Run GDB with all that it says in a file, and give its exit status.

    It has a session of its own: Ctrl-C is for us, or for the program that runs in it.
    """
    # what GDB says is read here: without translations (gettext(3) asks LANGUAGE first)
    environment = {**os.environ, "TERM": "dumb", "LANGUAGE": "en"}
    with talk.open("a") as errors:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            name = command[0]
            if isinstance(error, FileNotFoundError):
                raise Problem(f"{name} is not installed; --gdb names another GDB") from error
            raise Problem(f"{name} cannot be run: {error.strerror}") from error
        try:
            while True:
                try:
                    return process.wait(_POLL)
                except subprocess.TimeoutExpired:
                    stage = _stage(talk) or opening
                    if stage is not None:
                        progress(stage)
        finally:
            process.kill()
            process.wait()


def _stage(talk: Path) -> str | None:
    """What plug-report is doing, by its last line; None before it begins."""
    lines = talk.read_text(encoding="utf-8", errors="replace").splitlines()
    stages = [line[len(STAGE) :] for line in lines if line.startswith(STAGE)]
    return f"reading {stages[-1]}" if stages else None


def _reason(said: Sequence[str]) -> str:
    """The line in which GDB or plug-report says why there is no report."""
    own = [line.partition(": ")[2] for line in said if line.startswith("plug-report: ")]
    own = [text for text in own if not text.startswith(STAGE.partition(": ")[2])]
    lines = own or [
        line for line in said if line.strip() and not line.startswith(("warning: ", "note: "))
    ]
    reason = lines[-1] if lines else "GDB did not say why"
    # what plug-report says in a session is no help here
    return "GDB finds no process there" if reason.startswith("no process") else reason
