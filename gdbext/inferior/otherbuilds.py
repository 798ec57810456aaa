"""Where GDB took another build than the one in a core: its names and unwinding are wrong there.

GDB opens what it finds at a library's path, warns of a build-id that differs and goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import gdb

from gdbext.elf.mapped import dumped_build_id
from gdbext.linker.process.regions import region_finder

if TYPE_CHECKING:
    from gdbext.inferior import Inferior


def other_builds(inferior: Inferior) -> Callable[[int], bool]:
    """A function from an address to whether GDB reads another build there. Without two build-ids
    to compare, and for a process, nothing is held against GDB."""
    core = inferior.core
    if core is None:
        return lambda _address: False
    regions = inferior.regions()
    find_region = region_finder(regions)
    first = {r.path: r.start for r in reversed(regions) if r.path and not r.offset}

    @cache
    def is_other(start: int, path: str) -> bool:
        read = _build_read_by_gdb(start)
        own = dumped_build_id(core, first[path]) if read and path in first else None
        return own is not None and own != read

    def find(address: int) -> bool:
        region = find_region(address)
        if region is None or region.path is None:
            return False
        return is_other(region.start, region.path)

    return find


def _build_read_by_gdb(address: int) -> str | None:
    """The build-id of the library that GDB believes to be at an address."""
    name = gdb.solib_name(address)
    if name is None:
        return None
    try:
        objfile = gdb.lookup_objfile(name)
    except ValueError:
        return None  # its symbols are not loaded
    return objfile.build_id if objfile is not None else None
