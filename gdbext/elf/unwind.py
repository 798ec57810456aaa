"""Where functions start, by .eh_frame_hdr: stripped files have it too, and it is in memory."""

from __future__ import annotations

import struct
from bisect import bisect_right

from gdbext.elf.image import LARGEST_TABLE, PT_GNU_EH_FRAME, Image
from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory

# Linux Standard Base, Core, 10.6.2: version, the encodings of three fields, a pointer, a count.
# Every linker writes these: DW_EH_PE_pcrel|sdata4, udata4, datarel|sdata4.
_HEADER = struct.Struct("<4BiI")
_ENCODINGS = (1, 0x1B, 0x03, 0x3B)
_ENTRY = struct.Struct("<ii")


def read_function_starts(memory: Memory, image: Image) -> tuple[int, ...]:
    """The addresses at which the functions of an image start, sorted.

    () where it has no table of the usual form. Functions without unwind information, such as
    crti.o's `_init`, are missing. Raises Unreadable.
    """
    segment = image.segment(PT_GNU_EH_FRAME)
    if segment is None or segment.memsz < _HEADER.size:
        return ()
    start = image.bias + segment.vaddr
    *encodings, _, count = _HEADER.unpack(memory.read(start, _HEADER.size))
    if tuple(encodings) != _ENCODINGS:
        return ()
    size = count * _ENTRY.size
    if size > min(segment.memsz - _HEADER.size, LARGEST_TABLE):
        raise Problem(f"damaged .eh_frame_hdr: {count} entries in {segment.memsz} bytes")
    data = memory.read(start + _HEADER.size, size)
    return tuple(sorted(start + offset for offset, _ in _ENTRY.iter_unpack(data)))


def start_of(starts: tuple[int, ...], address: int) -> int | None:
    """The last of `starts` that is not behind `address`."""
    place = bisect_right(starts, address)
    return starts[place - 1] if place else None
