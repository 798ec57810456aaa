"""What the model needs of a thread, and what belongs to one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gdbext.elf.arch import Arch
from gdbext.linker.loaded.modules import Module


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
