"""What the resolver of an IFUNC can return, read from its code; it is never called."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from gdbext.elf.arch import Arch
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_word

_LARGEST_RESOLVER = 2048
_UNKNOWN_SIZE = 512  # resolvers whose symbol is stripped; glibc's longest have some 400 bytes


def result_finder(memory: Memory, arch: Arch) -> Callable[[int, int], frozenset[int]]:
    """A function (resolver, its size or 0) -> every address that it could return.

    A resolver chooses among addresses that its code names, or that it loads; a helper that it
    calls may name them too.
    """

    def code(address: int, size: int) -> bytes:
        for attempt in (size, 64):
            try:
                return memory.read(address, attempt)
            except Unreadable:
                continue
        return b""

    @cache
    def results(resolver: int, size: int) -> frozenset[int]:
        size = min(size, _LARGEST_RESOLVER) or _UNKNOWN_SIZE
        own = arch.taken(code(resolver, size), resolver)
        found, cells = set(own.addresses), set(own.cells)
        for target in own.calls:
            if not resolver <= target < resolver + size:
                helper = arch.taken(code(target, _UNKNOWN_SIZE), target)
                found |= helper.addresses | {target}
                cells |= helper.cells
        for cell in cells:
            try:
                found.add(read_word(memory, cell))
            except Unreadable:
                continue
        return frozenset(found)

    return results
