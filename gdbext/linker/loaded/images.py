"""Finding the image of each link_map: by l_addr, by l_phdr, by a search, by its file."""

from __future__ import annotations

from collections.abc import Sequence

from gdbext.elf.core import decode_path
from gdbext.elf.image import (
    DT_GNU_HASH,
    DT_HASH,
    DT_STRTAB,
    DT_SYMTAB,
    PT_PHDR,
    Header,
    Image,
    decode_segments,
    read_dynamic,
    read_image,
    read_image_by_segments,
)
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import PAGE, Memory, read_word
from gdbext.linker.loaded.layout import Layout, locate
from gdbext.linker.loaded.linkmaps import LinkMap
from gdbext.linker.loaded.private import Private, read_private
from gdbext.linker.loaded.rendezvous import L_REAL, place_file_image, read_main_image
from gdbext.linker.process.process import AT_BASE, AT_PHDR, AT_PHNUM, Process

_FURTHEST_HEADER = 64  # pages from the first dynamic table down to the ELF header


def main_image(process: Process) -> tuple[Image | None, Problem | None]:
    """The image that AT_PHDR names: the program, or ld.so when that was run as a program."""
    try:
        return read_main_image(process), None
    except Problem as error:
        return None, error


def linker_image(process: Process) -> Image | None:
    """ld.so's image by AT_BASE, None where there is none."""
    base = process.auxv.get(AT_BASE)
    try:
        return read_image(process.memory, base) if base else None
    except Problem:
        return None


def read_images(
    process: Process, main: Image | None, maps: Sequence[tuple[LinkMap, int]]
) -> tuple[dict[int, Image | Problem], Layout | None]:
    """The image of each link_map, by its address, and the layout that they confirm."""
    images: dict[int, Image | Problem] = {}
    memory = process.memory
    real, own = _real_maps(memory, [m for m, _ in maps])
    for link_map in real.values():
        if main is not None and main.dynamic_address == link_map.l_ld:
            images[link_map.address] = main
        else:
            images[link_map.address] = _image_at(memory, link_map.l_addr, link_map.l_ld)
    headers = process.auxv.get(AT_PHDR, 0), process.auxv.get(AT_PHNUM, 0)
    layout = locate(memory, _voters(images, own), headers)
    missing = [m for m in real.values() if isinstance(images[m.address], Problem)]
    for link_map in missing:
        images[link_map.address] = _find_image(process, link_map, layout)
    if missing:
        layout = locate(memory, _voters(images, own), headers)
    return {m.address: images[real[m.address].address] for m, _ in maps}, layout


def _real_maps(
    memory: Memory, maps: Sequence[LinkMap]
) -> tuple[dict[int, LinkMap], frozenset[int]]:
    """Each link_map by its address, but the real one for ld.so's proxy in another namespace; and
    those whose l_real is there and says so, none in musl.

    A proxy has little more than l_real (glibc, elf/dl-load.c, elf/dl-open.c); before 2.32 not
    even l_addr. In musl the word at that offset points to program headers, never to a map.
    """
    by_address = {m.address: m for m in maps}
    real: dict[int, LinkMap] = {}
    own: set[int] = set()
    for link_map in maps:
        address = link_map.address
        try:
            target = read_word(memory, address + L_REAL)
        except Unreadable:
            target = 0
        real[address] = by_address.get(target, link_map)
        if target == address:
            own.add(address)
    return real, frozenset(own)


def _voters(
    images: dict[int, Image | Problem], own: frozenset[int]
) -> Sequence[tuple[int, Image | None]]:
    """(link_map, image) of what can vote on the layout; where no image is known, all without."""
    found = [(at, image) for at, image in images.items() if at in own]
    known = [(at, image) for at, image in found if isinstance(image, Image)]
    return known or [(at, None) for at, _ in found]


def _image_at(memory: Memory, header: int, l_ld: int) -> Image | Problem:
    """The image with its ELF header at `header`, if its dynamic section is the link_map's."""
    try:
        image = read_image(memory, header)
    except Problem as error:
        return error
    if image.dynamic_address != l_ld:
        return Problem(f"the ELF header at {header:#x} belongs to another object")
    return image


def _find_image(process: Process, link_map: LinkMap, layout: Layout | None) -> Image | Problem:
    """The image of an object whose ELF header is not at l_addr, or is not in the core."""
    memory = process.memory
    if layout is not None:
        private = read_private(memory, layout, link_map.address)
        image = _image_by_phdr(memory, layout, link_map, private)
        if image is not None:
            return image
    header = _search_header(memory, link_map)
    if header is not None:
        return header
    if link_map.l_name is None:
        return Problem("neither its program headers nor its name can be read")
    name = decode_path(link_map.l_name)
    file = process.open_file(name) if name else process.main_file()
    if file is None:
        return Problem("its program headers are in no memory that can be read, and it has no file")
    dynamic = file.image.dynamic_address
    if dynamic is not None and link_map.l_addr + dynamic != link_map.l_ld:
        return Problem(f"the file {file.path!r} is not the one that was loaded")
    try:
        return place_file_image(process, file, link_map.l_addr)
    except Problem as error:
        return error


def _image_by_phdr(
    memory: Memory, layout: Layout, link_map: LinkMap, private: Private | None
) -> Image | None:
    """By l_phdr, the bias being l_addr; ld.so may hold a copy of headers that are not loaded."""
    if private is None or not private.phdr:
        return None
    try:
        count = memory.read(link_map.address + layout.phdr + 16, 2)
        table = memory.read(private.phdr, int.from_bytes(count, "little") * 56)
        segments = decode_segments(table)
        own = next((s for s in segments if s.type == PT_PHDR), None)
        header = Header(3, 0, 0, own.offset if own else 64, len(segments), 0, 0, 0, 0)
        image = read_image_by_segments(memory, header, segments, link_map.l_addr)
    except Problem:
        return None
    return image if image.dynamic_address == link_map.l_ld else None


def _search_header(memory: Memory, link_map: LinkMap) -> Image | None:
    """Search downward for the ELF header, from the tables that linkers put right behind it."""
    try:
        entries = dict(read_dynamic(memory, link_map.l_ld, 32))
    except Unreadable:
        return None
    tables = [entries[t] for t in (DT_GNU_HASH, DT_HASH, DT_SYMTAB, DT_STRTAB) if t in entries]
    for first in sorted({min(tables), min(tables) + link_map.l_addr}) if tables else ():
        for page in range(first // PAGE * PAGE, first - _FURTHEST_HEADER * PAGE, -PAGE):
            if page < 0:
                break
            try:
                if memory.read(page, 4) != b"\x7fELF":
                    continue
            except Unreadable:
                break
            image = _image_at(memory, page, link_map.l_ld)
            if isinstance(image, Image):
                return image
    return None
