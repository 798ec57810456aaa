"""Which versions an image requires from which files, and which it defines.

Elf64_Verneed and Elf64_Verdef records (LSB core, symbol versioning), by name; versions.py has
the version of each symbol.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from gdbext.elf.core import decode_path
from gdbext.elf.image import (
    DT_STRTAB,
    DT_VERDEF,
    DT_VERDEFNUM,
    DT_VERNEED,
    DT_VERNEEDNUM,
    Image,
)
from gdbext.elf.reader import Memory, read_string
from gdbext.elf.versions import VER_FLG_BASE

VER_FLG_WEAK = 2
_MOST_RECORDS = 65536  # a version index has 15 bits


class Requirement(NamedTuple):
    """One required version: `file` is the DT_NEEDED name that it is wanted from."""

    file: str
    version: str
    weak: bool


def read_requirements(memory: Memory, image: Image) -> tuple[Requirement, ...]:
    """The required versions, in the order of DT_VERNEED. Raises Unreadable."""
    found: list[Requirement] = []
    # version, cnt: u16; file, aux, next: u32
    for at, fields in _records(memory, image, DT_VERNEED, DT_VERNEEDNUM, "<HHIII"):
        _, count, file, aux, _ = fields
        name = _string(memory, image, file)
        aux_at = at + aux
        for _ in range(min(count, _MOST_RECORDS - len(found))):
            if image.room(aux_at) < 16:
                break
            # hash: u32; flags, other: u16; name, next: u32
            _, flags, _, text, after = struct.unpack("<IHHII", memory.read(aux_at, 16))
            version = _string(memory, image, text)
            found.append(Requirement(name, version, bool(flags & VER_FLG_WEAK)))
            if not after:
                break
            aux_at += after
    return tuple(found)


def read_definitions(memory: Memory, image: Image) -> tuple[str, ...] | None:
    """The names of the defined versions, the base excepted; None without DT_VERDEF.

    Raises Unreadable.
    """
    if image.value(DT_VERDEF) is None:
        return None
    found: list[str] = []
    # version, flags, ndx, cnt: u16; hash, aux, next: u32
    for at, fields in _records(memory, image, DT_VERDEF, DT_VERDEFNUM, "<HHHHIII"):
        _, flags, _, _, _, aux, _ = fields
        if not flags & VER_FLG_BASE and image.room(at + aux) >= 8:
            (text,) = struct.unpack("<I", memory.read(at + aux, 4))
            found.append(_string(memory, image, text))
    return tuple(found)


def _records(
    memory: Memory, image: Image, tag: int, count_tag: int, form: str
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(address, fields) of each record of a chain; the last field is the way to the next one."""
    size = struct.calcsize(form)
    at = image.pointer(tag)
    for _ in range(min(image.value(count_tag) or 0, _MOST_RECORDS)):
        if at is None or image.room(at) < size:
            return
        fields = struct.unpack(form, memory.read(at, size))
        yield at, fields
        if not fields[-1]:
            return
        at += fields[-1]


def _string(memory: Memory, image: Image, offset: int) -> str:
    strings = image.pointer(DT_STRTAB)
    if strings is None or image.room(strings + offset) == 0:
        return ""
    return decode_path(read_string(memory, strings + offset))
