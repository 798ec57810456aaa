"""Libraries that the tables of _dl_find_object once had (glibc 2.35 on, elf/dl-find_object.c).

struct dl_find_object_internal {map_start, map_end, map, eh_frame}. dlclose makes the range empty
and `map` null in the table that is in use, so that where a library began is known for long; the
other copy, which is written at the next dlopen alone, may have its end and its link_map still.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import PAGE, Memory, read_word
from gdbext.linker.loaded.layout import LIBNAME
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.unloaded.freedmaps import (
    LARGEST_BLOCK,
    LARGEST_LIBRARY,
    Area,
    decode_freed_map,
    name_in_block,
    pieces,
)
from gdbext.linker.unloaded.unloaded import MEMORY, Unloaded

_ROW = struct.Struct("<4Q")
_NAME = 24  # struct libname_list {name, next, dont_free}, right before its text
_MOST_STARTS = 4
_MOST_ROWS, _MOST_HITS = 1 << 12, 1 << 14  # of damaged or hostile memory


class _Emptied(NamedTuple):
    start: int
    frames: int  # .eh_frame_hdr, behind the code


def search_find_object(
    memory: Memory, linker: Linker, areas: Sequence[Area], address: int
) -> Unloaded | None:
    """The unloaded library that held `address`; its code at least, all of it where a row or a
    link_map that tells its end is left."""
    rows = sorted(set(islice(_emptied_rows(memory, areas, address), _MOST_ROWS)), reverse=True)
    rows.sort(key=lambda row: address >= row.frames)
    for row in rows[:_MOST_STARTS]:
        found = _whole(memory, linker, areas, row)
        if found.start <= address < found.end:
            return found
    return None


def _emptied_rows(memory: Memory, areas: Sequence[Area], address: int) -> Iterator[_Emptied]:
    """The rows of libraries that are gone and began below `address`."""
    for low, high in areas:
        for _, data in pieces(memory, low, high):
            # a library of up to 16 MiB begins at an address with the same or the previous top
            for top in (address >> 24, (address >> 24) - 1):
                for at in _places(data, top.to_bytes(5, "little"), 3):
                    start, end, used, frames = _ROW.unpack_from(data, at)
                    empty = start == end and not used and start % PAGE == 0
                    if empty and start <= address and start < frames < start + LARGEST_LIBRARY:
                        yield _Emptied(start, frames)


def _places(data: bytes, wanted: bytes, shift: int) -> Iterator[int]:
    """Where words begin that have `wanted` behind their first `shift` bytes, a row's space each."""
    place = data.find(wanted, shift)
    while place >= 0:
        at = place - shift
        if at % 8 == 0 and at + _ROW.size <= len(data):
            yield at
        place = data.find(wanted, place + 1)


def _whole(memory: Memory, linker: Linker, areas: Sequence[Area], row: _Emptied) -> Unloaded:
    """All that memory tells of the library of a row."""
    best = Unloaded("", row.start, -(-row.frames // PAGE) * PAGE, None, MEMORY, True)
    names = _name_places(memory, linker)
    layout = linker.layout
    for address, data in islice(_words(memory, areas, row.start), _MOST_HITS):
        if layout is not None and layout.map_start is not None:
            block = address - layout.map_start
            one = decode_freed_map(memory, layout, block)
            if one is not None and one.start == row.start and one.end > row.frames:
                return one if one.path else _named(memory, one, block, names)
        _, end, used, frames = _ROW.unpack(data)
        if frames == row.frames < end < row.start + LARGEST_LIBRARY and used:
            best = _named(memory, best._replace(end=end), used, names)
    return best


def _words(memory: Memory, areas: Sequence[Area], wanted: int) -> Iterator[tuple[int, bytes]]:
    """Every word that is `wanted`: its address, and the bytes of a row from there on."""
    for low, high in areas:
        for first, data in pieces(memory, low, high):
            for at in _places(data, wanted.to_bytes(8, "little"), 0):
                yield first + at, data[at : at + _ROW.size]


def _name_places(memory: Memory, linker: Linker) -> list[int]:
    """Where l_libname is behind the link_map that it was allocated with (elf/dl-object.c)."""
    found = set()
    for module in linker.modules:
        with suppress(Unreadable):
            address = module.map.address
            found.add(read_word(memory, address + LIBNAME) - address)
    return sorted(offset for offset in found if 0 < offset < LARGEST_BLOCK)


def _named(memory: Memory, one: Unloaded, block: int, places: Sequence[int]) -> Unloaded:
    """With the name in the block of its link_map, whose head may be another's by now."""
    for offset in places:
        with suppress(Unreadable):
            at = block + offset
            if read_word(memory, at) == at + _NAME:
                name, cut = name_in_block(memory, at + _NAME)
                return one._replace(path=name, cut=cut) if name else one
    return one
