"""One ELF image: its header, program headers and dynamic section, from memory or from a file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from gdbext.elf.problem import Problem
from gdbext.elf.reader import PAGE, Memory

# gABI chapters 4 and 5; the GNU values are from binutils' include/elf/common.h
ET_EXEC, ET_DYN, ET_CORE = 2, 3, 4
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_PHDR, PT_TLS = 1, 2, 3, 4, 6, 7
PT_GNU_EH_FRAME, PT_GNU_STACK, PT_GNU_RELRO = 0x6474E550, 0x6474E551, 0x6474E552
PF_X, PF_W, PF_R = 1, 2, 4

DT_INIT, DT_FINI, DT_INIT_ARRAY, DT_FINI_ARRAY = 12, 13, 25, 26
DT_INIT_ARRAYSZ, DT_FINI_ARRAYSZ, DT_PREINIT_ARRAY, DT_PREINIT_ARRAYSZ = 27, 28, 32, 33
DT_NEEDED, DT_PLTRELSZ, DT_PLTGOT, DT_HASH, DT_STRTAB, DT_SYMTAB = 1, 2, 3, 4, 5, 6
DT_RELA, DT_RELASZ, DT_STRSZ, DT_SONAME, DT_RPATH, DT_SYMBOLIC = 7, 8, 10, 14, 15, 16
DT_PLTREL, DT_DEBUG, DT_JMPREL, DT_BIND_NOW, DT_RUNPATH, DT_FLAGS = 20, 21, 23, 24, 29, 30
DT_GNU_HASH, DT_VERSYM, DT_RELACOUNT = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFF9
DT_FLAGS_1, DT_VERDEF, DT_VERDEFNUM = 0x6FFFFFFB, 0x6FFFFFFC, 0x6FFFFFFD
DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
DT_AUXILIARY, DT_FILTER = 0x7FFFFFFD, 0x7FFFFFFF  # linked with -f and -F
DF_BIND_NOW = 8
DF_1_NOW, DF_1_NODELETE, DF_1_INITFIRST, DF_1_NODEFLIB, DF_1_PIE = 1, 8, 0x20, 0x800, 0x08000000

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_MOST_DYNAMIC_ENTRIES = 4096  # real objects have some dozens
_MOST_SEGMENTS = 1024  # Linux takes at most a page of program headers (fs/binfmt_elf.c)
LARGEST_TABLE = 1 << 28  # bytes: eleven million symbols or relocations
HEADER_SIZE = _HEADER.size

_NEW = tuple.__new__  # what Segment() calls: half the time of the call


class Segment(NamedTuple):
    """A program header; sizes in bytes, `vaddr` before the load bias is added."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


class Header(NamedTuple):
    """The fields of Elf64_Ehdr that matter here."""

    type: int
    machine: int
    entry: int
    phoff: int
    phnum: int
    shoff: int
    shentsize: int
    shnum: int
    shstrndx: int


@dataclass(frozen=True)
class Image:
    """An ELF image at `bias`: file addresses plus `bias` are addresses in its memory.

    `dynamic` holds (tag, value) pairs in order, DT_NULL excluded; `dynamic_address` is where
    they stand, None without a PT_DYNAMIC.
    """

    header: Header
    segments: tuple[Segment, ...]
    bias: int
    dynamic: tuple[tuple[int, int], ...]
    dynamic_address: int | None

    @cached_property
    def loads(self) -> tuple[Segment, ...]:
        return tuple(s for s in self.segments if s.type == PT_LOAD and s.memsz)

    @cached_property
    def start(self) -> int:
        """The first mapped address, a multiple of the page size."""
        return (self.bias + min(s.vaddr for s in self.loads)) // PAGE * PAGE

    @cached_property
    def end(self) -> int:
        """The address behind the last mapped byte, rounded up to a page."""
        last = max(s.vaddr + s.memsz for s in self.loads)
        return -(-(self.bias + last) // PAGE) * PAGE

    @cached_property
    def _first_values(self) -> dict[int, int]:
        return dict(reversed(self.dynamic))

    def segment(self, kind: int) -> Segment | None:
        """The first program header of type `kind`."""
        return next((s for s in self.segments if s.type == kind), None)

    def value(self, tag: int) -> int | None:
        """The value of the first dynamic entry with `tag`."""
        return self._first_values.get(tag)

    def pointer(self, tag: int) -> int | None:
        """The address that a dynamic entry points to.

        ld.so relocates some of these entries in place and leaves others alone, by CPU, version
        and read-only dynamic sections (glibc, elf/get-dynamic-info.h; musl never does), so the
        value itself decides: one that already lies inside the image is an address.
        """
        value = self.value(tag)
        if value is None or self.start <= value < self.end:
            return value
        return self.bias + value

    def load_at(self, address: int) -> Segment | None:
        """The PT_LOAD whose memory holds `address`."""
        offset = address - self.bias
        for segment in self.loads:
            if segment.vaddr <= offset < segment.vaddr + segment.memsz:
                return segment
        return None

    def room(self, address: int) -> int:
        """How many bytes the segment that holds `address` has from there on; 0 outside."""
        segment = self.load_at(address)
        return segment.vaddr + segment.memsz - (address - self.bias) if segment else 0


def decode_header(data: bytes) -> Header:
    """Decode an ELF header; raises Problem for anything but 64-bit little-endian ELF."""
    if len(data) < HEADER_SIZE or data[:4] != b"\x7fELF":
        raise Problem("not an ELF image: the magic bytes are missing")
    if data[4] != 2 or data[5] != 1:
        raise Problem("not a 64-bit little-endian ELF image")
    fields = _HEADER.unpack_from(data)
    (_, kind, machine, _, entry, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, strndx) = (
        fields
    )
    if phnum and phentsize != _SEGMENT.size:
        raise Problem(f"damaged ELF header: program headers of {phentsize} bytes")
    return Header(kind, machine, entry, phoff, phnum, shoff, shentsize, shnum, strndx)


def decode_segments(data: bytes) -> tuple[Segment, ...]:
    """Decode a table of Elf64_Phdr."""
    whole = len(data) // _SEGMENT.size * _SEGMENT.size
    return tuple([_NEW(Segment, row) for row in _SEGMENT.iter_unpack(data[:whole])])


def read_image(memory: Memory, address: int) -> Image:
    """The image whose ELF header stands at `address` in memory.

    Raises Problem when there is no usable ELF header, Unreadable when the bytes are missing.
    """
    page = memory.read(address, HEADER_SIZE)
    header = decode_header(page)
    segments = decode_segments(memory.read(address + header.phoff, header.phnum * _SEGMENT.size))
    loads = [s for s in segments if s.type == PT_LOAD and s.memsz]
    if not loads:
        raise Problem(f"the ELF image at {address:#x} has no PT_LOAD segment")
    # The header is the first byte of the file, so it is at the first segment's page.
    bias = address - (loads[0].vaddr - loads[0].offset)
    return _with_dynamic(memory, header, segments, bias)


def read_image_by_segments(
    memory: Memory, header: Header, segments: tuple[Segment, ...], bias: int
) -> Image:
    """The image with these program headers at `bias`; its dynamic section is read from memory."""
    if not any(s.type == PT_LOAD and s.memsz for s in segments):
        raise Problem("the program headers hold no PT_LOAD segment")
    return _with_dynamic(memory, header, segments, bias)


def _with_dynamic(
    memory: Memory, header: Header, segments: tuple[Segment, ...], bias: int
) -> Image:
    if len(segments) > _MOST_SEGMENTS:
        raise Problem(f"damaged ELF header: {len(segments)} program headers")
    found = next((s for s in segments if s.type == PT_DYNAMIC), None)
    if found is None:
        return Image(header, segments, bias, (), None)
    entries = read_dynamic(memory, bias + found.vaddr, found.memsz // 16)
    return Image(header, segments, bias, entries, bias + found.vaddr)


def read_dynamic(memory: Memory, address: int, count: int) -> tuple[tuple[int, int], ...]:
    """The (tag, value) pairs of the dynamic section at `address`, up to DT_NULL.

    `count` is the room for entries; an absurd one is cut to what a real object could need.
    """
    count = min(count, _MOST_DYNAMIC_ENTRIES)
    words = struct.unpack(f"<{2 * count}Q", memory.read(address, 16 * count))
    tags = words[::2]
    last = tags.index(0) if 0 in tags else count
    return tuple(zip(tags[:last], words[1 : 2 * last : 2]))


def same_dynamic(loaded: Image, other: Image) -> bool:
    """Whether two images' dynamic sections agree, but for what ld.so relocates or fills in."""
    if len(loaded.dynamic) != len(other.dynamic):
        return False
    return all(
        tag == other_tag and (tag == DT_DEBUG or value in (other_value, other_value + loaded.bias))
        for (tag, value), (other_tag, other_value) in zip(loaded.dynamic, other.dynamic)
    )
