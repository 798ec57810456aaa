"""Constructors and destructors of each module, and the order in which ld.so calls them.

Sources: gABI, Initialization and Termination Functions; glibc, elf/dl-init.c (_dl_init,
call_init), elf/dl-fini.c (_dl_fini), csu/libc-start.c (call_init).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.elf.image import (
    DF_1_INITFIRST,
    DT_FINI,
    DT_FINI_ARRAY,
    DT_FINI_ARRAYSZ,
    DT_FLAGS_1,
    DT_INIT,
    DT_INIT_ARRAY,
    DT_INIT_ARRAYSZ,
    DT_PREINIT_ARRAY,
    DT_PREINIT_ARRAYSZ,
    Image,
)
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_words
from gdbext.linker.init.initorder import InitOrder
from gdbext.linker.init.startfiles import start_files
from gdbext.linker.loaded.modules import DLOPENED, MAIN, VDSO, Linker, Module
from gdbext.linker.loaded.private import LT_LOADED
from gdbext.linker.loaded.tables import Definition, TableSet

_MOST_FUNCTIONS = 65536
PREINIT_ARRAY, INIT, INIT_ARRAY, FINI_ARRAY, FINI = (
    "preinit_array", "init", "init_array", "fini_array", "fini",
)  # fmt: skip
_ARRAYS = {
    PREINIT_ARRAY: (DT_PREINIT_ARRAY, DT_PREINIT_ARRAYSZ),
    INIT_ARRAY: (DT_INIT_ARRAY, DT_INIT_ARRAYSZ),
    FINI_ARRAY: (DT_FINI_ARRAY, DT_FINI_ARRAYSZ),
}
_SINGLE = {INIT: DT_INIT, FINI: DT_FINI}
NO_DYNAMIC = "no dynamic section: only its start-up code knows them"
NOT_RELOCATED = "its relocations have not been processed yet"
# who calls: ld.so, libc's start-up code, or (while a library is opened) ld.so again
START, OPEN = "start", "dlopen"


@dataclass(frozen=True)
class Function:
    """One constructor or destructor. `index` is its place in its array, None for DT_INIT and
    DT_FINI; `address` is None where it is not known, and `reason` says why."""

    kind: str
    index: int | None
    address: int | None
    module: Module | None = None
    definition: Definition | None = None
    start_file: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class Step:
    """One module's turn: `functions` in the order in which they are called.

    `when` is START or OPEN; `root` is the module whose dlopen it belongs to, None for the start
    and where that module is gone. `caller` is `ld.so` or `libc`. `problem`: what cannot be read.
    """

    module: Module
    namespace: int
    when: str
    root: Module | None
    caller: str
    functions: tuple[Function, ...]
    problem: str | None = None


class Reader(NamedTuple):
    """What reading functions takes."""

    memory: Memory
    linker: Linker
    tables: TableSet

    def functions(
        self, module: Module, kinds: Sequence[str]
    ) -> tuple[tuple[Function, ...], str | None]:
        """The functions of these kinds, in the order of `kinds`, and what cannot be read.

        FINI_ARRAY is given from its last entry to its first, as it is called.
        """
        image = module.image
        if image is None:
            return (), module.problem or "its image is unknown"
        if image.dynamic_address is None:
            return (), NO_DYNAMIC
        relocated = module.private.relocated if module.private else None
        own = start_files(self.memory, image, self._entries(image))
        found: list[Function] = []
        problem = None
        for kind in kinds:
            try:
                values = self.values(image, kind)
            except Unreadable as error:
                problem = f"its {kind} cannot be read: {error}"
                continue
            array = kind in _ARRAYS
            rows = [
                self._function(
                    kind, index if array else None, value, own, array and relocated is False
                )
                for index, value in enumerate(values)
            ]
            found += reversed(rows) if kind == FINI_ARRAY else rows
        return tuple(found), problem

    def _entries(self, image: Image) -> dict[str, tuple[int, ...]]:
        found = {}
        for kind in (INIT, INIT_ARRAY, FINI_ARRAY, FINI):
            try:
                found[kind] = self.values(image, kind)
            except Unreadable:
                found[kind] = ()
        return found

    def values(self, image: Image, kind: str) -> tuple[int, ...]:
        """The addresses in one array, or of DT_INIT or DT_FINI; raises Unreadable.

        ld.so adds the load bias to these dynamic entries and relocates none of them in place.
        """
        if kind in _SINGLE:
            value = image.value(_SINGLE[kind])
            return () if value is None else (image.bias + value,)
        start, size = (image.value(tag) for tag in _ARRAYS[kind])
        if start is None or not size:
            return ()
        count = size // 8
        room = image.room(image.bias + start) // 8
        if count > min(room, _MOST_FUNCTIONS):
            raise Unreadable(image.bias + start, size, f"hold no array of {count} functions")
        return read_words(self.memory, image.bias + start, count)

    def _function(
        self, kind: str, index: int | None, value: int, own: Mapping[int, str], raw: bool
    ) -> Function:
        if raw:
            return Function(kind, index, None, reason=NOT_RELOCATED)
        owner = self.linker.owner(value)
        if owner is None:
            reason = f"it holds {value:#x}, which is in no loaded module"
            return Function(kind, index, None, reason=reason)
        if value in own:
            return Function(kind, index, value, owner, Definition(own[value], 0), True)
        return Function(kind, index, value, owner, self.tables.name(owner, value))


def constructors(reader: Reader, order: InitOrder) -> Iterator[Step]:
    """Every module's constructors, namespace by namespace, in the order of the calls.

    What the program starts with comes first, in the order of the program's l_initfini from its
    last to its first; then each library that dlopen was asked for, with those of its
    dependencies that were not there before, in the order of the link_map chain: a later dlopen
    appends to it. Libraries whose opener is gone stand where they are in the chain.
    """
    linker = reader.linker
    for namespace in sorted(linker.namespaces, key=lambda n: n.index not in order.audits):
        members = [
            m for m in linker.modules if m.namespace == namespace.index and _counts(order, m)
        ]
        seen: set[int] = set()
        for module in members:
            if module.map.address in seen:
                continue
            start = module.kind == MAIN or _at_start(module)
            group = _group(reader.linker, order, module, seen)
            root = module if module.kind == DLOPENED else None
            if start:
                yield from _program_first(reader, group, module, order.initfirst)
                continue
            for each in group:
                yield _constructors_of(reader, each, OPEN, root)


def closed_roots(steps: Iterable[Step]) -> list[Module]:
    """The roots that nobody has open any more. Such a module may have come with another library
    that is gone since: then that one's dlopen set the order of the calls."""
    found = {s.root.map.address: s.root for s in steps if s.root is not None}
    return [module for module in found.values() if _came_along(module)]


def _counts(order: InitOrder, module: Module) -> bool:
    """The vDSO has no constructors, and ld.so's proxies have none of their own."""
    return order.has(module) and module.kind != VDSO


def _at_start(module: Module) -> bool:
    """Without private fields (musl) a module's kind says whether the program started with it."""
    return module.kind not in (DLOPENED, MAIN) and module.private is None


def _group(linker: Linker, order: InitOrder, root: Module, seen: set[int]) -> list[Module]:
    """The modules that one call of _dl_init initializes, in that order; `seen` gets them.

    The last one that was mapped with DF_1_INITFIRST goes first (elf/dl-load.c, _dl_initfirst).
    """
    fresh = [
        linker.by_map[each]
        for each in (order.with_needs(root) if _came_along(root) else order.starting_with(root))
        if each in linker.by_map and each not in seen
    ]
    fresh = [m for m in dict.fromkeys(fresh) if _counts(order, m)]
    fresh = [m for m in fresh if m.namespace == root.namespace]
    seen.update(m.map.address for m in fresh)
    first = [m for m in fresh if m.image and (m.image.value(DT_FLAGS_1) or 0) & DF_1_INITFIRST]
    if first and order.initfirst:
        chain = {m.map.address: i for i, m in enumerate(linker.modules)}
        winner = max(first, key=lambda m: chain[m.map.address])
        fresh.remove(winner)
        fresh.insert(0, winner)
    return fresh


def _came_along(module: Module) -> bool:
    """Whether nobody has it open: it can have come as another one's dependency."""
    private = module.private
    return private is not None and private.type == LT_LOADED and not private.open_count


def _program_first(
    reader: Reader, group: Sequence[Module], main: Module, glibc: bool
) -> Iterator[Step]:
    """The start: DF_1_INITFIRST, the program's DT_PREINIT_ARRAY, the libraries, the program.

    glibc's ld.so leaves the program's own constructors to libc (csu/libc-start.c, call_init).
    musl has no DT_PREINIT_ARRAY, and its linker and libc are one.
    """
    has_early = glibc and main.image is not None and bool(main.image.value(DT_PREINIT_ARRAYSZ))
    early, problem = reader.functions(main, (PREINIT_ARRAY,))
    preinit = Step(main, main.namespace, START, None, "ld.so", early, problem)
    ahead = 1 if group and _goes_first(group[0]) else 0
    for index, module in enumerate(group):
        if index == ahead and has_early:
            yield preinit
        if module is not main:
            yield _constructors_of(reader, module, START, None)
    if has_early and len(group) <= ahead:
        yield preinit
    own, problem = reader.functions(main, (INIT, INIT_ARRAY))
    yield Step(main, main.namespace, START, None, "libc" if glibc else "ld.so", own, problem)


def _goes_first(module: Module) -> bool:
    return bool(module.image and (module.image.value(DT_FLAGS_1) or 0) & DF_1_INITFIRST)


def _constructors_of(reader: Reader, module: Module, when: str, root: Module | None) -> Step:
    functions, problem = reader.functions(module, (INIT, INIT_ARRAY))
    return Step(module, module.namespace, when, root, "ld.so", functions, problem)


def destructors(reader: Reader, order: InitOrder) -> Iterator[Step]:
    """Every module's destructors in the order in which exit() would call them now."""
    for module in order.finis:
        if not _counts(order, module):
            continue
        functions, problem = reader.functions(module, (FINI_ARRAY, FINI))
        when = START if module.kind == MAIN or not _opened(module) else OPEN
        yield Step(module, module.namespace, when, None, "ld.so", functions, problem)


def _opened(module: Module) -> bool:
    return module.private.type == LT_LOADED if module.private else module.kind == DLOPENED
