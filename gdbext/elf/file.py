"""An ELF file on disk: its image at bias 0, its sections, its full symbol table."""

from __future__ import annotations

import mmap
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import ClassVar, NamedTuple, Union

from gdbext.elf.image import PT_LOAD, Image, decode_header, decode_segments, read_image_by_segments
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.symbols import SymbolTable, sound_strings

_MOST_OPEN = 64  # files at a time
_MOST_ZEROS = 16 << 20  # no table that anybody looks up in a file is .bss
_SECTION_FIELDS = ("sh_type", "sh_flags", "sh_addr", "sh_offset", "sh_size", "sh_link")


class FileView:
    """The contents of a regular file, by slices; it is open only while it is in use.

    GDB aborts once it gets a file descriptor above FD_SETSIZE, 1024 (GDB 13.1, gdb_select): a
    program of 1,000 libraries must not take them all. Most files are read in a few places, for
    which pread(2) takes a third of the time of a mapping.
    """

    _opened: ClassVar[OrderedDict[int, int]] = OrderedDict()  # by id, the last used one last

    def __init__(self, path: str, descriptor: int, status: os.stat_result) -> None:
        self.path = path
        self._size = status.st_size
        self._identity = _identity(status)
        self._keep(descriptor)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, piece: slice) -> bytes:
        start, end, _ = piece.indices(self._size)
        opened, key = self._opened, id(self)
        descriptor = opened.get(key)
        if descriptor is None:
            descriptor = self._keep(self.open())
        elif next(reversed(opened)) != key:
            opened.move_to_end(key)
        return os.pread(descriptor, max(end - start, 0), start)

    def _keep(self, descriptor: int) -> int:
        opened = self._opened
        opened[id(self)] = descriptor
        while len(opened) > _MOST_OPEN:
            os.close(opened.popitem(last=False)[1])
        return descriptor

    def map(self) -> mmap.mmap:
        """A mapping of its own, for a file that is read all the time."""
        descriptor = self.open()
        try:
            return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise Problem(f"cannot map {self.path!r}: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def open(self) -> int:
        """A file descriptor of its own; raises Problem if another file has the path by now."""
        descriptor = _open(self.path)
        if _identity(os.fstat(descriptor)) != self._identity:
            os.close(descriptor)
            raise Problem(f"{self.path!r} was replaced while it was looked at")
        return descriptor

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # `os` may be gone first
        descriptor = self._opened.pop(id(self), None)
        if descriptor is not None:
            close(descriptor)


FileData = Union[FileView, mmap.mmap, bytes]  # all give bytes when sliced


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Section(NamedTuple):
    """Elf64_Shdr with its name; `type` is as in `SHT_NOBITS`, `address` a file address."""

    name: str
    type: str | int
    flags: int
    address: int
    offset: int
    size: int
    link: int


class FileMemory:
    """The PT_LOADs of a file, laid out at their virtual addresses.

    Past p_filesz a segment reads as zeros, as the kernel maps it.
    """

    def __init__(self, data: FileData, image_segments: tuple[tuple[int, ...], ...]) -> None:
        self._data = data
        self._loads = [s for s in image_segments if s[0] == PT_LOAD]

    def read(self, address: int, size: int) -> bytes:
        for _, _, offset, vaddr, _, filesz, memsz, _ in self._loads:
            if vaddr <= address and address + size <= vaddr + memsz:
                start = offset + address - vaddr
                data = self._data[start : max(start, min(start + size, offset + filesz))]
                if size - len(data) > _MOST_ZEROS:
                    break  # only a damaged file asks for that
                return bytes(data) + bytes(size - len(data))
        raise Unreadable(address, size, "is in no segment of the file")


@dataclass(frozen=True)
class ElfFile:
    """An open ELF file. `memory` reads it by virtual address, `data` by file offset."""

    path: str
    data: FileData
    image: Image
    memory: FileMemory

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """Every section; () without section headers or with damaged ones."""
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile

        data = self.data
        try:
            with open(data.open(), "rb") if isinstance(data, FileView) else BytesIO(data) as stream:
                found = list(ELFFile(stream).iter_sections())
        except (ELFError, OSError, OverflowError, ValueError):
            return ()  # what pyelftools raises for headers that point outside of the file
        return tuple(
            Section(s.name, *(s.header[field] for field in _SECTION_FIELDS)) for s in found
        )

    def symbols(self) -> SymbolTable | None:
        """The .symtab, None in a stripped file."""
        sections = self.sections
        for section in sections:
            if section.type == "SHT_SYMTAB" and section.link < len(sections):
                strings = sections[section.link]
                return SymbolTable(
                    self._bytes(section.offset, section.size),
                    sound_strings(self._bytes(strings.offset, strings.size)),
                )
        return None

    def _bytes(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + min(size, len(self.data))])


def map_file(path: str) -> FileView | bytes:
    """The contents of a regular file.

    Raises Problem for what is no regular file: opening a FIFO or a device could block for ever
    (GDB itself does, on a library that was loaded through /proc/self/fd).
    """
    descriptor = _open(path)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return FileView(path, descriptor, status)
    os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise Problem(f"{path!r} is not a regular file")
    return b""


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Problem(f"cannot open {path!r}: {reason}") from error


def open_elf(path: str) -> ElfFile:
    """Open an ELF file; raises Problem when it is missing, damaged or not 64-bit ELF."""
    return read_elf(path, map_file(path))


def read_elf(path: str, data: FileData) -> ElfFile:
    """The ELF file with these contents; raises Problem when it is damaged or not 64-bit ELF."""
    header = decode_header(bytes(data[:64]))
    table = bytes(data[header.phoff : header.phoff + header.phnum * 56])
    segments = decode_segments(table)
    memory = FileMemory(data, segments)
    return ElfFile(path, data, read_image_by_segments(memory, header, segments, 0), memory)
