"""glibc's locks of the dynamic linker, found in `_rtld_global` by what they must hold."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory
from gdbext.linker.loaded.modules import LINKER, Linker
from gdbext.linker.loaded.tables import TableSet

LOAD_LOCK = "_dl_load_lock"
# The order in struct rtld_global (sysdeps/generic/ldsodefs.h); the third came with glibc 2.35.
_NAMES = (LOAD_LOCK, "_dl_load_write_lock", "_dl_load_tls_lock")
_RECURSIVE = 1  # PTHREAD_MUTEX_RECURSIVE_NP
# struct __pthread_mutex_s: lock, count, owner, nusers, kind (sysdeps/nptl/bits/struct_mutex.h;
# the first five are the same on both CPUs), and its size on x86-64 and ARM64
_MUTEX = struct.Struct("<5I")
_SIZES = (40, 48)
_LARGEST = 1 << 16
NO_LOCKS = "this dynamic linker does not export where its locks are"


class Mutex(NamedTuple):
    """A pthread_mutex_t of type recursive; `owner` is an LWP, 0 where nobody holds it."""

    name: str
    address: int
    held: bool
    owner: int


def read_loader_locks(memory: Memory, linker: Linker, tables: TableSet) -> list[Mutex]:
    """_dl_load_lock and those behind it; [] where they cannot be found (musl exports nothing)."""
    for module in linker.modules:
        own = tables.of(module) if module.kind == LINKER and not module.namespace else None
        if own is None:
            continue
        try:
            for index in own.symbols.indices_by_name.get(b"_rtld_global", ()):
                value, size = own.symbols.entry(index)[4:]
                start = own.image.bias + value
                return _find(memory.read(start, min(size, _LARGEST)), start)
        except Problem:
            return []  # ld.so's tables or data are not in this core
    return []


def _find(data: bytes, start: int) -> list[Mutex]:
    """The first two or three recursive mutexes in a row."""
    for size in _SIZES:
        for at in range(0, len(data) - 2 * size, 8):
            count = 0
            while count < len(_NAMES) and _is_mutex(data, at + count * size, size):
                count += 1
            if count >= 2:
                return [_mutex(data, at + i * size, start, _NAMES[i]) for i in range(count)]
    return []


def _is_mutex(data: bytes, at: int, size: int) -> bool:
    if at + size > len(data):
        return False
    lock, count, owner, users, kind = _MUTEX.unpack_from(data, at)
    if kind != _RECURSIVE or lock > 2 or any(data[at + _MUTEX.size : at + size]):
        return False
    return bool(count and owner and users) if lock else not (count or owner or users)


def _mutex(data: bytes, at: int, start: int, name: str) -> Mutex:
    lock, _, owner, _, _ = _MUTEX.unpack_from(data, at)
    return Mutex(name, start + at, bool(lock), owner)


def read_mutex_owner(memory: Memory, address: int, lwps: Sequence[int] | set[int]) -> int | None:
    """The LWP that holds the pthread_mutex_t at `address`; None if none of `lwps` does, or what
    is there is no mutex."""
    try:
        lock, _, owner, users, _ = _MUTEX.unpack(memory.read(address, _MUTEX.size))
    except Problem:
        return None
    return owner if lock in (1, 2) and users and owner in lwps else None
