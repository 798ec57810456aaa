"""The scene of a crash, put together for the rules of findings/crash/crash.py."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

import gdb

from gdbext.elf.problem import Problem
from gdbext.findings.conflicts.families import Family, find_families, several_have
from gdbext.findings.crash.calls import BadCall, called_slot
from gdbext.findings.crash.crash import CrashFacts, find_causes
from gdbext.findings.crash.crashpath import (
    NEAR,
    constructor_order,
    duplicate_runtime,
    interposition,
    redirected,
)
from gdbext.findings.crash.scene import Rule, Scene, Stack, Step
from gdbext.findings.crash.structs import Field, Layout, StructUse, struct_mismatch
from gdbext.findings.crash.tailcalls import slot_of_tail_call
from gdbext.findings.slots.writes import JudgedSlot, judge_slot
from gdbext.inferior import Inferior
from gdbext.inferior.frames import Frame, demangle, stack_pointers
from gdbext.inferior.layouts import read_struct_uses
from gdbext.linker.init.initfini import INIT, INIT_ARRAY, PREINIT_ARRAY, Reader
from gdbext.linker.loaded.modules import Linker, Module
from gdbext.linker.lookup.lookup import Lookup, make_lookup
from gdbext.linker.places import Map, Place
from gdbext.linker.slots.slots import Slot


def read_causes(
    inferior: Inferior,
    space: Map,
    signal: str,
    sent: bool,
    stack_pointer: int,
    fault: Place | None,
    site: Place,
    call: BadCall | None,
    frames: Sequence[tuple[Frame, Place]],
    handled: str | None = None,
) -> CrashFacts:
    """The causes of a stop at `signal`, whose facts are given; `frames` innermost first,
    `handled` the signal whose handler has just begun."""
    linker = space.linker
    steps = tuple(_steps(space, frames))

    @cache
    def judge(address: int) -> JudgedSlot | None:
        if linker is None:
            return None
        try:
            return judge_slot(inferior, linker, inferior.tables, address)
        except Problem:
            return None  # damaged tables: it cannot be judged

    stack = _stack(space, len(steps))
    scene = Scene(
        signal, sent, fault, site, stack_pointer, call, steps, judge, demangle, handled, stack
    )
    if linker is None or not linker.modules:
        return find_causes(scene)
    return find_causes(scene, _further(inferior, linker))


def _further(inferior: Inferior, linker: Linker) -> list[Rule]:
    @cache
    def lookup() -> Lookup:
        return make_lookup(inferior, linker, inferior.tables)

    def families(modules: Sequence[Module]) -> list[Family]:
        try:
            return find_families(lookup()) if several_have(lookup(), modules) else []
        except Problem:
            return []

    def has_constructors(module: Module) -> bool:
        reader = Reader(inferior.memory, linker, inferior.tables)
        functions, _ = reader.functions(module, (PREINIT_ARRAY, INIT, INIT_ARRAY))
        return any(not function.start_file for function in functions)

    return [
        redirected,
        interposition(lookup),
        constructor_order(linker.modules, has_constructors),
        struct_mismatch(lambda: _uses(linker)),
        duplicate_runtime(families),
    ]


def _stack(space: Map, most: int) -> Stack | None:
    """The end of the stack that the selected frame and its callers are on."""
    thread: gdb.InferiorThread | None = gdb.selected_thread()
    inner: Place | None = None
    for level, pointer in enumerate(stack_pointers(space.arch.sp, most)):
        place = space.place(pointer)
        if inner is not None and place.kind not in ("unmapped", "below-stack", "null"):
            return Stack(level - 1, inner, pointer, thread.num if thread else 0)
        inner = place
    return None


def _steps(space: Map, frames: Sequence[tuple[Frame, Place]]) -> list[Step]:
    steps: list[Step] = []
    innermost = frames[0][0].level if frames else 0  # a handler's frames may be inside of it
    for frame, place in frames:
        slot = module = None
        if (
            0 < frame.level - innermost <= NEAR
            and place.module is not None
            and frame.lookup != frame.pc
        ):
            slot = called_slot(space, space.arch.code_address(frame.pc))
            slot = _jumped_on(space, slot, steps[-1].place) or slot
            module = space.linker.owner(slot.address) if slot and space.linker else None
        steps.append(Step(frame.level, place, frame.function, slot, module))
    return steps


def _uses(linker: Linker) -> list[StructUse]:
    """The structures with modules in place of GDB's file names."""
    by_path = {os.path.realpath(m.path): m for m in reversed(linker.modules)}
    by_name = {m.file_name: m for m in reversed(linker.modules)}
    found = []
    for use in read_struct_uses():
        layouts = []
        for one in use.layouts:
            path = os.path.realpath(one.path)
            module = by_path.get(path) or by_name.get(os.path.basename(one.path))
            if module is not None:
                layouts.append(Layout(module, one.size, tuple(Field(*f) for f in one.fields)))
        if len(layouts) == 2:
            both = (layouts[0], layouts[1])
            found.append(StructUse(use.name, use.level, use.outer, both, use.copied))
    return found


def _jumped_on(space: Map, slot: Slot | None, inner: Place) -> Slot | None:
    """The slot through which what `slot` leads to jumped on, to the function of the frame further
    in: a tail call into another module than that of the call."""
    if slot is None or slot.value is None or slot.provider in (None, inner.module):
        return None
    if inner.definition is None:
        return None
    return slot_of_tail_call(space, slot.value, inner.address - inner.definition.offset)
