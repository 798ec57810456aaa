"""All threads of a process, with the stacks of those that are not like another one's."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import gdb

from gdbext.elf.arch import Arch
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import PAGE, Memory
from gdbext.inferior.frames import Frame, selected_frame
from gdbext.inferior.text import tolerant
from gdbext.inferior.unwinding import frame_register

MOST_THREADS = 10_000
_MOST_STACKS = 1_000
MOST_FRAMES = 200
_SLICE = 4 * PAGE  # of a stack, from SP on: threads that wait have less


class RawThread(NamedTuple):
    """One thread; `pc` is None for one that runs and where a core has no registers. `values` are
    those of the registers that were asked for, none for one that runs. `stack` is an index of
    stacks, None: it was not looked at."""

    number: int
    lwp: int
    name: str | None
    selected: bool
    running: bool
    pc: int | None
    thread_pointer: int | None
    values: tuple[int | None, ...]
    stack: int | None


class RawStack(NamedTuple):
    """Frames, innermost first; `whole` is False where there are more than were read."""

    frames: tuple[Frame, ...]
    whole: bool


class Crowd(NamedTuple):
    """Threads and stacks, and what was left out, in sentences."""

    threads: list[RawThread]
    stacks: list[RawStack]
    notes: list[str]


def read_crowd(
    inferior: gdb.Inferior,
    arch: Arch,
    memory: Memory,
    registers: tuple[str, ...],
    is_code: Callable[[int], bool],
    read_frames: Callable[[int], Sequence[Frame]],
) -> Crowd:
    """Every thread; the selected thread and frame stay selected. `registers` are those
    whose values are wanted; `read_frames` gives at most so many of the selected thread.

    Threads that wait at the same place have the same code addresses at the same distances from
    SP: such a stack is unwound once, since that is what takes GDB long.
    """
    selected: gdb.InferiorThread | None = gdb.selected_thread()
    if selected is None:
        return Crowd([], [], ["no thread is selected"])
    frame = selected_frame()
    every = sorted(inferior.threads(), key=lambda t: t.num)
    known: dict[tuple[int, ...], int] = {}
    stacks: list[RawStack] = []
    threads: list[RawThread] = []
    left_out = 0
    # the selected one first: its stack must not be left out
    order = sorted(every[:MOST_THREADS], key=lambda t: t.num != selected.num)
    try:
        for thread in order:
            own = thread.num == selected.num
            raw = _raw(thread, arch, registers, own)
            if raw.pc is not None:
                key = _key(memory, raw.pc, _stack_pointer(arch), is_code)
                place = known.get(key)
                if place is None and len(stacks) < _MOST_STACKS:
                    place = known[key] = len(stacks)
                    stacks.append(_unwind(read_frames))
                left_out += place is None
                raw = raw._replace(stack=place)
            threads.append(raw)
    finally:
        selected.switch()
        if frame is not None and frame.is_valid():
            frame.select()
    threads.sort(key=lambda t: t.number)
    return Crowd(threads, stacks, _notes(len(every), left_out))


def _notes(count: int, left_out: int) -> list[str]:
    notes = []
    if count > MOST_THREADS:
        notes.append(f"only {MOST_THREADS} of {count} threads were looked at")
    if left_out:
        notes.append(
            f"the stacks of {left_out} threads were not unwound: there are more than "
            f"{_MOST_STACKS} different ones"
        )
    return notes


def _raw(
    thread: gdb.InferiorThread, arch: Arch, registers: tuple[str, ...], selected: bool
) -> RawThread:
    number, lwp = thread.num, thread.ptid[1]
    name = tolerant(lambda: thread.name)
    empty = RawThread(number, lwp, name, selected, True, None, None, (), None)
    if not thread.is_valid() or thread.is_running():
        return empty
    thread.switch()
    frame = gdb.newest_frame()
    pointers = (frame_register(frame, name) for name in arch.thread_pointers)
    pc = frame_register(frame, arch.pc)  # a damaged core has no registers
    return empty._replace(
        running=False,
        pc=arch.code_address(pc) if pc is not None else None,
        thread_pointer=next((p for p in pointers if p), None),
        values=tuple(frame_register(frame, name) for name in registers),
    )


def _stack_pointer(arch: Arch) -> int:
    return frame_register(gdb.newest_frame(), arch.sp) or 0


def _key(
    memory: Memory, pc: int, stack_pointer: int, is_code: Callable[[int], bool]
) -> tuple[int, ...]:
    """What is the same for threads with the same stack: PC, and places and values of all words
    that may be return addresses, in the first 16 KiB or up to where the stack ends."""
    data = b""
    for start in range(stack_pointer, stack_pointer + _SLICE, PAGE):
        try:
            data += memory.read(start, PAGE)
        except Unreadable:
            with suppress(Unreadable):  # the stack begins in this page
                data += memory.read(start, -start % PAGE)
            break
    words = struct.unpack(f"<{len(data) // 8}Q", data[: len(data) // 8 * 8])
    found = [pc]
    for index, word in enumerate(words):
        if word > 0xFFFF and is_code(word):
            found += (index, word)
    return tuple(found)


def _unwind(read_frames: Callable[[int], Sequence[Frame]]) -> RawStack:
    found = read_frames(MOST_FRAMES + 1)
    return RawStack(tuple(found[:MOST_FRAMES]), len(found) <= MOST_FRAMES)
