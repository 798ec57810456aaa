"""What is known of the process in which a file would be loaded, and of the file with its needs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from gdbext.elf.file import ElfFile
from gdbext.elf.notes import read_build_id
from gdbext.elf.problem import Problem
from gdbext.elf.symbols import STB_GLOBAL, SymbolTable, read_dynamic_symbols
from gdbext.linker.loaded.modules import DLOPENED, Linker, Module
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.lookup.definers import Definers
from gdbext.linker.lookup.lookup import Lookup
from gdbext.linker.lookup.rules import Rules
from gdbext.linker.lookup.scopes import GLOBAL, LOCAL, SYMBOLIC, Scope, Scopes
from gdbext.linker.opening.host import Host
from gdbext.linker.opening.locate import PATH, Located, Place
from gdbext.linker.opening.prospect import Arrival, Prospect, searchlist

_MOST_FILES, _MOST_NEIGHBOURS = 400, 40  # files beside, whose names, and whose symbols are read
_DT_SYMBOLIC, _DT_FLAGS, _DF_SYMBOLIC = 16, 30, 2


@dataclass(frozen=True)
class Forecast:
    """One file in one host, as far as it can be mapped. `lazy`: the mode of dlopen."""

    host: Host
    prospect: Prospect
    lazy: bool

    @cached_property
    def opened(self) -> Sequence[Arrival]:
        """What dlopen would bring in, without what the program's start does."""
        arrivals = self.prospect.arrivals
        kinds = [arrival.module.kind for arrival in arrivals]
        if not self.host.starting:
            return arrivals
        return arrivals[kinds.index(DLOPENED) :] if DLOPENED in kinds else ()

    @cached_property
    def linker(self) -> Linker:
        """The modules there are and those that would come in."""
        return self.prospect.everything()

    @cached_property
    def tables(self) -> TableSet:
        """Their symbol tables."""
        files = {a.module.map.address: a.located.file for a in self.prospect.arrivals}
        old = self.host.tables

        def find(module: Module) -> ElfFile | None:
            return files.get(module.map.address) or old.find_file(module)

        return old.beside(self.prospect.layers, find)

    @cached_property
    def rules(self) -> Rules:
        return self.host.rules(self.linker, self.tables)

    @cached_property
    def release(self) -> int | None:
        return self.host.release(self.linker, self.tables)

    @cached_property
    def lookup(self) -> Lookup:
        """ld.so's lookup as it would be made for what comes in."""
        own = Scope(LOCAL, self.prospect.root, searchlist(self.prospect))
        scopes = [*self._global(), own]
        preset: dict[int, tuple[Scope, ...]] = {}
        for arrival in self.prospect.arrivals:
            module = arrival.module
            alone = [Scope(SYMBOLIC, module, (module,))] if _symbolic(module) else []
            preset[module.map.address] = (*alone, *scopes)
        made = Scopes(self.prospect.layers, self.linker, {}, preset)
        return Lookup(
            self.linker, self.tables, made, self.rules, Definers(self.linker, self.tables)
        )

    @cached_property
    def neighbours(self) -> tuple[Located, ...]:
        """Libraries beside the files that come in, and beside the program, that are not loaded."""
        folders = [os.path.dirname(a.module.path) for a in (*self.opened, *self.prospect.arrivals)]
        folders += [os.path.dirname(m.path) for m in self.host.linker.modules[:1]]
        loaded, search = {m.path for m in self.linker.modules}, self.host.search
        paths = [
            f"{folder}/{name}"
            for folder in dict.fromkeys(folders)
            for name in search.view.names(folder)
            if ".so" in name
        ]
        looked = (search.look(Place(p, PATH, "")) for p in paths[:_MOST_FILES] if p not in loaded)
        return tuple(each for each in looked if isinstance(each, Located))

    @cached_property
    def exported(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """(path, the names that it exports) of every module, and of some of the neighbours."""
        known = [(m.path, self.tables.of(m)) for m in self.linker.modules]
        found = []
        for path, tables in known:
            with suppress(Problem):  # damaged
                found += [(path, _exports(tables.symbols))] if tables is not None else []
        for each in self.neighbours[:_MOST_NEIGHBOURS]:
            with suppress(Problem):
                symbols = read_dynamic_symbols(each.file.memory, each.file.image)
                found.append((each.place.path, _exports(symbols)))
        return tuple(found)

    def _global(self) -> list[Scope]:
        scopes, prospect = self.host.scopes, self.prospect
        if scopes is None or not any(
            m.namespace == prospect.namespace for m in self.host.linker.modules
        ):
            return []  # the opened file's own list is the global one
        first = self.host.linker.first(prospect.namespace)
        return [s for s in scopes.of(first) if s.kind == GLOBAL]

    def rule_of(self, module: Module) -> str:
        """How the file of a module was, or would be, found: `found by …`, in words."""
        arrival = self.prospect.arrival(module)
        if arrival is not None:
            place = arrival.located.place
            return "found by its path" if place.rule == PATH else f"found by {place.owner}"
        how = self.host.how(module) or "loaded already"
        at = how.find(" found ")  # `NAME found in …`
        return how if at < 0 else how[at + 1 :]

    def whose(self, module: Module | None) -> list[str]:
        """Who needs whom, from `module` up to the file that was asked for."""
        found = []
        while module is not None:
            arrival = self.prospect.arrival(module)
            above = arrival.needed_by if arrival else None
            if arrival is None or above is None or module is self.prospect.root:
                break
            found.append(f"{file_of(module)} is needed by {above.path}")
            module = above
        return found


def _exports(symbols: SymbolTable) -> tuple[str, ...]:
    return tuple(symbols.names(symbols.exports.values()).values())


def file_of(module: Module) -> str:
    """A module's file name."""
    return os.path.basename(module.path) or module.path


def identity(module: Module) -> str:
    """A module's path and build-id."""
    try:
        build_id = read_build_id(module.memory, module.image) if module.image else None
    except Problem:
        build_id = None
    return f"{module.path} (build-id {build_id[:16]}…)" if build_id else module.path


def refers_to(forecast: Forecast, module: Module, other: Module) -> bool:
    """Whether `module` needs something that `other` defines."""
    tables, theirs = forecast.tables.of(module), forecast.tables.of(other)
    if tables is None or theirs is None:
        return False
    symbols, definers = tables.symbols, forecast.lookup.definers
    entries = ((i, symbols.entry(i)) for i in range(1, symbols.count))
    names = [symbols.raw_name(i) for i, e in entries if not e.shndx and e.binding == STB_GLOBAL]
    definers.prepare(names)
    found = [i for name in names for i in definers.of(name).get(other.map.address, ())]
    return any(theirs.symbols.entry(i).shndx for i in found)


def tried_words(places: tuple[Place, ...]) -> list[str]:
    """Where a name was searched for: one line for each rule, its directories in order."""
    rules: dict[str, list[str]] = {}
    for place in places:
        if "/glibc-hwcaps/" not in place.path and place.rule != PATH:
            rules.setdefault(place.owner, []).append(os.path.dirname(place.path) or "/")
    return [f"searched by {owner}: {', '.join(found)}" for owner, found in rules.items()]


def _symbolic(module: Module) -> bool:
    image = module.image
    return image is not None and (
        image.value(_DT_SYMBOLIC) is not None or bool((image.value(_DT_FLAGS) or 0) & _DF_SYMBOLIC)
    )
