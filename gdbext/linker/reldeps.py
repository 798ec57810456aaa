"""Dependencies that relocation made: A is bound to B although A does not need B.

ld.so notes them, so that dlclose does not unload B while A is there, for a B that dlopen brought
in and that may be unloaded at all (glibc, elf/dl-lookup.c, add_dependency). They stand in

    struct link_map_reldeps {unsigned int act; struct link_map *list[];} *l_reldeps;
    unsigned int l_reldepsmax;

right behind l_initfini, or behind l_init_called_next where a distribution put that in between
(Debian's 2.36 did, and leaves it zero).
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Container

from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_words
from gdbext.linker.modules import Linker

_PLACES = (64, 72)  # from S, the place of l_scope
_MOST = 65536


def read_relocation_needs(memory: Memory, linker: Linker) -> dict[int, tuple[int, ...]] | None:
    """{link_map: the link_maps that relocation bound it to}; None where that is not recorded.

    A module that is not in it has a list that cannot be read, or that makes no sense.
    """
    areas = _read_areas(memory, linker)
    place = _locate(memory, areas, linker.by_map)
    if place is None:
        return None
    found: dict[int, tuple[int, ...]] = {}
    for address, words in areas.items():
        needs = _read_list(memory, words, place, linker.by_map)
        if needs is not None:
            found[address] = needs
    return found


def _read_areas(memory: Memory, linker: Linker) -> dict[int, tuple[int, ...]]:
    """The three words behind l_initfini of each link_map."""
    layout = linker.layout
    areas: dict[int, tuple[int, ...]] = {}
    if layout is None or layout.scope is None:
        return areas
    for module in linker.modules:
        if module.private is not None:
            try:
                at = module.map.address + layout.scope + _PLACES[0]
                areas[module.map.address] = read_words(memory, at, 3)
            except Unreadable:
                continue
    return areas


def _locate(memory: Memory, areas: dict[int, tuple[int, ...]], maps: Container[int]) -> int | None:
    """The index of l_reldeps in the three words: 0 or 1. All modules vote by what they hold."""
    votes: Counter[int] = Counter()
    for words in areas.values():
        votes[1] += words[0] in maps  # l_init_called_next is another link_map
        for place in (0, 1):
            votes[place] += bool(_read_list(memory, words, place, maps))
    if votes[0] != votes[1]:
        return 0 if votes[0] > votes[1] else 1
    # nothing was ever bound in that way, and no link_map stands in between
    return 0 if areas and not any(words[0] for words in areas.values()) else None


def _read_list(
    memory: Memory, words: tuple[int, ...], place: int, maps: Container[int]
) -> tuple[int, ...] | None:
    """The list; None when these words are no l_reldeps and l_reldepsmax."""
    at, most = words[place], words[place + 1] & 0xFFFFFFFF
    if not at:
        return ()
    try:
        (count,) = struct.unpack("<I", memory.read(at, 4))
        if not count <= most <= _MOST:
            return None
        needs = read_words(memory, at + 8, count)
    except Unreadable:
        return None
    return needs if all(need in maps for need in needs) else None
