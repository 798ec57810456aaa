"""The arguments and the environment of a process as it started, read from its initial stack.

The kernel puts argc, argv, NULL, envp, NULL and the auxiliary vector in a row (psABI x86-64,
3.4.1; AAPCS64 does the same on Linux). ld.so reads LD_LIBRARY_PATH and LD_PRELOAD from there,
so later calls of setenv() do not matter.
"""

from __future__ import annotations

import struct

from gdbext.elf.core import decode_path
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import PAGE, Memory, read_string, read_word
from gdbext.linker.process.process import AT_EXECFN, AT_RANDOM, Process

_FURTHEST = 6 << 20  # arguments and environment take at most a quarter of RLIMIT_STACK, 6 MiB
_MOST_VARIABLES = 65536


def initial_environment(process: Process) -> dict[str, str] | None:
    """{name: value}, or None when the initial stack cannot be read."""
    try:
        found = _read_stack(process)
    except Unreadable:
        return None
    if found is None:
        return None
    pairs = (text.partition("=") for text in found[1])
    return {name: value for name, _, value in pairs}


def initial_arguments(process: Process) -> list[str] | None:
    """The command line, or None when the initial stack cannot be read."""
    try:
        found = _read_stack(process, arguments=True)
    except Unreadable:
        return None
    return found[0] if found else None


def _read_stack(process: Process, arguments: bool = False) -> tuple[list[str], list[str]] | None:
    """(arguments, where they are asked for; variables as NAME=VALUE)."""
    vector = _find_vector(process)
    if vector is None:
        return None
    memory = process.memory
    variables, at = _read_down(memory, vector - 16)  # over the NULL that ends envp
    if not arguments:
        return [], _texts(memory, variables)
    # argv stands below another NULL, and argc below argv.
    pointers: list[int] = []
    at -= 8
    while (word := read_word(memory, at)) != len(pointers):
        if len(pointers) == _MOST_VARIABLES:
            return None
        pointers.append(word)
        at -= 8
    return _texts(memory, pointers), []


def _read_down(memory: Memory, at: int) -> tuple[list[int], int]:
    """The pointers from `at` downward, the first one last, and where the NULL below them is."""
    pointers: list[int] = []
    while len(pointers) < _MOST_VARIABLES and (pointer := read_word(memory, at)):
        pointers.append(pointer)
        at -= 8
    return pointers, at


def _texts(memory: Memory, pointers: list[int]) -> list[str]:
    return [decode_path(read_string(memory, p, 1 << 17)) for p in reversed(pointers)]


def _find_vector(process: Process) -> int | None:
    """Where the auxiliary vector stands: below the 16 random bytes that AT_RANDOM names."""
    random = process.auxv.get(AT_RANDOM)
    if not random:
        return None
    pattern = struct.pack("<QQ", AT_RANDOM, random)
    found = _search_down(process.memory, process.auxv.get(AT_EXECFN, random), pattern)
    while found is not None:
        try:
            key, value = struct.unpack("<QQ", process.memory.read(found - 16, 16))
        except Unreadable:
            return None
        if process.auxv.get(key) != value:
            return found
        found -= 16
    return None


def _search_down(memory: Memory, top: int, pattern: bytes) -> int | None:
    page = top // PAGE * PAGE
    behind = b""
    for start in range(page, max(page - _FURTHEST, 0), -PAGE):
        try:
            data = memory.read(start, PAGE) + behind
        except Unreadable:
            return None
        at = data.find(pattern)
        if at >= 0:
            return start + at
        behind = data[: len(pattern)]
    return None
