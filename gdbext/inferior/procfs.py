"""/proc/PID of the selected process, here or on the machine that a remote stub runs on."""

from __future__ import annotations

import os

import gdb

from gdbext.inferior import remote
from gdbext.linker.process.process import Region
from gdbext.linker.process.regions import find_region, own_path, own_regions


def read_proc(inferior: gdb.Inferior, target: str, name: str) -> bytes:
    """The file `name` of /proc/PID; b'' where there is none: /proc is not mounted, or the process
    belongs to another PID namespace."""
    path = f"/proc/{inferior.pid}/{name}"
    if target != "native":
        return remote.read_file(inferior, path)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def read_regions(inferior: gdb.Inferior, target: str) -> tuple[Region, ...]:
    """The address space, by the paths that the process itself has."""
    return own_regions(read_proc(inferior, target, "maps"), _root(inferior, target))


def read_region(inferior: gdb.Inferior, target: str, start: int) -> Region | None:
    """The region that begins at an address; None where none does."""
    region = find_region(read_proc(inferior, target, "maps"), start)
    if region is None or not region.path:
        return region
    return region._replace(path=own_path(region.path, _root(inferior, target)))


def _root(inferior: gdb.Inferior, target: str) -> str:
    """The root directory of a process of this machine, "" where it is not known."""
    try:
        return os.readlink(f"/proc/{inferior.pid}/root") if target == "native" else ""
    except OSError:
        return ""
