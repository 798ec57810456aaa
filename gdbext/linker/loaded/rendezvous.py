"""Finding r_debug, the structure through which ld.so shows a debugger its link_map lists.

No symbols and no debug info are needed: AT_PHDR leads to the program headers, these to
DT_DEBUG (glibc, elf/dl-debug.c and sysdeps/generic/dl-debug.h; musl, ldso/dynlink.c).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress

from gdbext.elf.file import ElfFile
from gdbext.elf.image import (
    DT_DEBUG,
    DT_STRTAB,
    ET_DYN,
    PF_W,
    PF_X,
    PT_PHDR,
    Header,
    Image,
    decode_segments,
    read_image,
    read_image_by_segments,
    same_dynamic,
)
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import PAGE, Memory, read_word, read_words
from gdbext.elf.symbols import read_dynamic_symbols
from gdbext.linker.process.process import AT_BASE, AT_ENTRY, AT_PHDR, AT_PHNUM, Process, Region

_SEGMENT_SIZE = 56
_MOST_SEGMENTS = 512
_L_PREV = 32  # offset of link_map.l_prev (link.h)
L_REAL = 40  # offset of link_map.l_real in every glibc (include/link.h)
_LARGEST_SCAN = 64 << 20
NOT_STARTED = (
    "the dynamic linker has not run yet, so no library is loaded; let the program run to main"
)


def read_main_image(process: Process) -> Image:
    """The main program's image, from memory, or from its file where a core left it out."""
    phdr, count = process.auxv.get(AT_PHDR), process.auxv.get(AT_PHNUM)
    if not phdr or not count:
        raise Problem("the auxiliary vector names no program headers (AT_PHDR)")
    if count > _MOST_SEGMENTS:
        raise Problem(f"damaged auxiliary vector: {count} program headers")
    try:
        segments = decode_segments(process.memory.read(phdr, count * _SEGMENT_SIZE))
    except Unreadable:
        return _main_image_from_file(process)
    own = next((s for s in segments if s.type == PT_PHDR), None)
    if own is None:  # glibc's static-pie has none: the ELF header is in front of the headers
        return read_image(process.memory, phdr // PAGE * PAGE)
    bias = phdr - own.vaddr
    entry = process.auxv.get(AT_ENTRY, bias) - bias
    header = Header(ET_DYN, process.arch.machine, entry, own.offset, count, 0, 0, 0, 0)
    return read_image_by_segments(process.memory, header, segments, bias)


def _main_image_from_file(process: Process) -> Image:
    """A core without the program's first page (qemu-user's): the file's headers serve."""
    file = process.main_file()
    if file is None:
        raise Problem(
            "this core does not hold the program's headers: "
            "give GDB the program as well (file PROGRAM)"
        )
    header = file.image.header
    bias = process.auxv.get(AT_ENTRY, header.entry) - header.entry
    if header.phnum != process.auxv[AT_PHNUM] or bias % PAGE:
        raise Problem(f"the program {file.path!r} is not the one of this core")
    return place_file_image(process, file, bias)


def place_file_image(process: Process, file: ElfFile, bias: int) -> Image:
    """The image of `file` loaded at `bias`, its dynamic section read from memory.

    The tags of both dynamic sections must agree: that is what tells this file from another.
    """
    image = read_image_by_segments(process.memory, file.image.header, file.image.segments, bias)
    if not same_dynamic(image, file.image):
        raise Problem(f"the file {file.path!r} is not the one that was loaded")
    process.back_with_file(image, file)
    return image


def find_r_debug(process: Process, main: Image | None) -> int:
    """The address of the base namespace's r_debug; raises Problem when there is none (yet)."""
    memory = process.memory
    if main is not None:
        address = main.value(DT_DEBUG)
        if address and _plausible(memory, address):
            return address
        for image in _linker_images(process, main):
            found = _exported_r_debug(memory, image)
            if found is not None and _plausible(memory, found):
                return found
        if main.value(DT_DEBUG) is not None and not address:
            raise Problem(NOT_STARTED)
        if address:
            if not _is_readable(memory, address):
                raise Problem(
                    f"r_debug, at {address:#x} by DT_DEBUG, is in no memory that can be read"
                )
            raise Problem(f"DT_DEBUG points to {address:#x}, where there is no r_debug: damaged")
    found = process.symbol_address("_r_debug")
    if found is not None:
        if _plausible(memory, found):
            return found
        if main is None or main.dynamic_address is not None:
            raise Problem(NOT_STARTED)
    # a static program's own link_map and _r_debug are variables of the program
    regions = _own_regions(main) if main is not None else process.regions()
    found = _scan(process.memory, regions, process.auxv.get(AT_BASE, 0))
    if found is not None:
        return found
    raise Problem("this program is static and has loaded no library: it has no link_map chain")


def _linker_images(process: Process, main: Image) -> Iterator[Image]:
    """ld.so by AT_BASE; and the main image, which is ld.so itself under `ld.so ./program`."""
    base = process.auxv.get(AT_BASE)
    if base:
        with suppress(Problem):  # not dumped, or no ELF there: DT_DEBUG and the scan remain
            yield read_image(process.memory, base)
    elif main.pointer(DT_STRTAB) is not None:
        yield main


def _exported_r_debug(memory: Memory, linker: Image) -> int | None:
    """`_r_debug` (glibc), or what `_dl_debug_addr` points to (musl), from ld.so's .dynsym."""
    try:
        symbols = read_dynamic_symbols(memory, linker)
    except Problem:
        return None
    for name, pointer in ((b"_r_debug", False), (b"_dl_debug_addr", True)):
        for index in symbols.indices_by_name.get(name, ()):
            entry = symbols.entry(index)
            if entry.shndx:
                address = linker.bias + entry.value
                return read_word(memory, address) if pointer else address
    return None


def linker_breakpoint(process: Process) -> int | None:
    """`_dl_debug_state`, where ld.so calls at each change, from .dynsym: known from the first
    instruction on, when r_debug is still empty."""
    try:
        main = read_main_image(process)
    except Problem:
        return None
    for image in _linker_images(process, main):
        try:
            symbols = read_dynamic_symbols(process.memory, image)
        except Problem:
            continue
        for index in symbols.indices_by_name.get(b"_dl_debug_state", ()):
            if symbols.entry(index).shndx:
                return image.bias + symbols.entry(index).value
    return process.symbol_address("_dl_debug_state")


def _plausible(memory: Memory, address: int) -> bool:
    """r_version small, r_map set, r_state one of RT_CONSISTENT, RT_ADD, RT_DELETE."""
    try:
        version, r_map, _, state, _ = read_words(memory, address, 5)
    except Unreadable:
        return False
    return 1 <= version & 0xFFFFFFFF <= 16 and r_map != 0 and state & 0xFFFFFFFF <= 2


def _is_readable(memory: Memory, address: int) -> bool:
    try:
        memory.read(address, 40)
    except Unreadable:
        return False
    return True


def _own_regions(main: Image) -> tuple[Region, ...]:
    """The program's own segments."""
    return tuple(
        Region(main.bias + s.vaddr, main.bias + s.vaddr + s.memsz, s.flags, s.offset, None, None)
        for s in main.loads
    )


def _scan(memory: Memory, regions: Sequence[Region], base: int) -> int | None:
    """Search writable memory for the main link_map and the r_debug that points to it.

    For a stripped static program there is nothing else, nor in a qemu core without its program.
    A glibc link_map of a loaded object has l_real pointing to itself; r_map then leads to the
    first of them, and r_ldbase is `base`, ld.so's address (elf/dl-debug.c).
    """
    writable = [r for r in regions if r.flags is not None and r.flags & PF_W]
    maps: set[int] = set()
    words: dict[int, list[int]] = {}
    for start, data in _contents(memory, writable):
        for index, (word,) in enumerate(struct.iter_unpack("<Q", data)):
            here = start + 8 * index
            if word == here - L_REAL:
                maps.add(word)
            if word:
                words.setdefault(word, []).append(here)
    for address in sorted(maps):
        for holder in words.get(address, ()):
            if _plausible(memory, holder - 8) and _fits(memory, regions, base, holder - 8):
                return holder - 8
    return None


def _fits(memory: Memory, regions: Sequence[Region], base: int, r_debug: int) -> bool:
    """Whether r_map starts a chain, r_brk is code and r_ldbase where ld.so was loaded."""
    try:
        _, first, brk, _, loaded = read_words(memory, r_debug, 5)
        previous = read_word(memory, first + _L_PREV)
    except Unreadable:
        return False
    in_code = any(r.start <= brk < r.end and (r.flags or 0) & PF_X for r in regions)
    return in_code and not previous and loaded in (0, base)


def _contents(memory: Memory, regions: list[Region]) -> Iterator[tuple[int, bytes]]:
    budget = _LARGEST_SCAN
    for region in regions:
        size = min(region.end - region.start, budget)
        try:
            yield region.start, memory.read(region.start, size // 8 * 8)
        except Unreadable:
            continue
        budget -= size
        if budget <= 0:
            return
