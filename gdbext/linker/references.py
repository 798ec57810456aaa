"""Who refers to a name: the modules whose .dynsym has it, found by their string tables."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from gdbext.elf.problem import Problem
from gdbext.elf.symbols import SYMBOL_SIZE, SymbolTable, read_dynamic_strings
from gdbext.linker.modules import Linker
from gdbext.linker.scopes import real
from gdbext.linker.tables import TableSet


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
