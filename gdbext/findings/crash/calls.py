"""A call that went to a bad address: from where, and through which GOT slot."""

from __future__ import annotations

import signal
from typing import NamedTuple

from gdbext.elf.image import PF_X
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import read_word
from gdbext.linker.loaded.modules import Module
from gdbext.linker.places import Map
from gdbext.linker.slots.slots import Slot
from gdbext.linker.threads.syscalls import INTERFACES

_CALL = 24  # bytes before a return address that decode the call


class BadCall(NamedTuple):
    """The call that led to a bad PC. `slot` is None when it went through a register or pointer,
    and when the code of the call is not there to be read: then `known` is False."""

    return_address: int
    caller: Module
    slot: Slot | None
    slot_module: Module | None
    known: bool = True


def return_address(space: Map, stack_pointer: int, link: int | None) -> int | None:
    """Where a function that has just been entered returns to: the word at SP on x86-64, as the
    call has pushed it, and the link register on ARM64."""
    try:
        target = read_word(space.process.memory, stack_pointer) if link is None else link
    except Unreadable:
        return None
    return space.arch.code_address(target)


def find_bad_call(space: Map, pc: int, stack_pointer: int, link: int | None) -> BadCall | None:
    """The call that brought PC to `pc`, where no code is; None when `pc` is code.

    A signal's handler was not called by code.
    """
    target = return_address(space, stack_pointer, link)
    if target is None or _is_code(space, pc) or handled_signal(space, pc, target, 0):
        return None
    found = space.linker.find(target - 1) if space.linker else None
    if found is None or not found[1].flags & PF_X:
        return None
    slot = called_slot(space, target)
    module = space.linker.owner(slot.address) if slot and space.linker else None
    return BadCall(target, found[0], slot, module, slot is not None or _has_code(space, target))


def handled_signal(space: Map, pc: int, back: int | None, number: int) -> str | None:
    """The signal whose handler begins at `pc`, where no code is: the kernel makes the handler
    return to sigreturn, at `back`, and hands it the signal's number."""
    if back is None or _is_code(space, pc):
        return None
    code = INTERFACES[space.arch.name].sigreturn
    try:
        if space.process.memory.read(back, len(code)) != code:
            return None
        return signal.Signals(number).name
    except Unreadable:
        return None
    except ValueError:
        return f"signal {number}"


def called_slot(space: Map, return_address: int) -> Slot | None:
    """The GOT slot that the call before `return_address` goes through; None for other calls."""
    try:
        code = space.process.memory.read(return_address - _CALL, _CALL)
    except Unreadable:
        return None
    way = space.arch.call_slot(code, return_address)
    if way is None:
        return None
    if way[0] == "slot":
        at = space.slot_at(way[1])
        return at[1] if at else None
    module = space.linker.owner(way[1]) if space.linker else None
    return space.stub_at(module, way[1]) if module else None


def _has_code(space: Map, return_address: int) -> bool:
    try:
        space.process.memory.read(return_address - _CALL, _CALL)
    except Unreadable:
        return False
    return True


def _is_code(space: Map, pc: int) -> bool:
    found = space.linker.find(pc) if space.linker else None
    if found is not None:
        return bool(found[1].flags & PF_X)
    return any(
        region.start <= pc < region.end and (region.flags is None or region.flags & PF_X)
        for region in space.process.regions()
    )
