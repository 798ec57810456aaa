"""Numbers that libc.so.6 and ld.so export."""

from __future__ import annotations

from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory
from gdbext.linker.loaded.modules import LINKER, Linker, Module
from gdbext.linker.loaded.tables import TableSet


def is_libc(module: Module) -> bool:
    """Whether it is ld.so, libc or libpthread."""
    soname = module.soname or ""
    return module.kind == LINKER or soname.startswith(("libc.", "libpthread.", "libc-"))


def libc_number(
    memory: Memory, linker: Linker, tables: TableSet, name: str, size: int
) -> int | None:
    """The unsigned value of a variable of `size` bytes in libc.so.6 or ld.so, None where neither
    has it."""
    for module in linker.modules:
        libc = module.kind == LINKER or (module.soname or "").startswith("libc.")
        own = tables.of(module) if libc else None
        address = own.address_of(name) if own else None
        if address is not None:
            try:
                return int.from_bytes(memory.read(address, size), "little")
            except Unreadable:
                return None
    return None
