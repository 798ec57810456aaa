"""Relocations and symbol versions: readelf judges the real ones, hand-made tables the odd ones."""

from __future__ import annotations

import struct

import pytest

from gdbext.elf.arch import ARCHES
from gdbext.elf.file import open_elf
from gdbext.elf.image import (
    DT_JMPREL,
    DT_PLTREL,
    DT_PLTRELSZ,
    DT_RELA,
    DT_RELACOUNT,
    DT_RELASZ,
    DT_VERDEF,
    DT_VERDEFNUM,
    DT_VERNEED,
    DT_VERNEEDNUM,
    DT_VERSYM,
)
from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory
from gdbext.elf.relocations import read_relocations
from gdbext.elf.symbols import read_dynamic_symbols
from gdbext.elf.versions import NO_VERSIONS, read_versions
from tests.oracles import Slot, readelf_slots
from tests.unit import crafted, samples
from tests.unit.crafted import rela

IGNORED = ("_RELATIVE", "RELR", "_NONE")  # what leads to no other module
Row = tuple[int, str, str, str, int]


@pytest.mark.usefixtures("built")
def test_relocations_are_those_of_readelf() -> None:
    kinds = {arch.machine: arch.relocations for arch in ARCHES}
    total = 0
    for path in samples.all_files():
        file = open_elf(str(path))
        if not file.image.dynamic:
            continue
        listed = readelf_slots(samples.judge(path), dynamic=False)
        theirs = {row(slot) for slot in listed if not slot.type.endswith(IGNORED)}
        table = read_dynamic_symbols(file.memory, file.image)
        versions = read_versions(file.memory, file.image, table.count, table.strings)
        known = kinds[file.image.header.machine]
        ours = set()
        for entry in read_relocations(file.memory, file.image):
            kind, name = known[entry.type] if entry.type else ("RELATIVE", "")
            symbol = table.entry(entry.symbol) if entry.symbol else None
            text = table.name(entry.symbol) if symbol else ""
            version = versions.of(entry.symbol) or "" if symbol else ""
            if kind != "RELATIVE":
                ours.add((entry.offset, name, text, version, entry.addend))
        assert ours == theirs, path
        total += len(ours)
    assert total > 10_000


def row(slot: Slot) -> Row:
    # binutils call AAELF64's R_AARCH64_TLS_DTPMOD, _DTPREL and _TPREL by older names
    name = slot.type[:-2] if slot.type.startswith("R_AARCH64_TLS_") else slot.type
    return slot.offset, name, slot.symbol, slot.version, slot.addend


@pytest.mark.usefixtures("built")
def test_the_plt_index_is_the_place_in_the_plt_table() -> None:
    for path in samples.built()[::5]:
        file = open_elf(str(path))
        entries = read_relocations(file.memory, file.image)
        numbers = [e.plt_index for e in entries if e.plt_index is not None]
        assert numbers == list(range((file.image.value(DT_PLTRELSZ) or 0) // 24))


A, B, C, D = (rela(0x100 * n, 8 if n < 2 else 6, n) for n in range(4))


def offsets(data: bytes) -> list[tuple[int, int | None]]:
    memory, image = crafted.load(data)
    found = read_relocations(WatchedMemory(memory), image)
    return [(r.offset, r.plt_index) for r in found]


def with_tables(rela_size: int, plt_at: int, plt_size: int, *more: tuple[int, int]) -> bytes:
    """DT_RELA over A, B, C and D; DT_JMPREL at a byte offset in the same table."""
    table = {DT_RELA: A + B + C + D}
    values = [(DT_RELASZ, rela_size), (DT_PLTRELSZ, plt_size), (DT_PLTREL, DT_RELA), *more]
    probe = crafted.make_elf(table, [*values, (DT_JMPREL, 0)])
    _, image = crafted.load(probe)
    at = image.value(DT_RELA) or 0
    return crafted.make_elf(table, [*values, (DT_JMPREL, at + plt_at)])


@pytest.mark.parametrize(
    ("rela_size", "plt_at", "plt_size", "count", "found"),
    [
        (48, 48, 48, 0, [(0, None), (0x100, None), (0x200, 0), (0x300, 1)]),
        (96, 48, 48, 0, [(0, None), (0x100, None), (0x200, 0), (0x300, 1)]),  # counted twice
        (96, 48, 48, 2, [(0x200, 0), (0x300, 1)]),
        (96, 0, 96, 0, [(0, 0), (0x100, 1), (0x200, 2), (0x300, 3)]),  # all of it is the PLT's
        (96, 0, 96, 4, [(0, 0), (0x100, 1), (0x200, 2), (0x300, 3)]),
        (48, 48, 48, 1 << 40, [(0x200, 0), (0x300, 1)]),  # more than there are
        (48, 48, 0, 0, [(0, None), (0x100, None)]),
        (0, 48, 48, 0, [(0x200, 0), (0x300, 1)]),
        (0, 48, 48, 9, [(0x200, 0), (0x300, 1)]),
        (24, 0, 96, 0, [(0, None), (0, 0), (0x100, 1), (0x200, 2), (0x300, 3)]),
        (50, 48, 47, 0, [(0, None), (0x100, None), (0x200, 0)]),  # sizes of no whole entries
    ],
)
def test_tables_that_overlap(
    rela_size: int, plt_at: int, plt_size: int, count: int, found: list[tuple[int, int | None]]
) -> None:
    assert offsets(with_tables(rela_size, plt_at, plt_size, (DT_RELACOUNT, count))) == found


def test_fields_of_an_entry() -> None:
    data = crafted.make_elf({DT_RELA: rela(0x1234, 37, 0xFFFFFFFF, -8)}, [(DT_RELASZ, 24)])
    memory, image = crafted.load(data)
    assert read_relocations(memory, image) == [(0x1234, 37, 0xFFFFFFFF, -8, None)]


def test_absent_and_impossible_tables() -> None:
    assert offsets(crafted.make_elf()) == []
    assert offsets(crafted.make_elf({DT_RELA: A})) == []  # no DT_RELASZ
    with pytest.raises(Problem, match="REL relocations"):
        offsets(crafted.make_elf({DT_JMPREL: A}, [(DT_PLTRELSZ, 24), (DT_PLTREL, 17)]))
    for size in (1 << 20, 1 << 63):
        with pytest.raises(Problem, match="past their segment"):
            offsets(crafted.make_elf({DT_RELA: A}, [(DT_RELASZ, size)]))
        with pytest.raises(Problem, match=r"past their segment|cannot be read"):
            offsets(crafted.make_elf({DT_RELA: A}, [(DT_RELASZ, size)], tail=1 << 62))


STRINGS = b"\0V1\0V2\0libx.so\0"


def verdef(flags: int, index: int, name: int, following: int) -> bytes:
    return struct.pack("<HHHHIIIII", 1, flags, index, 1, 0, 20, following, name, 0)


def verneed(count: int, following: int) -> bytes:
    return struct.pack("<HHIII", 1, count, 7, 16, following)


def vernaux(index: int, name: int, following: int) -> bytes:
    return struct.pack("<IHHII", 0, 0, index, name, following)


def test_versions() -> None:
    parts = {
        DT_VERSYM: struct.pack("<6H", 0, 1, 2, 0x8002, 3, 4),
        DT_VERDEF: verdef(1, 1, 7, 28) + verdef(0, 2, 1, 28) + verdef(0, 0x8003, 4, 0),
        DT_VERNEED: verneed(1, 0) + vernaux(0x8004, 1, 0),
    }
    memory, image = crafted.load(crafted.make_elf(parts, [(DT_VERDEFNUM, 3), (DT_VERNEEDNUM, 1)]))
    versions = read_versions(memory, image, 6, STRINGS)
    assert [versions.of(n) for n in range(8)] == [None, None, "V1", "V1", "V2", "V1", None, None]
    assert versions.files == {4: "libx.so"}
    assert read_versions(memory, image, 1 << 40, STRINGS) is NO_VERSIONS
    assert read_versions(*crafted.load(crafted.make_elf()), 6, STRINGS) is NO_VERSIONS


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        # counts and lists that run on, back and out
        ({DT_VERDEF: verdef(0, 2, 1, 28) + verdef(0, 3, 4, 1 << 20)}, {2: "V1", 3: "V2"}),
        ({DT_VERDEF: verdef(0, 2, 1, 0) + verdef(0, 3, 4, 0)}, {2: "V1"}),
        ({DT_VERNEED: verneed(9, 0) + vernaux(2, 1, 16) + vernaux(3, 4, 0)}, {2: "V1", 3: "V2"}),
        ({DT_VERNEED: verneed(9, 0) + vernaux(2, 1, 1 << 30)}, {2: "V1"}),
    ],
)
def test_damaged_version_tables(parts: dict[int, bytes], names: dict[int, str]) -> None:
    values = [(DT_VERDEFNUM, 1 << 60), (DT_VERNEEDNUM, 1 << 60)]
    memory, image = crafted.load(crafted.make_elf({DT_VERSYM: bytes(12), **parts}, values))
    assert read_versions(memory, image, 6, STRINGS).names == names


def test_a_version_table_of_billions_of_records_ends_soon() -> None:
    # each of 4,000 records says that it has 65,535 names, which are the records behind it
    table = struct.pack("<HHIII", 1, 0xFFFF, 7, 16, 16) * 4000
    values = [(DT_VERNEEDNUM, 1 << 16)]
    memory, image = crafted.load(crafted.make_elf({DT_VERSYM: bytes(2), DT_VERNEED: table}, values))
    watched = WatchedMemory(memory)
    read_versions(watched, image, 1, STRINGS)
    assert 4000 < watched.reads < 200_000


class WatchedMemory:
    """Counts reads, and takes no absurd ones."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.reads = 0

    def read(self, address: int, size: int) -> bytes:
        assert size >= 0
        self.reads += 1
        return self.memory.read(address, size)
