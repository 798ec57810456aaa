"""The facts of the whole post-mortem: the crash, and what the other commands have to say."""

from __future__ import annotations

import re
import signal as signals
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import gdb

from gdbext import __version__, settings
from gdbext.commands.base import Command, Part
from gdbext.commands.conflicts import PlugConflicts
from gdbext.commands.got import JudgedModule, PlugGot
from gdbext.commands.links import PlugLinks
from gdbext.commands.reportfiles import Missing, find_missing
from gdbext.commands.threads import PlugThreads
from gdbext.commands.tls import PlugTls
from gdbext.elf.problem import Problem
from gdbext.findings.crash.nearslots import NearSlot, find_near_slots
from gdbext.inferior.framerecords import OUTERMOST
from gdbext.inferior.symbolfiles import SymbolLoader
from gdbext.linker.loaded.alone import read_linker_or_images
from gdbext.linker.loaded.modules import VDSO
from gdbext.linker.lookup.rules import glibc_release
from gdbext.linker.unloaded.unloaded import Unloaded
from gdbext.stops.crash import Crash, read_crash

if TYPE_CHECKING:
    from gdbext.commands.bundlefacts import BundleFacts
    from gdbext.inferior import Inferior
    from gdbext.linker.loaded.modules import Linker
    from gdbext.linker.places import Map

_MOST_FRAMES = 256
_NEAR_FRAMES = 4
PARTS: dict[str, tuple[str, type[Command], tuple[str, ...]]] = {
    "links": ("Modules", PlugLinks, ()),
    "got": ("Slots that are not ok", PlugGot, ("-all",)),
    "conflicts": ("Conflicts", PlugConflicts, ()),
    "threads": ("Threads", PlugThreads, ()),
    "tls": ("Thread-local storage", PlugTls, ()),
}


class Versions(NamedTuple):
    """What the report was made by, and what of. `libc` is glibc, musl or None: not known;
    `libc_version` is the newest symbol version that libc defines."""

    gdbext: str
    gdb: str
    gdb_python: str
    libc: str | None
    libc_version: str | None
    cpu: str


class ReportFacts(NamedTuple):
    """The crash itself, what the other commands have to say, by the keys of PARTS, and what GDB
    warned of. `not_ok` are the modules with the slots alone that are not ok, None where none were
    judged; `verdicts` are those on `near`, by address. `documents` is document()'s."""

    target: str
    program: str | None
    crash: Crash
    parts: dict[str, Part]
    warnings: list[str]
    documents: dict[str, dict[str, Any] | None]
    not_ok: list[JudgedModule] | None
    near: list[NearSlot]
    verdicts: dict[int, tuple[str, str | None]]
    unloaded: list[Unloaded]
    missing: list[Missing]
    versions: Versions
    notes: list[str]
    bundle: BundleFacts | None = None

    @property
    def slots(self) -> int:
        """How many slots were judged."""
        return sum(len(judged.found.slots) for judged in self.parts["got"].facts or ())

    def document(self, key: str) -> dict[str, Any] | None:
        """A part as its own -json has it, made once: JSON and HTML both want all slots."""
        if key not in self.documents:
            self.documents[key] = self.parts[key].document()
        return self.documents[key]


def read_report(
    inferior: Inferior, talk: str | None, symbols: bool, say: Callable[[str], None]
) -> ReportFacts:
    """Read everything; `talk` is a file with what GDB said so far, `say` is told the stages.
    With `symbols` GDB is given those of the modules that stacks go through.

    Raises Problem where there is nothing to report on, or no such file."""
    say("frames")
    linker, _ = read_linker_or_images(inferior)
    if symbols:
        inferior.symbols = SymbolLoader(inferior, linker)
    crash = read_crash(inferior, _signal(inferior), _MOST_FRAMES)
    parts = {}
    for key, (title, kind, words) in PARTS.items():
        say(title.lower())
        parts[key] = Part.of(kind, inferior, *words)
    say("files")
    space = inferior.map(linker)
    near = _near_slots(crash, space)
    judged = parts["got"].facts
    links = parts["links"].facts
    return ReportFacts(
        "snapshot" if inferior.core is not None and inferior.core.is_snapshot else inferior.target,
        inferior.main_path(),
        crash,
        parts,
        _warnings(talk) if talk else [],
        {},
        _not_ok(judged) if judged is not None else None,
        near,
        _verdicts(near, judged or ()),
        list(_unloaded(crash, space)),
        find_missing(inferior, links.links if links is not None else None),
        _versions(inferior, linker),
        [*(_told(talk, "note: ") if talk else []), *_notes(inferior, crash)],
    )


def _near_slots(crash: Crash, space: Map) -> list[NearSlot]:
    """Those of the innermost frame that uses any: libc itself hardly does."""
    inside = [frame.lookup for frame, place in crash.frames if place.module]
    found = (find_near_slots(space, address) for address in inside[:_NEAR_FRAMES])
    return next(filter(None, found), [])


def _not_ok(modules: Sequence[JudgedModule]) -> list[JudgedModule]:
    """The modules with something wrong, and of their slots those that are not ok."""
    kept = []
    for judged in modules:
        rows = [i for i, verdict in enumerate(judged.judgements.verdicts) if verdict != "ok"]
        wrong = judged.header is not None and judged.header.verdict not in ("ok", None)
        if rows or judged.found.problem or wrong:
            kept.append(judged.only(rows))
    return kept


def _verdicts(
    near: Sequence[NearSlot], modules: Sequence[JudgedModule]
) -> dict[int, tuple[str, str | None]]:
    wanted = {one.slot.address for one in near}
    owners = {one.module.map.address for one in near}
    found = {}
    for judged in modules:
        if judged.found.module.map.address in owners:
            for slot, judgement in zip(judged.found.slots, judged.judgements):
                if slot.address in wanted:
                    found[slot.address] = judgement.verdict, judgement.reason
    return found


def _unloaded(crash: Crash, space: Map) -> Iterator[Unloaded]:
    """What is known to be gone, and what the crash has to do with."""
    places = [place for _, place in crash.frames]
    places += [register.place for register in crash.registers if register.place is not None]
    places += [crash.site, *([crash.fault] if crash.fault is not None else [])]
    met = [place.ghost.library for place in places if place.ghost is not None]
    yield from dict.fromkeys((*met, *space.unloaded.records))


def _versions(inferior: Inferior, linker: Linker | None) -> Versions:
    libc = version = None
    if linker is not None and linker.namespaces:
        libc = "musl" if linker.layout is None else "glibc"
        release = glibc_release(linker, inferior.tables) if libc == "glibc" else None
        version = f"2.{release}" if release is not None else None
    return Versions(
        __version__, gdb.VERSION, sys.version.split()[0], libc, version, inferior.arch.name
    )


def _notes(inferior: Inferior, crash: Crash) -> Iterator[str]:
    """What the reader must know of the core itself, and of what it lacks."""
    told = [frame.level for frame, _ in crash.frames if frame.by_record]
    if told:
        yield (
            f"frames #{told[0]} to #{told[-1]} are by the frame records on the stack "
            f"({inferior.arch.frame_register}), since GDB could not unwind them"
        )
    core = inferior.core
    if core is None:
        return
    if core.truncated:
        yield "the core file is cut short: what stood in the rest is not known"
    thread = inferior.selected_thread()
    if thread is not None and not inferior.unwinding.has_stack(thread.stack_pointer):
        yield "the core does not hold the stack of this thread, so its callers are not known"
    outermost, place = crash.frames[-1] if crash.frames else (None, None)
    if outermost is not None and place is not None and place.module is not None:
        whole = outermost.function in OUTERMOST or place.module.kind == VDSO
        if not whole and inferior.tables.file_of(place.module) is None:
            yield (
                f"behind frame #{outermost.level} the stack cannot be followed: the unwind "
                f"information of {place.module.file_name} is in its file, which is not here"
            )


def _warnings(talk: str) -> list[str]:
    """What GDB warned of. Since GDB 14 it does so, too, of a source line that it cannot show."""
    source = re.compile(r"\d+\t.*: No such file or directory")
    return [line for line in _told(talk, "warning: ") if not source.fullmatch(line)]


def _told(talk: str, head: str) -> list[str]:
    """What stands behind `head` in lines that GDB and `gdbext report` wrote, each once.

    Raises Problem."""
    try:
        with open(talk, encoding="utf-8", errors="backslashreplace") as file:
            lines = [line.strip() for line in file]
    except OSError as error:
        raise Problem(f"cannot read {talk!r}: {error.strerror}") from error
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
