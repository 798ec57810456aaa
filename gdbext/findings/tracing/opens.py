"""Who called dlopen and with which flags, at a stop inside ld.so.

No debug info is needed. ld.so keeps the arguments of the call on the stack in struct
dl_open_args {const char *file; int mode; const void *caller_dlopen; …} (glibc, elf/dl-open.c):
`caller_dlopen` is the return address into the caller, so the frames say what to look for. In
2.43 the caller's link_map stands there instead.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from gdbext.elf.core import decode_path
from gdbext.elf.image import PF_X
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_string, read_words
from gdbext.findings.crash.calls import called_slot
from gdbext.linker.loaded.modules import LINKER, Linker, Module
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.places import Map

# bits/dlfcn.h; the last three are ld.so's own, include/dlfcn.h
NOLOAD = 0x00004
_FLAGS = (
    (0x00001, "RTLD_LAZY"),
    (0x00002, "RTLD_NOW"),
    (NOLOAD, "RTLD_NOLOAD"),
    (0x00008, "RTLD_DEEPBIND"),
    (0x00100, "RTLD_GLOBAL"),
    (0x01000, "RTLD_NODELETE"),
)
_INTERNAL = 0x80000000 | 0x40000000 | 0x20000000 | 0x10000000 | 0x08000000 | 0x04000000
_DEEPEST, _SHALLOWEST = 1 << 16, 1 << 9  # bytes of stack from the stop to the caller's frame
_LIBC = ("libc.so.6", "libdl.so.2")
OPENERS = frozenset(
    {"dlopen", "__dlopen", "dlmopen", "__dlmopen", "__libc_dlopen_mode", "___dlopen", "___dlmopen"}
)


class Caller(NamedTuple):
    """Who asked: an address in the call, its module, and the function that it called.

    `level` is the frame's; None when the frames could not be unwound, and the return address was
    found by searching the stack.
    """

    level: int | None
    lookup: int
    module: Module
    function: str | None


class Request(NamedTuple):
    """What dlopen was called with."""

    file: str
    mode: int


def find_caller(
    linker: Linker, tables: TableSet, addresses: Sequence[int], names: Sequence[str | None]
) -> Caller | None:
    """The first frame outside of ld.so, of libc and of functions named dlopen.

    `addresses` are the lookup addresses of the frames, innermost first, `names` GDB's names
    for their functions. `function` is what that frame called: dlopen, or a function of libc
    that opens a library for itself (iconv_open, getaddrinfo).
    """
    called: str | None = None
    for index, address in enumerate(addresses):
        module = linker.owner(address)
        if module is None:
            return None
        definition = tables.name(module, address)
        name = definition.symbol if definition else names[index]
        if _is_libc(module) or name in OPENERS:
            called = name or called
            continue
        return Caller(index, address, module, called)
    return None


def search_caller(space: Map, start: int) -> Caller | None:
    """The same without frames: the first word on the stack that a call of dlopen returns to.

    For musl, which has no unwind information, and for GDB with `set auto-solib-add off`, which
    does not read it. Where no such word is, the first that any call of libc returns to.
    """
    linker = space.linker
    second: Caller | None = None
    for word in _stack_words(space.process.memory, start) if linker else ():
        found = linker.find(word - 1) if linker else None
        if found is None or not found[1].flags & PF_X or _is_libc(found[0]):
            continue
        slot = called_slot(space, word)
        if slot is None or slot.provider is None or not _is_libc(slot.provider):
            continue
        caller = Caller(None, word - 1, found[0], slot.symbol)
        if slot.symbol in OPENERS:
            return caller
        second = second or caller
    return second


def _is_libc(module: Module) -> bool:
    return module.kind == LINKER or module.soname in _LIBC


def find_requests(memory: Memory, start: int, callers: Sequence[int] | None) -> list[Request]:
    """The arguments on the stack from `start` on: {file, mode, caller} with a known caller.

    `callers` are the return addresses of the frames and the link_map of the caller, None for
    any. Nearest to the stop first; what earlier calls left behind may come after.
    """
    words = _stack_words(memory, start)
    wanted = set(callers) if callers is not None else None
    found = []
    for index in range(2, len(words)):
        mode, pointer = words[index - 1] & 0xFFFFFFFF, words[index - 2]
        if mode & 3 not in (1, 2) or mode & ~_KNOWN:
            continue
        if wanted is not None and words[index] not in wanted:
            continue
        try:
            text = read_string(memory, pointer)
        except Unreadable:
            continue
        if text:
            found.append(Request(decode_path(text), mode))
    return found


def _stack_words(memory: Memory, start: int) -> tuple[int, ...]:
    """The stack from `start` on, less where it ends sooner."""
    size = _DEEPEST
    while size >= _SHALLOWEST:
        try:
            return read_words(memory, start, size // 8)
        except Unreadable:
            size //= 2
    return ()


def choose_request(requests: Sequence[Request], fresh: Sequence[Module]) -> Request | None:
    """The request that brought the new modules in: the nearest one that names one of them.

    The file name is the same in both: ld.so expands a name, but follows no symbolic link.
    """
    names = {os.path.basename(m.name) for m in fresh} | {m.soname for m in fresh}
    return next((r for r in requests if os.path.basename(r.file) in names), None)


_KNOWN = sum(bit for bit, _ in _FLAGS) | _INTERNAL


def flag_names(mode: int) -> str:
    """`RTLD_NOW | RTLD_GLOBAL`."""
    names = [name for bit, name in _FLAGS if mode & bit]
    if not mode & 0x100:
        names.append("RTLD_LOCAL")
    return " | ".join(names)
