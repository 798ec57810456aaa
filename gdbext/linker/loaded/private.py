"""glibc's private link_map fields, read where the layout says that they are.

Sources: glibc, include/link.h (struct link_map), elf/dl-object.c, elf/dl-load.c.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_pointers, read_string, read_words
from gdbext.linker.loaded.layout import (
    FILE_ID,
    FLAGS,
    INITFINI,
    LIBNAME,
    LOADER,
    MOST_SCOPES,
    OPENCOUNT,
    REAL,
    SEARCHLIST,
    TLS_MODID,
    TLS_OFFSET,
    Layout,
)

_MOST_NAMES = 64
_LONGEST_LIST = 65536
# l_removed in the flag word, by the place of l_global: glibc 2.35 put eight bits in between
_REMOVED = {4: 13, 5: 18}
LT_EXECUTABLE, LT_LIBRARY, LT_LOADED = 0, 1, 2


class Private(NamedTuple):
    """The private fields of one link_map; None is unknown. Addresses are absolute.

    `type` is LT_*; `libname`, `scopes`, `searchlist` and `initfini` are where the lists start
    that read_names(), read_scopes(), … follow. `behind_initfini` is what reldeps.py looks at.
    `tls_offset` is as in the field: 0 none, -1 dynamic.
    """

    real: int
    libname: int
    type: int
    relocated: bool | None
    init_called: bool | None
    is_global: bool | None
    removed: bool | None
    nodelete: bool | None
    open_count: int
    loader: int
    phdr: int
    searchlist: tuple[int, int]
    scopes: int | None
    local_scope: int
    file_id: tuple[int, int] | None
    initfini: int | None
    behind_initfini: tuple[int, int, int] | None
    map_start: int | None
    map_end: int | None
    tls_modid: int | None
    tls_offset: int | None


def read_private(memory: Memory, layout: Layout, address: int) -> Private | None:
    """The private fields of the link_map at `address`; None when it cannot be read."""
    last = max(layout.phdr + 128, (layout.scope or 0) + INITFINI + 32, (layout.tls or 0) + 64)
    try:
        blob = memory.read(address, last)
    except Unreadable:
        return None

    words: tuple[int, ...] = struct.unpack_from(f"<{len(blob) // 8}Q", blob)

    def word(offset: int) -> int:
        return words[offset >> 3]  # every field that is read here is aligned

    phdr, scope, tls = layout.phdr, layout.scope, layout.tls
    flags = word(phdr + FLAGS - 4) >> 32
    bit = layout.global_bit
    start = layout.map_start
    return Private(
        real=word(REAL),
        libname=word(LIBNAME),
        type=flags & 3,
        relocated=bool(flags >> (bit - 2) & 1) if bit else None,
        init_called=bool(flags >> (bit - 1) & 1) if bit else None,
        is_global=bool(flags >> bit & 1) if bit else None,
        removed=bool(flags >> _REMOVED[bit] & 1) if bit else None,
        nodelete=bool(blob[layout.nodelete]) if layout.nodelete is not None else None,
        open_count=word(phdr + OPENCOUNT) & 0xFFFFFFFF,
        loader=word(phdr + LOADER),
        phdr=word(phdr),
        searchlist=(word(phdr + SEARCHLIST), word(phdr + SEARCHLIST + 8) & 0xFFFFFFFF),
        scopes=word(scope) if scope is not None else None,
        local_scope=address + phdr + SEARCHLIST,
        file_id=(word(scope + FILE_ID), word(scope + FILE_ID + 8)) if scope is not None else None,
        initfini=word(scope + INITFINI) if scope is not None else None,
        behind_initfini=(
            (word(scope + INITFINI + 8), word(scope + INITFINI + 16), word(scope + INITFINI + 24))
            if scope is not None
            else None
        ),
        map_start=word(start) if start is not None else None,
        map_end=word(start + 8) if start is not None else None,
        tls_modid=word(tls + TLS_MODID) if tls is not None else None,
        tls_offset=_signed(word(tls + TLS_OFFSET)) if tls is not None else None,
    )


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def read_names(memory: Memory, private: Private) -> tuple[bytes, ...]:
    """The names by which it was asked for, the first one first: l_libname,

    struct libname_list {const char *name; struct libname_list *next; …}."""
    names: list[bytes] = []
    seen: set[int] = set()
    node = private.libname
    while node and node not in seen and len(names) < _MOST_NAMES:
        seen.add(node)
        try:
            text, following = read_words(memory, node, 2)
            names.append(read_string(memory, text))
        except Unreadable:
            break
        node = following
    return tuple(names)


def read_searchlist(memory: Memory, private: Private) -> tuple[int, ...]:
    """The link_maps of its own scope, r_scope_elem {link_map **r_list; unsigned r_nlist;}."""
    at, count = private.searchlist
    if not at or count > _LONGEST_LIST:
        return ()
    try:
        return read_words(memory, at, count)
    except Unreadable:
        return ()


def read_scopes(memory: Memory, private: Private) -> tuple[int, ...] | None:
    """The r_scope_elems that its lookups go through, in order; None when they cannot be read."""
    return _pointers(memory, private.scopes, MOST_SCOPES)


def read_scope(memory: Memory, address: int) -> tuple[int, ...] | None:
    """The link_maps of the r_scope_elem at `address`; None when it cannot be read."""
    try:
        at, count = read_words(memory, address, 2)
        count &= 0xFFFFFFFF
        return read_words(memory, at, count) if 0 < count <= _LONGEST_LIST else ()
    except Unreadable:
        return None


def read_initfini(memory: Memory, private: Private) -> tuple[int, ...] | None:
    """The link_maps that it depends on, itself first; None when they cannot be read."""
    return _pointers(memory, private.initfini, _LONGEST_LIST)


def _pointers(memory: Memory, at: int | None, most: int) -> tuple[int, ...] | None:
    """A NULL-terminated list; None when it cannot be read."""
    try:
        return read_pointers(memory, at, most) if at else None
    except Unreadable:
        return None
