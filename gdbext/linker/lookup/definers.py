"""Who defines which name: what the hash tables of all modules hold, looked at in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from gdbext.elf.hashes import GnuHash, SysvHash, gnu_hash, probe
from gdbext.elf.problem import Problem
from gdbext.linker.loaded.modules import Linker, Module
from gdbext.linker.loaded.tables import Tables, TableSet
from gdbext.linker.lookup.scopes import real

Row = tuple[Module, list[int]]
_FEW = 8  # names; so few are looked up in each module as ld.so does it


@dataclass(frozen=True)
class Definers:
    """Which modules have a symbol of each name that was asked for, in their hash tables.

    `unreadable` holds the modules, by link_map address, whose tables cannot be read, and why.
    """

    linker: Linker
    tables: TableSet
    unreadable: dict[int, str] = field(default_factory=dict)
    _found: dict[bytes, list[Row]] = field(default_factory=dict)

    def prepare(self, names: Iterable[bytes]) -> None:
        """Look up all of `names` at once, in every module."""
        wanted = {name for name in names if name not in self._found}
        self._found.update((name, []) for name in wanted)
        if not wanted:
            return
        values = {name: gnu_hash(name) for name in wanted}
        # in a table the lowest bit is another matter: it ends a chain
        hashes = {h for value in values.values() for h in (value, value ^ 1)}
        for module in self.linker.modules:
            tables = self.tables.of(module) if real(self.linker, module) is module else None
            if tables is None:
                if module.image is None:
                    self.unreadable[module.map.address] = module.problem or "it is not known"
                continue
            try:
                if len(wanted) <= _FEW:
                    self._probe(module, tables, wanted)
                else:
                    self._collect(module, tables, values, hashes)
            except Problem as problem:
                self.unreadable[module.map.address] = str(problem)

    def rows(self, name: bytes) -> list[Row]:
        """The modules that have a symbol called `name`, in load order, each with its symbols as
        ld.so meets them."""
        found = self._found.get(name)
        if found is None:
            self.prepare((name,))
            found = self._found[name]
        return found

    def of(self, name: bytes) -> dict[int, list[int]]:
        """{link_map address: symbol indices} of `name`, in the same order."""
        return {module.map.address: indices for module, indices in self.rows(name)}

    def _collect(
        self, module: Module, tables: Tables, values: Mapping[bytes, int], hashes: Set[int]
    ) -> None:
        found, table, symbols = self._found, tables.hashes, tables.symbols
        if isinstance(table, GnuHash):
            rows = table.among(hashes)
            names = symbols.raw_names([index for _, index in rows])
            leads_to = table.leads_to
            for (stored, index), name in zip(rows, names):
                value = values.get(name)
                if value is not None and stored | 1 == value | 1 and leads_to(value, index):
                    _add(found[name], module, index)
            return
        for index in hashed_symbols(tables):  # DT_HASH keeps no hashes
            name = symbols.raw_name(index)
            if name in values:
                _add(found[name], module, index)

    def _probe(self, module: Module, tables: Tables, names: Set[bytes]) -> None:
        for name in names:
            for index in probe(tables.memory, tables.image, name):
                if index < tables.symbols.count and tables.symbols.is_named(index, name):
                    _add(self._found[name], module, index)


def _add(rows: list[Row], module: Module, index: int) -> None:
    if rows and rows[-1][0] is module:
        rows[-1][1].append(index)
    else:
        rows.append((module, [index]))


def hashed_symbols(tables: Tables) -> Sequence[int]:
    """The .dynsym entries that a lookup can find."""
    table, count = tables.hashes, tables.symbols.count
    if isinstance(table, GnuHash):
        return range(table.first, min(table.first + len(table.chains), count))
    if isinstance(table, SysvHash) and table.buckets:
        return [i for i in table.indices() if i < count]
    return ()
