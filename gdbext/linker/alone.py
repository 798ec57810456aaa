"""The program and its dynamic linker as modules when there is no link_map chain.

That is a static program, or one at its first instructions. Their images are in memory all the
same, and a crash there has a module, an offset and a symbol as well.
"""

from __future__ import annotations

from gdbext.elf.core import decode_path
from gdbext.elf.image import PT_INTERP, Image
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory, read_string
from gdbext.linker.images import linker_image, main_image
from gdbext.linker.linkmaps import LinkMap
from gdbext.linker.modules import LINKER, MAIN, Linker, Module, read_linker
from gdbext.linker.once import once
from gdbext.linker.process import Process


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
    return Linker((), (), tuple(modules), None, ()) if modules else None


def _module(kind: str, image: Image, path: str | None, key: int, memory: Memory) -> Module:
    """A module with `key`, which is no address, in place of a link_map's."""
    link_map = LinkMap(key, image.bias, b"", image.dynamic_address or 0, 0, 0)
    return Module(link_map, 0, path or kind, "", kind, image, None, None, memory)


def _interpreter(process: Process, main: Image | None) -> str | None:
    """The dynamic linker that the program names."""
    segment = main.segment(PT_INTERP) if main else None
    if main is None or segment is None:
        return None
    try:
        return decode_path(read_string(process.memory, main.bias + segment.vaddr))
    except Unreadable:
        return None
