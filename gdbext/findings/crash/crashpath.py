"""Causes that lie on the way to a crash: slots, definitions, constructors, runtimes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gdbext.elf.problem import Problem
from gdbext.elf.symbols import STB_GNU_UNIQUE, STB_WEAK
from gdbext.findings.conflicts.families import Family
from gdbext.findings.crash.description import slot_name
from gdbext.findings.crash.scene import (
    CONSTRUCTOR,
    INTERPOSITION,
    REDIRECTED,
    RUNTIMES,
    Cause,
    Scene,
    Step,
    step_name,
)
from gdbext.findings.slots.verdicts import REDIRECTED as WRONG
from gdbext.linker.loaded.libc import is_libc
from gdbext.linker.loaded.modules import LINKER, Module
from gdbext.linker.loaded.private import read_searchlist
from gdbext.linker.lookup.answers import Found
from gdbext.linker.lookup.lookup import LATER, Lookup
from gdbext.linker.lookup.matching import DATA, PLT
from gdbext.linker.slots.slotkinds import PLT_KINDS
from gdbext.linker.slots.slots import Slot

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
        if scene.call is not None and scene.call.slot == outer.slot:
            continue  # it leads to no code, and that is said already
        expected, where = judged.judgement.expected, outer.slot.provider or inner.place.module
        symbol = slot_name(outer.slot, scene.demangle)
        caller = judged.module.file_name
        text = (
            f"{caller}'s call of {symbol} was redirected to {_leads_to(outer.slot, inner, scene)}"
        )
        if expected is not None and expected is not where:
            text += f" instead of {expected.file_name}'s"
        evidence = [f"the slot at {outer.slot.address:#x} holds {outer.slot.value or 0:#x}"]
        if judged.judgement.reason:
            evidence.append(judged.judgement.reason)
        yield Cause(REDIRECTED, text, tuple(evidence))


def _leads_to(slot: Slot, inner: Step, scene: Scene) -> str:
    """Where a slot leads; the frame further in is another one where that function jumped on."""
    if slot.provider is None or slot.definition is None:
        return step_name(inner, scene)
    name, offset = scene.demangle(slot.definition.symbol), slot.definition.offset
    return f"{name}{f'+{offset:#x}' if offset else ''} in {slot.provider.file_name}"


def _calls(scene: Scene) -> Iterator[tuple[Step, Step]]:
    """(callee, caller) of each call on the way that went through a GOT slot."""
    near = scene.steps[: NEAR + 1]
    for inner, outer in zip(near, near[1:]):
        if outer.slot is not None:
            yield inner, outer


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
            if found is None or any(s.place.module is found for s in scene.steps[: inner.level]):
                continue  # none lost, or the winner has passed the call on
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
            if lost.symbol.binding == STB_WEAK:
                continue  # a default that is there to be replaced
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


def constructor_order(
    modules: Sequence[Module], has_constructors: Callable[[Module], bool]
) -> Callable[[Scene], Iterator[Cause]]:
    """A constructor on the way used a library whose own constructors had not been called.

    `modules` are all that are loaded; `has_constructors` tells whether one has any but those of
    the compiler's start files.
    l_init_called is set before a module's first constructor runs (elf/dl-init.c, call_init).
    What ld.so calls in libc is no constructor: it opens and closes, and runs the destructors of a
    library that counts as not initialised by then, below libc's _dl_catch_exception.
    """

    def rule(scene: Scene) -> Iterator[Cause]:
        for place, (inner, outer) in enumerate(zip(scene.steps, scene.steps[1:])):
            module, linker = inner.place.module, outer.place.module
            if module is None or linker is None or linker.kind != LINKER or is_libc(module):
                continue
            tail = module.private is not None and module.private.init_called is False
            if tail and not _runs_constructors(modules, scene.steps[place + 1 :]):
                continue
            if not tail and (module.private is None or not module.private.init_called):
                continue
            # the outermost is what the constructor called, the others what that did
            for used in reversed(scene.steps[: place + tail]):
                other = used.place.module
                if other is None or (other is module and not tail) or other.private is None:
                    continue
                waiting = other.private.init_called is False and other.kind != LINKER
                if waiting and has_constructors(other):
                    yield _too_early(None if tail else inner, used, other, scene)
                    return
            return

    return rule


def _runs_constructors(modules: Sequence[Module], outside: Sequence[Step]) -> bool:
    """Whether ld.so, whose frames `outside` are, starts the program and is past relocation.

    Else what it calls may be an IFUNC's resolver, or a destructor: l_init_called is cleared before
    those run (elf/dl-fini.c, _dl_fini).
    """
    if any(m.private and m.private.relocated is False for m in modules if m.kind != LINKER):
        return False
    return all(s.place.module is not None and s.place.module.kind == LINKER for s in outside)


def _too_early(constructor: Step | None, used: Step, other: Module, scene: Scene) -> Cause:
    """`constructor` is None where it has jumped on and left no frame."""
    what = f"the constructor {step_name(constructor, scene)}" if constructor else "a constructor"
    text = f"{what} called {step_name(used, scene)}, whose own constructors have not run yet"
    evidence = [f"l_init_called of {other.path} is not set"]
    module = constructor.place.module if constructor else None
    if module is not None:
        needs = "needs" if other in lookup_needs(module, scene) else "does not name"
        evidence.append(
            f"{module.file_name} {needs} {other.soname or other.file_name} in its DT_NEEDED"
        )
    else:
        evidence.append("ld.so runs constructors, and one of them left by a tail call")
    return Cause(CONSTRUCTOR, text, tuple(evidence))


def lookup_needs(module: Module, scene: Scene) -> list[Module]:
    """The modules on the way that `module` names in DT_NEEDED."""
    names = module.needed or ()
    found = [s.place.module for s in scene.steps if s.place.module is not None]
    return [m for m in found if (m.soname or m.file_name) in names]


def duplicate_runtime(
    families: Callable[[Sequence[Module]], Sequence[Family]],
) -> Callable[[Scene], Iterator[Cause]]:
    """Two copies of one runtime, both on the way to the crash. `families` gives at least those
    of which several of the modules that it is given are copies."""

    def rule(scene: Scene) -> Iterator[Cause]:
        modules = [s.place.module for s in scene.steps if s.place.module is not None]
        here = {id(module): module for module in modules if not is_libc(module)}
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
