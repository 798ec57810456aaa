"""ld.so's symbol lookup, from outside the process: who defines what a module refers to.

Sources: glibc, elf/dl-lookup.c (_dl_lookup_symbol_x, do_lookup_x), elf/dl-reloc.c
(resolve_map), elf/dl-runtime.c (_dl_fixup); musl, ldso/dynlink.c (find_sym2, do_relocs).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gdbext.elf.problem import Problem
from gdbext.elf.symbols import (
    STB_GNU_UNIQUE,
    STB_LOCAL,
    STB_WEAK,
    STV_DEFAULT,
    STV_PROTECTED,
    Symbol,
)
from gdbext.linker.definers import Definers
from gdbext.linker.matching import BASE, COPY, MATCH, PLT, SOLE, Wanted, glibc_local
from gdbext.linker.modules import Linker, Module
from gdbext.linker.process import Process
from gdbext.linker.rules import Rules, read_rules
from gdbext.linker.scopes import Scope, Scopes, real
from gdbext.linker.tables import Tables, TableSet

AGAIN, LATER = "it was met before", "an earlier one won"
COPIED = "the program's own is what is copied to"
_UNASKED = object()
_ALONE = frozenset({MATCH, SOLE, BASE})  # enough for the only symbol of the name


class Found(NamedTuple):
    """A definition: entry `number` of `module`'s .dynsym, which is `symbol`, at `address`.

    `scope` is the list in which it was met, None where there was no search.
    """

    module: Module
    number: int
    symbol: Symbol
    address: int
    scope: Scope | None


class Candidate(NamedTuple):
    """One symbol of the wanted name that a search meets; `skipped` is '' for the winner."""

    scope: Scope
    module: Module
    number: int
    version: str | None
    skipped: str


@dataclass(frozen=True)
class Lookup:
    """Lookups in one stopped process. Each method raises Problem where it cannot know."""

    linker: Linker
    tables: TableSet
    scopes: Scopes
    rules: Rules
    definers: Definers
    _answers: dict[int, dict[Wanted, Any]] = field(default_factory=dict)

    def resolve(self, module: Module, index: int, type_class: int) -> Found | None:
        """What the reference `index` of `module`'s .dynsym binds to, None if to nothing."""
        symbols = self.tables_of(module).symbols
        if index >= symbols.count:
            raise Problem(f"damaged relocation: there is no symbol {index}")
        binding, visibility = symbols.binding_and_visibility(index)
        if binding == STB_LOCAL:
            return self.found(module, index)
        wanted = self.wanted(module, index, type_class)
        if self.rules.musl:
            return self.search(self.scopes.of(module), wanted)
        if visibility == STV_DEFAULT:
            return self.search(self.scopes.of(module), wanted)
        own = self.found(real(self.linker, module), index)
        if visibility != STV_PROTECTED:
            return own
        scopes = self.scopes.of(module)
        found = self.search(scopes, wanted)
        return self._protected(scopes, wanted, found, own) if found is not None else None

    def wanted(self, module: Module, index: int, type_class: int) -> Wanted:
        """What is looked up for the reference `index` of `module`'s .dynsym."""
        tables = self.tables_of(module)
        versions = tables.versions
        version = versions.of(index)
        exact = version is not None and versions.indices[index] & 0x7FFF in versions.exact
        return Wanted(tables.symbols.raw_name(index), version, exact, type_class)

    def found(self, module: Module, index: int, scope: Scope | None = None) -> Found:
        """Entry `index` of `module`'s .dynsym as a definition."""
        symbol = self.tables_of(module).symbols.entry(index)
        # musl relocates absolute symbols like all others (laddr in do_relocs)
        moved = module.bias + symbol.value & (1 << 64) - 1
        address = moved if self.rules.musl else symbol.address(module.bias)
        return Found(module, index, symbol, address, scope)

    def search(self, scopes: Sequence[Scope], wanted: Wanted) -> Found | None:
        """The first definition in `scopes` that is what is wanted."""
        if self.rules.musl:
            wanted = wanted._replace(version=None, exact=False)
        weak: Found | None = None
        for scope in scopes:
            answers = self._answers.get(id(scope))
            if answers is None:
                answers = self._answers[id(scope)] = {}
            found = answers.get(wanted, _UNASKED)
            if found is _UNASKED:
                found = answers[wanted] = self._in_scope(scope, wanted)
            if found is not None:
                if not self.rules.dynamic_weak or found.symbol.binding != STB_WEAK:
                    return self._unique(found, wanted)
                weak = weak or found
        return weak

    def candidates(self, scopes: Sequence[Scope], wanted: Wanted) -> Iterator[Candidate]:
        """Every symbol of that name in `scopes`, in order; those behind the winner as well."""
        winner: Module | None = None
        for scope in scopes:
            for module in self._definers_in(scope, wanted.name):
                passed = self._is_skipped(module, wanted)
                chosen, reasons = self._in_module(module, wanted)
                versions = self.tables_of(module).versions
                for index, reason in reasons:
                    skipped = passed or reason
                    if index == chosen and not passed:
                        skipped = "" if winner is None else AGAIN if module is winner else LATER
                        winner = winner or module
                    yield Candidate(scope, module, index, versions.of(index), skipped)

    def tables_of(self, module: Module) -> Tables:
        """The symbol tables of a module; raises Problem where it has none."""
        tables = self.tables.of(module)
        if tables is None:
            raise Problem(module.problem or f"the image of {module.path} is not known")
        return tables

    def _definers_in(self, scope: Scope, name: bytes) -> list[Module]:
        """The modules of `scope` that have the name, in its order."""
        definers, positions = self.definers.of(name), scope.positions
        if len(definers) <= len(positions):
            places = [positions[address] for address in definers if address in positions]
        else:
            places = [place for address, place in positions.items() if address in definers]
        if len(places) > 1:
            places.sort()
        return [scope.modules[place] for place in places]

    def _in_scope(self, scope: Scope, wanted: Wanted) -> Found | None:
        weak: Found | None = None
        for module in self._definers_in(scope, wanted.name):
            if self._is_skipped(module, wanted):
                continue
            index = self._chosen(module, wanted)
            if index is None:
                continue
            found = self.found(module, index, scope)
            if self.rules.dynamic_weak and found.symbol.binding == STB_WEAK:
                weak = weak or found
                continue
            self._check_readable(scope, scope.positions[module.map.address])
            return found
        self._check_readable(scope, len(scope.modules))
        return weak

    def _is_skipped(self, module: Module, wanted: Wanted) -> str:
        """Why a module is not looked into at all."""
        private = module.private
        if private is not None and private.removed:
            return "it is being unloaded"
        program = module is self.linker.modules[0]
        return COPIED if wanted.type_class == COPY and program else ""

    def _check_readable(self, scope: Scope, end: int) -> None:
        """Raise Problem if a module whose symbols cannot be read stands before place `end`."""
        if not self.definers.unreadable:
            return
        for address, why in self.definers.unreadable.items():
            if scope.positions.get(address, end) < end:
                path = self.linker.by_map[address].path
                raise Problem(f"the symbols of {path} cannot be read: {why}")

    def _chosen(self, module: Module, wanted: Wanted) -> int | None:
        """The index that a module answers with; mostly it has one symbol of that name."""
        indices = self.definers.of(wanted.name)[module.map.address]
        if len(indices) > 1:
            return self._in_module(module, wanted)[0]
        index = indices[0]
        tables = self.tables_of(module)
        symbol, versions = tables.symbols.entry(index), tables.versions
        versym = versions.indices[index] if index < len(versions.indices) else None
        reason = self.rules.match(symbol, versym, versions.of(index), wanted)
        if reason not in _ALONE or (not self.rules.musl and glibc_local(symbol)):
            return None
        return index

    def _in_module(
        self, module: Module, wanted: Wanted
    ) -> tuple[int | None, list[tuple[int, str]]]:
        """(the index that a module answers with, [(index, why it is not that one)])."""
        tables = self.tables_of(module)
        versions = tables.versions
        match = self.rules.match
        reasons: list[tuple[int, str]] = []
        sole: list[int] = []
        base: int | None = None
        chosen: int | None = None
        for index in self.definers.of(wanted.name).get(module.map.address, ()):
            symbol = tables.symbols.entry(index)
            versym = versions.indices[index] if index < len(versions.indices) else None
            reason = match(symbol, versym, versions.of(index), wanted)
            if reason == SOLE:
                sole.append(index)
            elif reason == BASE:
                if self.rules.base_at_once and chosen is None:
                    chosen = index
                base = index if base is None else base
            elif reason == MATCH and chosen is None:
                if base is not None and self.rules.base_at_once is None:
                    raise Problem("whether a definition without a version comes first depends on "
                                  "the version of glibc, which is not known")  # fmt: skip
                chosen = index
            reasons.append((index, reason))
        if chosen is None:
            chosen = base if base is not None else sole[0] if len(sole) == 1 else None
        if chosen is not None and not self.rules.musl:
            local = glibc_local(tables.symbols.entry(chosen))
            if local != MATCH:
                reasons = [(i, local if i == chosen else reason) for i, reason in reasons]
                chosen = None
        return chosen, reasons

    def _unique(self, found: Found, wanted: Wanted) -> Found:
        """A GNU_UNIQUE symbol is one for its namespace: the one that was looked up first."""
        if self.rules.musl or found.symbol.binding != STB_GNU_UNIQUE:
            return found
        if wanted.type_class & COPY:
            return found
        first = self.rules.unique(found.module.namespace, wanted.name)
        if first is None:
            return found
        address, symbol_address = first
        module = self.linker.by_map.get(address)
        if module is None:
            raise Problem("the table of unique symbols names a module that is in no chain")
        return self.found(module, self.tables_of(module).index_at(symbol_address), found.scope)

    def _protected(
        self, scopes: Sequence[Scope], wanted: Wanted, found: Found, own: Found
    ) -> Found:
        """Whether a protected definition, `own`, gives way (end of _dl_lookup_symbol_x)."""
        if found.module is own.module:
            return found
        if wanted.type_class != PLT:
            if self.rules.copied_protected and self._is_copied(found):
                return found
            # What the program has but does not define is a canonical PLT entry: it may win.
            again = self.search(scopes, wanted._replace(type_class=PLT))
            if again is None or again.module is own.module:
                return found
        return own

    def _is_copied(self, found: Found) -> bool:
        return found.module is self.linker.modules[0] and bool(found.symbol.shndx)


def make_lookup(process: Process, linker: Linker, tables: TableSet) -> Lookup:
    """The lookup of a process as it is now."""
    return Lookup(
        linker,
        tables,
        Scopes(process.memory, linker),
        read_rules(process, linker, tables),
        Definers(linker, tables),
    )
