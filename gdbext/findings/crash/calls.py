"""A call that went to a bad address: from where, and through which GOT slot."""

from __future__ import annotations

from typing import NamedTuple

from gdbext.elf.image import PF_X
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import read_word
from gdbext.linker.loaded.modules import Module
from gdbext.linker.places import Map
from gdbext.linker.slots.slots import Slot

_CALL = 24  # bytes before a return address that decode the call


class BadCall(NamedTuple):
    """The call that led to a bad PC. `slot` is None when it went through a register or pointer,
    and when the code of the call is not there to be read: then `known` is False."""

    return_address: int
    caller: Module
    slot: Slot | None
    slot_module: Module | None
    known: bool = True


def find_bad_call(space: Map, pc: int, stack_pointer: int, link: int | None) -> BadCall | None:
    """The call that brought PC to `pc`, where no code is; None when `pc` is code.

    The return address is at SP on x86-64, as the call has just pushed it, and in the link
    register on ARM64.
    """
    if _is_code(space, pc):
        return None
    try:
        target = read_word(space.process.memory, stack_pointer) if link is None else link
    except Unreadable:
        return None
    target = space.arch.code_address(target)
    found = space.linker.find(target - 1) if space.linker else None
    if found is None or not found[1].flags & PF_X:
        return None
    slot = called_slot(space, target)
    module = space.linker.owner(slot.address) if slot and space.linker else None
    return BadCall(target, found[0], slot, module, slot is not None or _has_code(space, target))


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
