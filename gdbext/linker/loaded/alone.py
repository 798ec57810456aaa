"""The program, its dynamic linker and what is mapped as modules, when there is no link_map chain.

That is a static program, one at its first instructions, or a core that was cut short. Images are
in memory all the same, and a crash there has a module, an offset and a symbol as well.
"""

from __future__ import annotations

from dataclasses import replace

from gdbext.elf.core import decode_path
from gdbext.elf.image import (
    HEADER_SIZE,
    PT_INTERP,
    PT_LOAD,
    Image,
    decode_header,
    decode_segments,
    read_image,
)
from gdbext.elf.notes import read_build_id
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory, read_string
from gdbext.linker.loaded.images import linker_image, main_image
from gdbext.linker.loaded.linkmaps import LinkMap
from gdbext.linker.loaded.modules import LINKER, MAIN, Linker, Module, read_linker
from gdbext.linker.process.once import once
from gdbext.linker.process.process import Process, Region

MAPPED = "mapped"  # a module's kind where no link_map tells more
_SEGMENT_SIZE = 56


@once
def read_linker_or_images(process: Process) -> tuple[Linker | None, str | None]:
    """The linker's state; where there is none yet, the images that the kernel mapped, and why.

    The Linker is None only when not even the main program's headers can be read.
    """
    try:
        return read_linker(process), None
    except Problem as problem:
        return _images_alone(process), str(problem)


def _images_alone(process: Process) -> Linker | None:
    main = main_image(process)[0]
    modules: list[Module] = []
    for kind, image, path in (
        (MAIN, main, process.main_path()),
        (LINKER, linker_image(process), _interpreter(process, main)),
    ):
        if image is not None and image.loads:
            modules.append(_module(kind, image, path, -1 - len(modules), process.memory))
    known = {m.image.start for m in modules if m.image is not None}
    for region in process.regions():
        path = region.path or ""
        if path.startswith("/") and not region.offset and region.start not in known:
            found = _mapped_image(process, region)
            if found is not None:
                known.add(region.start)
                modules.append(_module(MAPPED, found, path, -1 - len(modules), process.memory))
    return Linker((), (), tuple(modules), None, ()) if modules else None


def _module(kind: str, image: Image, path: str | None, key: int, memory: Memory) -> Module:
    """A module with `key`, which is no address, in place of a link_map's."""
    link_map = LinkMap(key, image.bias, b"", image.dynamic_address or 0, 0, 0)
    return Module(link_map, 0, path or kind, "", kind, image, None, None, memory)


def _mapped_image(process: Process, region: Region) -> Image | None:
    """The image that is mapped at a region; of a core that was cut short, what is left of it.

    Its dynamic section is then the file's, if both have the same build-id.
    """
    memory = process.memory
    try:
        return read_image(memory, region.start)
    except Problem:
        pass  # no ELF, or its data is lost
    try:
        header = decode_header(memory.read(region.start, HEADER_SIZE))
        table = memory.read(region.start + header.phoff, header.phnum * _SEGMENT_SIZE)
        segments = decode_segments(table)
    except Problem:
        return None
    first = next((s for s in segments if s.type == PT_LOAD), None)
    if first is None:
        return None
    image = Image(header, segments, region.start - first.vaddr + first.offset, (), None)
    build_id = read_build_id(memory, image)
    file = process.open_file(region.path or "") if build_id is not None else None
    if file is None or read_build_id(file.memory, file.image) != build_id:
        return image
    return replace(image, dynamic=file.image.dynamic)


def _interpreter(process: Process, main: Image | None) -> str | None:
    """The dynamic linker that the program names."""
    segment = main.segment(PT_INTERP) if main else None
    if main is None or segment is None:
        return None
    try:
        return decode_path(read_string(process.memory, main.bias + segment.vaddr))
    except Unreadable:
        return None
