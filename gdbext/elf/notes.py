"""Notes: the build-id of an image, and the raw notes of a core."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from gdbext.elf.image import PT_NOTE, Image
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory

NT_GNU_BUILD_ID = 3
_LARGEST_IMAGE_NOTE = 1 << 16  # notes of an image are some hundred bytes


class Note(NamedTuple):
    """One ELF note."""

    owner: bytes
    type: int
    data: bytes


def decode_notes(data: bytes, align: int = 4) -> Iterator[Note]:
    """Decode a PT_NOTE segment; stops at the first note that runs past the end."""
    # gABI asks for 8 in 64-bit files; everybody but NT_GNU_PROPERTY_TYPE_0 uses 4.
    align = 8 if align == 8 else 4
    at = 0
    while at + 12 <= len(data):
        owner_size, size, kind = struct.unpack_from("<III", data, at)
        owner_at = at + 12
        data_at = -(-(owner_at + owner_size) // align) * align
        if data_at + size > len(data):
            return
        owner = data[owner_at : owner_at + owner_size].rstrip(b"\0")
        yield Note(owner, kind, data[data_at : data_at + size])
        at = data_at + -(-size // align) * align


def _segments(memory: Memory, image: Image) -> Iterator[tuple[int, bytes, int]]:
    """(address, bytes, alignment) of each PT_NOTE segment that can be read and is not too large."""
    for segment in image.segments:
        if segment.type != PT_NOTE or segment.memsz > _LARGEST_IMAGE_NOTE:
            continue
        address = image.bias + segment.vaddr
        try:
            yield address, memory.read(address, segment.memsz), segment.align
        except Unreadable:
            continue


def image_notes(memory: Memory, image: Image) -> Iterator[Note]:
    """The notes of an image; a segment that is too large or cannot be read gives none."""
    for _, data, align in _segments(memory, image):
        yield from decode_notes(data, align)


def read_build_id(memory: Memory, image: Image) -> str | None:
    """The GNU build-id in hexadecimal digits; None when there is none or it cannot be read."""
    return next((n.data.hex() for n in image_notes(memory, image) if _is_build_id(n)), None)


def find_build_id(memory: Memory, image: Image) -> tuple[int, bytes] | None:
    """(address, bytes) of the PT_NOTE segment that has the GNU build-id; None as above."""
    for address, data, align in _segments(memory, image):
        if any(_is_build_id(note) for note in decode_notes(data, align)):
            return address, data
    return None


def _is_build_id(note: Note) -> bool:
    return note.owner == b"GNU" and note.type == NT_GNU_BUILD_ID
