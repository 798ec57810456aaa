"""What stands behind l_initfini: dependencies that relocation made, and the order of past calls.

Relocation binds A to B although A does not need B. ld.so notes that, so that dlclose does not
unload B while A is there, for a B that dlopen brought in and that may be unloaded at all (glibc,
elf/dl-lookup.c, add_dependency). The notes stand in

    struct link_map_reldeps {unsigned int act; struct link_map *list[];} *l_reldeps;
    unsigned int l_reldepsmax;

right behind l_initfini, or behind l_init_called_next where a build has that in between. That one
is the link_map whose constructors were called before; Debian's 2.36 has it and leaves it zero.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Container, Mapping
from typing import Optional

from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_words
from gdbext.linker.loaded.modules import Linker

_MOST = 65536
_Words = tuple[int, int, int]
# by link_map; a module is not in it whose list cannot be read, or makes no sense
RelocationNeeds = Optional[Mapping[int, tuple[int, ...]]]


def read_relocation_needs(memory: Memory, linker: Linker) -> RelocationNeeds:
    """{link_map: the link_maps that relocation bound it to}; None where that is not recorded."""
    areas = _areas(linker)
    place = _locate(memory, areas, linker.by_map)
    if place is None:
        return None
    found: dict[int, tuple[int, ...]] = {}
    for address, words in areas.items():
        needs = _read_list(memory, words, place, linker.by_map)
        if needs is not None:
            found[address] = needs
    return found


def called_order(linker: Linker) -> tuple[int, ...]:
    """The link_maps in the order of their constructor calls, the last one first, by
    l_init_called_next; () unless that is there, is used, and is one sound list."""
    following = {at: words[0] for at, words in _areas(linker).items() if words[0] in linker.by_map}
    heads = set(following) - set(following.values())
    if len(heads) != 1:
        return ()
    order = [heads.pop()]
    while order[-1] in following and len(order) <= len(following):
        order.append(following[order[-1]])
    return tuple(order) if len(order) == len(following) + 1 else ()


def _areas(linker: Linker) -> dict[int, _Words]:
    """The three words behind l_initfini of each link_map."""
    return {
        m.map.address: m.private.behind_initfini
        for m in linker.modules
        if m.private is not None and m.private.behind_initfini is not None
    }


def _locate(memory: Memory, areas: Mapping[int, _Words], maps: Container[int]) -> int | None:
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
    memory: Memory, words: _Words, place: int, maps: Container[int]
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
