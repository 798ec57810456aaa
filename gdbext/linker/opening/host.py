"""A process in which a file would be loaded, or a program that is about to start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from gdbext.elf.arch import Arch
from gdbext.elf.file import FileData
from gdbext.elf.image import PF_X
from gdbext.elf.problem import Problem
from gdbext.elf.properties import LEVELS, cpu_levels
from gdbext.linker.loaded.linkmaps import LinkMap
from gdbext.linker.loaded.modules import LINKER, MAIN, Linker, Module
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.lookup.rules import Rules, glibc_release, read_rules, rules_of_release
from gdbext.linker.lookup.scopes import Scopes
from gdbext.linker.needs.search import Searches
from gdbext.linker.needs.searchpaths import expand, library_path
from gdbext.linker.opening.filesystem import FileSystem
from gdbext.linker.opening.locate import Search, system_directories
from gdbext.linker.opening.prospect import Layers
from gdbext.linker.opening.rights import Rights
from gdbext.linker.process.process import Process
from gdbext.linker.threads.threads import Thread
from gdbext.linker.tls.tls import Room, read_room, read_tls
from gdbext.linker.tls.tlsmodules import TlsModule


class Surroundings(NamedTuple):
    """What the machine says: files, environment, ld.so.cache, /proc/cpuinfo (None: not known),
    the text of musl's path file (None without one), and how names are shown."""

    view: FileSystem
    environment: Mapping[str, str] | None
    cache: Mapping[str, set[str]]
    cpuinfo: str | None
    musl_path: str | None
    demangle: Callable[[str], str]


@dataclass(frozen=True)
class Host:
    """A process, or one that is about to start (`linker` is empty then).

    `rules` and `release` (N of glibc 2.N, None for musl or where it is not known) are asked with
    all modules that there would be; `levels` the CPU levels as bits (elf/properties.py), None
    where they are not known; `how` says by which rule a loaded module was found; `stack` whether
    the stacks are executable; `tunables` GLIBC_TUNABLES, `lazy` the mode of binding where nothing
    else is asked for, `bind_now`, whether LD_BIND_NOW makes every dlopen bind at once.
    """

    arch: Arch
    search: Search
    linker: Linker
    tables: TableSet
    rules: Callable[[Linker, TableSet], Rules]
    scopes: Scopes | None
    musl: bool
    release: Callable[[Linker, TableSet], int | None]
    levels: int | None
    room: Callable[[], tuple[Room, tuple[TlsModule, ...]]]
    how: Callable[[Module], str | None]
    stack: bool | None
    tunables: str
    demangle: Callable[[str], str]
    starting: bool
    lazy: bool
    bind_now: bool

    @property
    def rights(self) -> Rights:
        """What the process may do."""
        return self.search.view.rights


def host_of_process(
    process: Process,
    arch: Arch,
    linker: Linker,
    tables: TableSet,
    threads: Callable[[], Sequence[Thread]],
    searches: Searches,
    around: Surroundings,
) -> Host:
    """A process as it is now."""
    musl = linker.layout is None
    environment = around.environment or {}
    directories = tuple(d for d, _ in library_path(process, linker, around.environment) or ())
    search = _search(arch, around, directories, musl, _linker_file(tables, linker))

    @cache
    def room() -> tuple[Room, tuple[TlsModule, ...]]:
        tls = read_tls(process, arch, linker, tables)
        return read_room(tls, threads()), tls.modules

    stack = next((r for r in process.regions() if r.path == "[stack]"), None)
    return Host(
        arch=arch,
        search=search,
        linker=linker,
        tables=tables,
        rules=lambda _linker, _tables: read_rules(process, linker, tables),
        scopes=Scopes(process.memory, linker),
        musl=musl,
        release=lambda _linker, _tables: None if musl else glibc_release(linker, tables),
        levels=cpu_levels(around.cpuinfo) if around.cpuinfo else None,
        room=room,
        how=lambda module: searches.find(module).text,
        stack=bool(stack.flags & PF_X) if stack and stack.flags is not None else None,
        tunables=environment.get("GLIBC_TUNABLES", ""),
        demangle=around.demangle,
        starting=False,
        lazy=False,
        bind_now=bool(environment.get("LD_BIND_NOW")),
    )


def host_of_program(
    arch: Arch, program: str, interpreter: str | None, around: Surroundings
) -> tuple[Host, Layers]:
    """A program that is about to start, and the memory in which its files are."""
    musl = interpreter is not None and "ld-musl" in interpreter
    layers = Layers(None)
    environment = around.environment or {}
    data: FileData | None = None
    if interpreter is not None:
        with suppress(Problem):  # that it is missing is said when the program is looked at
            data = around.view.open(interpreter).data
    text = environment.get("LD_LIBRARY_PATH", "")
    directories = tuple(_expanded(text, program))
    search = _search(arch, around, directories, musl, data)

    def rules(linker: Linker, tables: TableSet) -> Rules:
        found = rules_of_release(glibc_release(linker, tables), musl)
        return replace(found, dynamic_weak="LD_DYNAMIC_WEAK" in environment)

    host = Host(
        arch=arch,
        search=search,
        linker=Linker((), (), (), None, ()),
        tables=TableSet(layers, lambda _module: None, lambda _module: None),
        rules=rules,
        scopes=None,
        musl=musl,
        release=lambda linker, tables: None if musl else glibc_release(linker, tables),
        levels=cpu_levels(around.cpuinfo) if around.cpuinfo else None,
        room=lambda: (Room(None, None, "nothing runs"), ()),
        how=lambda _module: None,
        stack=None,
        tunables=environment.get("GLIBC_TUNABLES", ""),
        demangle=around.demangle,
        starting=True,
        lazy=not environment.get("LD_BIND_NOW"),
        bind_now=bool(environment.get("LD_BIND_NOW")),
    )
    return host, layers


def _expanded(text: str, program: str) -> list[str]:
    """LD_LIBRARY_PATH; $ORIGIN is the program's directory."""
    empty = LinkMap(0, 0, b"", 0, 0, 0)
    main = Module(empty, 0, program, program, MAIN, None, None, None, Layers(None))
    return expand(text, ":;", main, ())


def _search(
    arch: Arch,
    around: Surroundings,
    directories: tuple[str, ...],
    musl: bool,
    linker_file: FileData | None,
) -> Search:
    levels = cpu_levels(around.cpuinfo) if around.cpuinfo else None
    names = [n for bit, n in enumerate(LEVELS) if bit and (levels or 0) >> bit & 1]
    return Search(
        view=around.view,
        machine=arch.machine,
        cache={} if musl else around.cache,
        library_path=directories,
        defaults=system_directories(linker_file, musl, around.musl_path),
        musl=musl,
        levels=tuple(reversed(names)),
    )


def _linker_file(tables: TableSet, linker: Linker) -> FileData | None:
    module = next((m for m in linker.modules if m.kind == LINKER), None)
    file = tables.file_of(module) if module is not None else None
    return file.data if file is not None else None
