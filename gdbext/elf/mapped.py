"""What a core tells of the files that were mapped: their first pages and build-ids.

The kernel dumps the first page of each mapped ELF file even where it leaves out the rest (core(5),
bit 4 of coredump_filter, set by default), so that the build can be told without the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gdbext.elf.core import Core, MappedFile, decode_path
from gdbext.elf.file import ElfFile, FileData, read_elf
from gdbext.elf.image import (
    Image,
    decode_header,
    decode_segments,
    read_dynamic,
    same_dynamic,
)
from gdbext.elf.notes import read_build_id
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import PAGE, read_string

AT_PHDR, AT_PHNUM, AT_ENTRY, AT_EXECFN = 3, 5, 9, 31  # getauxval(3)
_SEGMENT_SIZE = 56


class Dumped:
    """Implements Memory: what a core holds, and nothing else."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def read(self, address: int, size: int) -> bytes:
        """The bytes; raises Unreadable where any of them is not in the core."""
        data = self._core.read(address, size)
        if data is None:
            raise Unreadable(address, size, "are not in the core")
        return data


class Mapped(NamedTuple):
    """A mapped file: where its first byte is or would be, its path, and its build-id where the
    core holds that."""

    start: int
    path: str
    build_id: str | None


def dumped_build_id(core: Core, start: int) -> str | None:
    """The build-id of the image whose ELF header is at `start`, if the core holds that much."""
    memory = Dumped(core)
    try:
        header = decode_header(memory.read(start, 64))
        table = memory.read(start + header.phoff, header.phnum * _SEGMENT_SIZE)
        segments = decode_segments(table)
    except Problem:
        return None
    first = next((s for s in segments if s.type == 1), None)
    if first is None:
        return None
    bias = start - (first.vaddr - first.offset)
    return read_build_id(memory, Image(header, segments, bias, (), None))


def mapped_programs(core: Core) -> Iterator[MappedFile]:
    """Each mapped file's first mapping, where that maps the file's first byte."""
    last = ""
    for file in core.files:
        if file.path != last and file.offset == 0:
            yield file
        last = file.path


def main_mapping(core: Core) -> Mapped | None:
    """What is mapped where the program headers are (AT_PHDR)."""
    phdr = core.auxv.get(AT_PHDR, 0)
    for file in core.files:
        if file.start <= phdr < file.end:
            start = file.start - file.offset
            return Mapped(start, file.path, dumped_build_id(core, start))
    return None


def execution_name(core: Core) -> str | None:
    """The name that the program was started by (AT_EXECFN), perhaps relative."""
    try:
        return decode_path(read_string(Dumped(core), core.auxv[AT_EXECFN])) or None
    except (KeyError, Unreadable):
        return None


def is_program(core: Core, main: Mapped | None, data: FileData) -> bool | None:
    """Whether these are the contents of the program that a core is of.

    By the build-id, else by the first page, else by the dynamic section (qemu-user dumps no more);
    None where the core holds none of these and the auxiliary vector does not contradict.
    """
    try:
        file = read_elf("", data)
    except Problem:
        return False
    own = read_build_id(file.memory, file.image)
    if main is not None and main.build_id is not None:
        return own == main.build_id
    page = bytes(data[:PAGE])
    dumped = core.read(main.start, len(page)) if main is not None and page else None
    if dumped is not None:
        return dumped == page
    header = file.image.header
    auxv = core.auxv
    if header.machine != core.machine or auxv.get(AT_PHNUM, header.phnum) != header.phnum:
        return False
    bias = auxv.get(AT_ENTRY, header.entry) - header.entry
    return False if bias % PAGE else _has_dynamic(core, file, bias)


def _has_dynamic(core: Core, file: ElfFile, bias: int) -> bool | None:
    own = file.image
    if own.dynamic_address is None:
        return None
    address = bias + own.dynamic_address
    try:
        entries = read_dynamic(Dumped(core), address, len(own.dynamic) + 1)
    except Unreadable:
        return None
    return same_dynamic(Image(own.header, own.segments, bias, entries, address), own)
