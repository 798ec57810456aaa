"""Whether one symbol is what a lookup wants: check_match of glibc, find_sym2 of musl.

Sources: glibc, elf/dl-lookup.c (check_match, do_lookup_x) and elf/dl-version.c; musl,
ldso/dynlink.c (find_sym2, gnu_lookup, sysv_lookup).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gdbext.elf.symbols import (
    SHN_ABS,
    SHN_UNDEF,
    STB_GLOBAL,
    STB_GNU_UNIQUE,
    STB_WEAK,
    STT_COMMON,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_NOTYPE,
    STT_OBJECT,
    STT_TLS,
    STV_HIDDEN,
    STV_INTERNAL,
    Symbol,
)
from gdbext.elf.versions import HIDDEN

# glibc, sysdeps/generic/ldsodefs.h, ELF_RTYPE_CLASS_*: what kind of relocation asks
DATA, PLT, COPY = 0, 1, 2
_INDEX = 0x7FFF
# 0 is local, 1 global, 2 the first version: relocations that ask for no version take that too
_NAMED_FOR_RELOCATIONS, _NAMED_FOR_DLSYM = 3, 2
_TYPES = frozenset({STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_COMMON, STT_TLS, STT_GNU_IFUNC})
_MUSL_TYPES = _TYPES - {STT_GNU_IFUNC}
_BINDINGS = frozenset({STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE})
_CLOSED = frozenset({STV_HIDDEN, STV_INTERNAL})

MATCH = ""
SOLE = "it is one of several versions, none of which was asked for"
BASE = "its definition without a version would do if the wanted version were not there"
UNDEFINED = "it only refers to the symbol"
# psABI x86-64, section on function addresses: st_value of an undefined function is its PLT entry
CANONICAL = "it has a PLT entry only, for pointers to it"
NO_VALUE = "the symbol has no value"
HIDDEN_VERSION = "its version is hidden, and no version was asked for"


class Wanted(NamedTuple):
    """What is looked up. `exact`: no definition without a version may stand in.

    `by_dlsym`: dlsym asks, not a relocation; without a version it wants the newest.
    """

    name: bytes
    version: str | None = None
    exact: bool = False
    type_class: int = DATA
    by_dlsym: bool = False


# (symbol, its DT_VERSYM entry or None, the version's name or None, wanted) -> MATCH, or why not
Match = Callable[[Symbol, "int | None", "str | None", Wanted], str]


def glibc_match(symbol: Symbol, versym: int | None, version: str | None, wanted: Wanted) -> str:
    """MATCH, SOLE (a match if it is the module's only one), BASE (up to 2.41 a match, later one
    if no other is), or why it is none."""
    kind = symbol.info & 15
    if not symbol.value and symbol.shndx != SHN_ABS and kind != STT_TLS:
        return UNDEFINED if symbol.shndx == SHN_UNDEF else NO_VALUE
    if symbol.shndx == SHN_UNDEF and wanted.type_class & PLT:
        return CANONICAL if symbol.value else UNDEFINED
    if kind not in _TYPES:
        return f"a symbol of type {kind} is neither code nor data"
    if versym is None:
        return MATCH
    if wanted.version is None:
        named = _NAMED_FOR_DLSYM if wanted.by_dlsym else _NAMED_FOR_RELOCATIONS
        if versym & _INDEX < named:
            return MATCH
        return HIDDEN_VERSION if versym & HIDDEN else SOLE
    if version == wanted.version:
        return MATCH
    if version is not None:
        return f"it has the version {version}"
    if wanted.exact or versym & HIDDEN:
        return "it has no version, and may not stand in for one"
    return BASE


def musl_match(symbol: Symbol, versym: int | None, _version: str | None, wanted: Wanted) -> str:
    """MATCH or why not; musl knows of versions only that hidden ones are not for linking."""
    kind = symbol.info & 15
    if versym is not None and versym & HIDDEN:
        return "its version is hidden"
    if symbol.shndx == SHN_UNDEF and (wanted.type_class & PLT or kind == STT_TLS):
        return CANONICAL if symbol.value and kind != STT_TLS else UNDEFINED
    if not symbol.value and kind != STT_TLS:
        return UNDEFINED if symbol.shndx == SHN_UNDEF else NO_VALUE
    if kind not in _MUSL_TYPES:
        return f"a symbol of type {kind} is neither code nor data"
    return MATCH if symbol.info >> 4 in _BINDINGS else "it is a local symbol"


def glibc_local(symbol: Symbol) -> str:
    """Why a matching symbol is not for others; then the rest of its module is skipped as well."""
    if symbol.other & 3 in _CLOSED:
        return "its visibility is hidden"
    return MATCH if symbol.info >> 4 in _BINDINGS else "it is a local symbol"
