"""glibc's tables of GNU_UNIQUE symbols, one for each namespace, found inside `_rtld_global`.

A unique symbol that was looked up once is the one for its whole namespace, whatever the scopes
say later (glibc, elf/dl-lookup.c, do_lookup_unique). The tables are
`_dl_ns[]._ns_unique_sym_table` {lock; entries; size; n_elements; free} (ldsodefs.h); each entry
is {uint32_t hashval; const char *name; const Elf64_Sym *sym; const struct link_map *map}.
No symbol says where they are, so they are known by what they hold.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from gdbext.elf.image import DT_SYMTAB
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory, read_string, read_words
from gdbext.elf.symbols import SYMBOL_SIZE
from gdbext.elf.variables import read_variable
from gdbext.linker.loaded.modules import LINKER, Linker
from gdbext.linker.loaded.tables import TableSet

_ENTRY = struct.Struct("<IxxxxQQQ")
_LARGEST = 1 << 20  # entries
_NAMESPACE = 20  # words of struct link_namespaces, of which a static program has one
_LONGEST_NAME = 1 << 16

# (namespace, name) -> (link_map address, address of the symbol's .dynsym entry)
Unique = dict[tuple[int, bytes], tuple[int, int]]


def read_unique_symbols(
    memory: Memory, linker: Linker, tables: TableSet, namespaces: int | None = None
) -> Unique:
    """Every unique symbol that ld.so has looked up. Raises Problem where that cannot be known.

    `namespaces`: the address of a static program's `_dl_ns`, which has no `_rtld_global`.
    """
    if namespaces is not None:
        return _among(memory, linker, read_words(memory, namespaces, _NAMESPACE))
    module = next((m for m in linker.modules if m.kind == LINKER), None)
    known = tables.of(module) if module else None
    globals_ = read_variable(memory, known.image, b"_rtld_global", known.symbols) if known else None
    if globals_ is None:
        raise Problem("ld.so's table of unique symbols could not be located")
    return _among(memory, linker, globals_.words)


def _among(memory: Memory, linker: Linker, words: Sequence[int]) -> Unique:
    found: Unique = {}
    for entries, length, used in _tables(words):
        found.update(_read_table(memory, linker, entries, length, used))
    return found


def _tables(words: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(entries, size, n_elements) of whatever could be a table by its numbers."""
    for entries, size, used, free in zip(words, words[1:], words[2:], words[3:]):
        if 0 < used <= size <= _LARGEST and entries > _LARGEST and free > _LARGEST:
            yield entries, size, used


def _read_table(memory: Memory, linker: Linker, at: int, size: int, used: int) -> Unique:
    """The entries, {} when it is no such table: each must name a symbol of a loaded module."""
    try:
        data = memory.read(at, size * _ENTRY.size)
    except Unreadable:
        return {}
    rows = [row for row in _ENTRY.iter_unpack(data) if row[1]]
    if len(rows) != used:
        return {}
    found: Unique = {}
    for _, name, symbol, address in rows:
        module = linker.by_map.get(address)
        image = module.image if module else None
        table = image.pointer(DT_SYMTAB) if image else None
        if module is None or table is None or symbol < table or (symbol - table) % SYMBOL_SIZE:
            return {}
        try:
            found[module.namespace, read_string(memory, name, _LONGEST_NAME)] = address, symbol
        except Unreadable:
            return {}
    return found
