"""The constructors and destructors of a library that may not be relocated yet.

Up to glibc 2.36 a debugger hears of a library before ld.so relocates it, so DT_INIT_ARRAY still
holds what the file has; the addresses are in the RELATIVE relocations (gABI, Initialization and
Termination Functions). The compiler's own start files are left out.
"""

from __future__ import annotations

import struct

from gdbext.elf.arch import ARCHES, RELATIVE
from gdbext.elf.image import (
    DT_FINI,
    DT_FINI_ARRAY,
    DT_FINI_ARRAYSZ,
    DT_INIT,
    DT_INIT_ARRAY,
    DT_INIT_ARRAYSZ,
    DT_RELA,
    DT_RELASZ,
    LARGEST_TABLE,
    Image,
)
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_words
from gdbext.elf.relocations import RELA_SIZE
from gdbext.linker.init.startfiles import start_files

_MOST = 4096


def functions_to_call(memory: Memory, image: Image) -> tuple[list[int], list[int]]:
    """(constructors, destructors), each in the order of the calls; what cannot be read is left
    out."""
    relative = _relative(memory, image)
    init = _array(memory, image, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, relative)
    fini = _array(memory, image, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, relative)
    single = {
        kind: tuple(image.bias + v for v in (image.value(tag),) if v)
        for kind, tag in (("init", DT_INIT), ("fini", DT_FINI))
    }
    entries = {**single, "init_array": tuple(init), "fini_array": tuple(fini)}
    own = start_files(memory, image, entries)
    first = [a for a in (*single["init"], *init) if a not in own and image.load_at(a)]
    last = [a for a in (*fini[::-1], *single["fini"]) if a not in own and image.load_at(a)]
    return first, last


def _relative(memory: Memory, image: Image) -> dict[int, int]:
    """{file address: addend} of the RELATIVE relocations."""
    at, size = image.pointer(DT_RELA), image.value(DT_RELASZ) or 0
    arch = next((a for a in ARCHES if a.machine == image.header.machine), None)
    if at is None or arch is None or size > min(image.room(at), LARGEST_TABLE):
        return {}
    kinds = {number for number, (kind, _) in arch.relocations.items() if kind == RELATIVE}
    try:
        data = memory.read(at, size // RELA_SIZE * RELA_SIZE)
    except Unreadable:
        return {}
    rows = struct.iter_unpack("<QIIq", data)
    return {offset: addend for offset, kind, _, addend in rows if kind in kinds}


def _array(
    memory: Memory, image: Image, tag: int, size_tag: int, relative: dict[int, int]
) -> list[int]:
    start, size = image.value(tag), image.value(size_tag)
    if start is None or not size:
        return []
    count = min(size // 8, _MOST, image.room(image.bias + start) // 8)
    try:
        words = read_words(memory, image.bias + start, count)
    except Unreadable:
        return []
    found = []
    for index, word in enumerate(words):
        addend = relative.get(start + 8 * index)
        inside = image.start <= word < image.end  # relocated already, or by RELR's place alone
        value = image.bias + addend if addend is not None else word if inside else image.bias + word
        found.append(value)
    return found
