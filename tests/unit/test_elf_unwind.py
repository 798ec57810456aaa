"""Function starts from .eh_frame_hdr."""

from __future__ import annotations

import struct

import pytest

from gdbext.elf.image import PT_GNU_EH_FRAME
from gdbext.elf.problem import Problem
from gdbext.elf.unwind import read_function_starts, start_of
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
