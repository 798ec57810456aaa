"""Where functions start, by .eh_frame_hdr: stripped files have it too, and it is in memory."""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import NamedTuple

from gdbext.elf.image import LARGEST_TABLE, PT_GNU_EH_FRAME, Image
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory

# Linux Standard Base, Core, 10.6.2: version, the encodings of three fields, a pointer, a count.
# Every linker writes these: DW_EH_PE_pcrel|sdata4, udata4, datarel|sdata4.
_HEADER = struct.Struct("<4BiI")
_ENCODINGS = (1, 0x1B, 0x03, 0x3B)
_ENTRY = struct.Struct("<ii")


_DESCRIPTION = struct.Struct("<IIiI")  # .eh_frame: length, CIE, where it begins, its size


class Function(NamedTuple):
    """Where a function starts and ends; `end` is None where that is not known."""

    start: int
    end: int | None


class Functions:
    """The functions of one image by its unwind tables; none where they cannot be read."""

    def __init__(self, memory: Memory, image: Image) -> None:
        self._memory = memory
        try:
            self._entries = _read_table(memory, image)
        except Problem:
            self._entries = []
        self._starts = [start for start, _ in self._entries]

    def find(self, address: int) -> Function | None:
        """The function that holds `address`; None where nobody tells.

        Its end is by its own entry, since code that has none may follow it.
        """
        place = bisect_right(self._starts, address) - 1
        if place < 0:
            return None
        start, entry = self._entries[place]
        end = self._end(start, entry)
        return None if end is not None and address >= end else Function(start, end)

    def _end(self, start: int, entry: int) -> int | None:
        """By a frame description entry of the usual form: 32 bits, relative to the place itself."""
        try:
            length, _, begin, size = _DESCRIPTION.unpack(self._memory.read(entry, 16))
        except Unreadable:
            return None
        usual = 12 <= length < 0xFFFFFFFF and entry + 8 + begin == start
        return start + size if usual else None


def read_function_starts(memory: Memory, image: Image) -> tuple[int, ...]:
    """The addresses at which the functions of an image start, sorted.

    () where it has no table of the usual form. Functions without unwind information, such as
    crti.o's `_init`, are missing. Raises Problem.
    """
    return tuple(start for start, _ in _read_table(memory, image))


def _read_table(memory: Memory, image: Image) -> list[tuple[int, int]]:
    """(start of a function, address of its description), sorted. Raises Problem."""
    segment = image.segment(PT_GNU_EH_FRAME)
    if segment is None or segment.memsz < _HEADER.size:
        return []
    start = image.bias + segment.vaddr
    *encodings, _, count = _HEADER.unpack(memory.read(start, _HEADER.size))
    if tuple(encodings) != _ENCODINGS:
        return []
    size = count * _ENTRY.size
    if size > min(segment.memsz - _HEADER.size, LARGEST_TABLE):
        raise Problem(f"damaged .eh_frame_hdr: {count} entries in {segment.memsz} bytes")
    data = memory.read(start + _HEADER.size, size)
    return sorted((start + a, start + b) for a, b in _ENTRY.iter_unpack(data))


def start_of(starts: tuple[int, ...], address: int) -> int | None:
    """The last of `starts` that is not behind `address`."""
    place = bisect_right(starts, address)
    return starts[place - 1] if place else None
