"""The link_map chain of every namespace, read through r_debug (glibc, include/link.h)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.elf.image import Image
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_string, read_word, read_words
from gdbext.elf.variables import read_variable

RT_CONSISTENT, RT_ADD, RT_DELETE = 0, 1, 2
STATES = ("consistent", "adding", "deleting")
_LONGEST_CHAIN = 100_000
_MOST_NAMESPACES = 256  # glibc's DL_NNS is 16
_LONGEST_NAME = 4096  # PATH_MAX


class LinkMap(NamedTuple):
    """The public part of struct link_map (SVR4); `l_name` is None where it cannot be read."""

    address: int
    l_addr: int
    l_name: bytes | None
    l_ld: int
    l_next: int
    l_prev: int


def read_entry(memory: Memory, address: int) -> LinkMap:
    """The entry at `address`; raises Unreadable, also where its name cannot be read."""
    l_addr, name, l_ld, following, previous = read_words(memory, address, 5)
    text = read_string(memory, name, _LONGEST_NAME) if name else b""
    return LinkMap(address, l_addr, text, l_ld, following, previous)


@dataclass(frozen=True)
class Namespace:
    """One r_debug and its chain; `damage` says what could not be read, in sentences."""

    index: int
    r_debug: int
    brk: int
    state: int
    maps: tuple[LinkMap, ...]
    damage: tuple[str, ...]


def read_namespaces(memory: Memory, r_debug: int, linker: Image | None) -> list[Namespace]:
    """Every namespace, base first; emptied ones are left out.

    `linker` is ld.so's image: before glibc 2.35 the other namespaces hang on no list, and are
    found in `_rtld_global`.
    """
    addresses = _next_list(memory, r_debug)
    if len(addresses) == 1 and linker is not None:
        addresses += _in_rtld_global(memory, linker, r_debug)
    namespaces = []
    for index, address in enumerate(addresses):
        try:
            _, r_map, brk, state, _ = read_words(memory, address, 5)
        except Unreadable:
            if index == 0:
                raise
            continue  # what was found in _rtld_global was no r_debug
        maps, damage = walk_chain(memory, r_map)
        if maps or damage:
            state &= 0xFFFFFFFF
            namespaces.append(Namespace(index, address, brk, state, maps, damage))
    return namespaces


def read_state(memory: Memory, r_debug: int) -> int:
    """r_state: RT_CONSISTENT, RT_ADD or RT_DELETE."""
    return read_word(memory, r_debug + 24) & 0xFFFFFFFF


def _next_list(memory: Memory, r_debug: int) -> list[int]:
    """r_debug_extended.r_next exists from r_version 2 on (glibc 2.35, elf/dl-debug.c)."""
    found = [r_debug]
    while len(found) < _MOST_NAMESPACES:
        try:
            if read_word(memory, found[-1]) & 0xFFFFFFFF < 2:
                break
            following = read_word(memory, found[-1] + 40)
            read_words(memory, following, 6) if following else None
        except Unreadable:
            break
        if not following or following in found:
            break
        found.append(following)
    return found


def _in_rtld_global(memory: Memory, linker: Image, r_debug: int) -> list[int]:
    """The r_debugs inside `_rtld_global._dl_ns[]`: each has the same r_brk as the first."""
    found = read_variable(memory, linker, b"_rtld_global")
    if found is None:
        return []  # the base namespace is all that is known
    brk = read_word(memory, r_debug + 16)
    start = found.address
    holders = [start + 8 * i - 16 for i, word in enumerate(found.words) if word == brk]
    return [a for a in holders if a != r_debug and a >= start]


def walk_chain(memory: Memory, first: int) -> tuple[tuple[LinkMap, ...], tuple[str, ...]]:
    """The chain from `first` on, and sentences about where it is broken."""
    maps: list[LinkMap] = []
    damage: list[str] = []
    seen: set[int] = set()
    address = first
    while address:
        if address in seen:
            damage.append(
                f"the link_map chain loops back to {address:#x} after {len(maps)} entries"
            )
            break
        if len(maps) >= _LONGEST_CHAIN:
            damage.append(f"the link_map chain has more than {_LONGEST_CHAIN} entries")
            break
        seen.add(address)
        try:
            l_addr, name_at, l_ld, following, previous = read_words(memory, address, 5)
        except Unreadable:
            after = f"entry {len(maps)}" if maps else "r_debug"
            damage.append(f"the link_map at {address:#x} (after {after}) cannot be read")
            break
        if previous != (maps[-1].address if maps else 0):
            damage.append(
                f"the link_map at {address:#x} is damaged: its l_prev is {previous:#x}, "
                f"not the entry before it"
            )
            break
        name: bytes | None = None
        try:
            name = read_string(memory, name_at, _LONGEST_NAME) if name_at else b""
        except Unreadable:
            damage.append(f"the name of the link_map at {address:#x} cannot be read")
        maps.append(LinkMap(address, l_addr, name, l_ld, following, previous))
        address = following
    return tuple(maps), tuple(damage)


def addresses(namespaces: Sequence[Namespace]) -> set[int]:
    """The address of every link_map of every namespace."""
    return {m.address for namespace in namespaces for m in namespace.maps}
