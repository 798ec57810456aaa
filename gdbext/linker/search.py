"""By which rule ld.so found a module's file (ld.so(8); glibc, elf/dl-load.c, _dl_map_object)."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Mapping

from gdbext.elf.core import decode_path
from gdbext.elf.file import map_file
from gdbext.elf.image import DT_RPATH, DT_RUNPATH, DT_STRTAB
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory, read_string
from gdbext.linker.modules import DLOPENED, LINKER, MAIN, PRELOADED, VDSO, Linker, Module
from gdbext.linker.private import read_names

_HWCAPS = re.compile(r"(?:glibc-hwcaps/[\w-]+/|(?:tls|haswell|xeon_phi|avx512_1|x86_64|atomics)/)*")
_DEFAULT = re.compile(r"/(?:usr/)?lib(?:64)?(?:/[\w-]+-linux-[\w]+)?")
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CACHE_ENTRY = struct.Struct("<iIIIQ")


def search_rule(
    memory: Memory,
    linker: Linker,
    module: Module,
    environment: Mapping[str, str] | None,
    cache: Mapping[str, set[str]],
) -> tuple[str | None, str]:
    """(rule, explanation); the rule is None when it cannot be known.

    Rules: program, interpreter, kernel, path, LD_PRELOAD, RPATH, LD_LIBRARY_PATH, RUNPATH,
    cache, default.
    """
    fixed = {
        MAIN: ("program", "the program itself"),
        LINKER: ("interpreter", "named by the program's PT_INTERP"),
        VDSO: ("kernel", "mapped by the kernel"),
    }
    if module.kind in fixed:
        return fixed[module.kind]
    names = read_names(memory, module.private) if module.private else ()
    if not names:
        return None, "this dynamic linker does not record by which name it was asked for"
    asked = decode_path(names[0])
    by_preload = " in LD_PRELOAD or /etc/ld.so.preload" if module.kind == PRELOADED else ""
    if "/" in asked:
        rule = "LD_PRELOAD" if by_preload else "path"
        return rule, f"asked for by the path {asked}{by_preload}"
    for rule, directory, owner in _directories(memory, linker, module, environment):
        if _lies_in(module.path, directory, asked):
            return rule, f"{asked} found in {directory} ({owner})"
    if module.path in cache.get(asked, ()):
        return "cache", f"{asked} found by /etc/ld.so.cache"
    if _DEFAULT.fullmatch(os.path.dirname(module.path)):
        return "default", f"{asked} found in a default directory"
    for rule, directory, owner in _callers_directories(memory, linker, module):
        if _lies_in(module.path, directory, asked):
            return rule, f"{asked} found in {directory} ({owner}, which must have opened it)"
    return None, f"asked for as {asked}, but no search rule leads to its path now"


def _lies_in(path: str, directory: str, asked: str) -> bool:
    # ld.so keeps `$ORIGIN/../lib` as it is; the same file by another spelling is the same file
    path, prefix = os.path.normpath(path), os.path.normpath(directory).rstrip("/") + "/"
    middle = path[len(prefix) : -len(asked)] if path.endswith("/" + asked) else "?"
    return path.startswith(prefix) and _HWCAPS.fullmatch(middle) is not None


def _directories(
    memory: Memory, linker: Linker, module: Module, environment: Mapping[str, str] | None
) -> Iterator[tuple[str, str, str]]:
    """(rule, directory, whose) in ld.so's order. RUNPATH switches the loaders' RPATHs off."""
    assert module.private is not None
    loader = linker.by_map.get(module.private.loader) or linker.modules[0]
    if not _path_list(memory, loader, DT_RUNPATH):
        seen: set[int] = set()
        above: Module | None = loader
        while above is not None and above.map.address not in seen:
            seen.add(above.map.address)
            for directory in _path_list(memory, above, DT_RPATH):
                yield "RPATH", directory, f"RPATH of {above.path}"
            above = linker.by_map.get(above.private.loader) if above.private else None
        for directory in _path_list(memory, linker.modules[0], DT_RPATH):
            yield "RPATH", directory, f"RPATH of {linker.modules[0].path}"
    for directory in re.split("[:;]", (environment or {}).get("LD_LIBRARY_PATH", "")):
        if directory:
            yield "LD_LIBRARY_PATH", directory, "LD_LIBRARY_PATH"
    for directory in _path_list(memory, loader, DT_RUNPATH):
        yield "RUNPATH", directory, f"RUNPATH of {loader.path}"


def _callers_directories(
    memory: Memory, linker: Linker, module: Module
) -> Iterator[tuple[str, str, str]]:
    """RPATH and RUNPATH of every module that may have called dlopen: ld.so does not record it."""
    if module.kind == DLOPENED:
        for caller in linker.modules:
            for rule, tag in (("RUNPATH", DT_RUNPATH), ("RPATH", DT_RPATH)):
                for directory in _path_list(memory, caller, tag):
                    yield rule, directory, f"{rule} of {caller.path}"


def _path_list(memory: Memory, module: Module, tag: int) -> list[str]:
    """The directories of DT_RPATH or DT_RUNPATH, $ORIGIN expanded."""
    image = module.image
    offset = image.value(tag) if image else None
    strings = image.pointer(DT_STRTAB) if image else None
    if offset is None or strings is None:
        return []
    try:
        text = decode_path(read_string(memory, strings + offset))
    except Unreadable:
        return []
    origin = os.path.dirname(module.path)
    expanded = re.sub(r"\$(?:ORIGIN\b|\{ORIGIN\})", lambda _: origin, text)
    return [d for d in expanded.split(":") if d]


def read_cache(path: str) -> dict[str, set[str]]:
    """{soname: paths} of ld.so.cache (glibc, sysdeps/generic/dl-cache.h); {} without one."""
    try:
        data = bytes(map_file(path))
    except Problem:
        return {}
    start = data.find(_CACHE_MAGIC)
    if start < 0 or len(data) < start + 48:
        return {}
    (count,) = struct.unpack_from("<I", data, start + len(_CACHE_MAGIC))
    table = data[start + 48 : start + 48 + count * _CACHE_ENTRY.size]
    found: dict[str, set[str]] = {}
    for _, key, value, _, _ in _CACHE_ENTRY.iter_unpack(
        table[: len(table) // _CACHE_ENTRY.size * _CACHE_ENTRY.size]
    ):
        name, target = (_cache_string(data, start + offset) for offset in (key, value))
        found.setdefault(name, set()).add(target)
    return found


def _cache_string(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    return decode_path(data[offset : end if end >= 0 else len(data)])
