"""What the model needs of a thread, and where its TLS blocks are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gdbext.elf.arch import Arch
from gdbext.elf.image import PT_TLS
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_word
from gdbext.linker.modules import Linker, Module


class Thread(NamedTuple):
    """One thread: GDB's number, the kernel's id, SP, and TP (None where it is not known)."""

    number: int
    lwp: int
    stack_pointer: int
    thread_pointer: int | None


class TlsBlock(NamedTuple):
    """The TLS block of one module in one thread: [start, end)."""

    start: int
    end: int
    module: Module
    thread: Thread


def tls_blocks(
    memory: Memory, arch: Arch, linker: Linker, threads: Sequence[Thread]
) -> Iterator[TlsBlock]:
    """Every block that exists: static ones by l_tls_offset, others through the DTV.

    The DTV pointer is the second word of the TCB on x86-64, the first on ARM64 (glibc,
    sysdeps/{x86_64,aarch64}/nptl/tls.h); dtv[id] is {address, to_free}.
    """
    for module in linker.modules:
        private, image = module.private, module.image
        segment = image.segment(PT_TLS) if image else None
        if private is None or segment is None or not private.tls_modid:
            continue
        offset = private.tls_offset or 0
        for thread in threads:
            if not thread.thread_pointer:
                continue
            if offset > 0:
                distance = -offset if arch.tls_below_pointer else offset
                start: int | None = thread.thread_pointer + distance
            else:
                start = _dynamic_block(memory, arch, thread.thread_pointer, private.tls_modid)
            if start is not None:
                yield TlsBlock(start, start + segment.memsz, module, thread)


def _dynamic_block(memory: Memory, arch: Arch, pointer: int, modid: int) -> int | None:
    try:
        dtv = read_word(memory, pointer + (8 if arch.tls_below_pointer else 0))
        if modid > read_word(memory, dtv - 16):  # dtv[-1].counter, its length
            return None
        start = read_word(memory, dtv + 16 * modid)
    except Unreadable:
        return None
    return start if 0 < start < (1 << 64) - 1 else None  # -1: not allocated in this thread yet
