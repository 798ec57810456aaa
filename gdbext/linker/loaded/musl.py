"""musl's struct dso, its link_map: the private fields, located by what they must hold.

Source: musl, ldso/dynlink.c, struct dso (1.1.22 and newer), and src/internal/libc.h, struct
tls_module. There are three groups of fields, each located by words that the object's own image
gives, where more than half of the objects agree:

    syms, hashtab, ghashtab, versym, strings, syms_next
    map, map_len, dev, ino, six flags of a byte each (relocated, constructed, kernel_mapped, mark,
        bfs_built, runtime_loaded), deps, needed_by, ndeps_direct, next_dep, ctor_visitor
    tls.next, tls.image, tls.len, tls.size, tls.align, tls.offset, tls_id
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.elf.image import (
    DT_GNU_HASH,
    DT_HASH,
    DT_STRTAB,
    DT_SYMTAB,
    DT_VERSYM,
    PT_TLS,
    Image,
)
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_words
from gdbext.linker.loaded.modules import VDSO, Linker

_WORDS = (64, 48, 44)  # struct dso has some 43; it may be the last that is mapped
_FIRST = 5  # words of the part that a debugger may know: base, name, dynv, next, prev
# offsets in words from the start of each group
_SYMS_NEXT = 5
_FLAGS, _DEPS, _DIRECT, _VISITOR = 4, 5, 7, 9
_TLS_OFFSET, _TLS_ID = 4, 5
_TABLES = (DT_SYMTAB, DT_HASH, DT_GNU_HASH, DT_VERSYM, DT_STRTAB)
_MOST_DEPS = 4096


class Dependencies(NamedTuple):
    """By address of each struct dso: its direct dependencies in order; those whose constructors
    have run; those in whose constructors a thread is."""

    direct: Mapping[int, tuple[int, ...]]
    constructed: frozenset[int]
    visited: frozenset[int]


@dataclass(frozen=True)
class Dsos:
    """The fields of every struct dso, by its address. A group that was not located is None.

    `syms_next`: the next object whose symbols are global, 0 at the end. `tls`: (offset of the
    block from the thread pointer, module id) of objects with a PT_TLS.
    """

    syms_next: Mapping[int, int] | None
    dependencies: Dependencies | None
    tls: Mapping[int, tuple[int, int]] | None

    def global_chain(self, first: int) -> tuple[int, ...] | None:
        """The objects whose symbols are global, in order; None where that cannot be told."""
        if self.syms_next is None:
            return None
        found: dict[int, None] = {}
        address = first
        while address:
            if address in found or address not in self.syms_next:
                return None
            found[address] = None
            address = self.syms_next[address]
        return tuple(found)


def read_dsos(memory: Memory, linker: Linker) -> Dsos:
    """The private fields of every object."""
    dsos: dict[int, tuple[int, ...]] = {}
    images: dict[int, Image] = {}
    mapped: dict[int, Image] = {}  # by musl itself: not the vDSO
    for module in linker.modules:
        address = module.map.address
        words = _read(memory, address)
        if words:
            dsos[address] = words
        if words and module.image is not None:
            images[address] = module.image
            if module.kind != VDSO:
                mapped[address] = module.image
    return Dsos(_syms_next(dsos, images), _dependencies(memory, dsos, mapped), _tls(dsos, images))


def _read(memory: Memory, address: int) -> tuple[int, ...]:
    """The words of a struct dso, and what follows it or zeros; () when it cannot be read."""
    for count in _WORDS:
        try:
            return (*read_words(memory, address, count), *[0] * (_WORDS[0] - count))
        except Unreadable:
            continue
    return ()


def _locate(
    dsos: Mapping[int, tuple[int, ...]], wanted: Mapping[int, tuple[int, ...]], length: int
) -> int | None:
    """Where a group of `length` words starts that begins with each object's `wanted` words."""
    votes: Counter[int] = Counter()
    for address, begin in wanted.items():
        words = dsos[address]
        for at in range(_FIRST, _WORDS[0] - length + 1):
            votes[at] += words[at : at + len(begin)] == begin
    best = votes.most_common(1)
    return best[0][0] if best and 2 * best[0][1] > len(wanted) else None


def _syms_next(
    dsos: Mapping[int, tuple[int, ...]], images: Mapping[int, Image]
) -> dict[int, int] | None:
    tables = {at: tuple(image.pointer(tag) or 0 for tag in _TABLES) for at, image in images.items()}
    at = _locate(dsos, tables, _SYMS_NEXT + 1)
    if at is None:
        return None
    return {address: words[at + _SYMS_NEXT] for address, words in dsos.items()}


def _dependencies(
    memory: Memory, dsos: Mapping[int, tuple[int, ...]], images: Mapping[int, Image]
) -> Dependencies | None:
    """None as well if one object's flags or dependencies are none: this is another musl."""
    ranges = {at: (image.start, image.end - image.start) for at, image in images.items()}
    at = _locate(dsos, ranges, _VISITOR + 1)
    if at is None:
        return None
    direct: dict[int, tuple[int, ...]] = {}
    constructed, visited = set(), set()
    for address in images:
        words = dsos[address]
        flags = words[at + _FLAGS].to_bytes(8, "little")[:6]
        listed = _deps(memory, words[at + _DEPS], words[at + _DIRECT], images)
        if max(flags) > 1 or listed is None:
            return None
        direct[address] = listed
        if flags[1]:
            constructed.add(address)
        if words[at + _VISITOR]:
            visited.add(address)
    return Dependencies(direct, frozenset(constructed), frozenset(visited))


def _deps(memory: Memory, at: int, count: int, known: Container[int]) -> tuple[int, ...] | None:
    """The direct dependencies; None for what cannot be a list of them.

    dlopen appends the others, breadth first, to the list of what it opens (extend_bfs_deps).
    """
    if not at or not count:
        return () if not count else None
    if count > _MOST_DEPS:
        return None
    try:
        listed = read_words(memory, at, count)
    except Unreadable:
        return None
    return listed if all(each in known for each in listed) else None


def _tls(
    dsos: Mapping[int, tuple[int, ...]], images: Mapping[int, Image]
) -> dict[int, tuple[int, int]] | None:
    wanted = {
        address: (image.bias + segment.vaddr, segment.filesz, segment.memsz, max(segment.align, 1))
        for address, image in images.items()
        if (segment := image.segment(PT_TLS)) is not None and segment.memsz
    }
    at = _locate(dsos, wanted, _TLS_ID + 1)
    if at is None:
        return None
    return {
        address: (dsos[address][at + _TLS_OFFSET], dsos[address][at + _TLS_ID])
        for address, begin in wanted.items()
        if dsos[address][at : at + len(begin)] == begin
    }
