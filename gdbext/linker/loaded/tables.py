"""The symbol tables of loaded modules, each read once, and names for addresses from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

from gdbext.elf.file import ElfFile
from gdbext.elf.hashes import GnuHash, SysvHash, read_hash_table
from gdbext.elf.image import DT_HASH, DT_SYMTAB, Image
from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory
from gdbext.elf.symbols import SYMBOL_SIZE, SymbolTable, read_dynamic_symbols
from gdbext.elf.unwind import Functions
from gdbext.elf.versions import NO_VERSIONS, Versions, read_versions
from gdbext.linker.loaded.modules import Module


class Definition(NamedTuple):
    """A name for an address: symbol and offset in bytes."""

    symbol: str
    offset: int

    def __str__(self) -> str:
        return f"{self.symbol}+{self.offset:#x}" if self.offset else self.symbol


@dataclass(frozen=True)
class Tables:
    """One module's tables. Reading them may raise Problem: damaged, or not in a core."""

    memory: Memory
    image: Image
    find_file: Callable[[], ElfFile | None]
    find_symbols: Callable[[], SymbolTable | None]

    @cached_property
    def functions(self) -> Functions:
        """The functions by the unwind tables."""
        return Functions(self.memory, self.image)

    @cached_property
    def hashes(self) -> GnuHash | SysvHash | None:
        """The hash table that lookups go through."""
        return read_hash_table(self.memory, self.image)

    @cached_property
    def symbols(self) -> SymbolTable:
        """.dynsym."""
        if self.image.value(DT_HASH) is not None:
            return read_dynamic_symbols(self.memory, self.image)  # which counts them by itself
        return read_dynamic_symbols(self.memory, self.image, self.hashes)

    @cached_property
    def versions(self) -> Versions:
        """Versions of .dynsym; none when the version tables are damaged."""
        symbols = self.symbols
        try:
            return read_versions(self.memory, self.image, symbols.count, symbols.strings)
        except Problem:
            return NO_VERSIONS

    def index_at(self, address: int) -> int:
        """The index of the .dynsym entry at an address; raises Problem when there is none."""
        index, rest = divmod(address - (self.image.pointer(DT_SYMTAB) or 0), SYMBOL_SIZE)
        if rest or not 0 <= index < self.symbols.count:
            raise Problem(f"there is no symbol at {address:#x}")
        return index

    def address_of(self, name: str) -> int | None:
        """The address of what .dynsym defines under `name`."""
        try:
            for index in self.symbols.indices_by_name.get(name.encode(), ()):
                entry = self.symbols.entry(index)
                if entry.shndx:
                    return self.image.bias + entry.value
        except Problem:
            pass  # this module's tables are damaged or missing: it defines nothing to us
        return None

    @cached_property
    def _full(self) -> SymbolTable | None:
        """.symtab of the file, or of its separate debug file when it is stripped."""
        return (self.file.symbols() if self.file else None) or self.find_symbols()

    @cached_property
    def file(self) -> ElfFile | None:
        """The file on disk, if it is the one that was loaded."""
        return self.find_file()

    def name(self, address: int, preferred: str | None = None) -> Definition | None:
        """A name for an address of this module: `preferred` if it is one of its names."""
        place = address - self.image.bias
        try:
            symbols = self.symbols
            index = symbols.exports.get(place) if preferred is not None else None
            if index is not None and preferred is not None:
                raw = preferred.encode()
                if symbols.is_named(index, raw):
                    return Definition(preferred, 0)
                for alias in symbols.indices_by_name.get(raw, ()):
                    entry = symbols.entry(alias)
                    if entry.shndx and entry.value == place:
                        return Definition(preferred, 0)
            found = _covering(symbols, place)
        except Problem:
            found = None
        if found is None and self._full is not None:
            found = _covering(self._full, place)
        return found


def _covering(table: SymbolTable, place: int) -> Definition | None:
    found = table.at(place)
    return Definition(table.name(found[0]), found[1]) if found else None


@dataclass(frozen=True)
class TableSet:
    """The tables of every module, made when first asked for.

    `find_file` gives a module's file if it is the one that was loaded, `find_symbols` the
    .symtab of its separate debug file.
    """

    memory: Memory
    find_file: Callable[[Module], ElfFile | None]
    find_symbols: Callable[[Module], SymbolTable | None]
    _made: dict[int, Tables] = field(default_factory=dict)

    def beside(self, memory: Memory, find_file: Callable[[Module], ElfFile | None]) -> TableSet:
        """These tables, and room for those of modules in another memory that includes this one."""
        return TableSet(memory, find_file, self.find_symbols, dict(self._made))

    def of(self, module: Module) -> Tables | None:
        """The tables of a module, None when its image is unknown."""
        if module.image is None:
            return None
        tables = self._made.get(module.image.start)
        if tables is None:
            tables = Tables(
                self.memory,
                module.image,
                partial(self.find_file, module),
                partial(self.find_symbols, module),
            )
            self._made[module.image.start] = tables
        return tables

    def file_of(self, module: Module) -> ElfFile | None:
        """The file of a module, if it is the one that was loaded."""
        tables = self.of(module)
        return tables.file if tables else None

    def name(self, module: Module, address: int, preferred: str | None = None) -> Definition | None:
        """A name for an address in `module`."""
        tables = self.of(module)
        return tables.name(address, preferred) if tables else None
