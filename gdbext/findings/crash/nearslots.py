"""The GOT slots that the code around an address calls through or reads."""

from __future__ import annotations

from typing import NamedTuple

from gdbext.elf.image import PF_X
from gdbext.elf.problem import Problem, Unreadable
from gdbext.linker.loaded.modules import Module
from gdbext.linker.places import Map
from gdbext.linker.slots.slots import Slot

CALL, LOAD = "call", "load"
_BEFORE, _BEHIND = 160, 64  # bytes of code: what led to the crash stands before it
_DECODED = 24  # bytes before the end of a call that Arch.call_slot wants


class NearSlot(NamedTuple):
    """A slot of `module` that code uses; `code` is where: behind a call, `how` is CALL, or, for a
    LOAD, None, since more than one instruction may take part."""

    module: Module
    slot: Slot
    how: str
    code: int | None


def find_near_slots(space: Map, pc: int) -> list[NearSlot]:
    """The slots that the function around `pc` uses near it, calls first, in the order of the code.

    At most a few hundred bytes are looked at, and only a target that is a slot by its module's
    relocations counts, so that data between the code cannot pass for one.
    """
    found = space.linker.find(pc) if space.linker else None
    if found is None or not found[1].flags & PF_X:
        return []
    module = found[0]
    start, end = _bounds(space, module, pc)
    try:
        code = space.process.memory.read(start, end - start)
        before = space.process.memory.read(start - _DECODED, _DECODED)
    except Unreadable:
        return []
    slots = {slot.address: slot for slot in space.slots(module)}
    near: dict[int, NearSlot] = {}
    for at in range(space.arch.code_step, len(code) + 1, space.arch.code_step):
        window = (before + code[:at])[-_DECODED:]
        way = space.arch.call_slot(window, start + at)
        if way is None:
            continue
        slot = slots.get(way[1]) if way[0] == "slot" else _stub(space, module, way[1])
        if slot is not None:
            near.setdefault(slot.address, NearSlot(module, slot, CALL, start + at))
    cells = space.arch.taken(code, start).cells
    for address in sorted(cells):
        slot = slots.get(address)
        if slot is not None:
            near.setdefault(address, NearSlot(module, slot, LOAD, None))
    return list(near.values())


def _bounds(space: Map, module: Module, pc: int) -> tuple[int, int]:
    """[start, end) of the code to look at, inside the function where its bounds are known."""
    step = space.arch.code_step
    start, end = pc - _BEFORE // step * step, pc + _BEHIND // step * step
    tables = space.tables.of(module)
    if tables is not None:
        try:
            function = tables.functions.find(pc)
        except Problem:
            function = None
        if function is not None:
            start = max(start, function.start)
            end = min(end, function.end) if function.end is not None else end
    own = space.tables.name(module, pc)
    if own is not None:
        start = max(start, pc - own.offset)
        end = min(end, _end_of(space, module, own.symbol, pc, end))
    return start, max(end, pc)


def _end_of(space: Map, module: Module, symbol: str, pc: int, end: int) -> int:
    """Where the symbol that holds `pc` ends, by the names of addresses up to `end`."""
    low, high = pc, end
    while high - low > 1:
        middle = (low + high) // 2
        name = space.tables.name(module, middle)
        low, high = (middle, high) if name and name.symbol == symbol else (low, middle)
    return high


def _stub(space: Map, module: Module, address: int) -> Slot | None:
    if space.linker is None or space.linker.owner(address) is not module:
        return None
    definition = space.tables.name(module, address)
    return space.stub_at(module, address) if definition is None else None
