"""What stands at relocated places, read in as few steps as there are segments."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from gdbext.elf.image import Image
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory
from gdbext.elf.relocations import Relocation


def read_values(
    memory: Memory, image: Image, relocations: Sequence[Relocation]
) -> list[int | None]:
    """The word at each relocated place, read in one go for each segment."""
    values: list[int | None] = []
    at = 0
    for segment in sorted(image.loads, key=lambda s: s.vaddr):
        while at < len(relocations) and relocations[at].offset < segment.vaddr:
            values.append(None)
            at += 1
        end = segment.vaddr + segment.memsz
        last = at
        while last < len(relocations) and relocations[last].offset + 8 <= end:
            last += 1
        values.extend(_read_run(memory, image, relocations[at:last]))
        at = last
    values.extend([None] * (len(relocations) - at))
    return values


def _read_run(memory: Memory, image: Image, run: Sequence[Relocation]) -> list[int | None]:
    if not run:
        return []
    first = run[0].offset
    try:
        data = memory.read(image.bias + first, run[-1].offset + 8 - first)
    except Unreadable:
        if len(run) == 1:
            return [None]
        half = len(run) // 2
        return _read_run(memory, image, run[:half]) + _read_run(memory, image, run[half:])
    unpack = struct.Struct("<Q").unpack_from
    return [unpack(data, r.offset - first)[0] for r in run]
