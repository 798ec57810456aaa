"""What is left of unloaded libraries: freed link_maps, _dl_find_object's tables, records."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbext.elf.reader import BytesMemory
from gdbext.linker.loaded.linkmaps import LinkMap, Namespace
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.process.process import Region
from gdbext.linker.unloaded.findobject import search_find_object
from gdbext.linker.unloaded.freedmaps import (
    heap_areas,
    limited,
    search_freed_maps,
)
from gdbext.linker.unloaded.unloaded import MEMORY, NOTHING, MemorySearch, Unloaded, UnloadedSet
from tests.unit import got_process
from tests.unit.glibc import RELEASES, Release, expected_layout

HEAP, SIZE = 0x5555_5555_9000, 0x30000
START, END = 0x7FFF_F7FB_B000, 0x7FFF_F7FB_F018
RELEASE = RELEASES["deb12-x86-64"]


def freed(
    address: int,
    release: Release = RELEASE,
    name: bytes = b"libgone.so",
    block: int = 0x600,
    words: Mapping[int, int] = MappingProxyType({}),
) -> bytes:
    """The block of a link_map at `address` after free(), with WORDS by their places."""
    data = bytearray(block - 16)
    fields = {
        40: address,
        56: address + release.size,
        release.phdr: START + 64,
        release.phdr + 8: START,
        release.phdr + 16: 9,
        release.phdr + 112: 0x1A << 32,
        release.map_start: START,
        release.map_start + 8: END,
        release.scope + 24: 0xFE00,
        release.scope + 32: 12345,
        release.size: address + release.size + 40,
    }
    fields.update(words)
    for at, word in fields.items():
        struct.pack_into("<Q", data, at, word)
    data[release.size + 40 : release.size + 41 + len(name)] = name + b"\0"
    return bytes(data)


def heap(blocks: dict[int, bytes]) -> BytesMemory:
    data = bytearray(SIZE)
    for address, block in blocks.items():
        data[address - HEAP : address - HEAP + len(block)] = block
    return BytesMemory({HEAP: bytes(data)})


def linker(release: Release = RELEASE, live: tuple[int, ...] = ()) -> Linker:
    maps = tuple(LinkMap(a, 0, b"", 0, 0, 0) for a in live)
    spaces = (Namespace(0, 1, 0, 0, maps, ()),)
    return Linker(spaces, (), (), expected_layout(release), ())


AREA = [(HEAP, HEAP + SIZE)]


@pytest.mark.parametrize("name", RELEASES)
def test_a_freed_link_map_of_each_release(name: str) -> None:
    release = RELEASES[name]
    at = HEAP + 0x590
    found = search_freed_maps(heap({at: freed(at, release)}), linker(release), AREA)
    assert found == [
        Unloaded("libgone.so", START, END, None, MEMORY, False, (9, START), (0xFE00, 12345))
    ]


# Everywhere in a window of 64 KiB, over its border, and over that of a piece that is read at once.
@pytest.mark.parametrize(
    "at", [0x5555_5555_F000, 0x5555_5555_FFD0, 0x5555_5555_FFE0, 0x5555_5556_0000]
)
def test_wherever_it_lies(at: int) -> None:
    assert len(search_freed_maps(heap({at: freed(at)}), linker(), AREA)) == 1


def test_over_the_border_of_what_is_read_at_once() -> None:
    for at in range(HEAP + (1 << 20) - 64, HEAP + (1 << 20) + 16, 16):
        data = bytearray((1 << 20) + 0x1000)
        data[at - HEAP : at - HEAP + 0x5F0] = freed(at)
        area = [(HEAP, HEAP + len(data))]
        memory = BytesMemory({HEAP: bytes(data)})
        assert [u.start for u in search_freed_maps(memory, linker(), area)] == [START]


def test_a_gap_in_front_of_it() -> None:
    memory = heap({HEAP + 0x8590: freed(HEAP + 0x8590)})
    area = [(HEAP - 0x20000, HEAP + SIZE)]
    # HEAP is no border of a window, so a part of it goes with the gap
    assert [u.start for u in search_freed_maps(memory, linker(), area)] == [START]


@pytest.mark.parametrize("size", [0x4F0, 0x240, 0x80])  # less where its head is used again
def test_a_name_whose_end_is_lost(size: int) -> None:
    at = HEAP + 0x590
    block = bytearray(freed(at, name=b"libgone.so.1.2", block=RELEASE.size + 40 + 16 + 16))
    block[-8:] = struct.pack("<Q", size)  # free() wrote the size of the block
    (one,) = search_freed_maps(heap({at: bytes(block)}), linker(), AREA)
    assert (one.path, one.cut) == ("libgone.", True)


@pytest.mark.parametrize(
    "words",
    [
        {40: HEAP},
        {RELEASE.map_start: START + 8},
        {RELEASE.map_start + 8: START},
        {RELEASE.map_start + 8: START + (1 << 40)},
        {RELEASE.phdr: END + 8},
        {RELEASE.phdr + 16: 0},
        {RELEASE.phdr + 16: 9999},
        {RELEASE.phdr + 112: 0x39 << 32},
    ],
    ids=str,
)
def test_what_is_none(words: dict[int, int]) -> None:
    at = HEAP + 0x590
    assert search_freed_maps(heap({at: freed(at, words=words)}), linker(), AREA) == []


def test_a_link_map_in_use_and_a_linker_without_private_fields() -> None:
    at = HEAP + 0x590
    memory = heap({at: freed(at)})
    live = linker()
    live.__dict__["by_map"] = {at: None}
    assert search_freed_maps(memory, live, AREA) == []
    assert search_freed_maps(memory, Linker((), (), (), None, ()), AREA) == []


def test_a_name_in_a_block_of_others_is_not_told() -> None:
    at = HEAP + 0x590
    block = freed(at, words={RELEASE.size: HEAP + 0x20000})
    (one,) = search_freed_maps(heap({at: block}), linker(), AREA)
    assert (one.path, one.cut) == ("", True)


def test_find_objects_table() -> None:
    table = struct.pack("<8Q", START, START, 0, START + 0x2000, *([0] * 4))
    memory = heap({HEAP + 0x920: table})
    found = search_find_object(memory, linker(), AREA, START + 0x1109)
    assert found == Unloaded("", START, START + 0x2000, None, MEMORY, True)
    assert search_find_object(memory, linker(), AREA, START + 0x2000) is None
    assert search_find_object(memory, linker(), AREA, START - 1) is None
    used = struct.pack("<4Q", START, END, HEAP, START + 0x2000)
    assert search_find_object(heap({HEAP + 0x920: used}), linker(), AREA, START + 0x1109) is None


EMPTIED = struct.pack("<4Q", START, START, 0, START + 0x2000)


def test_data_behind_the_code_by_the_tables_other_copy() -> None:
    """Its link_map's head is another's by now, but not the name at its end."""
    at, own = HEAP + 0x1590, HEAP + 0x100
    rows = struct.pack("<8Q", START, END, at, START + 0x2000, START, END, at, START + 0x2008)
    name = struct.pack("<3Q", at + 0x400 + 24, 0, 1) + b"libgone.so\0"
    blocks = {HEAP + 0x920: EMPTIED, HEAP + 0x4000: rows, at + 0x400: name}
    live = replace(
        linker(),
        modules=(replace(got_process.places()[1].modules[1], map=LinkMap(own, 0, b"", 0, 0, 0)),),
    )
    blocks[own + 56] = struct.pack("<Q", own + 0x400)
    found = search_find_object(heap(blocks), live, AREA, END - 1)
    assert found == Unloaded("libgone.so", START, END, None, MEMORY, False)
    assert search_find_object(heap(blocks), live, AREA, END) is None
    del blocks[HEAP + 0x920]  # in use, as far as anything tells
    assert search_find_object(heap(blocks), live, AREA, END - 1) is None


def test_a_link_map_whose_head_is_lost() -> None:
    block = freed(HEAP + 0x590, words={40: 0})
    memory = heap({HEAP + 0x590: block, HEAP + 0x9008: EMPTIED})
    assert search_freed_maps(memory, linker(), AREA) == []
    found = search_find_object(memory, linker(), AREA, END - 1)
    assert found is not None
    assert (found.path, found.start, found.end, found.headers) == (
        "libgone.so", START, END, (9, START),
    )  # fmt: skip


def test_areas() -> None:
    regions = [
        Region(0x1000, 0x3000, 6, 0, None, None),
        Region(0x4000, 0x5000, 5, 0, None, None),
        Region(0x6000, 0x7000, 6, 0, "/lib/x.so", None),
        Region(0x8000, 0x9000, 6, 0, "[heap]", None),
        Region(0xA000, 0xB000, None, 0, None, None),
    ]
    assert heap_areas(regions, linker(live=(0x8010,)), 1 << 20) == [
        (0x8000, 0x9000), (0x1000, 0x3000),
    ]  # fmt: skip
    assert limited([(0, 16), (32, 64)], 24) == [(0, 16), (32, 40)]
    assert limited([(0, 16), (32, 64)], 0) == []
    assert limited([(32, 16)], 100) == []


def test_records_come_first_and_memory_is_asked_once() -> None:
    asked = []
    probable = Unloaded("guessed.so", START, END, None, MEMORY)
    nameless = Unloaded("", START, END, None, MEMORY, True)

    def search(address: int) -> list[Unloaded]:
        asked.append(address)
        return [nameless, probable]

    def none(library: Unloaded) -> tuple[Unloaded, None]:
        return library, None

    certain = [Unloaded("/old.so", START, END), Unloaded("/new.so", START, END)]
    known = UnloadedSet(certain, search, none, lambda _: None)
    ghost = known.at(START + 0x10)
    assert ghost is not None
    assert (ghost.library.path, ghost.offset, ghost.definition) == ("/new.so", 0x10, None)
    assert not asked
    known = UnloadedSet((), search, none, lambda _: None)
    for _ in range(2):
        ghost = known.at(START + 0x10)
        assert ghost is not None
        assert ghost.library is probable
    assert asked == [START]
    assert known.at(0x10000) is None
    assert known.at(1 << 60) is None
    assert NOTHING.at(START) is None


def test_the_table_is_asked_where_no_link_map_is_left() -> None:
    entry = Unloaded("", START, END, None, MEMORY, True)
    search = MemorySearch(list, lambda address: entry if address == START else None)
    assert search(START) == [entry]
    assert search(END + 0x10000) == []


@given(st.binary(min_size=0x600, max_size=0x600), st.integers(0, 200))
def test_any_bytes_give_libraries_in_range_or_none(noise: bytes, words: int) -> None:
    """A block that others own now: an l_real that points to itself, and anything else."""
    at = HEAP + 0x590
    block = bytearray(noise)
    kept = freed(at)
    block[40:48] = kept[40:48]
    block[8 * words : 8 * words + 400] = kept[8 * words : 8 * words + 400]
    for found in search_freed_maps(heap({at: bytes(block[:0x600])}), linker(), AREA):
        assert 0 < found.start < found.end < 1 << 56
        assert found.start % 4096 == 0
    row = struct.pack("<4Q", START, START, 0, START + 0x80)
    damaged = heap({at: bytes(block[:0x600]), HEAP + 0x20: row})
    search_find_object(damaged, linker(), AREA, START + 0x100)
