"""Choosing modules by what a user types."""

from __future__ import annotations

from collections.abc import Callable

from gdbext.elf.problem import Problem
from gdbext.linker.loaded.modules import Linker, Module


def select_modules(linker: Linker, wanted: str) -> list[Module]:
    """The modules that `wanted` names: a whole path or file name, then a file name up to its
    first dot (`libc` is libc.so.6 and not libcrypto.so.3), then any part of a path.

    Raises Problem when there is none.
    """
    rules: tuple[Callable[[Module], bool], ...] = (
        lambda m: wanted in (m.path, m.name),
        lambda m: wanted in (m.file_name, m.soname),
        lambda m: wanted == m.file_name.partition(".")[0],
        lambda m: wanted in m.path,
    )
    for matches in rules:
        found = [m for m in linker.modules if matches(m)]
        if found:
            return found
    raise Problem(f"no loaded module has {wanted!r} in its path; plug-links lists them")
