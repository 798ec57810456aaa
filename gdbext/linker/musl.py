"""musl's struct dso: the one private field that lookups need, syms_next, found by what stands
in front of it (musl, ldso/dynlink.c: syms, hashtab, ghashtab, versym, strings, syms_next)."""

from __future__ import annotations

from gdbext.elf.image import DT_GNU_HASH, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_VERSYM
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_words
from gdbext.linker.modules import Linker, Module

_WORDS = 40  # struct dso has some 300 bytes; the tables stand in its first half
_TABLES = (DT_SYMTAB, DT_HASH, DT_GNU_HASH, DT_VERSYM, DT_STRTAB)


def read_global_chain(memory: Memory, linker: Linker) -> tuple[int, ...] | None:
    """The link_maps whose symbols are global, in order; None where that cannot be told."""
    at = _syms_next(memory, linker)
    if at is None:
        return None
    found: list[int] = []
    address = linker.modules[0].map.address
    while address:
        if address not in linker.by_map or len(found) > len(linker.modules):
            return None
        found.append(address)
        try:
            address = read_words(memory, address + at, 1)[0]
        except Unreadable:
            return None
    return tuple(found)


def _syms_next(memory: Memory, linker: Linker) -> int | None:
    """The offset of syms_next, if every module agrees on it."""
    offsets = {_offset(memory, m) for m in linker.modules if m.image is not None}
    return offsets.pop() if len(offsets) == 1 else None


def _offset(memory: Memory, module: Module) -> int | None:
    image = module.image
    assert image is not None
    tables = tuple(image.pointer(tag) or 0 for tag in _TABLES)
    try:
        words = read_words(memory, module.map.address, _WORDS)
    except Unreadable:
        return None
    places = [i for i in range(_WORDS - 5) if words[i : i + 5] == tables]
    return (places[0] + 5) * 8 if places else None
