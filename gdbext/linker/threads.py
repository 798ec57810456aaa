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


class StackFrame(NamedTuple):
    """`lookup` is an address inside the call, `name` GDB's for the function."""

    lookup: int
    name: str | None


class Stack(NamedTuple):
    """The frames of one thread, innermost first."""

    thread: int
    frames: tuple[StackFrame, ...]


class TlsBlock(NamedTuple):
    """The TLS block of one module in one thread: [start, end)."""

    start: int
    end: int
    module: Module
    thread: Thread


class ControlBlock(NamedTuple):
    """The thread control block (struct pthread) of one thread: [start, end)."""

    start: int
    end: int
    thread: Thread


# Where libc does not tell, what the thread pointer must point to: on x86-64 tcbhead_t up to the
# stack and pointer guards (glibc, sysdeps/x86_64/nptl/tls.h), on ARM64 two words (AAELF64).
_HEAD_BELOW, _HEAD_ABOVE = 64, 16


def control_blocks(
    arch: Arch, threads: Sequence[Thread], size: int | None
) -> Iterator[ControlBlock]:
    """The control block of each thread. `size` is that of struct pthread, where it is known.

    It begins at the thread pointer where TLS blocks lie below it (x86-64), and ends with the two
    words at the thread pointer where they lie above it (ARM64; glibc, TLS_DTV_AT_TP).
    """
    for thread in threads:
        pointer = thread.thread_pointer
        if not pointer:
            continue
        if arch.tls_below_pointer:
            yield ControlBlock(pointer, pointer + (size or _HEAD_BELOW), thread)
        else:
            yield ControlBlock(pointer - (size or 0), pointer + _HEAD_ABOVE, thread)


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
