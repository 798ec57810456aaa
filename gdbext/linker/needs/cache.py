"""/etc/ld.so.cache, the table of libraries that ldconfig makes."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from gdbext.elf.core import decode_path
from gdbext.elf.file import map_file
from gdbext.elf.problem import Problem

_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CACHE_ENTRY = struct.Struct("<iIIIQ")


Cache = Mapping[str, "set[str]"]


def read_cache(path: str) -> Cache:
    """{soname: paths} of the ld.so.cache at `path`; {} without one."""
    try:
        return decode_cache(map_file(path)[:])
    except Problem:
        return {}


def decode_cache(data: bytes) -> Cache:
    """{soname: paths} of an ld.so.cache (glibc, sysdeps/generic/dl-cache.h)."""
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
