"""A call that went to a bad address: from where, and through which GOT slot."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import NamedTuple

from gdbext.elf.image import PF_X
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import read_word
from gdbext.findings.crash.tailcalls import code_at, slot_of_tail_call, stub_of
from gdbext.linker.loaded.modules import Module
from gdbext.linker.places import Map
from gdbext.linker.slots.slots import Slot
from gdbext.linker.threads.syscalls import INTERFACES

_CALL = 24  # bytes before a return address that decode the call
_LONGEST_CALL = 8  # bytes that Arch.follows_call wants


class BadCall(NamedTuple):
    """The call that led to a bad PC. `slot` is None when it went through a register or pointer,
    and when the code of the call is not there to be read: then `known` is False.

    `jumped`: what was called is not where the PC is: it jumped on, as a tail call does. Then
    `jumper` is the module of that jump, as far as it is known, and `slot` that of the jump."""

    return_address: int
    caller: Module
    slot: Slot | None
    slot_module: Module | None
    known: bool = True
    jumped: bool = False
    jumper: Module | None = None

    @property
    def actor(self) -> Module | None:
        """The module whose code went to the bad address; None where that is not known."""
        return self.jumper if self.jumped else self.caller


def return_address(space: Map, stack_pointer: int, link: int | None) -> int | None:
    """Where a function that has just been entered returns to: the word at SP on x86-64, as the
    call has pushed it, and the link register on ARM64."""
    try:
        target = read_word(space.process.memory, stack_pointer) if link is None else link
    except Unreadable:
        return None
    return space.arch.code_address(target)


def find_bad_call(
    space: Map,
    pc: int,
    stack_pointer: int,
    link: int | None,
    read: Callable[[str], int | None] = lambda _: None,
) -> BadCall | None:
    """The call that brought PC to `pc`, where no code is; None when `pc` is code, and when no call
    is seen.

    A signal's handler was not called by code. `read` gives registers: none has changed since the
    call.
    """
    target = return_address(space, stack_pointer, link)
    if target is None or _is_code(space, pc) or handled_signal(space, pc, target, 0):
        return None
    found = space.linker.find(target - 1) if space.linker else None
    if found is None or not found[1].flags & PF_X:
        return None
    code = code_at(space, target - _CALL, _CALL)
    if code is None:
        return BadCall(target, found[0], None, None, known=False)
    if not space.arch.follows_call(code[-_LONGEST_CALL:]):
        return None  # a return went astray, and what is on the stack is something else
    return _told_by_code(space, pc, BadCall(target, found[0], None, None), code, read)


def _told_by_code(
    space: Map, pc: int, call: BadCall, code: bytes, read: Callable[[str], int | None]
) -> BadCall:
    slot = called_slot(space, call.return_address)
    if slot is not None:
        called = slot.value
    else:
        way = space.arch.call_slot(code, call.return_address)
        name = space.arch.call_register(code)
        called = way[1] if way is not None and way[0] == "stub" else read(name) if name else pc
    if called is None or space.arch.code_address(called) == space.arch.code_address(pc):
        return call._replace(slot=slot, slot_module=_owner(space, slot))
    tail = slot_of_tail_call(space, called, pc) or _last_stub(space, pc, read)
    if tail is not None:
        module = _owner(space, tail)
        return call._replace(slot=tail, slot_module=module, jumped=True, jumper=module)
    return call._replace(jumped=True)


def _last_stub(space: Map, pc: int, read: Callable[[str], int | None]) -> Slot | None:
    """The slot that the PLT entry before `pc` went through, where it leaves that in a register.

    An older one cannot have held `pc`: that call would not have come back.
    """
    for name in space.arch.stub_registers:
        at = space.slot_at(read(name) or 0)
        if at is not None and at[1].value == pc:
            return at[1]
    return None


def _owner(space: Map, slot: Slot | None) -> Module | None:
    return space.linker.owner(slot.address) if slot and space.linker else None


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
    code = code_at(space, return_address - _CALL, _CALL)
    way = space.arch.call_slot(code, return_address) if code is not None else None
    if way is None:
        return None
    if way[0] == "slot":
        at = space.slot_at(way[1])
        return at[1] if at else None
    module = space.linker.owner(way[1]) if space.linker else None
    return stub_of(space, module, way[1]) if module else None


def _is_code(space: Map, pc: int) -> bool:
    found = space.linker.find(pc) if space.linker else None
    if found is not None:
        return bool(found[1].flags & PF_X)
    return any(
        region.start <= pc < region.end and (region.flags is None or region.flags & PF_X)
        for region in space.process.regions()
    )
