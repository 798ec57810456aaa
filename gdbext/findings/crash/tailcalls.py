"""Tail calls: a function that jumps on leaves no return address of its own."""

from __future__ import annotations

from gdbext.elf.image import PF_X
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import read_word
from gdbext.linker.loaded.modules import Module
from gdbext.linker.places import Map
from gdbext.linker.slots.slots import Slot

_MOST_CODE = 1 << 14  # bytes of one function
_MOST_FUNCTIONS = 32
_STUB = 24  # bytes that Arch.stub_slot wants


def slot_of_tail_call(space: Map, called: int, target: int) -> Slot | None:
    """The GOT slot through which the function at `called`, or one that it jumps to, jumped to
    `target`.

    None where no slot there leads to `target`, where several do, and where one of these functions
    has a jump that may lead there through a pointer of its own.
    """
    found: dict[int, Slot] = {}
    waiting, seen = [called], set[int]()
    while waiting and len(seen) < _MOST_FUNCTIONS:
        entry = waiting.pop()
        function = _function(space, entry)
        if entry in seen or function is None:
            continue
        seen.add(entry)
        module, start, code = function
        jumps = space.arch.jumps(code, start)
        if jumps.computed:
            return None
        slots = []
        for cell in jumps.cells:
            at = space.slot_at(cell)
            if at is not None:
                slots.append(at[1])
            elif _leads_to(space, cell, target):
                return None
        for address in jumps.targets:
            if start <= address < start + len(code) or not _holds_code(space, address):
                continue
            slot = stub_of(space, module, address)
            if slot is not None:
                slots.append(slot)
            else:
                waiting.append(address)
        for slot in slots:
            if slot.value == target:
                found[slot.address] = slot
            elif slot.value is not None and _holds_code(space, slot.value):
                waiting.append(slot.value)
    return next(iter(found.values())) if len(found) == 1 else None


def stub_of(space: Map, module: Module, address: int) -> Slot | None:
    """The slot of the PLT entry that starts at `address`."""
    code = code_at(space, address, _STUB)
    cell = space.arch.stub_slot(code, address) if code is not None else None
    if cell is None:
        return None
    return next((slot for slot in space.slots(module) if slot.address == cell), None)


def code_at(space: Map, start: int, size: int) -> bytes | None:
    """None where it cannot be read."""
    try:
        return space.process.memory.read(start, size)
    except Unreadable:
        return None


def _function(space: Map, entry: int) -> tuple[Module, int, bytes] | None:
    """(module, start, code) of the function at `entry`, as far as its bounds are known."""
    module = space.linker.owner(entry) if space.linker else None
    tables = space.tables.of(module) if module is not None else None
    if module is None or tables is None:
        return None
    try:
        bounds = tables.functions.find(entry)
    except Problem:
        return None  # its unwind table is damaged
    if bounds is None or bounds.end is None:
        return None
    code = code_at(space, entry, min(bounds.end - entry, _MOST_CODE))
    return (module, entry, code) if code is not None else None


def _holds_code(space: Map, address: int) -> bool:
    found = space.linker.find(address) if space.linker else None
    return found is not None and bool(found[1].flags & PF_X)


def _leads_to(space: Map, cell: int, target: int) -> bool:
    try:
        return read_word(space.process.memory, cell) == target
    except Unreadable:
        return False
