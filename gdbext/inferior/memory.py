"""The memory of a live process."""

from __future__ import annotations

import gdb

from gdbext.elf.problem import Unreadable

_LARGEST_READ = 1 << 30


class GdbMemory:
    """The memory of a live process, read through GDB, which hides its own breakpoints."""

    def __init__(self, inferior: gdb.Inferior) -> None:
        self._inferior = inferior

    def read(self, address: int, size: int) -> bytes:
        if size < 0 or size > _LARGEST_READ or not 0 <= address < 1 << 64:
            raise Unreadable(address, size, "cannot be asked for")
        if size == 0:
            return b""
        try:
            return bytes(self._inferior.read_memory(address, size))
        except gdb.error as error:  # gdb.MemoryError is one; GDB 18 has plain ones as well
            raise Unreadable(address, size) from error
