"""The facts of the whole post-mortem: the crash, and what the other commands have to say."""

from __future__ import annotations

import signal as signals
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from gdbext import settings
from gdbext.commands.base import Command, Part
from gdbext.commands.conflicts import PlugConflicts
from gdbext.commands.got import PlugGot
from gdbext.commands.links import PlugLinks
from gdbext.commands.threads import PlugThreads
from gdbext.commands.tls import PlugTls
from gdbext.elf.problem import Problem
from gdbext.inferior.symbolfiles import SymbolLoader
from gdbext.linker.alone import read_linker_or_images
from gdbext.stops.crash import Crash, read_crash

if TYPE_CHECKING:
    from gdbext.inferior import Inferior

_MOST_FRAMES = 256
PARTS: dict[str, tuple[str, type[Command], tuple[str, ...]]] = {
    "links": ("Modules", PlugLinks, ()),
    "got": ("Slots that are not ok", PlugGot, ("-all",)),
    "conflicts": ("Conflicts", PlugConflicts, ()),
    "threads": ("Threads", PlugThreads, ()),
    "tls": ("Thread-local storage", PlugTls, ()),
}


class ReportFacts(NamedTuple):
    """The crash itself, what the other commands have to say, by the keys of PARTS, and what GDB
    warned of."""

    target: str
    program: str | None
    crash: Crash
    parts: dict[str, Part]
    warnings: list[str]


def read_report(
    inferior: Inferior, talk: str | None, symbols: bool, say: Callable[[str], None]
) -> ReportFacts:
    """Read everything; `talk` is a file with what GDB said so far, `say` is told the stages.
    With `symbols` GDB is given those of the modules that stacks go through.

    Raises Problem where there is nothing to report on, or no such file."""
    say("frames")
    if symbols:
        linker, _ = read_linker_or_images(inferior)
        inferior.symbols = SymbolLoader(inferior, linker)
    crash = read_crash(inferior, _signal(inferior), _MOST_FRAMES)
    parts = {}
    for key, (title, kind, words) in PARTS.items():
        say(title.lower())
        parts[key] = Part.of(kind, inferior, *words)
    warnings = _warnings(talk) if talk else []
    return ReportFacts(inferior.target, inferior.main_path(), crash, parts, warnings)


def _warnings(talk: str) -> list[str]:
    """What GDB warned of, each once; raises Problem."""
    try:
        with open(talk, encoding="utf-8", errors="backslashreplace") as file:
            lines = [line.strip() for line in file]
    except OSError as error:
        raise Problem(f"cannot read {talk!r}: {error.strerror}") from error
    head = "warning: "
    return list(dict.fromkeys(line[len(head) :] for line in lines if line.startswith(head)))


def _signal(inferior: Inferior) -> str | None:
    """The signal that stopped a process, or that ended it."""
    if inferior.core is None:
        return settings.last_signal[0] if settings.last_signal else None
    number = inferior.core.signal
    if number is None:
        return None
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
