"""What differs from one dynamic linker to another in how it looks symbols up."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from gdbext.elf.image import PT_INTERP
from gdbext.elf.problem import Problem
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.lookup.matching import Match, glibc_match, musl_match
from gdbext.linker.lookup.unique import Unique, read_unique_symbols
from gdbext.linker.process.environment import initial_environment
from gdbext.linker.process.process import AT_SECURE, Process

_RELEASE = re.compile(r"GLIBC_2\.(\d+)")
# The first releases with the newer behaviour; nothing but the release shows which one it is.
_NO_COPIED_PROTECTED = 36  # ELF_RTYPE_CLASS_EXTERN_PROTECTED_DATA is gone (NEWS 2.36)
_BASE_AT_ONCE_UNTIL, _BASE_LAST_FROM = 41, 43


@dataclass(frozen=True)
class Rules:
    """`match` judges one symbol. `dynamic_weak`: LD_DYNAMIC_WEAK makes weak definitions give way.

    `copied_protected`: a program's copy of protected data wins. `base_at_once`: a definition
    without a version satisfies a versioned reference before a later exact one does; None is
    unknown. `unique(namespace, name)` gives the one unique symbol, as in `Unique`.
    """

    musl: bool
    match: Match
    dynamic_weak: bool
    copied_protected: bool
    base_at_once: bool | None
    unique: Callable[[int, bytes], tuple[int, int] | None]


def read_rules(process: Process, linker: Linker, tables: TableSet) -> Rules:
    """The rules of this process's dynamic linker."""
    if linker.layout is None:
        return rules_of_release(None, musl=True)
    release = glibc_release(linker, tables)
    environment = {} if process.auxv.get(AT_SECURE) else initial_environment(process) or {}
    rules = rules_of_release(release)
    return replace(
        rules,
        dynamic_weak="LD_DYNAMIC_WEAK" in environment,
        unique=_unique_finder(process, linker, tables),
    )


def rules_of_release(release: int | None, musl: bool = False) -> Rules:
    """The rules of glibc 2.`release`, or of musl, in a process that has not started."""
    if musl:
        return Rules(True, musl_match, False, False, True, lambda _namespace, _name: None)
    at_once: bool | None = None
    if release is not None and release <= _BASE_AT_ONCE_UNTIL:
        at_once = True
    elif release is not None and release >= _BASE_LAST_FROM:
        at_once = False
    return Rules(
        musl=False,
        match=glibc_match,
        dynamic_weak=False,
        copied_protected=release is not None and release < _NO_COPIED_PROTECTED,
        base_at_once=at_once,
        unique=lambda _namespace, _name: None,
    )


def glibc_release(linker: Linker, tables: TableSet) -> int | None:
    """N of glibc 2.N, by the newest version that libc defines; None where it cannot be read."""
    for module in linker.modules:
        known = tables.of(module) if module.soname == "libc.so.6" else None
        if known is not None:
            try:
                names = known.versions.names.values()
            except Problem:
                return None
            found = [int(m[1]) for m in map(_RELEASE.fullmatch, names) if m]
            return max(found, default=None)
    return None


def _unique_finder(
    process: Process, linker: Linker, tables: TableSet
) -> Callable[[int, bytes], tuple[int, int] | None]:
    @cache
    def symbols() -> Unique:
        program = linker.modules[0].image
        static = program is not None and program.segment(PT_INTERP) is None
        namespaces = process.symbol_address("_dl_ns") if static else None
        return read_unique_symbols(process.memory, linker, tables, namespaces)

    return lambda namespace, name: symbols().get((namespace, name))
