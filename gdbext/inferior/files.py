"""Files of the process's machine, as far as this machine has them: as evidence, by path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import gdb

from gdbext.elf.notes import read_build_id
from gdbext.inferior.remote import read_file
from gdbext.linker.loaded.disk import File, on_disk
from gdbext.linker.loaded.modules import Linker, Module
from gdbext.linker.needs.cache import Cache, decode_cache, read_cache
from gdbext.linker.needs.search import Searches
from gdbext.linker.process.environment import initial_environment
from gdbext.linker.process.regions import region_finder

if TYPE_CHECKING:
    from gdbext.inferior import Inferior


def open_searches(inferior: Inferior, linker: Linker) -> Searches:
    """The search rules of the process, with its environment and its machine's ld.so.cache."""
    return Searches(inferior, linker, initial_environment(inferior), _cache(inferior))


def _cache(inferior: Inferior) -> Cache:
    """The ld.so.cache of the process's file system; a remote stub is asked for its own."""
    path = "/etc/ld.so.cache"
    if inferior.target == "native":
        return read_cache(inferior.local_path(path))
    sysroot = str(gdb.parameter("sysroot") or "")
    if not sysroot.startswith("target:"):
        return read_cache(sysroot.rstrip("/") + path)
    if inferior.core is not None:
        return read_cache(path)
    return decode_cache(read_file(inferior.gdb, path))


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
