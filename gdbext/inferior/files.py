"""Files of the process's machine, as far as this machine has them: as evidence, by path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import gdb

from gdbext.elf.notes import read_build_id
from gdbext.linker.disk import File, on_disk
from gdbext.linker.links import region_finder
from gdbext.linker.modules import Linker, Module

if TYPE_CHECKING:
    from gdbext.inferior import Inferior


def cache_path(inferior: Inferior) -> str:
    """Where this machine has the ld.so.cache that the process's ld.so looked into."""
    path = "/etc/ld.so.cache"
    if inferior.target == "native":
        return inferior.local_path(path)
    sysroot = str(gdb.parameter("sysroot") or "")
    return path if sysroot.startswith("target:") else sysroot.rstrip("/") + path


def file_at(inferior: Inferior, path: str) -> File | None:
    """The file at a path of the process's file system; None when this machine has none."""
    file = inferior.open_file(path)
    if file is None:
        return None
    try:
        status = os.stat(file.path)
    except OSError:
        return None
    name = os.path.basename(os.path.realpath(file.path))
    identity = (status.st_dev, status.st_ino)
    return File(path, name, read_build_id(file.memory, file.image), identity)


def describe_file(inferior: Inferior, module: Module) -> File:
    """The file of a module: its build-id as it is in memory, the rest if it is still there."""
    build_id = read_build_id(inferior.memory, module.image) if module.image else None
    file = file_at(inferior, module.path)
    if file is None or file.build_id != build_id:
        return File(module.path, None, build_id, None)
    return file


def file_states(inferior: Inferior, linker: Linker) -> dict[int, str | None]:
    """{link_map: same, replaced, deleted, memory; None for unknown}."""
    find_region = region_finder(inferior.regions())
    local_path = inferior.local_path if inferior.target == "native" else None
    states: dict[int, str | None] = {}
    for module in linker.modules:
        region = find_region(module.image.start) if module.image else None
        states[module.map.address] = on_disk(inferior, module, region, local_path).state
    return states
