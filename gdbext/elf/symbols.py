"""Symbol tables, decoded in bulk: .dynsym through its hash table, .symtab of a file."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from gdbext.elf.hashes import GnuHash, SysvHash, read_hash_table
from gdbext.elf.image import (
    DT_GNU_HASH,
    DT_HASH,
    DT_JMPREL,
    DT_RELA,
    DT_STRSZ,
    DT_STRTAB,
    DT_SYMTAB,
    DT_VERDEF,
    DT_VERNEED,
    DT_VERSYM,
    LARGEST_TABLE,
    Image,
)
from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory

SYMBOL_SIZE = 24
SHN_UNDEF, SHN_ABS = 0, 0xFFF1
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE, STT_TLS, STT_GNU_IFUNC = (
    0, 1, 2, 3, 4, 6, 10,
)  # fmt: skip
STT_COMMON = 5
STB_LOCAL, STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE = 0, 1, 2, 10
STV_DEFAULT, STV_INTERNAL, STV_HIDDEN, STV_PROTECTED = 0, 1, 2, 3
_LONGEST_NAME = 8192  # bytes; names of C++ templates take some thousands
_SYMBOL = struct.Struct("<IBBHQQ")
_NAME = struct.Struct("<I")
_EXPORTED = struct.Struct("<4xBxHQ8x")
_NEW = tuple.__new__  # what Symbol() calls: half the time of the call
_ADDRESSED = frozenset({STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_GNU_IFUNC})


class Symbol(NamedTuple):
    """Elf64_Sym, with `name` as an offset into the string table."""

    name: int
    info: int
    other: int
    shndx: int
    value: int
    size: int

    @property
    def type(self) -> int:
        """STT_*."""
        return self.info & 15

    @property
    def binding(self) -> int:
        """STB_*."""
        return self.info >> 4

    @property
    def visibility(self) -> int:
        """STV_*; the other bits of st_other are the CPU's."""
        return self.other & 3

    def address(self, bias: int) -> int:
        """The value in memory: absolute symbols do not move (glibc, SYMBOL_ADDRESS)."""
        return self.value if self.shndx == SHN_ABS else (bias + self.value) & (1 << 64) - 1


@dataclass(frozen=True)
class SymbolTable:
    """A symbol table, decoded where it is looked at: a large program has 250,000 entries.

    Values are file addresses, before the load bias is added.
    """

    data: bytes
    strings: bytes
    _names: dict[int, bytes] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def count(self) -> int:
        """How many entries there are."""
        return len(self.data) // SYMBOL_SIZE

    def entry(self, index: int) -> Symbol:
        """Entry `index`, which must be smaller than `count`."""
        return _NEW(Symbol, _SYMBOL.unpack_from(self.data, index * SYMBOL_SIZE))

    def binding_and_visibility(self, index: int) -> tuple[int, int]:
        """STB_* and STV_* of entry `index`."""
        at = index * SYMBOL_SIZE
        return self.data[at + 4] >> 4, self.data[at + 5] & 3

    def name(self, index: int) -> str:
        """The name of entry `index`; a damaged index or offset gives ''."""
        if not 0 <= index < self.count:
            return ""
        return string_at(self.strings, _NAME.unpack_from(self.data, index * SYMBOL_SIZE)[0])

    def raw_name(self, index: int) -> bytes:
        """The bytes of the name of entry `index`, which must be smaller than `count`."""
        found = self._names.get(index)
        if found is None:
            (start,) = _NAME.unpack_from(self.data, index * SYMBOL_SIZE)
            found = self._names[index] = self.strings[start : self.strings.find(b"\0", start)]
        return found

    def names(self, indices: Iterable[int]) -> dict[int, str]:
        """The names of many entries at once."""
        data, strings, count, raw = self.data, self.strings, self.count, self._names
        unpack, find = _NAME.unpack_from, self.strings.find
        found = {}
        for index in indices:
            if index < count:
                (start,) = unpack(data, index * SYMBOL_SIZE)
                raw[index] = text = strings[start : find(b"\0", start)]
                found[index] = text.decode("utf-8", "backslashreplace")
        return found

    def raw_names(self, indices: Iterable[int]) -> list[bytes]:
        """The name of each of `indices`, b'' for one that does not exist."""
        data, strings, count = self.data, self.strings, self.count
        unpack, find, nowhere = _NAME.unpack_from, strings.find, len(strings)
        starts = [unpack(data, i * SYMBOL_SIZE)[0] if i < count else nowhere for i in indices]
        return [strings[start : find(b"\0", start)] for start in starts]

    def special(self, indices: Iterable[int]) -> set[int]:
        """Those of `indices` that are local, have another visibility than default, or do not
        exist: what they refer to is not just the first definition of a scope."""
        infos, others = self.data[4::SYMBOL_SIZE], self.data[5::SYMBOL_SIZE]
        count = self.count
        return {i for i in indices if i >= count or infos[i] < 16 or others[i] & 3}

    def is_named(self, index: int, name: bytes) -> bool:
        """Whether entry `index` has this name."""
        (start,) = _NAME.unpack_from(self.data, index * SYMBOL_SIZE)
        return self.strings.startswith(name + b"\0", start)

    def _entries(self) -> Iterator[tuple[int, ...]]:
        return _SYMBOL.iter_unpack(self.data[: self.count * SYMBOL_SIZE])

    @cached_property
    def exports(self) -> dict[int, int]:
        """{file address: index} of what it defines, TLS variables excepted; of aliases one."""
        columns = _EXPORTED.iter_unpack(self.data[: self.count * SYMBOL_SIZE])
        return {
            value: index
            for index, (info, shndx, value) in enumerate(columns)
            if shndx and value and info & 15 != STT_TLS
        }

    @cached_property
    def _sorted(self) -> tuple[list[int], list[tuple[int, int, int, int]]]:
        """(values, [(value, preference, size, -index)]) of what is code or data, by value."""
        rows = []
        for index, (name, info, _, shndx, value, size) in enumerate(self._entries()):
            if shndx != SHN_UNDEF and shndx != SHN_ABS and info & 15 in _ADDRESSED and value:
                if not info and self.strings.startswith(b"$", name):
                    continue  # ARM64's mapping symbols $x and $d name nothing (AAELF64)
                # Of several names of one address the last in this order is shown: one with a
                # size before one without, global before weak before local.
                binding = info >> 4
                rank = 2 if binding in (STB_GLOBAL, STB_GNU_UNIQUE) else int(binding == STB_WEAK)
                rows.append((value, (size > 0) * 4 + rank, size, -index))
        rows.sort()
        return [row[0] for row in rows], rows

    def at(self, address: int) -> tuple[int, int] | None:
        """(index, offset) of the symbol that covers the file address, None when none does.

        A symbol without a size covers its own address, if no other does: it is a label there, as
        __syscall_cancel_arch_end of glibc 2.41. GDB prefers the function too (minsyms.c).
        """
        values, rows = self._sorted
        place = bisect_right(values, address) - 1
        label = None
        # Functions nest at most a few deep (a label inside a function, a cold part).
        for row in rows[max(place - 8, 0) : place + 1][::-1]:
            if row[0] <= address < row[0] + row[2]:
                return self._best_alias(row, place), address - row[0]
            if row[0] == address and label is None:
                label = row
        return (self._best_alias(label, place), 0) if label else None

    def _best_alias(self, row: tuple[int, int, int, int], place: int) -> int:
        """The index of the name that is shown of those with the value, rank and size of `row`."""
        value, rank, size, index = row
        _, rows = self._sorted
        same = rows[bisect_left(rows, (value, rank)) : place + 1]
        aliases = [-one[3] for one in same if one[0] == value and one[2] == size]
        plain = [i for i in aliases if not self.name(i).startswith("_")]
        return (plain or [-index])[0]

    @cached_property
    def indices_by_name(self) -> dict[bytes, list[int]]:
        """Every entry by its name, defined or not."""
        table: dict[bytes, list[int]] = {}
        strings = self.strings
        find = strings.find
        for index, entry in enumerate(self._entries()):
            start = entry[0]
            table.setdefault(strings[start : find(b"\0", start)], []).append(index)
        return table


def string_at(strings: bytes, offset: int) -> str:
    """The NUL-terminated string in a string table; bytes that are not UTF-8 are kept escaped."""
    end = strings.find(b"\0", offset)
    return strings[offset : end if end >= 0 else len(strings)].decode("utf-8", "backslashreplace")


def sound_strings(strings: bytes) -> bytes:
    """A string table as it must be: it ends with NUL, and no name in it is absurdly long.

    Names share their tails, so without this a damaged table of some megabytes could stand for
    gigabytes of names. Only names of more than _LONGEST_NAME bytes are ever cut.
    """
    cuts = [
        start
        for start in range(0, len(strings), _LONGEST_NAME)
        if strings.find(b"\0", start, start + _LONGEST_NAME) < 0
    ]
    if not cuts and strings[-1:] in (b"", b"\0"):
        return strings
    table = bytearray(strings) + b"\0"
    for start in cuts:
        table[min(start + _LONGEST_NAME, len(table)) - 1] = 0
    return bytes(table)


def read_dynamic_strings(memory: Memory, image: Image) -> bytes:
    """The dynamic string table; b'' for an image without one."""
    address, size = image.pointer(DT_STRTAB), image.value(DT_STRSZ)
    if address is None or size is None:
        return b""
    return sound_strings(memory.read(address, _bounded(image, address, size, "DT_STRSZ")))


def read_dynamic_symbols(
    memory: Memory, image: Image, hashes: GnuHash | SysvHash | None = None
) -> SymbolTable:
    """The .dynsym of an image, found through its dynamic section alone.

    `hashes` is its hash table, if that was read already.
    """
    strings = read_dynamic_strings(memory, image)
    address = image.pointer(DT_SYMTAB)
    if address is None:
        return SymbolTable(b"", strings)
    size = count_dynamic_symbols(memory, image, hashes) * SYMBOL_SIZE
    return SymbolTable(
        memory.read(address, _bounded(image, address, size, "the symbol table")), strings
    )


def count_dynamic_symbols(
    memory: Memory, image: Image, hashes: GnuHash | SysvHash | None = None
) -> int:
    """How many entries .dynsym has; ELF records it only in the hash tables.

    DT_HASH says it outright (gABI, nchain). DT_GNU_HASH ends with the chain of its highest
    bucket (binutils, bfd/elflink.c, elf_gnu_hash_process_symidx writes it so).
    """
    table = image.pointer(DT_HASH)
    if table is not None:
        chains: int = struct.unpack("<II", memory.read(table, 8))[1]
        return chains
    hashes = hashes or read_hash_table(memory, image)
    if isinstance(hashes, GnuHash):
        if hashes.chains:
            return hashes.first + len(hashes.chains)
        # It exports nothing, and GNU ld writes 1 for `first` then, however many it imports
        # (bfd/elflink.c, bfd_elf_size_dynsym_hash_dynstr).
        return max(hashes.first, _count_by_room(image))
    return _count_by_room(image)


def _count_by_room(image: Image) -> int:
    """How many entries fit between .dynsym and the table behind it: .dynstr (GNU ld, gold),
    or .gnu.version (lld)."""
    start = image.pointer(DT_SYMTAB)
    if start is None:
        return 0
    tables = (DT_STRTAB, DT_HASH, DT_GNU_HASH, DT_VERSYM, DT_VERNEED, DT_VERDEF, DT_RELA, DT_JMPREL)
    behind = [a for a in map(image.pointer, tables) if a is not None and a > start]
    return (min(behind) - start) // SYMBOL_SIZE if behind else 0


def _bounded(image: Image, address: int, size: int, what: str) -> int:
    """`size`, if a table of that size fits into its segment; raises Problem otherwise."""
    if size > min(image.room(address), LARGEST_TABLE):
        raise Problem(f"damaged image: {what} of {size} bytes runs past its segment")
    return size
