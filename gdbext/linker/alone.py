"""The program and its dynamic linker as modules when there is no link_map chain.

That is a static program, or one at its first instructions. Their images are in memory all the
same, and a crash there has a module, an offset and a symbol as well.
"""

from __future__ import annotations

from gdbext.elf.image import Image
from gdbext.elf.problem import Problem
from gdbext.linker.images import linker_image, main_image
from gdbext.linker.linkmaps import LinkMap
from gdbext.linker.modules import LINKER, MAIN, Linker, Module, read_linker
from gdbext.linker.process import Process


def read_linker_or_images(process: Process) -> tuple[Linker | None, str | None]:
    """The linker's state; where there is none yet, the images that the kernel mapped, and why.

    The Linker is None only when not even the main program's headers can be read.
    """
    try:
        return read_linker(process), None
    except Problem as problem:
        return _images_alone(process), str(problem)


def _images_alone(process: Process) -> Linker | None:
    modules: list[Module] = []
    for kind, image in ((MAIN, main_image(process)[0]), (LINKER, linker_image(process))):
        if image is not None and image.loads:
            modules.append(_module(process, kind, image, -1 - len(modules)))
    return Linker((), (), tuple(modules), None, ()) if modules else None


def _module(process: Process, kind: str, image: Image, key: int) -> Module:
    """A module with `key`, which is no address, in place of a link_map's."""
    path = process.main_path() if kind == MAIN else _path_at(process, image.start)
    link_map = LinkMap(key, image.bias, b"", image.dynamic_address or 0, 0, 0)
    return Module(link_map, 0, path or kind, "", kind, image, None, None, (), (), None)


def _path_at(process: Process, address: int) -> str | None:
    return next((r.path for r in process.regions() if r.start <= address < r.end and r.path), None)
