"""Causes of a PC where no code is, and of data that is gone."""

from __future__ import annotations

from collections.abc import Iterator

from gdbext.elf.image import PF_X
from gdbext.findings.crash.calls import BadCall
from gdbext.findings.crash.description import (
    Demangle,
    describe,
    how_known,
    module_offset,
    slot_name,
    unloaded_name,
)
from gdbext.findings.crash.scene import (
    CALL_UNLOADED,
    EXECUTION,
    FAULTS,
    IN_UNLOADED,
    NULL_SLOT,
    UNLOADED_DATA,
    WILD_SLOT,
    Cause,
    Scene,
    site_name,
)
from gdbext.linker.places import Place


def called_through_slot(scene: Scene) -> Iterator[Cause]:
    """A call through a GOT slot that leads to no code."""
    call = scene.call
    if scene.signal not in FAULTS or call is None or call.slot is None:
        return
    slot, module = call.slot, call.slot_module or call.caller
    what = slot_name(slot, scene.demangle)
    caller = module.file_name
    judged = scene.judge(slot.address)
    judgement = judged.judgement if judged is not None else None
    evidence = [
        *_called_from(call),
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


def _actor(call: BadCall | None) -> str:
    return call.actor.file_name if call is not None and call.actor is not None else "the program"


def _called_from(call: BadCall) -> Iterator[str]:
    where = module_offset(call.caller, call.return_address)
    yield f"what was called from {where} jumped there" if call.jumped else f"called from {where}"


def _hex(value: int | None) -> str:
    return "what cannot be read" if value is None else f"{value:#x}"


def unloaded(scene: Scene) -> Iterator[Cause]:
    """The PC, or the data that was wanted, lies in a library that is gone."""
    if scene.signal not in FAULTS:
        return
    if scene.site.ghost is not None:
        yield _in_unloaded(scene, scene.site)
        return
    fault = scene.fault
    if fault is not None and fault.ghost is not None:
        name, what = _ghost_names(fault, scene.demangle)
        code = site_name(scene)
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
        rule, text = CALL_UNLOADED, f"{_actor(call)} called {what} of {name}"
        if call.slot:
            text += f" through the GOT slot of {slot_name(call.slot, scene.demangle)}"
        evidence.extend(_called_from(call))
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
    name = one.path or "a library"
    return (f"{name} was at {one.start:#x} - {one.end:#x}: {how_known(one)}",)


def executed(scene: Scene) -> Iterator[Cause]:
    """A PC in mapped memory that holds no code."""
    site = scene.site
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
    call = scene.call
    if call is not None:
        evidence.extend(_called_from(call))
    how = "called" if call is not None and call.actor is not None else "went to"
    text = f"{_actor(call)} {how} data as if it were code: {where}"
    yield Cause(EXECUTION, text, tuple(evidence))
