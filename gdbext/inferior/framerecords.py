"""The frames of the selected thread: GDB's, and behind these what frame records tell."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from gdbext.elf.problem import Problem
from gdbext.inferior.frames import (
    Frame,
    function_at,
    innermost_register,
    read_frames,
    source_position,
)
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.threads.framerecords import read_callers, return_address

if TYPE_CHECKING:
    from gdbext.inferior import Inferior

_MOST_CALLERS = 10_000
# Where a stack begins, or where GDB stops by its own setting (backtrace past-main)
OUTERMOST = ("main", "_start", "clone", "clone3", "start_thread")


def read_all_frames(inferior: Inferior, most: int, linker: Linker | None) -> list[Frame]:
    """At most `most` frames, innermost first."""
    frames, behind = _read(inferior, most, linker)
    if behind and inferior.unwinding.load(behind):
        frames, behind = _read(inferior, most, linker)  # with symbols GDB may get further
    for address in behind[: max(most - len(frames), 0)]:
        definition = function_at(address - 1)
        name = definition.symbol if definition is not None else None
        place = source_position(address - 1)
        frames.append(Frame(len(frames), address, address - 1, name, *place, by_record=True))
    return frames


def _read(inferior: Inferior, most: int, linker: Linker | None) -> tuple[list[Frame], list[int]]:
    frames = _by_gdb(inferior, most, linker)
    if not frames or linker is None:
        return frames, []
    return frames, callers_behind(inferior, linker, frames[-1].pc, frames[-1].function)


def _by_gdb(inferior: Inferior, most: int, linker: Linker | None) -> list[Frame]:
    """GDB's frames, their addresses without the signature that GDB may have left in them."""
    frames = read_frames(most, inferior.unwinding)
    if inferior.arch.frame_register is None or linker is None:
        return frames
    for i, frame in enumerate(frames[1:], 1):
        if linker.owner(frame.pc) is None:
            address = return_address(inferior.memory, inferior.arch, frame.pc)
            if address is not None and linker.owner(address) is not None:
                frames[i] = frame._replace(pc=address, lookup=address - 1)
    return frames


def callers_behind(inferior: Inferior, linker: Linker, last: int, name: str | None) -> list[int]:
    """The return addresses behind the last frame that GDB has of the selected thread.

    `last` is its PC without a signature, `name` its function. Empty where GDB's stack is whole."""
    arch, memory = inferior.arch, inferior.memory
    if arch.frame_register is None or arch.link_register is None or name in OUTERMOST:
        return []
    pc, link, record = map(innermost_register, (arch.pc, arch.link_register, arch.frame_register))
    if pc is None or link is None or record is None:
        return []

    def same_function(one: int, other: int) -> bool:
        module = linker.owner(one)
        tables = inferior.tables.of(module) if module is not None else None
        if tables is None:
            return False
        try:
            first = tables.functions.find(one)
            return first is not None and first == tables.functions.find(other)
        except Problem:
            return False  # its unwind table is damaged

    callers = read_callers(memory, arch, pc, link, record, same_function)
    chain = [pc, *islice(callers, _MOST_CALLERS)]
    return chain[chain.index(last) + 1 :] if last in chain else []
