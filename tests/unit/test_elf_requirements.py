"""Required and defined versions; readelf judges those of real files."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbext.elf.file import open_elf
from gdbext.elf.problem import Unreadable
from gdbext.elf.requirements import Requirement, read_definitions, read_requirements
from tests.needs import readelf_versions
from tests.unit import crafted

DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM = (
    0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF,
)  # fmt: skip
STRINGS = b"\0libx.so\0X_1\0X_2\0liby.so\0Y_1\0"


@pytest.mark.parametrize("name", ["libc.so.6", "libm.so.6", "libstdc++.so.6", "libcrypto.so.3"])
def test_real_libraries(name: str) -> None:
    path = f"/usr/lib/x86_64-linux-gnu/{name}"
    file = open_elf(path)
    required, defined = readelf_versions(path)
    found = read_requirements(file.memory, file.image)
    assert {(r.file, r.version, r.weak) for r in found} == required
    assert len(found) == len(required) > 0
    assert set(read_definitions(file.memory, file.image) or ()) == defined
    assert defined


def test_a_program_defines_no_versions() -> None:
    file = open_elf("/usr/bin/perl")
    assert read_definitions(file.memory, file.image) is None
    assert read_requirements(file.memory, file.image)


def needs(count: int = 2, far: int = 48) -> bytes:
    """libx.so with X_1 and X_2 (weak), liby.so with Y_1."""
    first = struct.pack("<HHIII", 1, count, 1, 16, far)
    first += struct.pack("<IHHII", 0, 0, 2, 9, 16) + struct.pack("<IHHII", 0, 2, 3, 13, 0)
    return first + struct.pack("<HHIII", 1, 1, 17, 16, 0) + struct.pack("<IHHII", 0, 0, 4, 25, 0)


def made(data: bytes, number: int = 2) -> tuple[Requirement, ...]:
    parts = {crafted.DT_STRTAB: STRINGS, DT_VERNEED: data}
    elf = crafted.make_elf(parts, [(DT_VERNEEDNUM, number)])
    return read_requirements(*crafted.load(elf + bytes(4096)))


def test_made_up_requirements() -> None:
    x1, x2 = Requirement("libx.so", "X_1", False), Requirement("libx.so", "X_2", True)
    y1 = Requirement("liby.so", "Y_1", False)
    assert made(needs()) == (x1, x2, y1)
    assert made(needs(), 1) == (x1, x2)
    assert made(needs(count=1)) == (x1, y1)
    assert made(needs(count=65535)) == (x1, x2, y1)
    assert made(needs(far=0)) == (x1, x2)
    assert made(needs(far=1 << 31)) == (x1, x2)
    assert made(needs(), 0) == ()


@given(st.binary(min_size=20, max_size=200), st.integers(0, 1 << 40))
def test_damage_ends(data: bytes, number: int) -> None:
    for tag, count in ((DT_VERNEED, DT_VERNEEDNUM), (DT_VERDEF, DT_VERDEFNUM)):
        parts = {crafted.DT_STRTAB: STRINGS, tag: data}
        elf = crafted.make_elf(parts, [(count, number)])
        memory, image = crafted.load(elf + bytes(4096))
        try:
            read_requirements(memory, image)
            read_definitions(memory, image)
        except Unreadable:
            pass


def test_records_that_are_not_there() -> None:
    memory, image = crafted.load(crafted.make_elf({}, [(DT_VERNEEDNUM, 3), (DT_VERDEF, 1 << 40)]))
    assert read_requirements(memory, image) == ()
    assert read_definitions(memory, image) == ()
