"""A module's own PLT entries: whether a JUMP_SLOT still leads back to one of them."""

from __future__ import annotations

from gdbext.elf.arch import Arch
from gdbext.elf.image import DT_PLTGOT, PF_X
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory
from gdbext.elf.relocations import Relocation
from gdbext.linker.loaded.tables import Tables

_STUB = 32  # bytes of a PLT entry or of PLT0


class Stubs:
    """The executable segments of one module, with its PLT; all of its code is in [first, last)."""

    def __init__(self, memory: Memory, arch: Arch, tables: Tables) -> None:
        self._memory = memory
        self._arch = arch
        self._tables = tables
        image = tables.image
        self._pltgot = image.pointer(DT_PLTGOT) or 0
        self._segments = [
            (image.bias + s.vaddr, image.bias + s.vaddr + s.memsz)
            for s in image.loads
            if s.flags & PF_X
        ]
        self.first = min((start for start, _ in self._segments), default=0)
        self.last = max((end for _, end in self._segments), default=0)

    def is_lazy(self, value: int, relocation: Relocation, symbol: str | None) -> bool:
        """Whether a JUMP_SLOT still leads to its own PLT, told by the linker's own data.

        The code there hands this slot's number, or the resolver in GOT[2], to ld.so. A PLT of
        another form is told by the file: ld.so prepares a lazy slot by adding the load bias
        to what the file has there (glibc, elf_machine_lazy_rel).
        """
        end = next((end for start, end in self._segments if start <= value < end), None)
        if end is None:
            return False
        tables = self._tables
        code = self._code(value, end)
        if code is None:
            # Not in this core. A symbol that another module defines leads here by the PLT alone.
            number = relocation.symbol
            return number < tables.symbols.count and not tables.symbols.entry(number).shndx
        if self._arch.lazy_stub(code, value, relocation.plt_index or 0, self._pltgot):
            return True
        name = tables.name(value, symbol)
        if name is not None and name.symbol == symbol:
            return False  # its own definition of that symbol
        file = tables.file
        if file is None:
            return False
        try:
            first = int.from_bytes(file.memory.read(relocation.offset, 8), "little")
        except Unreadable:
            return False
        return first + tables.image.bias == value

    def _code(self, address: int, end: int) -> bytes | None:
        """Up to _STUB bytes of code; None where it is not known."""
        try:
            return self._memory.read(address, min(_STUB, end - address))
        except Unreadable:
            return None
