"""The directories that ld.so searches for one module's needs: RPATH, RUNPATH, LD_LIBRARY_PATH.

Sources: glibc, elf/dl-load.c (cache_rpath, decompose_rpath, fillin_rpath, open_path) and
sysdeps/generic/ldsodefs.h (struct r_search_path_elem). A directory is written as ld.so writes
it, with one `/` at its end: l_name is such a directory, a subfolder for hwcaps, and the name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from gdbext.elf.core import decode_path
from gdbext.elf.image import DT_RPATH, DT_RUNPATH, DT_STRTAB
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_string, read_word, read_words
from gdbext.linker.layout import Layout
from gdbext.linker.modules import MAIN, Module
from gdbext.linker.process import AT_SECURE, Process

AT_PLATFORM = 15  # getauxval(3)
RUNPATH_DIRS = 40  # l_runpath_dirs from S, the place of l_scope: between l_file_id and l_initfini
RPATH_DIRS = -40  # l_rpath_dirs from M, the place of l_map_start
_NONE = (1 << 64) - 1  # (void *) -1: nothing to search
_MOST_DIRECTORIES = 1024
# What $LIB and $PLATFORM may be: ld.so has one value for each, but writes it nowhere.
_LIBS = ("lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu")
_PLATFORMS = ("haswell", "xeon_phi", "x86_64", "aarch64")
_TOKEN = re.compile(r"\$(?:(ORIGIN|LIB|PLATFORM)(?!\w)|\{(ORIGIN|LIB|PLATFORM)\})")


class Paths(NamedTuple):
    """One module's directories; None where it has no such tag. A RUNPATH hides the RPATH.

    `searched` says whether ld.so ever searched the module's list; None is unknown.
    """

    rpath: tuple[str, ...] | None
    runpath: tuple[str, ...] | None
    searched: bool | None


def read_paths(memory: Memory, layout: Layout | None, module: Module) -> Paths:
    """The RPATH or RUNPATH of `module`, as ld.so expanded it, else as we would.

    A list that ld.so never expanded found nothing, and is () for a module that is not the program.
    """
    image = module.image
    if image is None:
        return Paths(None, None, None)
    tag = DT_RUNPATH if image.value(DT_RUNPATH) is not None else DT_RPATH
    if image.value(tag) is None:
        return Paths(None, None, False)
    directories, searched = _own_list(memory, layout, module, tag)
    if directories is None:
        directories = tuple(expand(_text(memory, module, tag), ":", module, ()))
    return (
        Paths(None, directories, searched)
        if tag == DT_RUNPATH
        else Paths(directories, None, searched)
    )


def _own_list(
    memory: Memory, layout: Layout | None, module: Module, tag: int
) -> tuple[tuple[str, ...] | None, bool | None]:
    """(ld.so's own list, whether it was searched); (None, None) where it cannot be read."""
    if layout is None or layout.scope is None or layout.map_start is None or not module.private:
        return None, None
    place = layout.scope + RUNPATH_DIRS if tag == DT_RUNPATH else layout.map_start + RPATH_DIRS
    try:
        at, malloced = read_words(memory, module.map.address + place, 2)
        if at == 0 and malloced & 0xFFFFFFFF == 0 and module.kind != MAIN:
            return (), False
        if at == _NONE:
            return (), True
        return _read_list(memory, at), True
    except Unreadable:
        return None, None


def _read_list(memory: Memory, at: int) -> tuple[str, ...] | None:
    """A NULL-terminated list of struct r_search_path_elem; None when it is no such list.

    {struct r_search_path_elem *next; const char *what, *where, *dirname; size_t dirnamelen; …}
    """
    found: list[str] = []
    while len(found) < _MOST_DIRECTORIES:
        element = read_word(memory, at + 8 * len(found))
        if not element:
            return tuple(found)
        _, _, _, name, size = read_words(memory, element, 5)
        text = read_string(memory, name)
        if len(text) != size or not text.endswith(b"/"):
            return None
        found.append(decode_path(text))
    return None


def _text(memory: Memory, module: Module, tag: int) -> str:
    image = module.image
    strings = image.pointer(DT_STRTAB) if image else None
    offset = image.value(tag) if image else None
    if strings is None or offset is None:
        return ""
    try:
        return decode_path(read_string(memory, strings + offset))
    except Unreadable:
        return ""


def library_path(
    process: Process, main: Module, environment: Mapping[str, str] | None
) -> tuple[str, ...] | None:
    """The directories of LD_LIBRARY_PATH; None when the environment cannot be read.

    ld.so ignores it where the kernel set AT_SECURE (elf/rtld.c, process_envvars).
    """
    if process.auxv.get(AT_SECURE):
        return ()
    if environment is None:
        return None
    platforms: tuple[str, ...] = _PLATFORMS
    try:
        at = process.auxv.get(AT_PLATFORM, 0)
        platforms = (*_PLATFORMS, decode_path(read_string(process.memory, at))) if at else platforms
    except Unreadable:
        pass
    return tuple(expand(environment.get("LD_LIBRARY_PATH", ""), ":;", main, platforms))


def expand(text: str, separators: str, module: Module, platforms: tuple[str, ...]) -> list[str]:
    """The directories of a search path, as ld.so writes them; () for an empty text.

    An empty element is the working directory, `./`. $LIB and $PLATFORM give one directory for
    each value that they may have.
    """
    if not text:
        return []
    origin = os.path.dirname(module.path)
    values = {"ORIGIN": (origin,), "LIB": _LIBS, "PLATFORM": platforms or _PLATFORMS}
    found: list[str] = []
    for element in re.split(f"[{separators}]", text):
        for choice in _choices(element, values):
            found.append("/" if choice and not choice.strip("/") else choice.rstrip("/") + "/")
            if not choice:
                found[-1] = "./"
    return list(dict.fromkeys(found))


def _choices(element: str, values: Mapping[str, tuple[str, ...]]) -> list[str]:
    match = _TOKEN.search(element)
    if match is None:
        return [element]
    rest = _choices(element[match.end() :], values)
    token = match.group(1) or match.group(2)
    return [element[: match.start()] + value + end for value in values[token] for end in rest[:64]]
