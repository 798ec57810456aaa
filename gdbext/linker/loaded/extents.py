"""Where a module lies of which neither memory nor a file tells the program headers.

qemu-user's own cores hold no first pages, so that without its file nothing but ld.so's fields
l_map_start and l_map_end (glibc, include/link.h) tells how far a library reaches.
"""

from __future__ import annotations

from collections.abc import Sequence

from gdbext.elf.image import PT_LOAD, Segment
from gdbext.elf.reader import PAGE
from gdbext.linker.loaded.linkmaps import LinkMap
from gdbext.linker.loaded.private import Private
from gdbext.linker.process.process import Region

_LARGEST = 1 << 36  # bytes of address space; the largest libraries take some hundred MB


def read_extent(
    link_map: LinkMap, private: Private | None, regions: Sequence[Region]
) -> tuple[Segment, ...]:
    """The mappings between l_map_start and l_map_end as segments, `vaddr` counted from l_addr.

    Nothing where the fields are unknown or contradict l_ld, which every object's memory holds."""
    if private is None or private.map_start is None or private.map_end is None:
        return ()
    start, end = private.map_start, -(-private.map_end // PAGE) * PAGE
    if start % PAGE or not start <= link_map.l_ld < end or end - start > _LARGEST:
        return ()
    return tuple(
        Segment(PT_LOAD, r.flags, 0, first - link_map.l_addr, 0, 0, last - first, PAGE)
        for r in regions
        for first, last in [(max(r.start, start), min(r.end, end))]
        if first < last and r.flags
    )
