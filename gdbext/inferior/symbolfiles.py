"""Symbols for GDB: of the modules that stacks go through, and of no other build.

GDB loads the symbols of all libraries or of none, takes half of its time for that when there are
500, and loads none where it does not find the link map, as in qemu-user's cores. Function names,
lines and, by .eh_frame, the unwinding itself need them for the modules on the stacks alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import gdb

from gdbext.inferior.text import tolerant
from gdbext.linker.loaded.modules import VDSO, Linker, Module

if TYPE_CHECKING:
    from gdbext.inferior import Inferior


class SymbolLoader:
    """Loads each module's symbols once, at the address where it is; this alters the session."""

    def __init__(self, inferior: Inferior, linker: Linker | None) -> None:
        self._inferior = inferior
        self._linker = linker
        self._asked: set[int] = set()

    def load(self, addresses: Iterable[int]) -> bool:
        """Load what is missing for code at these addresses; whether anything was loaded."""
        if self._linker is None:
            return False
        loaded = False
        for address in addresses:
            place = self._inferior.arch.code_address(address)
            module = self._linker.owner(place)
            if module is not None and module.map.address not in self._asked:
                self._asked.add(module.map.address)
                loaded = self._load(module, place) or loaded
        return loaded

    def _load(self, module: Module, address: int) -> bool:
        if module.kind == VDSO:
            return False  # GDB reads it from memory
        file = self._inferior.tables.file_of(module)
        if file is None or _is_loaded(file.path, address):
            return False
        path = file.path.replace("\\", "\\\\").replace('"', '\\"')
        if "\n" in path or any("\ud800" <= char <= "\udfff" for char in path):
            return False  # GDB takes one line of UTF-8 as one command
        try:
            gdb.execute(f'add-symbol-file "{path}" -o {module.bias:#x}', to_string=True)
        except gdb.error:
            return False  # GDB finds it damaged: the module's own tables have to do
        return True


def _is_loaded(path: str, address: int) -> bool:
    """Whether GDB has the symbols of this file where they belong: of qemu-user's cores it puts
    the program itself at the addresses of the file."""
    real = os.path.realpath(path)
    if not any(o.filename and os.path.realpath(o.filename) == real for o in gdb.objfiles()):
        return False
    said = tolerant(lambda: gdb.execute(f"info symbol {address:#x}", to_string=True))
    return not said.startswith("No symbol matches")
