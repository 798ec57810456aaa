"""link_maps that were freed: what dlclose, or a dlopen that failed, left in the heap.

l_real of a link_map is its own address (glibc, include/link.h; elf/dl-object.c sets it), and
malloc overwrites only the first words of what is freed. So until the memory is used again, a word
that is its own address less 40 betrays one, and l_libname still leads to the name that was asked
for. It is evidence, not proof: the memory is nobody's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gdbext.elf.problem import Unreadable
from gdbext.linker.loaded.layout import REAL
from gdbext.linker.loaded.libc import libc_number
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.process.process import Process
from gdbext.linker.unloaded.freedmaps import asked_name

_CHUNK = 1 << 20
_MOST = 32 << 20  # bytes of heap that are looked through


def freed_names(process: Process, linker: Linker, tables: TableSet) -> list[tuple[str, bool]]:
    """The names by which libraries were asked for that are no more, oldest first, and whether up
    to 8 bytes of a name's end are lost."""
    if linker.layout is None:
        return []
    live = {m.map.address for m in linker.modules}
    found: dict[tuple[str, bool], None] = {}
    for start, end in _heap(process, linker, tables):
        for address in _own_addresses(process, start, end):
            name, cut = asked_name(process.memory, address) if address not in live else ("", True)
            if name and name.isprintable():
                found[name, cut] = None
    return list(found)


def _heap(process: Process, linker: Linker, tables: TableSet) -> Iterator[tuple[int, int]]:
    """The first heap of malloc; without a list of mappings, from the program's end to the break."""
    regions = [r for r in process.regions() if r.path == "[heap]"]
    if regions:
        yield from ((r.start, min(r.end, r.start + _MOST)) for r in regions)
        return
    main = linker.modules[0].image if linker.modules else None
    limit = libc_number(process.memory, linker, tables, "__curbrk", 8)
    if main is not None and limit is not None and 0 < limit - main.end < 1 << 40:
        yield max(main.end, limit - _MOST), limit


def _own_addresses(process: Process, start: int, end: int) -> Iterator[int]:
    """The addresses whose word at l_real is the address itself."""
    for at in range(start // 16 * 16, end, _CHUNK):
        size = min(_CHUNK, end - at) // 8 * 8
        try:
            data = process.memory.read(at, size)
        except Unreadable:
            continue
        for number, (word,) in enumerate(struct.iter_unpack("<Q", data)):
            if word == at + 8 * number - REAL:
                yield word
