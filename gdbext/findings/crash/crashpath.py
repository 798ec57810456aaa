"""Causes that lie on the way to a crash: slots, definitions, constructors, layouts, runtimes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gdbext.elf.problem import Problem
from gdbext.elf.symbols import STB_GNU_UNIQUE, STB_WEAK
from gdbext.findings.conflicts.families import Family
from gdbext.findings.crash.crash import (
    CONSTRUCTOR,
    INTERPOSITION,
    REDIRECTED,
    RUNTIMES,
    STRUCTS,
    Cause,
    Scene,
    Step,
)
from gdbext.findings.crash.description import slot_name
from gdbext.findings.slots.verdicts import REDIRECTED as WRONG
from gdbext.linker.loaded.libc import is_libc
from gdbext.linker.loaded.modules import LINKER, Module
from gdbext.linker.loaded.private import read_searchlist
from gdbext.linker.lookup.answers import Found
from gdbext.linker.lookup.lookup import LATER, Lookup
from gdbext.linker.lookup.matching import DATA, PLT
from gdbext.linker.slots.slotkinds import PLT_KINDS

NEAR = 8  # frames that count as the way to the crash
# Their functions are meant to be replaced: by allocators, sanitizers, preloaded wrappers.
_RUNTIMES = ("libc.", "libm.", "libpthread.", "ld-", "libstdc++.", "libgcc_s.", "libc++")


def redirected(scene: Scene) -> Iterator[Cause]:
    """A call on the way went through a slot that ld.so would not have bound like that."""
    for inner, outer in _calls(scene):
        assert outer.slot is not None
        judged = scene.judge(outer.slot.address)
        if judged is None or judged.judgement.verdict != WRONG:
            continue
        expected, where = judged.judgement.expected, inner.place.module
        symbol = slot_name(outer.slot, scene.demangle)
        caller = judged.module.file_name
        text = f"{caller}'s call of {symbol} was redirected to {_where(inner, scene)}"
        if expected is not None and expected is not where:
            text += f" instead of {expected.file_name}'s"
        evidence = [f"the slot at {outer.slot.address:#x} holds {outer.slot.value or 0:#x}"]
        if judged.judgement.reason:
            evidence.append(judged.judgement.reason)
        yield Cause(REDIRECTED, text, tuple(evidence))


def _calls(scene: Scene) -> Iterator[tuple[Step, Step]]:
    """(callee, caller) of each call on the way that went through a GOT slot."""
    near = scene.steps[: NEAR + 1]
    for inner, outer in zip(near, near[1:]):
        if outer.slot is not None:
            yield inner, outer


def _where(step: Step, scene: Scene) -> str:
    module = step.place.module.file_name if step.place.module else "no module"
    return f"{scene.demangle(step.name)} in {module}" if step.name else module


def interposition(lookup: Callable[[], Lookup]) -> Callable[[Scene], Iterator[Cause]]:
    """A call went to another library's definition than that of the caller, or of what it needs."""

    def rule(scene: Scene) -> Iterator[Cause]:
        for inner, outer in _calls(scene):
            slot, caller, callee = outer.slot, outer.slot_module, inner.place.module
            if slot is None or caller is None or callee is None or callee is caller:
                continue
            if not slot.relocation.symbol or slot.provider is not callee:
                continue
            try:
                found = _lost(lookup(), caller, callee, slot.relocation.symbol, slot.kind)
            except Problem:
                continue  # it cannot be known
            if found is None:
                continue
            symbol = slot_name(slot, scene.demangle)
            own = "its own" if found is caller else f"that of {found.file_name}, which it needs"
            text = (
                f"{caller.file_name}'s call of {symbol} went to {callee.file_name}'s definition, "
                f"which ld.so takes before {own}"
            )
            yield Cause(
                INTERPOSITION,
                text,
                (
                    f"{callee.path} defines {symbol}, and so does {found.path}",
                    f"the slot at {slot.address:#x} of {caller.path} leads to the former",
                ),
            )

    return rule


def _lost(lookup: Lookup, caller: Module, callee: Module, number: int, kind: str) -> Module | None:
    """The module whose definition lost: the caller itself, or one that it needs."""
    type_class = PLT if kind in PLT_KINDS else DATA
    wanted = lookup.wanted(caller, number, type_class)
    near = _needed_by(caller)
    won: Found | None = None
    for one in lookup.candidates(lookup.scopes.of(caller), wanted):
        if one.skipped == "":
            won = lookup.found(one.module, one.number)
            if one.module is not callee or _is_shared(wanted.name, won):
                return None
        elif one.skipped == LATER and won is not None:
            is_own = one.module is caller
            if not is_own and (callee.map.address in near or one.module.map.address not in near):
                continue
            lost = lookup.found(one.module, one.number)
            if _is_runtime(one.module) or _is_shared(wanted.name, lost, won):
                continue
            return one.module
    return None


def _needed_by(caller: Module) -> set[int]:
    """The link_maps that a module's own scope holds: itself and what it needs."""
    private = caller.private
    return set(read_searchlist(caller.memory, private)) if private is not None else set()


def _is_shared(name: bytes, *found: Found) -> bool:
    """Whether all copies of a definition are meant to be one: unique, or inline C++; or a
    program's canonical PLT address, which leads on to the definition."""
    if any(not f.symbol.shndx or f.symbol.binding == STB_GNU_UNIQUE for f in found):
        return True
    return name.startswith(b"_Z") and all(f.symbol.binding == STB_WEAK for f in found)


def _is_runtime(module: Module) -> bool:
    return module.kind == LINKER or (module.soname or module.file_name).startswith(_RUNTIMES)


def constructor_order(scene: Scene) -> Iterator[Cause]:
    """A constructor on the way used a library whose own constructors had not been called.

    l_init_called is set before a module's first constructor runs (elf/dl-init.c, call_init).
    What ld.so calls in libc is no constructor: it opens and closes, and runs the destructors of a
    library that counts as not initialised by then, below libc's _dl_catch_exception.
    """
    for place, (inner, outer) in enumerate(zip(scene.steps, scene.steps[1:])):
        module, linker = inner.place.module, outer.place.module
        if module is None or linker is None or linker.kind != LINKER or is_libc(module):
            continue
        if module.private is None or not module.private.init_called or not place:
            continue
        for used in scene.steps[:place]:
            other = used.place.module
            if other is None or other is module or other.private is None:
                continue
            if other.private.init_called is False and other.kind != LINKER:
                text = (
                    f"the constructor {_where(inner, scene)} called {_where(used, scene)}, whose "
                    "own constructors have not run yet"
                )
                needs = "needs" if other in lookup_needs(module, scene) else "does not name"
                yield Cause(
                    CONSTRUCTOR,
                    text,
                    (
                        f"l_init_called of {other.path} is not set",
                        f"{module.file_name} {needs} {other.soname or other.file_name} "
                        "in its DT_NEEDED",
                    ),
                )
                return
        return


def lookup_needs(module: Module, scene: Scene) -> list[Module]:
    """The modules on the way that `module` names in DT_NEEDED."""
    names = module.needed or ()
    found = [s.place.module for s in scene.steps if s.place.module is not None]
    return [m for m in found if (m.soname or m.file_name) in names]


class Layout(NamedTuple):
    """A structure as one module's debug info has it: size in bytes, and (name, bit) of fields."""

    module: Module
    size: int
    fields: tuple[tuple[str, int], ...]


class StructUse(NamedTuple):
    """A structure that frame `level` takes from its caller, with the layouts of both modules."""

    name: str
    level: int
    layouts: tuple[Layout, ...]


def struct_mismatch(
    read: Callable[[], Sequence[StructUse]],
) -> Callable[[Scene], Iterator[Cause]]:
    """Two modules on the way have different layouts of a structure that passes between them."""

    def rule(scene: Scene) -> Iterator[Cause]:
        del scene
        for use in read():
            first = use.layouts[0]
            for other in use.layouts[1:]:
                if (first.size, first.fields) == (other.size, other.fields):
                    continue
                text = (
                    f"{first.module.file_name} and {other.module.file_name} have different "
                    f"layouts of {use.name}: {_difference(first, other)}"
                )
                yield Cause(
                    STRUCTS,
                    text,
                    (
                        f"frame #{use.level} takes a {use.name} from its caller",
                        f"{_layout(first)}; {_layout(other)}",
                    ),
                )

    return rule


def _difference(first: Layout, other: Layout) -> str:
    if first.size != other.size:
        return f"{first.size} and {other.size} bytes"
    for one, two in zip(first.fields, other.fields):
        if one != two:
            return f"{one[0]} at byte {one[1] // 8} and {two[0]} at byte {two[1] // 8}"
    return "other fields"


def _layout(layout: Layout) -> str:
    shown = ", ".join(f"{name} +{bit // 8}" for name, bit in layout.fields[:8])
    more = ", …" if len(layout.fields) > 8 else ""
    return f"{layout.module.file_name}: {layout.size} bytes ({shown}{more})"


def duplicate_runtime(
    families: Callable[[Sequence[Module]], Sequence[Family]],
) -> Callable[[Scene], Iterator[Cause]]:
    """Two copies of one runtime, both on the way to the crash. `families` gives at least those
    of which several of the modules that it is given are copies."""

    def rule(scene: Scene) -> Iterator[Cause]:
        modules = [s.place.module for s in scene.steps if s.place.module is not None]
        here = {id(module): module for module in modules if not _is_libc(module)}
        if len(here) < 2:
            return
        for family in families(list(here.values())):
            copies = [c.module for c in family.copies if id(c.module) in here]
            if len(copies) > 1:
                names = " and ".join(m.file_name for m in copies)
                yield Cause(
                    RUNTIMES,
                    f"two copies of {family.name} are on the way to the crash: {names}",
                    tuple(f"{c.module.path} exports {', '.join(c.exports)}" for c in family.copies),
                )

    return rule


def _is_libc(module: Module) -> bool:
    """Libc's allocator is there whoever replaces it."""
    return (module.soname or module.file_name).startswith(("libc.", "ld-"))
