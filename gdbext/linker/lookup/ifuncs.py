"""What the resolver of an IFUNC can return, read from its code; it is never called."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from gdbext.elf.arch import Arch
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_word
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.loaded.tables import TableSet

_LARGEST_RESOLVER = 2048
_UNKNOWN_SIZE = 512  # resolvers whose symbol is stripped; glibc's longest have some 400 bytes


class Results(NamedTuple):
    """`all` are the addresses that a resolver could return, some too many and never one too few;
    `named` are those that its own code names or loads, without what it calls. Where the code
    cannot be `read`, both are empty."""

    all: frozenset[int]
    named: frozenset[int]
    read: bool


def result_finder(
    memory: Memory, arch: Arch, linker: Linker, tables: TableSet
) -> Callable[[int, int], Results]:
    """A function (resolver, its size or 0) -> what it could return.

    A resolver chooses among addresses that its code names, or that it loads; a helper that it
    calls may name them too. It returns null if nothing is to be bound: ld.so has such a one, to
    initialise its CPU features (glibc, sysdeps/x86/dl-get-cpu-features.c).
    """

    def end(function: int) -> int | None:
        """Where a function ends; None where nobody tells."""
        module = linker.owner(function)
        known = tables.of(module) if module else None
        found = known.functions.find(function) if known else None
        return found.end if found and found.start == function else None

    def code(function: int, size: int) -> bytes:
        limit = end(function)
        if limit is not None:
            size = min(size, limit - function)
        for attempt in (size, min(size, 64)):
            try:
                return memory.read(function, attempt)
            except Unreadable:
                continue
        return b""

    @cache
    def results(resolver: int, size: int) -> Results:
        size = min(size, _LARGEST_RESOLVER) or _UNKNOWN_SIZE
        body = code(resolver, size)
        own = arch.taken(body, resolver)
        named = own.addresses | _loaded(memory, own.cells)
        found = set(named)
        null = arch.returns_null(body)
        for target in own.calls:
            if not resolver <= target < resolver + size:
                text = code(target, _UNKNOWN_SIZE)
                helper = arch.taken(text, target)
                found |= helper.addresses | _loaded(memory, helper.cells) | {target}
        every = frozenset(found | {0} if null else found - {0})
        return Results(every, frozenset(named), bool(body))

    return results


def _loaded(memory: Memory, cells: frozenset[int]) -> set[int]:
    """What stands in `cells`."""
    found = set()
    for cell in cells:
        try:
            found.add(read_word(memory, cell))
        except Unreadable:
            continue
    return found
