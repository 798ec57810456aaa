"""Allocators that a program brings along, in the place of libc's and the C++ library's.

The C++ standard lets a program define the global operators new and delete anew
([replacement.functions]), glibc malloc and its companions ("Replacing malloc" in its manual).
Both libraries call their own by way of the PLT, so that the whole process has one allocator.
"""

from __future__ import annotations

from gdbext.linker.loaded.modules import Module
from gdbext.linker.lookup.lookup import Lookup

# "Replacing malloc": these four are needed, or memory goes from one allocator to another.
_C_NEEDED = (b"malloc", b"free", b"calloc", b"realloc")
_C = frozenset(_C_NEEDED) | {
    b"aligned_alloc", b"malloc_usable_size", b"memalign", b"posix_memalign", b"pvalloc", b"valloc",
}  # fmt: skip
_CXX_NEEDED = (b"_Znwm", b"_ZdlPv")  # operator new(unsigned long), operator delete(void*)
# Itanium C++ ABI, 5.1.3: new, new[], delete, delete[]; those of a class are _ZN….
_CXX = (b"_Znw", b"_Zna", b"_Zdl", b"_Zda")
_CXX_RUNTIME = b"__cxa_throw"  # libstdc++, libc++abi and what has one of them linked in


def replaces_allocator(lookup: Lookup, name: bytes, loser: Module, winner: Module) -> bool:
    """Whether WINNER's definition of NAME is part of a whole allocator that takes the place of
    LOSER's, as LOSER's own interface allows."""
    if name in _C:
        ours = (loser.soname or "").startswith("libc.so")
        return ours and all(_defines(lookup, winner, needed) for needed in _C_NEEDED)
    if name.startswith(_CXX):
        ours = _defines(lookup, loser, _CXX_RUNTIME)
        return ours and all(_defines(lookup, winner, needed) for needed in _CXX_NEEDED)
    return False


def _defines(lookup: Lookup, module: Module, name: bytes) -> bool:
    symbols = lookup.tables_of(module).symbols
    numbers = lookup.definers.of(name).get(module.map.address, ())
    return any(symbols.entry(number).shndx for number in numbers)  # DT_HASH lists undefined ones
