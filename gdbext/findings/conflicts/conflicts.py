"""Conflicts: a module's own definition that lost to another module's.

A duplicate definition alone is none: only where the module's own reference binds elsewhere has
it lost its definition.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from gdbext.elf.arch import COPY, RELATIVE, Arch
from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory
from gdbext.elf.relocations import read_relocations
from gdbext.elf.symbols import STB_GLOBAL, STB_GNU_UNIQUE, STB_LOCAL, STV_DEFAULT, SYMBOL_SIZE
from gdbext.findings.conflicts.allocators import replaces_allocator
from gdbext.findings.conflicts.families import FAMILY_NAMES
from gdbext.linker.loaded.linkmaps import STATES
from gdbext.linker.loaded.modules import DLOPENED, LINKER, MAIN, PRELOADED, Linker, Module
from gdbext.linker.loaded.private import LT_LOADED
from gdbext.linker.loaded.tables import Tables
from gdbext.linker.lookup.answers import Found
from gdbext.linker.lookup.definers import hashed_symbols
from gdbext.linker.lookup.lookup import Lookup
from gdbext.linker.lookup.matching import DATA, PLT
from gdbext.linker.lookup.scopes import GLOBAL, busy, real
from gdbext.linker.slots.slotkinds import PLT_KINDS

COPIED, CANONICAL_PLT, WITH_LINKER, ALLOCATOR, UNIQUE, INLINE, TYPE = (
    "copy", "canonical_plt", "linker", "allocator", "unique", "inline", "typeinfo",
)  # fmt: skip
_TYPES = (b"_ZTI", b"_ZTS")  # Itanium C++ ABI, 5.1.4.1: typeinfo structures and their names
_ENTRY = struct.Struct("<IBBH16x")


class Conflict(NamedTuple):
    """`loser` defines `symbol`, and `bindings` of its own references go to `winner`'s.

    `kind` is None for a true conflict, else why it is meant to be so. `reason` is the rule of
    the lookup that decided, `brought` what brought the winner in.
    """

    symbol: str
    version: str | None
    loser: Module
    winner: Module
    bindings: int
    kind: str | None
    reason: str
    brought: str


@dataclass(frozen=True)
class Conflicts:
    """`found` holds true and benign ones; `unknown` says of which modules references could not
    be judged, and why."""

    found: list[Conflict]
    unknown: list[tuple[Module, str]]
    lookup: Lookup

    @cached_property
    def duplicates(self) -> int:
        """As count_duplicates() gives it; it takes as long as the conflicts do."""
        return count_duplicates(self.lookup)


def find_conflicts(memory: Memory, arch: Arch, lookup: Lookup) -> Conflicts:
    """Every conflict among the loaded modules."""
    references = {}
    unknown: list[tuple[Module, str]] = []
    for module in lookup.linker.modules:
        if real(lookup.linker, module) is not module:
            continue
        try:
            references[module.map.address] = _own_references(memory, arch, lookup, module)
        except Problem as problem:
            unknown.append((module, str(problem)))
    by_map = lookup.linker.by_map
    copied = _copied(memory, arch, lookup) if references else frozenset()
    own = (
        lookup.tables_of(by_map[address]).symbols.raw_name(number)
        for address, counts in references.items()
        for number, _ in counts
    )
    # find_families() asks for its names next: one pass over all tables serves both
    lookup.definers.prepare(chain(own, FAMILY_NAMES))
    found: list[Conflict] = []
    for address, counts in references.items():
        module = by_map[address]
        bound, problems = _bound(lookup, module, counts)
        found += _of_module(lookup, module, bound, copied)
        unknown += [(module, problem) for problem in problems]
    return Conflicts(found, unknown, lookup)


def _own_references(
    memory: Memory, arch: Arch, lookup: Lookup, module: Module
) -> dict[tuple[int, int], int]:
    """{(.dynsym entry, type class): how many relocations} of what the module itself defines."""
    changing = busy(lookup.linker, module.namespace, STATES)
    if changing is not None:
        raise Problem(changing)
    tables = lookup.tables_of(module)
    counts: dict[tuple[int, int], int] = {}
    symbols, kinds = tables.symbols, arch.relocations
    defined = {
        number
        for number, (_, info, other, shndx) in enumerate(_ENTRY.iter_unpack(symbols.data))
        if shndx and info >> 4 != STB_LOCAL and other & 3 == STV_DEFAULT
    }
    for relocation in read_relocations(memory, tables.image):
        if relocation.symbol in defined and relocation.type in kinds:
            kind = kinds[relocation.type][0]
            if kind not in (COPY, RELATIVE):
                key = relocation.symbol, PLT if kind in PLT_KINDS else DATA
                counts[key] = counts.get(key, 0) + 1
    return counts


def _bound(
    lookup: Lookup, module: Module, counts: dict[tuple[int, int], int]
) -> tuple[dict[tuple[int, int], tuple[Found, int]], list[str]]:
    """({(.dynsym entry, the winner's link_map): (winner, references)}, why others are unknown)
    of the references that another module's definition won."""
    rows: dict[tuple[int, int], tuple[Found, int]] = {}
    problems: dict[str, None] = {}
    for (number, type_class), bindings in counts.items():
        try:
            found = lookup.resolve(module, number, type_class)
        except Problem as problem:
            problems[str(problem)] = None
            continue
        if found is not None and found.module is not module:
            key = number, found.module.map.address
            rows[key] = found, rows.get(key, (found, 0))[1] + bindings
    return rows, list(problems)


def _of_module(
    lookup: Lookup,
    module: Module,
    rows: dict[tuple[int, int], tuple[Found, int]],
    copied: frozenset[int],
) -> Iterator[Conflict]:
    tables = lookup.tables_of(module)
    for (number, _), (found, bindings) in rows.items():
        yield Conflict(
            tables.symbols.name(number),
            tables.versions.of(number),
            module,
            found.module,
            bindings,
            _kind(lookup, module, number, found, copied),
            _reason(module, found),
            brought_in(lookup.linker, found.module),
        )


def _kind(
    lookup: Lookup, loser: Module, number: int, winner: Found, copied: frozenset[int]
) -> str | None:
    """Why a lost definition is as it should be; None where it is not."""
    linker = lookup.linker
    if not winner.symbol.shndx:
        return CANONICAL_PLT
    if winner.module is linker.modules[0] and winner.symbol.value in copied:
        return COPIED
    pair = (loser, winner.module)
    if any(m.kind == LINKER for m in pair) and any(_is_libc(m) for m in pair):
        return WITH_LINKER
    name = lookup.tables_of(loser).symbols.raw_name(number)
    if replaces_allocator(lookup, name, *pair):
        return ALLOCATOR
    binding = lookup.tables_of(loser).symbols.binding_and_visibility(number)[0]
    if STB_GNU_UNIQUE in (binding, winner.symbol.binding):
        return UNIQUE
    if name.startswith(_TYPES):
        return TYPE
    if binding != STB_GLOBAL and winner.symbol.binding != STB_GLOBAL and name.startswith(b"_Z"):
        return INLINE
    return None


def _copied(memory: Memory, arch: Arch, lookup: Lookup) -> frozenset[int]:
    """Where COPY relocations fill variables of the program, as st_value has it.

    A variable can have several names (environ, __environ); one of them has the relocation."""
    try:
        relocations = read_relocations(memory, lookup.tables_of(lookup.linker.modules[0]).image)
    except Problem:
        return frozenset()  # nothing that the program is searched for can be known then
    return frozenset(
        r.offset for r in relocations if arch.relocations.get(r.type, ("",))[0] == COPY
    )


def _is_libc(module: Module) -> bool:
    return (module.soname or "").startswith("libc.so")


def _reason(loser: Module, winner: Found) -> str:
    """The rule of the lookup by which the winner came first."""
    scope = winner.scope
    if winner.symbol.binding == STB_GNU_UNIQUE:
        return "a unique symbol is one for its namespace: the first that was looked up"
    if scope is None:
        return "the definition is bound locally"
    own = scope.positions.get(loser.map.address)
    name = "the global scope" if scope.kind == GLOBAL else "its scope"
    if scope.owner is not None and scope.kind != GLOBAL:
        name = f"the scope of {scope.owner.file_name}"
    if own is None:
        return f"{name} is searched before the module itself"
    place = scope.positions[winner.module.map.address]
    return f"it comes first in {name}: place {place + 1}, before {own + 1}"


def brought_in(linker: Linker, module: Module) -> str:
    """What brought a module into the process."""
    if module.kind == MAIN:
        return "it is the program"
    if module.kind == PRELOADED:
        return "LD_PRELOAD or /etc/ld.so.preload"
    if module.kind == LINKER:
        return "it is the dynamic linker"
    private = module.private
    promoted = private is not None and private.is_global and private.type == LT_LOADED
    if module.kind == DLOPENED:
        return "dlopen, with RTLD_GLOBAL" if promoted else "dlopen"
    needing = linker.needed_by(module)
    if not needing:
        return "not known"
    more = f" and {len(needing) - 1} more" if len(needing) > 1 else ""
    return f"needed by {needing[0].file_name}{more}"


def count_duplicates(lookup: Lookup) -> int:
    """How many strong symbols (with their versions) several modules of one namespace define."""
    seen: set[tuple[int, bytes, str | None]] = set()
    twice: set[tuple[int, bytes, str | None]] = set()
    for module in lookup.linker.modules:
        tables = lookup.tables.of(module)
        if tables is None or real(lookup.linker, module) is not module:
            continue
        try:
            keys = set(_strong(module.namespace, tables))
        except Problem:
            continue  # find_conflicts says so
        twice |= keys & seen
        seen |= keys
    return len(twice)


def _strong(namespace: int, tables: Tables) -> Iterator[tuple[int, bytes, str | None]]:
    symbols, versions = tables.symbols, tables.versions
    data, strings, find = symbols.data, symbols.strings, symbols.strings.find
    unpack = _ENTRY.unpack_from
    for number in hashed_symbols(tables):
        start, info, other, shndx = unpack(data, number * SYMBOL_SIZE)
        if shndx and info >> 4 == STB_GLOBAL and other & 3 == STV_DEFAULT:
            yield namespace, strings[start : find(b"\0", start)], versions.of(number)
