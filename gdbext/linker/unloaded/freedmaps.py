"""What glibc leaves in the heap of a library that was unloaded.

dlclose frees the link_map and unmaps the library (glibc, elf/dl-close.c, _dl_close_worker). The
freed block keeps most of its bytes until malloc hands it out again: free() writes four words at
its start alone (malloc/malloc.c, struct malloc_chunk), over l_addr, l_name, l_ld and l_next.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress

from gdbext.elf.core import decode_path
from gdbext.elf.image import PF_W
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import PAGE, Memory, read_string, read_word, read_words
from gdbext.linker.loaded.layout import FILE_ID, FLAGS, LIBNAME, REAL, Layout
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.loaded.private import LT_LOADED
from gdbext.linker.process.process import Region
from gdbext.linker.unloaded.unloaded import MEMORY, Unloaded

Area = tuple[int, int]  # [start, end)
_WINDOW = 1 << 16  # addresses in it differ in their low two bytes alone
_PIECE = 1 << 20  # read at once
_ARENA = 64 << 20  # HEAP_MAX_SIZE of malloc/arena.c on 64-bit machines
_MOST_FOUND = 4096
_MOST_SEGMENTS = 256
_HIGHEST = 1 << 56  # of user space, with the largest pages of both CPUs
LARGEST_LIBRARY = 1 << 36
_LONGEST_NAME = 4096  # PATH_MAX
# A link_map with its names and scopes has some 1,300 bytes; free blocks beside it are joined, and
# what is used again is split off. A smaller size could be a name's last character, if it is ASCII.
_SMALLEST_BLOCK, LARGEST_BLOCK = 1 << 8, 1 << 16


def heap_areas(regions: Sequence[Region], linker: Linker, most: int) -> list[Area]:
    """The writable anonymous memory, at most `most` bytes; first where link_maps are in use."""
    maps = [m.address for n in linker.namespaces for m in n.maps]
    areas = [
        (r.start, r.end)
        for r in regions
        if r.flags is not None and r.flags & PF_W and r.path in (None, "[heap]")
    ]
    areas.sort(key=lambda area: not any(area[0] <= a < area[1] for a in maps))
    return limited(areas, most)


def is_arena(memory: Memory, start: int) -> bool:
    """Whether what is mapped at `start` is a heap of one of malloc's arenas: heap_info.ar_ptr, of
    this heap and of the arena's first one (malloc/arena.c)."""
    if start % _ARENA:
        return False
    try:
        arena = read_word(memory, start)
        first = arena - arena % _ARENA
        return 0 < arena % _ARENA < PAGE and read_word(memory, first) == arena
    except Unreadable:
        return False


def limited(areas: Sequence[Area], most: int) -> list[Area]:
    """The areas as far as they have `most` bytes together."""
    found = []
    for start, end in areas:
        size = min(end - start, most)
        most -= size
        if size > 0:
            found.append((start, start + size))
    return found


def search_freed_maps(memory: Memory, linker: Linker, areas: Sequence[Area]) -> list[Unloaded]:
    """The libraries whose freed link_maps lie in `areas`.

    A link_map's l_real points to itself; one that no chain has is freed. Whatever a later owner of
    its block may have written there must still be a page, a sane range and a count of segments.
    """
    layout = linker.layout
    if layout is None or layout.map_start is None or layout.scope is None:
        return []  # not glibc, or nothing to tell its fields by
    found: list[Unloaded] = []
    for start, end in areas:
        for address in _self_pointers(memory, start, end):
            one = None if address in linker.by_map else decode_freed_map(memory, layout, address)
            if one is not None:
                found.append(one)
            if len(found) >= _MOST_FOUND:
                return found
    return found


def _self_pointers(memory: Memory, start: int, end: int) -> Iterator[int]:
    """Every address A in [start, end) whose word at A + REAL is A."""
    for first, data in pieces(memory, start, end):
        last = first + len(data)
        for window in range((first - REAL) // _WINDOW * _WINDOW, last, _WINDOW):
            # The words that may point into this window are REAL bytes further on.
            low, high = max(first, window + REAL), min(last, window + _WINDOW + REAL)
            yield from _pointers(data[low - first : high - first], low, window)


def pieces(memory: Memory, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """What can be read of an area: in large pieces, in small ones where that fails (before the
    heap of a program under qemu there may be a gap)."""
    for first in range(start, end, _PIECE):
        last = min(end, first + _PIECE)
        try:
            yield first, memory.read(first, last - first)
            continue
        except Unreadable:
            pass
        for low in range(first, last, _WINDOW):
            with suppress(Unreadable):
                yield low, memory.read(low, min(_WINDOW, last - low))


def _pointers(data: bytes, start: int, window: int) -> Iterator[int]:
    """The same in the words at `start` that may point into one window, by the six bytes that all
    pointers into it share: that is twenty times as fast as to look at each word."""
    shared = (window // _WINDOW).to_bytes(6, "little")
    place = data.find(shared, 2)
    while place >= 0:
        address = start + place - 2 - REAL
        if address % 8 == 0 and data[place - 2 : place] == struct.pack("<H", address % _WINDOW):
            yield address
        place = data.find(shared, place + 1)


def decode_freed_map(memory: Memory, layout: Layout, address: int) -> Unloaded | None:
    """What a freed link_map at `address` tells; None if what is there cannot be one."""
    assert layout.map_start is not None
    assert layout.scope is not None
    try:
        phdr, entry, count = read_words(memory, address + layout.phdr, 3)
        flags = read_word(memory, address + layout.phdr + FLAGS - 4) >> 32
        start, end = read_words(memory, address + layout.map_start, 2)
        device, inode = read_words(memory, address + layout.scope + FILE_ID, 2)
    except Unreadable:
        return None
    segments = count & 0xFFFF  # l_phnum
    if flags & 3 != LT_LOADED or start % PAGE or not PAGE <= start <= phdr < end < _HIGHEST:
        return None
    if end - start > LARGEST_LIBRARY or not 1 <= segments <= _MOST_SEGMENTS:
        return None
    name, cut = asked_name(memory, address)
    return Unloaded(name, start, end, None, MEMORY, cut, (segments, entry), (device, inode))


def asked_name(memory: Memory, address: int) -> tuple[str, bool]:
    """What dlopen was asked for, the first of l_libname, and whether up to 8 bytes of its end are
    lost; ("", True) where all of it is."""
    try:
        text = read_word(memory, read_word(memory, address + LIBNAME))
        if not address < text < address + LARGEST_BLOCK:
            return "", True  # another block's: who knows what is there now
        return name_in_block(memory, text)
    except Unreadable:
        return "", True


def name_in_block(memory: Memory, text: int) -> tuple[str, bool]:
    """The same, of the text at `text`; raises Unreadable.

    It is the last thing in the link_map's block (elf/dl-object.c, _dl_new_object), whose last
    word free() overwrites with the block's size if the next block is in use.
    """
    raw = read_string(memory, text, _LONGEST_NAME)
    last = (text + len(raw)) // 8 * 8
    size = read_word(memory, last)
    least = _SMALLEST_BLOCK if _is_utf8(raw) else 0x80
    if size % 16 == 0 and least <= size < LARGEST_BLOCK:
        return decode_path(raw[: max(0, last - text)]), True
    clean = next((i for i, byte in enumerate(raw) if byte < 0x20 or byte == 0x7F), len(raw))
    return decode_path(raw[:clean]), clean < len(raw)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
