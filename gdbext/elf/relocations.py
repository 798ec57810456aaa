"""Dynamic relocations, decoded in bulk; the tables are those that ld.so itself walks."""

from __future__ import annotations

import struct
from typing import NamedTuple

from gdbext.elf.image import (
    DT_JMPREL,
    DT_PLTREL,
    DT_PLTRELSZ,
    DT_RELA,
    DT_RELACOUNT,
    DT_RELASZ,
    LARGEST_TABLE,
    Image,
)
from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory

RELA_SIZE = 24
_NEW = tuple.__new__  # what Relocation() calls: half the time of the call


class Relocation(NamedTuple):
    """Elf64_Rela; `offset` is a file address, before the load bias is added.

    `plt_index` is the entry's place in DT_JMPREL, None for an entry of DT_RELA: the number
    that a lazy PLT entry hands to the resolver (psABI x86-64, 5.2).
    """

    offset: int
    type: int
    symbol: int
    addend: int
    plt_index: int | None


def read_relocations(memory: Memory, image: Image) -> list[Relocation]:
    """Every entry of DT_RELA and DT_JMPREL, but for the leading run of RELATIVE entries.

    That run (DT_RELACOUNT of them, which ld.so also takes without a look: glibc,
    elf/do-rel.h) has no symbols and, in large programs, hundreds of thousands of entries.
    """
    plt_at, plt_size = image.pointer(DT_JMPREL), image.value(DT_PLTRELSZ) or 0
    at, size = image.pointer(DT_RELA), image.value(DT_RELASZ) or 0
    if plt_at is None:
        plt_size = 0
    elif image.value(DT_PLTREL) not in (None, DT_RELA):
        raise Problem("this image uses REL relocations, which its CPU's ABI does not have")
    if at is None:
        size = 0
    elif plt_at is not None and plt_size and at + size == plt_at + plt_size:
        size -= plt_size  # some linkers count the PLT's twice (glibc, elf/dynamic-link.h)
    found: list[Relocation] = []
    if at is not None and size:
        relative = min((image.value(DT_RELACOUNT) or 0) * RELA_SIZE, size)
        table = _read_table(memory, image, at + relative, size - relative)
        found = [_NEW(Relocation, (at, kind, symbol, add, None)) for at, kind, symbol, add in table]
    if plt_at is not None:
        table = _read_table(memory, image, plt_at, plt_size)
        found += [
            _NEW(Relocation, (at, kind, symbol, add, index))
            for index, (at, kind, symbol, add) in enumerate(table)
        ]
    return found


def _read_table(
    memory: Memory, image: Image, address: int, size: int
) -> list[tuple[int, int, int, int]]:
    """(r_offset, type, symbol, r_addend) of each entry: r_info's halves are the two in between."""
    if not size:
        return []
    if size > min(image.room(address), LARGEST_TABLE):
        raise Problem(f"damaged image: relocations of {size} bytes run past their segment")
    return list(struct.iter_unpack("<QIIq", memory.read(address, size // RELA_SIZE * RELA_SIZE)))
