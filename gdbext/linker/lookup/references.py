"""What a module refers to; and who refers to a name, found by the string tables of .dynsym."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import cast

from gdbext.elf.problem import Problem
from gdbext.elf.symbols import SYMBOL_SIZE, SymbolTable, read_dynamic_strings
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.loaded.tables import Tables, TableSet
from gdbext.linker.lookup.matching import Wanted
from gdbext.linker.lookup.scopes import real


@dataclass(frozen=True)
class References:
    """What relocations of one module refer to, by columns: the entry of .dynsym (0 is none), its
    name and version, whether no other version may stand in, and the class of the relocation."""

    numbers: Sequence[int]
    names: Sequence[bytes]
    versions: Sequence[str | None]
    exact: Sequence[bool]
    classes: Sequence[int]

    def wanted(self) -> list[Wanted]:
        """What is looked up for each."""
        # plain tuples are found in the same places, and made in a fifth of the time
        rows = zip(self.names, self.versions, self.exact, self.classes, repeat(False))
        return cast("list[Wanted]", list(rows))


def read_references(tables: Tables, numbers: Sequence[int], classes: Sequence[int]) -> References:
    """The references of one module to the entries `numbers` of its .dynsym."""
    names, versions = tables.symbols.raw_names(numbers), tables.versions
    indices = versions.numbers(numbers)
    wanted = list(map(versions.names.get, indices))
    exact = [i in versions.exact for i in indices] if versions.exact else [False] * len(indices)
    return References(numbers, names, wanted, exact, classes)


def referring(linker: Linker, tables: TableSet, name: bytes) -> dict[int, frozenset[int]]:
    """{link_map address: the .dynsym entries called `name`}, defined there or not.

    Most modules do not have the name in their string table, and their symbols are not read.
    """
    found: dict[int, frozenset[int]] = {}
    for module in linker.modules:
        known = tables.of(module) if real(linker, module) is module else None
        if known is None:
            continue
        try:
            strings = read_dynamic_strings(known.memory, known.image)
            if name + b"\0" in strings:
                numbers = entries_called(known.symbols, name)
                if numbers:
                    found[module.map.address] = numbers
        except Problem:
            continue  # damaged or not in this core: its slots say so themselves
    return found


def entries_called(symbols: SymbolTable, name: bytes) -> frozenset[int]:
    """The entries of a symbol table with this name. Names may share their tails."""
    starts = {m.start() for m in re.finditer(re.escape(name) + b"\0", symbols.strings)}
    return frozenset(i for i, start in enumerate(_name_offsets(symbols)) if start in starts)


def names_with(symbols: SymbolTable, pattern: bytes) -> Iterator[bytes]:
    """The names in a symbol table that `pattern`, a regular expression without NUL, matches from
    their start on."""
    starts = set(_name_offsets(symbols))
    for match in re.finditer(b"(?=(" + pattern + b"))", symbols.strings):
        if match.start() in starts:
            yield symbols.strings[match.start() : symbols.strings.find(b"\0", match.start())]


def _name_offsets(symbols: SymbolTable) -> Iterator[int]:
    data = symbols.data[: symbols.count * SYMBOL_SIZE]
    return (start for (start,) in struct.iter_unpack(f"<I{SYMBOL_SIZE - 4}x", data))
