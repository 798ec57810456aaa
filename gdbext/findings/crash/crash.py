"""Causes of a crash that have to do with libraries: rules, each with its evidence.

A rule fires on what is there to be seen, never on what is likely: a plain null dereference in a
program's own code has no cause here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gdbext.elf.arch import ABSOLUTE
from gdbext.elf.image import PF_W, PF_X, PT_GNU_RELRO
from gdbext.findings.crash.calls import BadCall
from gdbext.findings.crash.description import (
    Demangle,
    describe,
    how_known,
    module_offset,
    slot_name,
    unloaded_name,
)
from gdbext.findings.slots.writes import JudgedSlot
from gdbext.linker.loaded.modules import Module
from gdbext.linker.places import Place
from gdbext.linker.slots.slots import Slot

NULL_SLOT, WILD_SLOT, CALL_UNLOADED, IN_UNLOADED, UNLOADED_DATA = (
    "null_slot", "wild_slot", "call_into_unloaded", "in_unloaded", "unloaded_data",
)  # fmt: skip
REDIRECTED, INTERPOSITION, WRITE_RELRO, WRITE_READ_ONLY, OVERFLOW = (
    "slot_redirected", "interposition", "write_to_relro", "write_to_read_only", "stack_overflow",
)  # fmt: skip
EXECUTION, CONSTRUCTOR, STRUCTS, RUNTIMES = (
    "execution_of_data", "constructor_order", "struct_mismatch", "duplicate_runtime",
)  # fmt: skip
# What the report of a crash says anyway is no more evidence there.
DIRECT = (
    NULL_SLOT, WILD_SLOT, CALL_UNLOADED, IN_UNLOADED, UNLOADED_DATA, WRITE_RELRO, WRITE_READ_ONLY,
    OVERFLOW, EXECUTION,
)  # fmt: skip
# In order of strength: what the CPU itself stumbled over comes before what lies on the way there.
RULES = (
    NULL_SLOT, WILD_SLOT, CALL_UNLOADED, IN_UNLOADED, UNLOADED_DATA, REDIRECTED, INTERPOSITION,
    WRITE_RELRO, WRITE_READ_ONLY, OVERFLOW, EXECUTION, CONSTRUCTOR, STRUCTS, RUNTIMES,
)  # fmt: skip
_FAULTS = ("SIGSEGV", "SIGBUS")
_OVERFLOW_ROOM = 1 << 16  # between SP and the fault: a frame larger than that is rare
_RECURSION = 8  # frames of one function


class Cause(NamedTuple):
    """One cause: the rule (one of RULES), a sentence, and what it was told by."""

    rule: str
    text: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class CrashFacts:
    """`causes` in order of strength; none that has to do with libraries is an honest answer."""

    causes: tuple[Cause, ...]

    @property
    def cause(self) -> Cause | None:
        """The strongest one."""
        return self.causes[0] if self.causes else None


class Step(NamedTuple):
    """One frame of the way to the crash, innermost first. `slot` of `slot_module` is the GOT slot
    through which this frame called the one further in, where it called through one."""

    level: int
    place: Place
    function: str | None
    slot: Slot | None
    slot_module: Module | None

    @property
    def name(self) -> str | None:
        """The function's symbol, GDB's name for it otherwise."""
        return self.place.definition.symbol if self.place.definition else self.function


@dataclass(frozen=True)
class Scene:
    """What is known of a crash. `sent` says that a program sent the signal (kill, raise, abort):
    then no instruction faulted. `stack_pointer` is that of the innermost frame, `handled` the
    signal whose handler the kernel has just called there."""

    signal: str
    sent: bool
    fault: Place | None
    site: Place
    stack_pointer: int
    call: BadCall | None
    steps: tuple[Step, ...]
    judge: Callable[[int], JudgedSlot | None]
    demangle: Demangle
    handled: str | None = None


Rule = Callable[[Scene], Iterator[Cause]]


def find_causes(scene: Scene, others: Sequence[Rule] = ()) -> CrashFacts:
    """All causes that the evidence supports; `others` are further rules."""
    if scene.sent and scene.signal != "SIGABRT":
        return CrashFacts(())
    rules: tuple[Rule, ...] = (_called_through_slot, _unloaded, _written, _overflow, _executed)
    found: dict[str, Cause] = {}
    for rule in (*rules, *others):
        if scene.sent and rule in rules:
            continue  # abort() is no fault, but what led to it may have a cause
        for cause in rule(scene):
            found.setdefault(cause.rule, cause)
    return CrashFacts(tuple(found[name] for name in RULES if name in found))


def causes_document(facts: CrashFacts) -> dict[str, Any]:
    """`cause` and `causes` as JSON has them."""
    rows = [{"rule": c.rule, "text": c.text, "evidence": list(c.evidence)} for c in facts.causes]
    return {"cause": rows[0] if rows else None, "causes": rows}


def _called_through_slot(scene: Scene) -> Iterator[Cause]:
    """A call through a GOT slot that leads to no code."""
    call = scene.call
    if scene.signal not in _FAULTS or call is None or call.slot is None:
        return
    slot, module = call.slot, call.slot_module or call.caller
    what, caller = slot_name(slot, scene.demangle), call.caller.file_name
    judged = scene.judge(slot.address)
    judgement = judged.judgement if judged is not None else None
    evidence = [
        f"called from {module_offset(call.caller, call.return_address)}",
        f"the slot at {slot.address:#x} in {module.file_name} holds {_hex(slot.value)}",
    ]
    if judgement is not None and judgement.reason:
        evidence.append(f"verdict on the slot: {judgement.reason}")
    if scene.site.kind == "null" and not slot.value:
        nobody = judgement and judgement.verdict != "unverified" and judgement.expected is None
        why = f": {judgement.reason}" if judgement and nobody and judgement.reason else ""
        yield Cause(
            NULL_SLOT, f"{caller} called {what}, whose GOT slot is null{why}", tuple(evidence)
        )
        return
    if scene.site.kind == "unloaded":
        return  # the next rule says it better
    where = describe(scene.site, scene.demangle)
    yield Cause(
        WILD_SLOT,
        f"{caller} called {what}, whose GOT slot holds {_hex(slot.value)}: no code ({where})",
        tuple(evidence),
    )


def _hex(value: int | None) -> str:
    return "what cannot be read" if value is None else f"{value:#x}"


def _unloaded(scene: Scene) -> Iterator[Cause]:
    """The PC, or the data that was wanted, lies in a library that is gone."""
    if scene.signal not in _FAULTS:
        return
    if scene.site.ghost is not None:
        yield _in_unloaded(scene, scene.site)
        return
    fault = scene.fault
    if fault is not None and fault.ghost is not None:
        name, what = _ghost_names(fault, scene.demangle)
        code = _site_name(scene)
        yield Cause(
            UNLOADED_DATA,
            f"{code} used {what} of {name}, which was unloaded",
            (f"{fault.address:#x} is {describe(fault, scene.demangle)}", *_told_by(fault)),
        )


def _in_unloaded(scene: Scene, place: Place) -> Cause:
    name, what = _ghost_names(place, scene.demangle)
    evidence = [f"the PC {place.address:#x} is {describe(place, scene.demangle)}", *_told_by(place)]
    call, rule, text = scene.call, IN_UNLOADED, f"the thread ran into code of {name}"
    if place.definition is not None and place.definition.offset:
        still = f"the thread was still in {what} of {name} when that was unloaded"
        return Cause(rule, still, tuple(evidence))
    if scene.handled is not None:
        where = f"{what} of {name}" if place.definition is not None else f"in {name}"
        rule, text = CALL_UNLOADED, f"the handler of {scene.handled} was {where}"
    elif place.definition is not None and call is not None:
        rule, text = CALL_UNLOADED, f"{call.caller.file_name} called {what} of {name}"
        if call.slot:
            text += f" through the GOT slot of {slot_name(call.slot, scene.demangle)}"
        evidence.append(f"called from {module_offset(call.caller, call.return_address)}")
    return Cause(rule, f"{text}, which was unloaded", tuple(evidence))


def _ghost_names(place: Place, demangle: Demangle) -> tuple[str, str]:
    """(the library, what in it)."""
    assert place.ghost is not None
    library = place.ghost.library
    name = unloaded_name(library) + (" (probable)" if library.probable else "")
    if place.definition is None:
        return name, f"what was at +{place.ghost.offset:#x}"
    return name, demangle(place.definition.symbol)


def _told_by(place: Place) -> tuple[str, ...]:
    assert place.ghost is not None
    one = place.ghost.library
    where = f"{one.start:#x} - {one.end:#x}"
    return (f"{one.path or 'a library'} was at {where}: {how_known(one)}",)


def _site_name(scene: Scene) -> str:
    site = scene.site
    module = site.module.file_name if site.module else "code in no module"
    if site.definition is None:
        return module
    return f"{scene.demangle(site.definition.symbol)} in {module}"


def _written(scene: Scene) -> Iterator[Cause]:
    """A write to memory of a module that may be read alone."""
    fault, site = scene.fault, scene.site
    if scene.signal != "SIGSEGV" or fault is None or fault.module is None or fault.segment is None:
        return
    if site.module is None or fault.address == site.address:
        return  # it could not execute what is there
    region = fault.region
    if region is not None and region.flags is not None and region.flags & PF_W:
        return
    if not fault.segment.flags & PF_W:
        part = "code" if fault.segment.flags & PF_X else "read-only data"
        rule, kind = WRITE_READ_ONLY, fault.section or part
    elif _in_relro(fault):
        rule, kind = WRITE_RELRO, "the RELRO segment"
    else:
        return
    target = describe(fault, scene.demangle)
    if fault.slot is not None:
        what = "pointer to" if fault.slot.kind == ABSOLUTE else "GOT slot of"
        target = f"the {what} {slot_name(fault.slot, scene.demangle)} in {fault.module.file_name}"
    elif fault.definition is not None:
        target = f"{scene.demangle(fault.definition.symbol)} in {fault.module.file_name}"
    how = "read-only since relocation (RELRO)" if rule == WRITE_RELRO else "read-only"
    text = f"{_site_name(scene)} wrote to {target}, which is {how}"
    yield Cause(rule, text, (f"{fault.address:#x} lies in {kind} of {fault.module.path}",))


def _in_relro(place: Place) -> bool:
    module = place.module
    segment = module.image.segment(PT_GNU_RELRO) if module and module.image else None
    if segment is None or module is None:
        return False
    return segment.vaddr <= place.address - module.bias < segment.vaddr + segment.memsz


def _overflow(scene: Scene) -> Iterator[Cause]:
    """A stack that grew past its end."""
    fault = scene.fault
    if scene.signal not in _FAULTS or fault is None or fault.kind != "below-stack":
        return
    if abs(scene.stack_pointer - fault.address) > _OVERFLOW_ROOM or fault.thread is None:
        return
    names = [s.name for s in scene.steps if s.name]
    most = max(set(names), key=names.count, default=None)
    text = f"the stack of thread {fault.thread.number} overflowed"
    evidence = [f"SP is {scene.stack_pointer:#x}"]
    if most is not None and names.count(most) >= _RECURSION:
        step = next(s for s in scene.steps if s.name == most)
        where = f" of {step.place.module.file_name}" if step.place.module else ""
        text += f": {scene.demangle(most)}{where} calls itself without end"
        evidence.append(f"{names.count(most)} of the {len(names)} innermost frames are in it")
    yield Cause(OVERFLOW, text, tuple(evidence))


def _executed(scene: Scene) -> Iterator[Cause]:
    """A PC in mapped memory that holds no code."""
    site, call, caller = scene.site, scene.call, "the program"
    if scene.signal not in ("SIGSEGV", "SIGILL") or site.kind in ("null", "unmapped", "unloaded"):
        return
    if site.segment is not None:
        data = not site.segment.flags & PF_X
    elif site.region is not None and site.region.flags is not None:
        data = not site.region.flags & PF_X
    else:
        data = site.kind in ("heap", "stack", "tls", "tcb")
    if not data:
        return
    where = describe(site, scene.demangle)
    evidence = [f"the PC {site.address:#x} is {where}"]
    if call is not None:
        caller = call.caller.file_name
        evidence.append(f"called from {module_offset(call.caller, call.return_address)}")
    yield Cause(EXECUTION, f"{caller} called data as if it were code: {where}", tuple(evidence))
