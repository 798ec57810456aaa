"""What is known of unloaded libraries: from GDB's events and from the process's memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Set
from itertools import product
from typing import TYPE_CHECKING

import gdb

from gdbext import loads
from gdbext.elf.core import decode_path
from gdbext.elf.file import ElfFile, open_elf
from gdbext.elf.image import PT_LOAD, Image, decode_header, decode_segments
from gdbext.elf.notes import read_build_id
from gdbext.elf.problem import Problem
from gdbext.elf.reader import BytesMemory
from gdbext.elf.symbols import SymbolTable
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.unloaded.filelog import LoggedLoad, read_file_log
from gdbext.linker.unloaded.findobject import search_find_object
from gdbext.linker.unloaded.freedmaps import search_freed_maps
from gdbext.linker.unloaded.unloaded import EVENTS, LOG, TRACE, MemorySearch, Unloaded, UnloadedSet

if TYPE_CHECKING:
    from gdbext.inferior import Inferior

_MOST_FOLDERS = 256
_MOST_FILES = 10_000


def read_unloaded(
    inferior: Inferior, linker: Linker, areas: Sequence[tuple[int, int]]
) -> UnloadedSet:
    """The unloaded libraries; `areas` is where ld.so's freed memory may be."""
    memory = inferior.memory
    live = {(m.address, m.l_addr, m.l_ld) for n in linker.namespaces for m in n.maps}
    return UnloadedSet(
        records=(*_seen(inferior, live), *_traced(inferior, live), *_logged(inferior, linker)),
        search=MemorySearch(
            lambda: search_freed_maps(memory, linker, areas),
            lambda address: search_find_object(memory, linker, areas, address),
        ),
        find_file=lambda library: _find_file(inferior, linker, library),
        find_symbols=debug_symbols,
    )


def debug_symbols(build_id: str | None) -> SymbolTable | None:
    """The .symtab of a separate debug file, found by build-id (GDB manual, Separate Debug
    Files): Debian's libc has its local names, such as __strlen_avx2, there alone. GDB looks into
    each folder and then into the same below the sysroot."""
    if not build_id:
        return None
    folders = str(gdb.parameter("debug-file-directory") or "").split(":")
    sysroot = str(gdb.parameter("sysroot") or "").rstrip("/")
    roots = ("", sysroot) if sysroot and not sysroot.startswith("target:") else ("",)
    for root, folder in product(roots, folders):
        try:
            file = open_elf(f"{root}{folder}/.build-id/{build_id[:2]}/{build_id[2:]}.debug")
        except Problem:
            continue
        if read_build_id(file.memory, file.image) == build_id:
            return file.symbols()
    return None


def _seen(inferior: Inferior, live: Set[loads.MapId]) -> Iterator[Unloaded]:
    """What came while GDB watched and is not loaded any more."""
    pid = inferior.gdb.pid
    for load in loads.kept(pid):
        if (load.address, load.l_addr, load.l_ld) in live or not load.name:
            continue
        image = _image(inferior, load)
        if image is None:
            continue
        build_id = read_build_id(BytesMemory({load.l_addr: load.head}), image)
        headers = (len(image.segments), image.bias + image.header.entry)
        path = decode_path(load.name)
        yield Unloaded(path, image.start, image.end, build_id, EVENTS, False, headers)


def _traced(inferior: Inferior, live: Set[loads.MapId]) -> Iterator[Unloaded]:
    """What plug-trace saw going, and what went since it looked last."""
    pid = inferior.gdb.pid
    still = loads.traced.get(pid)
    went = still(live) if still is not None else []
    for one in (*(one for one in loads.unloads if one.pid == pid), *went):
        yield Unloaded(one.path, one.start, one.end, one.build_id, TRACE)


def read_log(inferior: Inferior, path: str) -> list[LoggedLoad]:
    """What ld.so's own log (LD_DEBUG=files) tells of this process; raises Problem."""
    pid = inferior.core.pid if inferior.core is not None else None
    try:
        with open(path, "rb") as file:
            return read_file_log(file, pid or inferior.gdb.pid)
    except OSError as error:
        raise Problem(f"cannot read {path!r}: {error.strerror}") from error


def _logged(inferior: Inferior, linker: Linker) -> Iterator[Unloaded]:
    """What ld.so's log has, if one was given, and what is not loaded any more: each once."""
    live = {m.l_ld for n in linker.namespaces for m in n.maps}
    gone = [load for load in inferior.logged if load.l_ld not in live]
    last = {(load.path, load.start, load.end): None for load in reversed(gone)}
    for path, start, end in reversed(last):
        yield Unloaded(path, start, end, None, LOG)


def _image(inferior: Inferior, load: loads.Load) -> Image | None:
    """Its headers: as they were in memory, or its file's, for what starts further up."""
    try:
        header = decode_header(load.head)
        table = load.head[header.phoff : header.phoff + 56 * header.phnum]
        segments = decode_segments(table)
    except Problem:
        file = inferior.open_file(decode_path(load.name))
        if file is None:
            return None
        header, segments = file.image.header, file.image.segments
    if not any(s.type == PT_LOAD and s.memsz for s in segments):
        return None
    return Image(header, segments, load.l_addr, (), load.l_ld)


def _find_file(
    inferior: Inferior, linker: Linker, library: Unloaded
) -> tuple[Unloaded, ElfFile | None]:
    """The library with its full path, and its file if one is here that may be it."""
    for path in _paths(inferior, linker, library):
        file = inferior.open_file(path)
        if file is not None and library.fits(file) and _is_same_inode(library, file.path):
            return library._replace(path=path, cut=False), file
    return library, None


def _is_same_inode(library: Unloaded, path: str) -> bool:
    """By l_file_id, whose device is another one in containers; other evidence says no more."""
    if library.file_id is None or not library.file_id[1]:
        return True
    try:
        return os.stat(path).st_ino == library.file_id[1]
    except OSError:
        return False


def _paths(inferior: Inferior, linker: Linker, library: Unloaded) -> Iterator[str]:
    """Where its file may be: at its path; for a bare name, beside the modules that are loaded."""
    folder, name = os.path.split(library.path)
    if not name:
        return
    if folder:
        folders = [folder if folder.startswith("/") else _working_folder(inferior, folder)]
    else:
        paths = [m.path for m in (*linker.modules, *linker.unlisted)]
        folders = list(dict.fromkeys(os.path.dirname(p) for p in paths if p.startswith("/")))
    for one in folders[:_MOST_FOLDERS]:
        if not library.cut:
            yield os.path.join(one, name)
            continue
        for entry in _entries(inferior, one):
            if entry.startswith(name):
                yield os.path.join(one, entry)


def _working_folder(inferior: Inferior, folder: str) -> str:
    if inferior.target == "native":
        try:
            return os.path.join(os.readlink(f"/proc/{inferior.gdb.pid}/cwd"), folder)
        except OSError:
            pass  # the process belongs to another user or namespace
    return folder


def _entries(inferior: Inferior, folder: str) -> list[str]:
    local = inferior.local_path(folder) if inferior.target == "native" else folder
    try:
        return sorted(os.listdir(local))[:_MOST_FILES]
    except OSError:
        return []
