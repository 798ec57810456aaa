"""What stands at relocated places, read in as few steps as there are segments."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from gdbext.elf.image import Image
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory


def read_values(memory: Memory, image: Image, offsets: Sequence[int]) -> list[int | None]:
    """The word at each of `offsets`, file addresses in order, read in one go for each segment."""
    values: list[int | None] = []
    for segment in sorted(image.loads, key=lambda s: s.vaddr):
        first = bisect_left(offsets, segment.vaddr, len(values))
        values += [None] * (first - len(values))
        last = bisect_right(offsets, segment.vaddr + segment.memsz - 8, first)
        values += _read_run(memory, image, offsets[first:last])
    return values + [None] * (len(offsets) - len(values))


def _read_run(memory: Memory, image: Image, run: Sequence[int]) -> list[int | None]:
    if not run:
        return []
    first = run[0]
    try:
        data = memory.read(image.bias + first, run[-1] + 8 - first)
    except Unreadable:
        if len(run) == 1:
            return [None]
        half = len(run) // 2
        return _read_run(memory, image, run[:half]) + _read_run(memory, image, run[half:])
    unpack = struct.Struct("<Q").unpack_from
    return [unpack(data, offset - first)[0] for offset in run]
