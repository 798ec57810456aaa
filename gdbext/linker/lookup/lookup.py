"""ld.so's symbol lookup, from outside the process: who defines what a module refers to.

Sources: glibc, elf/dl-lookup.c (_dl_lookup_symbol_x, do_lookup_x), elf/dl-reloc.c
(resolve_map), elf/dl-runtime.c (_dl_fixup); musl, ldso/dynlink.c (find_sym2, do_relocs).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from gdbext.elf.problem import Problem
from gdbext.elf.symbols import (
    SHN_ABS,
    STB_GNU_UNIQUE,
    STB_LOCAL,
    STB_WEAK,
    STV_DEFAULT,
    STV_PROTECTED,
    Symbol,
)
from gdbext.linker.loaded.modules import Linker, Module
from gdbext.linker.loaded.tables import Tables, TableSet
from gdbext.linker.lookup.answers import NOT_ASKED, Answer, Candidate, Found
from gdbext.linker.lookup.choice import choose, explain_choice
from gdbext.linker.lookup.definers import Definers
from gdbext.linker.lookup.matching import COPY, PLT, Wanted
from gdbext.linker.lookup.references import References
from gdbext.linker.lookup.rules import Rules, read_rules
from gdbext.linker.lookup.scopes import Scope, Scopes, real
from gdbext.linker.process.once import once
from gdbext.linker.process.process import Process

AGAIN, LATER = "it was met before", "an earlier one won"
COPIED = "the program's own is what is copied to"
_UNASKED = object()
_MASK = (1 << 64) - 1
_NEW = tuple.__new__  # what Found() and Wanted() call: half the time of the call


Step = tuple[Scope, dict[Wanted, Any]]


@dataclass(frozen=True)
class Lookup:
    """Lookups in one stopped process. Each method raises Problem where it cannot know."""

    linker: Linker
    tables: TableSet
    scopes: Scopes
    rules: Rules
    definers: Definers
    _answers: dict[int, dict[Wanted, Any]] = field(default_factory=dict)
    _decided: dict[int, dict[Wanted, Found]] = field(default_factory=dict)
    _many: dict[bytes, dict[int, list[int]]] = field(default_factory=dict)

    def resolve(self, module: Module, index: int, type_class: int) -> Found | None:
        """What the reference `index` of `module`'s .dynsym binds to, None if to nothing."""
        symbols = self.tables_of(module).symbols
        if index >= symbols.count:
            raise Problem(f"damaged relocation: there is no symbol {index}")
        binding, visibility = symbols.binding_and_visibility(index)
        if binding == STB_LOCAL:
            return self.found(module, index)
        if visibility != STV_DEFAULT and not self.rules.musl:
            return self._not_default(module, index, type_class, visibility)
        return self.search(self.scopes.of(module), self.wanted(module, index, type_class))

    def resolve_all(self, module: Module, references: References) -> list[Answer]:
        """resolve() for many references of `module`; where it cannot know, its Problem.

        What the first scope decides, it decides for all modules that have the same one in front:
        most answers are there already, and those are taken in one step.
        """
        numbers, classes = references.numbers, references.classes
        try:
            special = self.tables_of(module).symbols.special(numbers)
            steps = self._steps(self.scopes.of(module))
        except Problem:
            return [self._answer(module, *each) for each in zip(numbers, classes)]
        first = steps[0][0]
        decided = self._decided.setdefault(id(first), {})
        wanted = references.wanted()
        answers: list[Answer] = list(map(decided.get, wanted))
        for i, known in enumerate(answers):
            if numbers[i] in special:
                answers[i] = self._answer(module, numbers[i], classes[i])
            elif known is None:
                try:
                    found = answers[i] = self._search(steps, wanted[i])
                except Problem as problem:
                    answers[i] = problem
                    continue
                if found is not None and found.scope is first and not self.rules.dynamic_weak:
                    decided[wanted[i]] = found
        return answers

    def _answer(self, module: Module, index: int, type_class: int) -> Answer:
        try:
            return self.resolve(module, index, type_class) if index else NOT_ASKED
        except Problem as problem:
            return problem

    def _not_default(
        self, module: Module, index: int, type_class: int, visibility: int
    ) -> Found | None:
        own = self.found(real(self.linker, module), index)
        if visibility != STV_PROTECTED:
            return own
        scopes = self.scopes.of(module)
        wanted = self.wanted(module, index, type_class)
        found = self.search(scopes, wanted)
        return self._protected(scopes, wanted, found, own) if found is not None else None

    def wanted(self, module: Module, index: int, type_class: int) -> Wanted:
        """What is looked up for the reference `index` of `module`'s .dynsym."""
        tables = self.tables_of(module)
        versions = tables.versions
        version = versions.of(index)
        exact = version is not None and versions.indices[index] & 0x7FFF in versions.exact
        return Wanted(tables.symbols.raw_name(index), version, exact, type_class)

    def found(self, module: Module, index: int) -> Found:
        """Entry `index` of `module`'s .dynsym as a definition."""
        tables = self.tables_of(module)
        return self._found(module, tables, index, tables.symbols.entry(index), None)

    def _found(
        self, module: Module, tables: Tables, index: int, symbol: Symbol, scope: Scope | None
    ) -> Found:
        address = symbol.value
        # musl relocates absolute symbols like all others (laddr in do_relocs)
        if symbol.shndx != SHN_ABS or self.rules.musl:
            address = tables.image.bias + address & _MASK
        return _NEW(Found, (module, index, symbol, address, scope))

    def search(self, scopes: Sequence[Scope], wanted: Wanted) -> Found | None:
        """The first definition in `scopes` that is what is wanted."""
        return self._search(self._steps(scopes), wanted)

    def _steps(self, scopes: Sequence[Scope]) -> list[Step]:
        """Each scope with what was found in it so far."""
        return [(scope, self._answers.setdefault(id(scope), {})) for scope in scopes]

    def _search(self, steps: Sequence[Step], wanted: Wanted) -> Found | None:
        if self.rules.musl:
            wanted = Wanted(wanted[0], None, False, *wanted[3:])
        weak: Found | None = None
        for scope, answers in steps:
            found = answers.get(wanted, _UNASKED)
            if found is _UNASKED:
                found = answers[wanted] = self._in_scope(scope, _NEW(Wanted, wanted))
            if found is not None:
                binding = found.symbol.info >> 4
                if binding == STB_GNU_UNIQUE:
                    return self._unique(found, Wanted(*wanted))
                if binding != STB_WEAK or not self.rules.dynamic_weak:
                    return cast("Found", found)
                weak = weak or found
        return weak

    def candidates(self, scopes: Sequence[Scope], wanted: Wanted) -> Iterator[Candidate]:
        """Every symbol of that name in `scopes`, in order; those behind the winner as well."""
        winner: Module | None = None
        for scope in scopes:
            for module, indices in self._candidates(scope, wanted.name):
                passed = self._is_skipped(module, wanted)
                tables = self.tables_of(module)
                chosen, reasons = explain_choice(tables, self.rules, indices, wanted)
                for index, reason in reasons:
                    skipped = passed or reason
                    if index == chosen and not passed:
                        skipped = "" if winner is None else AGAIN if module is winner else LATER
                        winner = winner or module
                    yield Candidate(scope, module, index, tables.versions.of(index), skipped)

    def tables_of(self, module: Module) -> Tables:
        """The symbol tables of a module; raises Problem where it has none."""
        tables = self.tables.of(module)
        if tables is None:
            raise Problem(module.problem or f"the image of {module.path} is not known")
        return tables

    def _candidates(self, scope: Scope, name: bytes) -> Sequence[tuple[Module, Sequence[int]]]:
        """The modules of `scope` that have the name, in its order, with their symbols."""
        rows, positions = self.definers.rows(name), scope.positions
        if len(rows) == 1:  # as most names have
            return rows if rows[0][0].map.address in positions else ()
        if len(rows) <= len(positions):
            there = [row for row in rows if row[0].map.address in positions]
            return sorted(there, key=lambda row: positions[row[0].map.address])
        known = self._many.get(name)
        if known is None:
            known = self._many[name] = self.definers.of(name)
        places = sorted((at, key) for key, at in positions.items() if key in known)
        return [(scope.modules[at], known[key]) for at, key in places]

    def _in_scope(self, scope: Scope, wanted: Wanted) -> Found | None:
        weak: Found | None = None
        rules, unreadable = self.rules, self.definers.unreadable
        passing = bool(self._removed) or wanted.type_class == COPY
        for module, indices in self._candidates(scope, wanted.name):
            if passing and self._is_skipped(module, wanted):
                continue
            tables = self.tables_of(module)
            answer = choose(tables, rules, indices, wanted)
            if answer is None:
                continue
            found = self._found(module, tables, *answer, scope)
            if rules.dynamic_weak and found.symbol.binding == STB_WEAK:
                weak = weak or found
                continue
            if unreadable:
                self._check_readable(scope, scope.positions[module.map.address])
            return found
        if unreadable:
            self._check_readable(scope, len(scope.modules))
        return weak

    def _is_skipped(self, module: Module, wanted: Wanted) -> str:
        """Why a module is not looked into at all."""
        if self._removed and module.map.address in self._removed:
            return "it is being unloaded"
        program = wanted.type_class == COPY and module is self.linker.modules[0]
        return COPIED if program else ""

    @cached_property
    def _removed(self) -> frozenset[int]:
        """The modules that dlclose is taking away now."""
        modules = self.linker.modules
        return frozenset(m.map.address for m in modules if m.private and m.private.removed)

    def _check_readable(self, scope: Scope, end: int) -> None:
        """Raise Problem if a module whose symbols cannot be read stands before place `end`."""
        for address, why in self.definers.unreadable.items():
            if scope.positions.get(address, end) < end:
                path = self.linker.by_map[address].path
                raise Problem(f"the symbols of {path} cannot be read: {why}")

    def _unique(self, found: Found, wanted: Wanted) -> Found:
        """A GNU_UNIQUE symbol is one for its namespace: the one that was looked up first."""
        if self.rules.musl or wanted.type_class & COPY:
            return found
        first = self.rules.unique(found.module.namespace, wanted.name)
        if first is None:
            return found
        address, symbol_address = first
        module = self.linker.by_map.get(address)
        if module is None:
            raise Problem("the table of unique symbols names a module that is in no chain")
        tables = self.tables_of(module)
        index = tables.index_at(symbol_address)
        return self._found(module, tables, index, tables.symbols.entry(index), found.scope)

    def _protected(
        self, scopes: Sequence[Scope], wanted: Wanted, found: Found, own: Found
    ) -> Found:
        """Whether a protected definition, `own`, gives way (end of _dl_lookup_symbol_x)."""
        if found.module is own.module:
            return found
        if wanted.type_class != PLT:
            is_copy = found.module is self.linker.modules[0] and found.symbol.shndx
            if self.rules.copied_protected and is_copy:
                return found
            # What the program has but does not define is a canonical PLT entry: it may win.
            again = self.search(scopes, wanted._replace(type_class=PLT))
            if again is None or again.module is own.module:
                return found
        return own


@once
def make_lookup(process: Process, linker: Linker, tables: TableSet) -> Lookup:
    """The lookup of a process as it is now."""
    scopes, rules = Scopes(process.memory, linker), read_rules(process, linker, tables)
    return Lookup(linker, tables, scopes, rules, Definers(linker, tables))
