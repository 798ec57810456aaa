"""The directories that ld.so searches for one module's needs: RPATH, RUNPATH, LD_LIBRARY_PATH.

Sources: glibc, elf/dl-load.c (cache_rpath, decompose_rpath, fillin_rpath, open_path) and
sysdeps/generic/ldsodefs.h (struct r_search_path_elem). A directory is written as ld.so writes
it, with one `/` at its end: l_name is such a directory, a subfolder for hwcaps, and the name.
The working directory, an empty element of a path, is the empty text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from gdbext.elf.core import decode_path
from gdbext.elf.image import DT_RPATH, DT_RUNPATH, DT_STRTAB
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import PAGE, Memory, read_pointers, read_string, read_words
from gdbext.elf.variables import read_variable
from gdbext.linker.loaded.layout import Layout
from gdbext.linker.loaded.modules import LINKER, MAIN, Linker, Module
from gdbext.linker.process.process import AT_PLATFORM, AT_SECURE, Process

RUNPATH_DIRS = 40  # l_runpath_dirs from S, the place of l_scope: between l_file_id and l_initfini
RPATH_DIRS = -40  # l_rpath_dirs from M, the place of l_map_start
_NONE = (1 << 64) - 1  # (void *) -1: nothing to search
_MOST_DIRECTORIES = 1024
_VARIABLE, _OPTION = "LD_LIBRARY_PATH", "--library-path"
_WHATS = {_VARIABLE, _OPTION, "RPATH", "RUNPATH", "system search path"}
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


def written_paths(module: Module) -> Paths:
    """The RPATH or RUNPATH of `module` as its own dynamic section has it, expanded by us.

    It is what a search would use now, whether or not ld.so ever made one for this module.
    """
    image = module.image
    if image is None:
        return Paths(None, None, None)
    runpath = image.value(DT_RUNPATH) is not None
    tag = DT_RUNPATH if runpath else DT_RPATH
    if image.value(tag) is None:
        return Paths(None, None, None)
    found = tuple(expand(_text(module.memory, module, tag), ":", module, ()))
    return Paths(None, found, None) if runpath else Paths(found, None, None)


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
    for element in read_pointers(memory, at, _MOST_DIRECTORIES):
        _, _, _, name, size = read_words(memory, element, 5)
        text = read_string(memory, name)
        if len(text) != size or text[-1:] not in (b"/", b""):
            return None
        found.append(decode_path(text))
    return tuple(found)


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
    process: Process, linker: Linker, environment: Mapping[str, str] | None
) -> tuple[tuple[str, str], ...] | None:
    """(directory, whose) of LD_LIBRARY_PATH and of ld.so's --library-path; None when unknown.

    Where the kernel set AT_SECURE, ld.so ignores the variable (elf/rtld.c, process_envvars).
    """
    memory, main = process.memory, linker.modules[0]
    found: dict[str, str] = {}
    if environment is not None and not process.auxv.get(AT_SECURE):
        platforms: tuple[str, ...] = _PLATFORMS
        try:
            at = process.auxv.get(AT_PLATFORM, 0)
            platforms += (decode_path(read_string(memory, at)),) if at else ()
        except Unreadable:
            pass
        text = environment.get("LD_LIBRARY_PATH", "")
        found = dict.fromkeys(expand(text, ":;", main, platforms), _VARIABLE)
    known = read_all_directories(memory, linker)
    for directory, what in (known or {}).items():
        if what in (_VARIABLE, _OPTION):
            found.setdefault(directory, what)
    return None if known is None and environment is None else tuple(found.items())


def read_all_directories(memory: Memory, linker: Linker) -> dict[str, str] | None:
    """{directory: what brought it in} of ld.so's list of all directories, None when not found.

    `_dl_all_dirs` is in `_rtld_global`, and is known by what it points to. A directory that
    several paths name is in it once.
    """
    module = next((m for m in linker.modules if m.kind == LINKER and m.image), None)
    if module is None or module.image is None:
        return None
    globals_ = read_variable(memory, module.image, b"_rtld_global")
    for word in dict.fromkeys(globals_.words if globals_ else ()):
        if word < PAGE or word % 8:
            continue  # no pointer
        found: dict[str, str] = {}
        at = word
        while at and len(found) < _MOST_DIRECTORIES:
            element = _read_element(memory, at)
            if element is None or element[1] in found:
                break
            at, directory, what = element
            found[directory] = what
        if found and not at:
            return found
    return None


def _read_element(memory: Memory, at: int) -> tuple[int, str, str] | None:
    """(next, directory, what) of a struct r_search_path_elem; None when it is none."""
    try:
        following, what, _, name, size = read_words(memory, at, 5)
        text = read_string(memory, what, 32).decode("ascii", "replace")
        if text not in _WHATS:
            return None
        directory = read_string(memory, name)
    except Unreadable:
        return None
    if len(directory) != size or directory[-1:] not in (b"/", b""):
        return None
    return following, decode_path(directory), text


def expand(text: str, separators: str, module: Module, platforms: tuple[str, ...]) -> list[str]:
    """The directories of a search path, as ld.so writes them; () for an empty text.

    An empty element is the working directory, and stays empty (fillin_rpath). $LIB and $PLATFORM
    give one directory for each value that they may have.
    """
    if not text:
        return []
    found: list[str] = []
    for element in re.split(f"[{separators}]", text):
        for choice in substitute(element, module, platforms):
            stripped = choice.rstrip("/")
            found.append(f"{stripped}/" if choice else "")
    return list(dict.fromkeys(found))


def substitute(text: str, module: Module, platforms: tuple[str, ...] = ()) -> list[str]:
    """What `text` may be with its $ORIGIN, $LIB and $PLATFORM (elf/dl-load.c, _dl_dst_substitute),
    where `module` asks for it."""
    origin = os.path.dirname(module.path)
    values = {"ORIGIN": (origin,), "LIB": _LIBS, "PLATFORM": platforms or _PLATFORMS}
    return _choices(text, values)


def _choices(element: str, values: Mapping[str, tuple[str, ...]]) -> list[str]:
    match = _TOKEN.search(element)
    if match is None:
        return [element]
    rest = _choices(element[match.end() :], values)
    token = match.group(1) or match.group(2)
    return [element[: match.start()] + value + end for value in values[token] for end in rest[:64]]
