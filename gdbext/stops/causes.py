"""The scene of a crash, put together for the rules of findings/crash/crash.py."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

from gdbext.elf.problem import Problem
from gdbext.findings.conflicts.families import Family, find_families, several_have
from gdbext.findings.crash.calls import BadCall, called_slot
from gdbext.findings.crash.crash import CrashFacts, Rule, Scene, Step, find_causes
from gdbext.findings.crash.crashpath import (
    NEAR,
    Layout,
    StructUse,
    constructor_order,
    duplicate_runtime,
    interposition,
    redirected,
    struct_mismatch,
)
from gdbext.findings.slots.writes import JudgedSlot, judge_slot
from gdbext.inferior import Inferior
from gdbext.inferior.frames import Frame, demangle
from gdbext.inferior.layouts import read_struct_uses
from gdbext.linker.loaded.modules import Linker, Module
from gdbext.linker.lookup.lookup import Lookup, make_lookup
from gdbext.linker.places import Map, Place


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

    scene = Scene(signal, sent, fault, site, stack_pointer, call, steps, judge, demangle, handled)
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

    return [
        redirected,
        interposition(lookup),
        constructor_order,
        struct_mismatch(lambda: _uses(linker)),
        duplicate_runtime(families),
    ]


def _steps(space: Map, frames: Sequence[tuple[Frame, Place]]) -> list[Step]:
    steps = []
    innermost = frames[0][0].level if frames else 0  # a handler's frames may be inside of it
    for frame, place in frames:
        slot = module = None
        if (
            0 < frame.level - innermost <= NEAR
            and place.module is not None
            and frame.lookup != frame.pc
        ):
            slot = called_slot(space, space.arch.code_address(frame.pc))
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
                layouts.append(Layout(module, one.size, one.fields))
        if len(layouts) > 1:
            found.append(StructUse(use.name, use.level, tuple(layouts)))
    return found
