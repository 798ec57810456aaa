"""Function starts from .eh_frame_hdr."""

from __future__ import annotations

import struct

import pytest

from gdbext.elf.image import PT_GNU_EH_FRAME
from gdbext.elf.problem import Problem
from gdbext.elf.unwind import Function, Functions, read_function_starts, start_of
from tests.unit import crafted

TAG = 0x6FFFF000  # any dynamic tag will do: make_elf() places the bytes for it
BASE = 0x10000


def starts(table: bytes, size: int | None = None) -> tuple[int, ...]:
    """What is read where `table` is the segment, in an image at BASE."""
    at = 64 + 56 * 4
    part = crafted.segment(PT_GNU_EH_FRAME, at, len(table) if size is None else size, 4)
    memory, image = crafted.load(crafted.make_elf({TAG: table}, segments=[part]), BASE)
    return read_function_starts(memory, image)


def table(offsets: list[int], count: int | None = None, encoding: int = 0x3B) -> bytes:
    rows = b"".join(struct.pack("<ii", offset, 0) for offset in offsets)
    number = len(offsets) if count is None else count
    return struct.pack("<4BiI", 1, 0x1B, 3, encoding, 0, number) + rows


def test_sorted_addresses() -> None:
    at = BASE + 64 + 56 * 4
    assert starts(table([-0x40, 0x20, 0x10])) == (at - 0x40, at + 0x10, at + 0x20)


def test_other_encodings_are_left_alone() -> None:
    assert starts(table([1], encoding=0x1B)) == ()
    assert starts(b"\1") == ()


def test_damaged_count() -> None:
    with pytest.raises(Problem, match="damaged"):
        starts(table([1], count=1 << 30))


def test_start_of() -> None:
    assert [start_of((10, 20), each) for each in (9, 10, 19, 20, 99)] == [None, 10, 10, 20, 20]


def described(length: int, begin: int, size: int) -> Functions:
    """An image whose only function, 0x100 behind the table, has this description behind it."""
    at = 64 + 56 * 4
    head = struct.pack("<4BiI", 1, 0x1B, 3, 0x3B, 0, 1)
    entry = len(head) + 8
    rows = struct.pack("<ii", 0x100, entry)
    description = struct.pack("<IIiI", length, 0x14, begin - (entry + 8), size)
    data = head + rows + description
    part = crafted.segment(PT_GNU_EH_FRAME, at, len(data), 4)
    memory, image = crafted.load(crafted.make_elf({TAG: data}, segments=[part]), BASE)
    return Functions(memory, image)


def test_functions_end_where_their_description_says() -> None:
    start = BASE + 64 + 56 * 4 + 0x100
    found = described(0x10, 0x100, 0x20)
    assert found.find(start - 1) is None
    assert found.find(start) == found.find(start + 0x1F) == Function(start, start + 0x20)
    assert found.find(start + 0x20) is None, "code behind it may have no description"


@pytest.mark.parametrize(("length", "begin"), [(4, 0x100), (0xFFFFFFFF, 0x100), (0x10, 0x104)])
def test_a_description_of_another_form_gives_no_end(length: int, begin: int) -> None:
    start = BASE + 64 + 56 * 4 + 0x100
    assert described(length, begin, 0x20).find(start + 0x40) == Function(start, None)


def test_functions_of_a_damaged_table() -> None:
    part = crafted.segment(PT_GNU_EH_FRAME, 64 + 56 * 4, 20, 4)
    data = crafted.make_elf({TAG: table([1], count=1 << 30)}, segments=[part])
    assert Functions(*crafted.load(data, BASE)).find(BASE) is None
