"""Why a call failed, as libc keeps it for dlerror: read when the call returns.

glibc from 2.34 on and musl keep it where it can be found. A breakpoint on each of ld.so's and
libc's functions that raise failures would cost time at every change of the lists, when GDB sets
all breakpoints anew. One is needed for what libc opens itself: that leaves nothing behind.
"""

from __future__ import annotations

from gdbext.elf.arch import Arch
from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory
from gdbext.elf.symbols import read_dynamic_symbols
from gdbext.inferior import Inferior
from gdbext.linker.loaded.modules import read_linker
from gdbext.linker.opening.dlresults import RESULT_VARIABLE, DlResult, read_held, result_offsets
from gdbext.linker.threads.threads import Thread
from gdbext.stops.recorder.modules import Record
from gdbext.stops.recorder.registers import thread_pointer

EVERY_FAILURE = frozenset({"_dl_signal_error", "_dl_signal_exception"})
# dlopen's own end in ld.so: what its worker raised is raised again (elf/dl-open.c, _dl_open)
RAISED_AGAIN = frozenset({"_dl_signal_exception"})


def keeps_results(memory: Memory, record: Record) -> bool:
    """Whether a module is a libc.so.6 whose record of failures can be read at any moment."""
    try:
        symbols = read_dynamic_symbols(memory, record.image) if record.image else None
    except Problem:
        return False
    return symbols is not None and RESULT_VARIABLE in symbols.indices_by_name


class Held:
    """What the threads of one process hold."""

    def __init__(self) -> None:
        self._offsets: tuple[int, ...] | None = None

    def read(self, arch: Arch, lasting: bool) -> DlResult | None:
        """The latest failure of the selected thread.

        `lasting`: no other libc can come, so that where the first one keeps it need not be
        looked for again.
        """
        pointer = thread_pointer(arch)
        if pointer is None:
            return None
        try:
            inferior = Inferior()
            offsets = self._offsets
            if offsets is None:
                linker = read_linker(inferior)
                offsets = ()
                if linker.layout is not None:  # glibc
                    found = result_offsets(inferior.memory, arch, linker, inferior.tables)
                    offsets = tuple(found)
                    if not offsets:
                        return None
                self._offsets = offsets if lasting else None
            return read_held(inferior.memory, arch, Thread(0, 0, 0, pointer), offsets)
        except Problem:
            return None
