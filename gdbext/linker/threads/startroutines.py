"""The function that a thread was started with, from glibc's struct pthread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gdbext.elf.arch import Arch
from gdbext.elf.image import PF_X
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_words
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.loaded.tables import TableSet

_LARGEST_CONTROL_BLOCK = 1 << 16
LEAST_SIZES = {"x86-64": 0x900, "aarch64": 0x740}  # at least that much belongs to it in every glibc


class Descriptors(NamedTuple):
    """libthread_db's numbers, in bytes: sizeof (struct pthread) and where start_routine is."""

    size: int | None
    start_routine: int | None


def read_descriptors(memory: Memory, linker: Linker, tables: TableSet) -> Descriptors:
    """From what libc.so.6 exports for libthread_db since glibc 2.34: {bits, count, offset} for
    each field (nptl_db/structs.def); before, libpthread's .symtab alone had them."""
    size = start = None
    for module in linker.modules:
        if not (module.soname or "").startswith(("libc.", "libpthread.")):
            continue
        own = tables.of(module)
        if own is None:
            continue
        size = size or _number(memory, own.address_of("_thread_db_sizeof_pthread"), 0)
        start = start or _number(memory, own.address_of("_thread_db_pthread_start_routine"), 8)
    if size is not None and not 0 < size < _LARGEST_CONTROL_BLOCK:
        size = None
    if start is not None and not 0 < start < (size or _LARGEST_CONTROL_BLOCK):
        start = None
    return Descriptors(size, start)


def _number(memory: Memory, address: int | None, at: int) -> int | None:
    if address is None:
        return None
    try:
        return int.from_bytes(memory.read(address + at, 4), "little")
    except Unreadable:
        return None


class StartRoutines:
    """What each thread was started with."""

    def __init__(
        self,
        memory: Memory,
        arch: Arch,
        linker: Linker,
        descriptors: Descriptors,
        function_start: Callable[[int], int | None],
    ) -> None:
        self._memory = memory
        self._arch = arch
        self._linker = linker
        self._descriptors = descriptors
        self._function_start = function_start

    def of(self, pointer: int | None, outermost: Sequence[int]) -> int | None:
        """The start routine of the thread at thread pointer `pointer`; 0: it has none, as the
        first thread has none. None: not known.

        Without libthread_db's numbers it is the word in struct pthread that is the start of the
        function of one of the `outermost` frames.
        """
        if not pointer:
            return None
        size, at = self._descriptors
        below = self._arch.tls_below_pointer
        if at is not None and (below or size is not None):
            start = pointer if below else pointer - (size or 0)
            try:
                return read_words(self._memory, start + at, 1)[0]
            except Unreadable:
                return None
        room = size or LEAST_SIZES[self._arch.name]
        starts = {s for pc in outermost if (s := self._function_start(pc)) is not None}
        try:
            words = read_words(self._memory, pointer if below else pointer - room, room // 8)
        except Unreadable:
            return None
        return next((w for w in words if w in starts and self._is_code(w)), None)

    def _is_code(self, address: int) -> bool:
        found = self._linker.find(address)
        return found is not None and bool(found[1].flags & PF_X)
