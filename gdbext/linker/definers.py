"""Who defines which name: what the hash tables of all modules hold, looked at in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from gdbext.elf.hashes import GnuHash, SysvHash, gnu_hash, probe
from gdbext.elf.problem import Problem
from gdbext.linker.modules import Linker, Module
from gdbext.linker.scopes import real
from gdbext.linker.tables import Tables, TableSet

_FEW = 8  # names; so few are looked up in each module as ld.so does it


@dataclass(frozen=True)
class Definers:
    """Which modules have a symbol of each name that was asked for, in their hash tables.

    `unreadable` holds the modules, by link_map address, whose tables cannot be read, and why.
    """

    linker: Linker
    tables: TableSet
    unreadable: dict[int, str] = field(default_factory=dict)
    _found: dict[bytes, dict[int, list[int]]] = field(default_factory=dict)

    def prepare(self, names: Iterable[bytes]) -> None:
        """Look up all of `names` at once, in every module."""
        wanted = {name for name in names if name not in self._found}
        self._found.update((name, {}) for name in wanted)
        if not wanted:
            return
        hashes: dict[int, list[bytes]] = {}
        for name in wanted:
            hashes.setdefault(gnu_hash(name) | 1, []).append(name)
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
                    self._collect(module, tables, hashes)
            except Problem as problem:
                self.unreadable[module.map.address] = str(problem)

    def of(self, name: bytes) -> Mapping[int, Sequence[int]]:
        """{link_map address: symbol indices} of `name`, in the order in which ld.so meets them."""
        if name not in self._found:
            self.prepare((name,))
        return self._found[name]

    def _collect(self, module: Module, tables: Tables, hashes: Mapping[int, list[bytes]]) -> None:
        found, address = self._found, module.map.address
        table = tables.hashes
        if isinstance(table, GnuHash):
            rows = table.among(hashes.keys())
        elif isinstance(table, SysvHash):
            rows = _rows(tables, table, hashes.keys())
        else:
            return
        symbols = tables.symbols
        for value, index in rows:
            for name in hashes[value]:
                if index < symbols.count and symbols.is_named(index, name):
                    if table.leads_to(name, index):
                        found[name].setdefault(address, []).append(index)
                    break

    def _probe(self, module: Module, tables: Tables, names: Set[bytes]) -> None:
        for name in names:
            for index in probe(tables.memory, tables.image, name):
                if index < tables.symbols.count and tables.symbols.is_named(index, name):
                    self._found[name].setdefault(module.map.address, []).append(index)


def _rows(tables: Tables, table: SysvHash, wanted: Set[int]) -> list[tuple[int, int]]:
    """(GNU hash with its lowest bit set, index): DT_HASH itself keeps no hashes."""
    symbols = tables.symbols
    reachable = (i for i in table.indices() if i < symbols.count) if table.buckets else ()
    rows = ((gnu_hash(symbols.raw_name(i)) | 1, i) for i in reachable)
    return [row for row in rows if row[0] in wanted]
